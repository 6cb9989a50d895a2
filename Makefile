# Every target prepares .venv by itself, once, and again when requirements.txt or pyproject.toml changes.
PYTHON ?= python3
# PIP_ARGS goes to pip, e.g. an --extra-index-url with CPU-only PyTorch builds (much smaller than the CUDA ones).
PIP_ARGS ?=
# JAX_CUDA is the extra of jax that suits the driver; PyTorch's pinned wheel is built for CUDA 13 too.
JAX_CUDA ?= cuda13
# PyTorch's kernels in JAX, as the extra jax-gpu has it; the pinned JAX decides which version.
JAX_TRITON ?= jax-triton>=0.3.1,<0.5
ARGS ?=
JOBS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS)
# `make test` does not check annotations as it runs, which takes a fifth of the time. `make test UNCHECKED=` does, and so do
# the other targets, CI, and pytest called by itself.
UNCHECKED ?= --jaxtyping-packages=
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses $(JOBS) --dist worksteal

# Says that the tests on a GPU have passed, for `make gpu`, which is called again and again.
GPU_TESTED := results/.work/gpu-tests.passed

.DEFAULT_GOAL := help
.PHONY: help setup run leaderboard docs test test-slow test-all test-optimised test-gpu gpu smoke-all lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  variables: PYTHON=$(PYTHON)  ARGS=…  PIP_ARGS=…  JAX_CUDA=$(JAX_CUDA)  JOBS=$(JOBS)"

setup: .venv/.ready ## prepare .venv with the pinned versions

run: .venv/.ready ## train ELFATT on Pathfinder; more options: make run ARGS="--preset quick"
	@$(BIN)/python run_lra.py --task pathfinder --attn elfatt $(ARGS)

leaderboard: .venv/.ready ## write the tables and plots under results/ from the records
	@$(BIN)/python run_lra.py leaderboard
	@$(BIN)/python run_lra.py missing >/dev/null

docs: .venv/.ready ## write and build the documentation into docs/site; every link is checked
	@$(BIN)/python docs/generate.py
	@$(BIN)/zensical build --clean --strict --config-file docs/mkdocs.yml

test: .venv/.ready ## the quick tests (minutes): units, laws, parity, a smoke run in each framework
	@$(PYTEST) $(UNCHECKED) $(ARGS)

test-slow: .venv/.ready ## the rest: processes, archives, README's commands, browser, real data, compiled kernels
	@$(PYTEST) -m "slow and not gpu" $(ARGS)

test-all: .venv/.ready ## both, as before each merge
	@$(PYTEST) -m "not gpu" $(ARGS)

test-optimised: .venv/.ready ## both, with JAX code compiled as users run it
	@XLA_FLAGS=--xla_cpu_multi_thread_eigen=false $(PYTEST) -m "not gpu" $(ARGS)

test-gpu: .venv/.ready ## the tests that need an NVIDIA GPU
	@JAX_PLATFORMS=cuda,cpu XLA_FLAGS= XLA_PYTHON_CLIENT_PREALLOCATE=false TRITON_INTERPRET=0 $(BIN)/python -m pytest -q -m gpu $(ARGS)

gpu: .venv/.ready ## all that needs a GPU, in pieces: make gpu ARGS="--minutes 9", again until nothing is left
	@nvidia-smi -L >/dev/null 2>&1 || { echo "make gpu needs an NVIDIA GPU, and nvidia-smi shows none: run it where there is one" >&2; exit 2; }
	@test -e $(GPU_TESTED) || { $(MAKE) --no-print-directory test-gpu ARGS= && mkdir -p $(dir $(GPU_TESTED)) && touch $(GPU_TESTED); }
	@$(BIN)/python run_lra.py sweep configs/sweeps/gpu.yaml --device gpu $(ARGS)

smoke-all: .venv/.ready ## every mechanism on every task in both frameworks for a few steps, into results/evidence
	@XLA_FLAGS=--xla_backend_optimization_level=0 $(BIN)/python -m tests.evidence.smoke $(ARGS)

lint: .venv/.ready ## style, types, import floors, spelling, plain words
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/codespell
	@$(BIN)/python docs/prose.py

format: .venv/.ready ## put the code into the shape that lint asks for
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## remove .venv and the tools' caches; results and prepared data stay
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache docs/site docs/.cache *.egg-info

.venv/.ready: requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "No '$(PYTHON)' here; Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments (no ensurepip): apt install python3-venv"; exit 1; }
	@echo "Preparing the environment (once, about a minute) …"
	@$(PYTHON) -m venv .venv
	@if nvidia-smi -L >/dev/null 2>&1; then \
		echo "  the pinned packages, for an NVIDIA GPU (some GB) …"; \
		$(PIP) -r requirements.txt "jax[$(JAX_CUDA)]" && \
		{ $(PIP) -c requirements.txt "$(JAX_TRITON)" || echo "  no $(JAX_TRITON) here: elfatt has no --attn.kernel jax_triton"; }; \
	else \
		echo "  the pinned packages …"; \
		$(PIP) -r requirements.txt; \
	fi
	@echo "  this checkout …"
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
