"""What Google Cloud Dataflow needs to be told besides: sensible defaults, and GPUs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)

from pipeline.errors import UserError
from pipeline.job import Job
from transforms.gcs import PREFIX, is_gcs

RUNNER = "DataflowRunner"
NO_ACCELERATOR = "none"
# Has a GPU beside it wherever there is one to be had; 8 vCPUs keep a T4 busy with composites.
_GPU_MACHINE = "n1-standard-8"
# With TensorFlow and CUDA the image alone is near 10 GB.
_DISK_GB = 60
# One SDK process a worker: the model is on the GPU once. A chunk is in memory once a thread.
_ONE_PROCESS = "no_use_multiple_sdk_containers"
_THREADS = 8


class DataflowOptions(PipelineOptions):  # type: ignore[misc]
    """Options of a run on Dataflow that Beam has none for."""

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


def with_defaults(arguments: Sequence[str], depth: bool) -> PipelineOptions:
    """Beam's options for Dataflow: those that are given, and defaults for a run (with depth)."""
    options = PipelineOptions(list(arguments))
    if options.view_as(SetupOptions).setup_file is None:
        options.view_as(SetupOptions).sdk_location = "container"  # the image has it all
    if not depth or options.view_as(DataflowOptions).accelerator == NO_ACCELERATOR:
        return options
    worker = options.view_as(WorkerOptions)
    worker.machine_type = worker.machine_type or _GPU_MACHINE
    worker.disk_size_gb = worker.disk_size_gb or _DISK_GB
    debug = options.view_as(DebugOptions)
    debug.number_of_worker_harness_threads = debug.number_of_worker_harness_threads or _THREADS
    debug.add_experiment(_ONE_PROCESS)
    return options


def resource_hints(options: PipelineOptions, depth: bool) -> dict[str, str]:
    """Beam's resource hints for the steps that handle pixels."""
    accelerator = options.view_as(DataflowOptions).accelerator
    if not depth or accelerator == NO_ACCELERATOR or not uses_dataflow(options):
        return {}
    return {"accelerator": f"type:{accelerator};count:1;install-nvidia-driver"}


def check_for_dataflow(job: Job, output: str, options: PipelineOptions) -> None:
    """Raises UserError for what Dataflow's workers could not reach, or could not run on."""
    cloud, worker = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    problems = [
        f"--{name} must be given." for name in ("project", "region") if getattr(cloud, name) is None
    ]
    # The builtin model has no path: it is in the image.
    model = job.depth_model.path if job.depth_model else ""
    for option, path in (("--output", output), ("--depth-model", model)):
        if path and not is_gcs(path):
            problems.append(
                f"{option} {path} is on this machine, where workers cannot reach it. Give a path "
                f"that begins with {PREFIX}."
            )
    if worker.sdk_container_image is None and options.view_as(SetupOptions).setup_file is None:
        problems.append(
            "--sdk_container_image must name an image made from docker/Dockerfile (or --setup_file "
            "setup.py, whose workers install everything as they start)."
        )
    if problems:
        raise UserError("Dataflow:\n" + "\n".join(f"  {problem}" for problem in problems))
