"""What a worker keeps of the prepared inputs."""

from __future__ import annotations

import shutil
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from pipeline.inputs import prepare_inputs
from pipeline.recipes import load_recipe
from tests.conftest import draw_inputs
from transforms import prepared
from transforms.cutout import Cutout, Transform
from transforms.prepared import PictureCache, PreparedInputs, PreparedSource

CAPACITY = 100_000
TRANSFORMS: tuple[Transform | None, ...] = (None, "left_right")
SETTINGS = (
    "canvas={width: 96, height: 96}",
    "foregrounds={size: {mode: native}, scale: [0.5, 4]}",
    "placements.region=anywhere",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> PreparedSource:
    """Cut-outs of eight sizes, stored at four times that at which they are drawn at scale 1."""
    root = tmp_path_factory.mktemp("prepared")
    folders = draw_inputs(root, backgrounds=6, foregrounds=8)
    return prepare_inputs(folders, load_recipe("default", SETTINGS), str(root)).source


def bytes_of(cutout: Cutout) -> int:
    """Pillow keeps colours in four bytes a pixel."""
    pictures = (cutout.colour, cutout.spread)
    return sum(4 * p.width * p.height for p in pictures) + cutout.mask.nbytes * 2


def test_pictures_that_are_kept_stay_within_the_bound(
    source: PreparedSource, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(prepared, "CACHE_BYTES", CAPACITY)
    inputs = PreparedInputs(source)
    read: list[weakref.ref[Cutout]] = []
    names = [picture.name for picture in source.foregrounds]
    for name in names:
        for transform in TRANSFORMS:
            read.append(weakref.ref(inputs.foreground(name, transform)))
            alive = sum(bytes_of(cutout) for ref in read if (cutout := ref()))
            del cutout
            assert alive == inputs.kept_foregrounds.bytes <= CAPACITY
    assert 2 <= len(inputs.kept_foregrounds) < len(read)
    assert inputs.foreground(names[-1], "left_right") is read[-1]()
    for picture in source.backgrounds:
        inputs.background(picture.name)
    assert len(inputs.kept_backgrounds) == CAPACITY // (96 * 96 * 3)


def test_the_newest_is_kept_however_large_it_is():
    cache: PictureCache[str] = PictureCache(10)
    cache.keep("a", "A", 4)
    cache.keep("b", "B", 4)
    assert cache.get("a") == "A"  # so that b is the one used longest ago
    cache.keep("c", "C", 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")
    cache.keep("huge", "H", 99)
    assert (cache.get("huge"), len(cache), cache.bytes) == ("H", 1, 99)
    cache.keep("huge", "again", 9)
    assert (cache.get("huge"), len(cache), cache.bytes) == ("again", 1, 9)


def test_threads_at_once_get_the_right_pictures(
    source: PreparedSource, monkeypatch: pytest.MonkeyPatch
):
    expected = {
        picture.name: np.asarray(PreparedInputs(source).foreground(picture.name, "left_right").mask)
        for picture in source.foregrounds
    }
    monkeypatch.setattr(prepared, "CACHE_BYTES", CAPACITY)
    inputs = PreparedInputs(source)
    wrong = []

    def read(seed: int) -> None:
        for name in np.random.default_rng(seed).choice(list(expected), 60):
            if (inputs.foreground(str(name), "left_right").mask != expected[name]).any():
                wrong.append(name)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    kept = inputs.kept_foregrounds
    assert kept.bytes <= CAPACITY and kept.bytes > CAPACITY // 4


def test_a_dataset_whose_prepared_pictures_are_damaged_is_not_opened(dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    whole = PreparedSource.of_dataset(str(copy))
    path = copy / "foregrounds.tfrecord"
    data = path.read_bytes()
    last = whole.foregrounds[-1]
    assert last.offset + last.length == len(data)
    for size in (len(data) - 1, last.offset + 5):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=f"torn record at byte {last.offset}"):
            PreparedSource.of_dataset(str(copy))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        PreparedSource.of_dataset(str(copy))
