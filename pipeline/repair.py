"""Repairing a dataset: just the shards that are missing or damaged are made again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from depthmask.errors import RunError, UserError
from depthmask.manifest import MANIFEST, PREPARED, ModelIdentity
from depthmask.tally import Tally
from pipeline.dataset.description import DatasetDescription, DepthInfo
from pipeline.generate import run_job
from pipeline.job import Draft, Job
from pipeline.probe import probe
from pipeline.recipes.schema import Recipe
from pipeline.run.lock import locked
from pipeline.run.options import pipeline_options
from pipeline.run.workspace import SET_ASIDE, Workspace
from transforms.depth.kinds import parse_model
from transforms.depth.model import ModelChoice
from transforms.elements import ShardKey
from transforms.io.files import (
    AnyPath,
    WrittenFile,
    checked_path,
    crc_text,
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
    """Makes a finished dataset whole again.

    A repair is a run that is taken up again: good shards are written down as finished, the
    manifest is set aside, and the rest is made as ever, from the inputs that the dataset holds.
    Interrupted, it can be called again; until then the folder is an unfinished run.
    `depth_model`: the model that made the dataset's depth, if that was another than ``builtin``.
    Raises UserError where the dataset holds too little to be repaired from, RunError where what was
    made is not what the manifest promises.
    """
    output = checked_path(dataset)
    model = None if depth_model is None else parse_model(depth_model)
    beam_options = pipeline_options(options, {"DIR": output})
    workspace = Workspace(output)
    set_aside = workspace.work_path(SET_ASIDE)
    if not exists(workspace.path(MANIFEST)) and not exists(set_aside):
        raise UserError(
            f"{output} has no manifest, so it is no finished dataset. Run generate again to "
            "finish it."
        )
    with locked(workspace):
        if not exists(workspace.path(MANIFEST)):  # an interrupted repair
            rename_file(set_aside, workspace.path(MANIFEST))
        manifest = workspace.read_manifest()
        source = _open_inputs(workspace, manifest)
        recipe = Recipe.model_validate(manifest["provenance"]["recipe"])
        draft = Draft.of(recipe, source, _model(manifest, model))
        job = Job(recipe, source, draft.depth, _description(workspace, manifest, recipe))
        if draft.depth:
            probe(draft)  # refuses one that does not run here
            if device := job.description.versions.get("accelerator"):
                _log.warning(
                    f"depth was made on Dataflow (accelerator: {device}); only a machine of that "
                    "kind makes the same again"
                )
        damaged = []
        for key, entry in zip(job.plan.shard_keys(), manifest["shards"], strict=True):
            if _is_intact(workspace.path(entry["file"]), entry):
                _write_down(key, entry, job)
            else:
                damaged.append(entry["file"])
                _log.info(f"making {entry['file']} again")
        workspace.write_provenance(job.description.run)
        rename_file(workspace.path(MANIFEST), set_aside)
        run_job(job, beam_options)
        changed = _changed(manifest, workspace.read_manifest())
    if changed:
        raise RunError(
            f"these came out otherwise than before: {', '.join(changed)}. Other versions of "
            "depthmask's packages may be installed than those that the manifest names."
        )
    return Repair(output, tuple(damaged))


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


def _model(manifest: dict[str, Any], depth_model: ModelChoice | None) -> ModelChoice | None:
    """The model that made the depth, if there is any. Raises UserError where another is given."""
    if manifest["provenance"]["depth_model"] is None:
        return None
    made_by = ModelIdentity.from_json(manifest["provenance"]["depth_model"])
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


def _description(
    workspace: Workspace, manifest: dict[str, Any], recipe: Recipe
) -> DatasetDescription:
    depth, model = manifest["depth"], manifest["provenance"]["depth_model"]
    return DatasetDescription(
        output=workspace.output,
        recipe=recipe,
        input_tally=Tally.from_json(manifest["input_tally"]),
        input_checksums=manifest["provenance"]["inputs"],
        findings=tuple(manifest["findings"]),
        versions=manifest["provenance"]["made_with"],
        backgrounds=manifest["backgrounds"],
        foregrounds=manifest["foregrounds"],
        depth=depth
        and DepthInfo(
            width=depth["width"],
            height=depth["height"],
            quantity=depth["quantity"],
            metric=recipe.depth.model.metric,
            model=ModelIdentity.from_json(model),
        ),
    )


def _write_down(key: ShardKey, entry: dict[str, Any], job: Job) -> None:
    """Leaves of a good shard what a run that has just finished it would leave."""
    plan, path = job.plan, job.store.path(entry["file"])
    written = WrittenFile(path, entry["bytes"], int(entry["crc32c"], 16))
    tally = Tally.from_json(entry["tally"])
    left_out = {example.id for example in tally.left_out}
    rows = (plan.chunk(chunk).index_rows(left_out).encode() for chunk in plan.chunk_keys(key))
    job.store.describe_shard(key, written, tally, rows)


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of the files whose checksums are not what they were."""
    old, new = (
        {shard["file"]: shard["crc32c"] for shard in manifest["shards"]}
        | {name: entry["crc32c"] for name, entry in manifest["files"].items()}
        for manifest in (before, after)
    )
    return [name for name in old if old[name] != new.get(name)]
