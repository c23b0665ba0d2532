"""Exporting a finished dataset: checks, the Beam graph, what is left behind."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsIter, AsList

from depthmask.errors import UserError
from depthmask.manifest import FEATURES, MANIFEST, crc_text
from pipeline.dataset.opened import Dataset, check_files, open_dataset
from pipeline.export.layouts import LAYOUTS
from pipeline.export.pieces import (
    PIECE_DESCRIPTION,
    ExportedFile,
    ExportJob,
    MadePiece,
    Piece,
    Share,
    find_finished,
    find_pieces,
    join_container,
    make_piece,
    piece_files,
    plan_pieces,
)
from pipeline.run.disk import check_room_on_disk, size_text
from pipeline.run.lock import at_work
from pipeline.run.progress import Progress
from pipeline.run.submit import run_pipeline
from pipeline.run.workspace import WORK_FOLDER, differences
from transforms.io.files import (
    delete_files,
    delete_folder,
    exists,
    file_checksum,
    is_local,
    join,
    list_files,
    read_file,
    replace_file,
)
from transforms.prepared import PreparedSource

# What an export is of: in the work folder until it is finished, then beside its files.
EXPORT = "export.json"
# Examples that are looked at to learn how large the export will be.
_SAMPLE = 200
_ENTRY_BYTES = 250
# All that an export puts into its work folder.
_OUR_WORK = re.compile(
    r"lock\.json.*|export\.json|[^/]+\.(part|entries)|(\d{6}|done)-[0-9a-f]+\.json"
)


@dataclass(frozen=True)
class Destination:
    """The folder of an export."""

    output: str

    def path(self, name: str) -> str:
        return join(self.output, name)

    @property
    def work_folder(self) -> str:
        return self.path(WORK_FOLDER)

    def work_path(self, name: str) -> str:
        return join(self.work_folder, name)

    def read(self, path: str) -> dict[str, Any] | None:
        """What an export is of, or None where there is none."""
        if not exists(path):
            return None
        try:
            data = json.loads(read_file(path))
        except ValueError:
            return None
        return data if isinstance(data, dict) and "layout" in data else None

    def look(self, run: dict[str, Any]) -> bool:
        """Says whether the export is finished. Raises UserError for a folder of something else."""
        if is_local(self.output):
            for path in (Path(self.output), *Path(self.output).parents):
                if path.is_file():
                    raise UserError(f"{path} is a file. Give a new folder.")
        finished = self.read(self.path(EXPORT))
        found = finished or self.read(self.work_path(EXPORT))
        if found is not None:
            lines = differences({key: found.get(key) for key in run}, run)
            if lines:
                listing = "\n".join(f"  {line}" for line in lines)
                raise UserError(
                    f"{self.output} holds another export. What differs:\n{listing}\n"
                    "Give a new folder."
                )
            return finished is not None
        work = join(self.work_folder, "")
        names = [file.path for file in list_files(self.output)]
        foreign = [
            name
            for name in names
            if not (name.startswith(work) and _OUR_WORK.fullmatch(name.removeprefix(work)))
        ]
        if foreign:
            raise UserError(
                f"{self.output} is not empty (it holds {foreign[0]}). Give a new folder."
            )
        return False

    def tidy(self) -> None:
        """Deletes the work folder where nothing was begun, or nothing is left to do."""
        if exists(self.path(EXPORT)) or not exists(self.work_path(EXPORT)):
            delete_folder(self.work_folder)


def export(path: str, output: str, layout_name: str, options: PipelineOptions) -> None:
    """Writes the dataset in `path` into the folder `output` in a layout, or goes on with that.

    Files are renamed into place when they are whole, ``export.json`` last of all; pictures that lie
    in folders are written there one by one. Raises UserError, with nothing harmed, where the
    dataset is unfinished, damaged or lacks what the layout has, and where `output` holds something
    else or has no room; RunError where the run fails.
    """
    dataset = open_dataset(path)
    destination = Destination(output)
    run = _run(dataset, layout_name)
    if destination.look(run):
        _check_files_are_there(destination)
        print("nothing is left to do", file=sys.stderr)
        return
    print("checking the dataset", file=sys.stderr)
    damaged = check_files(dataset).problems
    if damaged:
        raise UserError(
            f"{path} is damaged: {damaged[0]}. Mend it by: depthmask verify --repair {path}"
        )
    LAYOUTS[layout_name].check(dataset, PreparedSource.of_dataset(path))
    job = _job(dataset, destination, layout_name)
    pieces = plan_pieces(job, dataset.manifest.shards)
    if destination.read(destination.work_path(EXPORT)) is None:
        _check_room(job, pieces)
    with at_work(destination):
        data = json.dumps(run, indent=2).encode()
        replace_file(destination.work_path(EXPORT), destination.work_path(f"{EXPORT}.part"), [data])
        _run_job(job, pieces, run, options)
    _check_files_are_there(destination)
    _print_summary(destination)


def _run(dataset: Dataset, layout_name: str) -> dict[str, Any]:
    """What decides an export's bytes."""
    names = ("depthmask", "numpy", "pillow")
    return {
        "layout": layout_name,
        "dataset": crc_text(file_checksum(dataset.file(MANIFEST))[0]),
        "made_with": {name: importlib.metadata.version(name) for name in names},
    }


def _job(dataset: Dataset, destination: Destination, layout_name: str) -> ExportJob:
    features = json.loads(read_file(dataset.file(FEATURES)))["featuresDict"]["features"]
    return ExportJob(
        layout_name=layout_name,
        dataset=dataset.path,
        output=destination.output,
        work_folder=destination.work_folder,
        total=dataset.manifest.examples,
        features=features,
        depth=dataset.manifest.depth,
    )


