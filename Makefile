# make demo | test | test-all | check | bench | package | release
#                    (needs only make and a Python >= 3.11; uv is fetched when missing)
# make fuzz | soak [MINUTES=15] | audit
# make e2e | train   (needs what CONTRIBUTING.md names, too)

SHELL := bash
.DELETE_ON_ERROR:

# Dify's SDK wants Python 3.12, so that one first. UV_PYTHON or PYTHON decide otherwise.
# Where there is none, uv fetches one.
FOUND_PYTHON := $(firstword $(shell tools/find-python 3.12 3.13 3.14 3.11))
PYTHON ?= $(or $(UV_PYTHON),$(FOUND_PYTHON),3.12)
UV := $(or $(shell command -v uv),.tools/bin/uv)
export UV_PYTHON_DOWNLOADS ?= automatic
unexport UV_PYTHON

PY := .venv/bin/python
PYTEST := $(PY) -m pytest -q
COVERAGE := $(PY) -m coverage
PARALLEL := --numprocesses auto --dist worksteal
# What starts mlx_lm.server or makes environments, or runs in Dify's SDK: minutes, not seconds.
SLOW_TESTS := tests/cli/test_demo.py tests/dify tests/e2e tests/packaging
# The SDK needs Python 3.12. Its tests run in a process of their own, because it patches it with gevent.
HAS_DIFY := $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 12))'
NO_DIFY := echo 'Left out: the Dify plugin, because its SDK needs Python 3.12.'
MLX_LM_VERSIONS := 0.26.3 0.26.4 0.28.4 0.31.3
OTHER_PYTHONS := 3.13  # `make test-debian` runs 3.11.2
OTHER_PYTHONS_HERE := $(foreach version,$(OTHER_PYTHONS),$(if $(shell tools/find-python $(version)),$(version)))

.PHONY: demo test test-all test-pythons test-debian check e2e e2e-legacy bench package release fuzz soak audit train requirements clean
.SECONDARY:

demo: .venv/.ready .cache/mlx-lm-newest/.ready
	$(PY) -m harmony_core demo --server-python .cache/mlx-lm-newest/bin/python

test: .venv/.ready  # less than three minutes on two cores
	$(PYTEST) $(PARALLEL) -m "not e2e" $(SLOW_TESTS:%=--ignore %)

test-all: .venv/.ready .cache/mlx-lm-newest/.ready
	@echo 'This takes about 5 minutes on two idle cores, and 2 more for each other Python that is installed.'
	$(COVERAGE) erase
	$(COVERAGE) run -m pytest -q $(PARALLEL) -m "not e2e" --ignore tests/dify
	@if $(HAS_DIFY); then $(COVERAGE) run --concurrency gevent -m pytest -q -p dify_plugin -m "not e2e" tests/dify; \
	    else $(NO_DIFY); fi
	$(COVERAGE) combine --quiet
	for package in harmony_core openwebui_pipe $$($(HAS_DIFY) && echo dify_plugin_mlx); do \
	    $(COVERAGE) report --skip-covered --include "$$package/*" --fail-under 98 || exit; done
	$(MAKE) test-pythons

test-pythons: $(OTHER_PYTHONS_HERE:%=.cache/python-%/.ready)
	for version in $(OTHER_PYTHONS_HERE); do .cache/python-$$version/bin/python -m pytest -q $(PARALLEL) tests/core tests/cli -m "not e2e" || exit; done

# Debian 12 has Python 3.11.2, whose `re` reads some patterns in its own way (harmony_core/header.py).
test-debian: .cache/debian/.ready
	.cache/debian/bin/python -m pytest -q $(PARALLEL) tests/core tests/pipe tests/cli -m "not e2e"

