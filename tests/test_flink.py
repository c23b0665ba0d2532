"""The graph on an Apache Flink cluster: the same bytes, and with a TaskManager killed besides."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import pytest

from pipeline.inputs import InputFolders
from scenes import write_samples
from tests.conftest import file_bytes, make_dataset
from tests.flink.cluster import FlinkCluster, missing_parts

pytestmark = pytest.mark.skipif(bool(missing_parts()), reason=missing_parts())

# 1,200 examples in 120 chunks: long enough to be interrupted.
SETTINGS = (
    *("canvas.width=64", "canvas.height=64", "placements.per_pair=50"),
    *("shards.examples=200", "shards.chunk=10"),
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    with FlinkCluster(tmp_path_factory.mktemp("flink")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> InputFolders:
    """Drawn ones, or those in the folder that FLINK_INPUTS names."""
    folder = os.environ.get("FLINK_INPUTS")
    if folder is None:
        folder = str(tmp_path_factory.mktemp("inputs") / "samples")
        write_samples(Path(folder), 4, 3, 64, seed=0)
    return InputFolders(f"{folder}/backgrounds", f"{folder}/foregrounds")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    picture = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(picture)
    depth = keras.layers.Conv2D(1, 3, padding="same", activation="softplus")(features)
    path = str(tmp_path_factory.mktemp("model") / "model.keras")
    keras.Model(picture, depth).save(path)
    return f"keras:{path}"


@pytest.fixture(scope="module")
def expected(
    pictures: InputFolders, model: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What a run on this machine makes."""
    output = tmp_path_factory.mktemp("local") / "dataset"
    return file_bytes(make_dataset(pictures, output, *SETTINGS, depth_model=model, options=()))


def test_flink_makes_the_same_bytes(
    cluster: FlinkCluster,
    pictures: InputFolders,
    model: str,
    expected: dict[str, bytes],
    tmp_path: Path,
):
    output = tmp_path / "made"
    make_dataset(pictures, output, *SETTINGS, depth_model=model, options=cluster.options)
    assert cluster.jobs()[-1]["state"] == "FINISHED"
    assert file_bytes(output) == expected


def test_a_task_manager_that_is_killed_costs_a_restart_and_no_byte(
    cluster: FlinkCluster,
    pictures: InputFolders,
    model: str,
    expected: dict[str, bytes],
    tmp_path: Path,
):
    output = tmp_path / "made"
    jobs = len(cluster.jobs())

    def kill() -> tuple[list[int], int]:
        deadline = time.monotonic() + 120
        while len(segments := list(output.glob("_unfinished/*/*-n*.json"))) < 10:
            assert time.monotonic() < deadline, "no segments came"
            time.sleep(0.02)
        return cluster.kill_task_manager(0), len(segments)

    with ThreadPoolExecutor(1) as executor:
        killing = executor.submit(kill)
        make_dataset(pictures, output, *SETTINGS, depth_model=model, options=cluster.options)
        workers, segments = killing.result()
    assert workers and segments < 60  # in the middle, with its Python workers
    assert len(cluster.jobs()) == jobs + 1  # Flink's restart, not another run of ours
    job = cluster.jobs()[-1]
    assert job["state"] == "FINISHED"
    assert cluster.failures(job["jid"])
    assert file_bytes(output) == expected
