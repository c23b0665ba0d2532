"""The first examples of a job, made before the long work begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthmask.errors import DepthModelError, RunError
from pipeline.dataset import DepthInfo
from pipeline.job import Draft
from pipeline.processes.pool import WorkerPool
from pipeline.processes.watch import WorkerGoneError
from transforms.compose import compose_chunk
from transforms.depth import DepthStage, is_flat
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
    chunk = compose_chunk(spec, PreparedInputs(draft.source), recipe.drawing)
    depth = None
    if stage and model:
        if stage.settings.of == "stored":
            chunk = draft.encoder.encode_images(chunk)
        chunk = model.estimate(chunk)
        depths = chunk.depths
        assert depths is not None  # the model has just made them
        _check_depth(stage, spec, depths)
        depth = _depth_info(stage, depths)
    encoded = draft.encoder.encode(chunk)
    examples = encoded.key.examples - len(encoded.tally.left_out)
    return Probe(depth, len(encoded.records) / examples, encoded.tally.empty_masks / examples)


def _depth_info(stage: DepthStage, depths: np.ndarray) -> DepthInfo:
    return DepthInfo(
        width=depths.shape[2],
        height=depths.shape[1],
        quantity=stage.interface.quantity,
        metric=stage.interface.metric,
        model=stage.model.identity(),
        licence=stage.model.licence,
    )


def _check_depth(stage: DepthStage, spec: ChunkSpec, depths: np.ndarray) -> None:
    """Raises DepthModelError for depth that would make a worthless dataset."""
    for placement, depth in zip(spec.placements, depths, strict=True):
        if not np.isfinite(depth).all():
            raise DepthModelError(
                f"{stage.model}: the model returns NaN or infinite depth for {placement.id}. Is "
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
