# make demo [ARGS="--nodes 7"]   five nodes on this computer, with a web page each
# make test [ARGS="tests/x.py"]  linters, types and tests
# make nightly                   the same, with the tests that are too slow for every run
# make lint                      linters and types alone
# make wheelhouse                dist/wheelhouse: a node and all it needs, installable offline
# make lock [ARGS=--upgrade]     write requirements*.lock again from pyproject.toml
# make lock-wheels               check that all locked wheels exist for every machine and Python
# make test-fresh [ARGS=trixie]  demo and tests in a fresh Debian (as root)
# make clean                     remove everything that these commands made
#
# Each sets up .venv first, once (deploy/setup.sh); the command line is then .venv/bin/meshnode.

ARGS ?=
BIN = .venv/bin
UV = uv==0.13.8
# Most tests wait for processes, disks and wires most of the time; more than four at once disturb one another.
PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: help demo test nightly lint wheelhouse lock lock-wheels test-fresh clean setup-run setup-test

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

demo: setup-run
	$(BIN)/meshnode demo $(ARGS)

test: lint
	$(PYTEST) $(ARGS)

nightly: lint
	$(PYTEST) -m "" --hypothesis-profile=nightly $(ARGS)

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Hashes are checked while the wheels are gathered; from then on the folder needs no network.
wheelhouse: setup-run
	rm -rf dist/wheelhouse
	PIP_USE_PEP517=1 $(BIN)/python -m pip wheel -qq --require-hashes --no-deps --no-build-isolation \
		--wheel-dir dist/wheelhouse -r requirements.lock
	$(BIN)/hatchling build -t wheel -d dist/wheelhouse

lock: setup-test
	$(BIN)/python -m pip install -qq $(UV)
	$(BIN)/python deploy/lock.py $(ARGS)

lock-wheels: setup-test
	$(BIN)/python deploy/lock.py --wheels

test-fresh:
	deploy/chroot_test.sh $(ARGS)

setup-run:
	@deploy/setup.sh run

setup-test:
	@deploy/setup.sh test

clean:
	rm -rf .venv build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
