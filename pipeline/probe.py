"""The first examples of a job, made before the long work begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depthmask.errors import DepthModelError, RunError
from pipeline.dataset import DepthInfo
from pipeline.job import Draft
from pipeline.processes.pool import WorkerPool
from pipeline.processes.watch import WorkerGoneError
from transforms.compose import compose_chunk, draw_depth
from transforms.depth import DepthMap, DepthModel, DepthStage, Layers, is_flat
from transforms.elements import ChunkKey, ChunkSpec
from transforms.prepared import PreparedInputs

# Examples that show how large one is; with depth, one batch of the model.
_SAMPLE = 64
# A larger share of pixels beyond the range of storage is a mistake, not the sky.
_CLIPPED = 0.01


@dataclass(frozen=True)
class Probe:
    """What the first examples show: `depth` of their depth maps (None: there are none).

    `empty_masks`: the share of examples of whose foreground nothing is seen.
    """

    depth: DepthInfo | None
    bytes_an_example: float
    empty_masks: float


def probe(draft: Draft) -> Probe:
    """Makes the first examples.

    With depth in a process of its own: this one needs no TensorFlow. Raises UserError where the
    model cannot be loaded or its depth would make a worthless dataset, RunError where that process
    is gone.
    """
    if draft.depth is None:
        return _probe(draft)
    try:
        with WorkerPool(1) as pool:
            return pool.submit(_probe, draft).result()
    except WorkerGoneError as error:
        raise RunError(f"{draft.depth.model}: while it was loaded, {error}") from error


def _probe(draft: Draft) -> Probe:
    recipe, stage, plan = draft.recipe, draft.depth, draft.plan
    shard = plan.shard_keys()[0]
    size = plan.shard_sizes[shard.split][shard.shard]
    tried = min(stage.settings.batch_size, recipe.chunk_examples) if stage else _SAMPLE
    spec = plan.chunk(ChunkKey(shard, 0, min(tried, size)))
    model = stage.load() if stage else None
    inputs = PreparedInputs(draft.source)
    chunk = compose_chunk(spec, inputs, recipe.drawing)
    if draft.layers:
        maps = _background_maps(draft.layers, model, spec, inputs) if model else None
        chunk = draw_depth(
            chunk, draft.layers, maps.__getitem__ if maps else inputs.background_depth
        )
    elif model:
        if recipe.depth.of == "stored":
            chunk = draft.encoder.encode_images(chunk)
        chunk = model.estimate(chunk)
        assert chunk.depths is not None  # the model has just made them
        _check_depth(model.stage, [placement.id for placement in spec.placements], chunk.depths)
    depth = None if chunk.depths is None else _depth_info(stage, chunk.depths)
    encoder = dataclasses.replace(draft.encoder, skip_unknown=True)
    encoded = encoder.encode(chunk)
    examples = max(encoded.key.examples - len(encoded.tally.left_out), 1)
    return Probe(
        depth, len(encoded.records) / examples, (encoded.tally.empty_masks or 0) / examples
    )


def _background_maps(
    layers: Layers, model: DepthModel, spec: ChunkSpec, inputs: PreparedInputs
) -> dict[str, DepthMap]:
    """Returns the depth of the backgrounds of a chunk, by name."""
    names = list(dict.fromkeys(placement.background for placement in spec.placements))
    depths = model.predict(np.stack([*map(inputs.background, names)]))
    _check_depth(model.stage, names, depths)
    storage = model.stage.settings
    return {name: layers.map(depth, storage) for name, depth in zip(names, depths, strict=True)}


def _depth_info(stage: DepthStage | None, depths: np.ndarray) -> DepthInfo:
    """`stage`: None where depth was measured."""
    return DepthInfo(
        width=depths.shape[2],
        height=depths.shape[1],
        quantity=stage.interface.quantity if stage else "depth",
        metric=stage.interface.metric if stage else True,
        model=stage.model.identity() if stage else None,
        licence=stage.model.licence if stage else None,
    )


def _check_depth(stage: DepthStage, names: Sequence[str], depths: np.ndarray) -> None:
    """Raises DepthModelError for depth that would make a worthless dataset.

    `names`: of what it is of.
    """
    for name, depth in zip(names, depths, strict=True):
        if not np.isfinite(depth).all():
            raise DepthModelError(
                f"{stage.model}: the model returns NaN or infinite depth for {name}. Is "
                "its input declared correctly (depth.model: input_max, mean, std, channel_order)?"
            )
    if stage.interface.metric and (depths <= 0).all():
        raise DepthModelError(
            f"{stage.model}: the model returns no depth above 0. Is depth.model.output correct?"
        )
    if stage.settings.clipped_share(depths) > _CLIPPED:
        remedy = (
            "Correct depth.scale or depth.model.unit."
            if stage.interface.metric
            else "Set depth.storage to norm8, or depth.scale."
        )
        raise DepthModelError(
            f"{stage.model}: the model returns {depths.min():,.4g} to {depths.max():,.4g}, "
            f"which does not fit into 16 bits in steps of {stage.settings.scale:g}. {remedy}"
        )
    if is_flat(stage.settings.quantise(depths)).all():
        raise DepthModelError(f"{stage.model}: the model returns the same depth for every pixel.")
