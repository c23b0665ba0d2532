"""Running a graph to its end, also where the job outlives this process: Dataflow, a job server."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.runner import PipelineResult, PipelineState

from depthmask.errors import RunError
from pipeline.processes.signals import settle
from pipeline.processes.watch import WorkerGoneError, watched
from pipeline.run.dataflow import uses_dataflow
from pipeline.run.local import leashed, reach_loopback
from pipeline.run.lock import LockLostError

_log = logging.getLogger("depthmask")
# A worker's exception, in the last line of its traceback.
_CAUSE = re.compile(r"[\w.]+(Error|Exception|Interrupt)\b")
# What Beam says of a worker that is gone.
_WORKER_GONE = ("Channel closed prematurely", "Socket closed")
# How long a job server may take to answer, how often in a row it may fail to.
_ANSWER_SECONDS = 5.0
_SILENCES = 3
# How long a job that is being submitted is waited for, to cancel it.
_SUBMIT_SECONDS = 3.0


def run_pipeline(pipeline: beam.Pipeline, check: Callable[[], None]) -> None:
    """Runs a graph and waits until it has ended. Raises RunError where it fails.

    `check` is called every few seconds where other processes do the work; what it raises ends the
    run. On KeyboardInterrupt, and where it is ended so, a job that would go on without this process
    is cancelled.
    """
    job: RemoteJob | None = None
    submitted = threading.Event()

    def run() -> str:
        nonlocal job
        result = pipeline.run()
        job = remote_job(result, pipeline.options)
        submitted.set()
        if job:
            _log.info("%s", job)
        return str(result.wait_until_finish())

    def check_all() -> None:
        check()
        if server:
            server.check()

    server = _job_server(pipeline.options)
    reach_loopback()
    try:
        with leashed(pipeline) as leash:
            state = watched(run, check_all) if leash or server else run()
    except (KeyboardInterrupt, LockLostError):
        if server:
            submitted.wait(_SUBMIT_SECONDS)
        if job:
            job.cancel()
        elif server:
            _log.warning("%s may have the job already: look there", server)
        elif uses_dataflow(pipeline.options):
            _log.warning("Dataflow may have the job already: look at %s", CONSOLE)
        settle()
        raise
    except Exception as error:  # runners raise exceptions of any type, with workers' text in them
        settle()
        if job and not job.has_ended(error):
            raise RunError(
                f"Lost contact with {job}; it may still be running: {_cause(error)}\n"
                f"Cancel it before you run the command again: {job.by_hand}"
            ) from error
        raise RunError(_cause(error)) from error
    if state != PipelineState.DONE:
        raise RunError(f"the runner ended in state {state}; see its log")


def _cause(error: Exception) -> str:
    """Returns why a run failed, in one line."""
    if isinstance(error, grpc.RpcError):  # a job server's
        return str(error.details())
    lines = [line.strip() for line in str(error).splitlines() if line.strip() not in ("", "None")]
    if any(sign in line for sign in _WORKER_GONE for line in lines):
        return str(WorkerGoneError())
    causes = [line for line in lines if _CAUSE.match(line)]
    # A runner wraps the worker's exception, which says more.
    return (causes or lines or [repr(error)])[-1].removeprefix("RuntimeError: ")


class _JobServer:
    """Beam's job server, of Flink and others, at an address that the user names."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._silences = 0

    def __str__(self) -> str:
        return f"the job server at {self._endpoint}"

    def check(self) -> None:
        """Raises ConnectionError where it has not answered several times in a row."""
        with grpc.insecure_channel(self._endpoint) as channel:
            try:
                grpc.channel_ready_future(channel).result(_ANSWER_SECONDS)
            except grpc.FutureTimeoutError:
                self._silences += 1
            else:
                self._silences = 0
        if self._silences == _SILENCES:
            raise ConnectionError(f"{self} does not answer")


def _job_server(options: PipelineOptions) -> _JobServer | None:
    endpoint = options.view_as(PortableOptions).job_endpoint
    return _JobServer(endpoint) if endpoint and endpoint != "embed" else None


CONSOLE = "https://console.cloud.google.com/dataflow/jobs"


@dataclass(frozen=True)
class RemoteJob:
    """A submitted job: its name, the address of its page, and how a user cancels it by hand.

    `obeys`: a job that was cancelled does end. Beam's job server for Flink confirms a cancellation
    but leaves Flink running.
    """

    result: PipelineResult
    name: str
    address: str
    by_hand: str
    obeys: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"

    def has_ended(self, error: Exception) -> bool:
        """Returns whether the job is over, given that waiting for it raised `error`.

        It makes no request.
        """
        if isinstance(self.result, portable_runner.PipelineResult):
            return not isinstance(error, grpc.RpcError | ConnectionError)
        return bool(self.result.is_in_terminal_state())

    def cancel(self) -> None:
        """Cancels the job and logs the outcome: also what to do by hand, if it may still run."""
        _log.info("cancelling %s", self)
        try:
            self.result.cancel()
        except (Exception, KeyboardInterrupt) as error:  # a second Ctrl-C
            outcome = f"could not be cancelled ({error!r}) and is still running"
        else:
            if self.obeys:
                _log.info("%s is cancelled; its workers end soon", self.name)
                return
            outcome = "was told to end, but may still be running"
        _log.warning(
            "%s %s. Cancel it before you run the command again: %s",
            *(self.name, outcome, self.by_hand),
        )


def remote_job(result: PipelineResult, options: PipelineOptions) -> RemoteJob | None:
    """Returns the job that a runner has submitted; None where it ends with this process."""
    if isinstance(result, portable_runner.PipelineResult):
        if not options.view_as(PortableOptions).job_endpoint:
            return None  # the job server is a child of this process
        return RemoteJob(
            result,
            name=f"job {result._job_id}",
            address="see the runner's own page",
            by_hand="on the runner's own page, such as Flink's dashboard",
            obeys=False,
        )
    if not uses_dataflow(options):
        return None
    cloud, job = options.view_as(GoogleCloudOptions), result.job_id()
    return RemoteJob(
        result,
        name=f"Dataflow job {job}",
        address=f"{CONSOLE}/{cloud.region}/{job}?project={cloud.project}",
        by_hand=f"gcloud dataflow jobs cancel {job} --region={cloud.region} "
        f"--project={cloud.project}",
        obeys=True,
    )
