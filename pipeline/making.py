"""Making a dataset: running the graph over its workspace, for all of it or for what is damaged."""

from __future__ import annotations

import logging

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from depthmask.errors import RunError
from depthmask.manifest import CARD, MANIFEST, Manifest, ShardEntry
from pipeline.dataset import Dataset, open_dataset
from pipeline.graph import build_graph
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
    pipeline = beam.Pipeline(options=options)
    build_graph(pipeline, job, resource_hints(options, depth=job.depth is not None))
    store, sizes = job.store, job.store.sizes_by_name
    with Progress(job.plan.examples, store.work_folder, lambda: store.count_examples(sizes)):
        run_pipeline(pipeline, workspace.check)


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
    changed = [name for name, crc in before.checksums.items() if found.get(name) != crc]
    if changed:
        raise RunError(
            f"these came out otherwise than before: {', '.join(changed)}. Other versions of "
            "depthmask's packages may be installed than those that the manifest names."
        )


def is_damaged(dataset: Dataset, workspace: Workspace) -> bool:
    """Whether a file is missing, or not what was written; of shards, by their sizes."""
    manifest, sizes = dataset.manifest, workspace.sizes()
    return (
        not sizes.get(CARD)
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
