# `make help` lists the targets. All output is in .venv and build/; llama.cpp's source is in the user's cache.
#
#   PYTHON=python3.12 make serve                    another Python (3.10 or newer)
#   CMAKE_ARGS="-DLLMCORE_BLAS=system" make build   build options (CMakeLists.txt lists them)
#   MODEL_PATH=/models/x.gguf PORT=9000 make serve  the service's own settings pass through

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
TREE    = $(firstword $(wildcard build/py3-none-linux_*))

# Tests that call native code in their own process.
SANITIZED_TESTS ?= tests/llama/test_kernels.py $(addprefix tests/kernels/test_,matmul.py attention.py batched_products.py packed_weights.py)

.DEFAULT_GOAL := help
.PHONY: help serve test test-families lint docs bench build sanitize clients clients-all lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/.built  ## build if needed, fetch the default model, serve on port 8001
	@if [ -z "$$MODEL_PATH" ]; then $(BIN)/llmcore pull; fi
	@exec $(BIN)/llmcore serve

test: lint clients  ## lint, then every test
	@$(BIN)/llmcore pull
	@$(BIN)/python -m pytest

test-families: $(VENV)/.dev  ## every architecture of llama.cpp against plain llama.cpp (docs/MODELS.md)
	@rm -rf build/families
	@$(BIN)/python -m pytest -m families -q --findings build/families tests/architectures/test_families.py; tests=$$?; \
		$(BIN)/python -m tests.architectures.table build/families && exit $$tests

lint: $(VENV)/.dev  ## ruff and mypy
	@mkdir -p build/mypy && ln -sfn ../../app build/mypy/llmcore_app
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy --strict

docs: $(VENV)/.dev  ## the Python API as pages, in build/docs
	@$(BIN)/python docs/reference.py

bench: $(VENV)/.dev  ## reproducible measurements
	@$(BIN)/python -m benchmarks

build: $(VENV)/.dev  ## compile, and set up .venv for development

# A fault ends the run with a report. Leak detection is off, because Python itself leaks. pytest must not capture the report or
# handle the signals.
sanitize: $(VENV)/.dev  ## tests of native code under AddressSanitizer and UBSan
	@echo "Compiling llmcore with sanitizers (minutes; log: build/sanitize.log)"
	@$(BIN)/cmake --build $(TREE) --target llmcore-sanitized >build/sanitize.log 2>&1 \
		|| { tail -n 20 build/sanitize.log >&2; echo "llmcore: the build failed; see build/sanitize.log" >&2; exit 1; }
	@$(BIN)/llmcore pull
	@LD_PRELOAD="$$(cat $(TREE)/sanitize/preload)" ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 \
		UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
		$(BIN)/python -m pytest --capture=no -p no:faulthandler --timeout=1200 --native $(TREE)/sanitize $(SANITIZED_TESTS)

# Every folder of tests/clients is an environment with programs. The large one, of 6 GB, is opt-in.
LARGE_CLIENTS = guidellm
ALL_CLIENTS   = $(notdir $(patsubst %/,%,$(dir $(wildcard tests/clients/*/requirements.txt tests/clients/*/package.json))))

clients: $(patsubst %,build/clients/%/.ready,$(filter-out $(LARGE_CLIENTS),$(ALL_CLIENTS)))  ## set up the third-party clients that tests run against the service

clients-all: $(VENV)/.dev $(patsubst %,build/clients/%/.ready,$(ALL_CLIENTS))  ## set up all of them, and run them
	@$(BIN)/llmcore pull
	@$(BIN)/python -m pytest tests/e2e/test_clients.py

# Resolves pyproject.toml for every Python and machine that it allows. Wheels only, because building an sdist would fetch more.
LOCK = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.10 --generate-hashes --only-binary :all: \
	--custom-compile-command "make lock"

lock: $(VENV)/.created  ## update the image's Python packages and their hashes
	@$(PIP) install -qq --group lock
	@$(LOCK) pyproject.toml --output-file deploy/image/requirements.lock
	@$(LOCK) --group build --output-file deploy/image/build-requirements.lock

clean:  ## remove build output and .venv (not llama.cpp's source, not models)
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# --- set-up: a stamp file marks each completed step -------------------------------------------------------------------

define CHECK_PREREQUISITES
fail() { echo "llmcore: $$1" >&2; exit 1; }; \
command -v $(PYTHON) >/dev/null \
	|| fail "$(PYTHON) not found: install Python 3.10 or newer (Debian: apt-get install g++ python3-venv make)"; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	|| fail "$$($(PYTHON) -V 2>&1) is too old: install Python 3.10 or newer, and choose it with PYTHON=python3.x"; \
$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	|| fail "$(PYTHON) cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)"; \
command -v "$${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null \
	|| fail "no C++ compiler found: install one (Debian: apt-get install g++), or set CXX"
endef

$(VENV)/.created: pyproject.toml
	@$(CHECK_PREREQUISITES)
	@echo "Setting up $(VENV)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq --upgrade pip
	@$(PIP) install -qq --group build
	@touch $@

# pip prints either nothing of a build that takes minutes, or everything. The log goes to a file, only progress to the terminal.
$(VENV)/.built: $(VENV)/.created pyproject.toml CMakeLists.txt $(shell find native -type f 2>/dev/null)
	@mkdir -p build
	@echo "Compiling llama.cpp and llmcore (the first time takes minutes; log: build/build.log)"
	@{ $(PIP) install --no-build-isolation -v -e . 2>&1; echo $$? > build/.status; } | tee build/build.log | awk ' \
		/Downloading llama.cpp|Extracting llama.cpp/ { sub(/^[ -]*/, ""); print "  " $$0; fflush() } \
		match($$0, /\[[0-9]+\/[0-9]+\]/) { printf "\r  %s", substr($$0, RSTART, RLENGTH); fflush(); shown = 1 } \
		END { if (shown) print "" }'
	@[ "$$(cat build/.status)" = 0 ] || { \
		grep -A 6 -m 3 -E 'CMake Error|FAILED:|error:|ERROR:' build/build.log >&2; \
		echo "llmcore: the build failed; all of it is in build/build.log" >&2; exit 1; }
	@touch $@

$(VENV)/.dev: $(VENV)/.built pyproject.toml
	@$(PIP) install -qq --group dev
	@touch $@

# Each client has its own environment, because its dependencies may conflict with others'. Node.js is optional.
.SECONDEXPANSION:
build/clients/%/.ready: $$(wildcard tests/clients/$$*/requirements.txt tests/clients/$$*/package.json) | $(VENV)/.created
	@echo "Setting up clients: $*"
	@mkdir -p $(@D)
	@if [ -f tests/clients/$*/requirements.txt ]; then { [ -x $(@D)/bin/python ] || $(PYTHON) -m venv $(@D); } \
		&& $(@D)/bin/python -m pip --disable-pip-version-check install -qq -r tests/clients/$*/requirements.txt; fi
	@if [ -f tests/clients/$*/package.json ] && command -v npm >/dev/null; then cp tests/clients/$*/package.json $(@D) \
		&& npm install --silent --no-audit --no-fund --prefix $(@D); fi
	@touch $@
