"""Reads exports with Hugging Face's datasets, in the environment of requirements-torch.txt.

    python tests/readers/by_hugging_face.py FOLDER_EXPORT PARQUET_EXPORT SPLIT SCALE

Prints, as JSON: by reader, each example's id with a digest of its pictures; depth is 16-bit values
times SCALE, as the exports' depth.json says.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from datasets import Image, load_dataset


def digests(rows: Iterable[dict[str, Any]], scale: float) -> dict[str, str]:
    found = {}
    for row in rows:
        image, mask = np.asarray(row["image"]), np.asarray(row["mask"].convert("L"))
        stored = np.asarray(row["depth"])
        assert stored.dtype == np.uint16, stored.dtype
        depth = stored.astype(np.float32) * np.float32(scale)
        data = b"".join(pixels.tobytes() for pixels in (image, mask, depth))
        found[row["id"]] = hashlib.sha256(data).hexdigest()
    return found


def main(folder: str, parquet: str, split: str, scale: str) -> None:
    found = {}
    rows = load_dataset("imagefolder", data_dir=f"{folder}/{split}", split="train")
    found["imagefolder"] = digests(rows, float(scale))
    whole = load_dataset(parquet)
    assert all(
        isinstance(whole[split].features[name], Image) for name in ("image", "mask", "depth")
    )
    found["parquet"] = digests(whole[split], float(scale))
    stream = load_dataset(parquet, split=split, streaming=True)
    found["parquet as a stream"] = digests(stream, float(scale))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
