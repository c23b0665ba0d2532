"""The dataset card: README.md of a dataset. Every number in it is counted or measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from depthmask.manifest import BACKGROUND_DEPTHS, DepthMeaning, Manifest
from pipeline.publish.publication import Publication
from pipeline.publish.sections import list_lines, marked, publication_sections
from pipeline.publish.summary import Summary
from pipeline.recipes import Recipe
from transforms.cutout import TRANSFORM_WORDS
from transforms.depth.layers import IN_FRONT
from transforms.prepared import PreparedPicture

_KINDS = {"image": "composites", "mask": "masks", "depth": "depth maps"}


@dataclass(frozen=True)
class CardFacts:
    """All that a card says. `input_bytes`: sizes of the files of prepared inputs, by name."""

    recipe: Recipe
    manifest: Manifest
    backgrounds: Sequence[PreparedPicture]
    foregrounds: Sequence[PreparedPicture]
    input_bytes: Mapping[str, int]
    publication: Publication

    @property
    def examples(self) -> int:
        return self.manifest.examples

    @property
    def depth(self) -> DepthMeaning | None:
        return self.manifest.depth


def dataset_card(facts: CardFacts) -> bytes:
    """Returns the dataset's README.md, in Markdown."""
    sections = (
        _head(facts),
        _contents(facts),
        _splits(facts),
        _loading(facts),
        _statistics(facts),
        _making(facts),
        _limits(facts),
        *publication_sections(facts.publication, _inputs(facts), facts.depth),
    )
    return marked("\n\n".join("\n".join(section) for section in sections) + "\n")


def summarise(facts: CardFacts) -> Summary:
    """Returns what the card says of the dataset in sentences, without its publication."""
    versions = facts.manifest.provenance.versions
    tools = [f"depthmask {versions['depthmask']}"] if "depthmask" in versions else ["depthmask"]
    if facts.depth and facts.depth.model:
        tools.append(facts.depth.model)
    return Summary(
        name=facts.recipe.name,
        uses=_uses(facts),
        contents=_plain(*_what(facts), _dealt(facts)),
        making=_plain(*_making_sentences(facts)),
        limits=_plain(*_limit_sentences(facts)),
        inputs=_inputs(facts),
        tools=tuple(tools),
    )


def _plain(*sentences: str) -> tuple[str, ...]:
    """Sentences without their Markdown."""
    return tuple(sentence.replace("`", "") for sentence in sentences)


def _inputs(facts: CardFacts) -> dict[str, str]:
    inputs = {
        "backgrounds": f"{len(facts.backgrounds):,} backgrounds",
        "foregrounds": f"{len(facts.foregrounds):,} foregrounds",
    }
    if facts.recipe.masks.source == "file":
        inputs["masks"] = f"mask files of the {len(facts.foregrounds):,} foregrounds"
    if facts.depth and facts.depth.model is None:
        inputs["depth"] = "measured depth of the backgrounds"
    return inputs


def _head(facts: CardFacts) -> Iterator[str]:
    yield f"# {facts.publication.title or facts.recipe.name}: a depthmask dataset"
    if facts.publication.description:
        yield ""
        yield facts.publication.description
    for sentence in _what(facts):
        yield ""
        yield sentence


def _uses(facts: CardFacts) -> tuple[str, ...]:
    """What it can teach a network."""
    depth = ("monocular depth estimation",) if facts.depth else ()
    return (*depth, "foreground segmentation")


def _what(facts: CardFacts) -> Iterator[str]:
    """What a dataset has, in sentences."""
    rules = facts.recipe.placements
    depth = ", a depth map" if facts.depth else ""
    kind = "mirrored" if rules.transforms == ("left_right",) else "flipped"
    flips = f" × 2 (plain and {kind})" if len(rules.flips) == 2 else ""
    yield (
        f"{facts.examples:,} examples for {' and '.join(_uses(facts))}: a "
        f"composite of a foreground on a background, the foreground's mask{depth}, and where it "
        "was placed."
    )
    yield (
        f"{len(facts.backgrounds):,} backgrounds × {len(facts.foregrounds):,} foregrounds{flips} × "
        f"{rules.per_pair:,} places."
    )
    classes = Counter(picture.label for picture in facts.backgrounds if picture.label)
    if classes:
        listing = ", ".join(f"{name} ({count:,})" for name, count in sorted(classes.items()))
        yield f"Classes of backgrounds: {listing}."


