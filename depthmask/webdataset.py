"""Decoding the samples of an export by ``--layout webdataset``."""

from __future__ import annotations

import json
from typing import Any

from depthmask.decoding import decode_pixels, depth_of
from depthmask.manifest import DepthMeaning


def decode(sample: dict[str, Any]) -> dict[str, Any]:
    """Returns a sample's pictures as `depthmask.load` gives them, with what its JSON says.

    For ``webdataset.WebDataset(tars).map(depthmask.webdataset.decode)``, in place of that package's
    own ``decode``, which knows no depth. Raises what Pillow does where a picture is damaged.
    """
    example: dict[str, Any] = json.loads(sample["json"])
    depth = example.pop("depth", None)
    for key, data in sample.items():
        kind = key.partition(".")[0]
        if kind in ("image", "mask", "depth"):
            example[kind] = decode_pixels(data)
    if depth is not None:
        example["depth"] = depth_of(DepthMeaning.from_json(depth), example["depth"])
    return example
