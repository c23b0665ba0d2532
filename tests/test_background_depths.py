"""The file of backgrounds' depth: made in parts, found again, joined in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthmask.manifest import BACKGROUND_DEPTHS
from transforms.background_depths import BackgroundDepthStore
from transforms.depth import DepthMap
from transforms.parts import PROVENANCE, provenance_checksum, write_description
from transforms.prepared import depth_record


@pytest.fixture
def store(tmp_path: Path) -> BackgroundDepthStore:
    work = tmp_path / "_unfinished"
    work.mkdir()
    (work / PROVENANCE).write_text("{}")
    return BackgroundDepthStore(str(tmp_path), str(work), provenance_checksum({}), 40, 6)


def record(number: int) -> bytes:
    return depth_record(f"bg{number}", DepthMap(np.full((4, 5), number + 1, np.uint16)))


def test_parts_are_found_again_and_joined_in_order(store: BackgroundDepthStore, tmp_path: Path):
    keys = list(store.chunk_keys(store.key))
    assert [(key.start, key.examples) for key in keys] == [(0, 18), (18, 18), (36, 4)]
    records = {key: [record(key.start + i) for i in range(key.examples)] for key in keys}
    made = [store.write_chunk(key, records[key]) for key in (keys[2], keys[0])]
    found = {
        task.key: store.find_chunk(task, set()) for task in store.tasks(store.key, keys, set())
    }
    assert found == {keys[0]: made[1], keys[1]: None, keys[2]: made[0]}
    with pytest.raises(RuntimeError, match="some backgrounds are missing"):
        store.finish_file(BACKGROUND_DEPTHS, made)
    made.append(store.write_chunk(keys[1], records[keys[1]]))
    assert store.count_examples({BACKGROUND_DEPTHS: 40}) == 40
    finished = store.finish_file(BACKGROUND_DEPTHS, made)
    whole = b"".join(record(number) for number in range(40))
    assert (tmp_path / BACKGROUND_DEPTHS).read_bytes() == whole
    assert store.find_file(BACKGROUND_DEPTHS) == finished
    assert store.count_examples({BACKGROUND_DEPTHS: 40}) == 40
    (tmp_path / BACKGROUND_DEPTHS).write_bytes(whole[:-1])
    assert store.find_file(BACKGROUND_DEPTHS) is None


def test_other_files_of_the_run_are_not_looked_at(store: BackgroundDepthStore):
    name = "depthmask-train.tfrecord-00000-of-00001"
    (folder := Path(store.folder(name))).mkdir()
    write_description(str(folder / "finished.json"), {"entry": {}})
    assert store.named_files() == []
