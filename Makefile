# Everything happens inside this folder: the environment in .venv, results in store/.
PYTHON ?= python3.11
BIN := .venv/bin
export OMP_NUM_THREADS := 1

.PHONY: help demo test test-sims check format wheel system clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: .venv/installed ## run the quickstart study: minutes, no GPU, no network
	$(BIN)/cgap run quickstart

test: .venv/developing system ## run all tests, LIBERO's among them
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-sims: .venv/developing system ## run only the tests that need LIBERO
	$(BIN)/python -m pytest tests/simulators

check: .venv/developing ## linter, formatter, type checker, direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

format: .venv/developing ## let the linter and the formatter repair what they can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

wheel: .venv/developing ## build dist/compression_gap-*.whl
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean: ## remove the environment; results stay
	rm -rf .venv dist

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/developing: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[dev,libero,video,vision]'
	touch .venv/installed $@

# Tests open the report in Chromium and draw LIBERO's pictures with OSMesa.
system:
	@missing=""; \
	[ -n "$$(which chromium chromium-browser google-chrome)" ] || missing="chromium"; \
	ldconfig -p | grep -q libOSMesa || missing="$$missing libosmesa6"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; \
		else \
			echo "the tests need the system packages:$$missing (Debian: sudo apt-get install$$missing)"; exit 1; \
		fi; \
	fi
