# `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
# TORCH=cpu asks for the CPU build where the package index would give the CUDA one
INDEX := $(if $(filter cpu,$(TORCH)),--extra-index-url https://download.pytorch.org/whl/cpu,)
PROFILE ?=

.PHONY: help setup repro test test-long test-browser lint format smoke book serve pdf pretrain realism clean clean-all

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(INDEX) -c constraints.txt -e '.[study,dev]'
	@touch $@

setup: $(BIN)/.installed ## make .venv with the pinned packages (once)

repro: setup ## regenerate every figure, table and the book (PROFILE=smoke|mini|paper)
	@latentsr repro $(if $(PROFILE),--profile $(PROFILE),)

test: setup lint ## run the tests, the smoke pipeline among them
	@OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile --no-loadscope-reorder

test-long: setup ## run the checks that take longer: the wheel, published architectures, wrong answers
	@OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile -m long

test-browser: setup ## test the book in chromium, its network cut (gets chromium, playwright, axe-core)
	@python tests/browser/run.py

lint: setup ## check style, format, types and the import contract
	@ruff check . && ruff format --check . && mypy && lint-imports

format: setup ## put code and notebooks into the project's format
	@ruff check --fix --quiet . ; ruff format --quiet .

smoke: setup ## run the whole pipeline, tiny, in a throw-away copy
	@latentsr smoke

book: setup ## build the book of the current profile's results again
	@dvc repro book && latentsr publish

serve: setup ## show the book at http://localhost:8000
	@python -m http.server --directory book/_build/html --bind 127.0.0.1 8000

pdf: setup ## print first page, claims and results to book/_build/results.pdf (needs chromium)
	@python -m latentsr.companion.book.pdf

pretrain: setup ## train the shipped autoencoders again, into pretrained/ (2 to 5 hours on 2 cores)
	@python scripts/pretrain.py

realism: setup ## measure the phantoms (and REAL=DIR, real images beside them)
	@python benchmarks/phantom_realism.py $(if $(REAL),--real $(REAL),)

clean: ## remove results and scratch files; the cache keeps what was computed
	@if [ -d data ] && ! $(BIN)/latentsr data rescue; then \
		echo "data/ is kept: run make setup, then make clean again"; \
	else rm -rf data; fi
	rm -rf results assets/phantoms .scratch book/_build book/notebooks book/generated

clean-all: clean ## also empty the cache and remove .venv; your own staged images (assets/own) stay
	rm -rf .dvc/cache .dvc/tmp $(VENV)
