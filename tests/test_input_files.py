"""Which files are taken, under which names, and what stands beside their pixels."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import struct
import sys
import unicodedata
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from depthmask.errors import UserError
from pipeline.inputs import folders
from pipeline.inputs.decoding import reads_heif
from pipeline.inputs.findings import log_findings
from pipeline.inputs.folders import find_pictures, safe_name
from tests.drawn import World, ball, png, png_chunk, rgba, tiff, told, wall
from tests.test_input_colour import ADOBE, converted, rgb_profile


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.save("f/chair.png", rgba(ball()))
    return world


def jpeg(pixels: np.ndarray, exif: bytes = b"") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=100, subsampling=0, exif=exif)
    return stream.getvalue()


# Bad metadata round good pixels

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF data of entries (tag, type, count, value) as they are, right or wrong."""
    table, rest = b"", b""
    after = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        if count * _SIZES[kind] > 4:
            place, rest = struct.pack("<I", after + len(rest)), rest + value
        else:
            place = value.ljust(4, b"\0")
        table += struct.pack("<HHI", tag, kind, count) + place
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + bytes(4) + rest


TURN = (0x0112, 3, 1, struct.pack("<H", 6))
ODD = {
    "resolution as text": (TURN, (0x011A, 2, 6, b"72 dpi")),
    "two resolutions": (TURN, (0x011A, 5, 2, struct.pack("<IIII", 72, 1, 96, 1))),
    "signed where unsigned": (TURN, (0x011A, 10, 1, struct.pack("<ii", -72, 1))),
    "divided by nothing": (TURN, (0x011A, 5, 1, struct.pack("<II", 72, 0))),
    "EXIF folder as text": (TURN, (0x8769, 2, 4, b"here")),
    "EXIF folder out of the file": (TURN, (0x8769, 4, 1, struct.pack("<I", 2**31))),
    "maker's note as numbers": (TURN, (0x927C, 3, 3, struct.pack("<HHH", 1, 2, 3))),
    "orientation as a long": ((0x0112, 4, 1, struct.pack("<I", 6)),),
    "two orientations": ((0x0112, 3, 2, struct.pack("<HH", 6, 1)),),
    "text without an end": (TURN, (0x010F, 2, 4, b"ABCD")),
    "a value out of the file": (TURN, (0x010F, 2, 5000, b"A")),
}


@pytest.mark.parametrize("kind", ODD)
def test_tags_of_wrong_types_do_not_stand_in_the_way(world: World, kind: str):
    stored = np.rot90(wall())
    world.save("b/odd.jpg", jpeg(stored, exif(*ODD[kind])))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pixels, findings = world.background("odd")
    assert not [each for each in caught if "PIL" in each.filename]  # kept from the screen
    assert np.abs(pixels.astype(int) - wall()).max() <= 8
    assert {finding.level for finding in findings} <= {"warning"}


@pytest.mark.parametrize("value", [0, 9, 200, 65535])
def test_an_orientation_that_there_is_not_turns_nothing(world: World, value: int):
    odd = exif((0x0112, 3, 1, struct.pack("<H", value)))
    world.save("b/odd.jpg", jpeg(wall(), odd))
    assert np.abs(world.background("odd")[0].astype(int) - wall()).max() <= 8


LARGE = bytes(np.random.default_rng(5).integers(65, 91, 1_200_000).astype(np.uint8))
CHUNKS = {
    "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LARGE),
    "packed XMP": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LARGE)),
    "packed text": (b"zTXt", b"Comment\0\0" + zlib.compress(LARGE)),
    "text": (b"tEXt", b"Comment\0" + LARGE * 60),
    "a bomb of text": (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**26))),
    "a profile": (b"iCCP", b"p\0\0" + zlib.compress(LARGE)),
    "a bomb of a profile": (b"iCCP", b"p\0\0" + zlib.compress(bytes(2**26))),
    "a profile cut off": (b"iCCP", b"p\0\0" + zlib.compress(LARGE)[:999]),
}


