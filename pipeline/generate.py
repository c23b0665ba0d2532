"""The main job: from folders of pictures to a finished dataset."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import sys
from typing import Any

import apache_beam as beam
import google_crc32c
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from depthmask.errors import UserError
from depthmask.manifest import PREPARED
from pipeline.dataset.description import DatasetDescription, DepthInfo
from pipeline.graph import build_graph
from pipeline.inputs.findings import print_findings
from pipeline.inputs.prepare import PreparedSet, prepare_inputs
from pipeline.job import Job
from pipeline.plan.plan import Plan, shards_text
from pipeline.probe import make_trial
from pipeline.recipes.schema import Recipe
from pipeline.run.dataflow import depth_device, resource_hints
from pipeline.run.disk import check_room_on_disk, size_text
from pipeline.run.lock import at_work
from pipeline.run.progress import Progress, count_examples
from pipeline.run.submit import run_pipeline
from pipeline.run.workspace import INPUTS, State, Workspace, differences
from transforms.codecs import encoder_versions
from transforms.depth.model import DepthStage
from transforms.io.files import crc_text, join, read_file, rename_file
from transforms.prepared import PreparedSource
from transforms.segments import ShardLayout

# A change of any of these may change bytes.
_VERSIONED = ("depthmask", "apache-beam", "numpy", "pillow")
_VERSIONED_DEPTH = {"onnx": ("onnxruntime",)}


def generate(job: Job, output: str, options: PipelineOptions, restart: bool = False) -> int:
    """Makes a dataset in the folder `output`, or goes on where an interrupted run stopped.

    A folder with an unfinished run of just the same job is completed, to the same bytes; one with
    the finished dataset is left as it is. `restart` deletes what a run has made there, first.
    Gives the number of examples that had to be left out, which errors.jsonl names.
    Raises UserError for bad input, before any example is made and with nothing harmed, and RunError
    where the run fails: what it has finished is used by the next. A file system that fails as the
    folder is first looked at gives OSError.
    """
    FileSystems.set_options(options)  # credentials: Beam itself would set them only later
    workspace = Workspace(output)
    workspace.state()  # refuses a folder of something else before anything is put into it
    with at_work(workspace):
        inputs = prepare_inputs(
            job.folders, job.recipe, workspace.work_path(INPUTS), job.skip_bad_inputs
        )
        plan = Plan(job.recipe, inputs.source.backgrounds, inputs.source.foregrounds)
        _ = plan.splits  # refuses what cannot be dealt out
        stage = job.depth_stage
        state = State.FRESH if restart else workspace.state()
        trial = make_trial(stage, plan, inputs.source) if stage or state is State.FRESH else None
        depth = trial.depth if trial else None
        device = depth_device(options) if depth else {}
        description = _describe(_settled(job), workspace, inputs, depth, device)
        print_findings(inputs.findings)
        if trial and state is State.FRESH:
            # Segments are still there while they are joined to shards.
            needed = 2 * trial.bytes_an_example * plan.examples
            check_room_on_disk(
                output, "the dataset", needed, workspace.total_bytes() if restart else 0
            )
        if restart:  # only now that nothing is refused any more
            workspace.clear()
        if state is State.FINISHED:
            _refuse_another(workspace.read_manifest()["run"], description.run, output, state)
            _check_shards_are_there(workspace)
            print("nothing is left to do", file=sys.stderr)
        else:
            if state is State.UNFINISHED:
                _refuse_another(workspace.read_run(), description.run, output, state)
                workspace.sweep()
                print("going on with the unfinished run", file=sys.stderr)
            workspace.write_run(description.run)
            for name in PREPARED:
                rename_file(join(workspace.work_path(INPUTS), name), workspace.path(name))
            run_job(plan, inputs.source.moved(output), stage, description, options)
        return print_summary(output)


def _settled(job: Job) -> Recipe:
    """The recipe, saying of "given" masks what was given."""
    masks = job.recipe.masks
    if masks.source == "given":
        source = "alpha" if job.folders.masks is None else "file"
        masks = masks.model_copy(update={"source": source})
    return job.recipe.model_copy(update={"masks": masks})


def _refuse_another(before: dict[str, Any], now: dict[str, Any], output: str, state: State) -> None:
    lines = differences(before, now)
    for name in PREPARED:
        lines = [
            f"{line} (of the {name.split('.')[0]}: pictures were added, taken away or changed)"
            if line.startswith(f"inputs.{name}")
            else line
            for line in lines
        ]
    if lines:
        listing = "\n".join(f"  {line}" for line in lines)
        raise UserError(
            f"{output} holds {state.value} of another job. What differs:\n{listing}\n"
            "Give another --output, or begin anew by --restart, which deletes what is there."
        )


def _check_shards_are_there(workspace: Workspace) -> None:
    sizes = workspace.sizes()
    for shard in workspace.read_manifest()["shards"]:
        if sizes.get(shard["file"]) != shard["bytes"]:
            raise UserError(
                f"{workspace.path(shard['file'])} is missing or damaged. Make it again by: "
                f"depthmask verify --repair {workspace.output}"
            )


def shard_layout(plan: Plan, description: DatasetDescription) -> ShardLayout:
    """Where the run that makes this dataset puts what it makes."""
    workspace = description.workspace
    run = crc_text(google_crc32c.value(json.dumps(description.run, sort_keys=True).encode()))
    return ShardLayout(workspace.output, workspace.work_folder, run, plan.shard_sizes)


def run_job(
    plan: Plan,
    source: PreparedSource,
    depth: DepthStage | None,
    description: DatasetDescription,
    options: PipelineOptions,
) -> None:
    """Runs the graph over a workspace whose run is written down. Raises RunError."""
    layout = shard_layout(plan, description)
    print(plan.summary, file=sys.stderr)
    pipeline = beam.Pipeline(options=options)
    hints = resource_hints(options, depth is not None)
    build_graph(pipeline, plan, source, depth, layout, description, hints)
    with Progress(plan.examples, layout.work_folder, functools.partial(count_examples, layout)):
        run_pipeline(pipeline)


def _describe(
    recipe: Recipe,
    workspace: Workspace,
    inputs: PreparedSet,
    depth: DepthInfo | None,
    device: dict[str, str],
) -> DatasetDescription:
    names = _VERSIONED + (
        _VERSIONED_DEPTH.get(depth.kind, ("keras", "tensorflow")) if depth else ()
    )
    versions = {name: _version(name) for name in names}
    return DatasetDescription(
        output=workspace.output,
        recipe=recipe,
        input_tally=inputs.tally,
        input_checksums={name: crc_text(inputs.checksums[name]) for name in PREPARED},
        findings=tuple(finding.to_json() for finding in inputs.findings),
        versions=versions | encoder_versions() | device,
        backgrounds=len(inputs.source.backgrounds),
        foregrounds=len(inputs.source.foregrounds),
        depth=depth,
    )


def _version(name: str) -> str:
    """The version of a package; onnxruntime's build for GPUs goes by another name."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version(f"{name}-gpu")


def print_summary(output: str) -> int:
    """Prints what a finished dataset holds; gives the number of examples that were left out."""
    workspace = Workspace(output)
    manifest = workspace.read_manifest()
    statistics = json.loads(read_file(workspace.path("statistics.json")))
    for split in dict.fromkeys(shard["split"] for shard in manifest["shards"]):
        mine = [shard for shard in manifest["shards"] if shard["split"] == split]
        print(
            f"{split}: {sum(shard['examples'] for shard in mine):,} examples, "
            f"{size_text(sum(shard['bytes'] for shard in mine))} in "
            f"{shards_text(len(mine))}"
        )
    print(f"{'':18}{'mean':37}std")
    for kind, figures in statistics.items():
        mean, std = (" ".join(f"{value:.6f}" for value in figures[key]) for key in ("mean", "std"))
        print(f"{kind.replace('_', ' '):18}{mean:37}{std}")
    print(f"The dataset is in {output}")
    print(f"See it:   depthmask gallery {output} gallery.html")
    print(f"Check it: depthmask verify {output}")
    left_out = sum(len(shard["tally"]["left_out"]) for shard in manifest["shards"])
    if left_out:
        print(f"{left_out:,} examples were left out; see {workspace.path('errors.jsonl')}")
    return left_out
