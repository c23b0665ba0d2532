"""Tests of the sample pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.processes.pool import WorkerPool
from scenes import draw_foreground, draw_room, write_samples
from scenes.figures import KINDS
from scenes.lighting import Scene, grid, render
from scenes.rooms import shell
from scenes.solids import Camera, ball, box, drum, grouped, rotation, trace
from scenes.textures import plain

GREY = plain((0.5, 0.5, 0.5))


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def camera(x: float, y: float, z: float, pitch: float = 0.0, yaw: float = 0.0) -> Camera:
    turn = rotation(yaw, pitch)
    return Camera(np.array([x, y, z], np.float32), turn[:, 0], turn[:, 2], turn[:, 1])


def test_same_seed_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    write_samples(tmp_path / "one", 2, 2, 40, seed=5)
    with WorkerPool(2) as pool:
        write_samples(tmp_path / "two", 2, 2, 40, seed=5, executor=pool)
    write_samples(tmp_path / "other", 2, 2, 40, seed=6)
    one, two, other = (contents(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert not set(one.values()) & set(other.values())


def test_smaller_set_is_the_beginning_of_a_larger_one(tmp_path: Path) -> None:
    write_samples(tmp_path / "small", 1, 2, 32, seed=9)
    write_samples(tmp_path / "large", 3, 4, 32, seed=9)
    small, large = contents(tmp_path / "small"), contents(tmp_path / "large")
    assert len(small) == 1 + 1 + 2
    assert small.items() < large.items()


def test_files_and_progress(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_samples(tmp_path, 2, 1, 48, seed=3, progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert {p.name for p in tmp_path.iterdir()} == {"backgrounds", "depth", "foregrounds"}
    for index in range(2):
        room = draw_room(np.random.default_rng([3, 0, index]), 48)
        with Image.open(tmp_path / "backgrounds" / f"room-{index:04d}.jpg") as picture:
            assert picture.size == (48, 48) and picture.mode == "RGB"
            difference = np.asarray(picture, float) - room.image
        assert np.abs(difference).mean() < 12
        with Image.open(tmp_path / "depth" / f"room-{index:04d}.png") as stored:
            millimetres = np.asarray(stored)
        assert millimetres.dtype == np.uint16
        np.testing.assert_allclose(millimetres / 1000, room.depth, atol=0.00051)
    (cutout,) = (tmp_path / "foregrounds").iterdir()
    kind, number = cutout.stem.rsplit("-", 1)
    assert kind in KINDS and number == "0000"
    with Image.open(cutout) as picture:
        assert picture.mode == "RGBA"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backgrounds", 0),
        ("foregrounds", -1),
        ("size", 31),
        ("size", 4097),
        ("size", 64.0),
        ("seed", -1),
    ],
)
def test_bad_arguments(tmp_path: Path, name: str, value: int) -> None:
    arguments: dict[str, Any] = {"backgrounds": 1, "foregrounds": 1, "size": 32, "seed": 0} | {
        name: value
    }
    with pytest.raises(ValueError, match=rf"{name} is {value}: .*or more|{name} is {value}: .*to"):
        write_samples(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_directory_must_be_empty(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not an empty directory"):
        write_samples(tmp_path, 1, 1, 32, seed=0)
    with pytest.raises(FileExistsError, match="not an empty directory"):
        write_samples(tmp_path / "mine.txt", 1, 1, 32, seed=0)
    assert contents(tmp_path) == {"mine.txt": b"keep"}


def test_interrupted_it_is_called_again(tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(done: int, _: int) -> None:
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        write_samples(tmp_path / "made", 1, 2, 32, seed=4, progress=interrupt)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["_drawing"]
    write_samples(tmp_path / "made", 1, 2, 32, seed=4)
    write_samples(tmp_path / "whole", 1, 2, 32, seed=4)
    assert contents(tmp_path / "made") == contents(tmp_path / "whole")


def test_rooms_have_plausible_depth_and_light() -> None:
    rooms = [draw_room(np.random.default_rng([1, 0, k]), 48) for k in range(16)]
    for room in rooms:
        assert room.image.shape == (48, 48, 3) and room.image.dtype == np.uint8
        assert room.depth.shape == (48, 48) and room.depth.dtype == np.float32
        assert np.isfinite(room.depth).all()
        assert room.depth.min() > 0.25 and room.depth.max() < 10
        assert 30 < room.image.mean() < 225 and room.image.std() > 8
    # The top of a picture is seldom closer than its bottom: floors come towards the camera.
    closer = [np.median(r.depth[-6:]) < np.median(r.depth[16:30]) for r in rooms]
    assert sum(closer) > 10
    for i in range(16):
        for j in range(i):
            assert np.abs(rooms[i].depth - rooms[j].depth).mean() > 0.05


def test_depth_of_an_empty_room_is_that_of_its_planes() -> None:
    width, length, height, eye = 4.0, 6.0, 2.5, (1.5, 1.0, 1.4)
    pitch = -0.2
    groups = shell(width, length, height, GREY, GREY, [GREY] * 4)
    solids = [solid for group in groups for solid in group.solids]
    axis = grid(-0.7, 0.7, 65)
    view = camera(*eye, pitch)
    hits = trace(view, solids, axis, -axis)
    x, y = np.meshgrid(axis, -axis)
    # A ray that advances 1 m along the optical axis advances this much in the world.
    ahead = np.cos(pitch) - y * np.sin(pitch)
    rise = np.sin(pitch) + y * np.cos(pitch)
    with np.errstate(divide="ignore"):
        to_floor = np.where(rise < 0, -eye[2] / rise, np.inf)
        to_top = np.where(rise > 0, (height - eye[2]) / rise, np.inf)
        to_side = np.where(x > 0, width - eye[0], eye[0]) / np.abs(x)
    expected = np.minimum.reduce([to_floor, to_top, to_side, (length - eye[1]) / ahead])
    np.testing.assert_allclose(hits.depth, expected, rtol=1e-4)
    assert set(np.unique(hits.index)) >= {0, 1, 2}


def test_solids_are_where_they_should_be() -> None:
    straight = np.zeros(1, np.float32)
    for solid, near in (
        (ball(GREY, 0, 5, 0, 0.5, 1.0, 0.5), 4.0),
        (box(GREY, 0, 5, -1, 2, 3, 2), 3.5),
        (drum(GREY, 0, 5, -1, 1.0, 2.0), 4.0),
        (drum(GREY, 0, 5, -1, 1.0, 2.0, 0.5), 4.25),
        (drum(GREY, 0, 5, -1, 0.01, 2.0), 4.99),
    ):
        (turned,) = grouped([solid], rotation(0.0), 0, 0).solids
        axis = grid(-0.001, 0.001, 3)
        hits = trace(camera(0, 0, 0), [turned], axis, -axis)
        assert hits.depth[1, 1] == pytest.approx(near, rel=1e-3), solid.shape
        above = trace(camera(0, 0, 3), [turned], straight + axis, -axis)
        assert np.isinf(above.depth).all() and (above.index == -1).all()


def test_render_averages_coverage() -> None:
    scene = Scene(
        (grouped([box(GREY, 0, 4, -1, 2, 2, 2)], rotation(0), 0, 0),),
        (),
        above=np.ones(3, np.float32),
        below=np.ones(3, np.float32),
    )
    # The front, 3 m away, spans -1/3..1/3: two thirds of this window, 4 of its 6 columns.
    frame = render(camera(0, 0, 0), scene, (-0.5, 0.5), (0.1, -0.1), 6, 2, samples=4)
    np.testing.assert_array_equal(frame.coverage, [[0, 1, 1, 1, 1, 0]] * 2)
    assert (frame.colour[:, 1:5] > 0.3).all() and (frame.colour[:, [0, 5]] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_foregrounds_are_cut_out(kind: str) -> None:
    size = 128
    for index in range(2):
        cutout = draw_foreground(np.random.default_rng([2, 1, index]), size, kind)
        assert cutout.dtype == np.uint8 and cutout.shape[2] == 4
        assert 0.36 * size <= max(cutout.shape[:2]) <= 0.78 * size
        alpha = cutout[..., 3]
        assert not alpha[[0, -1]].any() and not alpha[:, [0, -1]].any()
        # Cropped tightly: the line next to the border holds something.
        for line in (alpha[1], alpha[-2], alpha[:, 1], alpha[:, -2]):
            assert line.any()
        opaque, soft = alpha == 255, (alpha > 0) & (alpha < 255)
        assert opaque.any() and soft.any()
        inner = opaque[1:-1, 1:-1] & opaque[:-2, 1:-1] & opaque[2:, 1:-1]
        assert inner.sum() > 0.2 * opaque.sum()
        # Shaded, and not premultiplied: the edge is no darker than the inside.
        light = cutout[..., :3].mean(axis=2)
        assert light[opaque].std() > 3
        assert light[soft].mean() > 0.5 * light[opaque].mean()


def test_foregrounds_vary_with_the_generator() -> None:
    first, again, other = (
        draw_foreground(np.random.default_rng(seed), 64, "person") for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()
