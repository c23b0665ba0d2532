"""Making datasets from Python: `depthmask.generate` and `depthmask.plan`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.cost import Estimate, estimate
from pipeline.dataset import Dataset
from pipeline.generate import generate as _generate
from pipeline.inputs import SAME_NAME
from pipeline.recipes import Recipe
from pipeline.request import DEFAULT_MODEL, DEFAULT_RECIPE, Request
from transforms.io.files import AnyPath


def generate(
    output: AnyPath,
    *,
    backgrounds: AnyPath,
    foregrounds: AnyPath,
    masks: AnyPath | None = None,
    mask_name: str = SAME_NAME,
    background_depths: AnyPath | None = None,
    recipe: AnyPath | Recipe = DEFAULT_RECIPE,
    settings: Mapping[str, Any] | Iterable[str] = (),
    depth_model: str | None = DEFAULT_MODEL,
    depth_model_licence: str | None = None,
    skip_bad_inputs: bool = False,
    restart: bool = False,
    options: Sequence[str] = (),
) -> Dataset:
    """Makes a dataset in the folder `output`, or completes an interrupted run: depthmask generate.

    It runs on all cores, in processes that import the main program again: in a script, call it
    beneath ``if __name__ == "__main__":``.

    Args:
      output: a new folder, or an unfinished run's. This and every other path may be ``gs://…``.
      backgrounds: a folder of pictures; the name of a subfolder is a class.
      foregrounds: a folder of cut-outs with transparency (RGBA).
      masks: a folder of mask files, named as the foregrounds.
      mask_name: how these are named if otherwise: ``mask_{name}``, ``mask{number}``.
      background_depths: a folder of measured depth, named as the backgrounds; no model is used.
      recipe: the name of one that comes with depthmask, a YAML file, or a `Recipe`.
      settings: changes of the recipe: ``{"placements.per_pair": 4}`` or
        ``["placements.per_pair=4"]``.
      depth_model: as ``--depth-model``; None for no depth.
      depth_model_licence: of its weights, for the dataset's card, where its files do not say it.
      skip_bad_inputs: go on without bad pictures, and list them in errors.jsonl.
      restart: first delete what an earlier run made in `output`.
      options: Beam's own, such as ``["--runner=DataflowRunner"]``.

    Returns:
      The finished dataset: its manifest, statistics and recipe. The manifest names the examples
      that had to be left out.

    Raises:
      UserError: something that is asked for cannot be; nothing was made or harmed.
      RunError: the run failed. What it finished is used when it is called again.
    """
    request = Request.of(
        backgrounds,
        foregrounds,
        masks=masks,
        mask_name=mask_name,
        background_depths=background_depths,
        recipe=recipe,
        settings=settings,
        depth_model=depth_model,
        depth_model_licence=depth_model_licence,
        skip_bad_inputs=skip_bad_inputs,
    )
    return _generate(request, output, options, restart)


def plan(
    *,
    backgrounds: AnyPath,
    foregrounds: AnyPath,
    masks: AnyPath | None = None,
    mask_name: str = SAME_NAME,
    background_depths: AnyPath | None = None,
    recipe: AnyPath | Recipe = DEFAULT_RECIPE,
    settings: Mapping[str, Any] | Iterable[str] = (),
    depth_model: str | None = DEFAULT_MODEL,
    depth_model_licence: str | None = None,
    skip_bad_inputs: bool = False,
) -> Estimate:
    """Checks all inputs and says what `generate` would make of the same: depthmask plan.

    Arguments and errors are those of `generate`. Printing the result shows counts, shards,
    estimated bytes and the whole recipe.
    """
    request = Request.of(
        backgrounds,
        foregrounds,
        masks=masks,
        mask_name=mask_name,
        background_depths=background_depths,
        recipe=recipe,
        settings=settings,
        depth_model=depth_model,
        depth_model_licence=depth_model_licence,
        skip_bad_inputs=skip_bad_inputs,
    )
    return estimate(request)
