"""Beam's options: which runner a run gets, and with what."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import create_runner

from depthmask.errors import UserError
from pipeline.processes.cores import usable_cores
from pipeline.run.dataflow import RUNNER, check_for_dataflow, uses_dataflow, with_defaults
from transforms.io.gcs import check_packages

LOCAL_RUNNER = "FnApiRunner"


def pipeline_options(
    arguments: Sequence[str], paths: Mapping[str, str] | None = None, *, depth: bool = False
) -> PipelineOptions:
    """Returns Beam's options, as the command line gives them, for a run with or without depth.

    Without ``--runner`` a run is local: Beam's in-process runner with one worker process a core.
    What surrounds the encoders holds Python's global lock, so threads would gain less. `paths`:
    what workers read and write, by the argument that names it. Raises UserError for an option that
    Beam does not have, and for what the runner's workers could not reach or run on.
    """
    _refuse_unknown(arguments)
    options = PipelineOptions(list(arguments))
    if options.view_as(StandardOptions).runner is None:
        defaults = [f"--runner={LOCAL_RUNNER}"]
        given = {argument.split("=")[0].lstrip("-") for argument in arguments}
        if "direct_running_mode" not in given:
            defaults.append("--direct_running_mode=multi_processing")
        if "direct_num_workers" not in given:
            defaults.append(f"--direct_num_workers={usable_cores()}")
        options = PipelineOptions([*arguments, *defaults])
        # The workers fill the cores: threads of numpy's within each would only get in their way.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    elif uses_dataflow(options):
        check_packages(RUNNER, "google.cloud.dataflow")
        options = with_defaults(arguments, depth)
        check_for_dataflow(options, paths or {}, depth)
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
