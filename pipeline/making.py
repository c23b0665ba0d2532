"""Making a dataset: running the graph over its workspace, for all of it or for what is damaged."""

from __future__ import annotations

import dataclasses
import logging

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from depthmask.errors import RunError
from depthmask.manifest import (
    BACKGROUND_DEPTHS,
    CARD,
    CROISSANT,
    FORMAT_VERSION,
    MANIFEST,
    Manifest,
    ShardEntry,
)
from pipeline.dataset import Dataset, open_dataset
from pipeline.graph import build_depth_graph, build_graph
from pipeline.job import Job
from pipeline.run import SET_ASIDE, Progress, Workspace
from pipeline.run.dataflow import resource_hints
from pipeline.run.submit import run_pipeline
from transforms.elements import ShardKey
from transforms.index import index_rows
from transforms.io.files import exists, read_file, stored_checksum

_log = logging.getLogger("depthmask")


def run_job(job: Job, workspace: Workspace, options: PipelineOptions) -> None:
    """Runs the graph over a workspace that has the job's provenance. Raises RunError."""
    _log.info(job.plan.summary)
    if job.depth and job.layers:
        job = _with_background_depths(job, workspace, options)
    pipeline = beam.Pipeline(options=options)
    in_graph = job.depth is not None and job.layers is None
    build_graph(pipeline, job, resource_hints(options, depth=in_graph))
    store, sizes = job.store, job.store.sizes_by_name
    with Progress(job.plan.examples, store.work_folder, lambda: store.count_examples(sizes)):
        run_pipeline(pipeline, workspace.check)


def _with_background_depths(job: Job, workspace: Workspace, options: PipelineOptions) -> Job:
    """Returns the job with depth of its backgrounds, estimated unless an earlier run has done it.

    In a run of its own: no later worker needs the network, nor a GPU.
    """
    store, total = job.depth_store, len(job.source.backgrounds)
    if not store.find_file(BACKGROUND_DEPTHS):
        _log.info(f"estimating the depth of {total:,} backgrounds")
        pipeline = beam.Pipeline(options=options)
        build_depth_graph(pipeline, job, resource_hints(options, depth=True))
        sizes = {BACKGROUND_DEPTHS: total}
        with Progress(total, store.work_folder, lambda: store.count_examples(sizes), "backgrounds"):
            run_pipeline(pipeline, workspace.check)
    finished = store.find_file(BACKGROUND_DEPTHS)
    if not finished:
        raise RunError(f"{store.path(BACKGROUND_DEPTHS)} is not what was written")
    manifest = job.description.manifest
    files = {**manifest.files, BACKGROUND_DEPTHS: finished.written[0].crc32c}
    description = dataclasses.replace(
        job.description, manifest=dataclasses.replace(manifest, files=files)
    )
    source = job.source.with_depths(workspace.output)
    return dataclasses.replace(job, source=source, description=description)


def remake(
    dataset: Dataset, job: Job, workspace: Workspace, options: PipelineOptions
) -> tuple[str, ...]:
    """Makes a finished dataset whole again; returns the names of the shards that were made.

    That is a run that is taken up again: good shards are written down as finished, the manifest is
    set aside, and the rest is made as ever. Interrupted, it leaves an unfinished run. Raises
    RunError where what was made is not what the manifest promises.
    """
    manifest = dataset.manifest
    damaged = []
    crc = manifest.files.get(BACKGROUND_DEPTHS)
    if job.layers and crc is not None and is_intact(dataset.file(BACKGROUND_DEPTHS), crc):
        job.depth_store.describe(stored_checksum(dataset.file(BACKGROUND_DEPTHS))[1], crc)
    for entry in manifest.shards:
        if is_intact(dataset.file(entry.file), entry.crc32c):
            _mark_finished(entry, job)
        else:
            damaged.append(entry.file)
            _log.info(f"making {entry.file} again")
    workspace.write_provenance(manifest.provenance.to_json())
    workspace.set_aside()
    run_job(job, workspace, options)
    _refuse_changes(manifest, open_dataset(dataset.path).manifest)
    return tuple(damaged)


def check_remade(workspace: Workspace) -> None:
    """Does what a `remake` did not come to that was interrupted just before its end.

    Raises RunError as it would have.
    """
    path = workspace.work_path(SET_ASIDE)
    if exists(path) and exists(workspace.path(MANIFEST)):
        before = Manifest.from_bytes(read_file(path), path)
        _refuse_changes(before, open_dataset(workspace.output).manifest)


def _refuse_changes(before: Manifest, now: Manifest) -> None:
    found = now.checksums
    # What describes a dataset of a former format is written anew, in the present one.
    kept = {entry.file: entry.crc32c for entry in before.shards}
    if before.format == FORMAT_VERSION:
        kept = before.checksums
    changed = [name for name, crc in kept.items() if found.get(name) != crc]
    if changed:
        raise RunError(
            f"these came out otherwise than before: {', '.join(changed)}. Other versions of "
            "depthmask's packages may be installed than those that the manifest names."
        )


def is_damaged(dataset: Dataset, workspace: Workspace) -> bool:
    """Whether a file is missing, or not what was written; of shards, by their sizes."""
    manifest, sizes = dataset.manifest, workspace.sizes()
    return (
        not (sizes.get(CARD) and sizes.get(CROISSANT))
        or any(sizes.get(shard.file) != shard.bytes for shard in manifest.shards)
        or not all(is_intact(dataset.file(name), crc) for name, crc in manifest.files.items())
    )


def is_intact(path: str, crc: int) -> bool:
    """Whether a file is there with this CRC-32C."""
    try:
        return stored_checksum(path)[0] == crc
    except OSError:
        return False


def _mark_finished(entry: ShardEntry, job: Job) -> None:
    """Leaves of a good shard what a run that has just finished it would leave."""
    plan, key = job.plan, ShardKey(entry.split, entry.number)
    left_out = {example.id for example in entry.tally.left_out}
    rows = (index_rows(plan.chunk(chunk), left_out).encode() for chunk in plan.chunk_keys(key))
    job.store.describe_shard(entry, rows)
