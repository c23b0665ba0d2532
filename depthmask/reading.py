"""Reading a dataset folder with tf.data."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from depthmask.errors import DatasetError
from depthmask.manifest import BACKGROUNDS, FEATURES, MANIFEST, DepthMeaning, Manifest
from depthmask.parsing import JsonObject, ParseError, anything, dict_of, parse_json
from depthmask.plasma import plasma_positions
from depthmask.tally import Moments

PICTURES = ("image", "mask", "depth")
# TensorFlow itself knows local paths and gs://.
_TENSORFLOW_IO_SCHEMES = ("s3", "az", "hdfs", "viewfs")
_BUFFER_BYTES = 2**20


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset's files say of it, as `read_info` returns it.

    `features`: of the records, as in features.json.
    """

    path: str
    manifest: Manifest
    features: dict[str, Any]

    @property
    def splits(self) -> dict[str, int]:
        """Examples by split."""
        return self.manifest.splits

    @property
    def statistics(self) -> Mapping[str, Moments]:
        """Exact statistics of all pictures before encoding, with `mean` and `std` per channel.

        Pixels of unknown depth are not in them.

        By kind: ``backgrounds``, ``foregrounds``, ``foreground_masks``, ``composites``, ``masks``
        and, where the dataset has it, ``depth``. As in statistics.json.
        """
        return self.manifest.tally.moments

    def shards(self, split: str) -> list[str]:
        """Paths of a split's TFRecord files, in order. Raises DatasetError for no such split."""
        if split not in self.splits:
            raise DatasetError(
                f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}."
            )
        return [tf.io.gfile.join(self.path, shard.file) for shard in self.manifest.shards_of(split)]

    def picture_shape(self, name: str) -> tuple[int, int, int]:
        """Height, width and channels of ``image``, ``mask`` or ``depth``."""
        height, width, channels = self.features[name]["image"]["shape"]["dimensions"]
        return int(height), int(width), int(channels)


def read_info(path: str) -> DatasetInfo:
    """Reads what describes the dataset in a folder, local or remote.

    Raises DatasetError where there is no finished dataset, or its description is damaged.
    """
    path = str(path).rstrip("/")
    scheme, separator, _ = path.partition("://")
    if separator and scheme in _TENSORFLOW_IO_SCHEMES:
        _load_tensorflow_io(path, scheme)
    data = {}
    for name in (MANIFEST, FEATURES):
        try:
            data[name] = tf.io.gfile.GFile(tf.io.gfile.join(path, name), "rb").read()
        except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError) as error:
            raise DatasetError(
                f"{path} is not a finished depthmask dataset: it has no {name}."
            ) from error
    manifest = Manifest.from_bytes(data[MANIFEST], f"{path}/{MANIFEST}")
    try:
        features = _parse_features(parse_json(data[FEATURES]))
    except ParseError as error:
        raise DatasetError(f"{path}/{FEATURES} is damaged: {error}.") from error
    return DatasetInfo(path, manifest, features)


def _parse_features(data: Any) -> dict[str, Any]:
    features = JsonObject(data, "").get("featuresDict", anything)
    return JsonObject(features, "featuresDict").get("features", dict_of(anything))


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
) -> tf.data.Dataset:
    """The examples of a split, as dictionaries of tensors. Shuffle and batch as you like.

    | key | dtype | shape | values |
    |---|---|---|---|
    | ``image`` | uint8 | [H, W, 3], grey [H, W, 1] | 0 … 255 |
    | ``mask`` | uint8 | [H, W, 1] or [H, W, 3] | 0 background, 255 foreground; between: see below |
    | ``depth`` | float32 | [h, w, 1] | metres, or relative: see ``decode_depth`` |
    | ``id``, ``background``, ``background_class``, ``foreground`` | string | [] | |
    | ``flip`` | bool | [] | the foreground is mirrored |
    | ``placement`` | int64 | [] | number among the places of this pair and flip |
    | ``x``, ``y``, ``width``, ``height`` | int64 | [] | the foreground's box, pixels |

    Masks have values between 0 and 255 where the recipe says soft, and at edges where it stores
    them as JPEG: the foreground is then what is at least 128.

    Args:
      path: the dataset's folder; any path that TensorFlow's file systems know, such as ``gs://…``.
      split: the name of a split, such as ``train``.
      features: the keys to decode; all by default. What is not asked for costs nothing.
      background_image: adds ``background_image``, uint8 [H, W, C]: the picture without the
        foreground, joined by name. The backgrounds are held once, as PNG.
      decode_depth: ``read_info(path).manifest.depth`` says what depth means. Maps stored as
        ``metric16`` come in its ``unit`` (None: relative, as the model predicted them), those
        stored as ``norm8`` and ``plasma8`` from 0, the least of each map, to 1, its greatest.
        Measured depth (``model`` is None there) is 0 where it is unknown: leave such pixels out of
        losses and scores, by ``example["depth"] > 0``. False leaves maps as stored: uint16
        [h, w, 1], uint8 [h, w, 1] and, colour-mapped, uint8 [h, w, 3].
      normalize: makes ``image`` (and ``background_image``) float32, (value / 255 - mean) / std
        with the dataset's own per-channel statistics of its composites.
      deterministic: False lets faster shards overtake slower ones.

    Raises:
      DatasetError: not a finished dataset, no such split, no such feature.
    """
    info = read_info(path)
    decode = decoder(info, features, decode_depth=decode_depth)
    files = info.shards(split)
    dataset = tf.data.Dataset.from_tensor_slices(files).interleave(
        lambda file: tf.data.TFRecordDataset(file, buffer_size=_BUFFER_BYTES),
        cycle_length=min(len(files), 16),
        block_length=16,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=deterministic,
    )
    steps: list[Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]] = []
    if background_image:
        decode = decoder(info, _with(features, "background", info), decode_depth=decode_depth)
        steps.append(_background_joiner(info, keep_name=_asked(features, "background")))
    if normalize:
        steps.append(_normalizer(info))

    def example(record: tf.Tensor) -> dict[str, tf.Tensor]:
        tensors = decode(record)
        for step in steps:
            tensors = step(tensors)
        return tensors

    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=deterministic)
    count = tf.data.experimental.assert_cardinality(info.splits[split])
    return dataset.apply(count).prefetch(tf.data.AUTOTUNE)


