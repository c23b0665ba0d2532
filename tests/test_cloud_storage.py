"""Inputs, models and datasets in Cloud Storage: an emulator of it, and faults injected."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import keras
import numpy as np
import onnx
import pytest
from apache_beam.io.filesystems import FileSystems

import depthmask
from depthmask.errors import RunError, UserError
from depthmask.tally import Tally
from pipeline.export import export_dataset
from pipeline.inputs import InputFolders
from pipeline.recipes import load_recipe
from pipeline.repair import repair
from pipeline.run.lock import OutputLock
from pipeline.run.options import pipeline_options
from pipeline.verify import verify_dataset
from tests.cloud_storage import EMULATOR, FaultyProxy, cloud_storage
from tests.conftest import ONE_WORKER, file_bytes, make_dataset
from transforms.depth import DepthModel, PictureSize, parse_model
from transforms.depth.model import DepthStage
from transforms.elements import ChunkKey, EncodedChunk, Shard, ShardKey
from transforms.io import files, gcs
from transforms.io.files import WrittenFile, join_files, list_files, read_file, write_file
from transforms.parts import PROVENANCE, provenance_checksum
from transforms.prepared import PreparedInputs, PreparedSource
from transforms.segments import ShardStore

pytestmark = pytest.mark.skipif(
    not EMULATOR, reason="needs an emulator of Cloud Storage: make .gcs/fake-gcs-server"
)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    with (
        cloud_storage(tmp_path_factory.mktemp("gcs")) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in proxy.environment.items():
            patch.setenv(name, value)
        yield proxy


@pytest.fixture
def storage(proxy: FaultyProxy) -> Iterator[FaultyProxy]:
    yield proxy
    proxy.rate = 0.0


def upload(folder: str, remote: str) -> str:
    for path, data in file_bytes(Path(folder)).items():
        write_file(f"{remote}/{path}", [data])
    return remote


def remote_bytes(folder: str) -> dict[str, bytes]:
    return {
        file.path.removeprefix(f"{folder}/"): read_file(file.path) for file in list_files(folder)
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    picture = keras.Input((None, None, 3))
    depth = keras.layers.Conv2D(1, 2, strides=2, activation="softplus")(picture)
    path = str(tmp_path_factory.mktemp("model") / "model.keras")
    keras.Model(picture, depth).save(path)
    return f"keras:{path}"


@pytest.fixture(scope="module")
def remote(proxy: FaultyProxy, folders: InputFolders) -> InputFolders:
    """The inputs, in a folder that no pattern would find."""
    return InputFolders(
        upload(folders.backgrounds, "gs://bucket/inputs [1]/backgrounds"),
        upload(folders.foregrounds, "gs://bucket/inputs [1]/foregrounds"),
    )


def test_a_dataset_is_made_read_and_verified_where_it_is(
    storage: FaultyProxy,
    folders: InputFolders,
    remote: InputFolders,
    model: str,
    tmp_path: Path,
):
    expected = file_bytes(make_dataset(folders, tmp_path / "made", depth_model=model))
    write_file("gs://bucket/model.keras", [Path(model.removeprefix("keras:")).read_bytes()])
    made = "gs://bucket/made"
    make_dataset(remote, made, depth_model="keras:gs://bucket/model.keras")
    assert remote_bytes(made) == expected
    assert [check for check in verify_dataset(made) if check.problems] == []
    read, local = (depthmask.load(str(path), "train") for path in (made, tmp_path / "made"))
    for one, other in zip(read, local, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in other)
    for path in (made, str(tmp_path / "made")):
        write_file(f"{path}/publish.yaml", [b"licence: MIT\n"])
        depthmask.card(path)
    assert remote_bytes(made) == file_bytes(tmp_path / "made")
    assert b"licence of the dataset: MIT" in read_file(f"{made}/README.md")


def test_a_model_comes_with_the_weights_beside_it(storage: FaultyProxy, tmp_path: Path):
    graph = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[N,H,W,3] x) => (float[N,H,W] d)'
        "<int64[1] axes = {3}> { grey = ReduceMean<keepdims=0>(x, axes) d = Add(grey, weight) }"
    )
    weight = np.random.default_rng(1).random((8, 8), np.float32)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    (tmp_path / "net").mkdir()
    onnx.save_model(
        graph,
        tmp_path / "net" / "m.onnx",
        save_as_external_data=True,
        location="weights_1",
        size_threshold=0,
    )
    assert weight.tobytes() in (tmp_path / "net" / "weights_1").read_bytes()
    remote = upload(str(tmp_path / "net"), "gs://bucket/net")
    models = [parse_model(f"onnx:{folder}/m.onnx") for folder in (tmp_path / "net", remote)]
    depth = load_recipe("default", ["depth.model.output=depth"]).depth
    pictures = np.full((2, 8, 8, 3), 51, np.uint8)
    canvas = PictureSize(width=8, height=8)
    made = [DepthStage.of(model, depth, canvas).load().predict(pictures) for model in models]
    np.testing.assert_allclose(made[1], weight + np.float32(0.2) * np.ones((2, 8, 8)), rtol=1e-5)
    np.testing.assert_array_equal(*made)
    whole = models[1].identity()
    write_file(f"{remote}/weights_1", [weight[::-1].tobytes()])
    assert models[1].identity() != whole


def test_pictures_are_read_there_once_and_then_from_a_copy(storage: FaultyProxy, dataset: Path):
    there = upload(str(dataset), "gs://bucket/pictures")
    source = PreparedSource.of_dataset(there)
    inputs, local = PreparedInputs(source), PreparedInputs(PreparedSource.of_dataset(str(dataset)))
    first, *others = [picture.name for picture in source.backgrounds]
    inputs.background(first)
    files.delete_files([source.backgrounds_path])
    for name in others:
        assert inputs.background(name).tobytes() == local.background(name).tobytes()


@pytest.mark.parametrize(
    ("layout", "made"),
    [("webdataset", "dataset"), ("folder", "dataset"), ("office", "with_depth")],
)
def test_an_export_is_the_same_there(
    storage: FaultyProxy, tmp_path: Path, layout: str, made: str, request: pytest.FixtureRequest
):
    dataset = request.getfixturevalue(made)
    export_dataset(dataset, tmp_path / "local", layout, ONE_WORKER)
    there = upload(str(dataset), f"gs://bucket/for {layout}")
    storage.random, storage.rate = random.Random(3), 0.01
    output = f"gs://bucket/exported {layout}"
    for _ in range(5):
        try:
            export_dataset(there, output, layout, ONE_WORKER)
            break
        except RunError as error:
            assert "\n" not in str(error)
    storage.rate = 0.0
    assert remote_bytes(output) == file_bytes(tmp_path / "local")


def test_throttling_errors_and_broken_uploads_cost_no_byte(
    storage: FaultyProxy, remote: InputFolders, dataset: Path
):
    storage.random, storage.rate = random.Random(5), 0.1
    for _ in range(5):
        try:
            make_dataset(remote, "gs://bucket/faulty")
            break
        except RunError as error:  # the emulator forgets a session whose last answer was lost
            assert "\n" not in str(error)
    storage.rate = 0.0
    # Which requests meet which fault is chance; one of the rarer two may meet none.
    assert len(set(storage.faults)) >= 3
    assert remote_bytes("gs://bucket/faulty") == file_bytes(dataset)


def test_an_interrupted_run_goes_on(
    storage: FaultyProxy,
    folders: InputFolders,
    remote: InputFolders,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    expected = file_bytes(make_dataset(folders, tmp_path / "made", depth_model=model))
    calls = []
    original = DepthModel.predict

    def failing(self, images):
        calls.append(len(images))
        if len(calls) == 5:
            raise RuntimeError("the model has had enough")
        return original(self, images)

    monkeypatch.setattr(DepthModel, "predict", failing)
    output = "gs://bucket/interrupted"
    with pytest.raises(RunError, match="the model has had enough"):
        make_dataset(remote, output, depth_model=model)
    make_dataset(remote, output, depth_model=model)
    assert len(calls) == 13 + 1
    assert remote_bytes(output) == expected


def test_a_repair_reads_no_shard(storage: FaultyProxy, dataset: Path):
    there = upload(str(dataset), "gs://bucket/damaged")
    first, second, *_ = sorted(path.name for path in dataset.glob("depthmask-train*"))
    files.delete_files([f"{there}/{first}"])
    data = bytearray((dataset / second).read_bytes())
    data[1000] ^= 1
    write_file(f"{there}/{second}", [bytes(data)])
    storage.downloads.clear()
    assert len(repair(there, None, ONE_WORKER).shards) == 2
    assert "damaged/manifest.json" in storage.downloads
    assert not [name for name in storage.downloads if "damaged/depthmask-" in name]
    assert remote_bytes(there) == file_bytes(dataset)


def test_a_missing_bucket_and_a_missing_folder_are_said(storage: FaultyProxy, remote):
    with pytest.raises(UserError, match=r"gs://nowhere/made: cannot be read: .* no such object"):
        make_dataset(remote, "gs://nowhere/made")
    with pytest.raises(UserError, match="gs://bucket/none: there are no pictures in it"):
        make_dataset(InputFolders("gs://bucket/none", remote.foregrounds), "gs://bucket/other")


def test_connections_are_kept_and_the_bucket_is_asked_for_once(storage: FaultyProxy):
    paths = [f"gs://bucket/many/{i:02d}" for i in range(48)]
    write_file(paths[0], [b"0"])  # a first connection, and the bucket
    storage.requests.clear()
    storage.connections = 0
    for i, path in enumerate(paths):
        write_file(path, [b"%d" % i])
        files.stored_checksum(path)
    assert list(files.read_files(paths)) == [b"%d" % i for i in range(48)]
    # A read asks for the object's size, and then for its bytes.
    assert storage.requests["POST"] == 48
    assert 48 + 2 * 48 <= storage.requests["GET"] <= 48 + 2 * 48 + 1
    assert storage.connections <= 16 + 1


def test_of_many_files_what_is_there_is_deleted(storage: FaultyProxy, tmp_path: Path):
    paths = [f"gs://bucket/gone [1]/{i:02d}" for i in range(40)] + [str(tmp_path / "local")]
    for path in paths[::2]:
        write_file(path, [b"data"])
    write_file("gs://bucket/gone [1]/kept", [b"data"])
    files.delete_files(paths)
    assert [file.name for file in list_files("gs://bucket/gone [1]")] == ["kept"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="gs://nowhere"):
        list(files.read_files(["gs://bucket/gone [1]/kept", "gs://nowhere/file"]))


def test_only_what_lies_right_in_the_output_is_listed(storage: FaultyProxy):
    output = "gs://bucket/names [1]"
    for name in (
        "index.csv",
        "_unfinished/provenance.json",
        "_unfinished/5d1c-train/finished.json",
        "",
    ):
        write_file(f"{output}/{name}", [b"{}"])
    write_file("gs://bucket/names [1]b/other", [b"{}"])
    assert (
        files.list_names(output) == files.list_names(f"{output}/") == {"index.csv", "_unfinished"}
    )
    assert files.list_names("gs://bucket/names") == set()
    with pytest.raises(FileNotFoundError):
        files.list_names("gs://nowhere/names")


def test_joining_takes_the_index_rows_in_order(storage: FaultyProxy):
    key = ShardKey("train", 0)
    work = "gs://bucket/in order/work"
    store = ShardStore("gs://bucket/in order", work, provenance_checksum({}), {"train": (40,)})
    write_file(f"{work}/{PROVENANCE}", [b"{}"])
    segments = [
        store.write_segment(
            EncodedChunk(ChunkKey(key, i, 1), b"record %d" % i, f"row {i}\n", Tally())
        )
        for i in range(40)
    ]
    shard = store.finish_file(store.shard_name(key), reversed(segments))
    assert isinstance(shard, Shard)
    assert read_file(shard.index_path).decode() == "".join(f"row {i}\n" for i in range(40))
    assert read_file(shard.written[0].path) == b"".join(b"record %d" % i for i in range(40))
    left = {file.name for file in list_files(store.work_folder)}
    assert left == {"finished.csv", "finished.json", PROVENANCE}


def test_another_emulator_or_other_options_are_followed(
    storage: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = "gs://bucket/somewhere"
    write_file(path, [b"here"])
    with cloud_storage(tmp_path) as other, monkeypatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", other.url)
        assert not files.exists(path)
        write_file(path, [b"there"])
        assert read_file(path) == b"there"
    assert read_file(path) == b"here"
    monkeypatch.setattr(FileSystems, "_pipeline_options", pipeline_options(("--project=other",)))
    assert gcs._access.to(path).client.project == "other"
    assert read_file(path) == b"here"


def test_joining_moves_no_bytes(storage: FaultyProxy):
    parts = []
    for i in range(70):  # three stages' worth: 70 → 3 → 1
        data = bytes([i]) * 50_000
        path = f"gs://bucket/parts/{i:02d}"
        parts.append(WrittenFile(path, len(data), write_file(path, [data])))
    before = storage.sent_bytes
    crc = join_files(parts, "gs://bucket/joined/whole")
    assert storage.sent_bytes - before < 50_000
    whole = read_file("gs://bucket/joined/whole")
    assert whole == b"".join(bytes([i]) * 50_000 for i in range(70))
    assert crc == google_crc32c.value(whole)
    assert [file.name for file in list_files("gs://bucket/joined")] == ["whole"]
    write_file(parts[40].path, [b"x" * 50_000])
    with pytest.raises(ValueError, match="not the bytes that were written"):
        join_files(parts, "gs://bucket/joined/whole")


def test_one_lock_for_those_who_come_at_once(storage: FaultyProxy):
    held, refused = [], []

    def take() -> None:
        try:
            with OutputLock("gs://bucket/locked"):
                held.append(threading.current_thread())
                everyone_tried.wait(60)
        except UserError as error:
            refused.append(str(error))
            if len(refused) == 3:
                everyone_tried.set()

    everyone_tried = threading.Event()
    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1 and len(refused) == 3
    assert "another run" in refused[0]
    assert not files.exists("gs://bucket/locked/lock.json")


def test_a_lock_that_another_took_over_is_left_to_it(storage: FaultyProxy):
    path = "gs://bucket/taken/lock.json"
    with OutputLock("gs://bucket/taken"):
        write_file(path, [b"another's"])
    assert read_file(path) == b"another's"


def test_a_conditional_write_whose_answer_is_lost_counts(storage: FaultyProxy):
    path = "gs://bucket/conditional"
    storage.random, storage.rate, storage.faults["lost answer"] = random.Random(1), 0.5, 0
    generation = 0
    for i in range(6):
        generation = gcs.write_generation(path, b"%d" % i, generation)
    storage.rate = 0.0
    assert storage.faults["lost answer"]
    assert gcs.read_generation(path) == (b"5", generation)
    with pytest.raises(FileExistsError):
        gcs.write_generation(path, b"late", generation - 1)
