"""The five published recipes make what the teams' own loops, written with Pillow, make."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthmask.records import parse_example, unframe_records
from pipeline.inputs import InputFolders, prepare_inputs
from pipeline.job import Draft
from pipeline.recipes import load_recipe
from transforms.compose import compose_chunk
from transforms.depth import parse_model
from transforms.elements import Placement
from transforms.prepared import PreparedInputs

RESTAURANT_MALL = (
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)


@dataclass(frozen=True)
class Example:
    """A record, and the user's files that it is of."""

    placement: Placement
    image: bytes
    mask: bytes
    background: Image.Image
    foreground: Image.Image
    mask_file: Image.Image

    @property
    def place(self) -> tuple[int, int]:
        return self.placement.x, self.placement.y

    @property
    def mask_levels(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.mask))).astype(int)


def draw(folder: Path, canvas: tuple[int, int], size: tuple[int, int]) -> InputFolders:
    """A background as large as the canvas, and a cut-out with a soft edge and black in it."""
    rng = np.random.default_rng(5)
    for name in ("b", "f", "m"):
        (folder / name).mkdir()
    rows, columns = np.mgrid[: canvas[1], : canvas[0]]
    scene = np.dstack([rows % 256, columns % 256, (rows + columns) // 3 % 256])
    Image.fromarray(scene.astype(np.uint8)).save(folder / "b" / "scene.jpg", quality=95)
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    radius = np.hypot((rows / height - 0.5) * 2, (columns / width - 0.4) * 1.7)
    alpha = np.rint(np.clip((1 - radius) * 3, 0, 1) * 255)
    colour = rng.integers(0, 256, (height, width, 3))
    colour[height // 3 : height // 2, width // 4 : width // 2] = 0
    colour[alpha == 0] = 0
    cutout = Image.fromarray(np.dstack([colour, alpha]).astype(np.uint8))
    cutout.save(folder / "f" / "thing.png")
    cutout.getchannel("A").convert("RGB").save(folder / "m" / "thing.png")
    return InputFolders(*(str(folder / name) for name in "bfm"))


def examples(
    recipe_name: str, folder: Path, size: tuple[int, int], *settings: str, masks: bool = True
) -> Iterator[Example]:
    """All examples of one pair, made as a run makes them."""
    recipe = load_recipe(recipe_name, settings)
    canvas = recipe.canvas
    folders = draw(folder, (canvas.width, canvas.height), size)
    used = folders if masks else InputFolders(folders.backgrounds, folders.foregrounds)
    source = prepare_inputs(used, recipe, str(folder)).source
    draft = Draft.of(recipe, source, None)
    files = (
        Image.open(Path(folders.backgrounds) / "scene.jpg").convert("RGB"),
        Image.open(Path(folders.foregrounds) / "thing.png"),
        Image.open(folder / "m" / "thing.png").convert("L"),
    )
    for shard in draft.plan.shard_keys():
        for key in draft.plan.chunk_keys(shard):
            spec = draft.plan.chunk(key)
            chunk = compose_chunk(spec, PreparedInputs(source), recipe.drawing)
            records = unframe_records(draft.encoder.encode(chunk).records)
            for placement, record in zip(spec.placements, records, strict=True):
                features = parse_example(record)
                image, mask = (features[kind] for kind in ("image", "mask"))
                assert isinstance(image, bytes) and isinstance(mask, bytes)
                assert Placement.from_features(_texts(features)) == placement
                yield Example(placement, image, mask, *files)


def _texts(features: dict[str, bytes | int]) -> dict[str, str | int]:
    return {
        name: value.decode()
        if isinstance(value, bytes) and name not in ("image", "mask")
        else ""
        if isinstance(value, bytes)
        else value
        for name, value in features.items()
    }


def jpeg(image: Image.Image, quality: int, optimize: bool = True) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, optimize=optimize)
    return stream.getvalue()


def pasted(
    background: Image.Image, foreground: Image.Image, place: tuple[int, int], by: Image.Image
) -> Image.Image:
    image = background.copy()
    image.paste(foreground, place, by)
    return image


def test_office(tmp_path: Path):
    black, found = Image.new("L", (160, 160)), list(examples("office", tmp_path, (79, 150)))
    assert len(found) == 40
    for each in found:
        foreground, mask = each.foreground, each.mask_file
        if each.placement.flip:
            foreground, mask = (
                image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in (foreground, mask)
            )
        composite = pasted(each.background, foreground, each.place, foreground)
        assert each.image == jpeg(composite, 50)
        assert each.mask == jpeg(pasted(black, mask, each.place, mask), 50)
    places = {axis for each in found for axis in each.place}
    assert min(places) >= 0 and 120 < max(places) < 160


def test_restaurant_mall(tmp_path: Path):
    black = Image.new("L", (224, 224))
    found = list(examples("restaurant-mall", tmp_path, (140, 61), masks=False))
    assert len(found) == 40
    for each in found:
        foreground, place = each.foreground, each.placement
        seen = np.asarray(foreground.convert("L")) > 0
        mask = Image.fromarray(np.where(seen, np.asarray(foreground.getchannel("A")), np.uint8(0)))
        if place.flip:
            transform = RESTAURANT_MALL[place.index % 7]
            foreground, mask = foreground.transpose(transform), mask.transpose(transform)
        assert foreground.size == (place.width, place.height)
        assert place.x + place.width < 224 and place.y + place.height < 224
        composite = pasted(each.background, foreground, each.place, foreground)
        assert each.image == jpeg(composite, 65)
        assert each.mask == jpeg(pasted(black, mask, each.place, mask), 65)
    assert {each.placement.width for each in found} == {140, 61}


def test_living_room(tmp_path: Path):
    """With files that have their heights already, as the team's had."""
    black = Image.new("L", (224, 224))
    for each in examples("living-room", tmp_path, (70, 113), "foregrounds={size: {mode: native}}"):
        foreground, mask = each.foreground, each.mask_file
        if each.placement.flip:
            foreground, mask = (
                image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in (foreground, mask)
            )
        dots = mask.convert("1")
        assert each.image == jpeg(pasted(each.background, foreground, each.place, foreground), 30)
        assert each.mask == jpeg(pasted(black, dots.convert("L"), each.place, dots), 30)


def test_grey_gallery(tmp_path: Path):
    black, opaque = Image.new("L", (160, 160)), Image.new("L", (80, 80), 255)
    for each in examples("grey-gallery", tmp_path, (131, 97)):
        foreground, mask = each.foreground.convert("LA"), each.mask_file
        if each.placement.flip:
            foreground, mask = (
                image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in (foreground, mask)
            )
        foreground = foreground.resize((80, 80), Image.Resampling.LANCZOS)
        mask = mask.resize((80, 80), Image.Resampling.LANCZOS)
        assert each.mask == jpeg(pasted(black, mask, each.place, opaque), 75, optimize=False)
        # Along its edge the cut-out is theirs but for the colours that Pillow mixes into it.
        grey = pasted(each.background.convert("L"), foreground.getchannel("L"), each.place, mask)
        ours = np.asarray(Image.open(io.BytesIO(each.image))).astype(int)
        assert np.abs(ours - np.asarray(grey)).mean() < 3


def test_grey_gallery_letterboxes_with_white(tmp_path: Path):
    folders = draw(tmp_path, (160, 80), (20, 30))
    recipe = load_recipe("grey-gallery")
    source = prepare_inputs(folders, recipe, str(tmp_path)).source
    prepared = PreparedInputs(source).background("scene")[..., 0]
    expected = Image.new("L", (160, 160), 255)
    expected.paste(Image.open(tmp_path / "b" / "scene.jpg").convert("L"), (0, 40))
    np.testing.assert_array_equal(prepared, expected)


def test_monodepthmask(tmp_path: Path):
    """At the file's own size, where it is not black; then every pixel from the nearest one."""
    for each in examples("monodepthmask", tmp_path, (150, 301), masks=False):
        shape = (np.asarray(each.foreground)[..., :3] >= 1).all(axis=2)
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in ((125, 301), (62, 150))
        )
        expected = np.zeros((250, 250, 3), np.uint8)
        small = shape[rows][:, columns]
        x, y = each.place
        small = small[:, ::-1] if each.placement.flip else small
        expected[y : y + 125, x : x + 62] = small[..., None] * 255
        assert each.mask == jpeg(Image.fromarray(expected), 80, optimize=False)
        assert x + 62 < 250 and y + 125 < 250


@pytest.mark.parametrize("name", ["living-room", "monodepthmask"])
def test_flipped_ones_share_the_places_of_the_others(name: str, tmp_path: Path):
    found = list(examples(name, tmp_path, (70, 113), masks=name == "living-room"))
    places = {(each.placement.flip, each.placement.index): each.place for each in found}
    assert all(places[False, k] == places[True, k] for k in range(20))
    sizes = {(each.placement.width, each.placement.height) for each in found}
    assert len(sizes) == 1  # one for all examples of a foreground
    if name == "living-room":
        ((width, height),) = sizes
        assert 100 <= height <= 120 and abs(width - 70 / 113 * height) < 1.2


@pytest.mark.parametrize(
    ("name", "method"),
    [("living-room", "bicubic"), ("restaurant-mall", "lanczos"), ("office", "bilinear")],
)
def test_the_network_sees_pictures_enlarged_as_the_team_did(name: str, method: str):
    recipe, model = load_recipe(name), parse_model("builtin")
    assert model is not None
    assert model.interface(recipe.depth).resize == method
