# Two commands do all: `make serve` and `make test`. Both need Python >= 3.11, pip and make only.
# ARGS goes to the command: `make serve ARGS="--port 9000"`, `make test ARGS="-k cascade"`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
LOCAL  := .[local]
DEV    := .[local,dev,bench,nli,sql,audit,postgres]

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev serve test check format bench constraints clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.local ## Create .venv and install what serving needs (only when it changed)

setup-dev: $(VENV)/.dev ## The same, with what tests and checks need

serve: setup ## Fetch the models, start the engines and the gateway on 127.0.0.1:8080
	$(BIN)/metabolic serve $(ARGS)

test: setup-dev ## Run all tests, those on a real engine included
	$(BIN)/python -m pytest $(ARGS)

check: setup-dev ## Format, lint, types, import contracts, spelling, dependencies, house and docs tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell src tests docs examples README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md
	$(BIN)/deptry src
	$(BIN)/python -m pytest -q tests/test_house.py tests/test_docs.py

format: setup-dev ## Write the formatting and the fixes that are safe
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup-dev ## Measure the gateway and the cascade on this machine
	$(BIN)/metabolic bench gateway $(ARGS)
	$(BIN)/metabolic bench cascade $(ARGS)

constraints: setup-dev ## Write the versions of .venv to constraints.txt
	$(BIN)/python -m pip list --format freeze --exclude-editable \
	    --exclude pip --exclude setuptools --exclude wheel | LC_ALL=C sort -f > constraints.txt

clean: ## Remove .venv and caches; models and receipts stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage* htmlcov dist

# --- how .venv comes about ------------------------------------------------------------------

# A venv without pip (Debian without python3-venv) is served by the system's pip instead.
define install
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; \
	then pip="$(BIN)/python -m pip"; \
	else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
	echo "installing $(1) into $(VENV)"; \
	$$pip install --quiet --disable-pip-version-check -c constraints.txt -e "$(1)"
	@touch $@
endef

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Metabolic needs Python 3.11 or later: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || $(PYTHON) -m venv --clear --without-pip $(VENV)

$(VENV)/.local: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,$(LOCAL))

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,$(DEV))
	@touch $(VENV)/.local
