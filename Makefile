# The one list of commands, for people and for CI. `make help` shows it.

PYTHON ?= python3
BROKER ?=
ARGS ?=
# How many processes run tests side by side, a module each; 0 for none but pytest's own.
JOBS ?= 3

# .venv has the source folder, for work; .venv-test has the built wheel, for tests; .venv-release
# has what looks at dependencies, which depends on much itself; .venv-fuzz has Atheris;
# .venv-ansible has Ansible, for the playbooks of deploy/.
VENV := .venv
TEST_VENV := .venv-test
RELEASE_VENV := .venv-release
FUZZ_VENV := .venv-fuzz
ANSIBLE_VENV := .venv-ansible
WHEELS := .build/wheel
PACKAGES := .build/packages
DEBS := .build/debs
# miros-rabbitmq itself, for the tests of a mesh of both.
ANCESTOR := .build/ancestor
# What has to do with a broker.
BROKER_TESTS := tests/contract tests/integration tests/faults
SBOM := .build/sbom
TESTED := $(TEST_VENV)/.wheel $(ANSIBLE_VENV)/.tools $(PACKAGES)/.got $(ANCESTOR)/.got
LOCK := .ci/lock
SOURCES := $(shell find miros_mesh -name __pycache__ -prune -o -print) pyproject.toml README.md LICENSE

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Nothing run from here finds the library in the current folder by accident.
export PYTHONSAFEPATH := 1
# No test, demo or measurement looks at the network of whoever runs it.
export MIROS_MESH_LAN := off
# The time that every file in the wheel has, so that two builds have the same bytes.
export SOURCE_DATE_EPOCH := 1580601600

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo page-demo page-pictures shop test test-rabbitmq4 proof lint format types docs bench chaos fuzz coverage drawings wheel \
  lock audit sbom programs rabbitmq iproute2 rsyslog prometheus systemd chromium dropbear debs nats redis python clean

help:  ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*##\(.*\)/  make \1#\2/p' Makefile | column -t -s '#' 2>/dev/null \
	  || grep '##' Makefile

venv: $(VENV)/.dev  ## make .venv with the library and the tools of a developer

# Silent, because the broker has a password in it.
demo: $(VENV)/.package  ## run the demo; BROKER=amqp://user:password@host// takes a RabbitMQ
	@$(VENV)/bin/miros-mesh demo $(if $(BROKER),--broker '$(BROKER)') $(ARGS)

# In a folder of its own, which both find and which goes with them.
page-demo: $(VENV)/.package  ## run the demo for an hour, and open the page of its mesh
	@MIROS_MESH_HOME=$$(mktemp -d) && export MIROS_MESH_HOME && \
	  { $(VENV)/bin/miros-mesh page --port 0 --open & } && \
	  trap "kill $$!; wait; rm -rf $$MIROS_MESH_HOME" EXIT && trap exit INT TERM && \
	  $(VENV)/bin/miros-mesh demo --seconds 3600 $(ARGS)

shop: $(VENV)/.dev  ## run a shop of three services and a web front; BROKER as for the demo
	@PYTHONPATH=examples $(VENV)/bin/python -m shop $(if $(BROKER),--broker '$(BROKER)') $(ARGS)

test: $(TESTED) programs  ## run the tests against the built wheel; ARGS go to pytest
	$(TEST_VENV)/bin/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=15 $(ARGS)

# In a Debian 13, with its RabbitMQ 4.0 and Python 3.13; where none can be made, it says so and is skipped.
test-rabbitmq4:  ## run contract, integration and faults against RabbitMQ 4, as root; ARGS go to pytest
	@tree=$$(.ci/get-rabbitmq4) || { [ $$? = 77 ] && [ "$$CI" != true ]; exit; }; \
	  .ci/in-debian "$$tree" $(MAKE) test PYTHON=python3 JOBS=$(JOBS) TEST_VENV=.build/rabbitmq4/venv TESTED=.build/rabbitmq4/venv/.wheel \
	  WHEELS=.build/rabbitmq4/wheel ARGS='$(if $(filter tests/%,$(ARGS)),,$(BROKER_TESTS)) $(ARGS)'

proof: $(TESTED) programs dropbear debs  ## run the tests that take long, which `make test` leaves out
	$(TEST_VENV)/bin/pytest -m proof $(ARGS)

coverage: $(TESTED) programs  ## run the tests and tell which lines they miss
	$(TEST_VENV)/bin/coverage erase
	$(TEST_VENV)/bin/coverage run -m pytest $(ARGS)
	$(TEST_VENV)/bin/coverage combine --quiet
	$(TEST_VENV)/bin/coverage report

lint: $(VENV)/.dev $(ANSIBLE_VENV)/.tools  ## check style, layers, fences, and calls that are a risk
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/bandit --quiet --configfile pyproject.toml --recursive miros_mesh
	$(VENV)/bin/oxlint --deny-warnings miros_mesh/observe/page/site
	cd deploy/ansible && PATH="$(CURDIR)/$(ANSIBLE_VENV)/bin:$$PATH" ansible-lint --strict -q

