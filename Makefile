# The two commands: `make grid` does the main job, `make test` tests this project. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= quick

.PHONY: grid test lint setup lock clean microscope bench-costs bench-runners bench-reference bench-verdict bench-mutation bench-faults bench-client bench-history bench-cross-check bench-gpu-speed bench-grid bench-bugs bench-plan time-to-ready

grid: setup
	$(BIN)/readiness run --profile $(PROFILE) --launcher venv

# Side by side, but for tests with engines and containers: one of those takes all cores.
test: setup
	$(BIN)/python -m pytest -q -m "not engine and not docker" -n auto --maxprocesses 4 --dist loadfile
	$(BIN)/python -m pytest -q -m "engine or docker"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/actionlint -shellcheck=shellcheck
	$(BIN)/shellcheck --external-sources .github/data-branch .github/propose-branch .ci/run
	$(BIN)/zizmor --quiet --offline --pedantic .github action.yml

setup: $(VENV)/.ready

# The harness alone: no torch, no engine. Engines get environments of their own when they are first run.
$(VENV)/.ready: requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Every lock anew from its .in file; read the difference before you commit it.
lock: setup
	$(BIN)/python -m runners.lock

# Every architecture on every engine, by tiny checkpoints in float32 (hours on 2 cores); writes docs/microscope.md.
# It fails where an engine falls short and no rule expects it; the page is written all the same.
microscope: setup
	$(BIN)/readiness run --profile microscope -n 2; status=$$?; \
	$(BIN)/readiness grid --microscope docs/microscope.md >/dev/null && exit $$status

# Every promise about time, measured on a fresh clone with empty caches (about an hour); writes docs/budgets.md.
bench-costs: setup
	$(BIN)/python -m tests.benchmarks.costs

# The launchers side by side, images built from nothing and again, kill tests 20 times; writes docs/runners.md.
bench-runners: setup
	$(BIN)/python -m tests.benchmarks.runners

# Generated checkpoints of 2 to 24 GB with memory limited to a quarter of each; needs root; writes docs/reference.md.
bench-reference: setup
	$(BIN)/python -m tests.benchmarks.reference

# False alarms and detected faults of the verdict, beside the rules of others; hours on a first run; writes docs/verdict-power.md.
bench-verdict: setup
	$(BIN)/python -m tests.benchmarks.verdict $(ARGUMENTS)

# Faults put into tiny checkpoints of many architectures, judged in float32; an hour or two; writes docs/mutation-score.md.
bench-mutation: setup
	$(BIN)/python -m tests.benchmarks.mutation --jobs 2 $(ARGUMENTS)

# Public faults of new models, each by a mechanism beside its null twin, and healthy engines over many corpora (hours;
# ARGUMENTS="--only mechanisms" ends in minutes); writes docs/fault-coverage.md.
bench-faults: setup
	$(BIN)/python -m tests.benchmarks.faults $(ARGUMENTS)

# Our client and others against a server that logs what it sent (ten minutes; an idle machine); writes docs/client.md.
bench-client: setup
	$(BIN)/python -m tests.benchmarks.client

# Our client and GuideLLM in turns on real engines (half an hour); writes docs/cross-check.md.
bench-cross-check: setup
	$(BIN)/python -m tests.benchmarks.client.cross_check

# Steps, drifts and outliers planted in generated histories of speeds (minutes); writes docs/regressions.md.
bench-history: setup
	$(BIN)/python -m tests.benchmarks.history

# The index, the site and a night more from a million generated results (minutes); writes docs/grid.md.
bench-grid: setup
	$(BIN)/python -m tests.benchmarks.grid

# Failing results of known causes, simulated, public and our own, brought together by their signatures (seconds);
# writes docs/signatures.md.
bench-bugs: setup
	$(BIN)/python -m tests.benchmarks.bugs $(ARGUMENTS)

# MBU and MFU of transformers with 3.7 billion random weights, on a machine with a GPU whose Python holds the engine:
# make bench-gpu-speed ARGUMENTS="--python PYTHON"; prints a section for docs/measurements.md.
bench-gpu-speed: setup
	$(BIN)/python -m tests.benchmarks.speed_of_random $(ARGUMENTS)

clean:
	rm -rf $(VENV) site junit.xml .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A plan of 100,000 cells, and sixty nights played under three budgets; writes docs/planning.md.
bench-plan: setup
	$(BIN)/python -m tests.benchmarks.planning

# Days from an architecture's first appearance until each engine ran it rightly, from what `readiness history` has left.
time-to-ready: setup
	$(BIN)/readiness grid --time-to-ready docs/time-to-ready.md >/dev/null
	$(BIN)/python -m tests.benchmarks.time_to_ready
