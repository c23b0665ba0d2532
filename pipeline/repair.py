"""Repairing a dataset: just the shards that are missing or damaged are made again."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from depthmask.errors import RunError, UserError
from depthmask.manifest import MANIFEST, Provenance, ShardEntry, crc_text
from pipeline.dataset import Dataset, DatasetDescription, check_plan, open_dataset
from pipeline.generate import run_job
from pipeline.job import Draft, Job
from pipeline.probe import probe
from pipeline.run import SET_ASIDE, Workspace, locked
from pipeline.run.options import pipeline_options
from transforms.depth import ModelChoice, parse_model
from transforms.elements import ShardKey
from transforms.index import index_rows
from transforms.io.files import (
    AnyPath,
    checked_path,
    exists,
    rename_file,
    stored_checksum,
)
from transforms.prepared import PreparedSource

_log = logging.getLogger("depthmask")


@dataclass(frozen=True)
class Repair:
    """What a repair did: names of the shards that were made again."""

    dataset: str
    shards: tuple[str, ...]


def repair(dataset: AnyPath, depth_model: str | None = None, options: Sequence[str] = ()) -> Repair:
    """Makes the missing and damaged files of a finished dataset again.

    A repair resumes a run: good shards are marked as finished, the manifest is set aside, and the
    rest is made from the inputs that the dataset holds. If a repair is interrupted, call it again;
    until then the folder is an unfinished run.
    `depth_model`: the model that made the dataset's depth, if it was not ``builtin``.
    Raises UserError where the dataset lacks what is needed to repair it, RunError where the result
    differs from what the manifest says.
    """
    output = checked_path(dataset)
    model = None if depth_model is None else parse_model(depth_model)
    beam_options = pipeline_options(options, {"DIR": output})
    workspace = Workspace(output)
    set_aside = workspace.work_path(SET_ASIDE)
    if not exists(workspace.path(MANIFEST)) and not exists(set_aside):
        raise UserError(
            f"{output} has no manifest, so it is not a finished dataset. Run generate again to "
            "finish it."
        )
    with locked(workspace):
        if not exists(workspace.path(MANIFEST)):  # an interrupted repair
            rename_file(set_aside, workspace.path(MANIFEST))
        opened = open_dataset(output)
        manifest, provenance = opened.manifest, opened.manifest.provenance
        source = _open_inputs(opened)
        draft = Draft.of(opened.recipe, source, _model(provenance, model))
        check_plan(opened, draft.plan)
        blank = dataclasses.replace(manifest, files={}, shards=())
        description = DatasetDescription(output, opened.recipe, blank)
        job = Job(opened.recipe, source, draft.depth, description)
        if draft.depth:
            probe(draft)  # refuses one that does not run here
            if device := provenance.versions.get("accelerator"):
                _log.warning(
                    f"depth was made on Dataflow (accelerator: {device}); only a machine of that "
                    "kind makes the same again"
                )
        damaged = []
        for entry in manifest.shards:
            if _is_intact(opened.file(entry.file), entry.crc32c):
                _mark_finished(entry, job)
            else:
                damaged.append(entry.file)
                _log.info(f"making {entry.file} again")
        workspace.write_provenance(provenance.to_json())
        rename_file(workspace.path(MANIFEST), set_aside)
        run_job(job, beam_options)
        found = open_dataset(output).manifest.checksums
        changed = [name for name, crc in manifest.checksums.items() if found.get(name) != crc]
    if changed:
        raise RunError(
            f"these files differ from the original ones: {', '.join(changed)}. Other versions of "
            "packages may be installed than those that the manifest names."
        )
    return Repair(output, tuple(damaged))


def _open_inputs(dataset: Dataset) -> PreparedSource:
    for name, crc in dataset.manifest.provenance.inputs.items():
        if not _is_intact(dataset.file(name), crc):
            raise UserError(
                f"{dataset.file(name)} is missing or damaged, and shards are made from it. Run "
                "generate again with the original pictures and --restart."
            )
    return PreparedSource.of_dataset(dataset.path)


def _is_intact(path: str, crc: int) -> bool:
    """Whether a file is there with this CRC-32C."""
    try:
        return stored_checksum(path)[0] == crc
    except OSError:
        return False


def _model(provenance: Provenance, depth_model: ModelChoice | None) -> ModelChoice | None:
    """The model that made the depth, if there is any. Raises UserError where another is given."""
    made_by = provenance.depth_model
    if made_by is None:
        return None
    if depth_model is None and not made_by.name:
        depth_model = parse_model(made_by.kind)
    if depth_model is None:
        raise UserError(
            f"the dataset has depth: name its model too, by --depth-model {made_by.kind}:"
            f"PATH/{made_by.name}."
        )
    given = depth_model.identity()
    if given != made_by:
        raise UserError(
            f"this dataset's depth was made by {made_by} (CRC-32C {crc_text(made_by.crc32c)}), not "
            f"by {given} (CRC-32C {crc_text(given.crc32c)}). Give the same model under the same "
            "name: kind and name can decide its scale."
        )
    return depth_model


def _mark_finished(entry: ShardEntry, job: Job) -> None:
    """Writes what a run leaves in its work folder for a shard that it has just finished."""
    plan, key = job.plan, ShardKey(entry.split, entry.number)
    left_out = {example.id for example in entry.tally.left_out}
    rows = (index_rows(plan.chunk(chunk), left_out).encode() for chunk in plan.chunk_keys(key))
    job.store.describe_shard(entry, rows)
