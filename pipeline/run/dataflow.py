"""Google Cloud Dataflow: default options, GPUs, and what it cannot run."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)

from depthmask.errors import UserError
from transforms.io.gcs import PREFIX, is_gcs

RUNNER = "DataflowRunner"
NO_ACCELERATOR = "none"
# An L4 only comes with G2 machines; the other GPUs are attached to N1. Enough memory for TensorFlow
# and CUDA, and more vCPUs than one Python process can use.
_MACHINES = {
    "nvidia-l4": "g2-standard-4",
    **dict.fromkeys(
        ("nvidia-tesla-t4", "nvidia-tesla-p4", "nvidia-tesla-p100", "nvidia-tesla-v100"),
        "n1-standard-4",
    ),
}
# With TensorFlow and CUDA the image alone is near 10 GB.
_DISK_GB = 60
# One SDK process a worker: the model is on the GPU once.
_ONE_PROCESS, _MANY_PROCESSES = "no_use_multiple_sdk_containers", "use_multiple_sdk_containers"
# While one thread waits for the GPU, the other composes and encodes. That holds Python's lock: one
# thread does thousands of examples a second, more threads do fewer. A T4 does about a hundred.
_THREADS = 2
# Of docker/Dockerfile. What is pickled by one Python is not read by another.
_IMAGE_PYTHON = (3, 11)


class DataflowOptions(PipelineOptions):
    """Options of a run on Dataflow that Beam lacks."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--accelerator",
            default="nvidia-tesla-t4",
            metavar="TYPE",
            help="the GPU of the workers that estimate depth, or none",
        )


def uses_dataflow(options: PipelineOptions) -> bool:
    """Whether the run goes to Dataflow."""
    return re.sub(r".*\.", "", str(options.view_as(StandardOptions).runner)) == RUNNER


def _accelerator(options: PipelineOptions, depth: bool) -> str | None:
    """Returns the type of GPU that a run has on Dataflow, if any."""
    accelerator = str(options.view_as(DataflowOptions).accelerator)
    return accelerator if depth and accelerator != NO_ACCELERATOR else None


def with_defaults(arguments: Sequence[str], depth: bool) -> PipelineOptions:
    """Returns Beam's options for Dataflow: those given, and defaults for the rest."""
    options = PipelineOptions(list(arguments))
    given = {argument.split("=")[0] for argument in arguments}
    setup = options.view_as(SetupOptions)
    if setup.setup_file is None and "--sdk_location" not in given:
        setup.sdk_location = "container"  # the image has it all
    accelerator = _accelerator(options, depth)
    if accelerator is None:
        return options
    worker = options.view_as(WorkerOptions)
    worker.machine_type = worker.machine_type or _MACHINES.get(accelerator)
    worker.disk_size_gb = worker.disk_size_gb or _DISK_GB
    debug = options.view_as(DebugOptions)
    debug.number_of_worker_harness_threads = debug.number_of_worker_harness_threads or _THREADS
    if not {_ONE_PROCESS, _MANY_PROCESSES} & set(debug.experiments or ()):
        debug.add_experiment(_ONE_PROCESS)
    return options


def resource_hints(options: PipelineOptions, depth: bool) -> dict[str, str]:
    """Returns Beam's resource hints for the steps that handle pixels."""
    accelerator = _accelerator(options, depth) if uses_dataflow(options) else None
    if accelerator is None:
        return {}
    return {"accelerator": f"type:{accelerator};count:1;install-nvidia-driver"}


def depth_device(options: PipelineOptions) -> dict[str, str]:
    """Returns what estimates depth on Dataflow: it is part of what decides a dataset's bytes."""
    if not uses_dataflow(options):
        return {}
    return {"accelerator": str(options.view_as(DataflowOptions).accelerator)}


def check_for_dataflow(options: PipelineOptions, paths: Mapping[str, str], depth: bool) -> None:
    """Raises UserError for what Dataflow's workers cannot reach or run on.

    `paths`: what workers read and write, by the argument that names it.
    """
    cloud, worker = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    problems = [
        f"--{name} must be given." for name in ("project", "region") if getattr(cloud, name) is None
    ]
    places = {f"--{name}": getattr(cloud, name) for name in ("temp_location", "staging_location")}
    for argument, path in {**paths, **places}.items():
        if path and not is_gcs(path):
            problems.append(
                f"{argument} {path} is on this machine, where workers cannot reach it. Give a path "
                f"that begins with {PREFIX}."
            )
    image, setup_file = worker.sdk_container_image, options.view_as(SetupOptions).setup_file
    accelerator = _accelerator(options, depth)
    if image is None and setup_file is None:
        problems.append(
            "--sdk_container_image must name an image made from docker/Dockerfile (or --setup_file "
            "setup.py, whose workers install everything as they start)."
        )
    elif image is None and accelerator:
        problems.append(
            "--setup_file installs no CUDA, which a GPU needs. Name an image made from "
            "docker/Dockerfile by --sdk_container_image, or give --accelerator=none."
        )
    elif image is not None and sys.version_info[:2] != _IMAGE_PYTHON:
        mine, its = (".".join(map(str, it)) for it in (sys.version_info[:2], _IMAGE_PYTHON))
        problems.append(
            f"this is Python {mine}, and the image of docker/Dockerfile has {its}. Run depthmask "
            f"in an environment of Python {its}."
        )
    if accelerator and worker.machine_type is None:
        problems.append(
            f"--machine_type must be given with --accelerator={accelerator}: a machine that has "
            "that GPU."
        )
    if accelerator and cloud.flexrs_goal:
        problems.append("--flexrs_goal does not go with GPUs for some steps. Leave it out.")
    if problems:
        raise UserError("Dataflow:\n" + "\n".join(f"  {problem}" for problem in problems))
