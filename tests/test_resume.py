"""What is finished is never made again, and nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from depthmask.errors import RunError, UserError
from depthmask.manifest import ShardEntry
from depthmask.tally import LeftOut, Tally
from pipeline import graph
from pipeline.dataset import DatasetDescription, finish_dataset, open_dataset
from pipeline.inputs import InputFolders
from pipeline.repair import repair
from pipeline.run import Workspace
from pipeline.run.lock import OutputLock
from pipeline.run.options import pipeline_options
from tests.conftest import ONE_WORKER, draw_inputs, file_bytes, make_dataset
from transforms import encode
from transforms.assemble import FindFinishedWork, JoinParts
from transforms.elements import ChunkKey, EncodedChunk, Segment, Shard, ShardKey
from transforms.io.files import WrittenFile
from transforms.segments import ShardStore


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Examples that were really made, chunk by chunk, from here on."""
    made: list[int] = []
    original = encode.RecordEncoder.encode

    def counting(self, chunk):
        made.append(chunk.spec.key.examples)
        return original(self, chunk)

    monkeypatch.setattr(encode.RecordEncoder, "encode", counting)
    return made


def interrupt(
    monkeypatch: pytest.MonkeyPatch, folders: InputFolders, output: Path, after: int, *settings: str
):
    """A run that fails at its writing of the segment after so many."""
    written = []
    original = ShardStore.write_segment

    def failing(store, chunk):
        if len(written) == after:
            raise OSError(28, "No space left on device")
        written.append(chunk.key)
        return original(store, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(ShardStore, "write_segment", failing)
        with pytest.raises(RunError, match="No space left on device") as caught:
            make_dataset(folders, output, *settings)
    assert "\n" not in str(caught.value)


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    monkeypatch, folders: InputFolders, dataset: Path, tmp_path: Path, encoded: list[int]
):
    output = tmp_path / "made"
    interrupt(monkeypatch, folders, output, after=7)
    assert not (output / "manifest.json").exists()
    encoded.clear()
    make_dataset(folders, output)
    assert file_bytes(output) == file_bytes(dataset)
    # Chunks of 7 in shards of 17, 16, 16, 16 and 7 are 13 in all.
    assert len(encoded) == 13 - 7


def test_what_another_run_still_writes_is_not_taken_for_this_ones(
    monkeypatch, folders: InputFolders, dataset: Path, tmp_path: Path
):
    """A job on a cluster that outlives its command, while another is begun in its place."""
    outlived, output = tmp_path / "outlived", tmp_path / "made"
    interrupt(monkeypatch, folders, outlived, 7, "seed=3")
    interrupt(monkeypatch, folders, output, 2)
    for folder in (outlived / "_unfinished").glob("*-depthmask-train*"):
        shutil.copytree(folder, output / "_unfinished" / folder.name)
    make_dataset(folders, output)
    assert file_bytes(output) == file_bytes(dataset)


def test_a_job_that_outlives_its_run_finishes_nothing(
    monkeypatch, folders: InputFolders, tmp_path: Path
):
    output = tmp_path / "made"
    interrupt(monkeypatch, folders, output, 2)
    make = ShardStore.write_segment

    def begun_anew_meanwhile(store, chunk):
        (output / "_unfinished" / "provenance.json").write_text('{"recipe": {"seed": 3}}')
        return make(store, chunk)

    monkeypatch.setattr(ShardStore, "write_segment", begun_anew_meanwhile)
    with pytest.raises(RunError, match="another run has been begun here"):
        make_dataset(folders, output)
    assert not (output / "manifest.json").exists()


