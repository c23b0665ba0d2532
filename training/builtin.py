"""Trains the depth network that ships with depthmask, from drawn rooms alone."""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import ops

from training.batches import Shape, Source, batches
from training.network import build, fold
from training.rooms import (
    FIGURES,
    LARGE,
    SMALL,
    PictureSet,
    draw_missing,
    load_figures,
    load_rooms,
)

_RATE = 2e-3
_WARM_UP = 300  # steps
_DECAY = 0.02
_EMA = 0.998
_SAVE_EVERY = 250  # steps


@dataclass(frozen=True)
class Stage:
    """`steps` batches of `count` pictures out of `rooms`; the pictures' sizes take turns."""

    steps: int
    count: int
    sizes: tuple[int, ...]
    rooms: tuple[PictureSet, ...]

    def shape(self, step: int) -> Shape:
        """The shape of a batch."""
        return Shape(self.count, self.sizes[step % len(self.sizes)])


@dataclass(frozen=True)
class Course:
    """What is learned from, and in which order."""

    figures: PictureSet
    stages: tuple[Stage, ...]

    @property
    def steps(self) -> int:
        """The steps of all stages."""
        return sum(stage.steps for stage in self.stages)


# Small pictures first, as they are quick to learn from; the sizes of real use last. The first
# stage makes do with half of the rooms, so that the others can be drawn meanwhile.
COURSE = Course(
    FIGURES,
    (
        Stage(2000, 32, (96,), (dataclasses.replace(SMALL, count=3000),)),
        Stage(4000, 32, (96,), (SMALL,)),
        Stage(3000, 24, (128, 160), (SMALL,)),
        Stage(2500, 16, (224, 160), (SMALL, LARGE)),
    ),
)


@keras.saving.register_keras_serializable("depthmask")  # type: ignore[untyped-decorator]
def depth_loss(truth: Any, predicted: Any) -> Any:
    """Returns how wrong depths in metres are, [n, h, w, 1] both, as one number.

    With d the difference of logarithms: |d|, |d| but for each picture's mean (what is wrong
    even at the right scale), and the slopes of d at four scales (edges where edges are).
    """
    d = ops.log(predicted) - ops.log(truth)
    loss = ops.mean(ops.abs(d))
    loss += 0.5 * ops.mean(ops.abs(d - ops.mean(d, axis=(1, 2, 3), keepdims=True)))
    for scale in range(4):
        if scale:
            d = ops.average_pool(d, 2, 2)
        across = ops.mean(ops.abs(d[:, :, 1:] - d[:, :, :-1]))
        down = ops.mean(ops.abs(d[:, 1:] - d[:, :-1]))
        loss += 0.25 * (across + down)
    return loss


def load_checkpoint(path: Path) -> Any:
    """Loads what `train` has saved, its optimizer included."""
    # Whatever else in this process has cleared Keras's register of functions.
    known = {"depthmask>depth_loss": depth_loss}
    return keras.saving.load_model(path, custom_objects=known)


def _compiled(steps: int) -> keras.Model:
    model = build(normalised=True)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - _WARM_UP), warmup_target=_RATE, warmup_steps=_WARM_UP
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=_DECAY, global_clipnorm=1.0, use_ema=True, ema_momentum=_EMA
    )
    model.compile(optimizer, loss=depth_loss, jit_compile=False)
    return model


def train(course: Course, seed: int, work: Path) -> keras.Model:
    """Draws what is missing in `work`, and trains, or resumes from the checkpoint there."""
    checkpoint = work / f"checkpoint-{seed}.keras"
    keras.utils.set_random_seed(seed)
    going_on = checkpoint.exists()
    model = load_checkpoint(checkpoint) if going_on else _compiled(course.steps)
    done = int(model.optimizer.iterations.numpy())
    first = 0
    for stage in course.stages:
        steps = range(max(first, done), first + stage.steps)
        first += stage.steps
        if not steps:
            continue
        draw_missing(work, seed, (course.figures, *stage.rooms))
        rooms = tuple(load_rooms(work, seed, part) for part in stage.rooms)
        source = Source(rooms, load_figures(work, seed, course.figures))
        _train_stage(model, stage, source, seed, steps, checkpoint)
    return model


def _train_stage(
    model: keras.Model, stage: Stage, source: Source, seed: int, steps: range, checkpoint: Path
) -> None:
    losses: list[float] = []
    began = time.monotonic()
    made = batches(source, seed, ((step, stage.shape(step)) for step in steps))
    for step, batch in zip(steps, made, strict=True):
        model.reset_metrics()
        losses.append(float(model.train_on_batch(*batch)))
        if (step + 1) % _SAVE_EVERY and step + 1 < steps.stop:
            continue
        pace = (time.monotonic() - began) / len(losses)
        print(f"step {step + 1}: loss {np.mean(losses):.4f}, {pace:.3f} s a step", flush=True)
        partial = checkpoint.with_suffix(".partial.keras")
        model.save(partial)
        partial.replace(checkpoint)
        losses.clear()
        began = time.monotonic()


def export(model: keras.Model, path: Path) -> None:
    """Writes what is shipped: the averaged weights, normalisation folded in, to predict only."""
    model.optimizer.finalize_variable_values(model.trainable_variables)
    path.parent.mkdir(parents=True, exist_ok=True)
    fold(model).save(path)


def main() -> None:
    """Draws rooms, trains the depth network on them, and writes it as a .keras file.

    What is drawn and a checkpoint are kept in the work folder: a run that was stopped is resumed.
    """
    parser = argparse.ArgumentParser("python -m training.builtin", description=main.__doc__)
    parser.add_argument("work", type=Path, help="folder for the drawn rooms and the checkpoint")
    parser.add_argument("model", type=Path, help="the .keras file to write")
    parser.add_argument("--seed", type=int, default=0, help="of rooms and training (default 0)")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    model = train(COURSE, arguments.seed, arguments.work)
    export(model, arguments.model)
    print(f"wrote {arguments.model}: next, python -m training.evaluate {arguments.model}")


if __name__ == "__main__":
    main()
