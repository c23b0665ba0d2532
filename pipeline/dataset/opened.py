"""A finished dataset, opened: its manifest, its recipe, and whether its files are whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from depthmask.errors import DatasetError, UserError, first_line
from depthmask.manifest import MANIFEST, Manifest, ShardEntry, crc_text
from pipeline.plan import Plan
from pipeline.recipes import Recipe
from transforms.depth import ModelChoice
from transforms.io.files import AnyPath, checked_path, exists, join, read_file, stored_checksum


@dataclass(frozen=True)
class Dataset:
    """A finished dataset, as its manifest describes it."""

    path: str
    manifest: Manifest
    recipe: Recipe

    def file(self, name: str) -> str:
        """Returns the path of a file of the dataset."""
        return join(self.path, name)


def open_dataset(path: AnyPath) -> Dataset:
    """Raises DatasetError where there is no finished dataset, or its manifest is damaged."""
    path = checked_path(path)
    manifest_path = join(path, MANIFEST)
    try:
        data = read_file(manifest_path)
    except OSError as error:
        if exists(manifest_path):
            raise DatasetError(f"{manifest_path} cannot be read: {first_line(error)}") from error
        raise DatasetError(
            f"{manifest_path} does not exist, so this is not a finished dataset. Give a folder "
            "that generate has finished."
        ) from error
    manifest = Manifest.from_bytes(data, manifest_path)
    try:
        recipe = Recipe.model_validate(manifest.provenance.recipe)
    except ValueError as error:
        raise DatasetError(
            f"{manifest_path} is damaged, or another version of depthmask made it: its recipe is "
            f"not valid: {first_line(error)}."
        ) from error
    return Dataset(path, manifest, recipe)


@contextlib.contextmanager
def reading_from(path: str) -> Iterator[None]:
    """Raises DatasetError where what the block reads of the dataset in `path` is damaged."""
    try:
        yield
    # Records may hold anything: missing, of another type, no picture (SyntaxError is Pillow's).
    except (
        *(OSError, ValueError, LookupError, OverflowError),
        *(SyntaxError, TypeError, AttributeError),
    ) as error:
        if isinstance(error, UserError):
            raise
        raise DatasetError(
            f"{path} is damaged: {error}. Repair it with: depthmask verify --repair {path}"
        ) from error


def check_plan(dataset: Dataset, plan: Plan) -> None:
    """Raises DatasetError where the dataset's shards are not those of its recipe and inputs."""
    if list(dataset.manifest.shard_sizes.items()) != list(plan.shard_sizes.items()):
        raise DatasetError(
            f"{dataset.file(MANIFEST)}: its shards are not those of its recipe and inputs. Put it "
            "back from a copy, or make the dataset again."
        )


def check_model(dataset: Dataset, model: ModelChoice) -> None:
    """Raises UserError where another model made the dataset's depth."""
    given, made_by = model.identity(), dataset.manifest.provenance.depth_model
    if made_by is None:
        raise UserError(f"{dataset.path} has no depth: leave out --depth-model.")
    if given != made_by:
        raise UserError(
            f"this dataset's depth was made by {made_by} (CRC-32C {crc_text(made_by.crc32c)}), not "
            f"by {given} (CRC-32C {crc_text(given.crc32c)}). Give the same model under the same "
            "name: kind and name can decide its scale."
        )


def in_proportion(dataset: Dataset, count: int) -> Iterator[tuple[ShardEntry, int]]:
    """Yields each shard and how many of `count` examples it has, so that all splits are seen."""
    total = max(dataset.manifest.examples, 1)
    before = done = 0
    for shard in dataset.manifest.shards:
        # Rounded over the whole, so that shares of small shards add up too.
        before += shard.examples
        wanted = -(-min(count, total) * before // total) - done
        done += wanted
        yield shard, wanted


@dataclass(frozen=True)
class FilesCheck:
    """What looking at all files of a dataset showed.

    `missing`: names. `problems`: what is wrong with any file, missing ones too.
    """

    files: int
    bytes: int
    missing: tuple[str, ...]
    problems: tuple[str, ...]


def check_files(dataset: Dataset) -> FilesCheck:
    """Compares every file that the manifest names with its size and checksum there."""
    sizes = {shard.file: shard.bytes for shard in dataset.manifest.shards}
    total = 0
    missing, problems = [], []
    for name, crc in dataset.manifest.checksums.items():
        try:
            found_crc, found_size = stored_checksum(dataset.file(name))
        except OSError:
            missing.append(name)
            problems.append(f"{name} is missing")
            continue
        total += found_size
        size = sizes.get(name, found_size)
        if found_size != size:
            problems.append(f"{name} has {found_size:,} bytes instead of {size:,}")
        elif found_crc != crc:
            problems.append(f"{name} has CRC-32C {crc_text(found_crc)} instead of {crc_text(crc)}")
    return FilesCheck(len(dataset.manifest.checksums), total, tuple(missing), tuple(problems))
