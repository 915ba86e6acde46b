# Everything a developer or CI does. On a bare machine: Python >= 3.11 and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Pins for what is installed, and for what builds it.
PINNED := -c constraints.txt --build-constraint constraints.txt
TYPED := genomeformer_cli tests $(wildcard docs/*.py) $(wildcard benchmarks)

# The order of files: the last ones are short, so that no worker waits for a long one.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup format dist check test coverage test-all soak oracles golden docs bench gpu card demo fuzz audit lowest clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  %-10s %s\n", $$1, $$2 }'

$(VENV)/.package: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or later is needed; name one with `make PYTHON=python3.12`")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade -c constraints.txt pip
	$(PIP) install --quiet $(PINNED) --editable .
	@touch $@

$(VENV)/.tools: $(VENV)/.package
	$(PIP) install --quiet $(PINNED) --group test --group lint --group docs
	@touch $@

setup: $(VENV)/.tools ## Make .venv: the package, editable, and all tools

format: setup ## Format the code, repair what can be repaired
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

check: setup ## Format, lint, types, layers, generated pages: look, change nothing
	$(BIN)/ruff format --check --output-format concise
	$(BIN)/ruff check
	$(BIN)/mypy $(TYPED)
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin genomeformer_cli
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/generate_reference.py --check

test: setup ## The default tests, one worker per core
	$(BIN)/python -m pytest $(PARALLEL)

coverage: setup ## The default tests with branch coverage, which takes half as long again
	$(BIN)/python -m pytest --cov $(PARALLEL)

test-all: setup ## All tests but those of a browser, with ten times the examples
	$(BIN)/python -m pytest --cov $(PARALLEL) -m 'not browser' --hypothesis-profile thorough

soak: setup ## Kill and race every command that writes, at every point (SECONDS=n: at some)
	$(BIN)/python -m tests.faults.soak $(if $(SECONDS),--seconds $(SECONDS))

oracles: setup ## Compare the attentions with other implementations
	$(PIP) install --quiet $(PINNED) --group oracles
	$(BIN)/python -m pytest tests/oracles -m oracle

fuzz: setup ## Mutated files for every parser, SECONDS=60 in all; findings go to tests/fuzz/corpus
	$(BIN)/python -m tests.fuzz.run --seconds $(or $(SECONDS),60) --first $$(date +%s)

audit: setup ## Known vulnerabilities of the pinned packages; asks an advisory service
	$(PIP) install --quiet pip-audit
	grep -v '+' constraints.txt | $(BIN)/python -m pip_audit --no-deps --disable-pip -r /dev/stdin

# An environment of its own, so that the tests see the oldest packages and not the pinned ones.
lowest: ## The fast tests with the oldest versions that pyproject.toml allows
	rm -rf .lowest && $(PYTHON) -m venv .lowest
	$(PYTHON) scripts/lowest.py > .lowest/oldest.txt
	.lowest/bin/python -m pip install --quiet -r .lowest/oldest.txt 'pytest>=8.2' 'hypothesis>=6.100' 'pytest-socket>=0.7' pytest-xdist
	.lowest/bin/python -m pip install --quiet --no-deps --editable .
	.lowest/bin/python -m pytest -W default -n auto --dist loadfile tests/unit

golden: setup ## Rewrite tests/golden; say in the changelog why it moved
	$(BIN)/python -m pytest tests -m '' --rewrite-golden

dist: setup ## Build the wheel and the sdist, install each without the checkout, embed and pretrain there
	$(BIN)/python scripts/dist.py

docs: setup ## Regenerate the reference pages, build the site in site/
	$(BIN)/python docs/generate_reference.py
	$(BIN)/zensical build --clean --strict

bench: setup ## Run the scripts of benchmarks/ that need no data; argparse ends the others with 2
	$(PIP) install --quiet $(PINNED) --group bench
	@for script in $$(grep -l '^if __name__' benchmarks/*.py); do \
	  echo "== $$script"; \
	  $(BIN)/python $$script || { status=$$?; test $$status -eq 2 || exit $$status; }; \
	done

card: setup ## Measure the default model and write its card: DATA=FOLDER with genomes/ and tasks/
	$(BIN)/python benchmarks/card.py --data $(or $(DATA),$(error DATA=FOLDER is needed; benchmarks/card.py says what it holds)) $(OPTIONS)

gpu: setup ## Measure on a GPU, twelve minutes at most; entries go to docs/experiments/gpu.md
	$(PIP) install --quiet $(PINNED) --group bench --editable '.[gpu]' flash-linear-attention
	$(BIN)/python benchmarks/gpu_report.py

demo: $(VENV)/.package ## Sample genomes -> tokenize -> pretrain -> embed -> release
	PATH="$(CURDIR)/$(BIN):$$PATH" ./scripts/demo.sh

clean: ## Remove what was built, .venv too
	rm -rf $(VENV) .lowest site demo build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
