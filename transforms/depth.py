"""Depth maps by a batched model through Beam's RunInference; one chunk is one of its examples."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference
from pydantic import BaseModel, ConfigDict, Field

from transforms.chunks import ComposedChunk
from transforms.files import read_file
from transforms.quiet import quiet_stderr


class DepthModelError(ValueError):
    """A depth model that cannot be used: names the file, what is wrong, and the remedy."""


class DepthStorage(BaseModel):
    """How depth maps are stored: 16-bit PNG, value × `scale` = depth in the model's unit (metres).

    0 marks no depth; values beyond the range are clipped to 1 … 65535.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    storage: Literal["metric16"] = "metric16"
    scale: float = Field(
        0.001, gt=0, allow_inf_nan=False, description="metres a step of the stored 16-bit value"
    )

    def quantise(self, depths: np.ndarray) -> np.ndarray:
        """`depths` float32 [n, h, w] in metres as uint16 [n, h, w]."""
        return np.clip(np.rint(depths / self.scale), 1, 65535).astype(np.uint16)


@dataclass(frozen=True)
class KerasDepthModel:
    """A loaded `.keras` model: float32 [n, h, w, 3] in [0, 1] to metres, float32 [n, h', w', 1]."""

    path: str
    function: Any
    batch_size: int

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Depth float32 [n, h', w'] of `images` uint8 [n, H, W, C], C = 3, or 1 stacked to 3.

        Raises DepthModelError where the model's output has another form or is not finite.
        """
        batches = []
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            values = np.broadcast_to(batch, (*batch.shape[:3], 3)).astype(np.float32) / 255
            try:
                output = np.asarray(self.function(values))
            except Exception as error:
                raise DepthModelError(
                    f"{self.path}: the model fails on pictures of shape {values.shape[1:]}: "
                    f"{_first_line(error)}. It must take float32 [n, height, width, 3]."
                ) from error
            if output.ndim != 4 or output.shape[0] != len(batch) or output.shape[3] != 1:
                raise DepthModelError(
                    f"{self.path}: the model gives {output.shape} for {values.shape}. It must "
                    "give one channel of depth, [n, height, width, 1]."
                )
            if not np.isfinite(output).all():
                raise DepthModelError(
                    f"{self.path}: the model gives depth that is not finite (NaN or infinite)."
                )
            batches.append(output[..., 0].astype(np.float32))
        return np.concatenate(batches)


def load_keras_model(path: str, batch_size: int) -> KerasDepthModel:
    """Loads a `.keras` file, local or remote. Raises DepthModelError where it cannot be."""
    with quiet_stderr():
        import keras
        import tensorflow as tf

        tf.config.list_physical_devices()

    # Threads within an operation change the order of its sums. One, always, and as many worker
    # processes as cores: the same bytes with any number of workers, and no slower.
    with contextlib.suppress(RuntimeError):  # this process has run TensorFlow already
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    with _local_copy(path) as local:
        try:
            model = keras.saving.load_model(local, compile=False, safe_mode=True)
        except Exception as error:
            raise DepthModelError(
                f"{path}: not a Keras model that can be loaded: {_first_line(error)}. "
                "Save the model with model.save('NAME.keras')."
            ) from error
    function = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)
    return KerasDepthModel(path, function, batch_size)


@contextlib.contextmanager
def _local_copy(path: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, "model.keras")
        try:
            data = read_file(path)
        except OSError as error:
            raise DepthModelError(f"{path}: no such depth model. Check --depth-model.") from error
        with open(local, "wb") as file:
            file.write(data)
        yield local


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


class KerasDepthHandler(ModelHandler[ComposedChunk, ComposedChunk, KerasDepthModel]):  # type: ignore[misc]
    """RunInference's view of a `.keras` depth model. An element is a chunk: already a batch."""

    def __init__(self, path: str, batch_size: int) -> None:
        super().__init__()
        self._path = path
        self._batch_size = batch_size

    def load_model(self) -> KerasDepthModel:
        return load_keras_model(self._path, self._batch_size)

    def run_inference(
        self,
        batch: Sequence[ComposedChunk],
        model: KerasDepthModel,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterator[ComposedChunk]:
        for chunk in batch:
            yield dataclasses.replace(chunk, depths=model.predict(chunk.images))

    def get_num_bytes(self, batch: Sequence[ComposedChunk]) -> int:
        return sum(chunk.images.nbytes for chunk in batch)

    def get_metrics_namespace(self) -> str:
        return "depthmask_depth"

    def batch_elements_kwargs(self) -> dict[str, int]:
        return {"min_batch_size": 1, "max_batch_size": 1}


@dataclass
class EstimateDepth(beam.PTransform):  # type: ignore[misc]
    """Adds depth to composed chunks."""

    model_path: str
    batch_size: int

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return chunks | RunInference(KerasDepthHandler(self.model_path, self.batch_size))
