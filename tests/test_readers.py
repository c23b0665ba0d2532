"""What other readers make of our files is, pixel for pixel, what `depthmask.load` gives."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

import depthmask

ROOT = Path(__file__).parents[1]
# An environment of requirements-torch.txt.
TORCH = Path(os.environ.get("TORCH", ROOT / ".torch")) / "bin" / "python"
needs_torch = pytest.mark.skipif(
    not TORCH.exists(), reason="needs PyTorch's environment: make .torch/.ready"
)

Digests = dict[str, str]


@pytest.fixture(scope="module")
def expected(with_depth: Path) -> Digests:
    """By id, a digest of image, mask and depth as `depthmask.load` gives them."""
    examples = depthmask.load(with_depth, "train").as_numpy_iterator()
    return {
        example["id"].decode(): hashlib.sha256(
            b"".join(example[kind].tobytes() for kind in ("image", "mask", "depth"))
        ).hexdigest()
        for example in examples
    }


def read_by(python: Path, script: str, *arguments: object) -> dict[str, Digests]:
    done = subprocess.run(
        [str(python), str(ROOT / "tests" / "readers" / script), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_torch
def test_pytorch_reads_what_load_gives(with_depth: Path, expected: Digests):
    read = read_by(TORCH, "by_torch.py", with_depth, "train")
    assert read == {"torch by number": expected, "torch stream": expected}
