"""Checks a shard by making its records again.

Equal bytes prove a record whole: its names and numbers, and every pixel of composite and mask. Only
where bytes differ are pictures decoded and compared, to say what is wrong; or to find that nothing
is, where an encoder of another version wrote them.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from depthmask.manifest import BACKGROUND_DEPTHS, INDEX, ShardEntry
from depthmask.records import parse_example, read_records
from depthmask.tally import Moments, Tally
from pipeline.dataset import Dataset, open_dataset
from pipeline.verify.check import DAMAGE
from pipeline.verify.depth import decode_depth
from transforms.codecs import channels_last, decode_jpeg, encoder_versions, open_image
from transforms.depth import Layers, is_flat
from transforms.elements import ChunkSpec, ComposedChunk, Placement, ShardKey
from transforms.index import index_rows
from transforms.io.files import open_file
from transforms.measure import measure
from transforms.prepared import PreparedInputs, PreparedSource

# What a picture is that has other pixels than it should.
_MEANING = {
    "image": "is not its foreground on its background",
    "mask": "the mask is not its foreground's at its place",
}
# How far means and standard deviations may lie from those before pictures were encoded: of grey
# depth, of depth in colours, which JPEG keeps at half the size, and where versions differ.
_GREY_LOSS, _COLOUR_LOSS, _OTHER_VERSION = 0.004, 0.03, 0.002


@dataclass
class ShardReport:
    """What reading one shard showed: problems by check, and how many examples were read.

    `decoded`: statistics of pictures as readers get them, of the kinds that lose by their codec.
    """

    examples: int = 0
    problems: dict[str, list[str]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    decoded: Tally = field(default_factory=Tally)

    def add(self, check: str, problem: str) -> None:
        self.problems.setdefault(check, []).append(problem)


def check_shard(path: str, number: int, start: int | None, limit: int | None) -> ShardReport:
    """Reads one shard, or its first `limit` examples, and compares it with what it should be.

    `path`: the dataset's. `number`: the shard's in the manifest. `start`: where its rows begin in
    index.csv, None where it has none.
    """
    return _checker(path).check(number, start or 0, limit)


@functools.cache
def _checker(path: str) -> _ShardChecker:
    """The dataset's, one a process: its shards have the same inputs."""
    return _ShardChecker(open_dataset(path))