@pytest.mark.parametrize("kind", CHUNKS)
def test_large_metadata_does_not_stand_in_the_way(world: World, kind: str):
    world.save("b/large.png", png(wall(), CHUNKS[kind]))
    pixels, findings = world.background("large")
    assert (pixels == wall()).all() and len(findings) == 1
    word = "profile" if "profile" in kind else "text"
    assert word in told(findings) and findings[0].level == "warning"


def test_damaged_chunks_beside_the_pixels_do_not_stand_in_the_way(world: World):
    good = png(wall())
    broken = png_chunk(b"tEXt", b"Comment\0hello")[:-1] + b"?"
    odd = png_chunk(b"gAMA", b"") + png_chunk(b"pHYs", b"1") + png_chunk(b"cHRM", b"12")
    world.save("b/odd.png", good[:33] + broken + odd + good[33:] + b"trailing bytes")
    pixels, findings = world.background("odd")
    assert (pixels == wall()).all() and "text too large or damaged" in told(findings)


def test_damaged_pixels_still_are(world: World):
    data = bytearray(png(wall()))
    data[len(data) // 2] ^= 0xFF
    world.save("b/bad.png", bytes(data))
    with pytest.raises(UserError, match=r"bad.png: is damaged or truncated"):
        world.prepare()


# Pages and frames


def pages(*pictures: np.ndarray, kinds: tuple[int, ...] = ()) -> bytes:
    stream = io.BytesIO()
    first, *others = map(Image.fromarray, pictures)
    first.save(stream, "TIFF", save_all=True, append_images=others)
    return stream.getvalue()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_of_several_pages_the_largest_is_taken_and_told(world: World, order: int):
    small = [wall(24, 20), wall(12, 10)]
    small.insert(order, wall())
    world.save("b/pages.tif", pages(*small))
    pixels, findings = world.background("pages")
    assert (pixels == wall()).all() and "has 3 pages" in told(findings)


def test_of_pages_of_one_size_the_first_is_taken_and_told(world: World):
    world.save("b/pages.tif", pages(wall(), 255 - wall()))
    pixels, findings = world.background("pages")
    assert (pixels == wall()).all() and "has 2 pages. The first was taken" in told(findings)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken_and_told(world: World, kind: str):
    stream = io.BytesIO()
    frames = [Image.fromarray(wall()), Image.new("RGB", (96, 80), "green")]
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:], **options)
    world.save(f"b/moving.{kind.lower()}", stream.getvalue())
    pixels, findings = world.background("moving")
    assert np.abs(pixels.astype(int) - wall()).max() <= (0 if kind != "GIF" else 60)
    assert "is an animation. Its first frame was taken" in told(findings)


def test_a_tiff_whose_tags_claim_more_than_there_is_takes_no_time(world: World):
    """Thousands of tags, each of a million values that lie in the same place."""
    rows = 60_000
    entry = struct.pack("<HHII", 273, 4, 2**18, 8)
    body = bytes(2**20)
    start = 8 + len(body)
    data = b"II*\0" + struct.pack("<I", start) + body + struct.pack("<H", rows) + entry * rows
    world.save("b/hostile.tif", data + bytes(4))
    with pytest.raises(UserError, match=r"hostile.tif: is "):
        world.prepare()


# Kinds of files

KINDS = {
    **dict.fromkeys(("jpg", "jpe", "jfif", "jpeg"), "JPEG"),
    **{"png": "PNG", "bmp": "BMP", "dib": "BMP", "tga": "TGA", "ppm": "PPM", "pnm": "PPM"},
    **{"tif": "TIFF", "gif": "GIF", "webp": "WEBP", "jp2": "JPEG2000", "avif": "AVIF"},
    **{"heic": "HEIF", "hif": "HEIF"},
}
needs_heif = pytest.mark.skipif(not reads_heif(), reason="needs the extra depthmask[heic]")
CAN_WRITE = {"JPEG2000": "jpg_2000", "AVIF": "avif", "WEBP": "webp"}


def of_kind(kind: str) -> bytes:
    stream = io.BytesIO()
    options = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}
    Image.fromarray(wall()).save(stream, kind, **options.get(kind, {}))
    return stream.getvalue()


