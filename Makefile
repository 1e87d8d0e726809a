# `make demo` and `make test` need Linux, make and Python 3.11 or newer, and nothing else: what they use is
# installed into .venv by the first of them. Where no GPU build of ONNX Runtime exists, the CPU build is taken;
# RUNTIME=cpu asks for that one, PYTHON=/path/to/python picks the interpreter, ARGS=... is handed to pytest, or to the
# benchmark suite.

VENV    := .venv
PYTHON  ?=
ARGS    ?=
EXPORTS ?= build/industrial
RUNTIME ?= $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),gpu,cpu)

BIN       := $(VENV)/bin
PIP       := $(BIN)/python -m pip --disable-pip-version-check -qq
INSTALLED := $(VENV)/.installed-$(RUNTIME)
OTHER     := $(VENV)/.installed-$(if $(filter gpu,$(RUNTIME)),cpu,gpu)
DEV       := $(INSTALLED)-dev
SOURCES   := mari_onnx patterns tests models
PYTHONS   := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test fuzz bench lint format types install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## optimize an exported ranker, verify it, show what changed and how much faster it is
	$(BIN)/python -m mari_onnx.demo

test: $(DEV) ## run the tests (ARGS='tests/patterns -k gemm' for some of them)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

fuzz: $(DEV) ## run the soundness tests on many more random graphs, different ones each time
	$(BIN)/python -m pytest -n auto tests/soundness --hypothesis-profile=fuzz $(ARGS)

# PyTorch is large: install a build of it for the CPU into .venv beforehand where that is enough. Some exports need
# TensorFlow instead; they are left out.
bench: $(DEV) ## time the models at industrial size and write docs/benchmarks.md (needs PyTorch, takes over an hour)
	@$(PIP) install --group bench
	@ls $(EXPORTS)/*.onnx >/dev/null 2>&1 || $(BIN)/python -m models.export --size industrial --out $(EXPORTS) || true
	$(BIN)/python -m models.suite $(EXPORTS) $(ARGS)

lint: $(DEV) ## check style and layout
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: $(DEV) ## repair what `make lint` can repair by itself
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# mypy reads folders, not import hooks, so it cannot see that patterns/ is mari_onnx.patterns: give it a copy laid
# out as the package is when installed. It runs inside that copy, else the checkout's mari_onnx would come first.
types: $(DEV) ## check the types of mari_onnx and patterns (shown as mari_onnx/patterns)
	@rm -rf build/types && mkdir -p build/types
	@cp -Rp mari_onnx build/types/mari_onnx && cp -Rp patterns build/types/mari_onnx/patterns
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p mari_onnx

install: $(DEV) ## only make .venv: the package in editable form, and the tools for development

clean: ## remove everything that make made, .venv too
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made anew when it does not work, or holds the other build of ONNX Runtime; else it is updated.
$(INSTALLED): pyproject.toml
	@set -e; \
	usable='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'; \
	if [ -e $(OTHER) ] || ! $(BIN)/python -c "import pip; $$usable" >/dev/null 2>&1; then \
	    python=; \
	    for candidate in $(PYTHONS); do \
	        if $$candidate -c "$$usable" >/dev/null 2>&1; then python=$$candidate; break; fi; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo "make: no Python 3.11 or newer with its venv module among: $(PYTHONS)." >&2; \
	        echo "      Install one (Debian, Ubuntu: apt install python3 python3-venv)," >&2; \
	        echo "      or say where it is: make PYTHON=/path/to/python" >&2; \
	        exit 1; \
	    fi; \
	    echo "Making $(VENV) with $$($$python --version)"; \
	    rm -rf $(VENV); \
	    $$python -m venv $(VENV); \
	fi; \
	echo "Installing mari-onnx[$(RUNTIME)] into $(VENV)"; \
	$(PIP) install --upgrade 'pip>=25.1'; \
	$(PIP) install --editable '.[$(RUNTIME)]'; \
	touch $@

$(DEV): $(INSTALLED)
	@echo "Installing the development tools into $(VENV)"
	@$(PIP) install --group dev
	@touch $@
