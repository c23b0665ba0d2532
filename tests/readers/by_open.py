"""Reads a dataset with depthmask.open, in the environment of requirements-torch.txt.

    python tests/readers/by_open.py DATASET SPLIT

Prints, as JSON: by way of reading, each example's id with a digest of its pictures. Fails where
there is a dataset in a folder of another name.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from typing import Any

import depthmask


def digests(examples: Iterable[dict[str, Any]]) -> dict[str, str]:
    found = {}
    for example in examples:
        data = b"".join(example[kind].tobytes() for kind in ("image", "mask", "depth"))
        found[example["id"]] = hashlib.sha256(data).hexdigest()
    return found


def main(path: str, split: str) -> None:
    examples = depthmask.open(path).examples(split)
    numbers = reversed(range(len(examples)))
    read = {
        "in order": digests(examples),
        "by number": digests(examples[number] for number in numbers),
    }
    try:
        depthmask.open(f"{path}-none")
    except depthmask.DatasetError:
        json.dump(read, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
