"""Datasets on S3, read where they are, from a server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import depthmask
from tests.cloud_storage import S3_SERVER, s3_storage
from tests.conftest import TORCH, file_bytes, needs_torch
from tests.test_readers import digests, read_by


@pytest.fixture
def on_s3(with_depth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if S3_SERVER is None:
        pytest.skip("needs moto[server], of requirements-dev.txt")
    content = {f"made/{name}": data for name, data in file_bytes(with_depth).items()}
    with s3_storage(tmp_path, content) as url:
        account = {"ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any", "REGION": "us-east-1"}
        for name, value in {**account, "ENDPOINT_URL": url}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield "s3://bucket/made"


@needs_torch
def test_examples_are_those_of_the_folder(on_s3: str, with_depth: Path):
    expected = digests(depthmask.open(with_depth).examples("test"))
    read = read_by(TORCH, "by_open.py", on_s3, "test")
    assert read == {"in order": expected, "by number": expected}
