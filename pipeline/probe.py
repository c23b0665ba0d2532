"""The first examples of a job, made before anything is spent on it."""

from __future__ import annotations

import dataclasses
import posixpath
from dataclasses import dataclass

import numpy as np

from depthmask.errors import DepthModelError, RunError
from pipeline.dataset.description import DepthInfo
from pipeline.plan.plan import Plan
from pipeline.run.pool import WorkerPool
from pipeline.run.watch import WorkerGoneError
from transforms.compose import compose_chunk
from transforms.depth.builtin import builtin_path
from transforms.depth.kinds import load_depth_model
from transforms.depth.model import DepthStage
from transforms.depth.model_files import checksum
from transforms.depth.storage import is_flat
from transforms.elements import ChunkKey, ChunkSpec
from transforms.encode import RecordEncoder
from transforms.io.files import crc_text
from transforms.prepared import PreparedInputs, PreparedSource

# Examples that are made to learn how large one is; with depth, a batch of the model.
_SAMPLE = 64
# The share of pixels beyond the range of storage that is a mistake, and not the sky.
_CLIPPED = 0.01


@dataclass(frozen=True)
class Trial:
    """What the first examples tell: `depth` of their depth maps (None: there are none)."""

    depth: DepthInfo | None
    bytes_an_example: float


def make_trial(stage: DepthStage | None, plan: Plan, source: PreparedSource) -> Trial:
    """Makes the first examples.

    With depth in a process of its own: this one needs no TensorFlow. Raises UserError where the
    model cannot be loaded or does not give depth for them, RunError where that process is gone.
    """
    if stage is None:
        return _make_trial(None, plan, source)
    try:
        with WorkerPool(1) as pool:
            return pool.submit(_make_trial, stage, plan, source).result()
    except WorkerGoneError as error:
        raise RunError(f"{stage.model}: while it was loaded, {error}") from error


def _make_trial(stage: DepthStage | None, plan: Plan, source: PreparedSource) -> Trial:
    recipe = plan.recipe
    shard = plan.shard_keys()[0]
    size = plan.shard_sizes[shard.split][shard.shard]
    tried = min(stage.batch_size, recipe.chunk_examples) if stage else _SAMPLE
    spec = plan.chunk(ChunkKey(shard, 0, min(tried, size)))
    model = load_depth_model(stage) if stage else None
    chunk = compose_chunk(spec, PreparedInputs(source), recipe.masks.binary_threshold)
    depth = None
    if stage and model:
        depths = model.predict(chunk.images)
        _check_depth(stage, spec, depths)
        depth = _depth_info(stage, depths)
        chunk = dataclasses.replace(chunk, depths=depths)
    encoder = RecordEncoder(
        recipe.image, recipe.masks, not recipe.masks.soft, stage.storage if stage else None
    )
    encoded = encoder.encode(chunk)
    return Trial(depth, len(encoded.records) / (encoded.key.examples - len(encoded.tally.left_out)))


def _depth_info(stage: DepthStage, depths: np.ndarray) -> DepthInfo:
    path = stage.model.path or builtin_path()
    return DepthInfo(
        width=depths.shape[2],
        height=depths.shape[1],
        quantity=stage.interface.quantity,
        metric=stage.interface.metric,
        kind=stage.model.kind,
        model=posixpath.basename(path.rstrip("/")),
        crc32c=crc_text(checksum(path)),
    )


def _check_depth(stage: DepthStage, spec: ChunkSpec, depths: np.ndarray) -> None:
    """Raises DepthModelError for depth that would make a worthless dataset."""
    for placement, depth in zip(spec.placements, depths, strict=True):
        if not np.isfinite(depth).all():
            raise DepthModelError(
                f"{stage.model}: the model gives NaN or infinite depth for {placement.id}. Is "
                "what it takes (depth.model: white, mean, std, channels) declared rightly?"
            )
    if stage.interface.metric and (depths <= 0).all():
        raise DepthModelError(
            f"{stage.model}: the model gives no depth above 0. Is depth.model.gives right?"
        )
    if stage.storage.clipped_share(depths) > _CLIPPED:
        remedy = (
            "Set depth.scale, or depth.model.unit rightly."
            if stage.interface.metric
            else "Set depth.storage to norm8, or depth.scale."
        )
        raise DepthModelError(
            f"{stage.model}: the model gives {depths.min():,.4g} to {depths.max():,.4g}, which "
            f"does not go into 16 bits in steps of {stage.storage.scale:g}. {remedy}"
        )
    if is_flat(stage.storage.quantise(depths)).all():
        raise DepthModelError(f"{stage.model}: the model gives the same depth for every pixel.")
