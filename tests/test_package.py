"""What `setup.py sdist` makes holds all that a worker needs: --setup_file has it installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from importlib.metadata import distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]

# What a worker does: it unpickles steps that the launcher has pickled, and runs them.
WORKER = """
import sys
from pathlib import Path

from apache_beam.internal import pickler

import pipeline.graph
from pipeline.recipes import load_recipe

assert Path(pipeline.graph.__file__).is_relative_to(sys.prefix), pipeline.graph.__file__
plan = pickler.loads(Path(sys.argv[1]).read_bytes())
assert load_recipe("default", []).name == "default"
key = next(plan.chunk_keys(plan.shard_keys()[0]))
print(*(placement.id for placement in plan.chunk(key).placements))
"""

PLAN = """
import sys
from pathlib import Path

from apache_beam.internal import pickler

from pipeline.plan import Plan
from pipeline.recipes import load_recipe
from transforms.prepared import PreparedPicture

pictures = tuple(PreparedPicture(f"p{i}", 20, 20, 0, 0) for i in range(3))
plan = Plan(load_recipe("default", []), pictures, pictures)
Path(sys.argv[1]).write_bytes(pickler.dumps(plan))
key = next(plan.chunk_keys(plan.shard_keys()[0]))
print(*(placement.id for placement in plan.chunk(key).placements))
"""


def test_the_source_package_runs_without_the_checkout(tmp_path: Path):
    def run(*command: str, **variables: str) -> str:
        done = subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": "", **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(
        *(
            sys.executable,
            "-c",
            "import os, runpy, sys; os.chdir(sys.argv.pop(1)); "
            "sys.argv[0] = 'setup.py'; runpy.run_path('setup.py')",
        ),
        *(str(ROOT), "-q", "egg_info", "-e", str(tmp_path), "sdist", "-d", str(tmp_path)),
    )
    (package,) = tmp_path.glob("depthmask-*.tar.gz")
    # Its requirements are those of this environment: only the project is installed anew.
    venv.create(tmp_path / "worker", symlinks=True, with_pip=False)
    python = str(tmp_path / "worker" / "bin" / "python")
    (site,) = (tmp_path / "worker").glob("lib/python*/site-packages")
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--target", str(site), str(package)),
    )
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "requirements.pth").write_text(here + "\n")
    pickled = str(tmp_path / "plan")
    planned = run(sys.executable, "-c", PLAN, pickled, PYTHONPATH=str(ROOT))
    assert run(python, "-c", WORKER, pickled) == planned
    assert "p0+p" in planned or "p1+p" in planned
    # The package's page, which has no files beside it.
    (installed,) = distributions(path=[str(site)])
    links = re.findall(r"\]\(([^)]*)\)", str(installed.metadata.get_payload()))
    assert links and all(link.startswith("https://") for link in links)


WITHOUT_GOOGLE_CLOUD = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    ONLY_BY_THE_EXTRA = (
        "apitools", "google_auth_httplib2", "google.cloud.dataflow", "google.cloud.bigquery"
    )

    def find_spec(self, name, path, target=None):
        if name in self.ONLY_BY_THE_EXTRA:
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Missing())
from importlib import util

finder = util.find_spec
util.find_spec = lambda name: None if name in Missing.ONLY_BY_THE_EXTRA else finder(name)

from pipeline.cli import main
from depthmask.errors import UserError
import pipeline.graph, pipeline.export.graph, pipeline.run.submit

folders = ["--backgrounds=here", "--foregrounds=there"]
for arguments in (
    ["generate", *folders, "--output=gs://bucket/out"],
    ["plan", *folders, "--depth-model=onnx:gs://bucket/model.onnx"],
    ["plan", *folders, "--runner=DataflowRunner", "--project=p"],
    ["verify", "gs://bucket/dataset"],
):
    assert main(arguments) == 2
"""


def test_without_the_extra_for_google_cloud_only_what_needs_it_is_refused():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_GOOGLE_CLOUD], check=True, capture_output=True, text=True
    )
    said = done.stderr.splitlines()
    refused = [line.partition(": needs packages for Google Cloud") for line in said]
    assert [what for what, _, remedy in refused if "'depthmask[gcp]'" in remedy] == [
        "depthmask: gs://bucket/out",
        "depthmask: gs://bucket/model.onnx",
        "depthmask: DataflowRunner",
        "depthmask: gs://bucket/dataset",
    ]
    assert len(refused) == 4  # and not a word more


def test_the_extra_for_tensorflow_io_can_be_had():
    """What its pinned set holds, depthmask's own ranges allow."""
    lines = (ROOT / "requirements-tensorflow-io.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    ranges = [
        requirement
        for requirement in map(Requirement, requires("depthmask") or ())
        if requirement.marker is None or requirement.marker.evaluate({"extra": "tensorflow-io"})
    ]
    for pin in pins:
        (version,) = (specifier.version for specifier in pin.specifier)
        mine = [requirement for requirement in ranges if requirement.name == pin.name]
        assert mine and all(requirement.specifier.contains(version) for requirement in mine)
