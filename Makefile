# make demo    sample inputs, a dataset made from them, a picture of it
# make test    the tests
# make check   lint, format, types
# make soak    kills and rubbish by the thousand (half an hour)
# make train   draws rooms, trains the built-in depth network on them, scores it (hours)
# make bench   how fast it is, against the plain loop and the encoders alone

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check soak train bench clean

$(READY): requirements.txt requirements-dev.txt setup.py
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "depthmask needs Python 3.11 to 3.13; this is %s. Name one: make PYTHON=python3.12 ..." % sys.version.split()[0])'
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
	$(BIN)/depthmask sheet demo/dataset demo/sheet.png
	@echo "Look at demo/sheet.png"

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: $(READY)
	$(BIN)/python -m tests.soak --kills 51
	FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/test_fuzz.py

train: $(READY)
	$(BIN)/python -m training.builtin training/work transforms/models/builtin.keras
	$(BIN)/python -m training.evaluate transforms/models/builtin.keras

bench: $(READY)
	$(BIN)/python -m benchmarks.compose
	$(BIN)/python -m benchmarks.runners

clean:
	rm -rf $(VENV) demo
