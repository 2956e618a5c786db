# Dosirak: `make` shows the targets. Needs Debian (or the packages named below, however they got there), and root for all
# but `demo` and `lab`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := build/tools
export PATH := $(PATH):$(CURDIR)/$(TOOLS)

# What the engine needs of the system, what only its tests do, and what only the benchmarks compare with.
SYSTEM_PACKAGES := python3-venv busybox-static libnftables1
# Whose usual work the suite does: compose of version 1, which Debian 12 still has; readers of images; podman with our
# runtime; a browser; AppArmor's compiler.
TEST_PACKAGES := docker-compose skopeo umoci podman chromium apparmor
# A virtual machine for the tests on cgroup v2 alone.
MACHINE_PACKAGES := qemu-system-x86 busybox-static apparmor
# What an ordinary user's engine needs besides.
USER_PACKAGES := uidmap passt
# What builds and runs other people's tests of an OCI runtime.
CONFORMANCE_PACKAGES := git bats jq mmdebstrap xz-utils gcc libc6-dev libseccomp-dev busybox-static
PEER_PACKAGES := runc crun bubblewrap docker.io podman buildah iproute2

# Any Python from 3.11 on that can make a virtual environment; `make PYTHON=…` chooses another.
PYTHONS := $(PYTHON) python3 python3.13 python3.12 python3.11

.PHONY: help
help: ## Show these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: able $(READY) ## Run the first tutorial for real; print its tables, write it as one HTML page
	@$(BIN)/python notebooks/runner.py notebooks/01-first-containers.ipynb --html build/01-first-containers.html

.PHONY: lab
lab: able $(READY) ## Open JupyterLab on the tutorials
	@cd notebooks && ../$(BIN)/jupyter lab --allow-root $(ARGS)

.PHONY: test
test: root docker registry clients user $(READY) ## Run the test suite
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist loadgroup $(ARGS)

# What concerns an attack or a wall, wherever it stands.
SECURITY := tests/security tests/isolation tests/engine/runtime/seccomp \
  $(patsubst %,tests/engine/runtime/test_%.py,entering hostile_images users inroot process devicerules walls capabilities) \
  $(patsubst %,tests/engine/registry/test_%.py,hostile serving transport) tests/magics/logins \
  tests/engine/layers/test_extract.py tests/faults/test_bad_archives.py tests/engine/containers/files/test_exchange.py \
  tests/engine/api/test_malformed.py tests/engine/networks/test_published_ports.py tests/magics/streams tests/magics/look \
  tests/magics/tables tests/magics/topology tests/magics/test_hostile_views.py \
  tests/engine/networks/test_attacks.py tests/engine/content/test_disk.py

.PHONY: test-security
test-security: root docker registry clients $(READY) ## Try the known attacks, and say how many were tried
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist loadgroup --count-attacks $(SECURITY) $(ARGS)

.PHONY: test-differential
test-differential: root docker peers $(READY) ## Build the same Dockerfiles here, with Docker's classic builder and with buildah
	@DOSIRAK_TESTS_DIFFERENTIAL=1 $(BIN)/pytest tests/engine/build/differential -p no:cacheprovider $(ARGS)

.PHONY: test-v2
test-v2: root docker machine user $(READY) ## Run what depends on cgroups in a virtual machine with cgroup v2 alone
	@$(BIN)/python tests/v2/lane.py $(ARGS)

.PHONY: test-v2-short
test-v2-short: root docker $(READY) ## A small part of it in one boot, where a virtual machine can be had at all
	@if $(MAKE) machine; then $(BIN)/python tests/v2/lane.py --short $(ARGS); \
	else echo "cgroup v2: skipped, there is no virtual machine to be had here (the reason is above)"; fi

# As the user itself: what its engine does. Root of a user namespace: what each room does in it, in the tests' own process.
AS_USER := tests/engine/rootless tests/engine/api/test_docker_cli.py tests/engine/api/test_docker_py.py
AS_ROOT_INSIDE := tests/engine/containers tests/engine/images tests/engine/build tests/engine/layers tests/engine/volumes

.PHONY: test-rootless
test-rootless: root docker user $(READY) ## Run the tests of containers, images and builds as an ordinary user
	@PYTHONPATH=tests $(BIN)/python -m support.rootless outside -n auto --maxprocesses 4 --dist loadgroup $(AS_USER) $(ARGS)
	@PYTHONPATH=tests $(BIN)/python -m support.rootless inside -n auto --maxprocesses 4 --dist loadgroup $(AS_ROOT_INSIDE) $(ARGS)

