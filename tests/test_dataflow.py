"""The job that Dataflow would be given, taken from Beam's own client at a local endpoint."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keras
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from google.cloud.dataflow_v1beta3 import Job, JobState, JobType, WorkerIPAddressConfiguration

from depthmask.errors import UserError
from pipeline.cli import main
from pipeline.run.dataflow import check_for_dataflow, with_defaults
from tests.cloud_storage import EMULATOR, cloud_storage
from transforms.io.files import list_files, read_file, write_file

GPU = b"type:nvidia-tesla-t4;count:1;install-nvidia-driver"
BARRIERS = (
    common_urns.primitives.GROUP_BY_KEY.urn,
    common_urns.composites.RESHUFFLE.urn,
)
HINT = "beam:resources:accelerator:v1"


class Service(ThreadingHTTPServer):
    """Takes a job, as Dataflow does, and says that it is in `state` (at first: that it failed)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("localhost", 0), _Handler)
        self.state = JobState.JOB_STATE_FAILED
        self.jobs: list[Job] = []
        # Of requests to change a job.
        self.updates: list[Job] = []
        # Who launched the jobs may no longer ask for them, or change them.
        self.forbids = False


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.server.jobs.append(Job.from_json(self._body()))
        self._answer()

    def do_PUT(self) -> None:
        self.server.updates.append(Job.from_json(self._body()))
        self.do_GET()

    def do_GET(self) -> None:
        self._answer(403 if self.server.forbids else 200)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, status: int = 200) -> None:
        state = self.server.state.name
        answer = {"id": "job-1", "currentState": state, "projectId": "p", "location": "l"}
        data = b"{}" if "messages" in self.path else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    service = Service()
    threading.Thread(target=service.serve_forever, daemon=True).start()
    with cloud_storage(tmp_path) as proxy:
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        yield service
    service.shutdown()


@pytest.fixture
def model(tmp_path: Path) -> bytes:
    picture = keras.Input((None, None, 3))
    path = tmp_path / "model.keras"
    keras.Model(picture, keras.layers.Conv2D(1, 2, strides=2, activation="softplus")(picture)).save(
        path
    )
    return path.read_bytes()


def command(folders, *more: str) -> list[str]:
    return [
        *("generate", "--runner=DataflowRunner", "--output=gs://bucket/made"),
        *(f"--backgrounds={folders.backgrounds}", f"--foregrounds={folders.foregrounds}"),
        *("--set=canvas.width=48", "--set=canvas.height=40", "--set=depth.model.output=depth"),
        *more,
    ]


def complete(folders, service: Service, *more: str) -> list[str]:
    """A command that gives all that Dataflow needs; without depth."""
    return command(
        folders,
        *("--depth-model=none", "--project=p", "--region=r", "--temp_location=gs://bucket/temp"),
        *("--sdk_container_image=example.org/depthmask:1", *more),
        f"--dataflow_endpoint=http://localhost:{service.server_port}",
    )


# Enough for a job with the builtin model; no service is there.
REACHED = ("--project=p", "--region=r", "--sdk_container_image=i")
needs_emulator = pytest.mark.skipif(
    not EMULATOR or sys.version_info[:2] != (3, 11),
    reason="needs an emulator of Cloud Storage (make .gcs/fake-gcs-server), and the image's Python",
)
CONSOLE = "https://console.cloud.google.com/dataflow/jobs/r/job-1?project=p"
BY_HAND = "gcloud dataflow jobs cancel job-1 --region=r --project=p"


@needs_emulator
def test_the_job_that_is_submitted(service: Service, folders, model: bytes, capsys):
    write_file("gs://bucket/model.keras", [model])
    arguments = command(
        folders,
        *("--depth-model=keras:gs://bucket/model.keras", "--project=p", "--region=europe-west4"),
        *("--temp_location=gs://bucket/temp", "--sdk_container_image=example.org/depthmask:1"),
        *("--no_use_public_ips", "--max_num_workers=40"),
        f"--dataflow_endpoint=http://localhost:{service.server_port}",
    )
    code = main(arguments)
    assert code == 1 and "FAILED" in capsys.readouterr().err
    (job,) = service.jobs
    assert job.type_ == JobType.JOB_TYPE_BATCH
    (pool,) = job.environment.worker_pools
    assert pool.machine_type == "n1-standard-4" and pool.disk_size_gb == 60
    assert pool.ip_configuration == WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
    assert pool.autoscaling_settings.max_num_workers == 40
    images = {image.container_image for image in pool.sdk_harness_container_images}
    assert images == {"example.org/depthmask:1"}
    experiments = set(job.environment.experiments)
    assert {"use_runner_v2", "no_use_multiple_sdk_containers"} <= experiments
    options = dict(job.environment.sdk_pipeline_options["options"])
    assert options["number_of_worker_harness_threads"] == 2
    # The image holds the project: no package is staged, and none installed as a worker starts.
    staged = {file.name for file in list_files("gs://bucket/temp")}
    assert not any(name.endswith((".tar.gz", ".whl")) for name in staged)

    (path,) = (file.path for file in list_files("gs://bucket/temp") if file.name == "pipeline.pb")
    pipeline = beam_runner_api_pb2.Pipeline.FromString(read_file(path))
    components = pipeline.components
    accelerated, plain = [], []
    for step in components.transforms.values():
        # Nothing in there is a barrier, whatever its hints: that would send arrays across.
        if step.unique_name.startswith("MakeSegments"):
            assert step.spec.urn not in BARRIERS
        if step.subtransforms or not step.environment_id:
            continue
        environment = components.environments[step.environment_id]
        hints = environment.resource_hints
        payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        assert payload.container_image == "example.org/depthmask:1"
        assert hints.get(HINT) in (None, GPU)
        (accelerated if HINT in hints else plain).append(step.unique_name)
    # Every step that handles pixels asks for the same: so they are fused.
    assert {name.split("/")[0] for name in accelerated} == {"MakeSegments"}
    assert not any(name.startswith("MakeSegments") for name in plain)
    assert any("DrawExamples" in name for name in accelerated)
    assert any("RunInference" in name for name in accelerated)
    assert any("WriteFiles" in name for name in accelerated)
    assert {step.spec.urn for step in components.transforms.values()} & set(BARRIERS)

    # Depth of a GPU and of CPUs would differ within one dataset.
    assert main([*arguments, "--accelerator=none"]) == 2
    assert "versions.accelerator: nvidia-tesla-t4 → none" in capsys.readouterr().err
    assert len(service.jobs) == 1


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--region=r", "--sdk_container_image=i"], "--project must be given"),
        (["--project=p", "--region=r"], "--sdk_container_image must name an image"),
        (
            ["--project=p", "--region=r", "--sdk_container_image=i", "--depth-model=keras:m.keras"],
            "--depth-model m.keras is on this machine",
        ),
        ([*REACHED, "--temp_location=/tmp/x"], "--temp_location /tmp/x is on this machine"),
        ([*REACHED, "--staging_location=x"], "--staging_location x is on this machine"),
        (["--project=p", "--region=r", "--setup_file=setup.py"], "--setup_file installs no CUDA"),
        ([*REACHED, "--accelerator=nvidia-a100"], "--machine_type must be given with"),
        ([*REACHED, "--flexrs_goal=COST_OPTIMIZED"], "--flexrs_goal does not go with GPUs"),
    ],
)
def test_what_dataflow_cannot_run_is_said_before_anything(folders, capsys, more, problem):
    assert main(command(folders, *more)) == 2
    assert problem in capsys.readouterr().err


