from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from depthmask.errors import UserError
from pipeline.inputs import SAME_NAME, InputFolders, PreparedSet, log_findings, prepare_inputs
from pipeline.inputs.folders import safe_name
from pipeline.recipes import load_recipe
from transforms.prepared import PreparedInputs

CANVAS = ("canvas={width: 40, height: 30}",)


def opaque(width: int, height: int, colour=(10, 200, 90)) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def wall(shift: int = 0) -> Image.Image:
    """A background that is of more than one colour; of each shift another."""
    rows, columns = np.mgrid[:50, :50]
    return Image.fromarray(np.dstack([rows * 4, columns * 4, rows + shift]).astype(np.uint8))


def cutout(width: int = 16, height: int = 12) -> Image.Image:
    """Opaque in the middle, transparent around."""
    image = Image.new("RGBA", (width, height))
    image.paste((200, 40, 30, 255), (3, 3, width - 3, height - 3))
    return image


class Folders:
    """Three folders of pictures that a test fills."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("backgrounds", "foregrounds", "masks"):
            (root / name).mkdir()

    def put(self, name: str, image: Image.Image) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)

    def prepare(
        self,
        *settings: str,
        masks: bool = False,
        mask_name: str = SAME_NAME,
        skip_bad: bool = False,
    ) -> PreparedSet:
        return prepare_inputs(
            InputFolders(
                str(self.root / "backgrounds"),
                str(self.root / "foregrounds"),
                str(self.root / "masks") if masks else None,
                mask_name,
            ),
            load_recipe("default", [*CANVAS, *settings]),
            str(self.root / "out"),
            skip_bad,
        )


@pytest.fixture
def good(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path)
    folders.put("backgrounds/wall.png", wall())
    folders.put("foregrounds/chair.png", cutout())
    return folders


def spoil(folders: Folders) -> dict[str, str]:
    """Bad inputs of every kind: file name and what must be said of it."""
    folders.put("backgrounds/cut.jpg", opaque(64, 64))
    path = folders.root / "backgrounds" / "cut.jpg"
    path.write_bytes(path.read_bytes()[:200])
    (folders.root / "backgrounds" / "notes.png").write_text("not a picture at all")
    (folders.root / "backgrounds" / "nothing.jpg").write_bytes(b"")
    folders.put("backgrounds/wall.jpg", wall())
    folders.put("foregrounds/photo.png", opaque(20, 20).convert("RGBA"))
    folders.put("foregrounds/ghost.png", Image.new("RGBA", (20, 20)))
    return {
        "cut.jpg": "damaged or truncated",
        "notes.png": "is not a picture",
        "nothing.jpg": "is empty",
        "wall.png": "has the same name as wall.jpg. Rename one of the two",
        "photo.png": "has no transparency and no mask. Cut it out (RGBA), or give a folder",
        "ghost.png": "is wholly transparent",
    }


def test_all_bad_inputs_are_listed_together(good: Folders):
    bad = spoil(good)
    with pytest.raises(UserError) as caught:
        good.prepare()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{len(bad)} bad inputs; nothing was made")
    for name, problem in bad.items():
        (line,) = [line for line in lines if f"{name}:" in line]
        assert problem in line


def test_of_many_bad_inputs_that_are_alike_ten_are_listed(good: Folders):
    (good.root / "foregrounds" / "chair.png").unlink()
    for i in range(13):
        good.put(f"foregrounds/photo{i:02d}.png", opaque(20, 20))
    good.put("foregrounds/wide.png", cutout(90, 10))
    (good.root / "backgrounds" / "notes.png").write_text("not a picture at all")
    with pytest.raises(UserError) as caught:
        good.prepare("foregrounds.size={mode: native}")
    heading, *lines, remedy = str(caught.value).splitlines()
    assert heading == "15 bad inputs; nothing was made:"
    assert [line for line in lines if "photo" not in line][1] == "  … and 3 more"
    assert len(lines) == 10 + 3 and "photo09.png" in str(lines) and "photo10" not in str(lines)
    assert "swapped" not in remedy


@pytest.mark.parametrize("skip_bad", [False, True])
def test_folders_that_are_swapped_are_told(good: Folders, skip_bad: bool):
    (good.root / "foregrounds" / "chair.png").unlink()
    good.put("foregrounds/photo.png", opaque(20, 20))
    with pytest.raises(UserError, match="are --backgrounds and --foregrounds swapped"):
        good.prepare(skip_bad=skip_bad)


def test_warnings_that_are_alike_are_not_all_shown(good: Folders, caplog):
    for i in range(12):
        good.put(f"foregrounds/chair{i:02d}.png", cutout(20 + i, 12))
        good.put(f"masks/chair{i:02d}.png", cutout(21 + i, 12).getchannel("A"))
    (good.root / "foregrounds" / "chair.png").unlink()
    findings = good.prepare(masks=True).findings
    assert len(findings) == 12
    log_findings(findings)
    lines = caplog.messages
    assert len(lines) == 11 and lines[-1] == "warning: … and 2 more"


def test_bad_inputs_can_be_left_out(good: Folders):
    bad = spoil(good)
    prepared = good.prepare(skip_bad=True)
    assert [picture.name for picture in prepared.source.backgrounds] == ["wall"]
    assert [picture.name for picture in prepared.source.foregrounds] == ["chair"]
    assert {finding.file for finding in prepared.findings} == set(bad)


def test_a_finding_is_recorded_by_its_path_below_its_folder(good: Folders):
    good.put("backgrounds/hall/wall.png", wall(9))
    (good.root / "backgrounds" / "hall" / "notes.png").write_text("no picture")
    (finding,) = good.prepare(skip_bad=True).findings
    assert finding.file == "hall/notes.png"
    assert str(finding).startswith(str(good.root / "backgrounds" / "hall" / "notes.png"))


def test_nothing_good_is_left_is_an_error(tmp_path: Path):
    folders = Folders(tmp_path)
    folders.put("backgrounds/wall.png", opaque(50, 50))
    folders.put("foregrounds/photo.png", opaque(20, 20))
    with pytest.raises(UserError, match="no usable foregrounds"):
        folders.prepare(skip_bad=True)


def test_missing_and_empty_folders_are_said(good: Folders, tmp_path: Path):
    for folder, message in (("nowhere", "there is no such folder"), ("masks", "no pictures in it")):
        with pytest.raises(UserError, match=message):
            prepare_inputs(
                InputFolders(str(tmp_path / folder), str(tmp_path / "foregrounds")),
                load_recipe("default"),
                str(tmp_path / "out"),
            )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("b", "b", None), r"--backgrounds .*/b is the same as --foregrounds .*/b:"),
        ((".", "f", None), r"--foregrounds .*/f is within --backgrounds .*/\.:"),
        (("b/../", "f", None), r"--foregrounds .*/f is within --backgrounds .*/b/../:"),
        (("b", "f", "f/m"), r"--masks .*/f/m is within --foregrounds .*/f:"),
        (("b", "f", "link"), r"--foregrounds .*/f is the same as --masks .*/link:"),
    ],
)
def test_folders_within_one_another_are_refused(
    tmp_path: Path, given: tuple[str | None, ...], message: str
):
    for folder in ("b", "f", "f/m"):
        (tmp_path / folder).mkdir()
        cutout().save(tmp_path / folder / "chair.png")
    (tmp_path / "link").symlink_to(tmp_path / "f")
    folders = InputFolders(*(name and f"{tmp_path}/{name}" for name in given))
    with pytest.raises(UserError, match=message):
        prepare_inputs(folders, load_recipe("default"), str(tmp_path / "out"))


def test_folders_beside_one_another_may_begin_alike(tmp_path: Path):
    for folder in ("b", "b2"):
        (tmp_path / folder).mkdir()
        cutout().save(tmp_path / folder / "chair.png")
    prepare_inputs(
        InputFolders(f"{tmp_path}/b", f"{tmp_path}/b2"),
        load_recipe("default"),
        str(tmp_path / "out"),
    )


def test_a_link_to_a_folder_is_told(good: Folders, tmp_path: Path):
    good.put("elsewhere/far.png", opaque(20, 20))
    (good.root / "backgrounds" / "attic").symlink_to(good.root / "elsewhere")
    with pytest.raises(UserError, match="attic: is a link to a folder, which is not followed"):
        good.prepare()
    (finding,) = good.prepare(skip_bad=True).findings
    assert finding.file == "attic"
    (good.root / "backgrounds" / "wall.png").unlink()
    with pytest.raises(UserError, match=r"(?s)no pictures in it.*attic: is a link to a folder"):
        good.prepare(skip_bad=True)


def test_a_folder_that_cannot_be_read_is_told(good: Folders, monkeypatch):
    good.put("backgrounds/locked/wall.png", opaque(20, 20))
    scandir = os.scandir

    def refusing(path):  # root may read anything
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(UserError, match=r"backgrounds: cannot be read: .*locked"):
        good.prepare()


def test_a_background_with_transparency_is_a_warning(good: Folders):
    good.put("backgrounds/chair.png", cutout())
    good.put("backgrounds/whole.png", wall(9).convert("RGBA"))
    finding = good.prepare().findings[0]
    assert (finding.level, finding.file) == ("warning", "chair.png")
    assert "has transparency, which is dropped. Is it a foreground?" in str(finding)


def test_a_foreground_that_does_not_fit_is_said(good: Folders):
    good.put("foregrounds/wide.png", cutout(41, 10))
    with pytest.raises(UserError, match=r"wide.png: is too large. It is drawn 41 pixels wide"):
        good.prepare("foregrounds.size={mode: native}")
    good.prepare("foregrounds.size={mode: native}", "placements.region=anywhere")


def test_a_mask_file_is_the_mask_and_the_transparency_of_an_opaque_foreground(good: Folders):
    mask = Image.new("L", (16, 12))
    mask.paste(255, (0, 0, 8, 12))
    good.put("masks/chair.png", mask)
    good.put("foregrounds/photo.png", opaque(16, 12))
    good.put("masks/photo.png", mask)
    prepared = good.prepare("foregrounds.size={mode: native}", masks=True)
    inputs = PreparedInputs(prepared.source)
    photo, chair = inputs.foreground("photo"), inputs.foreground("chair")
    assert (photo.mask == np.asarray(mask)).all() and (chair.mask == np.asarray(mask)).all()
    assert (np.asarray(photo.alpha) == np.asarray(mask)).all()
    assert (np.asarray(chair.alpha) == np.asarray(cutout().getchannel("A"))).all()


def test_a_mask_by_colour_is_where_no_channel_is_black(good: Folders):
    image = cutout()
    image.putpixel((5, 5), (0, 9, 9, 255))
    image.putpixel((0, 0), (99, 99, 99, 0))  # what lies beneath transparency is not seen
    good.put("foregrounds/chair.png", image)
    settings = "foregrounds.size={mode: native}", "masks={source: colour, range: [1, 255]}"
    prepared = good.prepare(*settings)
    mask = PreparedInputs(prepared.source).foreground("chair").mask
    assert mask[5, 5] == 0 and mask[0, 0] == 0 and mask[4, 4] == 255
    assert np.count_nonzero(mask) == 10 * 6 - 1


def test_an_opaque_foreground_is_cut_out_by_colour(good: Folders):
    image = Image.new("RGB", (16, 12))
    image.paste((200, 40, 30), (3, 3, 13, 9))
    good.put("foregrounds/chair.png", image)
    prepared = good.prepare("foregrounds.size={mode: native}", "masks.source=colour")
    found = PreparedInputs(prepared.source).foreground("chair")
    assert (np.asarray(found.alpha) == found.mask).all() and found.mask[5, 5] == 255


def test_where_masks_come_from_must_go_with_the_folders_given(good: Folders):
    with pytest.raises(UserError, match="takes masks from files: give their folder by --masks"):
        good.prepare("masks.source=file")
    good.put("masks/chair.png", Image.new("L", (16, 12), 255))
    for source in ("alpha", "colour"):
        with pytest.raises(UserError, match=f"masks.source: {source}.: leave out --masks"):
            good.prepare(f"masks.source={source}", masks=True)


def test_an_inverted_mask_is_told_by_the_transparency_beside_it(good: Folders):
    shape = cutout().getchannel("A")
    good.put("foregrounds/photo.png", opaque(16, 12))
    for name, mask in (("chair", shape), ("photo", ImageOps.invert(shape))):
        good.put(f"masks/{name}.png", mask)
    (finding,) = good.prepare(masks=True).findings
    assert finding.file == "photo.png" and "white along the picture's edge" in finding.problem
    good.put("masks/photo.png", shape)
    good.put("masks/chair.png", ImageOps.invert(shape))
    (finding,) = good.prepare(masks=True).findings
    assert finding.level == "warning" and finding.file == "chair.png"
    assert "of different shapes (overlap 0%). Is the mask inverted" in str(finding)


def test_a_mask_of_another_size_is_resized_with_a_warning(good: Folders):
    good.put("masks/chair.png", cutout().getchannel("A").resize((32, 24)))
    prepared = good.prepare(masks=True)
    (finding,) = prepared.findings
    assert finding.level == "warning" and "is 32×24 and its foreground chair.png is 16×12" in str(
        finding
    )


def test_a_foreground_without_a_mask_is_an_error(good: Folders):
    good.put("masks/table.png", Image.new("L", (16, 12), 255))
    with pytest.raises(UserError, match=r"^1 bad input;(?s:.*)chair.png: has no mask of its name"):
        good.prepare(masks=True)


@pytest.mark.parametrize(
    ("pattern", "masks"),
    [
        ("mask_{name}", ["mask_fg_001.png", "mask_fg_002.png"]),
        ("{name}_mask", ["fg_001_mask.png", "fg_002_mask.png"]),
        ("mask{number}", ["mask001.jpg", "mask002.jpg"]),
    ],
)
def test_masks_are_found_by_a_pattern(
    good: Folders, pattern: str, masks: list[str], caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "depthmask")
    (good.root / "foregrounds" / "chair.png").unlink()
    for name, mask in zip(("fg_001", "fg_002"), masks, strict=True):
        good.put(f"foregrounds/{name}.png", cutout())
        good.put(f"masks/{mask}", cutout().getchannel("A"))
    with pytest.raises(UserError, match=re.escape(f"found by --mask-name '{pattern}'? Add it")):
        good.prepare(masks=True)
    prepared = good.prepare(masks=True, mask_name=pattern)
    assert [picture.name for picture in prepared.source.foregrounds] == ["fg_001", "fg_002"]
    said = f"2 masks are found by --mask-name {pattern}, such as {masks[0]} of fg_001"
    assert said in caplog.text


def test_a_pattern_for_masks_is_checked(good: Folders):
    with pytest.raises(UserError, match="goes with --masks"):
        good.prepare(mask_name="mask_{name}")
    for pattern in ("mask", "{name}{x}", "masks/{name}"):
        with pytest.raises(UserError, match=r"give a name with \{name\} or \{number\} in it"):
            good.prepare(masks=True, mask_name=pattern)
    for name in ("a1", "b1"):
        good.put(f"foregrounds/{name}.png", cutout())
    good.put("masks/mask1.png", cutout().getchannel("A"))
    with pytest.raises(UserError, match=r"b1.png: has the mask of a1.png: mask1.png(?s:.*)chair"):
        good.prepare(masks=True, mask_name="mask{number}")


def test_masks_without_a_foreground_are_one_warning(good: Folders):
    for name in ("chair", "desk", "table"):
        good.put(f"masks/{name}.png", cutout().getchannel("A"))
    prepared = good.prepare(masks=True)
    (finding,) = prepared.findings
    assert finding.level == "warning"
    assert "2 masks have no foreground of the same name, such as desk.png. Not" in str(finding)
    assert [picture.name for picture in prepared.source.foregrounds] == ["chair"]


@pytest.mark.parametrize(
    ("fit", "corner", "middle"),
    [("crop", "green", "green"), ("stretch", "red", "green"), ("pad", "black", "green")],
)
def test_backgrounds_are_fitted_to_the_canvas(good: Folders, fit: str, corner: str, middle: str):
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "black": (0, 0, 0)}
    image = opaque(120, 30, colours["red"])
    image.paste(colours["green"], (40, 0, 80, 30))
    good.put("backgrounds/wide.png", image)
    prepared = good.prepare(f"canvas.fit={fit}")
    pixels = PreparedInputs(prepared.source).background("wide")
    assert pixels.shape == (30, 40, 3)
    assert tuple(pixels[0, 1]) == colours[corner] and tuple(pixels[15, 20]) == colours[middle]


def test_a_subfolder_is_a_class(good: Folders):
    good.put("backgrounds/kitchen/wall.png", opaque(50, 50))
    prepared = good.prepare()
    assert [(p.name, p.label) for p in prepared.source.backgrounds] == [
        ("kitchen/wall", "kitchen"),
        ("wall", ""),
    ]


def test_a_recipe_whose_layout_has_classes_asks_for_them(good: Folders):
    recipe = load_recipe("monodepthmask", ["masks={source: alpha}"])
    folders = InputFolders(str(good.root / "backgrounds"), str(good.root / "foregrounds"))
    (finding,) = prepare_inputs(folders, recipe, str(good.root / "out")).findings
    assert finding.level == "warning"
    assert "1 of its pictures have no class, which layout monodepthmask needs" in str(finding)
    good.put("backgrounds/kitchen/wall.png", wall())
    (good.root / "backgrounds" / "wall.png").unlink()
    assert prepare_inputs(folders, recipe, str(good.root / "out")).findings == []


def test_a_canvas_may_be_grey(good: Folders):
    prepared = good.prepare("canvas.colour=grey")
    inputs = PreparedInputs(prepared.source)
    assert inputs.background("wall").shape[2] == 1
    assert inputs.foreground("chair").colour.mode == "L"
    assert len(prepared.tally.moments["backgrounds"].sums) == 1


def test_names_are_made_safe():
    assert safe_name("комната/客厅 1_a-b.c") == "комната/客厅 1_a-b.c"
    assert safe_name("a+b%c:d*e\nf\\g") == "a%2Bb%25c%3Ad%2Ae%0Af%5Cg"


def test_preparation_is_the_same_each_time(good: Folders):
    for i in range(5):
        good.put(f"backgrounds/more{i}.png", opaque(60 + i, 50, (i, i, i)))
    first = good.prepare()
    data = (good.root / "out" / "backgrounds.tfrecord").read_bytes()
    assert good.prepare().checksums == first.checksums
    assert (good.root / "out" / "backgrounds.tfrecord").read_bytes() == data
