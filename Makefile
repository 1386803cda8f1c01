# The one list of commands, for people and for CI. `make help` shows it.

PYTHON ?= python3
BROKER ?=
ARGS ?=
# How many processes run tests side by side, a module each; 0 for none but pytest's own.
JOBS ?= 3

# .venv has the source folder, for work; .venv-test has the built wheel, for tests; .venv-fuzz has
# the source folder and Atheris.
VENV := .venv
TEST_VENV := .venv-test
FUZZ_VENV := .venv-fuzz
WHEELS := .build/wheel
SOURCES := $(shell find miros_mesh -name __pycache__ -prune -o -print) pyproject.toml README.md LICENSE

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Nothing run from here finds the library in the current folder by accident.
export PYTHONSAFEPATH := 1
# No test, demo or measurement looks at the network of whoever runs it.
export MIROS_MESH_LAN := off

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test lint format types docs bench chaos fuzz coverage drawings wheel programs \
  rabbitmq iproute2 rsyslog prometheus python clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*##\(.*\)/  make \1#\2/p' Makefile | column -t -s '#' 2>/dev/null \
	  || grep '##' Makefile

venv: $(VENV)/.dev  ## make .venv with the library and the tools of a developer

# Silent, because the broker has a password in it.
demo: $(VENV)/.package  ## run the demo; BROKER=amqp://user:password@host// takes a RabbitMQ
	@$(VENV)/bin/miros-mesh demo $(if $(BROKER),--broker '$(BROKER)') $(ARGS)

test: $(TEST_VENV)/.wheel programs  ## run the tests against the built wheel; ARGS go to pytest
	$(TEST_VENV)/bin/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

coverage: $(TEST_VENV)/.wheel programs  ## run the tests and tell which lines they miss
	$(TEST_VENV)/bin/coverage erase
	$(TEST_VENV)/bin/coverage run -m pytest $(ARGS)
	$(TEST_VENV)/bin/coverage combine --quiet
	$(TEST_VENV)/bin/coverage report

lint: $(VENV)/.dev  ## check style, layers and fences
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo

format: $(VENV)/.dev  ## lay out the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

types: $(VENV)/.dev  ## check the types
	$(VENV)/bin/mypy

docs: $(VENV)/.dev  ## build the documentation into .build/site
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

bench: $(VENV)/.dev rabbitmq iproute2  ## measure throughput and latency; ARGS=discovery, ARGS=charts: other figures
	$(VENV)/bin/python bench $(ARGS)

chaos: $(VENV)/.dev rabbitmq iproute2  ## put random faults on two meshes; ARGS="--seconds 60 --seed 7"
	PYTHONPATH=tests $(VENV)/bin/python -m chaos $(ARGS)

fuzz: $(FUZZ_VENV)/.tools  ## give random bytes to what reads them; ARGS="--seconds 60 --target frames"
	PYTHONPATH=tests $(FUZZ_VENV)/bin/python -m fuzz $(ARGS)

drawings: $(VENV)/.dev  ## make anew the tables, diagrams and pictures that are made from the code
	for each in doc_tables discovery_diagrams sequence_diagrams; do \
	  PYTHONPATH=tests $(VENV)/bin/python -m support.$$each || exit 1; done

wheel: $(WHEELS)/.built  ## build the wheel into .build/wheel

clean:  ## remove everything that make made
	rm -rf $(VENV) $(TEST_VENV) $(FUZZ_VENV) .build .coverage .coverage.* .mypy_cache .ruff_cache \
	  .import_linter_cache .pytest_cache .hypothesis
	find miros_mesh tests -type d -name __pycache__ -prune -exec rm -rf {} +

# Debian and Ubuntu keep the venv module in a package of its own.
python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "make: no $(PYTHON); Python 3.11 or later is needed (make PYTHON=/path/to/python3)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $$($(PYTHON) --version) is too old; take 3.11 or later: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || .ci/get-apt python3-venv || exit 1

$(VENV)/.package: pyproject.toml | python
	$(call make_venv,$(VENV))
	$(VENV)/bin/pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.package
	$(VENV)/bin/pip install --quiet --group dev
	@touch $@

$(FUZZ_VENV)/.tools: pyproject.toml | python
	$(call make_venv,$(FUZZ_VENV))
	$(FUZZ_VENV)/bin/pip install --quiet --editable . --group fuzz
	@touch $@

$(TEST_VENV)/.tools: pyproject.toml | python
	$(call make_venv,$(TEST_VENV))
	$(TEST_VENV)/bin/pip install --quiet --group test
	@touch $@

$(WHEELS)/.built: $(TEST_VENV)/.tools $(SOURCES)
	rm -rf $(WHEELS)
	$(TEST_VENV)/bin/pip wheel --quiet --no-deps --wheel-dir $(WHEELS) .
	@touch $@

$(TEST_VENV)/.wheel: $(WHEELS)/.built
	$(TEST_VENV)/bin/pip install --quiet $(WHEELS)/*.whl
	$(TEST_VENV)/bin/pip install --quiet --force-reinstall --no-deps $(WHEELS)/*.whl
	@touch $@

# pip reads dependency groups from 25.1 on.
define make_venv
@test -x $(1)/bin/pip || { echo "$(PYTHON) -m venv $(1)"; $(PYTHON) -m venv $(1); }
@$(1)/bin/pip install --quiet 'pip>=25.1'
endef

# In CI a missing program is an error; elsewhere the tests that need it are skipped, and say so.
programs: rabbitmq iproute2 rsyslog prometheus

rabbitmq:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v rabbitmq-server >/dev/null \
	  || .ci/get-apt rabbitmq-server || test "$$CI" != true

iproute2:
	@PATH="$$PATH:/usr/sbin:/sbin" command -v ip >/dev/null \
	  || .ci/get-apt iproute2 || test "$$CI" != true

rsyslog:
	@ls /usr/lib/rsyslog/omelasticsearch.so /usr/lib/*/rsyslog/omelasticsearch.so 2>/dev/null \
	  | grep -q . || .ci/get-apt rsyslog-elasticsearch || test "$$CI" != true

prometheus:
	@{ command -v prometheus && command -v promtool; } >/dev/null \
	  || .ci/get-apt prometheus || test "$$CI" != true