check: .venv/.ready .cache/mlx-lm-newest/.ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy --python-version 3.11 harmony_core openwebui_pipe toy tools benchmarks
	@if $(HAS_DIFY); then .venv/bin/mypy --python-version 3.12 dify_plugin_mlx main.py; else $(NO_DIFY); fi
	$(PY) -m openwebui_pipe.bundle --check
	$(PYTEST) tests/architecture

e2e: .venv/.ready .cache/mlx-lm-newest/.ready $(MLX_LM_VERSIONS:%=.cache/mlx-lm-%/.ready)
	$(PYTEST) -m e2e --ignore tests/dify
	@if $(HAS_DIFY); then $(PYTEST) -p dify_plugin -m e2e tests/dify; else $(NO_DIFY); fi

e2e-legacy: .venv/.ready .cache/mlx-lm-newest/.ready
	OPENWEBUI_LEGACY=1 $(PYTEST) -m e2e tests/pipe/test_e2e_legacy.py

bench: .cache/bench/.ready
	.cache/bench/bin/python -m benchmarks

package: .venv/.ready  # of your own: make package RELEASE=1 AUTHOR=… REPO=https://… CONTACT=…@…
	$(PY) -m tools.package $(if $(RELEASE),--release) $(if $(AUTHOR),--author '$(AUTHOR)') \
	    $(if $(REPO),--repo '$(REPO)') $(if $(CONTACT),--contact '$(CONTACT)')

MINUTES ?= 15

fuzz: .cache/fuzz/.ready
	.cache/fuzz/bin/python -m tests.fuzz --seconds $$(( $(MINUTES) * 60 ))

soak: .venv/.ready
	$(PY) -m tests.soak --minutes $(MINUTES)

audit: .venv/.ready | $(UV)
	$(PY) -m tools.audit

release: .venv/.ready  # what a tag publishes, in dist/: see tools/release.py
	$(PY) -m tools.release $(if $(TAG),--tag "$(TAG)")

# Train the toy anew and check it: half an hour on two cores. MLX uses one core per process on a CPU, its own
# reference BLAS is slow (a fast one is Debian's libopenblas0), and mlx.launch would keep half a core busy.
train: .cache/toy-training/.ready
	echo '[["127.0.0.1:32361"], ["127.0.0.1:32362"]]' > .cache/ring.json
	export MLX_HOSTFILE=.cache/ring.json OPENBLAS_NUM_THREADS=1 LD_PRELOAD=libopenblas.so.0; \
	    MLX_RANK=1 .cache/toy-training/bin/python -m toy.train & MLX_RANK=0 .cache/toy-training/bin/python -m toy.train
	.cache/toy-training/bin/python -m toy.check

# Environments: .cache/NAME is built from requirements/NAME.txt. They are pinned with hashes.

.tools/bin/uv:
	$(or $(FOUND_PYTHON),python3) -m venv .tools
	.tools/bin/pip install --quiet 'uv>=0.8,<1'

define environment
	$(UV) venv --quiet --clear --python $(1) $(@D)
	$(UV) pip sync --quiet --python $(@D) --require-hashes $<
endef

.venv/.ready: requirements/dev.txt pyproject.toml | $(UV)
	$(call environment,$(PYTHON))
	$(UV) pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
	touch $@

.cache/debian/.ready: requirements/dev.txt | $(UV)
	$(call environment,/usr/bin/python3)
	touch $@

.cache/python-%/.ready: requirements/core.txt | $(UV)
	$(call environment,$(shell tools/find-python $*))
	touch $@

.cache/%/.ready: requirements/%.txt | $(UV)
	$(call environment,$(PYTHON))
	touch $@

requirements: | $(UV)  # compile the pinned files anew
	for file in requirements/*.in; do \
	    case $$file in */core.in|*/dev.in) project="pyproject.toml --extra cli" ;; *) project= ;; esac; \
	    $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	        --upgrade $$(grep -om1 -e --no-deps $$file) $$project $$file --output-file $${file%.in}.txt || exit; done

clean:
	rm -rf .venv .tools .cache dist
