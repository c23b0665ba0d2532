"""Runners whose processes, on this machine, never outlive the run."""

from __future__ import annotations

import contextlib
import copy
import os
import shlex
import sys
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.direct.direct_runner import SwitchingDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.prism_runner import PrismJobServer, PrismRunner
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipeline.processes import leash, worker
from pipeline.processes.cores import usable_cores

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# By their paths: nothing in the working directory stands before them.
_WORKER = (sys.executable, "-P", worker.__file__)
_HOLDER = (sys.executable, "-P", leash.__file__)
# gRPC's own list of hosts that no proxy stands before: what others go by stays as it is.
_NO_PROXY = "no_grpc_proxy"


def reach_loopback() -> None:
    """Lets gRPC, here and in processes that are started here, reach this machine past any proxy."""
    known = (os.environ.get(name, "") for name in (_NO_PROXY, "no_proxy", "NO_PROXY"))
    hosts = next(filter(None, known), "").split(",")
    hosts += [host for host in _LOOPBACK if host not in hosts]
    os.environ[_NO_PROXY] = ",".join(filter(None, hosts))


@contextlib.contextmanager
def leashed(pipeline: beam.Pipeline) -> Iterator[bool]:
    """Has the processes that `pipeline` starts here end with the block; says whether it does."""
    direct = pipeline.options.view_as(DirectOptions)
    if isinstance(pipeline.runner, PrismRunner):
        with leash.Leash() as held:
            pipeline.runner = _LeashedPrismRunner(held)
            yield True
    elif direct.direct_running_mode == "multi_processing" and isinstance(
        pipeline.runner, FnApiRunner | SwitchingDirectRunner
    ):
        with leash.Leash() as held:
            pipeline.runner = _LeashedRunner(held)
            yield True
    else:
        yield False


class _LeashedRunner(FnApiRunner):
    """Beam's in-process runner, with worker processes of pipeline.processes.worker."""

    def __init__(self, held: leash.Leash) -> None:
        command = [*_WORKER, held.path]
        # A shell starts it, and is not to stand between.
        text = f"exec {shlex.join(command)}"
        super().__init__(SubprocessSDKEnvironment.from_command_string(text))

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        options = copy.deepcopy(options)
        direct = options.view_as(DirectOptions)
        direct.direct_running_mode = None  # any that Beam knows has a command of its own
        direct.direct_num_workers = direct.direct_num_workers or usable_cores()
        return super().run_pipeline(pipeline, options)


class _LeashedPrismRunner(PrismRunner):
    def __init__(self, held: leash.Leash) -> None:
        super().__init__()
        self._leash = held

    def default_job_server(self, options: PipelineOptions) -> PrismJobServer:
        return _LeashedPrismServer(options, self._leash)


class _LeashedPrismServer(PrismJobServer):
    """Prism, in a process that ends with the leash."""

    def __init__(self, options: PipelineOptions, held: leash.Leash) -> None:
        super().__init__(options)
        self._leash = held

    def subprocess_cmd_and_endpoint(self) -> tuple[list[Any], str]:
        command, endpoint = super().subprocess_cmd_and_endpoint()
        return [*_HOLDER, self._leash.path, *command], endpoint
