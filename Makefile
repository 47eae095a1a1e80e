.PHONY: help setup build test lint types bench coverage docs ci
PYTHON ?= python

help: ## print this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: ## install in editable mode with everything for development
	pip install -e '.[dev]'

build: ## build a wheel into dist/
	maturin build --release --out dist

test: ## run the whole suite
	cargo test --workspace --locked --exclude retain-bindings
	pytest

lint: ## ruff, import-linter, rustfmt, clippy
	ruff check .
	ruff format --check .
	lint-imports
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

types: ## mypy and stubtest
	mypy
	$(PYTHON) -m mypy.stubtest retain._core --mypy-config-file pyproject.toml

bench: ## the side-by-side benches; needs RETAIN_BENCH_REPO=PATH of a git history with 10,000 commits
	$(PYTHON) benches/run_all.py --repo "$(RETAIN_BENCH_REPO)"

coverage: ## branch coverage of the Python package
	pytest --cov --cov-report=term
	coverage combine --quiet || true

docs: ## write docs/reference again
	$(PYTHON) docs/generate_reference.py

ci: ## what CI runs
	bash .ci/run
