# `make demo` and `make test` do all set-up; nothing but Python 3.11+, git and make is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXECUTABLES := $(filter-out tools/freelight,$(wildcard tools/*))

.PHONY: install demo docs newcomer test test-slow test-gpu faults fuzz lint types clean

install: $(STAMP)

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	PATH="$(abspath $(BIN)):$$PATH" tools/demo

# Pages in build/docs, with a reference written from the code. A warning is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# README.md and the quickstart, line by line, in a fresh clone, home and environment. Downloads gigabytes.
newcomer: install
	PYTHONPATH=tests $(BIN)/python tests/documents/newcomer.py

# Two processes share the tests; one thread each for torch's own loops.
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "slow and not gpu and not faults and not fuzz"

# With what is installed, in VENV or else on the PATH: often a torch and a DALI that suit the card's driver.
test-gpu:
	$(or $(wildcard $(BIN)/pytest),pytest) -m gpu

# Each fault hits an installed command in a real process. As root it also mounts small and read-only disks.
faults: install
	$(BIN)/pytest -n 2 --dist worksteal -m faults tests/faults

# FUZZ_SECONDS (300), FUZZ_SEED, FUZZ_JOBS (2), FUZZ_KINDS and FUZZ_REPLAY: see tests/fuzz/test_fuzz.py.
fuzz: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "slow or fuzz" tests/fuzz

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Type checkers do not follow the editable finder: the packages are linked under their import name.
types: install
	rm -rf build/types
	mkdir -p build/types/freelight
	ln -sfn $(foreach part,$(wildcard tools/freelight/*) shards pipeline train,$(abspath $(part))) build/types/freelight/
	$(BIN)/mypy build/types/freelight $(EXECUTABLES)

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
