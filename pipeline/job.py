"""One run of the main job: all that making its dataset needs to know."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from pipeline.dataset import DatasetDescription
from pipeline.plan import Plan
from pipeline.recipes import Recipe
from transforms.background_depths import BackgroundDepthStore
from transforms.depth import DepthStage, Layers, ModelChoice, PictureSize
from transforms.encode import RecordEncoder
from transforms.parts import provenance_checksum
from transforms.prepared import PreparedSource
from transforms.segments import ShardStore


@dataclass(frozen=True)
class Draft:
    """What decides every example: the settled recipe, the prepared inputs, how depth is made.

    `depth`: how it is estimated; None where it is not. `layers`: how it is drawn from that of the
    backgrounds; None where it is not. `skip_unknown`: leave out foregrounds before which no depth
    was measured.
    """

    recipe: Recipe
    source: PreparedSource
    depth: DepthStage | None
    layers: Layers | None
    skip_unknown: bool

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        source: PreparedSource,
        model: ModelChoice | None,
        skip_unknown: bool = False,
    ) -> Draft:
        """Depth of the source's backgrounds was measured, if there is any.

        Raises UserError where the recipe and the depth model do not go together.
        """
        canvas = PictureSize(width=recipe.canvas.width, height=recipe.canvas.height)
        size, absolute = recipe.depth.size or canvas, recipe.depth.absolute
        if source.depths:
            layers = Layers(size, metric=absolute, inverse=False, measured=True)
            return Draft(recipe, source, None, layers, skip_unknown)
        if model is None:
            return Draft(recipe, source, None, None, skip_unknown)
        stage = DepthStage.of(model, recipe.depth, canvas)
        recipe = recipe.model_copy(update={"depth": stage.settings})
        if recipe.depth.of != "background":
            return Draft(recipe, source, stage, None, skip_unknown)
        inverse = stage.interface.quantity == "inverse_depth"
        layers = Layers(size, stage.interface.metric and absolute, inverse, measured=False)
        return Draft(recipe, source, stage, layers, skip_unknown)

    @property
    def has_depth(self) -> bool:
        return self.depth is not None or self.layers is not None

    @functools.cached_property
    def plan(self) -> Plan:
        """Which examples there are, in which shards."""
        return Plan(self.recipe, self.source.backgrounds, self.source.foregrounds)

    def job(self, description: DatasetDescription) -> Job:
        """Returns the job that makes the dataset described, its inputs in that one's folder."""
        source = self.source.moved(description.output)
        return Job(self.recipe, source, self.depth, self.layers, self.skip_unknown, description)

    @property
    def encoder(self) -> RecordEncoder:
        """How examples become records."""
        return RecordEncoder(
            image=self.recipe.image,
            mask=self.recipe.masks,
            binary_masks=not self.recipe.masks.soft,
            depth=self.recipe.depth if self.has_depth else None,
            compression=self.recipe.compression,
            layers=self.layers,
            skip_unknown=self.skip_unknown,
        )


@dataclass(frozen=True)
class Job(Draft):
    """A draft whose first examples were made: what its dataset will be is known."""

    description: DatasetDescription

    @property
    def store(self) -> ShardStore:
        """Where its shards and their segments are kept."""
        return ShardStore(*self._place, self.plan.shard_sizes)

    @property
    def depth_store(self) -> BackgroundDepthStore:
        """Where depth of its backgrounds is kept."""
        settings = self.recipe.depth
        return BackgroundDepthStore(*self._place, len(self.source.backgrounds), settings.batch_size)

    @property
    def _place(self) -> tuple[str, str, str]:
        """The output, its work folder, and the checksum of what decides its bytes."""
        workspace = self.description.workspace
        run = provenance_checksum(self.description.manifest.provenance.to_json())
        return workspace.output, workspace.work_folder, run