def test_a_finished_shard_is_not_made_again(
    monkeypatch, folders: InputFolders, dataset: Path, tmp_path: Path, encoded: list[int]
):
    output = tmp_path / "made"

    def failing(*_, **__):
        raise RuntimeError("the manifest cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(graph, "finish_dataset", failing)
        with pytest.raises(RunError, match="the manifest cannot be written"):
            make_dataset(folders, output)
    assert len(list(output.glob("depthmask-*"))) == 5
    before = {path: path.stat().st_mtime_ns for path in output.glob("depthmask-*")}
    encoded.clear()
    make_dataset(folders, output)
    assert encoded == []
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert file_bytes(output) == file_bytes(dataset)


def test_what_is_half_written_is_deleted(
    monkeypatch: pytest.MonkeyPatch, folders: InputFolders, tmp_path: Path
):
    output = tmp_path / "made"
    interrupt(monkeypatch, folders, output, after=7)
    work = output / "_unfinished"
    segment = next(work.rglob("*-n7-*.tfrecord"))
    attempt = "abcabcabcabc"
    for name in (
        f"depthmask-train.tfrecord-00000-of-00004.{attempt}.part",
        f"depthmask-train.tfrecord-00000-of-00004.{attempt}.part.{attempt}",  # composed
        f"0000000-n7-{attempt}.json.{attempt}.part",
        f"0000000-n7-{attempt}.tfrecord",
    ):
        (segment.parent / name).write_bytes(b"torn")
    Workspace(str(output)).delete_partial()
    assert not list(work.rglob(f"*{attempt}*"))
    assert len(list(work.rglob("*-n*.tfrecord"))) == len(list(work.rglob("*-n*.json"))) == 7


@pytest.mark.parametrize("suffix", ["tfrecord", "json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete"])
def test_a_damaged_segment_is_made_again(
    monkeypatch, folders: InputFolders, dataset: Path, tmp_path: Path, suffix: str, damage: str
):
    output = tmp_path / "made"
    interrupt(monkeypatch, folders, output, after=7)
    victim = sorted((output / "_unfinished").rglob(f"*-n7-*.{suffix}"))[2]
    data = bytearray(victim.read_bytes())
    if damage == "delete":
        victim.unlink()
    else:
        data[len(data) // 3] ^= 4
        changed = {"flip": data, "truncate": data[: len(data) // 2], "empty": b""}[damage]
        victim.write_bytes(changed)
    make_dataset(folders, output)
    assert file_bytes(output) == file_bytes(dataset)


def test_a_segment_far_into_a_large_shard_is_found_again(tmp_path: Path):
    key = ChunkKey(ShardKey("train", 0), 12_345_680, 80)
    store = ShardStore(str(tmp_path), str(tmp_path / "work"), "5d1c0a2b", {"train": (20_000_000,)})
    written = store.write_segment(EncodedChunk(key, b"records", "rows", Tally()))
    with beam.Pipeline(options=pipeline_options(ONE_WORKER)) as pipeline:
        found = pipeline | beam.Create([key.shard]) | FindFinishedWork(store, lambda _: [key])
        assert_that(found.made, equal_to([written]))
        assert_that(found.missing, equal_to([]), label="Nothing is missing")


def test_a_finished_dataset_is_left_as_it_is(
    folders: InputFolders, dataset: Path, tmp_path: Path, caplog, encoded: list[int]
):
    output = Path(shutil.copytree(dataset, tmp_path / "copy"))
    caplog.set_level(logging.INFO, "depthmask")
    make_dataset(folders, output)
    assert "nothing is left to do" in caplog.messages
    assert encoded == [] and file_bytes(output) == file_bytes(dataset)


def test_another_job_is_refused_and_harms_nothing(
    monkeypatch, folders: InputFolders, dataset: Path, tmp_path: Path
):
    output = tmp_path / "made"
    interrupt(monkeypatch, folders, output, after=3)
    before = file_bytes(output)
    with pytest.raises(UserError, match=r"recipe.image.quality: 90 → 80"):
        make_dataset(folders, output, "image.quality=80")
    other = draw_inputs(tmp_path / "others", backgrounds=5)
    with pytest.raises(UserError, match=r"inputs.backgrounds.tfrecord"):
        make_dataset(other, output)
    assert file_bytes(output) == before
    finished = Path(shutil.copytree(dataset, tmp_path / "finished"))
    with pytest.raises(UserError, match="a finished dataset of another job"):
        make_dataset(folders, finished, "seed=3")
    assert file_bytes(finished) == file_bytes(dataset)


def test_a_disk_without_room_is_refused_before_the_work(
    monkeypatch, folders: InputFolders, dataset: Path, tmp_path: Path
):
    begun, copy = tmp_path / "begun", Path(shutil.copytree(dataset, tmp_path / "copy"))
    interrupt(monkeypatch, folders, begun, after=7)
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1000))
    with pytest.raises(UserError, match=r"made: the dataset needs about .* kB .* 1.0 kB are free"):
        make_dataset(folders, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    with pytest.raises(UserError, match="Make room"):
        make_dataset(folders, copy, "placements.per_pair=9", restart=True)
    assert file_bytes(copy) == file_bytes(dataset)
    make_dataset(folders, begun)  # what is made already has its room


def test_restart_begins_anew_but_deletes_nothing_of_others(
    folders: InputFolders, dataset: Path, tmp_path: Path
):
    output = Path(shutil.copytree(dataset, tmp_path / "copy"))
    (output / "notes.txt").write_text("mine")
    make_dataset(folders, output, "seed=3", restart=True)
    expected = file_bytes(make_dataset(folders, tmp_path / "fresh", "seed=3"))
    assert file_bytes(output) == expected | {"notes.txt": b"mine"}


def test_a_folder_of_something_else_is_never_touched(folders: InputFolders, tmp_path: Path):
    output = tmp_path / "thesis"
    output.mkdir()
    (output / "chapter.tex").write_text("mine")
    for restart in (False, True):
        with pytest.raises(UserError, match=r"is not empty \(it holds chapter.tex\)"):
            make_dataset(folders, output, restart=restart)
    assert file_bytes(output) == {"chapter.tex": b"mine"}


def test_two_runs_on_one_folder_are_refused(folders: InputFolders, tmp_path: Path, monkeypatch):
    from pipeline.run import lock

    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.2)
    output = tmp_path / "made"
    with OutputLock(Workspace(str(output)).work_folder):
        before = set(file_bytes(output))
        with pytest.raises(UserError, match=r"another run .* is at work in this folder"):
            make_dataset(folders, output)
        assert set(file_bytes(output)) == before
    make_dataset(folders, output)


def test_a_lock_that_another_took_over_is_left_to_it(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("pipeline.run.lock.BEAT_SECONDS", 0.5)
    lock = OutputLock(str(tmp_path))
    with lock:
        path = tmp_path / "lock.json"
        (tmp_path / "theirs").write_text('{"token": "another run\'s"}')
        (tmp_path / "theirs").rename(path)
        lock._thread.join(timeout=60)  # it stops by itself
        assert not lock._thread.is_alive()
        assert "another" in path.read_text()
    assert "another" in path.read_text()


@pytest.mark.parametrize("host", ["this one", "another"])
def test_the_lock_of_a_dead_run_is_recognised(
    folders: InputFolders, tmp_path: Path, monkeypatch, host: str
):
    from pipeline.run import lock

    monkeypatch.setattr(lock, "DEAD_SECONDS", 2)
    output = tmp_path / "made"
    held = OutputLock(Workspace(str(output)).work_folder)
    left = held._identity | {"beat": 5, "pid": 2**22 + 1}  # no process has that number
    if host == "another":
        left["host"] = "elsewhere"
    path = output / "_unfinished" / "lock.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(left))
    make_dataset(folders, output)
    assert not (output / "_unfinished").exists()


@pytest.mark.parametrize("pid", [10**30, 2**31, 0, -1, "1", None])
def test_a_lock_with_an_absurd_process_number(tmp_path: Path, monkeypatch, pid: object):
    monkeypatch.setattr("pipeline.run.lock.DEAD_SECONDS", 0)
    monkeypatch.setattr("pipeline.run.lock._SETTLE_SECONDS", 0)
    lock = OutputLock(str(tmp_path))
    (tmp_path / "lock.json").write_text(json.dumps(lock._identity | {"pid": pid, "token": "other"}))
    with lock:
        lock.check()


def test_repair_makes_just_the_damaged_shards_again(
    dataset: Path, tmp_path: Path, encoded: list[int]
):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    missing, damaged = sorted(copy.glob("depthmask-train*"))[1:3]
    missing.unlink()
    data = bytearray(damaged.read_bytes())
    data[1000] ^= 1
    damaged.write_bytes(data)
    (copy / "index.csv").write_text("lost")
    (copy / "statistics.json").unlink()
    assert len(repair(str(copy), None, ONE_WORKER).shards) == 2
    assert sum(encoded) == 32
    assert file_bytes(copy) == file_bytes(dataset)


def test_an_interrupted_repair_can_be_called_again(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    next(copy.glob("depthmask-train*")).unlink()

    def failing(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ShardStore, "write_segment", failing)
        with pytest.raises(RunError, match="No space left"):
            repair(str(copy), None, ONE_WORKER)
    assert not (copy / "manifest.json").exists()
    assert len(repair(str(copy), None, ONE_WORKER).shards) == 1
    assert file_bytes(copy) == file_bytes(dataset)


def test_a_repair_that_was_killed_before_it_compared_is_compared_by_the_next(
    folders: InputFolders, dataset: Path, tmp_path: Path
):
    for again in (
        lambda copy: repair(str(copy), None, ONE_WORKER),
        lambda copy: make_dataset(folders, copy),
    ):
        copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
        promised = json.loads((copy / "manifest.json").read_text())
        promised["shards"][1]["crc32c"] = "00000000"
        (copy / "_unfinished").mkdir()
        (copy / "_unfinished" / "manifest-set-aside.json").write_text(json.dumps(promised))
        provenance = json.dumps(promised["provenance"])
        (copy / "_unfinished" / "provenance.json").write_text(provenance)
        with pytest.raises(RunError, match=r"came out otherwise than before: .*train.*-00001-of"):
            again(copy)
        again(copy)  # that was said
        assert file_bytes(copy) == file_bytes(dataset)
        shutil.rmtree(copy)


def test_a_dataset_of_nothing_is_not_made(dataset: Path, tmp_path: Path):
    """Where the depth model fails on every example, though not on those that it was tried on."""
    opened = open_dataset(dataset)
    left_out = Tally(left_out=(LeftOut("a", "NaN or infinite depth"),))
    entry = ShardEntry("train", 0, 1, 0, 0, 0, left_out)
    workspace = Workspace(str(tmp_path))
    workspace.write_provenance(opened.manifest.provenance.to_json())
    blank = dataclasses.replace(opened.manifest, files={}, shards=())
    description = DatasetDescription(str(tmp_path), opened.recipe, blank)
    with pytest.raises(RuntimeError, match="every example was left out: NaN or infinite depth"):
        finish_dataset(description, [Shard(entry.file, (), entry)], left_out)


def test_an_interrupted_restart_is_never_taken_for_a_run(
    folders: InputFolders, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))

    def failing(paths):
        os.remove(next(iter(paths)))  # the manifest, and no more
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.run.workspace.delete_files", failing)
        with pytest.raises(RunError, match="Input/output error"):
            make_dataset(folders, copy, "seed=3", restart=True)
    assert not (copy / "manifest.json").exists() and (copy / "index.csv").exists()
    with pytest.raises(UserError, match="an unfinished dataset of another job"):
        make_dataset(folders, copy)
    make_dataset(folders, copy, restart=True)
    assert file_bytes(copy) == file_bytes(dataset)


def test_what_cannot_be_repaired_is_said(dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    (copy / "foregrounds.tfrecord").write_bytes(b"lost")
    before = file_bytes(copy)
    with pytest.raises(UserError, match=r"foregrounds.tfrecord is missing or damaged"):
        repair(str(copy), None, ONE_WORKER)
    assert file_bytes(copy) == before
    with pytest.raises(UserError, match="not a finished dataset"):
        repair(str(tmp_path), None, ONE_WORKER)


def test_a_chunk_that_is_made_twice_is_there_once(
    folders: InputFolders, dataset: Path, tmp_path: Path
):
    """Beam may run any bundle again: --direct_runner_bundle_repeat does."""
    options = (*ONE_WORKER, "--direct_runner_bundle_repeat=2")
    assert file_bytes(make_dataset(folders, tmp_path / "made", options=options)) == file_bytes(
        dataset
    )


def test_a_shard_that_is_found_finished_and_in_parts_comes_out_once():
    """A runner that looks for finished work again after a loss may report both."""
    key = ShardKey("train", 0)
    store = ShardStore("out", "out/_unfinished", "5d1c0a2b", {"train": (7,)})
    name, written = store.shard_name(key), WrittenFile("gone", 70, 1)
    shard = Shard(name, (written, written), ShardEntry("train", 0, 1, 7, 70, 1, Tally()))
    segment = Segment(name, 0, (written,), ChunkKey(key, 0, 7), Tally())
    with beam.Pipeline(options=pipeline_options(ONE_WORKER)) as pipeline:
        parts = pipeline | beam.Create([segment, shard, segment, shard])
        assert_that(parts | JoinParts(store), equal_to([shard]))
