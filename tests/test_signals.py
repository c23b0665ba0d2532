"""Whatever happens to whichever process, whenever: a command ends soon, says why, leaves nothing.

And the same command then completes, to the same bytes. Later moments are in test_trouble.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from depthmask.errors import RunError
from pipeline.inputs.folders import InputFolders
from tests.conftest import file_bytes, make_dataset
from tests.sessions import Ended, Session, after, connected, workers
from tests.test_prism import PRISM

KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
COMMAND = (sys.executable, "-m", "pipeline")
GONE = "the run failed: a worker process ended unexpectedly: killed, or out of memory"
STOPPED = "depthmask: stopped. Run the same command again to go on."


def generating(folders: InputFolders, output: Path, *options: str) -> list[str]:
    """The command that makes the dataset of the tests' `dataset`."""
    settings = ("canvas.width=48", "canvas.height=40", "placements.per_pair=3")
    settings += ("shards.examples=20", "shards.chunk=7")
    return [
        *(*COMMAND, "generate", "--output", str(output), "--direct_num_workers=2"),
        *("--backgrounds", folders.backgrounds, "--foregrounds", folders.foregrounds),
        *(part for setting in settings for part in ("--set", setting)),
        *(options or ("--depth-model", "none")),
    ]


def complete(command: list[str]) -> None:
    with Session(command) as session:
        ended = session.wait(120)
    assert ended.code == 0 and not ended.left, ended.text


def check_failed(ended: Ended, line: str = GONE) -> None:
    assert ended.code == 1 and line in ended.text, ended
    assert "Traceback" not in ended.text
    assert not ended.left


def check_stopped(ended: Ended) -> None:
    assert ended.code == 130, ended
    assert ended.text.splitlines()[-1] == STOPPED and "Traceback" not in ended.text
    assert not ended.left


def test_a_worker_that_is_killed_before_its_first_work(
    folders: InputFolders, dataset: Path, tmp_path: Path
):
    command = generating(folders, tmp_path / "made")
    for moment, number in ((workers(1), 0), (workers(2), -1), (connected, 0)):
        with Session(command) as session:
            session.wait_until(moment)
            session.signal_worker(KILL, number)
            check_failed(session.wait())
    complete(command)
    assert file_bytes(tmp_path / "made") == file_bytes(dataset)


@pytest.mark.parametrize(
    ("sign", "send"),
    [(TERM, Session.signal), (INT, Session.signal_all), (TERM, Session.signal_all)],
)
def test_a_signal_while_it_starts(
    folders: InputFolders,
    dataset: Path,
    tmp_path: Path,
    sign: signal.Signals,
    send: Callable[[Session, signal.Signals], None],
):
    command = generating(folders, tmp_path / "made")
    for moment in (after(0), after(0.05), Session.heeds_signals, after(0.2), after(1)):
        with Session(command) as session:
            session.wait_until(moment)
            heeded = session.heeds_signals()
            send(session, sign)
            ended = session.wait()
        assert ended.code != 0 and not ended.left
        if heeded:  # else the system, or Python, ends it
            check_stopped(ended)
    for moment in (workers(1), connected):
        with Session(command) as session:
            session.wait_until(moment)
            send(session, sign)
            check_stopped(session.wait())
    assert not (tmp_path / "made" / "_unfinished" / "lock.json").exists()
    complete(command)
    assert file_bytes(tmp_path / "made") == file_bytes(dataset)


def test_workers_end_by_themselves_where_the_launcher_is_killed(
    folders: InputFolders, dataset: Path, tmp_path: Path
):
    command = generating(folders, tmp_path / "made")
    for moment in (workers(1), workers(2), connected):
        with Session(command) as session:
            session.wait_until(moment)
            session.signal(KILL)
            assert not session.wait().left
    complete(command)
    assert file_bytes(tmp_path / "made") == file_bytes(dataset)


def test_neither_a_proxy_nor_the_working_directory_keeps_workers_away(
    folders: InputFolders, dataset: Path, tmp_path: Path
):
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    environment = {name: value for name, value in os.environ.items() if "no_" not in name.lower()}
    environment |= proxies | {"PYTHONPATH": str(Path(__file__).parents[1])}
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("raise RuntimeError('another package')")
    launcher = "import sys; sys.path.remove(''); from pipeline.__main__ import run; run()"
    command = [sys.executable, "-c", launcher, *generating(folders, tmp_path / "made")[3:]]
    with Session(command, env=environment, cwd=tmp_path) as session:
        assert session.wait(120).code == 0, session.text()
    assert file_bytes(tmp_path / "made") == file_bytes(dataset)


