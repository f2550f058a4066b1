# Everything that is done here. `make` alone prints it. Nothing has to be installed first but Python 3.11, git and make.

PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
# An environment works only where it was made, so its stamps name the place.
PLACE := $(shell pwd | cksum | cut -d' ' -f1)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help run test check lint format shots bench demo migrate shell clean

help: ## Print this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

run: .venv/.run-$(PLACE) ## Install what is missing and start everything; Ctrl-C stops it
	@$(BIN)/python run.py

test: .venv/.dev-$(PLACE) ## Install what the tests need and run them all (ARGS="-k word" for some)
	@scripts/tools
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

check: lint ## Check style, types and templates; change nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/djlint --quiet --lint templates

lint: .venv/.dev-$(PLACE) ## Look for mistakes in the code
	@$(BIN)/ruff check .

format: .venv/.dev-$(PLACE) ## Bring the code into its form
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

shots: .venv/.dev-$(PLACE) ## Take a picture of every screen into test-results/shots (ARGS="thread login" for some)
	@scripts/tools
	@$(BIN)/python -m tests.ui.shots $(ARGS)

bench: .venv/.dev-$(PLACE) ## Measure, and compare with the goals (ARGS="sync lookup" for some)
	@scripts/tools bench
	@$(BIN)/python -m bench $(ARGS)

demo: .venv/.run-$(PLACE) ## Fill another demo business and print its keys
	@$(BIN)/python run.py flask --app app demo

migrate: .venv/.run-$(PLACE) ## Bring the database up to date
	@$(BIN)/python run.py flask --app app db upgrade

shell: .venv/.run-$(PLACE) ## Open a Python shell inside the application
	@$(BIN)/python run.py flask --app app shell

clean: ## Remove what was installed and cached; your data stays
	@rm -rf .venv node_modules tests/guide/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis htmlcov .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.made-$(PLACE):
	@PYTHON="$(PYTHON)" scripts/venv
	@touch $@

.venv/.run-$(PLACE): requirements.txt .venv/.made-$(PLACE)
	@$(BIN)/python scripts/install.py -r requirements.txt
	@touch $@

.venv/.dev-$(PLACE): requirements-dev.txt requirements.txt .venv/.made-$(PLACE)
	@$(BIN)/python scripts/install.py -r requirements-dev.txt
	@touch $@ .venv/.run-$(PLACE)
