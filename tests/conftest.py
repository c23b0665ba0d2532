"""Small inputs and a small dataset that tests share."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.generate import generate
from pipeline.inputs import InputFolders
from pipeline.request import Request
from pipeline.verify import shards
from tests.forger import Forger

ROOT = Path(__file__).parents[1]
# An environment of requirements-torch.txt, where there is one.
TORCH = Path(os.environ.get("TORCH", ROOT / ".torch")) / "bin" / "python"
needs_torch = pytest.mark.skipif(
    not TORCH.exists(), reason="needs PyTorch's environment: make .torch/.ready"
)
SMALL = (
    *("canvas.width=48", "canvas.height=40", "placements.per_pair=3"),
    *("shards.examples=20", "shards.chunk=7"),
)
ONE_WORKER = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


def pytest_configure() -> None:
    """What runs in the background of a shell ignores Ctrl-C, and so would what tests start."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Where REQUIRE_PARTS is set, a test that is skipped because it needs something has failed."""
    report = yield
    if os.environ.get("REQUIRE_PARTS") and report.skipped and "needs " in report.longrepr[2]:
        report.outcome, report.longrepr = "failed", report.longrepr[2]
    return report


def draw_inputs(folder: Path, backgrounds: int = 4, foregrounds: int = 3) -> InputFolders:
    """Gradients in two classes, and soft discs of different sizes on transparency."""
    rng = np.random.default_rng(7)
    for i in range(backgrounds):
        path = folder / "backgrounds" / ("hall", "kitchen")[i % 2] / f"bg{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows, columns = np.mgrid[:48, :60]
        pixels = np.stack([rows * 5, columns * 4, (rows + columns) * 2 + 10 * i], axis=2)
        Image.fromarray((pixels + rng.integers(0, 20, pixels.shape)).astype(np.uint8)).save(path)
    (folder / "foregrounds").mkdir(parents=True)
    for i in range(foregrounds):
        height, width = 20 + 4 * i, 26 - 3 * i
        rows, columns = np.mgrid[:height, :width]
        radius = np.hypot((rows / height - 0.5) * 2, (columns / width - 0.45) * 2)
        alpha = np.clip((1 - radius) * 6, 0, 1) * 255
        colour = rng.integers(0, 256, (height, width, 3))
        Image.fromarray(np.dstack([colour, alpha]).astype(np.uint8)).save(
            folder / "foregrounds" / f"fg{i}.png"
        )
    return InputFolders(str(folder / "backgrounds"), str(folder / "foregrounds"))


def make_dataset(
    folders: InputFolders,
    output: Path,
    *settings: str,
    depth_model: str | None = None,
    options: tuple[str, ...] = ONE_WORKER,
    restart: bool = False,
) -> Path:
    """Runs the main job on a 48×40 canvas, three places a pair and flip, small shards.

    The depth that a model of `keras:` or `onnx:` gives is depth.
    """
    declared = ["depth.model.output=depth"] if ":" in (depth_model or "") else []
    request = Request.of(
        folders.backgrounds,
        folders.foregrounds,
        masks=folders.masks,
        settings=[*SMALL, *declared, *settings],
        depth_model=depth_model,
    )
    generate(request, output, options, restart)
    return output


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> InputFolders:
    return draw_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def dataset(folders: InputFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 × 3 × 2 × 3 = 72 examples without depth. Not to be changed."""
    return make_dataset(folders, tmp_path_factory.mktemp("made") / "dataset")


def file_bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def with_depth(folders: InputFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 examples with depth in metres, 20×24."""
    import keras

    folder = tmp_path_factory.mktemp("depth")
    picture = keras.Input((None, None, 3))
    half = keras.layers.AveragePooling2D(2)(picture)
    grey = keras.layers.Conv2D(1, 1, kernel_initializer=keras.initializers.Constant(1 / 3))(half)
    keras.Model(picture, keras.layers.Rescaling(2.0, offset=1.0)(grey)).save(folder / "m.keras")
    return make_dataset(folders, folder / "made", depth_model=f"keras:{folder / 'm.keras'}")


class _Here:
    """Stands in for the pool of worker processes: starting those takes seconds each time."""

    def __init__(self, _: int) -> None:
        shards._checker.cache_clear()  # as new processes have none

    def __enter__(self) -> _Here:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, traceback: TracebackType | None
    ) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.verify.verify.WorkerPool", _Here)


@pytest.fixture
def forger(dataset: Path, tmp_path: Path, here: None) -> Forger:
    return Forger(Path(shutil.copytree(dataset, tmp_path / "copy")))


@pytest.fixture
def depth_forger(with_depth: Path, tmp_path: Path, here: None) -> Forger:
    return Forger(Path(shutil.copytree(with_depth, tmp_path / "copy")))


def run_python(code: str) -> None:
    """Fails where the code fails, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def read_as_its_readme_says(export: Path, block: int = 0) -> dict[str, Any]:
    """What the Python in an export's README has read, by the names that it uses."""
    code = (export / "README.md").read_text("utf-8").split("```python\n")[block + 1].split("```")[0]
    read: dict[str, Any] = {}
    with contextlib.chdir(export):
        exec(code, read)
    return read
