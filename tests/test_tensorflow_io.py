"""Reading from s3:// through tensorflow-io, in its own environment, from a local S3 server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import depthmask
from tests.conftest import file_bytes

ROOT = Path(__file__).parents[1]
# An environment of requirements-tensorflow-io.txt.
ENVIRONMENT = Path(os.environ.get("TENSORFLOW_IO", ROOT / ".tensorflow-io")) / "bin" / "python"
SERVER = os.environ.get("MOTO_SERVER") or shutil.which(
    "moto_server", path=str(Path(sys.executable).parent)
)

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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path_factory.mktemp("s3") / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [str(SERVER), "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    address = f"127.0.0.1:{port}"
    try:
        _put(f"http://{address}/bucket", b"", tries=300)
        for name, data in file_bytes(dataset).items():
            _put(f"http://{address}/bucket/made/{name}", data)
        yield address
    finally:
        server.kill()
        server.wait()


def _put(url: str, data: bytes, tries: int = 1) -> None:
    # moto looks at no signature, but wants to see one.
    sign = "AWS4-HMAC-SHA256 Credential=any/20200101/us-east-1/s3/aws4_request, Signature=any"
    request = urllib.request.Request(
        url, data, {"Authorization": sign, "Content-Type": "application/octet-stream"}, method="PUT"
    )
    while True:
        try:
            urllib.request.urlopen(request).close()
            return
        except urllib.error.URLError:
            tries -= 1
            if tries < 1:
                raise
            time.sleep(0.1)


def read(path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ENVIRONMENT), "-c", READ, path],
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"} | variables,
        capture_output=True,
        text=True,
    )


@needs_environment
@pytest.mark.skipif(SERVER is None, reason="needs moto[server], of requirements-dev.txt")
def test_a_dataset_is_read_from_s3(s3: str, dataset: Path):
    account = {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_REGION": "us-east-1",
        "S3_ENDPOINT": f"http://{s3}",
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
