"""One run of the main job: all that making its dataset needs to know."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from pipeline.dataset import DatasetDescription
from pipeline.plan import Plan
from pipeline.recipes import Recipe
from transforms.depth import DepthStage, ModelChoice, PictureSize
from transforms.encode import RecordEncoder
from transforms.parts import provenance_checksum
from transforms.prepared import PreparedSource
from transforms.segments import ShardStore


@dataclass(frozen=True)
class Draft:
    """What decides every example: the settled recipe, the prepared inputs, how depth is estimated.

    `depth`: None where there is none.
    """

    recipe: Recipe
    source: PreparedSource
    depth: DepthStage | None

    @classmethod
    def of(cls, recipe: Recipe, source: PreparedSource, model: ModelChoice | None) -> Draft:
        """Raises UserError where the recipe and the depth model do not go together."""
        if model is None:
            return Draft(recipe, source, None)
        canvas = PictureSize(width=recipe.canvas.width, height=recipe.canvas.height)
        stage = DepthStage.of(model, recipe.depth, canvas)
        return Draft(recipe.model_copy(update={"depth": stage.settings}), source, stage)

    @functools.cached_property
    def plan(self) -> Plan:
        """Which examples there are, in which shards."""
        return Plan(self.recipe, self.source.backgrounds, self.source.foregrounds)

    @property
    def encoder(self) -> RecordEncoder:
        """How examples become records."""
        return RecordEncoder(
            image=self.recipe.image,
            mask=self.recipe.masks,
            binary_masks=not self.recipe.masks.soft,
            depth=self.depth.settings if self.depth else None,
            compression=self.recipe.compression,
        )


@dataclass(frozen=True)
class Job(Draft):
    """A draft whose first examples were made: what its dataset will be is known."""

    description: DatasetDescription

    @property
    def store(self) -> ShardStore:
        """Where its shards and their segments are kept."""
        workspace = self.description.workspace
        run = provenance_checksum(self.description.manifest.provenance.to_json())
        return ShardStore(workspace.output, workspace.work_folder, run, self.plan.shard_sizes)
