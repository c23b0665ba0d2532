"""Mask files, read as what they mean: whatever is not background is foreground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from pipeline.inputs.colour import to_srgb
from pipeline.inputs.decoding import BadPicture, Decoded, decode, turned
from pipeline.inputs.samples import Samples, Warn

# How far JPEG leaves black, white and even areas from what they were.
_NOISE = 24
# Channels that differ more are a colour; a mask has colours from so many of its pixels on.
_COLOURED, _COLOURED_SHARE = 40, 0.001
# The share of black from which it is the background of a mask in colours.
_BLACK_SHARE = 0.01
# Up to so many colours are those of classes, without the mixed ones of smooth edges.
_CLASS_COLOURS = 24
# What is darker is no white, and what is darker no grey.
_WHITE, _GREY = 230, 16
# Classes fill areas, and greys lie along an edge or change slowly: by so little of their range.
_FLAT_SHARE = 0.5
_SLOW = 0.012
_FEW_VALUES, _MANY_VALUES = 8, 64
# Classes in the histogram of a JPEG: peaks so wide, so many, with so much of what is grey.
_PEAK, _PEAKS, _PEAK_SHARE, _GREY_SHARE = 8, 4, 0.85, 0.05
# Of a mask in colours so much is even.
_EVEN_SHARE = 0.5
# Of a soft mask in a JPEG so much is grey; less of it is noise.
_SOFT_SHARE = 0.25
_SHOWN = 6


@dataclass(frozen=True)
class Mask:
    """A mask file as grey levels, upright: mode L, 0 is background.

    `orientation`: by which EXIF orientation it was turned.
    """

    levels: Image.Image
    orientation: int


def open_mask(path: str, threshold: int | None, warn: Warn) -> Mask:
    """Reads a mask file.

    Levels are 0 and 255 where it has two values, numbers or colours of classes; else its greys.
    `threshold`: at which masks will be cut, None for soft ones. Raises BadPicture where it has no
    foreground or does not say which of its colours that is.
    """
    decoded = decode(path, warn)
    levels = _levels(decoded, threshold, warn)
    if not levels.any():
        raise BadPicture("is black all over", "Is it another picture's?")
    return Mask(turned(Image.fromarray(levels), decoded.turn), decoded.orientation)


def cut(levels: Image.Image, threshold: int) -> Image.Image:
    """`levels` (mode L), opaque inside and clear outside: greys are left along the edge alone.

    The edge are the pixels next to another on the other side of the threshold.
    """
    shape = levels.point([255 * (level >= threshold) for level in range(256)])
    inside, outside = shape.filter(ImageFilter.MinFilter(3)), shape.filter(ImageFilter.MaxFilter(3))
    return Image.fromarray(np.clip(np.asarray(levels), np.asarray(inside), np.asarray(outside)))


def _levels(decoded: Decoded, threshold: int | None, warn: Warn) -> np.ndarray:
    """uint8 [h, w], as stored."""
    stored = decoded.stored
    if isinstance(stored, Samples):
        return _of_samples(stored, threshold, warn)
    if stored.mode in ("1", "L") and "transparency" not in stored.info:
        values = np.asarray(stored).astype(np.uint8)
        return _of_values(values, values, threshold, decoded.lossy, warn)
    rgba = to_srgb(stored, None, warn).convert("RGBA")
    if stored.mode == "P" and len(rgba.getcolors(2) or (0, 0)) == 1:
        # A palette that says nothing: its numbers do.
        numbers = np.asarray(stored)
        return _of_values(numbers, numbers, threshold, decoded.lossy, warn)
    return _of_colours(rgba, threshold, decoded.lossy, warn)


def _of_samples(samples: Samples, threshold: int | None, warn: Warn) -> np.ndarray:
    try:
        eight, alpha = samples.eight_bits(_ignore), samples.alpha()
    except ValueError as error:
        raise BadPicture(f"has {error}", "Take it away or convert it.") from error
    values = samples.colours
    if values.ndim == 3 and (values == values[..., :1]).all():
        values, eight = values[..., 0], eight[..., 0]
    if values.ndim == 3 or (alpha is not None and not alpha.all()):
        image = Image.fromarray(eight).convert("RGB")
        if alpha is not None:
            image.putalpha(Image.fromarray(alpha))
        return _of_colours(image.convert("RGBA"), threshold, False, warn)
    if samples.kind.inverted:
        values = values.max() - values
    return _of_values(values, eight, threshold, False, warn)


def _ignore(problem: str, remedy: str) -> None:
    """Masks of any number of bits say the same."""


def _of_values(
    values: np.ndarray, eight: np.ndarray, threshold: int | None, lossy: bool, warn: Warn
) -> np.ndarray:
    """From one number a pixel, [h, w] of any dtype, and the grey that it is seen as, uint8."""
    least, greatest = values.min(), values.max()
    if least == greatest:
        return np.full(values.shape, 0 if least == 0 else 255, np.uint8)
    if ((values == least) | (values == greatest)).all():
        return _white(values == greatest)
    classes = _noisy_classes(eight) if lossy else _classes(values, eight)
    # Soft masks have greys, unless those cannot be: then they are numbers.
    if classes and (threshold or eight.max() < _WHITE or min(classes[1:]) < _GREY):
        if len(classes) > 2:
            warn(
                f"has the values {_listed(classes)}, which fill areas as those of classes do",
                f"All but {classes[0]} are taken as foreground.",
            )
        first = classes[1]
        return _white(eight > max(first / 2, _NOISE) if lossy else values >= first)
    return _of_greys(eight, threshold, lossy, warn)


def _white(shape: np.ndarray) -> np.ndarray:
    return np.where(shape, np.uint8(255), np.uint8(0))


def _listed(values: Sequence[object]) -> str:
    shown = [str(value) for value in values[:_SHOWN]]
    if len(values) > _SHOWN:
        return f"{', '.join(shown)} … (there are {len(values):,})"
    if len(shown) == 1:
        return shown[0]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _classes(values: np.ndarray, eight: np.ndarray) -> list[int]:
    """The values of a mask whose values are numbers of classes, least first; none of another.

    Raises BadPicture for classes without a 0.
    """
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        return []
    least, greatest = values.min(), values.max()
    here, right, below = values[:-1, :-1], values[:-1, 1:], values[1:, :-1]
    between = (here != least) & (here != greatest)
    if not between.any() or np.mean(((here == right) & (here == below))[between]) < _FLAT_SHARE:
        return []
    numbers = np.unique(values)
    if len(numbers) > _MANY_VALUES and eight.max() >= _WHITE:
        return []
    if len(numbers) > _FEW_VALUES:
        steps = np.abs(here.astype(np.float64) - right)[here != right]
        if len(steps) and np.mean(steps <= _SLOW * (float(greatest) - float(least))) >= _FLAT_SHARE:
            return []
    classes = [int(number) for number in numbers]
    if classes[0] != 0:
        raise BadPicture(
            f"has the values {_listed(classes)}, which fill areas as those of classes do, and no 0",
            "Make its background 0.",
        )
    return classes


def _noisy_classes(eight: np.ndarray) -> list[int]:
    """As `_classes`, of a JPEG, uint8 [h, w]: their greys, 0 first."""
    counts = np.bincount(eight.ravel(), minlength=256)
    greys = counts.copy()
    greys[: _NOISE + 1] = greys[_WHITE + 1 :] = 0
    total = greys.sum()
    if total < _GREY_SHARE * counts[_NOISE + 1 :].sum():
        return []
    here = eight[:-1, :-1].astype(np.int16)
    flat = np.maximum(np.abs(here - eight[:-1, 1:]), np.abs(here - eight[1:, :-1])) <= _PEAK
    between = (here > _NOISE) & (here <= _WHITE)
    if not between.any() or np.mean(flat[between]) < _FLAT_SHARE:
        return []
    peaks: list[int] = []
    for _ in range(_PEAKS):
        near = np.convolve(greys, np.ones(2 * _PEAK + 1, int), "same")
        peak = int(near.argmax())
        if near[peak] < (1 - _PEAK_SHARE) / _PEAKS * total:
            break
        peaks.append(peak)
        greys[max(0, peak - _PEAK) : peak + _PEAK + 1] = 0
    if not peaks or greys.sum() > (1 - _PEAK_SHARE) * total:
        return []
    white = [255] if counts[_WHITE + 1 :].sum() > _GREY_SHARE * total else []
    return [0, *sorted(peaks), *white]


def _of_greys(eight: np.ndarray, threshold: int | None, lossy: bool, warn: Warn) -> np.ndarray:
    brightest = int(eight.max())
    if brightest < _GREY:
        raise BadPicture(
            f"is black nearly all over: its brightest pixel is {brightest} of 255",
            "Make its foreground white.",
        )
    if brightest < _WHITE:
        taken = "taken as white" if threshold else "kept as it is: masks are soft"
        warn(f"has no white: its brightest pixel is {brightest} of 255", f"That is {taken}.")
        if threshold:
            eight = np.rint(eight * (255 / brightest)).astype(np.uint8)
    if lossy and threshold:
        return _white(eight >= threshold)
    if not lossy:
        return eight
    eight = np.where(eight <= _NOISE, 0, np.where(eight > _WHITE, 255, eight)).astype(np.uint8)
    if np.mean(eight[eight > 0] < 255) < _SOFT_SHARE:
        return np.asarray(cut(Image.fromarray(eight), 128))
    return eight


def _of_colours(rgba: Image.Image, threshold: int | None, lossy: bool, warn: Warn) -> np.ndarray:
    alpha = np.asarray(rgba.getchannel("A"))
    if not (alpha == 255).all():
        visible = np.asarray(rgba)[alpha >= max(1, alpha.max() // 2), :3]
        if np.ptp(visible, axis=0).max(initial=0) <= _PEAK:
            # A shape in one colour, be it black, on transparency.
            return _of_values(alpha, alpha, threshold, lossy, warn)
    black = Image.new("RGBA", rgba.size, "black")
    seen = Image.alpha_composite(black, rgba)
    pixels = np.asarray(seen)[..., :3]
    brightness = pixels.max(axis=2)
    if np.mean(brightness - pixels.min(axis=2) > _COLOURED) < _COLOURED_SHARE:
        grey = np.asarray(seen.convert("L"))
        return _of_values(grey, grey, threshold, lossy, warn)
    colours = _main_colours(seen)
    if _share_of(colours, pixels) < _EVEN_SHARE:
        raise BadPicture("has colours as a photo has", "Is it a mask?")
    background = brightness <= (_NOISE if lossy else 0)
    if np.mean(background) < _BLACK_SHARE:
        raise BadPicture(
            f"has the colours {_listed(colours)} and no black", "Make its background black."
        )
    foreground = [colour for colour in colours if max(colour) > _NOISE]
    if len(foreground) > 1:
        warn(
            f"has the colours {_listed(foreground)} on black",
            "All but black are taken as foreground.",
        )
    if not lossy and seen.getcolors(_CLASS_COLOURS):
        return _white(~background)
    return _white(brightness > max(min(map(max, foreground), default=255) // 2, _NOISE))


def _share_of(colours: Sequence[tuple[int, ...]], pixels: np.ndarray) -> float:
    """How much of `pixels`, uint8 [h, w, 3], is of one of these colours but for noise."""
    signed = pixels.astype(np.int16)
    known = np.zeros(pixels.shape[:2], np.bool_)
    for colour in colours:
        known |= np.abs(signed - np.array(colour, np.int16)).max(axis=2) <= _NOISE
    return float(np.mean(known))


def _main_colours(image: Image.Image) -> list[tuple[int, ...]]:
    """The colours of areas that have at least a hundredth of an RGBA image, the largest first."""
    pixels = np.asarray(image)[..., :3].astype(np.int16)
    here = pixels[:-1, :-1]
    beside = np.abs(here - pixels[:-1, 1:]), np.abs(here - pixels[1:, :-1])
    even = here[np.maximum(*beside).max(axis=2) <= _NOISE]
    numbers = (even >> 4).astype(np.int32) @ np.array([256, 16, 1], np.int32)
    counts = np.bincount(numbers, minlength=4096)
    colours: list[tuple[int, ...]] = []
    for number in np.argsort(-counts)[: 4 * _SHOWN]:
        if counts[number] < max(_BLACK_SHARE * here.shape[0] * here.shape[1], 1):
            break
        colour = np.median(even[numbers == number], axis=0).astype(int)
        # JPEG spreads a colour over several.
        if all(np.abs(colour - other).max() > 2 * _NOISE for other in colours):
            colours.append(tuple(colour.tolist()))
    return colours
