# Every target calls one script or one tool, so that one line repeats any step of CI.
# A fresh machine needs Python >= 3.11 with venv, make and a network; nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# If it is set, as in many containers, each process compiles all tests again, which takes 5 s.
unexport PYTHONDONTWRITEBYTECODE

# The first interpreter on PATH that is new enough; `make PYTHON=python3.12 …` chooses another.
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && { echo $$p; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The tools that audit dependencies, and an environment with exactly the packages of the image.
SUPPLY := .venv-supply
SHIPPED := .venv-shipped
# The tools that build the documentation.
DOCS := .venv-docs
INSTALL := python -m pip install --quiet --disable-pip-version-check
# More options for pytest, for example PYTEST_ARGS='-k pool -x'.
PYTEST_ARGS ?=
PYTEST := $(BIN)/python -m pytest -q
# The lowest branch coverage of domain by unit tests, in percent; it only rises.
FLOOR := 99
# Three processes on two cores, since tests mostly wait; each process has control planes of its own (2 GiB). Each file
# runs in one process, because its tests share fixtures (for integration see tests/support/controlplanes.py).
# To debug one test, use one process: make test-e2e PYTEST_ARGS='-n 0 -k quickstart -s'.
# The suites order their files themselves; without --no-loadscope-reorder the largest files would start first.
PROCESSES ?= 3
PARALLEL = -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
# Each of two processes starts with one half, and an idle one takes tests from the other: most files stay in one process.
SHARED_OUT := -n 2 --dist worksteal --timeout-method signal
# `make test` skips the tests and cases in tests/data/more.txt; `make test-more` runs them (PART= runs all).
PART ?= not more
# More options for `make run`, `make sandbox` and `make bench`.
ARGS ?=
ADVISORIES ?= pypi
OPERATOR ?= 1
REAL ?= 0
# Runs a command in namespaces of its own with a real ovnkube; without an ovnkube it prints SKIPPED.
OVNKUBE ?=
WITH_OVNKUBE = $(BIN)/python -m dpunetop.sandbox.realovnkube "$(OVNKUBE)"
# The paths of a real node maintenance operator and machine-config-controller, and of their manifests (…_CRDS).
export NMO ?=
export NMO_CRDS ?=
export MCC ?=
export MCC_CRDS ?=
WITH_NEIGHBOURS = $(BIN)/python -m dpunetop.sandbox.realneighbours
IMAGE ?= dpunetop:dev
TAG ?=
# The image that `make deploy` installs, and the kubectl that it uses.
IMG ?=
KUBECTL ?= kubectl
ENGINE ?= $(shell command -v podman || command -v docker)

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^## / { print "\n" substr($$0, 4) } \
		/^[a-zA-Z0-9._-]+:.*## / { printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2 }' Makefile

## Use it
.PHONY: sandbox
sandbox: $(READY) ## Try the operator on two real API servers with stand-ins (SCENARIO=drain, roll, tenant-outage, rotate, crash, blocked-host or none; OPERATOR=0: the steps are yours; REAL=1 OVNKUBE=/path: docs/real-ovn.md)
	$(if $(filter 1,$(REAL)),$(WITH_OVNKUBE)) $(BIN)/python -m dpunetop sandbox $(if $(filter 1,$(REAL)),--real) \
		$(if $(filter 0,$(OPERATOR)),--no-operator) $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

.PHONY: run
run: $(READY) ## Run the operator from source against the current kubeconfig (TENANT_NAMESPACE=… NAMESPACE=… make run)
	KUBECONFIG="$${KUBECONFIG:-$$HOME/.kube/config}" exec $(BIN)/python -m dpunetop run --log-format console \
		--metrics-secure=false --metrics-bind-address 127.0.0.1:49555 \
		--health-probe-bind-address 127.0.0.1:49556 $(ARGS)

## Install it
.PHONY: deploy
deploy: ## Install the operator in the cluster of the current kubeconfig, with your pushed image (IMG=name:tag)
	hack/deploy apply "$(KUBECTL)" "$(IMG)"

.PHONY: undeploy
undeploy: ## Uninstall the operator; refused while a DpuClusterConfig exists
	hack/deploy delete "$(KUBECTL)"

## Check it
.PHONY: test
test: test-unit test-sockets test-integration test-e2e ## Run before each merge, 12 minutes on two cores: lint, types, imports, unit, transport, real OVN, integration, end to end

.PHONY: test-more
test-more: test-fuzz test-stress coverage test-tools ## Run the slow tests, about 30 minutes: fuzz, stress, long random walks with coverage, tools, the remaining cases of integration and end to end
	$(MAKE) test-transport test-integration test-e2e PART=more

.PHONY: test-unit
test-unit: $(READY) ## Run lint, types, imports and unit tests in parallel, for each edit
	$(MAKE) --jobs 4 --output-sync=target lint types imports unit

.PHONY: unit
unit: $(READY) ## Run the unit tests only (PART=: all cases)
	$(PYTEST) $(SHARED_OUT) -m "$(PART)" tests/unit $(PYTEST_ARGS)

.PHONY: coverage
coverage: $(READY) ## Run unit tests with eight times longer random walks; fails below the stored branch coverage of domain
	DPUNETOP_EFFORT=8 $(PYTEST) --timeout 600 $(SHARED_OUT) --cov=dpunetop.domain --cov-branch --cov-fail-under=$(FLOOR) \
		--cov-report=term:skip-covered tests/unit $(PYTEST_ARGS)

.PHONY: test-stress
test-stress: $(READY) ## Test the engine with a thread switch interval of one microsecond
	$(PYTEST) tests/stress $(PYTEST_ARGS)

.PHONY: test-fuzz
test-fuzz: $(READY) ## Fuzz each parser of foreign text with 10,000 inputs (HYPOTHESIS_PROFILE=nightly: new inputs each time)
	$(PYTEST) --timeout 600 -n 2 tests/fuzz $(PYTEST_ARGS)

.PHONY: test-transport
test-transport: $(READY) ## Test the client on real sockets against a misbehaving server
	$(PYTEST) -n 2 --dist worksteal -m "$(PART)" tests/transport $(PYTEST_ARGS)

.PHONY: test-sockets
test-sockets: $(READY) ## Run test-transport and test-ovn in parallel, since both mostly wait
	$(MAKE) --jobs 2 --output-sync=target test-transport test-ovn

.PHONY: test-ovn
test-ovn: $(READY) ## Test our pods' containers on the real OVN and Open vSwitch, in namespaces of their own; prints SKIPPED without them
	$(BIN)/python -m dpunetop.sandbox.realovn.namespaces $(PYTEST) tests/realovn $(PYTEST_ARGS)

.PHONY: test-integration
test-integration: controlplane ## Test on two real API servers, with the operator under the RBAC of config/rbac
	$(PYTEST) $(PARALLEL) -m "$(PART)" tests/integration $(PYTEST_ARGS)

.PHONY: record-writes
record-writes: controlplane ## Record the writes of an undisturbed quick start and drain (tests/data/writes)
	DPUNETOP_RECORD_WRITES=1 $(PYTEST) -n 0 tests/e2e/test_crash.py tests/e2e/test_drain_crash.py -k "writes_each or makes_the_writes"

.PHONY: test-e2e
test-e2e: controlplane ## Test the shipped process: quick start, idle, kill -9 at every fourth write, leader change, metrics
	$(PYTEST) $(PARALLEL) -m "$(PART)" tests/e2e $(PYTEST_ARGS)

.PHONY: test-crash
test-crash: controlplane ## Kill the operator at every write of quick start and drain, and cut off the tenant at every stage
	DPUNETOP_CRASH_EVERY=1 $(PYTEST) $(PARALLEL) -m crash tests/e2e $(PYTEST_ARGS)

.PHONY: test-real
test-real: controlplane ## Test with a real ovnkube and with real operators beside ours (OVNKUBE=… NMO=… MCC=…; docs/real-ovn.md, docs/real-neighbours.md)
	$(WITH_OVNKUBE) $(PYTEST) -n 0 tests/real $(PYTEST_ARGS)
	$(WITH_NEIGHBOURS) $(PYTEST) -n 0 tests/neighbours $(PYTEST_ARGS)

.PHONY: test-mutants
test-mutants: $(READY) ## Mutation tests: plant bugs in the rules of the drain and see whether a unit test fails (ARGS='--share 20 --minutes 30 --jobs 4'; resumes where it stopped)
	nice -n 19 $(BIN)/python -m hack.mutants $(ARGS)

.PHONY: docs
docs: $(DOCS)/.ready ## Build the documentation site in site/ (strict: a broken link fails)
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --quiet --strict

.PHONY: test-tools
test-tools: controlplane docs ## Check chart, bundle, alerts and docs with Helm, OLM's validators, promtool and mkdocs
	$(PYTEST) tests/tools $(PYTEST_ARGS)

.PHONY: bench
bench: controlplane ## Measure speed and memory against the raw limits (ARGS='p1 --nodes 100'); docs/performance.md
	PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

.PHONY: bench-compare
bench-compare: $(READY) ## List the figures of the last `make bench` that are worse than the baseline (ARGS=--store makes it the baseline)
	PYTHONPATH=tests $(BIN)/python -m bench.compare $(ARGS)

.PHONY: bench-plots
bench-plots: $(DOCS)/.ready ## Plot the stored baseline against its limits: docs/plots/
	$(DOCS)/bin/python hack/plots.py

# vulture reads these: a use in tests does not count, and hack/unused-on-purpose.txt lists the exceptions with reasons.
PRODUCT := $(addprefix src/dpunetop/,app base controllers domain kube runtime __main__.py)

.PHONY: lint
lint: $(READY) ## Lint with ruff (style, format) and vulture (unused code)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vulture --min-confidence 60 $(PRODUCT) hack/unused-on-purpose.txt

.PHONY: types
types: $(READY) ## Run mypy --strict
	$(BIN)/mypy src hack examples tests

.PHONY: imports
imports: $(READY) ## Check the layers of imports with import-linter
	$(BIN)/lint-imports --no-cache

.PHONY: verify
verify: controlplane ## Fail if deploy/ is not what config/ renders to
	hack/render --check "$$($(BIN)/python -m dpunetop.sandbox.binaries)/kubectl"

.PHONY: audit
audit: $(SUPPLY)/.ready ## Look up known vulnerabilities of all runtime and build dependencies (ADVISORIES=pypi|osv); fails without an answer
	$(SUPPLY)/bin/python hack/audit.py $(ADVISORIES) requirements.txt requirements-build.txt

.PHONY: sbom
sbom: $(SUPPLY)/.ready $(READY) ## Write the SBOM of the image's packages: dist/dpunetop.cdx.json (CycloneDX)
	$(PYTHON) -m venv --clear $(SHIPPED)
	$(SHIPPED)/bin/$(INSTALL) --require-hashes --no-deps -r requirements.txt
	@rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	$(SHIPPED)/bin/$(INSTALL) --no-deps dist/dpunetop-*.whl
	$(SHIPPED)/bin/python -m pip uninstall --quiet --yes pip setuptools
	$(SUPPLY)/bin/cyclonedx-py environment --output-reproducible -o dist/dpunetop.cdx.json $(SHIPPED)

## Change it
.PHONY: format
format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: manifests
manifests: controlplane ## Render deploy/ from config/: manifests, chart and bundle for OLM
	hack/render "$$($(BIN)/python -m dpunetop.sandbox.binaries)/kubectl"

.PHONY: chart
chart: ## Pack the Helm chart: dist/dpunetop-<version>.tgz
	@mkdir -p dist
	tar --sort=name --owner=0 --group=0 --mtime=@0 -C deploy/chart -czf \
		"dist/dpunetop-$$(sed -n 's/^version: //p' deploy/chart/dpunetop/Chart.yaml).tgz" dpunetop

.PHONY: bundle
bundle: $(READY) ## Write the OLM bundle with your pushed image: dist/bundle (IMG=name@sha256:…)
	@rm -rf dist/bundle dist/rendered && mkdir -p dist/rendered
	hack/deploy print "$(KUBECTL)" "$(IMG)" > dist/rendered/dpunetop.yaml
	$(BIN)/python -m hack.bundle dist/rendered dist/bundle

.PHONY: tree
tree: $(READY) ## Write the tree of modules into docs/architecture.md
	$(BIN)/python hack/tree.py

.PHONY: reference
reference: $(READY) ## Generate docs/api.md, docs/reasons.md, docs/metrics.md and the Grafana dashboard from the code
	$(BIN)/python hack/reference.py
	$(BIN)/python hack/dashboard.py > config/prometheus/dashboard.json

.PHONY: lock
lock: $(READY) ## Update the pinned versions within the ranges of setup.cfg (run it on Python 3.11)
	$(LOCK) -o requirements.txt setup.py
	$(LOCK) --extra dev -c requirements.txt -o requirements-dev.txt setup.py
	$(LOCK) --extra docs -c requirements-dev.txt -o requirements-docs.txt setup.py
	$(LOCK) --extra cli -c requirements-dev.txt -o requirements-cli.txt setup.py
	$(LOCK) -c requirements-dev.txt --only-build-deps --build-deps-for wheel -o requirements-build.txt setup.py
	$(LOCK) -o requirements-supply.txt requirements-supply.in

.PHONY: release-check
release-check: $(READY) ## Check a tag against this checkout and its changelog (TAG=v1.2.3); RELEASING.md
	$(BIN)/python hack/release.py check "$(TAG)"

.PHONY: release-notes
release-notes: $(READY) ## Print the text of a release, from the changelog (TAG=v1.2.3)
	@$(BIN)/python hack/release.py notes "$(TAG)"

.PHONY: base-images
base-images: ## Update the base images in the Containerfile, by digest (needs skopeo and their registry)
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
venv: $(READY) ## Create the virtual environment .venv, with all versions pinned by hash

.PHONY: installers
installers: ## Get Helm and OLM's validators, from the cache or by a build (once, 3 minutes)
	$(PYTHON) hack/installers.py

.PHONY: controlplane
controlplane: $(READY) ## Get the control-plane binaries, from the cache or by a build (once, 6-10 minutes)
	$(BIN)/python -m dpunetop.sandbox.binaries

.PHONY: ovn-packages
ovn-packages: $(READY) ## Get OVN and Open vSwitch from Debian's packages, unpacked in the cache, not installed (once, 15 s)
	$(BIN)/python -m dpunetop.sandbox.realovn.packages

.PHONY: image
image: ## Build the container image (ENGINE=podman|docker, IMAGE=name:tag)
	@test -n "$(ENGINE)" || { echo "make: neither podman nor docker on PATH" >&2; exit 1; }
	$(ENGINE) build -f Containerfile -t $(IMAGE) .

.PHONY: clean
clean: ## Remove all generated files, the virtual environment too
	rm -rf $(VENV) $(SUPPLY) $(SHIPPED) $(DOCS) .tox .mypy_cache .mutants .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov \
		build dist site src/*.egg-info
	find src tests hack -name __pycache__ -type d -prune -exec rm -rf {} +
