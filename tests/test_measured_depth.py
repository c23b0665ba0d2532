"""Measured depth: files of every kind, fitted as their pictures are, refused where they lie."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import depthmask
from depthmask.errors import RunError, UserError
from depthmask.features import Features, ImageFeature
from depthmask.manifest import DepthMeaning, Manifest
from pipeline.export import LAYOUTS
from pipeline.export.layout import Facts
from pipeline.generate import generate
from pipeline.inputs import InputFolders, PreparedSet, prepare_inputs
from pipeline.publish.publication import Publication
from pipeline.publish.summary import Summary
from pipeline.recipes import load_recipe
from pipeline.repair import repair
from pipeline.request import Request
from pipeline.verify import verify_dataset
from pipeline.view import write_gallery
from tests.conftest import ONE_WORKER, SMALL, file_bytes
from tests.drawn import told
from transforms.prepared import PreparedInputs

HEIGHT, WIDTH = 48, 60
METRES = np.random.default_rng(4).uniform(0.5, 9, (HEIGHT, WIDTH)).astype(np.float32).round(3)
METRES[:6, :10] = 0
MILLIMETRES = np.rint(METRES * 1000).astype(np.uint16)


class Measured:
    """Folders with a picture of a room, a cut-out, and depth that a test writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in "bfd":
            (root / name).mkdir(parents=True)
        pixels = np.random.default_rng(5).integers(40, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        self.picture(pixels)
        disc = np.hypot(*(np.mgrid[:16, :16] - 7.5)) < 7
        cutout = np.dstack([np.full((16, 16, 3), 150), disc * 255]).astype(np.uint8)
        Image.fromarray(cutout).save(root / "f" / "disc.png")

    def picture(self, pixels: np.ndarray, name: str = "room.png", **options: object) -> None:
        Image.fromarray(pixels).save(self.root / "b" / name, **options)

    def write(self, name: str, depth: np.ndarray | bytes) -> None:
        path = self.root / "d" / name
        if isinstance(depth, bytes):
            path.write_bytes(depth)
        elif name.endswith(".npy"):
            np.save(path, depth)
        elif name.endswith(".npz"):
            np.savez_compressed(path, depth)
        else:
            Image.fromarray(depth).save(path)

    @property
    def folders(self) -> InputFolders:
        backgrounds, foregrounds, depths = (str(self.root / name) for name in "bfd")
        return InputFolders(backgrounds, foregrounds, background_depths=depths)

    def prepare(self, *settings: str, skip_bad: bool = False) -> PreparedSet:
        recipe = load_recipe("default", ["canvas={width: 60, height: 48}", *settings])
        return prepare_inputs(self.folders, recipe, str(self.root / "out"), skip_bad)

    def steps(self, *settings: str) -> np.ndarray:
        return PreparedInputs(self.prepare(*settings).source).background_depth("room").steps


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    return Measured(tmp_path / "in")


def with_holes(metres: np.ndarray) -> np.ndarray:
    metres = metres.copy()
    metres[0, :3], metres[1, :3], metres[2, :3] = np.nan, np.inf, -1
    return metres


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("room.png", MILLIMETRES),
        ("room.tif", MILLIMETRES),
        ("room.tiff", with_holes(METRES)),
        ("room.npy", with_holes(METRES)),
        ("room.npy", METRES.astype(np.float64)[..., None]),
        ("room.npy", np.asfortranarray(METRES)),
        ("room.npy", MILLIMETRES.astype(">u2")),
        ("room.npz", METRES),
        ("room.npz", npz(depth=METRES, other=np.ones(3))),
    ],
)
def test_every_kind_of_file_says_the_same(measured: Measured, name: str, depth):
    measured.write(name, depth)
    np.testing.assert_array_equal(measured.steps(), MILLIMETRES)


