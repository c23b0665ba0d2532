"""Looks at examples with other eyes: TensorFlow reads and decodes, Pillow alone draws and encodes.

What made the dataset draws and encodes by code of its own, and so does what makes its records
again: a mistake in that would prove itself.
"""

from __future__ import annotations

import io
import itertools
import os
from dataclasses import dataclass

import numpy as np

from depthmask.errors import DatasetError
from pipeline.dataset import Dataset, in_proportion, open_dataset
from pipeline.plan import Plan
from pipeline.verify.planned import planned_placements
from transforms.codecs import to_image
from transforms.cutout import paste_mask
from transforms.elements import Placement
from transforms.io.files import read_file
from transforms.prepared import PreparedInputs, PreparedSource
from transforms.quiet import quiet_stderr

EXAMPLES_LOOKED_AT = 1000
# Libraries of other versions round otherwise.
_LEVELS = 4


@dataclass(frozen=True)
class Looked:
    """What looking showed: of how many examples, and what is wrong with them."""

    examples: int
    problems: tuple[str, ...]


def look_at_examples(path: str, examples: int) -> Looked:
    """Looks at about so many examples, of every shard."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # reading needs no GPU; another process may
    with quiet_stderr():
        import tensorflow as tf

        from depthmask.dataset import open_dataset as open_for_reading
        from depthmask.reading import decoder

        tf.config.list_physical_devices()
    dataset = open_dataset(path)
    eye = _Eye(dataset)
    count, problems = 0, []
    try:
        decode = decoder(open_for_reading(path, read_file), decode_depth=False)
    except DatasetError as error:
        return Looked(0, (str(error),))
    for shard, wanted in in_proportion(dataset, examples):
        left_out = {example.id for example in shard.tally.left_out}
        planned = (p for p in planned_placements(eye.plan, shard) if p.id not in left_out)
        records = tf.data.TFRecordDataset(dataset.file(shard.file)).take(wanted)
        decoded = records.map(decode).as_numpy_iterator()
        try:
            for placement, example in zip(itertools.islice(planned, wanted), decoded, strict=False):
                count += 1
                problems += eye.look(placement, example)
        except tf.errors.OpError as error:
            problems.append(f"{shard.file}: {_first_sentence(error.message)}")
    return Looked(count, tuple(problems))


def _first_sentence(message: str) -> str:
    return message.split(" [Op:", maxsplit=1)[0].splitlines()[0]


class _Eye:
    def __init__(self, dataset: Dataset) -> None:
        source = PreparedSource.of_dataset(dataset.path)
        self.plan = Plan(dataset.recipe, source.backgrounds, source.foregrounds)
        self._recipe = dataset.recipe
        self._inputs = PreparedInputs(source)

    def look(self, placement: Placement, example: dict[str, np.ndarray]) -> list[str]:
        """Returns what is wrong with an example as `depthmask.load` gives it."""
        found = []
        image, mask = self._draw(placement)
        codec, masks = self._recipe.image, self._recipe.masks
        wanted = self._stored(image, codec.format, codec.quality)
        if _differ(example["image"], wanted, codec.format):
            found.append(f"{placement.id}: its image is not what Pillow draws")
        pixels = np.repeat(mask[..., None], masks.channels, axis=2)
        wanted = self._stored(pixels, masks.format, masks.quality)
        if _differ(example["mask"], wanted, masks.format):
            found.append(f"{placement.id}: its mask is not what Pillow draws")
        return found

    def _draw(self, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
        """A composite, [H, W, C], and its mask, [H, W], before they are stored."""
        drawing = self._recipe.drawing
        cutout = drawing.resize(
            self._inputs.foreground(placement.foreground, drawing.transform(placement)),
            placement.width,
            placement.height,
        )
        image = to_image(self._inputs.background(placement.background)).copy()
        image.paste(cutout.colour, (placement.x, placement.y), cutout.alpha)
        mask = np.zeros((image.height, image.width), np.uint8)
        paste_mask(mask, drawing.levels.apply(cutout.mask), placement.x, placement.y)
        return np.atleast_3d(np.asarray(image)), mask

    def _stored(self, pixels: np.ndarray, codec: str, quality: int) -> np.ndarray:
        """Pixels after the loss of their codec."""
        from depthmask.reading import decode_jpeg

        if codec == "png":
            return pixels
        stream = io.BytesIO()
        to_image(pixels).save(stream, "JPEG", quality=quality)
        return np.asarray(decode_jpeg(stream.getvalue(), pixels.shape[2]))


def _differ(found: np.ndarray, wanted: np.ndarray, codec: str) -> bool:
    if found.shape != wanted.shape:
        return True
    levels = np.abs(found.astype(np.int16) - wanted)
    return bool(levels.max() > (_LEVELS if codec == "jpeg" else 0))
