"""Exporting a finished dataset: the checks before and after, and running the graph."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from depthmask.errors import UserError
from depthmask.features import Features
from depthmask.manifest import CARD, CROISSANT, FEATURES, MANIFEST, PUBLICATION, crc_text
from pipeline.dataset import (
    Dataset,
    card_facts,
    check_files,
    open_dataset,
    reading_from,
    summarise,
)
from pipeline.export.grid import Grid
from pipeline.export.layouts import LAYOUTS
from pipeline.export.pieces import ExportJob, SourceShard, piece_files
from pipeline.publish.publication import Publication, parse_publication, publication_bytes
from pipeline.run import (
    EXPORT,
    Progress,
    State,
    Workspace,
    check_disk_space,
    locked,
    size_text,
)
from transforms.codecs import encoder_versions
from transforms.elements import ShardKey
from transforms.io.files import (
    AnyPath,
    checked_path,
    exists,
    file_checksum,
    is_local,
    join,
    read_file,
)
from transforms.parts import provenance_checksum
from transforms.prepared import PreparedSource

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_log = logging.getLogger("depthmask")
# Examples that are looked at to learn how large the export will be.
_SAMPLE = 200
_ENTRY_BYTES = 250


@dataclass(frozen=True)
class Exported:
    """A finished export. `containers`: their sizes in bytes, by name.

    `loose_files` pictures of `loose_bytes` in all lie in folders.
    """

    output: str
    examples: int
    containers: dict[str, int]
    loose_files: int
    loose_bytes: int

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for name, size in self.containers.items():
            yield f"{name}: {size_text(size)}"
        if self.loose_files:
            yield f"in folders: {self.loose_files:,} files, {size_text(self.loose_bytes)}"
        yield f"{self.examples:,} examples are in {self.output}"


def export_dataset(
    dataset: AnyPath, output: AnyPath, layout: str, options: Sequence[str] = ()
) -> Exported:
    """Writes a dataset into the folder `output` in a layout, or goes on with that.

    `options`: Beam's, as the command line takes them. Files are renamed into place when they are
    whole, ``export.json`` last of all; pictures that lie in folders are written there one by one.
    Raises UserError, with nothing harmed, where the dataset is unfinished, damaged or lacks what
    the layout needs, and where `output` holds something else or its disk is too full; RunError
    where the run fails.
    """
    path, output = checked_path(dataset), checked_path(output)
    if layout not in LAYOUTS:
        raise UserError(f"there is no layout {layout!r}. Give one of: {', '.join(LAYOUTS)}.")
    from apache_beam.io.filesystems import FileSystems  # only a graph that is run needs Beam

    from pipeline.run.options import pipeline_options

    beam_options = pipeline_options(options, {"DIR": path, "DEST": output})
    FileSystems.set_options(beam_options)  # credentials: Beam itself would set them only later
    opened = open_dataset(path)
    publish_yaml = _publish_yaml(path, output)
    provenance = _provenance(opened, layout)
    with locked(Workspace(output, EXPORT)) as workspace:
        state = workspace.state()
        if state is not State.FRESH:
            workspace.refuse_another(state, provenance)
        if state is State.FINISHED:
            _log.info("nothing is left to do")
        else:
            with reading_from(path):
                grid = Grid.of(_checked_inputs(opened, layout), opened.recipe)
                job = _job(opened, workspace, layout, provenance, grid, publish_yaml)
                needed = _bytes_needed(job)
            if state is State.FRESH:
                check_disk_space(output, "the export", needed)
            workspace.write_provenance(provenance)
            _run(job, workspace, provenance, beam_options)
    return _open_export(workspace)


def _publish_yaml(dataset: str, output: str) -> bytes | None:
    """Returns the dataset's publish.yaml, or that of the export where it has one already.

    Raises UserError where it cannot be used.
    """
    folder = output if exists(join(output, PUBLICATION)) else dataset
    data = publication_bytes(folder)
    parse_publication(data, join(folder, PUBLICATION))
    return data


def _provenance(dataset: Dataset, layout_name: str) -> dict[str, Any]:
    """Returns what decides an export's bytes."""
    versions = {
        name: importlib.metadata.version(name)
        for name in ("depthmask", "numpy", "pillow", "pyarrow")
    }
    return {
        "layout": layout_name,
        "dataset": crc_text(file_checksum(dataset.file(MANIFEST))[0]),
        "versions": versions | encoder_versions() | {"zlib": zlib.ZLIB_RUNTIME_VERSION},
    }


