"""The five published layouts, read by doing what each team's own code does to names and files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthmask.errors import RunError, UserError
from pipeline.dataset import open_dataset
from pipeline.export import LAYOUTS, export_dataset
from pipeline.export.grid import number_names
from pipeline.export.pieces import ExportJob
from pipeline.inputs import InputFolders
from tests.conftest import ONE_WORKER, file_bytes, make_dataset, read_as_its_readme_says
from tests.test_dataset import records
from transforms.prepared import PreparedPicture, PreparedSource

BACKGROUNDS = ("living room/a 9", "living room/a 10", "small hall/a 2")
PLACES = 3


@dataclasses.dataclass(frozen=True, order=True)
class Key:
    """An example by its numbers: place in the order of names, k from 1 on, flip."""

    background: int
    foreground: int
    k: int
    flip: int


@pytest.fixture(scope="session")
def numbered(with_depth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 × 10 × 2 × 3 = 180 examples with depth in metres. Not to be changed.

    In the order of names as text fg_10 is the second foreground, and a 10 comes before a 9.
    """
    folder, rng = tmp_path_factory.mktemp("numbered"), np.random.default_rng(3)
    rows, columns = np.mgrid[:40, :48]
    for i, name in enumerate(BACKGROUNDS):
        path = folder / "b" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.dstack([rows * (2 + i), columns * 5 - 40 * i, (rows + columns) * 2])
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    (folder / "f").mkdir()
    alpha = np.where(np.hypot(*(np.mgrid[:16, :14] - 7)) < 7, 255, 0)
    for i in range(1, 11):
        colour = np.full((16, 14, 3), rng.integers(0, 256, 3))
        cutout = Image.fromarray(np.dstack([colour, alpha]).astype(np.uint8))
        cutout.save(folder / "f" / f"fg_{i}.png")
    model = f"keras:{with_depth.parent / 'm.keras'}"
    inputs = InputFolders(str(folder / "b"), str(folder / "f"))
    settings = (f"placements.per_pair={PLACES}", "shards.examples=50", "image.quality=95")
    return make_dataset(inputs, folder / "made", *settings, depth_model=model)


Records = dict[Key, dict]


def keyed_records(dataset: Path) -> Records:
    """A dataset's records by number; names are counted in the order in which people count them."""
    everything = list(records(dataset))
    places = {}
    for kind in ("background", "foreground"):
        names = {record[kind].decode() for record in everything}
        order = sorted(
            names,
            key=lambda name: [
                (int(part) if part.isdigit() else 0, part) for part in re.findall(r"\d+|\D+", name)
            ],
        )
        places[kind] = {name.encode(): place for place, name in enumerate(order, 1)}
    return {
        Key(
            places["background"][record["background"]],
            places["foreground"][record["foreground"]],
            record["placement"] + 1,
            record["flip"],
        ): record
        for record in everything
    }


@pytest.fixture(scope="session")
def known(numbered: Path) -> Records:
    found = keyed_records(numbered)
    assert len(found) == 180
    assert found[Key(2, 10, 3, 1)]["id"] == b"living room/a 10+fg_10+1+02"
    return found


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def check_image(record: dict, data: bytes) -> None:
    """The composite is the dataset's own file, or is grey."""
    if data != record["image"]:
        expected = Image.open(io.BytesIO(record["image"])).convert("L")
        assert np.abs(opened(data) - np.asarray(expected, float)).mean() < 3


def check_mask(record: dict, mask: np.ndarray) -> None:
    expected = Image.open(io.BytesIO(record["mask"])).convert("L")
    assert np.abs(mask - np.asarray(expected, float)).mean() < 3


def check_depth(record: dict, depth: np.ndarray) -> None:
    """The dataset's own if it has 8 bits; else grey, or in colours whose red grows with depth."""
    stored = opened(record["depth"])
    if stored.dtype == np.uint8:
        assert (depth == stored).all()
        return
    expected = (stored - stored.min()) / float(np.ptp(stored)) * 255
    if depth.ndim == 3:
        assert np.corrcoef(depth[..., 0].ravel(), expected.ravel())[0, 1] > 0.9
    else:
        assert np.abs(depth - expected).mean() < 5


def check_pictures(record: dict, image: bytes, mask: bytes, depth: bytes) -> None:
    for data in (mask, depth):
        picture = Image.open(io.BytesIO(data))
        assert (picture.format, picture.mode) == ("JPEG", "L")
    check_image(record, image)
    check_mask(record, opened(mask))
    check_depth(record, opened(depth))


