"""Which Beam runner a run gets, by Beam's own options, and running a graph on it to its end."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState, create_runner

from depthmask.errors import RunError, UserError
from pipeline.dataflow import uses_dataflow, with_defaults
from pipeline.remote import CONSOLE, remote_job

LOCAL_RUNNER = "FnApiRunner"
# A worker's exception, as the last line of its traceback has it.
_CAUSE = re.compile(r"[\w.]+(Error|Exception|Interrupt)\b")
# What Beam says of a worker process that is gone.
_WORKER_GONE = ("Channel closed prematurely", "Socket closed", "Worker subprocess exited")


def pipeline_options(arguments: Sequence[str], depth: bool = False) -> PipelineOptions:
    """Beam's options from the command line, for a run with or without depth.

    Without ``--runner`` a run is local: Beam's in-process runner with one worker process a core.
    Encoding holds Python's global lock, so threads would not do (see benchmarks/).
    Raises UserError for an option that Beam does not have.
    """
    _refuse_unknown(arguments)
    options = PipelineOptions(list(arguments))
    if options.view_as(StandardOptions).runner is None:
        defaults = [f"--runner={LOCAL_RUNNER}"]
        given = {argument.split("=")[0].lstrip("-") for argument in arguments}
        if "direct_running_mode" not in given:
            defaults.append("--direct_running_mode=multi_processing")
        if "direct_num_workers" not in given:
            defaults.append(f"--direct_num_workers={os.cpu_count() or 1}")
        options = PipelineOptions([*arguments, *defaults])
        # The workers fill the cores: threads of numpy's within each would only get in their way.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    elif uses_dataflow(options):
        options = with_defaults(arguments, depth)
    try:
        create_runner(options.view_as(StandardOptions).runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(str(error)) from error
    return options


def _refuse_unknown(arguments: Sequence[str]) -> None:
    # Beam itself only warns of a misspelt option, deep in a log, and goes on without it.
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options in _option_classes(PipelineOptions):
        # One option may stand in several of Beam's classes; the last wins.
        parser.conflict_handler = "resolve"
        options._add_argparse_args(parser)
    try:
        _, unknown = parser.parse_known_args(list(arguments))
    except SystemExit as error:
        raise UserError("a Beam option has a wrong value; see the line above.") from error
    if unknown:
        raise UserError(
            f"no such option: {' '.join(unknown)}. See --help of the command; Beam's own "
            "options, such as --runner, can be given too."
        )


def _option_classes(cls: type[PipelineOptions]) -> list[type[PipelineOptions]]:
    found: list[type[PipelineOptions]] = []
    for subclass in cls.__subclasses__():
        if "_add_argparse_args" in subclass.__dict__:
            found.append(subclass)
        found += _option_classes(subclass)
    return found


def run_pipeline(pipeline: beam.Pipeline) -> None:
    """Runs a graph to its end. Raises RunError.

    Interrupted, it cancels a job that would go on without this process.
    """
    job = None
    try:
        result = pipeline.run()
        job = remote_job(result, pipeline.options)
        if job:
            print(job, file=sys.stderr)
        state = result.wait_until_finish()
    except KeyboardInterrupt:
        if job:
            job.cancel()
        elif uses_dataflow(pipeline.options):
            print(f"Dataflow may have the job already: look at {CONSOLE}", file=sys.stderr)
        raise
    except Exception as error:  # runners raise what they like, with the workers' text in it
        if job and not job.has_ended(error):
            raise RunError(
                f"{job} was lost sight of, and may go on: {_cause(error)}\n"
                f"Before you run the command again, end it: {job.by_hand}"
            ) from error
        raise RunError(_cause(error)) from error
    if state != PipelineState.DONE:
        raise RunError(f"the runner ended in state {state}; see its log")


def _cause(error: Exception) -> str:
    """What a run failed of, in one line."""
    if isinstance(error, grpc.RpcError):  # a job server's
        return str(error.details())
    lines = [line.strip() for line in str(error).splitlines() if line.strip() not in ("", "None")]
    if any(sign in line for sign in _WORKER_GONE for line in lines):
        return "a worker process ended unexpectedly: killed, or out of memory"
    causes = [line for line in lines if _CAUSE.match(line)]
    # A runner wraps the worker's exception, which says more.
    return (causes or lines or [repr(error)])[-1].removeprefix("RuntimeError: ")
