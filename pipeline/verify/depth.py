"""Checks depth: what it is said to mean, each stored map, and a sample of them by the model.

A map that a network estimated follows from nothing else that the dataset holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from depthmask.errors import DepthModelError
from depthmask.manifest import DepthMeaning, ShardEntry
from depthmask.records import parse_example, read_records
from pipeline.dataset import Dataset, DepthInfo, in_proportion, open_dataset
from pipeline.verify.check import DAMAGE
from pipeline.verify.planned import planned_placements
from transforms.codecs import open_image
from transforms.depth import (
    KINDS,
    DepthModel,
    DepthStorage,
    ModelChoice,
    PictureSize,
    grey_depth,
    is_flat,
)
from transforms.elements import ChunkKey, ChunkSpec, Placement, ShardKey
from transforms.io.files import open_file
from transforms.prepared import PreparedInputs, PreparedSource

if TYPE_CHECKING:
    from pipeline.job import Draft

# Maps that are estimated again.
MAPS_ESTIMATED = 256
# On another machine a network's sums come out a little otherwise: of the mean of a map in metres,
# and of the 255 levels of one that is stretched. Lower precisions differ by ten times as much.
_SAME_METRES = 0.002
_SAME_LEVELS = 1.0


def expected_meaning(dataset: Dataset) -> DepthMeaning:
    """Returns what the recipe and the kind of model make of depth of its stored size.

    Raises UserError where they do not go together, or there is no such kind.
    """
    identity, stated = dataset.manifest.provenance.depth_model, dataset.manifest.depth
    assert stated is not None
    settings, canvas = dataset.recipe.depth, dataset.recipe.canvas
    of_model = PictureSize(width=stated.width, height=stated.height)
    of_canvas = PictureSize(width=canvas.width, height=canvas.height)
    size = settings.size or (of_canvas if settings.of == "background" else of_model)
    if identity is None:  # it was measured
        return DepthInfo(size.width, size.height, "depth", True, None, None).meaning(settings)
    if identity.kind not in KINDS:
        raise DepthModelError(f"there is no kind {identity.kind!r}")
    interface = KINDS[identity.kind](identity.name).interface(settings)
    info = DepthInfo(
        width=size.width,
        height=size.height,
        quantity=interface.quantity,
        metric=interface.metric,
        model=identity,
        licence=stated.licence,  # which nothing else says
    )
    return info.meaning(settings)


def decode_depth(data: object, storage: DepthStorage, meaning: DepthMeaning) -> np.ndarray:
    """Returns a stored map, [h, w] or [h, w, 3]. Raises ValueError or OSError where it is none."""
    if not isinstance(data, bytes):
        raise ValueError("there is no depth")
    image = open_image(data)
    if image.size != (meaning.width, meaning.height):
        raise ValueError(f"depth has {image.width}×{image.height} pixels")
    depth = np.asarray(image)
    if depth.dtype != storage.dtype or depth.ndim != (3 if storage.channels == 3 else 2):
        raise ValueError(f"depth is stored as {image.mode}")
    return depth


@dataclass(frozen=True)
class Estimated:
    """What estimating depth again showed: of how many examples, and what is wrong."""

    examples: int
    problems: tuple[str, ...]


def estimate_again(path: str, model: ModelChoice, examples: int) -> Estimated:
    """Estimates depth of about so many examples, and of as many that were left out.

    `model`: the one that made it. Raises UserError where it cannot be used here.
    """
    from pipeline.job import Draft  # with Beam, which takes seconds

    dataset = open_dataset(path)
    source = PreparedSource.of_dataset(path)
    draft = Draft.of(dataset.recipe, source, model)
    assert draft.depth is not None
    look = _Look(dataset, draft, draft.depth.load())
    for shard, wanted in in_proportion(dataset, examples):
        left_out = {example.id for example in shard.tally.left_out}
        planned = planned_placements(draft.plan, shard)
        kept = tuple(itertools.islice((p for p in planned if p.id not in left_out), wanted))
        if kept:
            look.compare(shard, kept)
        if left_out:
            planned = planned_placements(draft.plan, shard)
            claimed = (placement for placement in planned if placement.id in left_out)
            look.see_fail(tuple(itertools.islice(claimed, examples)))
    return Estimated(look.examples, tuple(look.problems))


class _Look:
    def __init__(self, dataset: Dataset, draft: Draft, model: DepthModel) -> None:
        self.examples = 0
        self.problems: list[str] = []
        self._dataset = dataset
        self._storage = dataset.recipe.depth
        self._draft = draft
        self._inputs = PreparedInputs(draft.source)
        self._model = model

    def compare(self, shard: ShardEntry, placements: tuple[Placement, ...]) -> None:
        """Compares the first examples of a shard with what the model makes of them."""
        try:
            with open_file(self._dataset.file(shard.file)) as file:
                records = read_records(file)
                for few in self._few(placements):
                    self._compare(few, [*itertools.islice(records, len(few))])
        except DAMAGE as error:
            self.problems.append(f"{shard.file}: {error}")

    def _compare(self, placements: tuple[Placement, ...], records: list[bytes]) -> None:
        depths = self._estimate(placements)
        finite = np.isfinite(depths).all(axis=(1, 2))
        made = self._storage.quantise(np.where(finite[:, None, None], depths, 0))
        for placement, record, is_finite, again in zip(
            placements, records, finite, made, strict=False
        ):
            self.examples += 1
            stored = self._decode(parse_example(record).get("depth"))
            if not is_finite or self._differ(stored, self._as_stored(again)):
                self.problems.append(f"{placement.id}: is not the depth that its model estimates")

    def see_fail(self, placements: tuple[Placement, ...]) -> None:
        """Looks whether the model fails on examples that are left out because it did."""
        for few in self._few(placements):
            depths = self._estimate(few)
            finite = np.isfinite(depths).all(axis=(1, 2))
            stored = self._storage.quantise(np.where(finite[:, None, None], depths, 0))
            for placement, is_good in zip(few, finite & ~is_flat(stored), strict=True):
                if is_good:
                    self.problems.append(f"{placement.id}: is left out, and its model estimates it")

    def _few(self, placements: tuple[Placement, ...]) -> Iterator[tuple[Placement, ...]]:
        """Yields as many placements at a time as memory is for, whatever the recipe says."""
        shards = self._draft.recipe.shards.model_copy(update={"chunk": None})
        step = self._draft.recipe.model_copy(update={"shards": shards}).chunk_examples
        for start in range(0, len(placements), step):
            yield placements[start : start + step]

    def _estimate(self, placements: tuple[Placement, ...]) -> np.ndarray:
        from transforms.compose import compose_chunk

        spec = ChunkSpec(ChunkKey(ShardKey("", 0), 0, len(placements)), placements)
        chunk = compose_chunk(spec, self._inputs, self._draft.recipe.drawing)
        if self._storage.of == "stored":
            chunk = self._draft.encoder.encode_images(chunk)
        depths = self._model.estimate(chunk).depths
        assert depths is not None
        return depths

    def _as_stored(self, depth: np.ndarray) -> np.ndarray:
        """A map after the loss of its codec."""
        if self._storage.codec.format == "png":
            return depth
        return self._decode(self._storage.encode(depth))

    def _decode(self, data: object) -> np.ndarray:
        assert self._dataset.manifest.depth is not None
        return decode_depth(data, self._storage, self._dataset.manifest.depth)

    def _differ(self, stored: np.ndarray, made: np.ndarray) -> bool:
        lower = 1 if self._storage.precision == "float32" else 10
        if self._storage.absolute:
            found, wanted = (values.astype(np.float64) for values in (stored, made))
            same = 1 + _SAME_METRES * lower * wanted.mean()
        else:
            found, wanted = (grey_depth(values).astype(np.float64) for values in (stored, made))
            same = _SAME_LEVELS * lower
        return bool(np.abs(found - wanted).mean() > same)
