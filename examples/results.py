"""What both examples make of a trained network: its scores on unseen pictures, and a picture."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import depthmask

Pictures = NDArray[np.uint8]

_BATCH = 32
_MOST = 1000  # examples: the first ones of a split are a fair sample of it
_DRAWN = 6


@dataclass(frozen=True, eq=False)
class Labels:
    """Depth and masks of n pictures: what is true of them, or what is predicted.

    `depth` is float32 [n, H, W] in metres, 0 where it is unknown; `mask` bool [n, H, W].
    """

    depth: NDArray[np.float32]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """How near predictions come to the truth, over the pixels of all pictures together.

    Of depth two of Eigen et al. (2014, arXiv:1406.2283), where it is known: the mean of
    |predicted - true| / true, and the share of pixels that are off by a factor below 1.25. Of
    masks intersection over union: the foreground's, and the mean of that and the background's.
    """

    absolute_relative: float
    within: float
    iou: float
    mean_iou: float

    @classmethod
    def of(cls, predicted: Labels, truth: Labels) -> Scores:
        """Compares labels of the same pictures, in which there is foreground and background."""
        known = truth.depth > 0
        said, true = predicted.depth[known], truth.depth[known]
        foreground = _overlap(predicted.mask, truth.mask)
        return cls(
            absolute_relative=float(np.mean(np.abs(said - true) / true)),
            within=float(np.mean(np.maximum(said / true, true / said) < 1.25)),
            iou=foreground,
            mean_iou=(foreground + _overlap(~predicted.mask, ~truth.mask)) / 2,
        )


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def read(path: str, split: str) -> tuple[Pictures, Labels]:
    """The first pictures of a split, uint8 [n, H, W, 3], and what is true of them.

    Exits where the examples cannot train on such pictures.
    """
    examples = depthmask.open(path).examples(split, ["image", "depth", "mask"])
    first = list(itertools.islice(examples, _MOST))
    image, depth, mask = (np.stack([e[name] for e in first]) for name in ("image", "depth", "mask"))
    if depth.shape[1:3] != image.shape[1:3] or any(side % 16 for side in image.shape[1:3]):
        raise SystemExit(
            f"{path}: sides of pictures must be multiples of 16, and depth as large. Make the "
            "dataset with --recipe examples/training.yaml"
        )
    return image, Labels(depth[..., 0], mask[..., 0] >= 128)


def median_depth(labels: Labels, *, of_each_pixel: bool = False) -> NDArray[np.float32]:
    """The median of all depth that is known, [], or of each pixel's, [H, W]: metres."""
    known = np.where(labels.depth > 0, labels.depth, np.nan)
    return np.asarray(np.nanmedian(known, axis=0 if of_each_pixel else None), np.float32)


def judge(path: str, predict: Callable[[Pictures], Labels], picture: Path) -> None:
    """Prints how near a network comes on the split `test`, and draws what it says of six pictures.

    Beside it stands what can be said without a look at them: that depth is the median of `train`,
    or each pixel's, and that there is no foreground.
    """
    images, truth = read(path, "test")
    said = [predict(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    network = Labels(
        np.concatenate([part.depth for part in said]), np.concatenate([part.mask for part in said])
    )
    trained_on, empty = read(path, "train")[1], np.zeros_like(truth.mask)
    median, map_of_medians = (
        np.broadcast_to(median_depth(trained_on, of_each_pixel=each), truth.depth.shape)
        for each in (False, True)
    )
    print(f"{f'{len(images)} test examples':30}AbsRel  δ < 1.25    IoU  mean IoU")
    for name, labels in {
        "the network": network,
        "the median, no foreground": Labels(median, empty),
        "each pixel's, no foreground": Labels(map_of_medians, empty),
    }.items():
        scores = Scores.of(labels, truth)
        print(
            f"{name:30}{scores.absolute_relative:6.3f}{scores.within:10.3f}"
            f"{scores.iou:7.3f}{scores.mean_iou:10.3f}"
        )
    draw(picture, images[:_DRAWN], truth, network)


def draw(path: Path, images: Pictures, truth: Labels, predicted: Labels) -> None:
    """Writes a column a picture: itself, its true and predicted mask, true and predicted depth.

    Near is light. Both depths of a picture share one scale, logarithmic from the nearest to the
    farthest that is true of it; unknown depth is black.
    """
    columns = []
    for image, true_mask, mask, true, depth in zip(
        images, truth.mask, predicted.mask, truth.depth, predicted.depth, strict=False
    ):
        near, far = np.log(true[true > 0].min()), np.log(true.max())
        greys = [true_mask * 255.0, mask * 255.0]
        for metres in (true, depth):
            share = (far - np.log(np.maximum(metres, 1e-3))) / max(far - near, 1e-3)
            greys.append(np.where(metres > 0, share.clip(0, 1) * 255, 0))
        rows = [np.repeat(grey[..., None], 3, axis=2).astype(np.uint8) for grey in greys]
        columns.append(np.concatenate([image, *rows]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(path, quality=85)