def test_the_recipe_says_the_unit_of_whole_numbers(measured: Measured):
    measured.write("room.png", np.full((HEIGHT, WIDTH), 5000, np.uint16))
    assert set(measured.steps("depth.measured_unit=0.0002").ravel()) == {1000}
    assert set(measured.steps("depth.measured_unit=0.002", "depth.scale=0.004").ravel()) == {2500}


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("shape", [(480, 800), (120, 90)])
def test_depth_is_fitted_as_its_picture_is(measured: Measured, fit: str, shape: tuple[int, int]):
    """Each area of a colour has a depth of its own: they must lie together."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    areas = rows * 3 // shape[0] * 3 + columns * 3 // shape[1] + 1
    measured.picture(np.repeat((areas * 20).astype(np.uint8)[..., None], 3, axis=2))
    measured.write("room.png", (areas[::2, ::2] * 200).astype(np.uint16))
    prepared = measured.prepare(f"canvas.fit={fit}", "canvas.width=50")
    inputs = PreparedInputs(prepared.source)
    grey = inputs.background("room")[..., 0].astype(int)
    even = (grey % 20 == 0) & (inputs.background("room").std(axis=2) == 0)  # away from edges
    assert even.mean() > 0.5
    steps = inputs.background_depth("room").steps
    np.testing.assert_array_equal(steps[even], grey[even] * 10)
    assert "Of each pixel the nearest depth was taken." in told(prepared.findings)


def test_depth_that_lies_as_the_camera_stored_its_picture_is_turned_with_it(measured: Measured):
    (measured.root / "b" / "room.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer turns it by a quarter
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels[:10] = 200
    measured.picture(pixels, "room.jpg", exif=exif)
    measured.write("room.png", MILLIMETRES)
    prepared = measured.prepare("canvas={width: 48, height: 60}")
    steps = PreparedInputs(prepared.source).background_depth("room").steps
    np.testing.assert_array_equal(steps, np.rot90(MILLIMETRES, -1))
    assert "It was turned upright as that is." in told(prepared.findings)


def lying_npy(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


def bomb() -> bytes:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("depth.npy", "w") as member,
    ):
        for _ in range(300):
            member.write(bytes(2**20))
    return stream.getvalue()


class Pwned:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("executed",)


def objects() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([Pwned()], dtype=object), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "depth", "complaint"),
    [
        ("room.png", np.zeros((HEIGHT, WIDTH), np.uint16), "no pixel of known depth"),
        ("room.npy", np.full((HEIGHT, WIDTH), np.nan), "no pixel of known depth"),
        ("room.png", np.zeros((HEIGHT, WIDTH), np.uint8), "8 bits a sample or colours"),
        ("room.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8), "8 bits a sample or colours"),
        ("room.png", b"", "is empty"),
        ("room.png", b"not a picture", "is not a picture"),
        ("room.png", MILLIMETRES[:, :40], r"is 40×48, of another shape than its 60×48"),
        ("room.npy", MILLIMETRES * np.float32(1), "does not fit into 16 bits in steps of 0.001 m"),
        ("room.npy", np.zeros((2, HEIGHT, WIDTH), np.float32), r"float32 \[2, 48, 60\], not"),
        ("room.npy", np.ones((HEIGHT, WIDTH), bool), "holds bool"),
        ("room.npy", np.ones((HEIGHT, WIDTH), complex), "holds complex128"),
        ("room.npy", objects(), "Python objects, which are not loaded"),
        ("room.npy", pickle.dumps(Pwned()), "is damaged or no NumPy file"),
        ("room.npy", b"\x93NUMPY\x01\x00", "is damaged or no NumPy file"),
        ("room.npy", lying_npy("(100000, 100000)"), "and has 192 bytes"),
        ("room.npy", lying_npy("(-1, 4)"), "and has 192 bytes"),
        ("room.npy", lying_npy("(9" + "9" * 40 + ",)"), "and has 192 bytes"),
        ("room.npz", npz(a=METRES, b=METRES), r"holds 2 arrays \(a, b\)"),
        ("room.npz", npz(depth=METRES)[:-30], "is damaged or no NumPy file"),
        ("room.npz", bomb(), "holds more than 256 MiB"),
    ],
)
def test_files_that_are_none_or_lie_are_refused(
    measured: Measured, capsys, name: str, depth: np.ndarray | bytes, complaint: str
):
    measured.write(name, depth)
    with pytest.raises(UserError, match=rf"b/room\.png: its depth {name} .*{complaint}"):
        measured.prepare()
    assert "executed" not in capsys.readouterr().out


def test_what_is_missing_or_too_much_is_told(measured: Measured):
    measured.write("rom.png", MILLIMETRES)
    with pytest.raises(UserError, match=r"room\.png: has no depth of its name in the folder"):
        measured.prepare()
    measured.write("room.png", MILLIMETRES)
    assert "1 of its files have no background of the same name, such as rom.png" in told(
        measured.prepare().findings
    )
    measured.write("room.npy", METRES)
    with pytest.raises(UserError, match=r"room\.png: has the same name as room\.npy"):
        measured.prepare()


def test_a_background_whose_depth_is_bad_is_left_out_if_asked_for(measured: Measured):
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels[:, ::5] = 30
    measured.picture(pixels, "hall.png")
    measured.write("room.png", MILLIMETRES)
    measured.write("hall.png", b"torn")
    source = measured.prepare(skip_bad=True).source
    assert [p.name for p in source.backgrounds] == [p.name for p in source.depths] == ["room"]


def test_another_unit_is_told(measured: Measured):
    measured.write("room.png", MILLIMETRES)
    assert "no room" not in told(measured.prepare().findings)
    for unit, metres in (("0.00001", "0.04"), ("0.1", "4")):
        findings = measured.prepare(f"depth.measured_unit={unit}", f"depth.scale={unit}").findings
        assert f"the depth in it is {metres}" in told(findings)
        assert "that of no room and no street" in told(findings)


def test_storage_without_a_value_for_the_unknown_is_refused(measured: Measured):
    measured.write("room.png", MILLIMETRES)
    with pytest.raises(UserError, match=r"unknown in 2\.1% of its pixels, for which norm8 has no"):
        measured.prepare("depth.storage=norm8")
    measured.write("room.png", MILLIMETRES + 1)
    assert measured.steps("depth.storage=norm8").all()


def test_two_sources_of_depth_are_refused(measured: Measured):
    folders = measured.folders
    given = {"background_depths": folders.background_depths}
    request = Request.of(folders.backgrounds, folders.foregrounds, **given)
    assert request.depth_model is None and request.recipe.depth.of == "background"
    with pytest.raises(UserError, match=r"measured \(--background-depths\) or estimated"):
        Request.of(folders.backgrounds, folders.foregrounds, depth_model="keras:m.keras", **given)
    with pytest.raises(UserError, match=r"--background-depths .* the same as --backgrounds"):
        prepare_inputs(
            InputFolders(
                folders.backgrounds, folders.foregrounds, background_depths=folders.backgrounds
            ),
            request.recipe,
            str(measured.root / "out"),
        )


# A dataset


def test_a_dataset_of_measured_depth(measured: Measured, tmp_path: Path):
    metres = METRES.copy()
    metres[:, :30] = 0  # what lands there has nothing behind it
    measured.write("room.npy", metres)
    folders = measured.folders

    def make(output: Path, skip_bad_inputs: bool) -> Path:
        request = Request.of(
            folders.backgrounds,
            folders.foregrounds,
            background_depths=folders.background_depths,
            settings=[
                *SMALL,
                *("canvas={width: 60, height: 48}", "placements.per_pair=20", "image.format=png"),
            ],
            skip_bad_inputs=skip_bad_inputs,
        )
        generate(request, output, ONE_WORKER)
        return output

    stopped = tmp_path / "stopped"
    with pytest.raises(RunError, match=r"room\+disc\+\d\+\d\d: no depth was measured behind its"):
        make(stopped, skip_bad_inputs=False)
    made = make(tmp_path / "made", skip_bad_inputs=True)
    assert file_bytes(make(stopped, skip_bad_inputs=True)) == file_bytes(made)

    manifest = Manifest.from_bytes((made / "manifest.json").read_bytes(), "manifest.json")
    assert manifest.provenance.depth_model is None
    left_out = {example.id for example in manifest.tally.left_out}
    assert 0 < len(left_out) < 40 and manifest.examples == 40 - len(left_out)
    known = total = 0
    exact = np.rint(metres.astype(np.float64) * 1000)
    for split in ("train", "test"):
        for example in depthmask.load(str(made), split).as_numpy_iterator():
            inside = example["mask"][..., 0] > 0
            steps = np.rint(example["depth"][..., 0] * 1000)
            np.testing.assert_array_equal(steps[~inside], exact[~inside])
            behind = exact[inside & (exact > 0)].min()
            assert set(steps[inside]) == {behind - np.ceil(0.03 * behind)}
            known += np.count_nonzero(steps)
            total += steps.sum()
    statistics = json.loads((made / "statistics.json").read_text())["depth"]
    assert statistics["pixels"] == known and statistics["moments"]["sums"] == [total]
    unknown = manifest.examples * HEIGHT * WIDTH - known
    card = (made / "README.md").read_text("utf-8")
    assert f"Depth is unknown in {unknown:,} pixels" in card
    assert "Depth of the backgrounds was measured" in card
    assert [check for check in verify_dataset(str(made)) if check.problems] == []
    before = file_bytes(made)
    next(made.glob("depthmask-train*")).unlink()
    assert len(repair(made).shards) == 1 and file_bytes(made) == before
    write_gallery(str(made), tmp_path / "page.html", 5)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_says_what_becomes_of_unknown_depth(name: str):
    stored = DepthMeaning(
        *("metric16", "depth", "metre", 0.001), width=60, height=48, model=None, licence=None
    )
    features = Features({kind: ImageFeature(48, 60, 1, "png") for kind in ("image", "mask")})
    facts = Facts(Summary("any", (), (), (), (), {}, ()), {"train": 1}, features, stored)
    layout = LAYOUTS[name]
    said, meaning = layout.readme(facts, Publication()), layout.depth_json(stored)
    keeps = meaning["storage"] not in ("norm8", "plasma8")
    assert keeps == (name in ("folder", "webdataset", "huggingface", "office"))
    assert ("It was measured: 0 is unknown." in said) == keeps
    assert ("what is unknown counts as 0 there, and cannot be told from it" in said) != keeps
    assert meaning["model"] is None and meaning["unit"] == ("metre" if keeps else None)
