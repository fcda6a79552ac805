# Two commands do everything on a fresh machine with Python 3.11: `make run` and `make test`. Both may be run again and are then fast.
# `make up && make deploy` starts what a team uses and gives it its schedule; `up` takes settings as `nightdesk run` does, `deploy` the file
# of the desk that `up` started, unless PREFECT_API_URL or the active Prefect profile names another server; it says to which one it deploys.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
NIGHTS := --night 2026-03-02 --night 2026-03-03

export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help install run up deploy down test check fast generate format lock offline clean

help:  ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP)  ## the virtual environment, every version locked

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"nightdesk needs Python 3.11, but $(PYTHON) is {v[0]}.{v[1]}; say where it is: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt hatchling editables setuptools setuptools-scm
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

run: $(STAMP)  ## both nights of the shipped sample, from feed to scored Parquet, alerts and report
	$(BIN)/nightdesk run $(NIGHTS)

up: $(STAMP)  ## start what a team uses: Prefect server, worker, MLflow, report pages; may be called again
	$(BIN)/nightdesk up

deploy: $(STAMP)  ## bring schedules, deployments and automations to the Prefect server
	$(BIN)/nightdesk deploy

down: $(STAMP)  ## stop what `make up` started, runs under way first; what was recorded stays
	$(BIN)/nightdesk down

check: $(STAMP)  ## format, lint, types, import directions, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m data_contracts.generate --check

test: check  ## all checks, then all tests, the slow ones too, two files at a time
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

fast: $(STAMP)  ## the tests that take less than ten seconds each
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m 'not slow'

generate: $(STAMP)  ## write the generated suites and the data dictionary anew
	$(BIN)/python -m data_contracts.generate

format: $(STAMP)  ## put the code into its standard form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(STAMP)  ## write constraints.txt from what is installed
	{ head -1 constraints.txt; $(BIN)/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+cpu//; s/+cu[0-9]*//'; } > constraints.tmp
	mv constraints.tmp constraints.txt

offline: $(STAMP)  ## prove that nothing calls home: run and tests with no network but loopback (needs Linux and root)
	unshare --net sh -c 'ip link set lo up && $(MAKE) run && $(MAKE) test'

clean:  ## remove the environment and the local state (.nightdesk: lake, models, reports); stops what runs in it
	if test -S .nightdesk/operate/supervisor.sock; then NIGHTDESK_HOME='$(CURDIR)/.nightdesk' $(BIN)/nightdesk down --wait 0; fi
	rm -rf $(VENV) .nightdesk
