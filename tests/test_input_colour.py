"""Colours are brought to sRGB by their profiles, and no profile is kept."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from depthmask.records import parse_example, read_records
from tests.drawn import World, ball, png, tiff, told, wall

# Chromaticities of red, green and blue, as CIE xy.
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
WIDE = ((0.735, 0.265), (0.115, 0.826), (0.157, 0.018))
_D50 = np.array([0.9642, 1.0, 0.8249])


def _curve(gamma: float) -> bytes:
    return b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + b"\0\0"


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2 (ICC.1:2001-04, sections 6.1 to 6.5)."""
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(data), len(body))
        data += body + b"\0" * (-len(body) % 4)
    size = start + len(data)
    white = struct.pack(">iii", *(round(value * 65536) for value in _D50))
    head = struct.pack(">II", size, 0) + b"\x02\x10\0\0mntr" + space + b"XYZ " + b"\0" * 12
    head += b"acsp" + b"\0" * 28 + white
    return head.ljust(128, b"\0") + table + data


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(float(v) * 65536) for v in values))


def rgb_profile(primaries: tuple[tuple[float, float], ...], gamma: float = 2.2) -> bytes:
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    columns = columns * np.linalg.solve(columns, _D50)
    tags = {b"wtpt": _xyz(_D50)}
    tags |= {name: _xyz(columns[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= {name: _curve(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return _profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"GRAY", {b"wtpt": _xyz(_D50), b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """A device that shows its opposite: ink of 0 is black. A table of two points an axis."""
    lut = b"mft1" + struct.pack(">I", 0) + bytes([4, 3, 2, 0])
    lut += struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    lut += bytes(range(256)) * 4
    for corner in range(16):
        inks = [corner >> bit & 1 for bit in (3, 2, 1, 0)]
        lut += bytes([round(255 * sum(inks) / 4), 128, 128])  # L, a, b
    lut += bytes(range(256)) * 3
    profile = bytearray(_profile(b"CMYK", {b"wtpt": _xyz(_D50), b"A2B0": lut, b"A2B1": lut}))
    profile[12:16], profile[20:24] = b"prtr", b"Lab "
    return bytes(profile)


def converted(image: Image.Image, profile: bytes) -> np.ndarray:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, source, srgb, outputMode="RGB"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    "profile",
    [
        rgb_profile(ADOBE),
        rgb_profile(WIDE, 1.8),
        rgb_profile((ADOBE[1], ADOBE[0], ADOBE[2])),
    ],
    ids=["adobe", "wide", "swapped"],
)
@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp"])
def test_a_picture_is_shown_by_its_profile(world: World, profile: bytes, kind: str):
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(kind, {})
    path = world.save(f"b/seen.{kind}", wall(), icc_profile=profile, **options)
    pixels, findings = world.background("seen")
    with Image.open(path) as stored:
        expected = converted(stored.convert("RGB"), profile)
    assert np.abs(expected.astype(int) - wall()).max() > 20
    assert (pixels == expected).all() and findings == []


def test_no_profile_is_kept(world: World):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile in (("srgb", srgb), ("wide", rgb_profile(WIDE))):
        world.save(f"b/{name}.png", wall()[:, ::-1], icc_profile=profile)
        shape = np.dstack([wall(40, 40), ball() * np.uint8(255)])
        world.save(f"f/{name}.png", shape, icc_profile=profile)
    world.prepare()
    for kind in ("backgrounds", "foregrounds"):
        with (world.root / "out" / f"{kind}.tfrecord").open("rb") as file:
            for record in read_records(file):
                assert b"iCCP" not in parse_example(record)["image"]


def test_srgb_itself_changes_nothing(world: World):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    world.save("b/tagged.png", wall(), icc_profile=srgb)
    assert (world.background("tagged")[0] == wall()).all()


def test_a_cut_out_is_shown_by_its_profile_and_keeps_its_alpha(world: World):
    profile = rgb_profile(WIDE)
    pixels = np.dstack([wall(40, 40), ball() * np.uint8(255)])
    world.save("f/seen.png", pixels, icc_profile=profile)
    cutout, _ = world.foreground("seen")
    assert (np.asarray(cutout.alpha) == pixels[..., 3]).all()
    expected = converted(Image.fromarray(wall(40, 40)), profile)
    assert (np.asarray(cutout.colour)[ball()] == expected[ball()]).all()


def test_a_grey_picture_is_shown_by_its_profile(world: World):
    grey = np.ascontiguousarray(wall()[..., 0])
    profile = grey_profile(1.0)
    world.save("b/seen.png", Image.fromarray(grey), icc_profile=profile)
    pixels, _ = world.background("seen")
    assert (pixels == converted(Image.fromarray(grey), profile)).all()
    assert pixels[40, 48, 0] > grey[40, 48] + 30


@pytest.mark.parametrize("kind", ["jpg", "tif"])
def test_cmyk_is_shown_by_its_profile(world: World, kind: str):
    image = Image.fromarray(wall()).convert("CMYK")
    path = world.save(f"b/seen.{kind}", image, icc_profile=cmyk_profile())
    pixels, findings = world.background("seen")
    with Image.open(path) as stored:
        expected = converted(stored.convert("CMYK"), cmyk_profile())
    assert (pixels == expected).all() and findings == []
    assert np.abs(expected.astype(int) - wall()).max() > 60


def test_cmyk_without_a_profile_is_shown_as_pillow_shows_it(world: World):
    world.save("b/seen.tif", Image.fromarray(wall()).convert("CMYK"))
    assert np.abs(world.background("seen")[0].astype(int) - wall()).max() <= 1


def test_lab_says_what_its_colours_are(world: World):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(wall()), srgb, lab, outputMode="LAB")
    world.save("b/seen.tif", image)
    assert np.abs(world.background("seen")[0].astype(int) - wall()).mean() < 4


@pytest.mark.parametrize(
    "profile",
    [b"no profile at all", rgb_profile(ADOBE)[:200], grey_profile(2.2), cmyk_profile()],
    ids=["rubbish", "cut", "grey", "cmyk"],
)
def test_a_profile_that_cannot_be_used_is_told(world: World, profile: bytes):
    world.save("b/seen.png", wall(), icc_profile=profile)
    pixels, findings = world.background("seen")
    assert (pixels == wall()).all()
    assert "has a colour profile that cannot be used" in told(findings)


def test_a_large_profile_is_used(world: World):
    """Pillow refuses those of more than 1 MiB."""
    profile = bytearray(rgb_profile(WIDE)) + bytes(3 * 2**20)
    profile[:4] = struct.pack(">I", len(profile))
    chunk = (b"iCCP", b"large\0\0" + zlib.compress(bytes(profile)))
    world.save("b/seen.png", png(wall(), chunk))
    pixels, findings = world.background("seen")
    assert (pixels == converted(Image.fromarray(wall()), rgb_profile(WIDE))).all()
    assert findings == []


def test_deep_samples_are_shown_by_their_profile(world: World):
    profile = rgb_profile(WIDE)
    body = profile + b"\0" * (-len(profile) % 4)
    chunk = (b"iCCP", b"p\0\0" + zlib.compress(body))
    world.save("b/deep.png", png(wall().astype(np.uint16) * 257, chunk))
    pixels, _ = world.background("deep")
    assert (pixels == converted(Image.fromarray(wall()), profile)).all()


def test_masks_have_no_colours(world: World):
    """A profile on a mask file changes nothing."""
    world.save("f/ball.png", wall(40, 40))
    mask = Image.fromarray((ball() * 200).astype(np.uint8))
    world.save("m/ball.png", mask, icc_profile=grey_profile(1.0))
    cutout, _ = world.foreground("ball", masks=True)
    assert (cutout.mask == ball() * 255).all()


def test_a_tiff_read_by_its_samples_has_its_profile_too(world: World):
    profile = rgb_profile(WIDE)
    image = Image.fromarray(wall())
    stream = io.BytesIO()
    image.save(stream, "TIFF", icc_profile=profile)
    world.save("b/plain.tif", stream.getvalue())
    world.save("b/float.tif", _with_profile((wall() / 255).astype(np.float32), profile))
    expected = converted(image, profile)
    for name in ("plain", "float"):
        assert (world.background(name)[0] == expected).all()


def _with_profile(pixels: np.ndarray, profile: bytes) -> bytes:
    """As `tiff` writes it, the profile behind: its tag is made to point there."""
    data = bytearray(tiff(pixels, tags={34675: (4, len(pixels))}))
    entry = data.index(struct.pack("<HHI", 34675, 4, 1))
    data[entry : entry + 12] = struct.pack("<HHII", 34675, 7, len(profile), len(data))
    return bytes(data) + profile
