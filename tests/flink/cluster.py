"""A Flink cluster on this machine, for tests: every part a process of its own.

A JobManager, TaskManagers, Beam's job server and Beam's pool of Python workers, on ports that are
free. Its jars lie in `JARS`; `make .flink/ready` fetches them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
JARS = Path(os.environ.get("FLINK_JARS", ROOT / ".flink" / "jars"))
JAVA = shutil.which("java")

# Flink reaches into the JDK; its own start scripts say the same to Java 17.
_JAVA_OPTIONS = tuple(
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        *("java.io", "java.lang", "java.lang.reflect", "java.net", "java.nio", "java.text"),
        *("java.time", "java.util", "java.util.concurrent", "java.util.concurrent.atomic"),
        *("java.util.concurrent.locks", "sun.nio.ch"),
    )
)
_START_SECONDS = 90


def missing_parts() -> str:
    """What keeps a cluster from being started here, or an empty text."""
    if JAVA is None:
        return "needs Java"
    if not list(JARS.glob("beam-runners-flink-*.jar")):
        return "needs Flink: make .flink/ready"
    return ""


class FlinkCluster:
    """One JobManager and `task_managers` TaskManagers, each with slots for a whole job.

    A job runs on all of them, and on any one of them when the others are gone.
    """

    def __init__(self, folder: Path, task_managers: int = 2) -> None:
        self._folder = folder
        self._count = task_managers
        self._stack = contextlib.ExitStack()
        self._rest_port, self._rpc_port, self._job_port, self._pool_port = _free_ports(4)
        self.task_managers: list[subprocess.Popen[bytes]] = []

    @property
    def options(self) -> tuple[str, ...]:
        """Options that run a pipeline on this cluster."""
        return (
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{self._job_port}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{self._pool_port}",
            f"--parallelism={self._count}",
            # Else every stage starts its Python workers anew.
            "--environment_cache_millis=600000",
            # Python processes a TaskManager.
            "--sdk_worker_parallelism=2",
        )

    def __enter__(self) -> FlinkCluster:
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            self._stack = stack
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        (self._folder / "config.yaml").write_text(json.dumps(self._configuration()))
        runtime = "org.apache.flink.runtime"
        self._java(
            "jobmanager",
            f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint",
            *("--configDir", str(self._folder)),
        )
        for number in range(self._count):
            self.task_managers.append(
                self._java(
                    f"taskmanager-{number}",
                    f"{runtime}.taskexecutor.TaskManagerRunner",
                    *("--configDir", str(self._folder)),
                )
            )
        # A worker process each TaskManager that asks for one.
        self._process(
            "workers",
            [
                *(sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"),
                f"--service_port={self._pool_port}",
            ],
        )
        self._java(
            "jobserver",
            "org.apache.beam.runners.flink.FlinkJobServerDriver",
            f"--flink-master=localhost:{self._rest_port}",
            f"--job-port={self._job_port}",
            *("--artifact-port=0", "--expansion-port=0"),
            f"--artifacts-dir={self._folder / 'artifacts'}",
        )
        self._wait(lambda: self.overview()["taskmanagers"] == self._count, "TaskManagers")
        self._wait(lambda: _answers(self._job_port), "the job server")
        self._wait(lambda: _answers(self._pool_port), "the pool of workers")

    def _configuration(self) -> dict[str, Any]:
        return {
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": self._rpc_port,
            "jobmanager.bind-host": "localhost",
            "taskmanager.host": "localhost",
            "taskmanager.bind-host": "localhost",
            "rest.address": "localhost",
            "rest.port": self._rest_port,
            # Job server and cluster have the same jars: what is staged is never loaded twice.
            "classloader.resolve-order": "parent-first",
            "cluster.registration.error-delay": 500,
            "io.tmp.dirs": str(self._folder / "tmp"),
            "cluster.evenly-spread-out-slots": True,
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 5,
            "restart-strategy.fixed-delay.delay": "1 s",
            # A dead TaskManager is noticed in seconds, not in the default minute.
            "heartbeat.interval": 1000,
            "heartbeat.timeout": 8000,
            "taskmanager.numberOfTaskSlots": self._count,
            # What Flink's start scripts work out for themselves.
            "taskmanager.cpu.cores": 1.0,
            "taskmanager.memory.framework.heap.size": "128m",
            "taskmanager.memory.framework.off-heap.size": "128m",
            "taskmanager.memory.task.heap.size": "256m",
            "taskmanager.memory.task.off-heap.size": "0m",
            "taskmanager.memory.managed.size": "64m",
            "taskmanager.memory.network.min": "256m",
            "taskmanager.memory.network.max": "256m",
            "taskmanager.memory.jvm-metaspace.size": "256m",
            "taskmanager.memory.jvm-overhead.min": "192m",
            "taskmanager.memory.jvm-overhead.max": "192m",
        }

    def _java(self, name: str, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        assert JAVA is not None
        classes = os.pathsep.join(map(str, sorted(JARS.glob("*.jar"))))
        command = [JAVA, "-Xmx512m", *_JAVA_OPTIONS, "-cp", classes, main, *arguments]
        return self._process(name, command)

    def _process(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        # The pool starts `python`: this one, with this project in reach.
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "FLINK_CONF_DIR": str(self._folder),
        }
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=self._folder
        )
        self._stack.callback(_end, process)
        return process

    def _wait(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                if holds():
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not up; see the logs in {self._folder}")
            time.sleep(0.2)

    def overview(self) -> dict[str, Any]:
        """What the JobManager says of the cluster."""
        return self._ask("overview")

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://localhost:{self._rest_port}/{path}") as reply:
            return json.load(reply)

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that the cluster has seen, the latest last."""
        jobs: list[dict[str, Any]] = self._ask("jobs/overview")["jobs"]
        return sorted(jobs, key=lambda job: job["start-time"])

    def failures(self, job: str) -> list[str]:
        """What a job was restarted for, time and again."""
        history = self._ask(f"jobs/{job}/exceptions")["exceptionHistory"]
        return [entry["stacktrace"] for entry in history["entries"]]

    def kill_task_manager(self, number: int) -> list[int]:
        """Kills a TaskManager and its Python workers; gives the workers' process ids."""
        process = psutil.Process(self.task_managers[number].pid)
        ports = {
            connection.laddr.port
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        workers = [worker for worker in self._workers() if _control_port(worker) in ports]
        process.kill()
        for worker in workers:
            worker.kill()
        return [worker.pid for worker in workers]

    def _workers(self) -> list[psutil.Process]:
        return [
            child
            for child in psutil.Process().children(recursive=True)
            if any("SdkHarness" in argument for argument in child.cmdline())
        ]


def _control_port(worker: psutil.Process) -> int:
    """The port that a Python worker takes its work from: its TaskManager's."""
    found = re.search(r'SdkHarness\("[^"]*:(\d+)"', " ".join(worker.cmdline()))
    return int(found[1]) if found else 0


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]


def _answers(port: int) -> bool:
    with socket.create_connection(("localhost", port), timeout=1):
        return True


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.wait()