format: $(VENV)/.dev  ## lay out the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

types: $(VENV)/.dev  ## check the types
	$(VENV)/bin/mypy

# Not --quiet, which keeps the warnings from --strict as well.
docs: $(VENV)/.dev  ## build the documentation into .build/site; REPOSITORY_URL=... links it to the repository
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

bench: $(VENV)/.dev rabbitmq iproute2 $(if $(filter peers,$(firstword $(ARGS))),nats redis)  ## measure; ARGS=peers: beside others; ARGS=scale: growth; ARGS=--help: all there is
	$(VENV)/bin/python bench $(ARGS)

chaos: $(VENV)/.dev rabbitmq iproute2  ## put random faults on two meshes; ARGS="--seconds 60 --seed 7"
	PYTHONPATH=tests $(VENV)/bin/python -m chaos $(ARGS)

fuzz: $(FUZZ_VENV)/.tools  ## give random bytes to what reads them; ARGS="--seconds 60 --target frames"
	PYTHONPATH=tests $(FUZZ_VENV)/bin/python -m fuzz $(ARGS)

drawings: $(VENV)/.dev  ## make anew the tables, diagrams and pictures that are made from the code
	for each in doc_tables discovery_diagrams sequence_diagrams; do \
	  PYTHONPATH=tests $(VENV)/bin/python -m support.$$each || exit 1; done

page-pictures: $(VENV)/.dev chromium  ## take the pictures of the page in docs/ anew, of meshes at work; ARGS=page-50
	PYTHONPATH=tests $(VENV)/bin/python -m support.page_pictures $(ARGS)

wheel: $(WHEELS)/.built  ## build the wheel into .build/wheel

lock: $(RELEASE_VENV)/.tools  ## lock what pyproject.toml asks for; ARGS=--upgrade takes the newest
	$(COMPILE) --all-extras --group dev $(ARGS) --output-file $(LOCK)/dev.txt
	$(COMPILE) --constraint $(LOCK)/dev.txt --output-file $(LOCK)/run.txt
	$(COMPILE) --constraint $(LOCK)/dev.txt --group test --output-file $(LOCK)/test.txt
	$(COMPILE_GROUP) --constraint $(LOCK)/dev.txt --group build --output-file $(LOCK)/build.txt
	$(COMPILE_GROUP) --constraint $(LOCK)/dev.txt --group fuzz $(ARGS) --output-file $(LOCK)/fuzz.txt
	$(COMPILE_GROUP) --group ansible $(ARGS) --output-file $(LOCK)/ansible.txt
	$(COMPILE_GROUP) --group release $(ARGS) --output-file $(LOCK)/release.txt
	$(COMPILE_GROUP) --group peers $(ARGS) --output-file $(LOCK)/peers.txt
	$(COMPILE_GROUP) --group nameko $(ARGS) --output-file $(LOCK)/nameko.txt
	$(COMPILE_GROUP) --group ancestor --override .ci/ancestor-without.in $(ARGS) --output-file $(LOCK)/ancestor.txt

# Strict: a package that the service does not know is an error, and no pass.
audit: $(RELEASE_VENV)/.tools  ## ask for known vulnerabilities of what is locked; needs the internet
	for each in dev release ansible; do \
	  $(RELEASE_VENV)/bin/pip-audit --strict --disable-pip --require-hashes \
	    --requirement $(LOCK)/$$each.txt || exit 1; done

sbom: $(RELEASE_VENV)/.tools $(WHEELS)/.built  ## list what the wheel brings with it (CycloneDX) in .build/sbom
	rm -rf $(SBOM)
	$(TEST_VENV)/bin/pip wheel --quiet $(HASHED) --requirement $(LOCK)/run.txt --wheel-dir $(SBOM)/wheels
	$(PYTHON) -m venv --without-pip $(SBOM)/environment
	$(TEST_VENV)/bin/pip --python $(SBOM)/environment install --quiet --no-index \
	  --find-links $(SBOM)/wheels --find-links $(WHEELS) miros-mesh
	$(RELEASE_VENV)/bin/cyclonedx-py environment $(SBOM)/environment --pyproject pyproject.toml \
	  --mc-type library --output-reproducible --validate --output-file $(SBOM)/miros-mesh.cdx.json

clean:  ## remove everything that make made
	rm -rf $(VENV) $(TEST_VENV) $(RELEASE_VENV) $(FUZZ_VENV) $(ANSIBLE_VENV) .build .coverage .coverage.* .mypy_cache .ruff_cache \
	  .import_linter_cache .pytest_cache .hypothesis
	find miros_mesh tests -type d -name __pycache__ -prune -exec rm -rf {} +

# Debian and Ubuntu keep the venv module in a package of its own.
python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "make: no $(PYTHON); Python 3.11 or later is needed (make PYTHON=/path/to/python3)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $$($(PYTHON) --version) is too old; take 3.11 or later: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || .ci/get-apt python3-venv || exit 1