def decoder(
    info: DatasetInfo, features: Sequence[str] | None = None, *, decode_depth: bool = True
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns a function from a serialised record to its tensors, as in `load`."""
    if isinstance(features, str):
        raise DatasetError(f"features is a list of names, such as [{features!r}].")
    names = list(info.features) if features is None else list(features)
    for name in names:
        if name not in info.features:
            raise DatasetError(
                f"{info.path} has no feature {name!r}; it has {', '.join(info.features)}."
            )
    types = {name: tf.int64 if "tensor" in info.features[name] else tf.string for name in names}
    form = {name: tf.io.FixedLenFeature([], dtype) for name, dtype in types.items()}

    def decode(record: tf.Tensor) -> dict[str, tf.Tensor]:
        tensors: dict[str, tf.Tensor] = tf.io.parse_single_example(record, form)
        for name in PICTURES:
            if name in tensors:
                tensors[name] = _decode_picture(info, name, tensors[name])
        if decode_depth and "depth" in tensors and info.manifest.depth:
            tensors["depth"] = _decode_depth(info.manifest.depth, tensors["depth"])
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


def _decode_picture(info: DatasetInfo, name: str, data: tf.Tensor) -> tf.Tensor:
    shape = info.picture_shape(name)
    kind = info.features[name]["image"]
    if kind["encodingFormat"] == "jpeg":
        picture = decode_jpeg(data, shape[2])
    else:
        picture = tf.io.decode_png(data, channels=shape[2], dtype=tf.as_dtype(kind["dtype"]))
    return tf.ensure_shape(picture, shape)


def _asked(features: Sequence[str] | None, name: str) -> bool:
    return features is None or name in features


def _with(features: Sequence[str] | None, name: str, info: DatasetInfo) -> list[str]:
    names = list(info.features) if features is None else list(features)
    return names if name in names else [*names, name]


def _background_joiner(
    info: DatasetInfo, keep_name: bool
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    form = {"name": tf.io.FixedLenFeature([], tf.string)}
    form["image"] = tf.io.FixedLenFeature([], tf.string)
    path = tf.io.gfile.join(info.path, BACKGROUNDS)
    records = list(tf.data.TFRecordDataset(path, buffer_size=_BUFFER_BYTES))
    parsed = tf.io.parse_example(tf.stack(records), form)
    numbers = tf.range(len(records), dtype=tf.int64)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(parsed["name"], numbers), default_value=-1
    )
    shape = info.picture_shape("image")

    def join(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        number = table.lookup(tensors["background"])
        picture = tf.io.decode_png(tf.gather(parsed["image"], number), channels=shape[2])
        joined = dict(tensors, background_image=tf.ensure_shape(picture, shape))
        if not keep_name:
            del joined["background"]
        return joined

    return join


def _normalizer(info: DatasetInfo) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    composites = info.statistics["composites"]
    mean, std = tf.constant(composites.mean, tf.float32), tf.constant(composites.std, tf.float32)

    def apply(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {
            name: (tf.cast(value, tf.float32) / 255 - mean) / std
            if name in ("image", "background_image")
            else value
            for name, value in tensors.items()
        }

    return apply
