# `make` alone prints this menu.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

PROMPT ?= a red circle on a blue background
MODEL  ?= shapes-sd
PORT   ?= 8420

# Where torch comes from. With an NVIDIA GPU: pip's own index. Without one: PyTorch's index of CPU
# builds as well, whose "2.13.0+cpu" pip prefers; when that cannot be reached, pip's own index alone.
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Whose build of torch the worker's image has: CUDA's when empty, or cpu.
TORCH_BACKEND ?=

.PHONY: help run test check fuzz format docs train-demo bench-engine bench-sdxl bench-janus bench-janus-gpu bench-start bench-backlog bench-api bench-estimate bench-fleet bench-rolling chaos images up down lock clean

help:  ## print this menu
	@awk -F ':.*##' '/^[a-z-]+:.*##/ {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/ready  ## start everything, make a picture, keep serving (PROMPT=, MODEL=, PORT=, ONCE=1)
	@DARKROOM_PORT=$(PORT) $(BIN)/darkroom-server up --model "$(MODEL)" --prompt "$$PROMPT" $(if $(ONCE),--once)

test: check  ## check, then run every test, two files at a time
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/ready $(VENV)/deploy  ## lint, format, types, import rules and what is in deploy/
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python .ci/audit.py
	@$(BIN)/hadolint deploy/images/Dockerfile
	@$(BIN)/python -m pytest --quiet tests/deploy -m "not slow"

fuzz: $(VENV)/ready  ## thousands of hostile requests against the running API (FUZZ_EXAMPLES=)
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-300} FUZZ_LONGEST_S=3600 $(BIN)/python -m pytest -q -s tests/api/test_fuzz.py

format: $(VENV)/ready  ## put the code into its form
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: $(VENV)/ready  ## write the pages that are made from code
	@$(BIN)/python -m docs.reference

train-demo: $(VENV)/ready  ## train the models that ship with the repository (resumable)
	@$(BIN)/python -m pipelines.demo.train

bench-engine: $(VENV)/ready  ## the engine against plain diffusers, on this machine's CPU
	@$(BIN)/python -m bench.engine

bench-sdxl: $(VENV)/ready  ## SDXL's true architecture on a GPU
	@$(BIN)/python -m bench.sdxl_gpu

bench-janus: $(VENV)/ready  ## the engine against transformers' generate, with the Janus that ships
	@$(BIN)/python -m bench.janus

bench-janus-gpu: $(VENV)/ready  ## Janus-Pro-7B's true architecture on a GPU
	@$(BIN)/python -m bench.janus_gpu

bench-start: $(VENV)/ready  ## from the 202 to running, on an idle stack
	@$(BIN)/python -m bench.start

bench-backlog: $(VENV)/ready  ## submit, look and claim from 1 k to 100 k jobs
	@$(BIN)/python -m bench.backlog

bench-api: $(VENV)/ready  ## submits, polls and 2,000 waiters, against a bare app
	@$(BIN)/python -m bench.api

bench-estimate: $(VENV)/ready  ## how far estimates lie from what comes
	@$(BIN)/python -m bench.estimate

bench-fleet: $(VENV)/ready  ## one, two and four workers: throughput, and what each job costs every part
	@$(BIN)/python -m bench.fleet

bench-rolling: $(VENV)/ready  ## renew every process in turn under load; nobody may notice (FROM=checkout)
	@$(BIN)/python -m bench.chaos.rolling $(if $(FROM),--from "$(FROM)")

chaos: $(VENV)/ready  ## kill every process of a working stack, again and again; nothing may be lost
	@$(BIN)/python -m bench.chaos

images:  ## build the container images (TORCH_BACKEND=cpu for a worker without a GPU)
	@for image in api worker; do docker buildx build --target $$image --tag darkroom-$$image \
		--build-arg TORCH_BACKEND=$(TORCH_BACKEND) --sbom=true --provenance=true \
		--file deploy/images/Dockerfile . || exit 1; done

COMPOSE = docker compose --file deploy/compose/compose.yaml \
	$(if $(shell command -v nvidia-smi),--file deploy/compose/compose.gpu.yaml) \
	$(if $(OBSERVE),--profile observe)

up:  ## the whole stack in containers (OBSERVE=1 with Prometheus and Grafana)
	@deploy/compose/secrets.sh && deploy/compose/keys.sh && $(COMPOSE) up --build --detach --wait
	@echo "Darkroom is at http://127.0.0.1:8420; your key lies in deploy/compose/first-key"

down:  ## stop the containers; what they hold stays in their volumes
	@$(COMPOSE) --profile observe down

lock: $(VENV)/ready  ## pin every dependency anew
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate \
		--no-header --no-emit-index-url --no-emit-package pip --upgrade pyproject.toml client/pyproject.toml -o requirements.lock

clean:  ## remove the virtual environment and the local stack's state
	@rm -rf $(VENV) var

# A prompt may hold any character: it reaches the command through the environment.
export PROMPT

$(VENV)/ready: pyproject.toml client/pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Darkroom needs Python 3.11 or later as $(PYTHON); choose another: make run PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@test "$$(df -Pk . | awk 'NR==2 {print $$4}')" -gt 3145728 || \
		{ echo "the disk is full: the virtual environment needs 3 GiB"; exit 1; }
	@test -x $(BIN)/python || { echo "creating $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@index="$(TORCH_INDEX)"; \
		if [ -n "$$index" ] && ! $(BIN)/python -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=5)' "$$index/torch/" 2>/dev/null; \
		then echo "$$index cannot be reached; torch comes from pip's own index"; index=; fi; \
		echo "installing torch ..."; \
		$(BIN)/python -m pip install --quiet -c requirements.lock $${index:+--extra-index-url "$$index"} torch
	@echo "installing Darkroom ..."
	@$(BIN)/python -m pip install --quiet -c requirements.lock -e '.[worker,local,dev]' -e client
	@touch $@

# Some 600 MB that `make run` can do without: what checks deploy/.
$(VENV)/deploy: $(VENV)/ready
	@$(BIN)/python -m pip install --quiet -c requirements.lock -e '.[deploy]'
	@touch $@
