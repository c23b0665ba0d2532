"""What is known of a dataset before its first example is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from depthmask.manifest import DepthMeaning, Manifest, ModelIdentity
from pipeline.publish.publication import Publication
from pipeline.recipes import Recipe
from pipeline.run import Workspace
from transforms.depth import DepthStorage


@dataclass(frozen=True)
class DepthInfo:
    """What depth a dataset has: pixels of each map, what they mean, the model they are of.

    `model`: None where depth was measured.
    """

    width: int
    height: int
    quantity: str
    metric: bool
    model: ModelIdentity | None
    licence: str | None

    def meaning(self, storage: DepthStorage) -> DepthMeaning:
        """Returns what maps mean once they are stored so."""
        return DepthMeaning(
            storage=storage.storage,
            quantity=self.quantity,
            unit="metre" if self.metric and storage.absolute else None,
            scale=storage.step,
            width=self.width,
            height=self.height,
            model=str(self.model) if self.model else None,
            licence=self.licence,
        )


@dataclass(frozen=True)
class DatasetDescription:
    """All that is known of a dataset before its first example is made.

    `manifest`: still without shards and files. `publication`: what its maker says of it.
    """

    output: str
    recipe: Recipe
    manifest: Manifest
    publication: Publication = field(default_factory=Publication)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.output)