STUCK = """
import time
from pipeline.processes import signals
signals._PATIENCE_SECONDS = {patience}
signals.end_by_signals()
print("ready", flush=True)
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.parametrize(("patience", "times"), [(0.5, 1), (600, 2)])
def test_a_command_that_a_signal_does_not_move_just_ends(patience: float, times: int):
    """After a while, or at a second Ctrl-C."""
    with Session([sys.executable, "-c", STUCK.format(patience=patience)]) as session:
        session.wait_until(lambda session: "ready" in session.text())
        for number in range(times):
            session.wait_until(after(number * 0.2))
            session.signal(INT)
        check_stopped(session.wait())


def test_samples(tmp_path: Path):
    def drawing(name: str) -> list[str]:
        return [*COMMAND, "samples", str(tmp_path / name), "--backgrounds=4", "--foregrounds=3"]

    for moment, send, check in (
        (workers(2), lambda session: session.signal_worker(KILL), check_failed),
        (workers(1), lambda session: session.signal(TERM), check_stopped),
        (workers(2), lambda session: session.signal_all(INT), check_stopped),
    ):
        with Session(drawing("made")) as session:
            session.wait_until(moment)
            send(session)
            check(session.wait())
    with Session(drawing("made")) as session:
        session.wait_until(workers(2))
        session.signal(KILL)
        assert not session.wait().left
    complete(drawing("made"))
    complete(drawing("whole"))
    assert file_bytes(tmp_path / "made") == file_bytes(tmp_path / "whole")


def test_verify(dataset: Path):
    command = [*COMMAND, "verify", str(dataset)]
    with Session(command) as session:
        session.wait_until(workers(1))
        session.signal_worker(KILL)
        check_failed(session.wait())
    with Session(command) as session:
        session.wait_until(workers(1))
        session.signal_all(INT)
        check_stopped(session.wait())
    with Session(command) as session:
        session.wait_until(workers(1))
        session.signal(KILL)
        assert not session.wait().left


def test_the_process_that_tries_the_depth_model(folders: InputFolders, tmp_path: Path):
    command = generating(folders, tmp_path / "made", "--depth-model", "builtin")
    with Session(command) as session:
        session.wait_until(workers(1))
        session.signal_worker(KILL)
        line = "builtin: while it was loaded, a worker process ended unexpectedly"
        check_failed(session.wait(), f"the run failed: {line}")
    with Session(command) as session:
        session.wait_until(workers(1))
        session.signal(TERM)
        check_stopped(session.wait())
    assert not (tmp_path / "made").exists()


def test_export(dataset: Path, tmp_path: Path):
    def exporting(name: str) -> list[str]:
        return [*COMMAND, "export", str(dataset), str(tmp_path / name), "--layout=webdataset"]

    with Session(exporting("made")) as session:
        session.wait_until(workers(1))
        session.signal_worker(KILL)
        check_failed(session.wait())
    with Session(exporting("made")) as session:
        session.wait_until(connected)
        session.signal(TERM)
        check_stopped(session.wait())
    complete(exporting("made"))
    complete(exporting("whole"))
    assert file_bytes(tmp_path / "made") == file_bytes(tmp_path / "whole")


def test_repair(dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    next(copy.glob("depthmask-train*")).unlink()
    command = [*COMMAND, "verify", "--repair", str(copy)]
    with Session(command) as session:
        session.wait_until(workers(1))
        session.signal_worker(KILL)
        check_failed(session.wait())
    with Session(command) as session:
        session.wait_until(connected)
        session.signal_all(INT)
        check_stopped(session.wait())
    complete(command)
    (copy / "decoded_statistics.json").unlink()  # which the command has written
    assert file_bytes(copy) == file_bytes(dataset)


@pytest.mark.skipif(not PRISM, reason="needs Beam's prism binary: make .prism/prism")
def test_prism(folders: InputFolders, dataset: Path, tmp_path: Path):
    options = ("--depth-model", "none", "--runner=PrismRunner", f"--prism_location={PRISM}")
    command = generating(folders, tmp_path / "made", *options)
    with Session(command) as session:
        session.wait_until(connected)
        session.signal(KILL)
        assert not session.wait().left
    with Session(command) as session:
        session.wait_until(connected)
        session.signal(TERM)
        check_stopped(session.wait())
    large = [*generating(folders, tmp_path / "large", *options), "--set", "placements.per_pair=300"]
    with Session(large) as session:
        session.wait_until(lambda _: list((tmp_path / "large").glob("_unfinished/*/*-n*.json")))
        session.signal_worker(KILL)
        check_failed(session.wait(), "the run failed: ")
    complete(command)
    assert file_bytes(tmp_path / "made") == file_bytes(dataset)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_job_server_that_does_not_answer(
    folders: InputFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_server: str
):
    monkeypatch.setattr("pipeline.run.submit._ANSWER_SECONDS", 0.1)
    monkeypatch.setattr("pipeline.processes.watch._CHECK_SECONDS", 0.1)
    options = ("--runner=PortableRunner", f"--job_endpoint={silent_server}")
    with pytest.raises(RunError, match=f"the job server at {silent_server} does not answer"):
        make_dataset(folders, tmp_path / "made", options=(*options, "--environment_type=LOOPBACK"))