def _checked_inputs(dataset: Dataset, layout_name: str) -> PreparedSource:
    """Returns the dataset's inputs. Raises UserError where it is damaged or can't fill a layout."""
    _log.info("checking the dataset")
    damaged = check_files(dataset).problems
    if damaged:
        raise UserError(
            f"{dataset.path} is damaged: {damaged[0]}. Repair it with: depthmask verify --repair "
            f"{dataset.path}"
        )
    source = PreparedSource.of_dataset(dataset.path)
    LAYOUTS[layout_name].check(dataset, source)
    if left_out := len(dataset.manifest.tally.left_out):
        _log.warning(
            "%s examples were left out of the dataset, and so of the export; a layout that numbers "
            "examples leaves their numbers out",
            f"{left_out:,}",
        )
    return source


def _job(
    dataset: Dataset,
    workspace: Workspace,
    layout_name: str,
    provenance: dict[str, Any],
    grid: Grid,
    publish_yaml: bytes | None,
) -> ExportJob:
    path = dataset.file(FEATURES)
    facts = card_facts(dataset.recipe, dataset.manifest, Publication(), Workspace(dataset.path))
    shards: dict[ShardKey, SourceShard] = {}
    first = 0
    for entry in dataset.manifest.shards:
        key = ShardKey(entry.split, entry.number)
        shards[key] = SourceShard(entry.file, first, entry.examples, entry.bytes)
        first += entry.examples
    return ExportJob(
        output=workspace.output,
        work_folder=workspace.work_folder,
        run=provenance_checksum(provenance),
        summary=summarise(facts),
        publish_yaml=publish_yaml,
        layout_name=layout_name,
        dataset=dataset.path,
        shards=shards,
        features=Features.from_bytes(read_file(path), path),
        depth=dataset.manifest.depth,
        grid=grid,
    )


def _bytes_needed(job: ExportJob) -> int:
    """Returns the bytes of disk that the export needs while it is made, from its first examples."""
    keys = (key for shard in job.shards for key in job.chunk_keys(shard))
    first = next(keys)
    joined = loose = 0
    for file in (placed.file for placed in piece_files(job, first, _SAMPLE)):
        if file.container is None:
            loose += len(file.data)
        else:
            joined += len(file.data) + _ENTRY_BYTES
    # Parts are still there while they are joined.
    return (2 * joined + loose) * job.examples // min(_SAMPLE, first.examples)


def _run(
    job: ExportJob, workspace: Workspace, provenance: dict[str, Any], options: PipelineOptions
) -> None:
    import apache_beam as beam

    from pipeline.export.graph import build_graph
    from pipeline.run.submit import run_pipeline

    pipeline = beam.Pipeline(options=options)
    build_graph(pipeline, job, provenance)
    with Progress(job.examples, job.work_folder, lambda: job.count_examples({})):
        run_pipeline(pipeline, workspace.check)


def _open_export(workspace: Workspace) -> Exported:
    """Opens a finished export; its containers are checked by size, loose pictures by number.

    Raises UserError where any is missing.
    """
    description = json.loads(read_file(workspace.path(EXPORT.last_file)))
    containers = {entry["name"]: entry["bytes"] for entry in description["files"]}
    loose = description["in_folders"]
    if is_local(workspace.output):
        for path, size in ((workspace.path(name), size) for name, size in containers.items()):
            if not os.path.exists(path) or os.path.getsize(path) != size:
                raise UserError(f"{path} is missing or damaged. Export into a new folder.")
        found = sum(len(names) for _, _, names in os.walk(workspace.output))
        beside = {CARD, CROISSANT, PUBLICATION} & set(os.listdir(workspace.output))
        missing = loose["files"] + len(containers.keys() - beside) + 1 - (found - len(beside))
        if missing > 0:
            raise UserError(
                f"{workspace.output}: {missing:,} pictures are missing. Export into a new folder."
            )
    return Exported(
        output=workspace.output,
        examples=description["examples"],
        containers=containers,
        loose_files=loose["files"],
        loose_bytes=loose["bytes"],
    )
