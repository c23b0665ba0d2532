"""What a request would make and cost, before the long work begins."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

from pipeline.inputs import Finding, log_findings, prepare_inputs
from pipeline.job import Draft
from pipeline.plan import Plan, shards_text
from pipeline.probe import probe
from pipeline.request import Request
from pipeline.run import size_text


@dataclass(frozen=True)
class Worker:
    """One worker: how many examples a second it makes, as measured, and the price of its hour."""

    examples_per_second: float
    price_per_hour: float

    def cost(self, examples: int) -> str:
        """Returns the hours that `examples` take, and their price, as text."""
        hours = examples / self.examples_per_second / 3600
        return (
            f"about {hours:,.1f} worker-hours at {self.examples_per_second:g} examples a second, "
            f"{hours * self.price_per_hour:,.2f} at {self.price_per_hour:g} an hour; storage, and "
            "workers that start or wait, come on top"
        )


@dataclass(frozen=True)
class Estimate:
    """What a request would make. As text: counts, shards, estimated bytes and the whole recipe.

    `empty_masks`: the share of examples of whose foreground nothing is seen. `findings`: what is
    wrong with the inputs. `worker`: the text has what it would cost.
    """

    plan: Plan
    bytes_an_example: float
    empty_masks: float
    findings: tuple[Finding, ...]
    worker: Worker | None = None

    def __str__(self) -> str:
        plan, size = self.plan, self.bytes_an_example
        lines = [plan.summary]
        for name, split in plan.splits.items():
            lines.append(
                f"  {name}: {split.examples:,} examples, {shards_text(len(split.shard_sizes))}, "
                f"about {size_text(split.examples * size)}"
            )
        lines.append(
            f"  about {size_text(plan.examples * size)} in all ({size:,.0f} bytes an example), "
            "and as much again while it is being made"
        )
        if self.empty_masks:
            lines.append(f"  about {self.empty_masks:.0%} of the masks are empty")
        if self.worker:
            lines.append(f"  {self.worker.cost(plan.examples)}")
        return "\n".join([*lines, "", plan.recipe.to_yaml().rstrip()])


def estimate(request: Request, worker: Worker | None = None) -> Estimate:
    """Checks all inputs and makes the first examples. Raises UserError where `generate` would."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = prepare_inputs(request.folders, request.recipe, folder, request.skip_bad_inputs)
        draft = Draft.of(request.recipe, inputs.source, request.depth_model)
        probed = probe(draft)
    log_findings(inputs.findings)
    return Estimate(
        plan=draft.plan,
        bytes_an_example=probed.bytes_an_example,
        empty_masks=probed.empty_masks,
        findings=tuple(inputs.findings),
        worker=worker,
    )