def _contents(facts: CardFacts) -> Iterator[str]:
    recipe, canvas = facts.recipe, facts.recipe.canvas
    size = f"{canvas.width}×{canvas.height}"
    yield "## What is in it"
    yield ""
    yield "| kind | pictures | pixels | stored as | bytes | bytes a picture |"
    yield "|---|---:|---|---|---:|---:|"
    stored = {
        "image": (size, _codec(recipe.image.format, recipe.image.quality, canvas.channels)),
        "mask": (size, _codec(recipe.masks.format, recipe.masks.quality, recipe.masks.channels)),
    }
    if facts.depth:
        codec = recipe.depth.codec
        stored["depth"] = (
            f"{facts.depth.width}×{facts.depth.height}",
            f"{recipe.depth.storage}, {_codec(codec.format, codec.quality, recipe.depth.channels)}",
        )
    for kind, (pixels, form) in stored.items():
        total = facts.manifest.tally.picture_bytes[kind]
        yield (
            f"| {_KINDS[kind]} | {facts.examples:,} | {pixels} | {form} | {total:,} | "
            f"{total / max(facts.examples, 1):,.0f} |"
        )
    drawn = _range(facts.foregrounds)
    for name, pictures, pixels in (
        ("backgrounds", facts.backgrounds, size),
        ("foregrounds", facts.foregrounds, f"{drawn} at scale 1"),
    ):
        total = facts.input_bytes[f"{name}.tfrecord"]
        yield (
            f"| {name} | {len(pictures):,} | {pixels} | PNG, prepared | {total:,} | "
            f"{total / len(pictures):,.0f} |"
        )


def _codec(format: str, quality: int, channels: int) -> str:
    colour = "RGB" if channels == 3 else "grey"
    return f"JPEG {quality}, {colour}" if format == "jpeg" else f"PNG, {colour}"


def _range(pictures: Sequence[PreparedPicture]) -> str:
    widths, heights = zip(*((p.width, p.height) for p in pictures), strict=True)
    return " × ".join(
        f"{min(sides)}" if min(sides) == max(sides) else f"{min(sides)}…{max(sides)}"
        for sides in (widths, heights)
    )


def _splits(facts: CardFacts) -> Iterator[str]:
    yield "## Splits"
    yield ""
    yield "| split | examples | share | shards | bytes |"
    yield "|---|---:|---:|---:|---:|"
    for name, examples in facts.manifest.splits.items():
        shards = facts.manifest.shards_of(name)
        yield (
            f"| {name} | {examples:,} | {examples / max(facts.examples, 1):.1%} | "
            f"{len(shards):,} | {sum(shard.bytes for shard in shards):,} |"
        )
    yield ""
    yield _dealt(facts)


def _dealt(facts: CardFacts) -> str:
    """How examples were dealt out, in a sentence."""
    by = facts.recipe.splits.by
    if len(facts.manifest.splits) == 1:
        return "All examples are in one split."
    if by == "example":
        return "Dealt out by example: splits share backgrounds and foregrounds."
    if by == "both":
        between = facts.recipe.splits.between
        rest = f" but {between}, which has what lies between the others" if between else ""
        return f"Dealt out by both: no background and no foreground is in two splits{rest}."
    return f"Dealt out by {by}: no {by} is in two splits."