class _ShardChecker:
    def __init__(self, dataset: Dataset) -> None:
        from pipeline.job import Draft  # with Beam, which takes seconds
        from transforms.compose import compose_chunk

        source = PreparedSource.of_dataset(dataset.path)
        # Of so many examples at a time as memory is for, whatever the recipe says.
        shards = dataset.recipe.shards.model_copy(update={"chunk": None})
        recipe = dataset.recipe.model_copy(update={"shards": shards})
        draft = Draft.of(recipe, source, None)
        self._dataset = dataset
        self._plan, self._encoder = draft.plan, draft.encoder
        self._layers = None
        if dataset.manifest.depth and BACKGROUND_DEPTHS in dataset.manifest.files:
            source = source.with_depths(dataset.path)
            self._layers = Layers.of(dataset.manifest.depth)
        self._inputs = PreparedInputs(source)
        self._compose = functools.partial(
            compose_chunk, inputs=self._inputs, drawing=recipe.drawing
        )
        self._same_bytes = _same_encoders(dataset)
        codecs = {"composites": recipe.image.format, "masks": recipe.masks.format}
        codecs |= {"depth": recipe.depth.codec.format} if dataset.manifest.depth else {}
        self._lossy = {kind for kind, codec in codecs.items() if codec == "jpeg"}

    def check(self, number: int, start: int, limit: int | None) -> ShardReport:
        shard, report = self._dataset.manifest.shards[number], ShardReport()
        try:
            with (
                open_file(self._dataset.file(shard.file)) as file,
                open_file(self._dataset.file(INDEX)) as index,
            ):
                index.seek(start)
                records = read_records(file)
                for spec in self._specs(shard, limit):
                    rows = index_rows(spec).encode()
                    if index.read(len(rows)) != rows:
                        report.add(
                            "records", f"index.csv, from byte {start}: not what the recipe places"
                        )
                    self._check_chunk(spec, records, report, limit is None)
                if limit is None and any(True for _ in records):
                    report.add("records", f"{shard.file}: has more records than examples")
                if limit is None and self._layers is not None:
                    self._check_left_out(shard, report)
        except DAMAGE as error:
            report.add("records", f"{shard.file}: after {report.examples:,} examples: {error}")
        if limit is None and "records" not in report.problems:
            self._check_tally(shard, report)
        return report

    def _check_left_out(self, shard: ShardEntry, report: ShardReport) -> None:
        """Looks whether there really is no depth for what was left out for want of it."""
        left_out = {example.id for example in shard.tally.left_out}
        for key in self._plan.chunk_keys(ShardKey(shard.split, shard.number)) if left_out else ():
            placements = self._plan.chunk(key).placements
            claimed = tuple(each for each in placements if each.id in left_out)
            drawn = self._drawn(self._compose(ChunkSpec(key, claimed))) if claimed else None
            if drawn is not None:
                for placement, flat in zip(claimed, is_flat(drawn), strict=True):
                    if not flat:
                        report.add("depth", f"{placement.id}: is left out, and there is depth")

    def _specs(self, shard: ShardEntry, limit: int | None) -> Iterator[ChunkSpec]:
        """Yields the chunks of a shard, or of its first examples, without those left out."""
        left_out = {example.id for example in shard.tally.left_out}
        wanted = shard.examples if limit is None else min(limit, shard.examples)
        for key in self._plan.chunk_keys(ShardKey(shard.split, shard.number)):
            spec = self._plan.chunk(key)
            kept = tuple(each for each in spec.placements if each.id not in left_out)[:wanted]
            wanted -= len(kept)
            if kept:
                yield ChunkSpec(key, kept)

    def _check_chunk(
        self, spec: ChunkSpec, records: Iterator[bytes], report: ShardReport, whole: bool
    ) -> None:
        from transforms.encode import example_records

        stored = list(itertools.islice(records, len(spec.placements)))
        if len(stored) < len(spec.placements):
            report.add("records", f"{len(spec.placements) - len(stored):,} records are missing")
            spec = dataclasses.replace(spec, placements=spec.placements[: len(stored)])
        if not stored:
            return
        chunk = self._encoder.encode_images(self._compose(spec))
        masks = self._encoder.encode_masks(chunk.masks)
        pictures = {"image": list(chunk.encoded_images or ()), "mask": masks}
        if self._dataset.manifest.depth:
            pictures["depth"] = [_depth_of(record) for record in stored]
        for i, record in enumerate(example_records(spec.placements, pictures)):
            if record != stored[i]:
                self._explain(chunk, i, stored[i], pictures, report)
        moments = {"composites": measure(chunk.images), "masks": measure(chunk.masks)}
        if "depth" in pictures:
            depths = self._depths(chunk, pictures["depth"], report)
            measured = self._layers is not None and self._layers.measured
            moments |= {"depth": measure(depths, zero_is_unknown=measured)} if len(depths) else {}
        report.tally += Tally(
            moments=moments,
            picture_bytes={name: sum(map(len, encoded)) for name, encoded in pictures.items()},
            empty_masks=int(np.count_nonzero(~chunk.masks.any(axis=(1, 2)))),
        )
        if whole and not report.problems:
            report.decoded += self._decoded(moments, pictures)
        report.examples += len(stored)

    def _explain(
        self,
        chunk: ComposedChunk,
        i: int,
        record: bytes,
        pictures: dict[str, list[bytes]],
        report: ShardReport,
    ) -> None:
        """Finds what is wrong with a record that has other bytes; puts its pictures in place."""
        placement = chunk.spec.placements[i]
        try:
            features: dict[str, Any] = parse_example(record)
            stored = {name: features.pop(name) for name in pictures}
            if _placement(features) != placement:
                found = features.get("id", b"")
                name = found.decode(errors="replace") if isinstance(found, bytes) else found
                report.add("records", f"{name} is not what the recipe places there")
                return
        except DAMAGE as error:
            report.add("records", f"{placement.id}: is not a record of an example: {error}")
            return
        for feature, check in (("image", "composites"), ("mask", "masks")):
            made, pictures[feature][i] = pictures[feature][i], stored[feature]
            if stored[feature] == made:
                continue
            try:
                fault = self._fault(stored[feature], made)
            except DAMAGE as error:
                report.add("pictures", f"{placement.id}: its {feature} does not decode: {error}")
                continue
            if fault:
                report.add(check, f"{placement.id}: {_MEANING[feature]}{fault}")

    def _fault(self, stored: bytes, made: bytes) -> str | None:
        """What is wrong with a picture of other bytes than it should have; None if nothing is.

        Raises what broken pictures raise.
        """
        found, wanted = open_image(stored), open_image(made)
        for name in ("format", "size", "mode"):
            if getattr(found, name) != getattr(wanted, name):
                return f": its {name} is {getattr(found, name)}, not {getattr(wanted, name)}"
        is_jpeg = wanted.format == "JPEG"
        reach = 0
        if is_jpeg:
            tables = [getattr(image, "quantization", {}) for image in (found, wanted)]
            if tables[0] != tables[1]:
                return ": it is stored at another quality"
            if not self._same_bytes:
                # Rounded otherwise before it is quantised, one coefficient is off by one step, and
                # a pixel by a quarter of it.
                reach = max(max(table) for table in tables[0].values()) // 4 + 2
        pixels = (channels_last(image.convert(_plain(image))) for image in (found, wanted))
        first, second = (values.astype(np.int16) for values in pixels)
        differs = (np.abs(first - second) > reach).any(axis=2)
        if differs.any():
            y, x = np.argwhere(differs)[0].tolist()
            return f", at x={x} y={y}"
        if self._same_bytes and (is_jpeg or self._dataset.recipe.compression != "pillow"):
            return ": the pixels are, but not as the encoder writes them"
        return None

    def _depths(
        self, chunk: ComposedChunk, encoded: Sequence[bytes], report: ShardReport
    ) -> np.ndarray:
        """Returns depth maps, [n, h, w] or [n, h, w, 3]: before they were encoded, where that is
        known, else decoded. Says which of them are none, or wrong.
        """
        meaning, storage = self._dataset.manifest.depth, self._dataset.recipe.depth
        assert meaning is not None
        drawn = self._drawn(chunk)
        depths = []
        for i, (placement, data) in enumerate(zip(chunk.spec.placements, encoded, strict=True)):
            try:
                depths.append(decode_depth(data, storage, meaning))
            except DAMAGE as error:
                report.add("depth", f"{placement.id}: {error}")
                continue
            if drawn is None:
                fault = storage.fault(depths[-1])
            else:
                read = decode_depth(storage.encode(drawn[i]), storage, meaning)
                fault = _unlike(depths[-1], read)
            if fault:
                report.add("depth", f"{placement.id}: {fault}")
        return np.array(depths) if drawn is None else drawn

    def _drawn(self, chunk: ComposedChunk) -> np.ndarray | None:
        """Depth of backgrounds with foregrounds before them, as it is stored; None: no such."""
        if self._layers is None:
            return None
        maps = [self._inputs.background_depth(place.background) for place in chunk.spec.placements]
        return self._dataset.recipe.depth.quantise(self._layers.draw(maps, chunk.masks))

    def _decoded(self, moments: dict[str, Moments], pictures: dict[str, list[bytes]]) -> Tally:
        """Statistics of examples as readers get them; `moments`: before they were encoded."""
        found = dict(moments)
        for kind, feature in (("composites", "image"), ("masks", "mask")):
            if kind in self._lossy:
                found[kind] = measure(np.stack([decode_jpeg(data) for data in pictures[feature]]))
        return Tally(found)

    def _check_tally(self, shard: ShardEntry, report: ShardReport) -> None:
        """Compares what the manifest counts of a shard with what was counted again."""
        found, stated = report.tally, shard.tally
        if stated.empty_masks not in (None, found.empty_masks):
            report.add(
                "statistics",
                f"{shard.file}: {found.empty_masks:,} masks are empty, and the manifest says "
                f"{stated.empty_masks:,}",
            )
        if found.picture_bytes != stated.picture_bytes:
            report.add("statistics", f"{shard.file}: the manifest has other sizes of pictures")
        for kind, moments in found.moments.items():
            if not _agree(moments, stated.moments[kind], self._loss(kind)):
                report.add(
                    "statistics", f"{shard.file}: the manifest has other statistics of {kind}"
                )

    def _loss(self, kind: str) -> float:
        """How far statistics of a kind may lie from what was counted again."""
        if kind != "depth" or self._layers is not None:
            return 0 if self._same_bytes else _OTHER_VERSION
        # Of a network's depth of composites the values before it was encoded are not known.
        if kind not in self._lossy:
            return 0
        return _GREY_LOSS if self._dataset.recipe.depth.channels == 1 else _COLOUR_LOSS


