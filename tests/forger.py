"""Changes a dataset as a careful forger would: whatever follows from the change is put right."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from PIL import Image

from depthmask.manifest import CHECKED_FILES, INDEX, PREPARED, Manifest, crc_text
from depthmask.records import frame_record, parse_example, serialize_example, unframe_records
from depthmask.tally import Tally
from pipeline.dataset import described
from pipeline.recipes import Recipe
from transforms.index import INDEX_HEADER
from transforms.measure import measure

Features = dict[str, Any]


class Forger:
    """A dataset that is changed. Of what is not changed by hand, all sums and checksums agree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own: set[str] = set()

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.path / "manifest.json").read_text())

    def change_manifest(self, change: Callable[[dict[str, Any]], Any]) -> None:
        manifest = self.manifest
        change(manifest)
        (self.path / "manifest.json").write_text(json.dumps(manifest))

    def change_text(self, name: str, before: str, after: str) -> None:
        """Changes a file beside the shards; it stays so."""
        text = (self.path / name).read_text()
        assert before in text, text
        self.write(name, text.replace(before, after, 1))

    def write(self, name: str, text: str) -> None:
        self._own.add(name)
        (self.path / name).write_text(text)

    def change_shard(self, number: int, change: Callable[[list[Features]], Any]) -> None:
        """Changes the records of a shard, and what the manifest counts of them but for pixels.

        Of depth, those too: nothing else says what they should be.
        """
        entry = self.manifest["shards"][number]
        records = self._rewrite(entry["file"], change)
        data = (self.path / entry["file"]).read_bytes()

        def count(manifest: dict[str, Any]) -> None:
            shard = manifest["shards"][number]
            for kind in shard["tally"]["picture_bytes"]:
                sizes = [len(features[kind]) for features in records if kind in features]
                shard["tally"]["picture_bytes"][kind] = sum(sizes)
            if "depth" in shard["tally"]["moments"]:
                maps = [np.asarray(Image.open(io.BytesIO(each["depth"]))) for each in records]
                shard["tally"]["moments"]["depth"] = measure(np.stack(maps)).to_json()
            shard["bytes"], shard["crc32c"] = len(data), crc_text(google_crc32c.value(data))

        self.change_manifest(count)

    def change_inputs(self, name: str, change: Callable[[list[Features]], Any]) -> None:
        self._rewrite(name, change)

    def _rewrite(self, name: str, change: Callable[[list[Features]], Any]) -> list[Features]:
        path = self.path / name
        examples: list[Features] = [*map(parse_example, unframe_records(path.read_bytes()))]
        change(examples)
        path.write_bytes(b"".join(frame_record(serialize_example(each)) for each in examples))
        return examples

    def settle(self) -> None:
        """Makes everything agree again that was not changed by hand."""

        def sums(manifest: dict[str, Any]) -> None:
            for name in CHECKED_FILES:
                crc = crc_text(google_crc32c.value((self.path / name).read_bytes()))
                manifest["files"][name] = crc
                if name in PREPARED:
                    manifest["provenance"]["inputs"][name] = crc
            manifest["examples"] = sum(shard["examples"] for shard in manifest["shards"])

        self.change_manifest(sums)
        manifest = Manifest.from_json(self.manifest)
        recipe = Recipe.model_validate(manifest.provenance.recipe)
        for name, text in described(recipe, manifest, manifest.tally.moments).items():
            if name not in self._own:
                (self.path / name).write_bytes(text)
        self.change_manifest(sums)

    def index(self, change: Callable[[list[str]], Any]) -> None:
        """Changes the rows of index.csv, header and all."""
        rows = (self.path / INDEX).read_text().splitlines(keepends=True)
        assert rows[0].encode() == INDEX_HEADER
        change(rows)
        (self.path / INDEX).write_text("".join(rows))

    def shift_tally(self, number: int, kind: str, share: float) -> None:
        """Moves the mean that the manifest states of a shard, by a share of the greatest value."""

        def shift(manifest: dict[str, Any]) -> None:
            tally = manifest["shards"][number]["tally"]
            moments = Tally.from_json(tally).moments[kind]
            step = round(share * moments.peak * moments.pixels)
            # Sums that pictures could have: every pixel a little brighter.
            level = step / moments.pixels
            tally["moments"][kind] = dataclasses.replace(
                moments,
                sums=tuple(total + step for total in moments.sums),
                squares=tuple(
                    round(square + 2 * level * total + level**2 * moments.pixels) + 1
                    for square, total in zip(moments.squares, moments.sums, strict=True)
                ),
            ).to_json()

        self.change_manifest(shift)
