"""What a job would make, before anything is spent on it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

from pipeline.inputs.findings import print_findings
from pipeline.inputs.prepare import prepare_inputs
from pipeline.job import Job
from pipeline.plan.plan import Plan, shards_text
from pipeline.probe import make_trial
from pipeline.run.disk import size_text


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
        size = make_trial(job.depth_stage, plan, inputs.source).bytes_an_example
    print_findings(inputs.findings)
    for name, split in plan.splits.items():
        lines.append(
            f"  {name}: {split.examples:,} examples, {shards_text(len(split.shard_sizes))}, "
            f"about {size_text(split.examples * size)}"
        )
    lines += [
        f"  about {size_text(plan.examples * size)} in all ({size:,.0f} bytes an example), "
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
