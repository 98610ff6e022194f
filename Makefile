# The menu. Every target calls one script or one tool, so that what CI runs can be repeated by one line.
# A fresh machine needs Python >= 3.11 with venv, make and a network; nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# With it set, as it is in many containers, each run would compile all tests anew: 5 s of each process.
unexport PYTHONDONTWRITEBYTECODE

# The first interpreter on PATH that is new enough; `make PYTHON=python3.12 …` chooses another.
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && { echo $$p; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What looks at the supply, and what it looks at: just what the image installs.
SUPPLY := .venv-supply
SHIPPED := .venv-shipped
# What builds the documentation.
DOCS := .venv-docs
INSTALL := python -m pip install --quiet --disable-pip-version-check
# More options for pytest, for example PYTEST_ARGS='-k pool -x'.
PYTEST_ARGS ?=
PYTEST := $(BIN)/python -m pytest -q
# Percent of domain's branches that unit tests take; it only rises.
FLOOR := 99
# Two processes, each with control planes of its own: files are shared out, since tests of one file share what they set up.
# One process, to look at one test: make test-e2e PYTEST_ARGS='-n 0 -k quickstart -s'.
# The test suites put their files in order themselves; without the option, files of many tests would begin first.
PROCESSES ?= 2
PARALLEL = -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
# Two processes with one half each, until one has nothing left to do: what a file reads is mostly read in one of them.
SHARED_OUT := -n 2 --dist worksteal
# What tests/data/more.txt lists, in whole or but for a few cases, is left to `make test-more` (PART= for all of them).
PART ?= not more
# More options for `make run`, `make sandbox` and `make bench`.
ARGS ?=
ADVISORIES ?= pypi
OPERATOR ?= 1
REAL ?= 0
# In namespaces of its own, with a real ovnkube; without one it is skipped aloud.
OVNKUBE ?=
WITH_OVNKUBE = $(BIN)/python -m dpunetop.sandbox.realovnkube "$(OVNKUBE)"
# A real node maintenance operator and machine-config-controller, each with a folder of manifests (…_CRDS).
export NMO ?=
export NMO_CRDS ?=
export MCC ?=
export MCC_CRDS ?=
WITH_NEIGHBOURS = $(BIN)/python -m dpunetop.sandbox.realneighbours
IMAGE ?= dpunetop:dev
TAG ?=
# What `make deploy` installs, and with what.
IMG ?=
KUBECTL ?= kubectl
ENGINE ?= $(shell command -v podman || command -v docker)

.PHONY: help
help: ## Say what there is
	@awk 'BEGIN { FS = ":.*## " } /^## / { print "\n" substr($$0, 4) } \
		/^[a-zA-Z0-9._-]+:.*## / { printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2 }' Makefile

## Use it
.PHONY: sandbox
sandbox: $(READY) ## Two real API servers, stand-ins and the operator, to play with (SCENARIO=drain, roll, tenant-outage, rotate, crash, blocked-host or none; OPERATOR=0: all steps are yours; REAL=1 OVNKUBE=/path: docs/real-ovn.md)
	$(if $(filter 1,$(REAL)),$(WITH_OVNKUBE)) $(BIN)/python -m dpunetop sandbox $(if $(filter 1,$(REAL)),--real) \
		$(if $(filter 0,$(OPERATOR)),--no-operator) $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

.PHONY: run
run: $(READY) ## The operator from source against the current kubeconfig (TENANT_NAMESPACE=… NAMESPACE=… make run)
	KUBECONFIG="$${KUBECONFIG:-$$HOME/.kube/config}" exec $(BIN)/python -m dpunetop run --log-format console \
		--metrics-secure=false --metrics-bind-address 127.0.0.1:49555 \
		--health-probe-bind-address 127.0.0.1:49556 $(ARGS)

## Install it
.PHONY: deploy
deploy: ## Install the operator in the cluster of the current kubeconfig, with the image that you have pushed (IMG=name:tag)
	hack/deploy apply "$(KUBECTL)" "$(IMG)"

.PHONY: undeploy
undeploy: ## Take the operator away again; refused while a DpuClusterConfig is there
	hack/deploy delete "$(KUBECTL)"

## Check it
.PHONY: test
test: test-unit test-sockets test-integration test-e2e ## Before each merge, 19 minutes on two cores: lint, types, imports, unit, transport, real OVN, integration, end to end

.PHONY: test-more
test-more: test-fuzz test-stress coverage test-tools ## What is slow by nature, some 30 minutes: fuzz, stress, more walks with coverage, tools, the other cases of integration and end to end
	$(MAKE) test-transport test-integration test-e2e PART=more

.PHONY: test-unit
test-unit: $(READY) ## The inner loop: lint, types, imports, unit, side by side
	$(MAKE) --jobs 4 --output-sync=target lint types imports unit

.PHONY: unit
unit: $(READY) ## Unit tests alone (PART=: all cases)
	$(PYTEST) $(SHARED_OUT) -m "$(PART)" tests/unit $(PYTEST_ARGS)

.PHONY: coverage
coverage: $(READY) ## Unit tests with eight times the walks; fails if less of domain's branches is taken than was once
	DPUNETOP_EFFORT=8 $(PYTEST) --timeout 600 $(SHARED_OUT) --cov=dpunetop.domain --cov-branch --cov-fail-under=$(FLOOR) \
		--cov-report=term:skip-covered tests/unit $(PYTEST_ARGS)

.PHONY: test-stress
test-stress: $(READY) ## The engine with threads switched every microsecond
	$(PYTEST) tests/stress $(PYTEST_ARGS)

.PHONY: test-fuzz
test-fuzz: $(READY) ## 10,000 spoiled texts for whatever reads what strangers write (HYPOTHESIS_PROFILE=nightly: others each time)
	$(PYTEST) --timeout 600 -n 2 tests/fuzz $(PYTEST_ARGS)

.PHONY: test-transport
test-transport: $(READY) ## Real sockets against a server that lies
	$(PYTEST) -m "$(PART)" tests/transport $(PYTEST_ARGS)

.PHONY: test-sockets
test-sockets: $(READY) ## Transport and real OVN side by side: both mostly wait
	$(MAKE) --jobs 2 --output-sync=target test-transport test-ovn

.PHONY: test-ovn
test-ovn: $(READY) ## Our pods' containers on the real OVN and Open vSwitch, in namespaces of their own; skipped aloud where there are none
	$(BIN)/python -m dpunetop.sandbox.realovn.namespaces $(PYTEST) tests/realovn $(PYTEST_ARGS)

.PHONY: test-integration
test-integration: controlplane ## Two real API servers, the operator with the rights of config/rbac
	$(PYTEST) $(PARALLEL) -m "$(PART)" tests/integration $(PYTEST_ARGS)

.PHONY: record-writes
record-writes: controlplane ## Record anew which writes an undisturbed quick start and drain make (tests/data/writes)
	DPUNETOP_RECORD_WRITES=1 $(PYTEST) -n 0 tests/e2e/test_crash.py tests/e2e/test_drain_crash.py -k "writes_each or makes_the_writes"

.PHONY: test-e2e
test-e2e: controlplane ## The shipped process: quick start, rest, kill -9 at every fourth write, hand-over, metrics
	$(PYTEST) $(PARALLEL) -m "$(PART)" tests/e2e $(PYTEST_ARGS)

.PHONY: test-crash
test-crash: controlplane ## Kill the operator at every write of quick start and drain, and hide the tenant at every stage
	DPUNETOP_CRASH_EVERY=1 $(PYTEST) $(PARALLEL) -m crash tests/e2e $(PYTEST_ARGS)

.PHONY: test-real
test-real: controlplane ## A real ovnkube in our pods, real operators beside ours (OVNKUBE=… NMO=… MCC=…; docs/real-ovn.md, docs/real-neighbours.md)
	$(WITH_OVNKUBE) $(PYTEST) -n 0 tests/real $(PYTEST_ARGS)
	$(WITH_NEIGHBOURS) $(PYTEST) -n 0 tests/neighbours $(PYTEST_ARGS)

.PHONY: test-mutants
test-mutants: $(READY) ## Plant small bugs in the rules of the drain, see whether a unit test fails (ARGS='--share 20 --minutes 30 --jobs 4'; goes on where it stopped)
	nice -n 19 $(BIN)/python -m hack.mutants $(ARGS)

.PHONY: docs
docs: $(DOCS)/.ready ## The documentation as a site: site/ (strict: a link that leads nowhere fails)
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --quiet --strict

.PHONY: test-tools
test-tools: controlplane docs ## Chart, bundle, alerts and docs by the programs that they are for: Helm, OLM's validators, promtool, mkdocs
	$(PYTEST) tests/tools $(PYTEST_ARGS)

.PHONY: bench
bench: controlplane ## Measure speed and memory against the raw limit (ARGS='p1 --nodes 100'); docs/performance.md
	PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

# What vulture reads: tests count for nothing, and hack/unused-on-purpose.txt says why something stays.
PRODUCT := $(addprefix src/dpunetop/,app base controllers domain kube runtime __main__.py)

.PHONY: lint
lint: $(READY) ## ruff: style and formatting; vulture: code that nothing uses
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vulture --min-confidence 60 $(PRODUCT) hack/unused-on-purpose.txt

.PHONY: types
types: $(READY) ## mypy --strict
	$(BIN)/mypy src hack examples tests

.PHONY: imports
imports: $(READY) ## import-linter: who may import whom
	$(BIN)/lint-imports --no-cache

.PHONY: verify
verify: controlplane ## Fail if deploy/ is not what config/ renders to
	hack/render --check "$$($(BIN)/python -m dpunetop.sandbox.binaries)/kubectl"

.PHONY: audit
audit: $(SUPPLY)/.ready ## Ask for known holes in what is shipped and what builds it (ADVISORIES=pypi|osv); fails if nobody answers
	$(SUPPLY)/bin/python hack/audit.py $(ADVISORIES) requirements.txt requirements-build.txt

.PHONY: sbom
sbom: $(SUPPLY)/.ready $(READY) ## The bill of materials of what the image installs: dist/dpunetop.cdx.json (CycloneDX)
	$(PYTHON) -m venv --clear $(SHIPPED)
	$(SHIPPED)/bin/$(INSTALL) --require-hashes --no-deps -r requirements.txt
	@rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	$(SHIPPED)/bin/$(INSTALL) --no-deps dist/dpunetop-*.whl
	$(SHIPPED)/bin/python -m pip uninstall --quiet --yes pip setuptools
	$(SUPPLY)/bin/cyclonedx-py environment --output-reproducible -o dist/dpunetop.cdx.json $(SHIPPED)

## Change it
.PHONY: format
format: $(READY) ## Put the code into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: manifests
manifests: controlplane ## Render deploy/ from config/: manifests, chart and bundle for OLM
	hack/render "$$($(BIN)/python -m dpunetop.sandbox.binaries)/kubectl"

.PHONY: chart
chart: ## The Helm chart as an archive: dist/dpunetop-<version>.tgz
	@mkdir -p dist
	tar --sort=name --owner=0 --group=0 --mtime=@0 -C deploy/chart -czf \
		"dist/dpunetop-$$(sed -n 's/^version: //p' deploy/chart/dpunetop/Chart.yaml).tgz" dpunetop

.PHONY: bundle
bundle: $(READY) ## The bundle for OLM with the image that you have pushed: dist/bundle (IMG=name@sha256:…)
	@rm -rf dist/bundle dist/rendered && mkdir -p dist/rendered
	hack/deploy print "$(KUBECTL)" "$(IMG)" > dist/rendered/dpunetop.yaml
	$(BIN)/python -m hack.bundle dist/rendered dist/bundle

.PHONY: tree
tree: $(READY) ## Write the tree of modules into docs/architecture.md
	$(BIN)/python hack/tree.py

.PHONY: reference
reference: $(READY) ## Write what is made from the code: docs/api.md, docs/reasons.md, docs/metrics.md, the Grafana dashboard
	$(BIN)/python hack/reference.py
	$(BIN)/python hack/dashboard.py > config/prometheus/dashboard.json

.PHONY: lock
lock: $(READY) ## Choose versions anew within the ranges of setup.cfg (run it on Python 3.11)
	$(LOCK) -o requirements.txt setup.py
	$(LOCK) --extra dev -c requirements.txt -o requirements-dev.txt setup.py
	$(LOCK) --extra docs -c requirements-dev.txt -o requirements-docs.txt setup.py
	$(LOCK) --extra cli -c requirements-dev.txt -o requirements-cli.txt setup.py
	$(LOCK) -c requirements-dev.txt --only-build-deps --build-deps-for wheel -o requirements-build.txt setup.py
	$(LOCK) -o requirements-supply.txt requirements-supply.in

.PHONY: release-check
release-check: $(READY) ## Whether a tag fits this checkout and its changelog (TAG=v1.2.3); RELEASING.md
	$(BIN)/python hack/release.py check "$(TAG)"

.PHONY: release-notes
release-notes: $(READY) ## The text of a release, from the changelog (TAG=v1.2.3)
	@$(BIN)/python hack/release.py notes "$(TAG)"

.PHONY: base-images
base-images: ## Write the newest base images into the Containerfile, by digest (takes skopeo and their registry)
	$(PYTHON) hack/base_images.py

LOCK = CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe \
	--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

## Prepare it
$(READY): requirements-dev.txt setup.cfg setup.py pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python >= 3.11 with venv on PATH (on Debian: apt-get install python3-venv)," \
		"or name one: make PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	@touch $@

$(SUPPLY)/.ready: requirements-supply.txt
	$(PYTHON) -m venv --clear $(SUPPLY)
	$(SUPPLY)/bin/$(INSTALL) --require-hashes --no-deps -r requirements-supply.txt
	@touch $@

$(DOCS)/.ready: requirements-docs.txt
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/$(INSTALL) --require-hashes --no-deps -r requirements-docs.txt
	@touch $@

.PHONY: venv
venv: $(READY) ## The virtual environment .venv, with all versions pinned by hash

.PHONY: installers
installers: ## Get Helm and the validators of OLM: from a cache, else built once (3 minutes)
	$(PYTHON) hack/installers.py

.PHONY: controlplane
controlplane: $(READY) ## Get the control-plane binaries: from a cache, else built once (6-10 minutes)
	$(BIN)/python -m dpunetop.sandbox.binaries

.PHONY: ovn-packages
ovn-packages: $(READY) ## Get OVN and Open vSwitch: Debian's packages, unpacked in the cache, not installed (15 s, once)
	$(BIN)/python -m dpunetop.sandbox.realovn.packages

.PHONY: image
image: ## The container image (ENGINE=podman|docker, IMAGE=name:tag)
	@test -n "$(ENGINE)" || { echo "make: neither podman nor docker on PATH" >&2; exit 1; }
	$(ENGINE) build -f Containerfile -t $(IMAGE) .

.PHONY: clean
clean: ## Remove what was made here, the virtual environment included
	rm -rf $(VENV) $(SUPPLY) $(SHIPPED) $(DOCS) .tox .mypy_cache .mutants .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov \
		build dist site src/*.egg-info
	find src tests hack -name __pycache__ -type d -prune -exec rm -rf {} +
