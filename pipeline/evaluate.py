"""How near a depth model comes to a dataset's depth: on composites, and by their backgrounds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from tqdm import tqdm

from depthmask.errors import UserError
from pipeline.dataset import Dataset, in_proportion, open_dataset, reading_from
from pipeline.recipes import load_recipe
from pipeline.view.examples import Example, first_examples
from transforms.codecs import decode_image, open_image
from transforms.depth import (
    DepthMap,
    DepthModel,
    DepthStage,
    Layers,
    PictureSize,
    depth_in_metres,
    parse_model,
)
from transforms.depth.scores import Scores
from transforms.io.files import AnyPath
from transforms.prepared import CACHE_BYTES, PictureCache, PreparedInputs, PreparedSource

# Pixels from where the mask changes that count as its edge.
_EDGE = 2
_HALF = 128
_AREAS = ("all", "mask", "edges")


@dataclass(frozen=True)
class Evaluation:
    """Errors of a model by area: all pixels, within masks, and within 2 pixels of masks' edges.

    `composite`: of what it makes of composites as they are stored. `background`: of what it makes
    of their backgrounds, with foregrounds before them, as ``depth.of: background`` has it.
    """

    model: str
    examples: int
    composite: Mapping[str, Scores]
    background: Mapping[str, Scores]

    def __str__(self) -> str:
        lines = [f"{self.model} on {self.examples:,} composites, over pixels of known depth"]
        for of, scores in (("composite", self.composite), ("background", self.background)):
            lines += [f"  depth.of {of:10}  {area:5}  {scores[area]}" for area in _AREAS]
        return "\n".join(lines)


def evaluate(
    dataset: AnyPath,
    depth_model: str,
    *,
    settings: Mapping[str, Any] | Iterable[str] = (),
    examples: int = 1000,
) -> Evaluation:
    """Compares a model's depth with a dataset's, which should be measured: depthmask evaluate.

    `settings`: changes of the dataset's recipe, such as ``depth.input``. `examples`: how many, of
    all shards in proportion.
    Raises UserError where the depth of either is not in metres, or they do not go together.
    """
    opened = open_dataset(dataset)
    meaning, model = opened.manifest.depth, parse_model(depth_model)
    if meaning is None or meaning.unit != "metre":
        raise UserError(
            f"{opened.path} has no depth in metres to compare with: make it with "
            "--background-depths."
        )
    if model is None:
        raise UserError("name the model whose depth is to be compared: --depth-model.")
    recipe = load_recipe(opened.recipe, settings)
    size = PictureSize(width=meaning.width, height=meaning.height)
    canvas = PictureSize(width=recipe.canvas.width, height=recipe.canvas.height)
    stage = DepthStage.of(model, recipe.depth.model_copy(update={"size": size}), canvas)
    if not stage.interface.metric:
        raise UserError(f"{model}: its depth is relative, and has no error in metres.")
    with reading_from(opened.path):
        inputs = PreparedInputs(PreparedSource.of_dataset(opened.path))
        chosen = (
            example
            for shard, wanted in in_proportion(opened, examples)
            for example in first_examples(opened, shard, wanted)
        )
        total = min(examples, opened.manifest.examples)
        return _Evaluator(opened, stage.load(), inputs, size).run(
            tqdm(chosen, total=total, unit="ex", disable=None)
        )


class _Evaluator:
    def __init__(
        self, dataset: Dataset, model: DepthModel, inputs: PreparedInputs, size: PictureSize
    ) -> None:
        self._model, self._inputs = model, inputs
        self._storage = dataset.recipe.depth
        self._layers = Layers(size, metric=True, inverse=False, measured=False)
        self._maps: PictureCache[DepthMap] = PictureCache(CACHE_BYTES)

    def run(self, examples: Iterable[Example]) -> Evaluation:
        of_composites = dict.fromkeys(_AREAS, Scores())
        of_backgrounds = dict.fromkeys(_AREAS, Scores())
        done, source = 0, iter(examples)
        while batch := list(itertools.islice(source, self._storage.batch_size)):
            masks = np.stack([np.asarray(open_image(each.mask).convert("L")) for each in batch])
            images = np.stack([decode_image(each.image) for each in batch])
            estimated = self._model.predict(images)
            maps = [self._background(each.placement.background) for each in batch]
            drawn = self._layers.draw(maps, masks) * self._storage.scale
            for each, mask, *found in zip(batch, masks, estimated, drawn, strict=True):
                assert each.depth is not None  # the manifest says that there is depth
                truth = depth_in_metres(each.depth, self._storage.scale)
                for area, pixels in _areas(mask, truth):
                    of_composites[area] += Scores.of(found[0][pixels], truth[pixels])
                    of_backgrounds[area] += Scores.of(found[1][pixels], truth[pixels])
            done += len(batch)
        return Evaluation(str(self._model.stage.model), done, of_composites, of_backgrounds)

    def _background(self, name: str) -> DepthMap:
        depth = self._maps.get(name)
        if depth is None:
            (estimated,) = self._model.predict(self._inputs.background(name)[None])
            depth = self._layers.map(estimated, self._storage)
            self._maps.keep(name, depth, depth.bytes)
        return depth


def _areas(mask: np.ndarray, truth: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the areas' pixels of known depth, bool [h, w]. `mask`: uint8 of any size."""
    shape = Image.fromarray(mask).resize(truth.shape[::-1], Image.Resampling.BOX)
    shape = shape.point([255 * (level >= _HALF) for level in range(256)])
    wide, narrow = (
        np.asarray(shape.filter(kind(2 * _EDGE + 1)))
        for kind in (ImageFilter.MaxFilter, ImageFilter.MinFilter)
    )
    known = truth > 0
    yield "all", known
    yield "mask", known & (np.asarray(shape) > 0)
    yield "edges", known & (wide != narrow)