def _unlike(found: np.ndarray, drawn: np.ndarray) -> str | None:
    """Says where a map differs from what it should be; None where it does not."""
    differs = np.atleast_3d(found != drawn).any(axis=2)
    if not differs.any():
        return None
    y, x = np.argwhere(differs)[0].tolist()
    return f"not its background's depth with its foreground before it, at x={x} y={y}"


def _agree(found: Moments, stated: Moments, loss: float) -> bool:
    counts = [(each.images, each.pixels, each.peak, len(each.sums)) for each in (found, stated)]
    if not loss or counts[0] != counts[1]:
        return found == stated
    return all(
        abs(a - b) <= loss
        for name in ("mean", "std", "mean_image_std")
        for a, b in zip(getattr(found, name), getattr(stated, name), strict=True)
    )


def _same_encoders(dataset: Dataset) -> bool:
    """Whether what wrote the pictures is installed here, in the same versions."""
    installed = {"pillow": importlib.metadata.version("pillow"), **encoder_versions()}
    return installed.items() <= dataset.manifest.provenance.versions.items()


def _depth_of(record: bytes) -> bytes:
    data = parse_example(record).get("depth")
    if not isinstance(data, bytes):
        raise ValueError("a record without depth")
    return data


def _placement(features: dict[str, Any]) -> Placement | None:
    """What a record says of its example, its pictures aside; None where it says something else."""
    texts = {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in features.items()
    }
    placement = Placement.from_features(texts)
    return placement if placement.features == texts else None


def _plain(image: Image.Image) -> str:
    """The mode in which pixels of an image have 8 bits."""
    return "L" if image.mode == "1" else image.mode