.PHONY: test-faults
test-faults: root docker registry $(READY) ## The long form of the random tests: 200 kills, thousands of contrary calls (an hour)
	@DOSIRAK_TESTS_LONG=1 $(BIN)/pytest tests/faults tests/concurrency -p no:cacheprovider $(ARGS)

.PHONY: test-conformance
test-conformance: root $(READY) ## Run runtime-tools', runc's and crun's own tests against `dosirak runtime` (half an hour)
	@$(call install,$(CONFORMANCE_PACKAGES))
	@$(BIN)/python tests/conformance/run.py $(ARGS)

.PHONY: bench
bench: root peers $(READY) ## Time starting one container and many, side by side with runc, crun, bubblewrap, docker, podman
	@$(BIN)/python tests/benchmarks/start.py $(ARGS)
	@$(BIN)/python tests/benchmarks/many.py --peers

.PHONY: images
images: root $(READY) ## Make the images of tutorials (ubuntu:14.04, mysql, wordpress…) from Debian's packages; serve them as the Hub's mirror
	@$(BIN)/python tests/images/make.py --all $(ARGS)

.PHONY: bench-all
bench-all: bench registry clients ## The other tables as well: streams, files, networks, images, layers, builds (half an hour)
	@for table in streams files network images layers build; do $(BIN)/python tests/benchmarks/$$table.py; done

.PHONY: lint
lint: $(READY) ## Check style, types and layers (the tests do too)
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

.PHONY: setup
setup: $(READY) ## Only set up: system packages and the virtual environment

.PHONY: clean
clean: ## Remove what was built: pages, caches, the virtual environment
	@rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- set-up: each step looks first, and does nothing when nothing is missing ------------------------------------------

.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo "This needs root for now (namespaces, mounts, control groups): sudo make $(MAKECMDGOALS)" >&2; exit 1; }

# Root, or an ordinary user with the programs of USER_PACKAGES.
.PHONY: able
able:
	@[ "$$(id -u)" = 0 ] || { command -v newuidmap && { command -v pasta || command -v slirp4netns; }; } > /dev/null || \
	  { echo "Without root this needs newuidmap and pasta: sudo apt-get install $(USER_PACKAGES) (or sudo make $(MAKECMDGOALS))" >&2; exit 1; }

.PHONY: system
system:
	@$(call install,$(SYSTEM_PACKAGES))

.PHONY: clients
clients:
	@$(call install,$(TEST_PACKAGES))

.PHONY: peers
peers:
	@$(call install,$(PEER_PACKAGES))

.PHONY: machine
machine: root $(READY)
	@$(call install,$(MACHINE_PACKAGES))
	@$(BIN)/python tests/v2/lane.py --fetch

.PHONY: user
user:
	@$(call install,$(USER_PACKAGES) slirp4netns)

# A real docker client is one of the suite's two clients, and it pulls from a real registry. Where there is none, only
# the program is taken out of Debian's package: no daemon is installed or started.
.PHONY: docker
docker:
	@$(call fetch,docker,docker-cli docker.io)

.PHONY: registry
registry:
	@$(call fetch,docker-registry,docker-registry)

$(READY): pyproject.toml | system
	@for python in $(PYTHONS) none; do \
	  $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && break; done; \
	[ $$python != none ] || { echo "Python 3.11 or newer is needed; python3 is $$(python3 --version 2>&1)" >&2; exit 1; }; \
	[ -x $(BIN)/python ] || $$python -m venv $(VENV); \
	echo "Setting up $(VENV) ($$($(BIN)/python --version))…"; \
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[lab,test]'
	@touch $@

# One program, out of the first of some packages that there is.
define fetch
if ! command -v $(1) > /dev/null; then \
  echo "Fetching $(1)…"; \
  rm -rf $(TOOLS)/package && mkdir -p $(TOOLS)/package && cd $(TOOLS)/package && apt-get update -qq; \
  for package in $(2); do apt-cache show $$package > /dev/null 2>&1 && break; done; \
  apt-get download -qq -o APT::Sandbox::User=root $$package && dpkg -x $$package*.deb . && mv usr/bin/$(1) .. && cd .. && rm -r package; \
fi
endef

define install
missing=$$(for package in $(1); do \
  dpkg-query -W -f '$${db:Status-Status}\n' $$package 2> /dev/null | grep -qx installed || echo $$package; done); \
if [ -n "$$missing" ]; then \
  command -v apt-get > /dev/null || { echo "Not a Debian system: install what Debian calls" $$missing "by hand" >&2; exit 1; }; \
  [ "$$(id -u)" = 0 ] || { echo "Missing Debian packages:" $$missing "(sudo apt-get install" $$missing")" >&2; exit 1; }; \
  echo "Installing" $$missing "…"; \
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing > /dev/null; \
fi
endef
