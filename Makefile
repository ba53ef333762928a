# make demo | test | check | check-all | bench | screenshots | clean
# Another interpreter than the first one that fits: make PYTHON=/path/to/python3.12 ...

PYTHON =
PYTHONS = $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
VENV = .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet --editable
# Tests wait for the database servers half of the time; those that are left at the end are shared out anew.
PYTEST_ARGS = --numprocesses $(shell echo $$((2 * $$(nproc 2>/dev/null || echo 2)))) --dist worksteal
MINUTES = 10

# Else each program that a test starts compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

# What was installed went with the interpreter.
$(shell test -x $(BIN)/python || rm -f $(VENV)/*.stamp)

.DELETE_ON_ERROR:
.PHONY: help demo test test-oldest check check-all soak bench screenshots clean

help:
	@echo 'make demo         a sample database, its change log, a diff and an undo'
	@echo 'make test         the tests that are quick, on SQLite and on each server that is found'
	@echo 'make check        format, lint, types, layers and all tests'
	@echo 'make check-all    the same, with PostgreSQL and MariaDB required, and with the oldest dependencies'
	@echo 'make soak         random histories and words on all databases for MINUTES=10'
	@echo 'make bench        what is measured, as ratios; with QUICK=1 as little as still runs every part'
	@echo 'make screenshots  the pictures of the explorer that the README shows'
	@echo 'make clean        remove what the above made'

demo: $(VENV)/demo.stamp
	@$(BIN)/audit demo --fresh

test: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -m 'not thorough' $(PYTEST_ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check-all: export AUDIT_REQUIRE_SERVERS = 1
check-all: check test-oldest

test-oldest:
	@$(MAKE) --no-print-directory test VENV=.venv-oldest CONSTRAINTS='--constraint tests/oldest.txt'

# Each round has another seed; the first failure ends it.
soak: export AUDIT_TEST_EXAMPLES ?= 100
soak: $(VENV)/dev.stamp
	@end=$$(($$(date +%s) + 60 * $(MINUTES))); \
	while [ "$$(date +%s)" -lt "$$end" ]; do \
	    $(BIN)/python -m pytest $(PYTEST_ARGS) -o faulthandler_timeout=0 \
	        tests/cli/test_fuzzing.py tests/db/test_undo_servers.py tests/db/test_*_property.py || exit 1; \
	done

# make bench BENCH_ARGS=--write keeps the figures, BENCH_ARGS='capture undo' measures two parts.
bench: export AUDIT_BENCH_QUICK := $(or $(QUICK),$(AUDIT_BENCH_QUICK))
bench: $(VENV)/bench.stamp
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

screenshots: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.tui.pictures docs

clean:
	rm -rf .venv .venv-oldest build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find auditcli benchmarks sample_db tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/demo.stamp: pyproject.toml | $(BIN)/python
	@echo 'installing auditcli in $(VENV)'
	@$(INSTALL) .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml tests/oldest.txt | $(BIN)/python
	@echo 'installing auditcli and its development tools in $(VENV)'
	@$(INSTALL) '.[dev]' $(CONSTRAINTS)
	@touch $@ $(VENV)/demo.stamp

$(VENV)/bench.stamp: pyproject.toml | $(BIN)/python
	@echo 'installing auditcli and what it is measured against in $(VENV)'
	@$(INSTALL) '.[bench]'
	@touch $@

# The candidate is tried, not asked for its version: a name may lead nowhere, and some lack what makes environments.
$(BIN)/python:
	@for python in $(PYTHONS); do \
	    if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        rm -rf $(VENV); \
	        exec "$$python" -m venv $(VENV); \
	    fi; \
	done; \
	echo 'auditcli needs Python 3.11 or newer, with venv; none of these is: $(PYTHONS)' >&2; \
	echo 'install one (Debian, Ubuntu: apt install python3-venv), or name it: make PYTHON=/path/to/python3.12' >&2; \
	exit 1
