"""The gallery: a dataset's examples, figures and statistics on one HTML page without a network."""

from __future__ import annotations

import base64
import io
import string
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from depthmask.plasma import PLASMA
from pipeline.dataset import Dataset, in_proportion, open_dataset, reading_from
from pipeline.plan import shards_text
from pipeline.view.examples import (
    Example,
    check_is_new,
    colour_depth,
    depth_bounds,
    first_examples,
    write_whole,
)
from pipeline.view.figures import heat_picture, histogram, placement_map
from transforms.codecs import open_image, to_image
from transforms.cutout import TRANSFORM_WORDS
from transforms.prepared import PreparedInputs, PreparedSource

# Masks that are decoded to measure how much they cover.
_MEASURED = 4000
_OUTLINE = (255, 45, 120)
_QUALITY = 85


@dataclass(frozen=True)
class Shown:
    """An example on the page: its split, and the share of the canvas that its mask covers."""

    split: str
    example: Example
    coverage: float


def write_gallery(dataset_path: str, page_path: Path, examples: int) -> int:
    """Writes the page of a dataset with that many examples, or all there are.

    Returns how many they are. Raises UserError where there is no dataset, or the page's file is
    there already.
    """
    check_is_new(page_path)
    dataset = open_dataset(dataset_path)
    with reading_from(dataset_path):
        shown, coverages = _choose(dataset, examples)
        text = _page(dataset, shown, coverages)
    write_whole(page_path, text.encode())
    return len(shown)


