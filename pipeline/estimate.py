"""What a job would make, before anything is spent on it."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass

from pipeline.errors import UserError
from pipeline.inputs import prepare_inputs
from pipeline.job import Job
from pipeline.plan import Plan
from transforms.chunks import ChunkKey
from transforms.compose import compose_chunk
from transforms.depth.errors import DepthModelError
from transforms.depth.loading import load_depth_model
from transforms.encode import RecordEncoder
from transforms.prepared import PreparedInputs

# Examples that are made to learn how large one is.
_SAMPLE = 64


@dataclass(frozen=True)
class Worker:
    """What one worker makes and costs: examples a second as measured, the price of its hour."""

    examples_per_second: float
    price_per_hour: float


def estimate(job: Job, worker: Worker | None = None) -> str:
    """Counts, shards and estimated bytes of a job, and its whole recipe, as text.

    With a `worker`, also its hours and their price. Raises UserError for whatever `generate` would
    refuse.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs = prepare_inputs(job.folders, job.recipe, folder, job.skip_bad_inputs)
        plan = Plan(job.recipe, inputs.source.backgrounds, inputs.source.foregrounds)
        lines = [plan.summary]
        size = _bytes_an_example(job, plan, PreparedInputs(inputs.source))
    for name, split in plan.splits.items():
        lines.append(
            f"  {name}: {split.examples:,} examples, {len(split.shard_sizes):,} shards, "
            f"about {split.examples * size / 1e6:,.1f} MB"
        )
    lines += [
        f"  about {plan.examples * size / 1e9:,.2f} GB in all ({size:,.0f} bytes an example), "
        "and as much again while it is being made",
        *([_cost(plan.examples, worker)] if worker else []),
        "",
        job.recipe.to_yaml().rstrip(),
    ]
    return "\n".join(lines)


def _cost(examples: int, worker: Worker) -> str:
    hours = examples / worker.examples_per_second / 3600
    return (
        f"  about {hours:,.1f} worker-hours at {worker.examples_per_second:g} examples a second, "
        f"{hours * worker.price_per_hour:,.2f} at {worker.price_per_hour:g} an hour; storage, and "
        "workers that start or wait, come on top"
    )


def _bytes_an_example(job: Job, plan: Plan, inputs: PreparedInputs) -> float:
    shard = plan.shard_keys()[0]
    size = plan.shard_sizes[shard.split][shard.shard]
    key = ChunkKey(shard, 0, min(_SAMPLE, size))
    chunk = compose_chunk(plan.chunk(key), inputs, job.recipe.masks.binary_threshold)
    stage = job.depth_stage
    if stage is not None:
        try:
            model = load_depth_model(stage)
            chunk = dataclasses.replace(chunk, depths=model.predict(chunk.images))
        except DepthModelError as error:
            raise UserError(str(error)) from error
    encoder = RecordEncoder(
        job.recipe.image,
        job.recipe.masks,
        not job.recipe.masks.soft,
        stage.storage if stage else None,
    )
    return len(encoder.encode(chunk).records) / key.examples
