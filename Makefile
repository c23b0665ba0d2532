# make demo    sample inputs, datasets with estimated and with true depth from them, a picture of both
# make test    the tests
# make check   lint, format, types
# make soak    kills and rubbish by the thousand (half an hour)
# make flink-test  the graph on an Apache Flink cluster that it starts here (needs Java and Maven)
# make train   draws rooms, trains the built-in depth network on them, scores it (hours)
# make bench   how fast it is, against the loops that people write and the encoders alone

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check soak train bench clean flink-test parts

# What some tests need besides; without it they are skipped, with the reason.
PRISM_VERSION := 2.77.0
FAKE_GCS_VERSION := 1.56.1
# Of CUDA just what torch cannot be imported without: tests/light_torch.py.
TORCH := torch==2.15.0 torchvision==0.29.2 nvidia-cuda-runtime==13.2.86 nvidia-nvshmem-cu13==3.7.2

$(READY): requirements.txt requirements-dev.txt setup.py
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "depthmask needs Python 3.11 to 3.13; this is %s. Name one: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@echo "Installing TensorFlow, Apache Beam and the rest into $(VENV): some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $(READY)

demo: $(READY)
	rm -rf demo
	$(BIN)/depthmask samples demo/inputs --backgrounds 12 --foregrounds 12
	$(BIN)/depthmask generate --backgrounds demo/inputs/backgrounds \
		--foregrounds demo/inputs/foregrounds --output demo/dataset
	$(BIN)/depthmask verify demo/dataset
	$(BIN)/depthmask generate --backgrounds demo/inputs/backgrounds \
		--foregrounds demo/inputs/foregrounds --background-depths demo/inputs/depth \
		--output demo/true-depth
	$(BIN)/depthmask verify demo/true-depth
	$(BIN)/depthmask evaluate demo/true-depth --examples 200
	$(BIN)/depthmask sheet demo/dataset demo/sheet.png --beside demo/true-depth
	@echo "Look at demo/sheet.png"

# Much of a test is waiting for processes to start: a few at a time take half as long.
test: $(READY)
	$(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint docker/Dockerfile

flink-test: $(READY) .flink/ready
	$(BIN)/python -m pytest tests/test_flink.py

parts: .prism/prism .gcs/fake-gcs-server .flink/ready .tensorflow-io/.ready .torch/.ready

.prism/prism:
	GOBIN=$(CURDIR)/.prism go install github.com/apache/beam/sdks/v2/go/cmd/prism@v$(PRISM_VERSION)

.gcs/fake-gcs-server:
	GOBIN=$(CURDIR)/.gcs go install github.com/fsouza/fake-gcs-server@v$(FAKE_GCS_VERSION)

.flink/ready: tests/flink/pom.xml
	rm -rf .flink
	mvn --quiet --batch-mode --file tests/flink/pom.xml dependency:copy-dependencies
	touch $@

.tensorflow-io/.ready: requirements-tensorflow-io.txt
	$(PYTHON) -m venv .tensorflow-io
	.tensorflow-io/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

.torch/.ready: requirements-torch.txt tests/light_torch.py
	rm -rf .torch
	$(PYTHON) -m venv .torch
	.torch/bin/pip install --quiet --disable-pip-version-check -r $<
	.torch/bin/pip install --quiet --disable-pip-version-check --no-deps $(TORCH)
	.torch/bin/python tests/light_torch.py
	.torch/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

soak: $(READY)
	$(BIN)/python -m tests.soak --kills 51
	FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/test_fuzz.py

train: $(READY)
	$(BIN)/python -m training.builtin training/work transforms/depth/builtin.keras
	$(BIN)/python -m training.evaluate transforms/depth/builtin.keras

bench: $(READY)
	$(BIN)/python -m benchmarks.compose
	$(BIN)/python -m benchmarks.runners
	$(BIN)/python -m benchmarks.host
	$(BIN)/python -m benchmarks.depth

clean:
	rm -rf $(VENV) demo .prism .gcs .flink .tensorflow-io .torch
