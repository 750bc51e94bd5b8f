# Two commands matter: `make demo` sets up and runs the main job, `make test` sets up and runs the tests.
# Nothing here names a package registry: pip and Maven use what the machine is set up with.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# locked: what constraints.txt names; newest: what pyproject.toml allows; lowest: the least that it promises for the core
DEPENDENCIES ?= locked
NAMESPACE ?= local
TARGET_REF ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo dev)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# Tests in four processes, for two cores: each server (two brokers, browser, Spark) in one of them (tests/conftest.py), and tests of
# a broker mostly wait. With more than one thread each the linear algebra of the processes waits for itself.
PROCESSES ?= 4
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n $(PROCESSES) --dist loadgroup

.PHONY: help demo demo-real test test-unit test-broker test-spark test-slow test-fast coverage lint docs lock bench faults portable airflow images check setup clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

check:  ## is all on this machine that the demo and the tests need?
	@command -v $(PYTHON) >/dev/null || { echo "missing: Python 3.11 ($(PYTHON)). Install it, or say which one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1): Python 3.11 or 3.12 is needed; say which one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "missing: Python's venv module. On Debian: apt-get install python3.11-venv"; exit 1; }
	@command -v java >/dev/null || { echo "missing: Java 17 (for Spark and Kafka). On Debian: apt-get install openjdk-17-jre-headless"; exit 1; }
	@v=$$(java -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -n 1); [ "$${v:-0}" -ge 17 ] || { echo "Java $$v is too old: Spark and Kafka need 17 or later. On Debian: apt-get install openjdk-17-jre-headless"; exit 1; }
	@command -v mvn >/dev/null || { echo "missing: Maven (fetches Apache Kafka). On Debian: apt-get install maven"; exit 1; }
	@[ "$$(df -Pk . | awk 'NR==2 {print $$4}')" -gt 4000000 ] || { echo "too little disk: 4 GB must be free here"; exit 1; }

setup: $(READY)  ## the virtual environment with everything in it

$(READY): pyproject.toml constraints.txt | check
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time) ..."
	@case $(DEPENDENCIES) in locked) cat constraints.txt;; lowest) $(BIN)/python .ci/lowest.py;; newest) ;; *) echo "DEPENDENCIES is locked, newest or lowest" >&2; exit 1;; esac > $(VENV)/constraints.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c $(VENV)/constraints.txt 'setuptools>=77'
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c $(VENV)/constraints.txt -e '.[train,stream,tracks,serve,jobs,mysql,postgres,plot,docs,lock,test]'
	@touch $(READY)

demo: $(READY)  ## archive -> tracks -> live stream -> alerts, on simulated Brittany traffic (KEEP=1: until Ctrl-C)
	@$(BIN)/python -m benchmarks.demo --out out/demo $(if $(KEEP),--keep)

demo-real: $(READY)  ## the same thread on the real NOAA day in ../shared
	@$(BIN)/python -m benchmarks.demo --real --out out/demo-real $(if $(KEEP),--keep)

test: $(READY)  ## lint, types, import contracts, and every test but the slow ones
	@$(MAKE) --no-print-directory lint
	@$(PYTEST) -m "not slow"

test-unit: $(READY)  ## unit tests in parallel: no broker, no browser, no Spark, no slow ones
	@$(PYTEST) -m "not slow and not broker and not spark" --ignore tests/map

test-broker: $(READY)  ## tests with the real Kafka broker, and those of the map
	@$(PYTEST) -m "not spark and not slow" tests/map
	@$(PYTEST) -m "broker and not slow" --ignore tests/map

test-spark: $(READY)  ## tests with Spark
	@$(BIN)/pytest -m "spark and not slow"

test-slow: $(READY)  ## what takes minutes a test: whole matrices, clusters, images, every benchmark
	@$(PYTEST) -m "slow"

test-fast: $(READY)  ## no broker, no Spark, no slow ones: what to run while writing
	@$(PYTEST) -m "not slow and not broker and not spark"

coverage: $(READY)  ## unit tests with the share of lines and branches that they run; fails below the floor in pyproject.toml
	@$(BIN)/pytest -m "not slow and not broker and not spark" -n auto --dist loadfile --ignore tests/map --cov --cov-report term --cov-report xml

lint: $(READY)  ## ruff, mypy, the import contracts and the words
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python .ci/words.py

docs: $(READY)  ## the documentation as a site in out/site, strictly: a broken link, anchor or docstring stops it
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "out/site/index.html; with search: $(BIN)/python -m http.server -d out/site"

lock: $(READY)  ## the packages of each image, pinned and with hashes: docker/*/*.lock
	@$(BIN)/python docker/lock.py

bench: $(READY)  ## every speed claim as a ratio against a named reference
	@$(BIN)/python -m benchmarks

faults: $(READY)  ## the long fault script against a real broker and two workers
	@$(BIN)/python -m tests.faults

portable: $(READY)  ## the same alerts on every processor: kernels, SIMD levels, threads, numba, as a table
	@$(BIN)/python -m tests.portable

AIRFLOW := .airflow
airflow: $(READY)  ## Airflow with the pipelines as DAGs, in an environment of its own (.airflow), until Ctrl-C
	@test -x $(AIRFLOW)/venv/bin/airflow || { echo "installing Airflow into $(AIRFLOW) ..."; $(PYTHON) -m venv $(AIRFLOW)/venv && $(AIRFLOW)/venv/bin/pip install -q --disable-pip-version-check -c docker/airflow/constraints.txt apache-airflow; }
	@AIRFLOW_HOME=$(CURDIR)/$(AIRFLOW)/home MULTITASKAIS_PYTHON=$(CURDIR)/$(BIN)/python PATH=$(CURDIR)/$(AIRFLOW)/venv/bin:$$PATH exec sh docker/airflow/run.sh

images:  ## the images $(NAMESPACE)/multitaskais_{base,stream,tracks,score,trainer,airflow}:$(TARGET_REF)
	docker build --build-arg REVISION=$(REVISION) -f docker/base/Dockerfile . -t $(NAMESPACE)/multitaskais_base:$(TARGET_REF)
	docker build --build-arg NAMESPACE=$(NAMESPACE) --build-arg TARGET_REF=$(TARGET_REF) -f docker/stream/Dockerfile . -t $(NAMESPACE)/multitaskais_stream:$(TARGET_REF)
	docker build --build-arg NAMESPACE=$(NAMESPACE) --build-arg TARGET_REF=$(TARGET_REF) -f docker/tracks/Dockerfile . -t $(NAMESPACE)/multitaskais_tracks:$(TARGET_REF)
	docker build --build-arg NAMESPACE=$(NAMESPACE) --build-arg TARGET_REF=$(TARGET_REF) -f docker/score/Dockerfile . -t $(NAMESPACE)/multitaskais_score:$(TARGET_REF)
	docker build --build-arg NAMESPACE=$(NAMESPACE) --build-arg TARGET_REF=$(TARGET_REF) -f docker/trainer/Dockerfile . -t $(NAMESPACE)/multitaskais_trainer:$(TARGET_REF)
	docker build --build-arg NAMESPACE=$(NAMESPACE) --build-arg TARGET_REF=$(TARGET_REF) -f docker/airflow/Dockerfile . -t $(NAMESPACE)/multitaskais_airflow:$(TARGET_REF)

clean:  ## what the demo and the caches left
	rm -rf out .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
