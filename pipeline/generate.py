"""The main job: from folders of pictures to a finished dataset."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Sequence

from apache_beam.io.filesystems import FileSystems

from depthmask.manifest import Manifest, Provenance
from pipeline.dataset import Dataset, DatasetDescription, DepthInfo, open_dataset
from pipeline.inputs import PreparedSet, log_findings, prepare_inputs
from pipeline.job import Draft
from pipeline.making import check_remade, is_damaged, remake, run_job
from pipeline.probe import probe
from pipeline.publish.publication import read_publication
from pipeline.request import Request
from pipeline.run import State, Workspace, check_disk_space, locked
from pipeline.run.dataflow import depth_device
from pipeline.run.options import pipeline_options
from transforms.codecs import encoder_versions
from transforms.io.files import AnyPath, checked_path, join

_log = logging.getLogger("depthmask")
# A change of any of these may change bytes.
_VERSIONED = ("depthmask", "apache-beam", "numpy", "pillow")


def generate(
    request: Request, output: AnyPath, options: Sequence[str] = (), restart: bool = False
) -> Dataset:
    """Makes a dataset in the folder `output`, or goes on where an interrupted run stopped.

    A folder with an unfinished run of just the same request is completed, to the same bytes; one
    with the finished dataset is left as it is. `restart` deletes what a run has made there, first.
    `options`: Beam's, as the command line takes them. The manifest of the dataset that is returned
    names the examples that had to be left out.
    Raises UserError for bad input, before any example is made and with nothing harmed, and RunError
    where the run fails: what it has finished is used by the next. A file system that fails as the
    folder is first looked at raises OSError.
    """
    output, model = checked_path(output), request.depth_model
    # The builtin model has no path: it is in the image of Dataflow's workers.
    paths = {"--output": output, "--depth-model": model.path if model else ""}
    beam_options = pipeline_options(options, paths, depth=model is not None)
    FileSystems.set_options(beam_options)  # credentials: Beam itself would set them only later
    publication = read_publication(output)
    with locked(Workspace(output)) as workspace:
        found, folder = workspace.state(), workspace.new_inputs_folder()
        if found is State.FINISHED and not restart:
            check_remade(workspace)
        inputs = prepare_inputs(request.folders, request.recipe, folder, request.skip_bad_inputs)
        draft = Draft.of(request.recipe, inputs.source, model, request.skip_bad_inputs)
        state = State.FRESH if restart else found
        probed = probe(draft) if draft.has_depth or state is State.FRESH else None
        depth = probed.depth if probed else None
        device = depth_device(beam_options) if draft.depth else {}
        manifest = _manifest(draft, inputs, depth, device)
        description = DatasetDescription(output, draft.recipe, manifest, publication)
        provenance = description.manifest.provenance.to_json()
        log_findings(inputs.findings)
        if probed and state is State.FRESH:
            # Segments are still there while they are joined to shards.
            needed = 2 * probed.bytes_an_example * draft.plan.examples
            check_disk_space(
                output, "the dataset", needed, workspace.total_bytes() if restart else 0
            )
        if restart:  # only now that nothing is refused any more
            workspace.delete_all(folder)
        elif state is not State.FRESH and workspace.read_provenance(state) is not None:
            workspace.refuse_another(state, provenance)
        job = draft.job(description)

        def place_inputs() -> None:
            for name in inputs.checksums:
                workspace.place(join(folder, name), name)

        if state is not State.FINISHED:
            if state is State.UNFINISHED:
                _log.info("going on with the unfinished run")
            workspace.write_provenance(provenance)
            workspace.delete_others(job.store.sizes_by_name)
            place_inputs()
            run_job(job, workspace, beam_options)
        elif is_damaged(opened := open_dataset(output), workspace):
            place_inputs()
            remake(opened, job, workspace, beam_options)
        else:
            _log.info("nothing is left to do")
        return open_dataset(output)


def _manifest(
    draft: Draft, inputs: PreparedSet, depth: DepthInfo | None, device: dict[str, str]
) -> Manifest:
    """Returns the manifest of a dataset that has no shards yet."""
    names = _VERSIONED + (draft.depth.model.packages if draft.depth else ())
    versions = {name: _version(name) for name in names}
    return Manifest(
        provenance=Provenance(
            recipe=draft.recipe.model_dump(mode="json"),
            inputs=inputs.checksums,
            depth_model=depth.model if depth else None,
            versions=versions | encoder_versions() | device,
        ),
        backgrounds=len(inputs.source.backgrounds),
        foregrounds=len(inputs.source.foregrounds),
        depth=depth.meaning(draft.recipe.depth) if depth else None,
        input_tally=inputs.tally,
        findings=tuple(finding.entry for finding in inputs.findings),
    )


def _version(name: str) -> str:
    """The version of a package; onnxruntime's build for GPUs goes by another name."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version(f"{name}-gpu")