$(VENV)/.package: pyproject.toml $(LOCK)/build.txt $(LOCK)/run.txt | python
	$(call make_venv,$(VENV))
	$(VENV)/bin/pip install --quiet $(HASHED) --requirement $(LOCK)/run.txt
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.package $(LOCK)/dev.txt
	$(VENV)/bin/pip install --quiet $(HASHED) --requirement $(LOCK)/dev.txt
	@touch $@

$(FUZZ_VENV)/.tools: $(LOCK)/build.txt $(LOCK)/run.txt $(LOCK)/fuzz.txt | python
	$(call make_venv,$(FUZZ_VENV))
	$(FUZZ_VENV)/bin/pip install --quiet $(HASHED) --requirement $(LOCK)/run.txt
	$(FUZZ_VENV)/bin/pip install --quiet $(HASHED) --requirement $(LOCK)/fuzz.txt
	$(FUZZ_VENV)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(ANSIBLE_VENV)/.tools: $(LOCK)/build.txt $(LOCK)/ansible.txt | python
	$(call make_venv,$(ANSIBLE_VENV))
	$(ANSIBLE_VENV)/bin/pip install --quiet $(HASHED) --requirement $(LOCK)/ansible.txt
	@touch $@

# What pip fetches on a host, for those of the tests, which have no way out.
$(PACKAGES)/.got: $(TEST_VENV)/.tools $(LOCK)/build.txt $(LOCK)/run.txt
	rm -rf $(PACKAGES)
	$(TEST_VENV)/bin/pip download --quiet $(HASHED) --requirement $(LOCK)/build.txt --dest $(PACKAGES)
	$(TEST_VENV)/bin/pip download --quiet $(HASHED) --requirement $(LOCK)/run.txt --dest $(PACKAGES)
	@touch $@

# Without what it requires in the lock: netifaces, which has no wheel, is there as netifaces-plus.
$(ANCESTOR)/.got: $(LOCK)/build.txt $(LOCK)/ancestor.txt | python
	$(call make_venv,$(ANCESTOR))
	$(ANCESTOR)/bin/pip install --quiet $(HASHED) --no-deps --requirement $(LOCK)/ancestor.txt
	@touch $@

$(TEST_VENV)/.tools: $(LOCK)/build.txt $(LOCK)/test.txt | python
	$(call make_venv,$(TEST_VENV))
	$(TEST_VENV)/bin/pip install --quiet $(HASHED) --requirement $(LOCK)/test.txt
	@touch $@

$(RELEASE_VENV)/.tools: $(LOCK)/build.txt $(LOCK)/release.txt | python
	$(call make_venv,$(RELEASE_VENV))
	$(RELEASE_VENV)/bin/pip install --quiet $(HASHED) --requirement $(LOCK)/release.txt
	@touch $@

$(WHEELS)/.built: $(TEST_VENV)/.tools $(SOURCES)
	rm -rf $(WHEELS)
	$(TEST_VENV)/bin/hatchling build --target wheel --directory $(WHEELS)
	@touch $@

$(TEST_VENV)/.wheel: $(WHEELS)/.built
	$(TEST_VENV)/bin/pip install --quiet --force-reinstall --no-deps $(WHEELS)/*.whl
	@touch $@

# Only files whose hashes the lock has, from whatever index pip is set to. miros alone is built from
# its source archive, by the setuptools of the lock.
HASHED := --require-hashes --no-build-isolation --only-binary :all: --no-binary miros

# The environment's own pip and what builds miros come first.
define make_venv
@test -x $(1)/bin/pip || { echo "$(PYTHON) -m venv $(1)"; $(PYTHON) -m venv $(1); }
@$(1)/bin/pip install --quiet --require-hashes --only-binary :all: --requirement $(LOCK)/build.txt
endef

# One lock for every supported Python and system, which names no index.
COMPILE_GROUP := $(RELEASE_VENV)/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 \
  --generate-hashes --custom-compile-command "make lock"
COMPILE := $(COMPILE_GROUP) pyproject.toml

# In CI a missing program is an error; elsewhere the tests that need it are skipped, and say so.
programs: rabbitmq iproute2 rsyslog prometheus systemd chromium

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

# What looks at the page of the mesh in its tests, and takes its pictures.
chromium:
	@command -v chromium >/dev/null || .ci/get-apt chromium || test "$$CI" != true

systemd:
	@{ command -v systemd-analyze && test -x /lib/systemd/systemd; } >/dev/null \
	  || .ci/get-apt systemd || test "$$CI" != true

# An ssh server that is no service of the machine, for hosts of the tests.
dropbear:
	@command -v dropbear >/dev/null || .ci/get-apt dropbear-bin || test "$$CI" != true

# What apt fetches on a host of the tests, which has no way out.
debs:
	@ls $(DEBS)/rabbitmq-server_*.deb >/dev/null 2>&1 \
	  || { mkdir -p $(DEBS) && cd $(DEBS) && apt-get download --quiet rabbitmq-server; } || test "$$CI" != true

# What `make bench ARGS=peers` measures besides; no test needs it.
nats:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v nats-server >/dev/null || .ci/get-apt nats-server || true

redis:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v redis-server >/dev/null || .ci/get-apt redis-server || true
