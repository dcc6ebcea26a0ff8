# Everything runs in .venv, which the first target that needs it makes. pip asks the index that it is configured for.
#
#     make demo           two real recordings: ingest, report, before and after
#     make test           everything that checks the project: the next three
#     make lint           ruff, import-linter, sqlfluff
#     make types          mypy
#     make tests          pytest, with the built wheel
#     make test-models    every model against its published figures, with five seeds
#     make test-statistics  how often intervals and verdicts of comparisons are right, in hundreds of trials
#     make fuzz           damaged inputs of every format (FUZZ_SECONDS=600 for longer)
#     make bench          times and memory beside perf and trace-cmd (BENCH=400k: a quick look, BENCH=40M: large files)
#     make format         format the code and mend what ruff can mend
#     make site           the docs as a site, in site/, which a browser opens without a server
#     make docs           write again what the docs take from the code: the reference, what commands print, the models
#     make constraints    newest versions of every dependency into constraints.txt
#     make clean          remove .venv, the demo and every cache

PYTHON ?= python3
JOBS ?= 2
FUZZ_SECONDS ?= 60
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RECORDINGS := tests/data/recordings
DEMO := demo

.PHONY: help demo test lint types tests test-models test-statistics fuzz bench format site docs constraints clean
.NOTPARALLEL:

help:
	@sed -n 's/^#     //p' Makefile

# An empty file says that a step was done whole, and when.
$(VENV)/.made:
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) -c constraints.txt -e .
	@touch $@

$(VENV)/.development: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.runtime

demo: $(VENV)/.runtime
	rm -rf $(DEMO)/store
	$(BIN)/kvmtrace ingest $(RECORDINGS)/pveoi-idletick-xapic-off.perf.data.zst --label pv-eoi-off --store $(DEMO)/store
	$(BIN)/kvmtrace ingest $(RECORDINGS)/pveoi-idletick-xapic-on.perf.data.zst --label pv-eoi-on --store $(DEMO)/store
	$(BIN)/kvmtrace report pv-eoi-off --plot $(DEMO)/pv-eoi-off.png --force --store $(DEMO)/store
	$(BIN)/kvmtrace report pv-eoi-on --plot $(DEMO)/pv-eoi-on.png --force --store $(DEMO)/store
	$(BIN)/kvmtrace compare pv-eoi-off --against pv-eoi-on --plot $(DEMO)/pv-eoi.png --force --store $(DEMO)/store
	@echo
	@echo "store: $(DEMO)/store"
	@echo "plots: $(DEMO)/pv-eoi-off.png $(DEMO)/pv-eoi-on.png $(DEMO)/pv-eoi.png"

# make --keep-going test runs the tests even where the lint or the types fail.
test: lint types tests

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint queries

types: $(VENV)/.development
	$(BIN)/mypy

# worksteal: tests of one module stay together, so that what they share (stores, models) is made once, not by each worker.
tests: $(VENV)/.development
	$(BIN)/pytest -n $(JOBS) --dist worksteal

test-models: $(VENV)/.development
	$(BIN)/pytest -n $(JOBS) -m models

test-statistics: $(VENV)/.development
	$(BIN)/pytest -n $(JOBS) -m statistics

fuzz: $(VENV)/.development
	PYTHONPATH=tests $(BIN)/python -m tests.fuzz $(FUZZ_SECONDS)

bench: $(VENV)/.development
	$(BIN)/python -m benchmarks.bench $(BENCH)

format: $(VENV)/.development
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Material says on every build that another major version of mkdocs is to come. --quiet would hide warnings from --strict.
site: $(VENV)/.development
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean
	@echo "site: site/index.html"

docs: $(VENV)/.development
	PYTHONPATH=tests $(BIN)/python -m tests.generated_docs
	PYTHONPATH=tests $(BIN)/python -m tests.generated_models
	PYTHONPATH=tests $(BIN)/python -m tests.generated_claims

# A fresh environment, so that nothing is pinned that the project does not need.
constraints: FRESH := $(VENV)/fresh
constraints:
	$(PYTHON) -m venv --clear $(FRESH)
	$(FRESH)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	{ grep '^#' constraints.txt; $(FRESH)/bin/python -m pip freeze --exclude kvmtrace; } > $(FRESH)/constraints.txt
	mv $(FRESH)/constraints.txt constraints.txt
	rm -rf $(FRESH)

clean:
	rm -rf $(VENV) $(DEMO) site dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
