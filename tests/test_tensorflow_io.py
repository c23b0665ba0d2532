"""Reading from s3:// through tensorflow-io, in its own environment, from a local S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import depthmask
from tests.cloud_storage import S3_SERVER, s3_storage
from tests.conftest import file_bytes

ROOT = Path(__file__).parents[1]
# An environment of requirements-tensorflow-io.txt.
ENVIRONMENT = Path(os.environ.get("TENSORFLOW_IO", ROOT / ".tensorflow-io")) / "bin" / "python"

needs_environment = pytest.mark.skipif(
    not ENVIRONMENT.exists(), reason="needs tensorflow-io's environment: make .tensorflow-io/.ready"
)

# Every tensor of both splits, as one checksum.
READ = """
import hashlib, os, sys
import depthmask
import tensorflow as tf

digest, counts = hashlib.sha256(), {"train": 0, "test": 0}
for split in ("train", "test"):
    for example in depthmask.load(sys.argv[1], split, background_image=True):
        counts[split] += 1
        for name in sorted(example):
            digest.update(tf.io.serialize_tensor(example[name]).numpy())
print(counts, digest.hexdigest(), flush=True)
os._exit(0)  # tensorflow-io's S3 file system aborts as a process ends by itself
"""


@pytest.fixture(scope="module")
def s3(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server that holds the dataset as ``s3://bucket/made``."""
    content = {f"made/{name}": data for name, data in file_bytes(dataset).items()}
    with s3_storage(tmp_path_factory.mktemp("s3"), content) as address:
        yield address


def read(path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ENVIRONMENT), "-c", READ, path],
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"} | variables,
        capture_output=True,
        text=True,
    )


@needs_environment
@pytest.mark.skipif(S3_SERVER is None, reason="needs moto[server], of requirements-dev.txt")
def test_a_dataset_is_read_from_s3(s3: str, dataset: Path):
    account = {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_REGION": "us-east-1",
        "S3_ENDPOINT": s3,
    }
    remote, local = read("s3://bucket/made", **account), read(str(dataset))
    assert remote.returncode == 0, remote.stderr
    assert "'train': 65" in remote.stdout and remote.stdout == local.stdout
    nothing = read("s3://bucket/none", **account)
    assert "s3://bucket/none is not a finished depthmask dataset" in nothing.stderr


def test_without_tensorflow_io_the_command_is_said():
    with pytest.raises(depthmask.DatasetError, match=r"pip install -r requirements-tensorflow-io"):
        depthmask.load("s3://bucket/made", "train")


@needs_environment
def test_under_another_tensorflow_the_command_is_said(tmp_path: Path):
    (package,) = ENVIRONMENT.parents[1].glob("lib/python*/site-packages/tensorflow_io")
    (tmp_path / "tensorflow_io").symlink_to(package)
    done = subprocess.run(
        [sys.executable, "-c", 'import depthmask; depthmask.load("s3://bucket/made", "train")'],
        check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
    )
    assert "tensorflow-io does not load under TensorFlow 2.21" in done.stderr
    assert "pip install -r requirements-tensorflow-io.txt" in done.stderr
