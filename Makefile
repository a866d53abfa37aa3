# run: watch the demo.  test: every check.  Both set .venv up first; that needs Python >= 3.11 and, once, the network.
# make run ARGS="--plain --duration 5" hands options to the demo, make test ARGS="-k book" to pytest.

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/ready
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11 python

.PHONY: run test lint format lock compiled compiled-test bench bench-peers clean

run: $(READY)
	@$(PY) -m streamer demo $(ARGS)

test: lint
	$(PY) -m pytest -n 4 --dist worksteal $(ARGS)

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(READY)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock: $(READY)
	$(PIP) uv
	$(PY) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --group dev pyproject.toml \
		--custom-compile-command "make lock" --output-file requirements.lock

# the same tests with the core compiled, in a copy of the tree: make compiled ARGS="-k book". (make bench measures both, once this was run)
COMPILED := build/compiled
compiled: $(READY)
	@sh packaging/compiled.sh $(COMPILED)
	@$(MAKE) --no-print-directory compiled-test

compiled-test: $(READY)
	cd $(COMPILED) && PYTHONPATH="$(CURDIR)/$(COMPILED)" STREAMER_RECORDINGS="$${STREAMER_RECORDINGS:-$(CURDIR)/../shared/recordings}" \
		"$(CURDIR)/$(PY)" -m pytest -n 4 --dist worksteal $(ARGS)

# every figure of docs/performance.md. make bench ARGS=--quick tries it, ARGS="fanout book" runs some
bench: $(READY)
	$(PY) -m bench.all $(ARGS)

# what we compare ourselves with, in environments of its own; needs Python 3.11 or 3.12 (cryptofeed 2.4) and Node, and 3.13 for cryptofeed 3
NEWER := $(PY) python3.14 python3.13 $(wildcard $(HOME)/.pyenv/versions/3.1[3-9]*/bin/python)
bench-peers: $(READY)
	$(PY) -m venv bench/peers/.venv
	bench/peers/.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement bench/peers/requirements.txt
	npm install --prefix bench/peers --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error
	@for candidate in $(NEWER); do \
		"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 13))' >/dev/null 2>&1 || continue; \
		"$$candidate" -m venv bench/peers/.venv3 || exit 1; \
		exec bench/peers/.venv3/bin/python -m pip install --quiet --disable-pip-version-check --requirement bench/peers/requirements3.txt; \
	done; \
	echo "cryptofeed 3 is left out: it needs Python 3.13 or newer, which none of these is: $(NEWER)"

clean:
	rm -rf $(VENV) bench/peers/.venv bench/peers/.venv3 bench/peers/node_modules build dist *__mypyc.*.so streamer/*.so
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis

# the build backend is in the lock, so that nothing is fetched for the editable install
$(READY): pyproject.toml requirements.lock $(PY)
	@echo "installing into $(VENV)"
	@$(PIP) --require-hashes --requirement requirements.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(PY):
	@for candidate in $(if $(PYTHON),"$(PYTHON)",$(CANDIDATES)); do \
		"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
		"$$candidate" -m venv --clear $(VENV) && exit 0; \
		echo "$$candidate cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	done; \
	echo "streamer needs Python 3.11 or newer; none of these is: $(or $(PYTHON),$(CANDIDATES)). Say which: make PYTHON=/path/to/python3" >&2; exit 1
