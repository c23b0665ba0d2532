"""Every command and program in the README works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from pipeline.recipes import load_recipe
from tests.conftest import ROOT, TORCH

README = ROOT / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_readme_works_from_top_to_bottom(tmp_path: Path):
    # depthmask is beside the interpreter, wherever the environment is.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = []
    for language, text in BLOCK.findall(README.read_text("utf-8")):
        if language == "yaml":
            name = re.match(r"# (\S+\.yaml)\n", text)[1]
            (tmp_path / name).write_text(text)
            if name != "publish.yaml":  # which a command reads
                load_recipe(str(tmp_path / name))
            continue
        if language == "console":  # make's targets: .ci/run calls them; training: test_examples
            continue
        python = TORCH if text.startswith("# with PyTorch\n") else Path(sys.executable)
        if not python.exists():
            continue
        command = {"sh": ["sh", "-e", "-c", text], "python": [str(python), "-c", text]}[language]
        done = subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        ran.append(language)
    assert ran.count("sh") >= 4 and ran.count("python") == 4 + TORCH.exists()
    assert "license: cc-by-4.0" in (tmp_path / "dataset-hub" / "README.md").read_text("utf-8")
    assert (tmp_path / "sheet.png").exists() and (tmp_path / "small" / "manifest.json").exists()
