# make run     set up, boot the lab and watch packets of its guest go through the host
# make test    set up, then all checks and tests (STEPS="unit native" for some of them)
# make check   set up, then lint, types, import contract, unit and TUI tests
# make fuzz    set up, then new inputs for every parser (MINUTES=60, TARGETS="frame logs" for some)
# make bench   set up, then the benchmarks
# make bench-lab  set up, then those that need a guest: they run in the lab, for some ten minutes
# make docs    build the pages of docs/ as a site, in .vmlat/site
# make setup   only the set-up
# make clean   remove what was built here (not the packages, not the lab's cache)

export PYTHONNOUSERSITE := 1
# Minutes that the whole of `make test` may take.
BUDGET ?= 80
# Steps to run instead of all; see tools/run_tests.py.
STEPS ?=
# Minutes that `make fuzz` takes, and the targets that it has instead of all.
MINUTES ?= 10
TARGETS ?=
# What `make format` lays out.
FILES ?= .

python := .venv/bin/python

.PHONY: run test check fuzz bench bench-lab docs setup format clean

run: setup
	.venv/bin/vmlat --or-lab

test: setup
	@$(python) tools/run_tests.py test --budget-minutes $(BUDGET) $(STEPS)

check: setup
	@$(python) tools/run_tests.py check $(STEPS)

fuzz: setup
	$(python) -m tests.fuzz --minutes $(MINUTES) $(TARGETS)

bench: setup
	$(python) -m tests.bench

bench-lab: setup
	.venv/bin/vmlat lab run --count-instructions -- lab-python -m tests.bench.lab instructions
	.venv/bin/vmlat lab run -- lab-python -m tests.bench.lab roundtrip

# An environment of its own: the site is no part of the program.  Warnings are errors (mkdocs.yml).
docs: .vmlat/docs-venv/complete
	NO_MKDOCS_2_WARNING=1 .vmlat/docs-venv/bin/python -m mkdocs build --clean
	@echo "the site is in .vmlat/site"

.vmlat/docs-venv/complete: requirements-docs.txt
	rm -rf .vmlat/docs-venv
	/usr/bin/python3 -m venv .vmlat/docs-venv
	.vmlat/docs-venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--require-hashes -r requirements-docs.txt
	touch $@

setup:
	@sh tools/setup.sh

# Rewrites files: order of imports, outdated constructions, layout.
format: setup
	-@$(python) -m ruff check --quiet --fix --unsafe-fixes --fixable I,UP,F401 $(FILES)
	$(python) -m ruff format $(FILES)

clean:
	rm -rf .venv .vmlat/setup.* .vmlat/test-logs .vmlat/docs-venv .vmlat/site .ruff_cache .mypy_cache .pytest_cache \
		.import_linter_cache build dist *.egg-info
	find vmlat_tui tests tools stubs -name __pycache__ -type d -prune -exec rm -rf {} +
