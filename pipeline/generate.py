"""The main job: from folders of pictures to a finished dataset."""

from __future__ import annotations

import importlib.metadata
import json
import multiprocessing
import os
import posixpath
import re
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor

import apache_beam as beam
import google_crc32c
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from pipeline.dataset import (
    WORK_FOLDER,
    DatasetDescription,
    DepthInfo,
    crc_text,
    statistics_table,
)
from pipeline.errors import RunError, UserError
from pipeline.graph import build_graph
from pipeline.inputs import PreparedSet, prepare_inputs
from pipeline.job import Job
from pipeline.plan import Plan
from pipeline.progress import Progress
from pipeline.recipe import Recipe
from transforms.depth import DepthModelError, load_keras_model
from transforms.segments import ShardLayout, read_file

# A worker's exception, as the last line of its traceback has it.
_CAUSE = re.compile(r"[\w.]+(Error|Exception): ")
# A change of any of these may change bytes.
_VERSIONED = ("depthmask", "apache-beam", "numpy", "pillow", "keras", "tensorflow")


def generate(job: Job, output: str, options: PipelineOptions) -> None:
    """Makes a dataset in the folder `output`.

    Raises UserError for bad input before any example is made, RunError where the run fails.
    """
    created = _claim_output(output)
    work_folder = FileSystems.join(output, WORK_FOLDER)
    try:
        inputs = prepare_inputs(job.folders, job.recipe, output, job.skip_bad_inputs)
        plan = Plan(job.recipe, inputs.source.backgrounds, inputs.source.foregrounds)
        layout = ShardLayout(output, work_folder, plan.shard_sizes)
        depth = try_depth_model(job.depth_model, job.recipe) if job.depth_model else None
    except UserError:
        _release_output(output, created)
        raise
    for finding in inputs.findings:
        print(f"{finding.level}: {finding}", file=sys.stderr)
    print(plan.summary, file=sys.stderr)
    pipeline = beam.Pipeline(options=options)
    description = _describe(job, output, inputs, plan, depth)
    build_graph(pipeline, plan, inputs.source, job.depth_stage, layout, description)
    FileSystems.mkdirs(work_folder)
    with Progress(work_folder, plan.examples):
        _run(pipeline)
    print_summary(output)


def _run(pipeline: beam.Pipeline) -> None:
    try:
        state = pipeline.run().wait_until_finish()
    except Exception as error:  # runners raise what they like, with the workers' traceback as text
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = next((line for line in reversed(lines) if _CAUSE.match(line)), None)
        raise RunError(cause or (lines[-1] if lines else repr(error))) from error
    if state != PipelineState.DONE:
        raise RunError(f"the runner ended in state {state}; see its log")


def _claim_output(output: str) -> bool:
    """Makes the output folder; says whether it is new. Raises UserError where it is in use."""
    try:
        (match,) = FileSystems.match([FileSystems.join(output, "*")])
        if match.metadata_list:
            names = {posixpath.basename(found.path) for found in match.metadata_list}
            state = (
                "holds a finished dataset"
                if "manifest.json" in names
                else "is not empty (it holds {}{})".format(
                    ", ".join(sorted(names)[:3]), ", …" if len(names) > 3 else ""
                )
            )
            raise UserError(f"{output} {state}. Give a new folder as --output, or empty it first.")
        if FileSystems.exists(output):
            if os.path.isfile(output):
                raise UserError(f"{output} is a file. Give a new folder as --output.")
            return False
        FileSystems.mkdirs(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be made or written to: {error}") from error
    return True


def _release_output(output: str, created: bool) -> None:
    """Removes what a run that did not come to make examples has put into its output folder."""
    for name in ("backgrounds.tfrecord", "foregrounds.tfrecord"):
        path = FileSystems.join(output, name)
        if FileSystems.exists(path):
            FileSystems.delete([path])
    if created and os.path.isdir(output):
        shutil.rmtree(output)


def try_depth_model(path: str, recipe: Recipe) -> DepthInfo:
    """Runs the model once, in a process of its own, so that TensorFlow is not loaded in this one.

    Raises UserError where it cannot be loaded or does not give depth for the recipe's canvas.
    """
    canvas = recipe.canvas
    shape = (1, canvas.height, canvas.width, canvas.channels)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        try:
            height, width, crc = executor.submit(_run_once, path, shape).result()
        except DepthModelError as error:
            raise UserError(str(error)) from error
    return DepthInfo(width, height, posixpath.basename(path), crc_text(crc))


def _run_once(path: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    picture = np.linspace(0, 255, int(np.prod(shape))).astype(np.uint8).reshape(shape)
    depth = load_keras_model(path, batch_size=1).predict(picture)
    return depth.shape[1], depth.shape[2], google_crc32c.value(read_file(path))


def _describe(
    job: Job, output: str, inputs: PreparedSet, plan: Plan, depth: DepthInfo | None
) -> DatasetDescription:
    return DatasetDescription(
        output=output,
        recipe=job.recipe,
        input_moments=inputs.moments,
        input_checksums={
            f"{kind}.tfrecord": crc_text(crc) for kind, crc in inputs.checksums.items()
        },
        findings=tuple(finding.to_json() for finding in inputs.findings),
        versions={name: importlib.metadata.version(name) for name in _VERSIONED},
        classes=tuple(sorted({picture.label for picture in plan.backgrounds})),
        backgrounds=len(plan.backgrounds),
        foregrounds=len(plan.foregrounds),
        depth=depth,
    )


def print_summary(output: str) -> None:
    """What a finished dataset holds: counts, sizes, statistics, where things are."""
    manifest = json.loads(read_file(FileSystems.join(output, "manifest.json")))
    statistics = json.loads(read_file(FileSystems.join(output, "statistics.json")))
    for split in dict.fromkeys(shard["split"] for shard in manifest["shards"]):
        mine = [shard for shard in manifest["shards"] if shard["split"] == split]
        print(
            f"{split}: {sum(shard['examples'] for shard in mine):,} examples, "
            f"{sum(shard['bytes'] for shard in mine) / 1e6:,.1f} MB in {len(mine):,} shards"
        )
    print(*statistics_table(statistics), sep="\n")
    print(f"The dataset is in {output}")
