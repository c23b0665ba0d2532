"""Progress: what is counted, and how often."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.run import Progress, progress
from transforms.elements import ShardKey
from transforms.segments import ShardStore


@pytest.mark.parametrize(
    ("folder", "count_seconds", "pause"),
    [("out", 0.01, 2), ("out", 3, 60), ("gs://bucket/out", 1, 30), ("gs://bucket/out", 240, 4800)],
)
def test_counting_takes_a_small_part_of_the_time(
    monkeypatch: pytest.MonkeyPatch, folder: str, count_seconds: float, pause: float
):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def count() -> int:
        clock.now += count_seconds
        return 7

    assert Progress(10, folder, count).pause == pause


def test_segments_and_shards_are_counted_once(tmp_path: Path):
    store = ShardStore(
        str(tmp_path), str(tmp_path / "work"), "5d1c0a2b", {"train": (20_000_000, 50)}
    )
    first, second = (
        Path(store.folder(store.shard_name(ShardKey("train", number)))) for number in range(2)
    )
    for path in (
        first / "0000000-n80-00ab00000000.json",
        first / "0000000-n80-00cd00000000.json",  # another attempt
        first / "0000080-n80-00ab00000000.json",
        first / "0000160-n80-00ab00000000.tfrecord",  # not described yet
        first / "10000000-n80-00ab00000000.json",
        second / "0000000-n40-00ab00000000.json",
        second / "finished.json",
        tmp_path / "work" / "5d1c0a2c-inputs" / "0000000-n80-00ab00000000.json",  # another job's
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert store.count_examples(store.sizes_by_name) == 3 * 80 + 50
