# Every target sets up its own virtual environment with plain pip; nothing has to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup browser promtool demo test soak lint bench kafka clean

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ –/'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (set PYTHON=…)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.dev: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

EXTRAS := demo

setup: $(STAMP)  ## the virtual environment in .venv, with the command b3iq-streams in it

demo: $(STAMP)  ## the whole network in one terminal: broker, processor, router, fleet (Python alone)
	@$(BIN)/b3iq-streams demo

browser: $(VENV)/.dev  # for the tests of the page: the Chromium found, else the system's package; with neither they fail
	@$(BIN)/python -c 'import sys; from tests.catalog.browser.chromium import chromium; sys.exit(not chromium())' \
	  || { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
	  || echo "no Chromium, and no way to install one: the tests of the page will fail" >&2

promtool: $(VENV)/.dev  # for the tests of the alert rules: the one found, else the system's package; with neither they fail
	@$(BIN)/python -c 'import sys; from tests.observability.promtool import promtool; sys.exit(not promtool())' \
	  || { apt-get -qq update && apt-get -qq install -y --no-install-recommends prometheus >/dev/null; } \
	  || echo "no promtool, and no way to install one: the tests of the alert rules will fail" >&2

test: browser promtool  ## every test, against a real Apache Kafka and in a real browser
	@$(BIN)/python -m pytest

soak: $(VENV)/.dev  ## brokers killed 50 times under load, workers killed for ten minutes: every claim held against the logs
	@B3IQ_SOAK_KILLS=50 B3IQ_SOAK_S=600 $(BIN)/python -m pytest -s tests/kafka/test_secured_faults.py tests/kafka/test_catalog_soak.py

lint: $(VENV)/.dev  ## ruff, mypy strict, import-linter
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: $(VENV)/.dev  ## the measured figures, side by side in one run
	@$(BIN)/python -m tests.bench

kafka: $(STAMP)  ## a real local Apache Kafka on loopback (needs Java 17 and Maven); Ctrl-C stops it
	@$(BIN)/python -m b3iq_streams.devkafka

clean:  ## remove what the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