def _loading(facts: CardFacts) -> Iterator[str]:
    split = next(iter(facts.manifest.splits))
    yield "## Loading"
    yield ""
    yield "```python"
    yield "import depthmask"
    yield ""
    yield f'dataset = depthmask.load("PATH/TO/THIS/FOLDER", "{split}")'
    yield "```"
    yield ""
    yield (
        f'or `tensorflow_datasets.builder_from_directory("PATH/TO/THIS/FOLDER").as_dataset('
        f'"{split}")`. `index.csv` has a row an example. Without either, each record is a '
        "`tf.train.Example`:"
    )
    yield ""
    yield "```python"
    yield "import tensorflow as tf"
    yield ""
    kinds = ["image", "mask", *(["depth"] if facts.depth else [])]
    yield f"form = {{name: tf.io.FixedLenFeature([], tf.string) for name in {kinds}}}"
    yield 'folder = "PATH/TO/THIS/FOLDER"'
    yield "names = sorted(tf.io.gfile.listdir(folder))"
    yield f'shards = [f"{{folder}}/{{n}}" for n in names if n.startswith("depthmask-{split}.")]'
    yield "for record in tf.data.TFRecordDataset(shards):"
    yield "    pictures = tf.io.parse_single_example(record, form)"
    if facts.recipe.image.format == "jpeg":  # TensorFlow's default is a level too dark
        decode = 'decode_jpeg(pictures["image"], dct_method="INTEGER_ACCURATE")'
    else:
        decode = 'decode_png(pictures["image"])'
    yield f"    image = tf.io.{decode}  # uint8"
    yield '    mask = tf.io.decode_image(pictures["mask"])  # uint8, 0 … 255'
    if facts.depth:
        dtype = facts.recipe.depth.dtype
        yield f'    depth = tf.io.decode_image(pictures["depth"], dtype=tf.{dtype})  # see below'
    yield "```"


def _statistics(facts: CardFacts) -> Iterator[str]:
    yield "## Statistics"
    yield ""
    yield (
        "Of value/255 (16-bit depth: value/65535) over all pixels (measured depth: where it is "
        "known), before encoding. The exact sums behind them are in `statistics.json`; those of "
        "the pictures as they are decoded again in `decoded_statistics.json`, once `depthmask "
        "verify` has read them all."
    )
    yield ""
    yield "| kind | images | channels | mean | std | mean std of an image |"
    yield "|---|---:|---|---|---|---|"
    for kind, moments in facts.manifest.tally.moments.items():
        cells = [
            ", ".join(f"{value:.6f}" for value in values)
            for values in (moments.mean, moments.std, moments.mean_image_std)
        ]
        channels = ", ".join(moments.channels)
        name = kind.replace("_", " ")
        yield f"| {name} | {moments.images:,} | {channels} | {' | '.join(cells)} |"


def _making(facts: CardFacts) -> Iterator[str]:
    yield "## How it was made"
    yield ""
    yield from list_lines(_making_sentences(facts))
    yield (
        "- `recipe.yaml` has every setting, `manifest.json` the checksum of every file. The same "
        "inputs, recipe and versions give the same bytes."
    )


def _making_sentences(facts: CardFacts) -> Iterator[str]:
    recipe, rules = facts.recipe, facts.recipe.placements
    size = recipe.foregrounds.size.model_dump(exclude_none=True)
    mode = size.pop("mode").replace("_", " ")
    values = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in size.items())
    low, high = recipe.foregrounds.scale
    factor = f", times a random factor from {low:g} to {high:g}" if low != high else ""
    scale = f"{factor} for each {recipe.foregrounds.scale_each}" if factor else ""
    where = {
        "inside": f"wholly inside the canvas{' short of its edge' if rules.half_open else ''}",
        "anywhere": "with their centre anywhere on the canvas, cropped at its edge",
        "range": f"with their top left corner at x {rules.x}, y {rules.y}, cropped at the edge",
    }[rules.region]
    flips = TRANSFORM_WORDS[rules.transforms[0]]
    if len(rules.transforms) > 1:
        listed = ", ".join(
            f"{TRANSFORM_WORDS[transform]} ({number})"
            for number, transform in enumerate(rules.transforms)
        )
        flips = f"by their number modulo {len(rules.transforms)} {listed}"
    flipped = {
        "none": "There are no flipped ones.",
        "own": f"Flipped ones are {flips}, and have places of their own.",
        "shared": f"Flipped ones are {flips}, at the same places.",
    }[rules.flip]
    yield (
        f"Backgrounds were fitted to the canvas ({recipe.canvas.fit}). Foregrounds were sized "
        f"by {mode}{f' ({values})' if values else ''}{scale}, and pasted {where}. {flipped}"
    )
    threshold = recipe.masks.binary_threshold
    if threshold is not None:
        cut = f"cut at {threshold}"
    elif recipe.masks.dither:
        cut = "dithered to 0 and 255 (Floyd and Steinberg)"
    else:
        squared = ", squared (v·v / 255)" if recipe.masks.squared else ""
        cut = f"kept with their grey levels{squared}"
    source = {
        "alpha": f"transparency{', 0 where black' if recipe.masks.without_black else ''}",
        "file": "the mask files",
        "colour": f"colour (every channel in {list(recipe.masks.range)})",
    }[recipe.masks.source]
    yield f"Masks are from {source}, {cut}."
    if facts.depth:
        unit = "metres" if facts.depth.unit == "metre" else "no unit"
        meaning = recipe.depth.describe(facts.depth.quantity.replace("_", " "), unit)
        yield f"{_depth_made(recipe, facts.depth)}; {meaning}."
        yield from _unknown_depth(facts)
    versions = ", ".join(
        f"{name} {version}" for name, version in facts.manifest.provenance.versions.items()
    )
    yield f"Seed {recipe.seed}; {versions}."


