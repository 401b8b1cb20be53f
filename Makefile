PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# two files of tests at a time: most wait for processes of their own
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

# nothing is installed whose hash is not in the lock, and nothing built but the one package without a wheel
INSTALL := $(BIN)/python -m pip install --require-hashes --constraint requirements-lock.txt \
	--only-binary :all: --no-binary antlr4-python3-runtime --build-constraint requirements-build.txt

.PHONY: run test lint format docs clean requirements audit licences sbom

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

requirements: $(VENV)/dev.stamp   ## pin what is new in pyproject.toml; UPGRADE=--upgrade takes the newest of all
	$(BIN)/python -m scripts.pin_requirements $(UPGRADE)

# each advisory that is let pass has its reason in docs/supply-chain.md
IGNORED :=
audit: $(VENV)/dev.stamp          ## known vulnerabilities of all that is pinned; needs the network
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements-lock.txt $(IGNORED:%=--ignore-vuln %)

licences: $(VENV)/dev.stamp       ## docs/licences.md
	$(BIN)/python -m scripts.list_licences

sbom: $(VENV)/dev.stamp           ## sbom.cdx.json: what is installed and shipped (CycloneDX)
	$(BIN)/python -m scripts.make_sbom

clean:
	rm -rf $(VENV) build dist site sbom.cdx.json

# the CPU build of torch where pip is set up to find one, else PyPI's, which asks for GPU libraries
$(VENV)/run.stamp: requirements.txt requirements-build.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --require-hashes --only-binary :all: -r requirements-build.txt
	$(INSTALL) --no-deps "$$(grep ^torch== requirements.txt)+cpu" || echo "no CPU build of torch here: taking PyPI's"
	$(INSTALL) -r requirements.txt
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.txt
	$(INSTALL) -r requirements-dev.txt
	touch $@
