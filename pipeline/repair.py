"""Repairing a dataset: just the shards that are missing or damaged are made again."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from depthmask.errors import UserError
from depthmask.manifest import BACKGROUND_DEPTHS, MANIFEST
from pipeline.dataset import (
    Dataset,
    DatasetDescription,
    check_model,
    check_plan,
    open_dataset,
    reading_from,
)
from pipeline.job import Draft
from pipeline.making import check_remade, is_intact, remake
from pipeline.probe import probe
from pipeline.publish.publication import read_publication
from pipeline.run import SET_ASIDE, Workspace, locked
from pipeline.run.options import pipeline_options
from transforms.depth import Layers, ModelChoice, parse_model
from transforms.io.files import AnyPath, checked_path, exists
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
    publication = read_publication(output)
    set_aside = workspace.work_path(SET_ASIDE)
    if not exists(workspace.path(MANIFEST)) and not exists(set_aside):
        raise UserError(
            f"{output} has no manifest, so it is not a finished dataset. Run generate again to "
            "finish it."
        )
    with locked(workspace) as workspace:
        check_remade(workspace)
        if not exists(workspace.path(MANIFEST)):  # an interrupted repair
            workspace.place(set_aside, MANIFEST)
        opened = open_dataset(output)
        manifest, provenance = opened.manifest, opened.manifest.provenance
        draft = _draft(opened, model)
        check_plan(opened, draft.plan)
        kept = {name: crc for name, crc in manifest.files.items() if name == BACKGROUND_DEPTHS}
        blank = dataclasses.replace(manifest, files=kept, shards=())
        job = draft.job(DatasetDescription(output, opened.recipe, blank, publication))
        if draft.depth:
            probe(draft)  # refuses one that does not run here
            if device := provenance.versions.get("accelerator"):
                _log.warning(
                    f"depth was made on Dataflow (accelerator: {device}); only a machine of that "
                    "kind makes the same again"
                )
        return Repair(output, remake(opened, job, workspace, beam_options))


def _draft(dataset: Dataset, model: ModelChoice | None) -> Draft:
    """What the dataset was made from. Where depth is of backgrounds, that is there without a model.

    Raises UserError where something that is needed is missing.
    """
    manifest, source = dataset.manifest, _open_inputs(dataset)
    crc = manifest.files.get(BACKGROUND_DEPTHS)
    if not (manifest.depth and crc is not None and is_intact(dataset.file(BACKGROUND_DEPTHS), crc)):
        return Draft.of(dataset.recipe, source, _model(dataset, model), True)
    source = source.with_depths(dataset.path)
    return Draft(dataset.recipe, source, None, Layers.of(manifest.depth), True)


def _open_inputs(dataset: Dataset) -> PreparedSource:
    for name, crc in dataset.manifest.provenance.inputs.items():
        if not is_intact(dataset.file(name), crc):
            raise UserError(
                f"{dataset.file(name)} is missing or damaged, and shards are made from it. Run "
                "generate again with the original pictures and --restart."
            )
    with reading_from(dataset.path):
        return PreparedSource.of_dataset(dataset.path)


def _model(dataset: Dataset, depth_model: ModelChoice | None) -> ModelChoice | None:
    """The model that made the depth, if there is any. Raises UserError where another is given."""
    made_by = dataset.manifest.provenance.depth_model
    if made_by is None:
        return None
    if depth_model is None and not made_by.name:
        depth_model = parse_model(made_by.kind)
    if depth_model is None:
        raise UserError(
            f"the dataset has depth: name its model too, by --depth-model {made_by.kind}:"
            f"PATH/{made_by.name}."
        )
    check_model(dataset, depth_model)
    return depth_model