def _listed(words: Sequence[str]) -> str:
    return " or ".join([*[", ".join(words[:-1])][: len(words) - 1], words[-1]])


def _depth_made(recipe: Recipe, depth: DepthMeaning) -> str:
    """How depth was made, in a sentence without its end."""
    if recipe.depth.of != "background":
        seen = "composites" if recipe.depth.of == "composite" else "composites as stored"
        return f"Depth was estimated on the {seen} by {depth.model}"
    how = f"estimated by {depth.model}, once each" if depth.model else "measured"
    before = (
        f"{IN_FRONT:.0%} nearer than" if depth.unit else f"{IN_FRONT:.0%} of its range in front of"
    )
    return (
        f"Depth of the backgrounds was {how} (`{BACKGROUND_DEPTHS}`). That of a composite is its "
        f"background's, and within the mask a plane {before} the nearest of what it covers"
    )


def _unknown_depth(facts: CardFacts) -> Iterator[str]:
    """How much of measured depth is unknown."""
    depth = facts.depth
    if depth and depth.model is None:
        moments = facts.manifest.tally.moments["depth"]
        total = moments.images * depth.width * depth.height
        unknown = total - moments.pixels
        yield (
            f"Depth is unknown in {unknown:,} pixels ({unknown / max(total, 1):.2%}): they are "
            "stored as 0, and not in the statistics."
        )


def _limits(facts: CardFacts) -> Iterator[str]:
    yield "## Known limits"
    yield ""
    yield from list_lines((*_limit_sentences(facts), *facts.publication.limits))
    warnings = sum(finding.level == "warning" for finding in facts.manifest.findings)
    if warnings:
        yield f"- `errors.jsonl` has {warnings:,} warnings about inputs."
    inputs, examples = facts.manifest.inputs_left_out, len(facts.manifest.tally.left_out)
    if inputs or examples:
        yield f"- Left out, as `errors.jsonl` says: {inputs:,} inputs, {examples:,} examples."


def _limit_sentences(facts: CardFacts) -> Iterator[str]:
    recipe = facts.recipe
    yield (
        "Foregrounds are pasted without regard to the scene: their light, shadow, size and "
        "footing are not those of a photograph."
    )
    if recipe.placements.region != "inside":
        yield "Foregrounds may be cropped at the canvas's edge, down to a few pixels."
    if recipe.masks.dither:
        yield "Masks are grainy where their sources are grey."
    if recipe.masks.format == "jpeg":
        yield "Masks are stored as JPEG, not exactly at their edges: take what is at least 128."
    if facts.depth:
        if facts.depth.model:
            yield "Depth is a model's estimate, not a measurement."
        if facts.depth.model == "builtin":
            off = "13% (by backgrounds)" if recipe.depth.of == "background" else "15%"
            yield (
                "The builtin network is small: on composites of drawn rooms that it had not seen "
                f"it is off by {off} on average, and by more within masks."
            )
        if recipe.depth.of == "background":
            yield "A foreground's depth is that of a plane, wherever it would stand in the scene."
        if not recipe.depth.absolute:
            yield "Each depth map is stretched to its own range: maps cannot be compared."
    if recipe.splits.by == "example" and len(facts.manifest.splits) > 1:
        yield "Backgrounds and foregrounds of one split are known from the others."
    empty = facts.manifest.tally.empty_masks
    if empty:
        yield (
            f"Nothing is seen of the foreground in {empty:,} examples "
            f"({empty / facts.examples:.1%}): their masks are empty."
        )
