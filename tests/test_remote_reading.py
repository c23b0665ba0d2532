"""depthmask.open on S3, from a server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import depthmask
from tests.cloud_storage import S3_SERVER, s3_storage
from tests.conftest import file_bytes


@pytest.fixture
def on_s3(with_depth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("s3fs")
    if S3_SERVER is None:
        pytest.skip("needs moto[server], of requirements-dev.txt")
    content = {f"made/{name}": data for name, data in file_bytes(with_depth).items()}
    with s3_storage(tmp_path, content) as url:
        account = {"ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any", "REGION": "us-east-1"}
        for name, value in {**account, "ENDPOINT_URL": url}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield "s3://bucket/made"


def test_examples_are_those_of_the_folder(on_s3: str, with_depth: Path):
    remote, local = depthmask.open(on_s3), depthmask.open(with_depth)
    assert remote.splits == local.splits and remote.manifest == local.manifest
    for split in local.splits:
        examples, expected = remote.examples(split), local.examples(split)
        assert len(examples) == len(expected)
        for one, other in zip(examples, expected, strict=True):
            assert all(np.array_equal(one[name], other[name]) for name in other)
        assert np.array_equal(examples[3]["depth"], expected[3]["depth"])
    with pytest.raises(depthmask.DatasetError, match="none"):
        depthmask.open(on_s3.replace("made", "none"))
