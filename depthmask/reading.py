"""Reading a dataset folder with tf.data."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Sequence

import tensorflow as tf

from depthmask.dataset import Dataset, open_dataset
from depthmask.errors import DatasetError
from depthmask.features import ImageFeature, ScalarFeature
from depthmask.manifest import BACKGROUNDS, DepthMeaning
from depthmask.plasma import plasma_positions

# TensorFlow itself knows local paths and gs://.
_TENSORFLOW_IO_SCHEMES = ("s3", "az", "hdfs", "viewfs")
_BUFFER_BYTES = 2**20


def _read_file(path: str) -> bytes:
    """A file's bytes, by TensorFlow's file systems. Raises FileNotFoundError, DatasetError."""
    scheme, separator, _ = path.partition("://")
    if separator and scheme in _TENSORFLOW_IO_SCHEMES:
        _load_tensorflow_io(path, scheme)
    _check_is_file(path)
    try:
        return bytes(tf.io.gfile.GFile(path, "rb").read())
    except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError) as error:
        raise FileNotFoundError(path) from error


def _check_is_file(path: str) -> None:
    """Raises DatasetError for what reading would wait for without end, such as a named pipe."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise DatasetError(f"{path} is not a file.")


def _load_tensorflow_io(path: str, scheme: str) -> None:
    """Makes TensorFlow know the file systems of tensorflow-io. Raises DatasetError."""
    problem = f"tensorflow-io does not load under TensorFlow {tf.__version__}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries that do not load: said below
            importlib.import_module("tensorflow_io")
    except ModuleNotFoundError:
        problem = "tensorflow-io is not installed"
    except (ImportError, NotImplementedError, tf.errors.OpError):  # another TensorFlow's
        pass
    if scheme not in tf.io.gfile.get_registered_schemes():
        raise DatasetError(
            f"{path} is read through tensorflow-io, and {problem}. In an environment of its own, "
            "run: pip install -r requirements-tensorflow-io.txt"
        )


def load(
    path: str,
    split: str,
    *,
    features: Sequence[str] | None = None,
    background_image: bool = False,
    decode_depth: bool = True,
    normalize: bool = False,
    deterministic: bool = True,
    assert_count: bool = True,
) -> tf.data.Dataset:
    """The examples of a split, as dictionaries of tensors. Shuffle and batch as you like.

    | key | dtype | shape | values |
    |---|---|---|---|
    | ``image`` | uint8 | [H, W, 3], grey [H, W, 1] | 0 … 255 |
    | ``mask`` | uint8 | [H, W, 1] or [H, W, 3] | 0 background, 255 foreground; between: see below |
    | ``depth`` | float32 | [h, w, 1] | metres, or relative: see ``decode_depth`` |
    | ``id``, ``background``, ``background_class``, ``foreground`` | string | [] | |
    | ``flip`` | bool | [] | the foreground is flipped: see below |
    | ``placement`` | int64 | [] | number among the places of this pair and flip |
    | ``x``, ``y``, ``width``, ``height`` | int64 | [] | the foreground's box, pixels |

    A flipped foreground is mirrored, unless the recipe has other ``placements.transforms``: then
    number k has the (k modulo their count)-th of them.

    Masks have values between 0 and 255 where the recipe says soft, and at edges where it stores
    them as JPEG: the foreground is then what is at least 128.

    Args:
      path: the dataset's folder; any path that TensorFlow's file systems know, such as ``gs://…``.
      split: the name of a split, such as ``train``.
      features: the keys to decode; all by default. What is not asked for costs nothing.
      background_image: adds ``background_image``, uint8 [H, W, C]: the picture without the
        foreground, joined by name. The backgrounds are held once, as PNG.
      decode_depth: ``depthmask.open(path).manifest.depth`` says what depth means. Maps stored as
        ``metric16`` come in its ``unit`` (None: relative, as the model predicted them), those
        stored as ``norm8`` and ``plasma8`` from 0, the least of each map, to 1, its greatest.
        Measured depth (``model`` is None there) is 0 where it is unknown: leave such pixels out of
        losses and scores, by ``example["depth"] > 0``. False leaves maps as stored: uint16
        [h, w, 1], uint8 [h, w, 1] and, colour-mapped, uint8 [h, w, 3].
      normalize: makes ``image`` (and ``background_image``) float32, (value / 255 - mean) / std
        with the dataset's own per-channel statistics of its composites.
      deterministic: False lets faster shards overtake slower ones.
      assert_count: the result's cardinality is the number of examples. False where each reader
        gets a part of them: tf.data service that shards, `tf.distribute`.

    Raises:
      DatasetError: not a finished dataset, no such split, no such feature.
    """
    opened = open_dataset(path, _read_file)
    decode = decoder(opened, features, decode_depth=decode_depth)
    files = [opened.file(shard.file) for shard in opened.shards(split)]
    for file in files:
        _check_is_file(file)
    dataset = tf.data.Dataset.from_tensor_slices(files).interleave(
        lambda file: tf.data.TFRecordDataset(file, buffer_size=_BUFFER_BYTES),
        cycle_length=min(len(files), 16),
        block_length=16,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=deterministic,
    )
    steps: list[Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]] = []
    if background_image:
        wanted = opened.names(features)
        joined = wanted if "background" in wanted else (*wanted, "background")
        decode = decoder(opened, joined, decode_depth=decode_depth)
        steps.append(_background_joiner(opened, keep_name="background" in wanted))
    if normalize:
        steps.append(_normalizer(opened))

    def example(record: tf.Tensor) -> dict[str, tf.Tensor]:
        tensors = decode(record)
        for step in steps:
            tensors = step(tensors)
        return tensors

    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=deterministic)
    if assert_count:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(opened.splits[split]))
    return dataset.prefetch(tf.data.AUTOTUNE)


