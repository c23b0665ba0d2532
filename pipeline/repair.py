"""Repairing a dataset: just the shards that are missing or damaged are made again."""

from __future__ import annotations

import dataclasses
import posixpath
import sys

from apache_beam.options.pipeline_options import PipelineOptions

from depthmask.errors import RunError, UserError
from depthmask.manifest import MANIFEST, ShardEntry, crc_text
from pipeline.dataset.description import DatasetDescription
from pipeline.dataset.opened import Dataset, check_plan, open_dataset
from pipeline.generate import run_job, shard_layout
from pipeline.job import depth_stage
from pipeline.plan.plan import Plan
from pipeline.probe import make_trial
from pipeline.run.lock import at_work
from pipeline.run.workspace import Workspace
from transforms.depth.builtin import builtin_path
from transforms.depth.model import DepthStage, ModelChoice
from transforms.depth.model_files import checksum
from transforms.elements import Shard, ShardKey
from transforms.index import index_rows
from transforms.io.files import exists, rename_file, stored_checksum
from transforms.prepared import PreparedSource
from transforms.segments import ShardLayout, describe_shard


def repair(output: str, depth_model: ModelChoice | None, options: PipelineOptions) -> int:
    """Makes a finished dataset whole again; gives the number of shards that were made.

    A repair is a run that is taken up again: good shards are written down as finished, the
    manifest is set aside, and the rest is made as ever, from the inputs that the dataset holds.
    Interrupted, it can be called again; until then the folder is an unfinished run. Raises
    UserError where the dataset holds too little to be repaired from, RunError where what was made
    is not what the manifest promises.
    """
    workspace = Workspace(output)
    set_aside = workspace.work_path(MANIFEST)
    if not exists(workspace.path(MANIFEST)) and not exists(set_aside):
        raise UserError(
            f"{output} has no manifest, so it is no finished dataset. Run generate again to "
            "finish it."
        )
    with at_work(workspace):
        if not exists(workspace.path(MANIFEST)):  # an interrupted repair
            rename_file(set_aside, workspace.path(MANIFEST))
        dataset = open_dataset(output)
        manifest, provenance = dataset.manifest, dataset.manifest.provenance
        source = _open_inputs(dataset)
        plan = Plan(dataset.recipe, source.backgrounds, source.foregrounds)
        check_plan(dataset, plan)
        depth = _depth_stage(dataset, depth_model)
        blank = dataclasses.replace(manifest, files={}, shards=())
        description = DatasetDescription(output, dataset.recipe, blank)
        layout = shard_layout(plan, description)
        if depth:
            make_trial(depth, plan, source)  # refuses one that does not run here
            if device := provenance.versions.get("accelerator"):
                print(
                    f"depth was made on Dataflow (accelerator: {device}); only a machine of that "
                    "kind makes the same again",
                    file=sys.stderr,
                )
        damaged = 0
        for entry in manifest.shards:
            if _is_intact(dataset.file(entry.file), entry.crc32c):
                _mark_finished(entry, plan, layout)
            else:
                damaged += 1
                print(f"making {entry.file} again", file=sys.stderr)
        workspace.write_run(provenance.to_json())
        rename_file(workspace.path(MANIFEST), set_aside)
        run_job(plan, source, depth, description, options)
        found = open_dataset(output).manifest.checksums
        changed = [name for name, crc in manifest.checksums.items() if found.get(name) != crc]
    if changed:
        raise RunError(
            f"these came out otherwise than before: {', '.join(changed)}. Other versions of "
            "depthmask's packages may be installed than those that the manifest names."
        )
    return damaged


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


def _depth_stage(dataset: Dataset, depth_model: ModelChoice | None) -> DepthStage | None:
    made_by = dataset.manifest.provenance.depth_model
    if made_by is None:
        return None
    if depth_model is None and made_by.kind == "builtin":
        depth_model = ModelChoice("builtin")
    if depth_model is None:
        raise UserError(
            f"the dataset has depth: name its model too, by --depth-model {made_by.kind}:"
            f"PATH/{made_by.name}."
        )
    crc = checksum(depth_model.path or builtin_path())
    kind, name = depth_model.kind, posixpath.basename(depth_model.path.rstrip("/"))
    if kind != made_by.kind or (name and name != made_by.name):
        raise UserError(
            f"this dataset's depth was made by {made_by}, not by {kind}:{name}: a model's kind and "
            "name can decide its scale."
        )
    if crc != made_by.crc32c:
        raise UserError(
            f"{depth_model} is not the model that made this dataset's depth (CRC-32C "
            f"{crc_text(crc)} instead of {crc_text(made_by.crc32c)}, {made_by.name})."
        )
    return depth_stage(depth_model, dataset.recipe)


def _mark_finished(entry: ShardEntry, plan: Plan, layout: ShardLayout) -> None:
    """Leaves of a good shard what a run that has just finished it would leave."""
    key = ShardKey(entry.split, entry.number)
    shard = Shard(
        key=key,
        path=layout.path(key),
        index_path=layout.index_path(key),
        examples=entry.examples,
        bytes=entry.bytes,
        crc32c=entry.crc32c,
        tally=entry.tally,
    )
    left_out = {example.id for example in entry.tally.left_out}
    rows = (index_rows(plan.chunk(chunk), left_out).encode() for chunk in plan.chunk_keys(key))
    describe_shard(shard, rows, layout)
