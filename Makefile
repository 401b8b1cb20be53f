PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# two files of tests at a time: most wait for processes of their own
PARALLEL := -n 2 --dist loadfile

.PHONY: run test lint format docs clean

run: $(VENV)/run.stamp            ## install what is pinned, and design a reward for FetchReach
	$(BIN)/python gen.py

test: $(VENV)/dev.stamp           ## the same set-up, then the tests, fast ones first
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)
	$(BIN)/python -m pytest -m slow $(PARALLEL)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev.stamp           ## the site, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site

$(VENV)/run.stamp: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -r requirements.txt
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.txt
	$(BIN)/pip install -r requirements-dev.txt
	touch $@
