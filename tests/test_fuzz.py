"""Rubbish in: an answer or a clear error, never a traceback. More of it by ``make soak``."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from depthmask.errors import UserError
from pipeline.inputs import InputFolders, prepare_inputs
from pipeline.recipes import Recipe, load_recipe

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=10_000,  # milliseconds for one input: no hang
    suppress_health_check=list(HealthCheck),
    derandomize=EXAMPLES == 150,
)
SMALL = load_recipe("default", ["canvas.width=32", "canvas.height=32"])
SUFFIXES = (".png", ".jpg", ".gif", ".webp", ".bmp", ".tif")


def seeds() -> list[tuple[str, bytes]]:
    """Small valid pictures of many formats and modes."""
    rgba = np.random.default_rng(1).integers(0, 256, (12, 10, 4)).astype(np.uint8)
    image = Image.fromarray(rgba)
    kinds = [
        (".png", image, {}),
        (".png", image.convert("RGB").quantize(16), {"transparency": 0}),
        (".png", Image.fromarray(rgba[..., 0].astype(np.uint16) * 257), {}),
        (".png", image.convert("1"), {}),
        (".jpg", image.convert("RGB"), {}),
        (".jpg", image.convert("CMYK"), {}),
        (".gif", image.convert("RGB"), {"save_all": True, "append_images": [image.convert("L")]}),
        (".webp", image, {"lossless": True}),
        (".bmp", image.convert("RGB"), {}),
        (".tif", image, {"compression": "tiff_lzw"}),
        (".tif", Image.fromarray(rgba[..., 0].astype(np.float32)), {}),
    ]
    found = []
    for suffix, picture, options in kinds:
        stream = io.BytesIO()
        picture.save(stream, Image.registered_extensions()[suffix], **options)
        found.append((suffix, stream.getvalue()))
    return found


def change(data: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    changed = bytearray(data)
    for kind, position, value in edits:
        at = position % (len(changed) + 1)
        if kind == "cut":
            del changed[at:]
        elif kind == "insert":
            changed[at:at] = bytes([value]) * (value % 9)
        elif at < len(changed):
            changed[at] ^= value
    return bytes(changed)


edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "flip", "flip", "cut", "insert"]),
        st.integers(0, 4096),
        st.integers(1, 255),
    ),
    max_size=6,
)
pictures = st.one_of(
    st.tuples(st.sampled_from(seeds()), edits).map(
        lambda drawn: (drawn[0][0], change(drawn[0][1], drawn[1]))
    ),
    st.tuples(st.sampled_from(SUFFIXES), st.binary(max_size=300)),
)


@FUZZ
@given(background=pictures, foreground=pictures)
def test_pictures(background: tuple[str, bytes], foreground: tuple[str, bytes]):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, (suffix, data) in (("b", background), ("f", foreground)):
            (folder / kind).mkdir()
            (folder / kind / f"picture{suffix}").write_bytes(data)
        try:
            prepared = prepare_inputs(
                InputFolders(str(folder / "b"), str(folder / "f")), SMALL, str(folder / "out")
            )
        except UserError as error:
            assert "picture" in str(error)
        else:
            assert len(prepared.source.backgrounds) == len(prepared.source.foregrounds) == 1


keys = st.sampled_from(
    [*Recipe.model_fields, "width", "height", "size", "mode", "fractions", "by", "scale", "x"]
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["native", "fixed", "inside", "jpeg", 0, 1, 224]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
recipes = st.one_of(
    st.dictionaries(keys, values, max_size=5).map(yaml.safe_dump),
    st.text(max_size=200),
    st.tuples(st.just(SMALL.to_yaml().encode()), edits).map(
        lambda drawn: change(*drawn).decode("utf-8", "replace")
    ),
)


@FUZZ
@given(text=recipes)
def test_recipes(text: str):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "fuzzed.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            recipe = load_recipe(str(path))
        except UserError as error:
            assert len(str(error)) < 20_000
        else:
            assert Recipe.model_validate(yaml.safe_load(recipe.to_yaml())) == recipe


EXPLODING = """
a: &a [x, x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
name: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (EXPLODING, "aliases"),
        ("name: !!python/object/apply:os.system ['touch harmed']", "not YAML"),
        ("[" * 30_000, "nested too deeply"),
        ("seed: 1\n" * 20_000, "larger than 64 KiB"),
        ("seed: 2026-99-99", "seed"),
        ("canvas: {width: wide}", "canvas.width"),
        ("\x00", "not YAML"),
    ],
)
def test_hostile_recipes(tmp_path: Path, text: str, message: str):
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_recipe(str(path))
