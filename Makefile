# Everything below sets itself up on a machine that has python3 (3.11 or newer, with venv), git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
UV_VERSION := 0.13.9

.PHONY: catalogue compatibility revisions revision-costs plan-example setup demo test lint bench soak lock docs clean

setup: $(STAMP)

$(STAMP): requirements/dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: $(STAMP)
	$(BIN)/liftlock demo $(DEMO)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not soak" $(TESTS)

lint: $(STAMP)
	$(BIN)/ruff check src tests bench packages
	$(BIN)/ruff format --check src tests bench packages
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/suppressions.py

bench: $(STAMP)
	$(BIN)/python -m bench $(BENCH)

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak --timeout 7200 $(TESTS)

# Re-resolve the development lock (needs the package index).
lock: $(STAMP)
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 --group dev \
	  --no-annotate --custom-compile-command "make lock" -o requirements/dev.lock pyproject.toml

# Read every release on the package index and write the catalogue that is shipped (3 GB, kept in liftlock's cache).
# `releases refresh` goes on where a run was cut off.
catalogue: $(STAMP)
	$(BIN)/liftlock releases refresh --into src/liftlock/knowledge/data/catalogue
	$(BIN)/python -m liftlock.knowledge.catalogue_page docs/reference/releases.md

# Real clients against real servers, 31 operations a pair; goes on where a run was cut off (results are in the cache).
compatibility: $(STAMP)
	$(BIN)/liftlock releases measure --into src/liftlock/knowledge/data/compatibility.json

# The plan shown in docs/how-to/plan.md: the demo's old server, filled, and its upgrade planned in two forms.
plan-example: $(STAMP)
	$(BIN)/python -m bench.plan_example docs/examples

# Run every Alembic revision of MLflow on both engines and write what it did (WHEEL=FILE adds a release by its wheel).
revisions: $(STAMP)
	$(BIN)/python -m bench.record_revisions $(if $(WHEEL),--wheel $(WHEEL))

# Measure what every revision costs, locks and fails on (ONLY=tracking:REVISION measures one again, WHEEL=FILE as above).
revision-costs: $(STAMP)
	$(BIN)/python -m bench.record_costs $(if $(ONLY),--only $(ONLY)) $(if $(WHEEL),--wheel $(WHEEL))

# Regenerate the pages that are made from the program itself.
docs: $(STAMP)
	$(BIN)/python -m liftlock.cli.reference docs/reference/commands.md
	$(BIN)/python -m liftlock.knowledge.catalogue_page docs/reference/releases.md

clean:
	rm -rf $(VENV) .build .mypy_cache .ruff_cache .hypothesis