def test_what_dataflow_cannot_export_is_said_before_anything(capsys):
    code = main(["export", "made", "out", "--layout=folder", "--runner=DataflowRunner"])
    said = capsys.readouterr().err
    assert code == 2
    assert "DIR made is on this machine" in said and "DEST out is on this machine" in said
    assert "--project must be given" in said and "--sdk_container_image must name" in said


def test_another_python_than_the_images_is_refused(monkeypatch):
    options = with_defaults(["--runner=DataflowRunner", *REACHED], depth=True)
    monkeypatch.setattr(sys, "version_info", (3, 11, 9))
    check_for_dataflow(options, {}, depth=True)
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    with pytest.raises(UserError, match=r"Python 3\.12, and the image .* has 3\.11"):
        check_for_dataflow(options, {}, depth=True)


def test_what_is_given_is_kept():
    given = (
        *("--sdk_location=default", "--machine_type=n1-highmem-8", "--disk_size_gb=90"),
        *("--number_of_worker_harness_threads=5", "--experiments=use_multiple_sdk_containers"),
    )
    options = with_defaults(["--runner=DataflowRunner", *given], depth=True).get_all_options()
    assert options["sdk_location"] == "default" and options["disk_size_gb"] == 90
    assert options["machine_type"] == "n1-highmem-8"
    assert options["number_of_worker_harness_threads"] == 5
    assert options["experiments"] == ["use_multiple_sdk_containers"]


@pytest.mark.parametrize(
    ("accelerator", "machine"),
    [("nvidia-tesla-v100", "n1-standard-4"), ("nvidia-l4", "g2-standard-4"), ("none", None)],
)
def test_each_gpu_gets_a_machine_that_it_goes_with(accelerator, machine):
    arguments = ["--runner=DataflowRunner", f"--accelerator={accelerator}"]
    options = with_defaults(arguments, depth=True)
    assert options.get_all_options()["machine_type"] == machine


@needs_emulator
@pytest.mark.parametrize(
    ("sent", "forbids"), [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGINT, True)]
)
def test_a_launcher_that_is_stopped_cancels_its_job(service: Service, folders, sent, forbids):
    service.state = JobState.JOB_STATE_RUNNING
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *complete(folders, service, "--verbose")],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line == f"Dataflow job job-1 ({CONSOLE})\n":
            service.forbids = forbids
            process.send_signal(sent)
            break
    said = "".join(lines) + process.communicate()[1]
    assert process.returncode == 130, said
    assert "INFO:apache_beam.runners.dataflow.internal.apiclient:Created job" in said
    if forbids:
        assert not service.updates and BY_HAND in said
    else:
        (update,) = service.updates
        assert update.requested_state == JobState.JOB_STATE_CANCELLED
        assert "Dataflow job job-1 is cancelled" in said


@needs_emulator
def test_a_job_that_is_lost_sight_of_may_go_on(service: Service, folders, capsys):
    service.state, service.forbids = JobState.JOB_STATE_RUNNING, True
    assert main(complete(folders, service)) == 1
    said = capsys.readouterr().err
    assert CONSOLE in said and "may still be running" in said and BY_HAND in said


def test_a_repair_says_what_depth_was_made_on(with_depth: Path, tmp_path: Path, capsys):
    made = tmp_path / "made"
    shutil.copytree(with_depth, made)
    manifest = json.loads((made / "manifest.json").read_bytes())
    manifest["provenance"]["versions"]["accelerator"] = "nvidia-tesla-t4"
    (made / "manifest.json").write_text(json.dumps(manifest))
    model = f"keras:{with_depth.parent / 'm.keras'}"
    assert main(["verify", "--repair", "--depth-model", model, str(made)]) == 0
    assert "depth was made on Dataflow (accelerator: nvidia-tesla-t4)" in capsys.readouterr().err
    assert json.loads((made / "manifest.json").read_bytes()) == manifest