NAMES = [(f"pic.{suffix}", kind) for suffix, kind in KINDS.items()]
NAMES += [(f"pic.{suffix.upper()}", kind) for suffix, kind in KINDS.items()]
# But for a TGA, which is known by its suffix alone.
NAMES += [(name, kind) for name in ("pic", "pic.heic") for kind in {*KINDS.values()} - {"TGA"}]


@pytest.mark.parametrize(("name", "kind"), sorted(NAMES))
def test_pictures_of_every_kind_are_read(world: World, name: str, kind: str):
    if not (reads_heif() if kind == "HEIF" else features.check(CAN_WRITE.get(kind, "jpg"))):
        pytest.skip(f"needs a Pillow with {kind}")
    world.save(f"b/{name}", of_kind(kind))
    pixels, findings = world.background("pic")
    off = np.abs(pixels.astype(int) - wall())
    assert off.mean() < 12 and findings == []


@needs_heif
def test_heic_is_read_upright_by_its_profile_with_its_transparency(world: World):
    profile = rgb_profile(ADOBE)
    exact = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(wall())))
    world.save("b/seen.heic", turned, exif=exif(TURN), icc_profile=profile, **exact)
    cutout = rgba(ball())
    world.save("f/ball.heic", cutout, **exact)
    pixels, findings = world.background("seen")
    assert (pixels == converted(Image.fromarray(wall()), profile)).all() and findings == []
    read, findings = world.foreground("ball")
    world.save("f/same.png", cutout)
    assert read.alpha == world.foreground("same")[0].alpha and findings == []
    assert read.colour == world.foreground("same")[0].colour


@needs_heif
def test_of_heic_with_several_pictures_the_main_one_is_taken_and_told(world: World):
    exact = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
    other = Image.new("RGB", (96, 80), "green")
    many = {"save_all": True, "append_images": [Image.fromarray(wall())], "primary_index": 1}
    world.save("b/burst.heic", other, **exact, **many)
    pixels, findings = world.background("burst")
    assert (pixels == wall()).all() and "has 2 pictures. The main one was taken" in told(findings)