def decoder(
    opened: Dataset, features: Sequence[str] | None = None, *, decode_depth: bool = True
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns a function from a serialised record to its tensors, as in `load`."""
    by_name = opened.features.by_name
    form = {
        name: tf.io.FixedLenFeature(
            [], tf.int64 if isinstance(by_name[name], ScalarFeature) else tf.string
        )
        for name in opened.names(features)
    }

    def decode(record: tf.Tensor) -> dict[str, tf.Tensor]:
        tensors: dict[str, tf.Tensor] = tf.io.parse_single_example(record, form)
        for name, feature in opened.features.pictures.items():
            if name in tensors:
                tensors[name] = _decode_picture(feature, tensors[name])
        if decode_depth and "depth" in tensors and opened.manifest.depth:
            tensors["depth"] = _decode_depth(opened.manifest.depth, tensors["depth"])
        if "flip" in tensors:
            tensors["flip"] = tf.cast(tensors["flip"], tf.bool)
        return tensors

    return decode


def _decode_depth(meaning: DepthMeaning, stored: tf.Tensor) -> tf.Tensor:
    """Returns the depth that a stored map, [h, w, C], means: float32 [h, w, 1]."""
    if stored.shape[2] == 3:  # in plasma colours
        red, green, _ = tf.unstack(tf.cast(stored, tf.int32), axis=2)
        stored = tf.gather(tf.constant(plasma_positions()), red * 256 + green)[..., None]
    return tf.cast(stored, tf.float32) * meaning.scale


def decode_jpeg(data: tf.Tensor, channels: int) -> tf.Tensor:
    """Returns a JPEG's pixels, uint8 [H, W, channels], by libjpeg's accurate transform.

    By TensorFlow's default, the fast one, red and blue come out a level too dark: their means
    would not be those of statistics.json.
    """
    return tf.io.decode_jpeg(data, channels=channels, dct_method="INTEGER_ACCURATE")


def _decode_picture(feature: ImageFeature, data: tf.Tensor) -> tf.Tensor:
    if feature.encoding == "jpeg":
        picture = decode_jpeg(data, feature.channels)
    else:
        picture = tf.io.decode_png(
            data, channels=feature.channels, dtype=tf.as_dtype(feature.dtype)
        )
    return tf.ensure_shape(picture, feature.shape)


def _background_joiner(
    opened: Dataset, keep_name: bool
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    form = {"name": tf.io.FixedLenFeature([], tf.string)}
    form["image"] = tf.io.FixedLenFeature([], tf.string)
    path = opened.file(BACKGROUNDS)
    _check_is_file(path)
    records = list(tf.data.TFRecordDataset(path, buffer_size=_BUFFER_BYTES))
    parsed = tf.io.parse_example(tf.stack(records), form)
    numbers = tf.range(len(records), dtype=tf.int64)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(parsed["name"], numbers), default_value=-1
    )
    shape = opened.features.pictures["image"].shape

    def join(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        number = table.lookup(tensors["background"])
        picture = tf.io.decode_png(tf.gather(parsed["image"], number), channels=shape[2])
        joined = dict(tensors, background_image=tf.ensure_shape(picture, shape))
        if not keep_name:
            del joined["background"]
        return joined

    return join


def _normalizer(opened: Dataset) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    composites = opened.statistics["composites"]
    mean, std = tf.constant(composites.mean, tf.float32), tf.constant(composites.std, tf.float32)

    def apply(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {
            name: (tf.cast(value, tf.float32) / 255 - mean) / std
            if name in ("image", "background_image")
            else value
            for name, value in tensors.items()
        }

    return apply