def _check_files_are_there(destination: Destination) -> None:
    """Local files, by their sizes; pictures in folders by their number."""
    if not is_local(destination.output):
        return
    description = json.loads(read_file(destination.path(EXPORT)))
    for entry in description["files"]:
        path = destination.path(entry["name"])
        if not os.path.exists(path) or os.path.getsize(path) != entry["bytes"]:
            raise UserError(f"{path} is missing or damaged. Export into a new folder.")
    found = sum(len(names) for folder, _, names in os.walk(destination.output))
    missing = description["in_folders"]["files"] + len(description["files"]) + 1 - found
    if missing > 0:
        raise UserError(
            f"{destination.output}: {missing:,} pictures are missing. Export into a new folder."
        )


def _check_room(job: ExportJob, pieces: list[Piece]) -> None:
    """Raises UserError where the disk has no room; what the export will need is measured."""
    if not is_local(job.output):
        return
    examples = [piece for piece in pieces if piece.number]
    joined = loose = 0
    for file in piece_files(job, examples[0], _SAMPLE):
        if file.container is None:
            loose += len(file.data)
        else:
            joined += len(file.data) + _ENTRY_BYTES
    # While a container is joined, its pieces are still there.
    needed = (2 * joined + loose) * job.total // min(_SAMPLE, examples[0].examples)
    check_room_on_disk(job.output, "the export", needed)


def _run_job(
    job: ExportJob, pieces: list[Piece], run: dict[str, Any], options: PipelineOptions
) -> None:
    _sweep(job)
    finished = find_finished(job)
    made = find_pieces(job, finished)
    pipeline = beam.Pipeline(options=options)
    build_graph(pipeline, job, pieces, made, finished, run)
    sizes = {piece.number: piece.examples for piece in pieces}
    with Progress(job.total, job.work_folder, lambda: _count(job, sizes)):
        run_pipeline(pipeline)


def _sweep(job: ExportJob) -> None:
    """Deletes what an interrupted export left half-written."""
    files = list_files(job.work_folder)
    described = {
        file.name.removesuffix(".json") for file in files if PIECE_DESCRIPTION.fullmatch(file.name)
    }
    delete_files(
        file.path
        for file in files
        if file.name.endswith((".part", ".entries"))
        and file.name.rsplit("-", 1)[0] not in described
    )


def _count(job: ExportJob, sizes: dict[int, int]) -> int:
    try:
        files = list_files(job.work_folder)
    except OSError:  # a listing that fails is made again in a moment
        return 0
    numbers = {int(found[1]) for file in files if (found := PIECE_DESCRIPTION.fullmatch(file.name))}
    return sum(sizes.get(number, 0) for number in numbers)


# The graph


def build_graph(
    pipeline: beam.Pipeline,
    job: ExportJob,
    pieces: list[Piece],
    made: dict[int, MadePiece],
    finished: list[ExportedFile],
    run: dict[str, Any],
) -> None:
    """Adds the whole graph to `pipeline`: pieces are made apart, and joined container by container.

    What `made` and `finished` hold is not made again. Only names and counts cross the shuffle.
    """
    missing = [piece for piece in pieces if piece.number not in made]
    new = (
        pipeline
        | "Pieces" >> beam.Create(missing, reshuffle=False)
        | "Spread" >> beam.Reshuffle()
        | "MakePieces" >> beam.Map(lambda piece: make_piece(job, piece))
    )
    old = pipeline | "MadePieces" >> beam.Create(list(made.values()), reshuffle=False)
    all_pieces = (new, old) | "AllPieces" >> beam.Flatten()
    done = {file.name for file in finished}
    joined = (
        all_pieces
        | "Shares" >> beam.FlatMap(lambda piece: _open_shares(piece, done))
        | "ByContainer" >> beam.WithKeys(lambda share: share.container)
        | "GroupByContainer" >> beam.GroupByKey()
        | "Join" >> beam.MapTuple(lambda _, shares: join_container(job, shares))
    )
    _ = (
        pipeline
        | "Once" >> beam.Create([run])
        | "Finish"
        >> beam.Map(
            _finish,
            job=job,
            finished=finished,
            joined=AsList(joined),
            pieces=AsIter(all_pieces),
        )
    )


def _open_shares(piece: MadePiece, done: set[str]) -> Iterator[Share]:
    yield from (share for share in piece.shares if share.container not in done)


def _finish(
    run: dict[str, Any],
    job: ExportJob,
    finished: list[ExportedFile],
    joined: list[ExportedFile],
    pieces: Any,
) -> None:
    """Writes export.json. Runs again harmlessly, should the runner retry it."""
    loose = {piece.number: (piece.loose_files, piece.loose_bytes) for piece in pieces}
    files = sorted({file.name: file for file in [*finished, *joined]}.values(), key=_name)
    description = run | {
        "examples": job.total,
        "depth": job.depth and job.depth.to_json(),
        "files": [dataclasses.asdict(file) | {"crc32c": crc_text(file.crc32c)} for file in files],
        "in_folders": {
            "files": sum(count for count, _ in loose.values()),
            "bytes": sum(size for _, size in loose.values()),
        },
    }
    part = join(job.work_folder, f"{EXPORT}.{uuid.uuid4().hex[:12]}.part")
    replace_file(join(job.output, EXPORT), part, [json.dumps(description, indent=2).encode()])


def _name(file: ExportedFile) -> str:
    return file.name


def _print_summary(destination: Destination) -> None:
    description = json.loads(read_file(destination.path(EXPORT)))
    for entry in description["files"]:
        print(f"{entry['name']}: {size_text(entry['bytes'])}")
    loose = description["in_folders"]
    if loose["files"]:
        print(f"in folders: {loose['files']:,} files, {size_text(loose['bytes'])}")
    print(f"{description['examples']:,} examples are in {destination.output}")