@needs_heif
def test_a_torn_heic_is_an_error_that_names_it(world: World):
    data = of_kind("HEIF")
    world.save("b/torn.heic", data[: len(data) // 2])
    with pytest.raises(UserError, match=r"torn.heic: is (damaged|not a picture)"):
        world.prepare()


def test_where_heic_is_not_read_the_extra_is_named(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert not reads_heif.__wrapped__()
    monkeypatch.setattr(folders, "reads_heif", lambda: False)
    monkeypatch.setattr(folders, "is_picture", lambda path: False)
    world.save("b/phone.heic", b"what it is")
    remedy = "HEIC is read after: pip install 'depthmask\\[heic\\]'"
    assert re.search(f"1 .heic.. Not used. {remedy}", told(world.prepare().findings))
    with pytest.raises(UserError, match=remedy):
        world.save("only/a.HEIC", b"what it is")
        find_pictures(str(world.root / "only"))


def test_what_is_no_picture_is_told_in_one_line_with_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(folders, "reads_heif", lambda: True)
    for name in ("a.txt", "b.txt", "c.svg", "notes", "d.heic", "sub/e.txt"):
        world.save(f"b/{name}", b"These are notes.")
    for name in ("P1 notes", "BMW", "GIF", "PNG", "II"):  # begin as pictures may
        world.save(f"b/{name}.md", name.encode())
    findings = world.prepare().findings
    assert told(findings) == (
        f"{world.root / 'b'}: 11 files are no pictures that can be read (5 .md, 3 .txt, 1 .svg, "
        "1 .heic, 1 without a suffix). Not used."
    )


def test_a_file_that_claims_to_be_a_picture_and_is_none_is_an_error(world: World):
    world.save("b/notes.jfif", b"These are notes.")
    with pytest.raises(UserError, match=r"notes.jfif: is not a picture"):
        world.prepare()


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir/wall.png/SYNOPHOTO_THUMB_XL.jpg", "sub/@eaDir/x.png", "#recycle/old.png"),
        *("$RECYCLE.BIN/$R1.png", "$Recycle.Bin/$R1.png", "__MACOSX/._wall.png", "._wall.png"),
        *(".DS_Store", "Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini", ".thumbnails/a.png"),
        *("lost+found/x.png", "System Volume Information/x.png", "@Recycle/x.png", "Icon\r"),
        *(".git/x.png", "#snapshot/x.png", ".Trash-1000/files/x.png"),
    ],
)
def test_what_nobody_means_is_left_out_without_a_word(world: World, name: str):
    path = world.save(f"b/{name}", png(wall(20, 10)))
    assert path.exists()
    prepared = world.prepare()
    assert [picture.name for picture in prepared.source.backgrounds] == ["wall"]
    assert prepared.findings == []


def test_folders_whose_names_only_look_like_those_are_classes(world: World):
    world.save("b/recycled/a.png", png(wall(30, 20)))
    world.save("b/eaDir/b.png", png(wall(31, 20)))
    labels = [picture.label for picture in world.prepare().source.backgrounds]
    assert labels == ["eaDir", "recycled", ""]


def test_what_a_picture_was_made_from_may_lie_beside_it(world: World):
    world.save("b/wall.heic", png(wall(30, 20)))  # read by its content
    prepared = world.prepare()
    assert [picture.name for picture in prepared.source.backgrounds] == ["wall"]
    assert "wall.heic: has the same name as wall.png. Not used" in told(prepared.findings)


def test_older_copies_and_unfinished_downloads_are_no_pictures(world: World):
    for name in ("wall.png.bak", "wall.png~", "next.jpg.part", "next.png.crdownload"):
        world.save(f"b/{name}", png(wall(30, 20)))
    assert "4 files are no pictures" in told(world.prepare().findings)


@pytest.mark.parametrize("name", ["pipe.png", "pipe"])
def test_a_pipe_is_not_waited_for(world: World, name: str):
    os.mkfifo(world.root / "b" / name)
    prepared = world.prepare(skip_bad=True)
    assert [picture.name for picture in prepared.source.backgrounds] == ["wall"]
    assert len(prepared.findings) == 1


# Names


def test_bytes_that_are_not_utf8_are_no_traceback(world: World, caplog: pytest.LogCaptureFixture):
    folder = os.fsencode(world.root / "b")
    (Path(os.fsdecode(folder)) / os.fsdecode(b"caf\xe9.png")).write_bytes(png(wall(30, 20)))
    os.mkdir(folder + b"/s\xfcd")
    (Path(os.fsdecode(folder)) / os.fsdecode(b"s\xfcd/bad\xff.png")).write_bytes(b"no picture")
    with pytest.raises(UserError) as caught:
        world.prepare()
    assert r"bad\xff.png: is not a picture" in str(caught.value).encode("ascii", "replace").decode()
    prepared = world.prepare(skip_bad=True)
    assert [picture.name for picture in prepared.source.backgrounds] == ["caf%E9", "wall"]
    log_findings(prepared.findings)
    caplog.text.encode("utf-8")
    (finding,) = prepared.findings
    assert json.dumps(finding.entry.to_json(), ensure_ascii=False).encode("utf-8")
    assert finding.file == r"s\xfcd/bad\xff.png"


def test_names_that_are_written_in_two_ways_are_one(world: World):
    composed, apart = (unicodedata.normalize(form, "vélo") for form in ("NFC", "NFD"))
    assert composed != apart and safe_name(apart) == safe_name(composed) == composed
    for foreground, mask in ((composed, apart), (apart, composed)):
        for folder in ("f", "m"):
            for path in (world.root / folder).iterdir():
                path.unlink()
        world.save(f"f/{foreground}.png", wall(40, 40))
        world.save(f"m/{mask}.png", png(ball() * np.uint8(255)))
        prepared = world.prepare(masks=True)
        assert [picture.name for picture in prepared.source.foregrounds] == [composed]
        assert prepared.findings == []


def test_two_files_of_one_name_written_in_two_ways_are_told(world: World):
    for form in ("NFC", "NFD"):
        world.save(f"b/{unicodedata.normalize(form, 'öde')}.png", png(wall(30, 20)))
    with pytest.raises(UserError, match="has the same name as"):
        world.prepare()


@pytest.mark.parametrize(("one", "other"), [("Wall", "wall"), ("STRASSE", "straße"), ("É", "é")])
def test_names_that_differ_in_case_alone_are_told(world: World, one: str, other: str):
    for i, name in enumerate((one, other)):
        world.save(f"b/deep/{name}.png", png(wall(30 + i, 20)))
    assert "but for upper and lower case. Rename one of the two" in told(world.prepare().findings)


def test_names_too_long_for_an_export_are_told_before_the_work(world: World):
    world.save(f"b/{'b' * 140}.png", png(wall(30, 20)))
    assert world.prepare().findings == []
    world.save(f"f/{'f' * 100}.png", rgba(ball(radius=9)))
    assert "come to 240 bytes" in told(world.prepare().findings)
    (world.root / "f" / f"{'f' * 100}.png").unlink()
    world.save(f"f/{'木' * 30}.png", rgba(ball(radius=9)))  # 9 bytes a sign as files are named
    assert "come to 410 bytes" not in told(world.prepare().findings)
    world.save(f"f/{'ф. ' * 30}.png", rgba(ball(radius=8)))
    assert "Rename them to at most 220 together" in told(world.prepare().findings)


def test_a_listing_is_in_the_order_of_names(world: World):
    for name in ("b2", "B1", "a"):
        world.save(f"b/{name}.png", png(wall(30, 20)))
    contents = find_pictures(str(world.root / "b"))
    assert [picture.name for picture in contents.pictures] == ["B1", "a", "b2", "wall"]
    assert contents.findings == []


# The same picture twice


def test_the_same_picture_under_two_names_is_told(world: World):
    world.save("b/copy.bmp", wall())
    world.save("b/other.png", 255 - wall())
    world.save("b/deep.tif", tiff(wall().astype(np.uint16) * 257))
    findings = world.prepare().findings
    assert [finding.file for finding in findings] == ["deep.tif", "wall.png"]
    assert "is the same picture as copy.bmp. Is it there twice by mistake?" in told(findings)


@pytest.mark.parametrize("by", ["background", "foreground", "both"])
def test_twins_go_to_one_split_where_splits_have_none_in_common(world: World, by: str):
    from pipeline.plan import Plan
    from pipeline.recipes import load_recipe

    for i in range(11):
        world.save(f"b/b{i}.png", np.roll(wall(), i // 2 * 7, axis=1))
        world.save(f"f/f{i}.png", rgba(ball(radius=6 + i // 2)))
    settings = f"splits={{by: {by}, fractions: {{train: 0.6, val: 0.2, test: 0.2}}}}"
    prepared = world.prepare(settings)
    assert "Both go to one split" in told(prepared.findings)
    recipe = load_recipe("default", ["canvas={width: 96, height: 80}", settings])
    source = prepared.source
    splits = Plan(recipe, source.backgrounds, source.foregrounds).splits
    for side in ("background", "foreground") if by == "both" else (by,):
        pictures = getattr(source, f"{side}s")
        dealt = [getattr(split.blocks[0], f"{side}s") for split in splits.values()]
        seen = [{pictures[i].pixels for i in mine} for mine in dealt]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
        assert sorted(itertools.chain(*dealt)) == list(range(len(pictures)))
        shares = zip(map(len, dealt), (0.6, 0.2, 0.2), strict=True)
        assert all(abs(count - share * 12) <= 2 for count, share in shares)


def test_twins_that_leave_a_split_empty_are_an_error(world: World):
    from pipeline.plan import Plan
    from pipeline.recipes import load_recipe

    world.save("b/copy.bmp", wall())
    settings = "splits={by: background, fractions: {train: 0.5, test: 0.5}}"
    source = world.prepare(settings).source
    recipe = load_recipe("default", ["canvas={width: 96, height: 80}", settings])
    with pytest.raises(UserError, match="2 splits of 1 different pictures"):
        _ = Plan(recipe, source.backgrounds, source.foregrounds).splits