def counts(known: Records) -> tuple[int, int, int]:
    """Backgrounds, foregrounds, and examples of a pair of them."""
    last = max(known)
    return last.background, last.foreground, len(known) // last.background // last.foreground


def unzipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


def names_of(made: Path) -> dict[tuple[str, str], str]:
    with (made / "names.csv").open(encoding="utf-8") as file:
        return {(row["kind"], row["name"]): row["exported"] for row in csv.DictReader(file)}


def read_monodepthmask(made: Path, known: Records, tmp: Path) -> None:
    zips = {path.name: zipfile.ZipFile(path) for path in made.glob("*.zip")}
    assert zips.keys() == {"my_python_files_0k4k.zip", "depth_0k4k.zip", "bg_images.zip"}
    numbers: dict[str, list[str]] = {}
    for name in ("", "Train", "Test", "Sample"):
        with (made / f"DepthMapDataSet{name}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        numbers[name] = [row["ImageName"] for row in rows]
        if name == "":
            every = rows
    assert sorted(numbers["Train"] + numbers["Test"]) == sorted(numbers[""])
    assert len(set(numbers["Sample"])) == min(500, len(known)) and len(numbers[""]) == len(known)
    assert set(numbers["Sample"]) <= set(numbers[""])
    names = {}
    for key, row in zip(sorted(known), every, strict=True):
        record = known[key]
        digits, background = re.fullmatch(
            r"image_([0-9a-f]{10})_(.*)\.jpg", row["ImageName"]
        ).groups()
        assert row["MaskName"] == f"mask_{digits}_{background}.jpg"
        assert row["Depthname"] == f"depth_image_{digits}_{background}.jpg"
        assert names.setdefault(background, key.background) == key.background
        check_image(record, zips[row["BaseImageFName"]].read(row["ImageName"]))
        mask = opened(zips[row["BaseImageFName"]].read(row["MaskName"]))
        check_mask(record, mask[..., 0])
        depth = opened(zips[row["DepthImageFName"]].read(row["Depthname"]))
        check_depth(record, depth)
        assert mask.shape[2] == depth.shape[2] == 3
        # The class is what stands before the first "_".
        assert row["BGImageName"] == f"{background}.jpg"
        label = row["BGImageName"].split("_")[0]
        folder = record["background_class"].decode()
        assert row["BGType"] == label == folder.replace(" ", "-")
    pictures = [opened(zips["bg_images.zip"].read(f"{name}.jpg")) for name in names]
    assert {picture.shape for picture in pictures} == {mask.shape}


def read_living_room(made: Path, known: Records, tmp: Path) -> None:
    for part in range(1, 6):
        path = made / f"data_part{part}.zip"
        assert {i.compress_type for i in zipfile.ZipFile(path).infolist()} == {zipfile.ZIP_DEFLATED}
        unzipped(path, tmp)
    backgrounds, foregrounds, a_pair = counts(known)
    a_background = foregrounds // 5 * a_pair  # 800 with their counts
    lines = (made / "labels.txt").read_text().splitlines()
    assert len(lines) == len(known)
    for n, line in enumerate(lines, 1):
        bg, fg, image, mask, depth = line.split("\t")
        part = math.ceil(n / (a_background * backgrounds))
        assert image == f"data_{part}/Fg-Bg/fg-bg{n}.jpg"
        assert mask == f"data_{part}/Fg-Bg-Mask/fg-bg-mask{n}.jpg"
        assert depth == f"data_{part}/Depth/depth{n}.jpg"
        background = (math.ceil(n / a_background) - 1) % backgrounds + 1
        rest = (n - 1) % a_background
        foreground = (part - 1) * foregrounds // 5 + rest // a_pair + 1
        key = Key(background, foreground, rest % a_pair // 2 + 1, rest % 2)
        assert bg == f"Background/bg{key.background}.jpg"
        assert fg == f"Foreground/fg{key.foreground}.png"
        check_pictures(known[key], *((tmp / path).read_bytes() for path in (image, mask, depth)))
    assert Image.open(made / bg).mode == "RGB" and Image.open(made / fg).mode == "RGBA"
    assert len(list((made / "Mask").glob("mask*.jpg"))) == foregrounds


def read_grey_gallery(made: Path, known: Records, tmp: Path) -> None:
    seen = set()
    backgrounds, foregrounds, _ = counts(known)
    for batch in range(1, 11):
        root = unzipped(made / f"batch{batch}_images.zip", tmp / f"batch{batch}")
        mine = range((batch - 1) * foregrounds // 10 + 1, batch * foregrounds // 10 + 1)
        for folder, name, numbers in (
            ("bg_jpg", "bg_img", range(1, backgrounds + 1)),
            ("fg_jpg", "fg_img", mine),
            ("mask_jpg", "mask_img", mine),
        ):
            expected = {f"{name}_{number}.jpg" for number in numbers}
            assert {path.name for path in (root / folder).iterdir()} == expected
        for path in (root / "fg_bg_jpg").iterdir():
            numbers = path.stem.removeprefix("fg_bg_")
            foreground, background, flip, k = map(int, numbers.split("_"))
            assert foreground in mine
            key = Key(background, foreground, k, flip)
            mask = root / "mask_black_jpg" / f"bg_mask_{numbers}.jpg"
            depth = root / "depth_fg_bg_jpg" / f"depth_fg_bg_{numbers}.jpg"
            assert Image.open(path).mode == "L"
            check_pictures(known[key], *(p.read_bytes() for p in (path, mask, depth)))
            seen.add(key)
    assert seen == known.keys()


def read_office(made: Path, known: Records, tmp: Path) -> None:
    archive = zipfile.ZipFile(made / "depth_mask_dataset.zip")
    assert archive.testzip() is None
    assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    backgrounds, foregrounds, a_pair = counts(known)
    lines = archive.read("data_label.txt").decode().splitlines()
    assert len(lines) == len(known)
    of_each, arrays = [], []
    for number in range(1, backgrounds + 1):
        labels = archive.read(f"data/labels/bg{number:03d}_label_info.txt")
        of_each += labels.decode().splitlines()
        path = made / f"data/fg_bg_depth/depthmap_output_batch{number}.npz"
        assert zipfile.ZipFile(path).infolist()[0].compress_type == zipfile.ZIP_DEFLATED
        arrays.append(np.load(path)["output"])
    assert lines == of_each
    height, width = opened(known[max(known)]["depth"]).shape
    shape = (foregrounds * a_pair, height, width, 1)
    assert {(array.shape, array.dtype.name) for array in arrays} == {(shape, "float32")}
    depths = np.concatenate(arrays)
    scale = json.loads((made / "export.json").read_text())["depth"]["scale"]
    for number, (key, line) in enumerate(zip(sorted(known), lines, strict=True)):
        record = known[key]
        image, mask, *box = line.split("\t")
        bg, fg = f"bg{key.background:03d}", f"fg{key.foreground:03d}"
        name = f"{bg}/{bg}_{fg}_{number + 1:06d}"
        assert (image, mask) == (f"data/fg_bg/{name}.jpg", f"data/fg_bg_mask/{name}.jpg")
        assert [int(v) for v in box] == [record[k] for k in ("x", "y", "width", "height")]
        check_image(record, archive.read(image))
        check_mask(record, opened(archive.read(mask)))
        metres = opened(record["depth"]) * scale
        assert np.abs(depths[number, ..., 0] * 10 - metres).max() < 1e-5
    assert Image.open(made / "fg_mask" / f"{fg}.png").mode == "L"


def read_restaurant_mall(made: Path, known: Records, tmp: Path) -> None:
    for name in ("maskrcnndataset_overlay", "maskrcnndataset_mask", "bgfg_depth", "bg", "fg"):
        unzipped(made / f"{name}.zip", tmp)
    root = tmp / "content" / "fg_bg_dataset"
    for key, record in known.items():
        # The numbers that the names of the inputs end in.
        background, foreground = (
            f"{int(re.search(r'[0-9]+$', record[kind].decode())[0]):03d}"
            for kind in ("background", "foreground")
        )
        flipped = "f" if key.flip else ""
        name = f"ol_bg{background}fg{foreground}{key.k}{flipped}_fg_{foreground}"
        paths = (
            root / "bgfg_overlay" / f"{name}.png",
            root / "bgfg_mask" / f"mask_{name}.png",
            tmp / "bgfg_depth" / f"depth_{name}.jpg",
        )
        check_pictures(record, *(path.read_bytes() for path in paths))
        assert (tmp / "bg" / f"bg_{background}.jpg").exists()
        assert (tmp / "fg" / f"fg_{foreground}.png").exists()
        assert (made / "fg_mask" / f"mask_fg_{foreground}.png").exists()
    assert len(list((root / "bgfg_overlay").iterdir())) == len(known)


READERS: dict[str, Callable[[Path, Records, Path], None]] = {
    "monodepthmask": read_monodepthmask,
    "living-room": read_living_room,
    "grey-gallery": read_grey_gallery,
    "office": read_office,
    "restaurant-mall": read_restaurant_mall,
}


@pytest.mark.parametrize("layout", READERS)
def test_each_team_reads_its_layout(numbered: Path, known: Records, tmp_path: Path, layout: str):
    made = tmp_path / "made"
    assert export_dataset(numbered, made, layout, ONE_WORKER).examples == 180
    read = read_as_its_readme_says(made)
    assert read["image"].shape[:2] == read["mask"].shape[:2] == (40, 48)
    assert read["depth"].shape[:2] == (20, 24) and np.ptp(read["depth"]) > 0
    names = names_of(made)
    assert len(names) == 13 and names["foreground", "fg_10"].endswith("10")
    READERS[layout](made, known, tmp_path / "unzipped")


@pytest.mark.parametrize("layout", ["living-room", "office"])
def test_an_export_whose_joining_was_interrupted_goes_on_to_the_same_bytes(
    numbered: Path, tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
):
    export_dataset(numbered, tmp_path / "whole", layout, ONE_WORKER)
    join, log = ExportJob.join, tmp_path / "log"
    log.touch()

    # Workers get copies of this: what they share is a file.
    def fail_at_the_second(job, name, parts, path):
        if log.stat().st_size:
            raise OSError("the plug was pulled")
        log.write_text(name)
        return join(job, name, parts, path)

    with monkeypatch.context() as patch:
        patch.setattr(ExportJob, "join", fail_at_the_second)
        with pytest.raises(RunError, match="plug was pulled"):
            export_dataset(numbered, tmp_path / "out", layout, ONE_WORKER)
    export_dataset(numbered, tmp_path / "out", layout, ONE_WORKER)
    assert file_bytes(tmp_path / "out") == file_bytes(tmp_path / "whole")


def test_names_are_numbered_in_their_natural_order():
    numbers = number_names(["b10", "b9", "a 2", "a 11"])
    assert [(name, number.place) for name, number in numbers.items()] == [
        ("a 2", 1),
        ("a 11", 2),
        ("b9", 3),
        ("b10", 4),
    ]
    assert [number.own for number in numbers.values()] == [2, 11, 9, 10]
    for names in (["x1", "y1"], ["x1", "y"], ["IMG_20200517", "IMG_20200518"]):
        assert [number.own for number in number_names(names).values()] == [1, 2]


def inputs(backgrounds: list[tuple[str, str]], foregrounds: int) -> PreparedSource:
    """Inputs of these names and labels, and so many foregrounds."""
    return PreparedSource(
        "",
        tuple(PreparedPicture(name, 8, 8, 0, 0, label) for name, label in backgrounds),
        "",
        tuple(PreparedPicture(f"f{i}", 8, 8, 0, 0) for i in range(foregrounds)),
    )


@pytest.mark.parametrize(
    ("layout", "backgrounds", "foregrounds", "problem"),
    [
        ("living-room", [("b", "")], 12, r"has 12: 10 or 15 would fit"),
        ("living-room", [("b", "")], 3, r"has 3: 5 would fit"),
        ("living-room", [("b", ""), ("c", "")], 10, r"has 180 of 120: export it by another"),
        ("grey-gallery", [("b", "")], 9, r"has only 9: 10 or more would fit"),
        ("restaurant-mall", [("b", "")], 1000, r"has 1,000 foregrounds: up to 999 would fit"),
        ("monodepthmask", [("x/a b", "x"), ("x/a-b", "x")], 1, "names x/a b and x/a-b both x_a-b"),
        ("monodepthmask", [("b1/a", "b1"), ("b2/b", "b2")], 1, "b1 and b2 are both b: name one"),
        ("monodepthmask", [("wall", "")], 1, "background wall has none"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused(
    numbered: Path, layout: str, backgrounds: list[tuple[str, str]], foregrounds: int, problem: str
):
    with pytest.raises(UserError, match=problem):
        LAYOUTS[layout].check(open_dataset(numbered), inputs(backgrounds, foregrounds))


def test_layouts_with_mirrors_refuse_what_is_turned(numbered: Path):
    made = open_dataset(numbered)
    rules = made.recipe.placements.model_copy(update={"transforms": ("left_right", "rotate_90")})
    turned = dataclasses.replace(made, recipe=made.recipe.model_copy(update={"placements": rules}))
    LAYOUTS["restaurant-mall"].check(turned, inputs([("b", "")], 10))
    for layout in ("living-room", "grey-gallery", "office"):
        with pytest.raises(UserError, match=r"flipped ones by left_right, rotate_90: make the"):
            LAYOUTS[layout].check(turned, inputs([("b", "")], 10))


def test_a_class_may_be_in_the_name_of_a_file():
    layout = LAYOUTS["monodepthmask"]
    assert layout.class_of("meetin_room_9", "") == "meetin"
    assert layout.class_of("living room/IMG 9", "living room") == "living-room"