def _choose(dataset: Dataset, examples: int) -> tuple[list[Shown], list[float]]:
    """Returns examples of every shard in proportion, and the coverage of many masks."""
    shown: list[Shown] = []
    coverages: list[float] = []
    for shard, wanted in in_proportion(dataset, examples):
        measured = -(-_MEASURED * shard.examples // dataset.manifest.examples)
        for number, example in enumerate(first_examples(dataset, shard, max(wanted, measured))):
            mask = np.asarray(open_image(example.mask).convert("L"))
            coverages.append(float(np.mean(mask >= 128)))
            if number < wanted:
                shown.append(Shown(shard.split, example, coverages[-1]))
    return shown, coverages


def _page(dataset: Dataset, shown: list[Shown], coverages: list[float]) -> str:
    manifest, recipe = dataset.manifest, dataset.recipe
    counts = placement_map(dataset)
    peak = int(counts.max())
    classes = sorted({each.example.placement.background_class for each in shown} - {""})
    template = (resources.files("pipeline.view") / "template.html").read_text("utf-8")
    return string.Template(template).substitute(
        title=escape(recipe.name),
        subtitle=escape(
            f"{manifest.backgrounds:,} backgrounds × {manifest.foregrounds:,} foregrounds × "
            f"{len(recipe.placements.flips)} × {recipe.placements.per_pair:,} places"
        ),
        tiles="".join(_tiles(dataset)),
        histogram=histogram(coverages),
        coverage_caption=escape(
            f"Mean {np.mean(coverages):.1%}, measured on {len(coverages):,} of "
            f"{manifest.examples:,} masks, of every shard in proportion."
        ),
        heat=_data_uri(_png(heat_picture(counts)), "png"),
        heat_peak=escape(f"{peak:,} examples ({peak / manifest.examples:.1%})"),
        heat_caption=escape(
            f"How many of all {manifest.examples:,} examples have each pixel of the canvas in "
            "their foreground's box."
        ),
        statistics="".join(_statistics(dataset)),
        statistics_caption="Of value/255 (16-bit depth: value/65535) over all pixels (measured "
        "depth: where it is known), before encoding; several channels in the order red, green, "
        "blue, alpha.",
        plasma=", ".join(f"rgb({r},{g},{b})" for r, g, b in PLASMA[::15].tolist()),
        columns=str(5 if manifest.depth else 4),
        aspect=f"{recipe.canvas.width} / {recipe.canvas.height}",
        splits="".join(f"<option>{escape(split)}</option>" for split in manifest.splits),
        classes="".join(f"<option>{escape(name)}</option>" for name in classes),
        examples="".join(_examples(dataset, shown)),
        path=escape(Path(dataset.path).absolute().name),
    )


def _tiles(dataset: Dataset) -> Iterator[str]:
    manifest, canvas = dataset.manifest, dataset.recipe.canvas
    depth = manifest.depth
    tiles = [
        (f"{manifest.examples:,}", "examples"),
        *((f"{count:,}", f"in split {split}") for split, count in manifest.splits.items()),
        (f"{canvas.width}×{canvas.height}", f"pixels, {canvas.colour}"),
        (f"{depth.width}×{depth.height}", f"depth, {depth.storage}")
        if depth
        else ("none", "depth"),
        (f"{manifest.total_bytes / 1e6:,.0f} MB", f"in {shards_text(len(manifest.shards))}"),
    ]
    for value, name in tiles:
        yield f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def _statistics(dataset: Dataset) -> Iterator[str]:
    yield (
        '<table><tr><th>kind</th><th class="number">pictures</th><th>mean</th><th>std</th>'
        "<th>mean std of a picture</th></tr>"
    )
    for kind, moments in dataset.manifest.tally.moments.items():
        cells = [
            " · ".join(f"{value:.4f}" for value in values)
            for values in (moments.mean, moments.std, moments.mean_image_std)
        ]
        yield (
            f'<tr><td>{escape(kind.replace("_", " "))}</td><td class="number">'
            f"{moments.images:,}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        )
    yield "</table>"


def _examples(dataset: Dataset, shown: list[Shown]) -> Iterator[str]:
    inputs = PreparedInputs(PreparedSource.of_dataset(dataset.path))
    for each in shown:
        yield _example(dataset, each, inputs)


def _example(dataset: Dataset, shown: Shown, inputs: PreparedInputs) -> str:
    example, place = shown.example, shown.example.placement
    names = f"{place.background} {place.foreground}".lower()
    transform = dataset.recipe.drawing.transform(place)
    cutout = inputs.foreground(place.foreground, transform)
    foreground = cutout.colour.copy()
    foreground.putalpha(cutout.alpha)
    background = to_image(inputs.background(place.background))
    composite = _data_uri(example.image, _kind(example.image))
    mask = open_image(example.mask).convert("L")
    outline = _data_uri(_png(_outline(np.asarray(mask) >= 128)), "png")
    flipped = f", {TRANSFORM_WORDS[transform]}" if transform else ""
    pictures = [
        _figure("background", _image(_data_uri(_jpeg(background), "jpeg"), "background")),
        _figure(
            f"foreground{flipped}",
            _image(_data_uri(_png(foreground), "png"), "foreground"),
            "whole checks",
        ),
        _figure("composite", _image(composite, "composite") + _image(outline, "", "outline")),
        _figure("mask", _image(_data_uri(example.mask, _kind(example.mask)), "mask")),
    ]
    if dataset.manifest.depth and example.depth:
        stored = np.asarray(open_image(example.depth))
        low, high = depth_bounds(stored, dataset)
        picture = _data_uri(_png(colour_depth(stored)), "png")
        bar = (
            f'<div class="scale"></div><div class="ends"><span>{escape(low)}</span>'
            f"<span>{escape(high)}</span></div>"
        )
        pictures.append(_figure("depth", _image(picture, "depth"), below=bar))
    badges = [shown.split, place.background_class]
    facts = {
        "foreground": place.foreground,
        "background": place.background,
        "box": f"{place.width}×{place.height} at {place.x}, {place.y}",
        "place": f"{place.index}{flipped}",
        "covers": f"{shown.coverage:.1%}",
    }
    return (
        f'<section class="example" data-split="{escape(shown.split)}" '
        f'data-class="{escape(place.background_class)}" data-names="{escape(names)}">'
        f'<div class="about"><b>{escape(place.id)}</b>'
        + "".join(f'<span class="badge">{escape(badge)}</span>' for badge in badges if badge)
        + "<dl>"
        + "".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
        + "</dl></div>"
        + "".join(pictures)
        + "</section>"
    )


def _figure(title: str, content: str, kind: str = "", below: str = "") -> str:
    return (
        f'<figure><div class="picture {kind}">{content}</div>'
        f"<figcaption>{title}</figcaption>{below}</figure>"
    )


def _image(source: str, alt: str, kind: str = "") -> str:
    return f'<img class="{kind}" alt="{alt}" src="{source}">'


def _outline(inside: np.ndarray) -> Image.Image:
    """Returns the rim of `inside`, bool [H, W], opaque on transparency."""
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    image = Image.fromarray((inside & ~core).astype(np.uint8))
    image.putpalette([0, 0, 0, *_OUTLINE])
    image.info["transparency"] = 0
    return image


def _kind(data: bytes) -> str:
    return "png" if data.startswith(b"\x89PNG") else "jpeg"


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
