"""Jobs that go on without the process that launched them: on Dataflow, or behind a job server."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import grpc
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.runner import PipelineResult

from pipeline.dataflow import uses_dataflow

CONSOLE = "https://console.cloud.google.com/dataflow/jobs"


@dataclass(frozen=True)
class RemoteJob:
    """A job that was submitted: what it is called, where it is seen, how a user cancels it.

    `obeys`: a cancelled job is known to end. Beam's job server for Flink says yes to a cancellation
    and lets Flink go on.
    """

    result: PipelineResult
    name: str
    address: str
    by_hand: str
    obeys: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"

    def has_ended(self, error: Exception) -> bool:
        """Whether the job is over, where waiting for it ended in `error`. Asks nobody."""
        if isinstance(self.result, portable_runner.PipelineResult):
            return not isinstance(error, grpc.RpcError)
        return bool(self.result.is_in_terminal_state())

    def cancel(self) -> None:
        """Cancels the job, and says so, or how it is done by hand."""
        print(f"cancelling {self}", file=sys.stderr, flush=True)
        try:
            self.result.cancel()
        except (Exception, KeyboardInterrupt) as error:  # a second Ctrl-C: for want of patience
            outcome = f"could not be cancelled ({error!r}) and goes on"
        else:
            if self.obeys:
                print(f"{self.name} is cancelled; its workers end soon", file=sys.stderr)
                return
            outcome = "was told to end, but may go on"
        print(
            f"{self.name} {outcome}. Before you run the command again, end it: {self.by_hand}",
            file=sys.stderr,
        )


def remote_job(result: PipelineResult, options: PipelineOptions) -> RemoteJob | None:
    """The job that a runner has submitted; None where it ends with this process."""
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
