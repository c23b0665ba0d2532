"""The graph on Prism, Beam's portable local runner: a runner with rules of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pipeline.inputs import InputFolders
from tests.conftest import file_bytes, make_dataset

# Where `make parts` builds it.
BUILT = Path(__file__).parents[1] / ".prism" / "prism"
PRISM = os.environ.get("PRISM") or shutil.which("prism") or (str(BUILT) if BUILT.exists() else None)


@pytest.mark.skipif(not PRISM, reason="needs Beam's prism binary: make .prism/prism")
def test_prism_makes_the_same_bytes(folders: InputFolders, dataset: Path, tmp_path: Path):
    options = ("--runner=PrismRunner", f"--prism_location={PRISM}")
    made = make_dataset(folders, tmp_path / "prism", options=options)
    assert file_bytes(made) == file_bytes(dataset)


@pytest.mark.skipif(not PRISM, reason="needs Beam's prism binary: make .prism/prism")
def test_prism_makes_the_same_depth(folders: InputFolders, tmp_path: Path):
    size = ("canvas.width=64", "canvas.height=64", "placements.per_pair=1")
    one = make_dataset(folders, tmp_path / "one", *size, depth_model="builtin")
    options = ("--runner=PrismRunner", f"--prism_location={PRISM}")
    made = make_dataset(folders, tmp_path / "prism", *size, depth_model="builtin", options=options)
    assert file_bytes(made) == file_bytes(one)
