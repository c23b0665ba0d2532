"""Repairing a dataset: just the shards that are missing or damaged are made again."""

from __future__ import annotations

import posixpath
import sys
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from depthmask.errors import RunError, UserError
from depthmask.manifest import MANIFEST, PREPARED
from depthmask.tally import Tally
from pipeline.dataset.description import DatasetDescription, DepthInfo
from pipeline.generate import run_job, shard_layout
from pipeline.job import depth_stage
from pipeline.plan.plan import Plan
from pipeline.probe import make_trial
from pipeline.recipes.schema import Recipe
from pipeline.run.lock import at_work
from pipeline.run.workspace import Workspace
from transforms.depth.builtin import builtin_path
from transforms.depth.model import DepthStage, ModelChoice
from transforms.depth.model_files import checksum
from transforms.elements import Shard, ShardKey
from transforms.io.files import crc_text, exists, rename_file, stored_checksum
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
        manifest = workspace.read_manifest()
        source = _open_inputs(workspace, manifest)
        recipe = Recipe.model_validate(manifest["run"]["recipe"])
        plan = Plan(recipe, source.backgrounds, source.foregrounds)
        depth = _depth_stage(manifest, recipe, depth_model)
        description = _description(workspace, manifest, recipe)
        layout = shard_layout(plan, description)
        if depth:
            make_trial(depth, plan, source)  # refuses one that does not run here
            if device := description.versions.get("accelerator"):
                print(
                    f"depth was made on Dataflow (accelerator: {device}); only a machine of that "
                    "kind makes the same again",
                    file=sys.stderr,
                )
        damaged = 0
        for key, entry in zip(plan.shard_keys(), manifest["shards"], strict=True):
            if _is_intact(layout.path(key), entry):
                _write_down(key, entry, plan, layout)
            else:
                damaged += 1
                print(f"making {entry['file']} again", file=sys.stderr)
        workspace.write_run(description.run)
        rename_file(workspace.path(MANIFEST), set_aside)
        run_job(plan, source, depth, description, options)
        changed = _changed(manifest, workspace.read_manifest())
    if changed:
        raise RunError(
            f"these came out otherwise than before: {', '.join(changed)}. Other versions of "
            "depthmask's packages may be installed than those that the manifest names."
        )
    return damaged


def _open_inputs(workspace: Workspace, manifest: dict[str, Any]) -> PreparedSource:
    for name in PREPARED:
        path = workspace.path(name)
        if not _is_intact(path, manifest["files"][name]):
            raise UserError(
                f"{path} is missing or damaged, and shards are made from it. Run generate again "
                "with the original pictures and --restart."
            )
    return PreparedSource.of_dataset(workspace.output)


def _is_intact(path: str, entry: dict[str, Any]) -> bool:
    """Whether a file is there with the checksum that the manifest has of it."""
    try:
        return crc_text(stored_checksum(path)[0]) == str(entry["crc32c"])
    except OSError:
        return False


def _depth_stage(
    manifest: dict[str, Any], recipe: Recipe, depth_model: ModelChoice | None
) -> DepthStage | None:
    made_with = manifest["run"]["depth_model"]
    if made_with is None:
        return None
    if depth_model is None and made_with["kind"] == "builtin":
        depth_model = ModelChoice("builtin")
    if depth_model is None:
        raise UserError(
            f"the dataset has depth: name its model too, by --depth-model {made_with['kind']}:"
            f"PATH/{made_with['name']}."
        )
    crc = crc_text(checksum(depth_model.path or builtin_path()))
    kind, name = depth_model.kind, posixpath.basename(depth_model.path.rstrip("/"))
    if kind != made_with["kind"] or (name and name != made_with["name"]):
        raise UserError(
            f"this dataset's depth was made by {made_with['kind']}:{made_with['name']}, not by "
            f"{kind}:{name}: a model's kind and name can decide its scale."
        )
    if crc != made_with["crc32c"]:
        raise UserError(
            f"{depth_model} is not the model that made this dataset's depth (CRC-32C {crc} instead "
            f"of {made_with['crc32c']}, {made_with['name']})."
        )
    return depth_stage(depth_model, recipe)


def _description(
    workspace: Workspace, manifest: dict[str, Any], recipe: Recipe
) -> DatasetDescription:
    depth, model = manifest["depth"], manifest["run"]["depth_model"]
    return DatasetDescription(
        output=workspace.output,
        recipe=recipe,
        input_tally=Tally.from_json(manifest["input_tally"]),
        input_checksums=manifest["run"]["inputs"],
        findings=tuple(manifest["findings"]),
        versions=manifest["run"]["made_with"],
        backgrounds=manifest["backgrounds"],
        foregrounds=manifest["foregrounds"],
        depth=depth
        and DepthInfo(
            width=depth["width"],
            height=depth["height"],
            quantity=depth["quantity"],
            metric=recipe.depth.model.metric,
            kind=model["kind"],
            model=model["name"],
            crc32c=model["crc32c"],
        ),
    )


def _write_down(key: ShardKey, entry: dict[str, Any], plan: Plan, layout: ShardLayout) -> None:
    """Leaves of a good shard what a run that has just finished it would leave."""
    shard = Shard(
        key=key,
        path=layout.path(key),
        index_path=layout.index_path(key),
        examples=entry["examples"],
        bytes=entry["bytes"],
        crc32c=int(entry["crc32c"], 16),
        tally=Tally.from_json(entry["tally"]),
    )
    left_out = {example.id for example in shard.tally.left_out}
    rows = (plan.chunk(chunk).index_rows(left_out).encode() for chunk in plan.chunk_keys(key))
    describe_shard(shard, rows, layout)


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of the files whose checksums are not what they were."""
    old, new = (
        {shard["file"]: shard["crc32c"] for shard in manifest["shards"]}
        | {name: entry["crc32c"] for name, entry in manifest["files"].items()}
        for manifest in (before, after)
    )
    return [name for name in old if old[name] != new.get(name)]
