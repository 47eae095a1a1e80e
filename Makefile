.PHONY: help setup build test lint types bench bundle coverage rustcoverage docs ci
LLVM_BIN ?= /usr/lib/llvm-22/bin
PYTHON ?= python

help: ## print this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: ## install in editable mode with everything for development
	pip install -e '.[dev]'

build: ## build a wheel into dist/
	pip wheel --no-deps --wheel-dir dist .

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

bench: ## every bench beside its peers (benches/peers.txt), a table and benches-result.json; BENCH=--quick, RETAIN_BENCH_REPO=PATH
	$(PYTHON) benches/run_all.py $(if $(RETAIN_BENCH_REPO),--repo "$(RETAIN_BENCH_REPO)") $(BENCH)

bundle: build ## the Claude Desktop bundle of a fresh wheel into dist/
	$(PYTHON) tools/pack.py mcpb "$$(ls -t dist/retain-*.whl | head -1)"

coverage: ## branch coverage of the Python package
	pytest --cov --cov-report=term
	coverage combine --quiet || true

rustcoverage: ## line and region coverage of rust/core; needs the llvm tools of rustc's own LLVM, LLVM_BIN=/usr/lib/llvm-22/bin
	rm -rf target/coverage/profiles
	CARGO_TARGET_DIR=target/coverage RUSTFLAGS=-Cinstrument-coverage \
		LLVM_PROFILE_FILE=$(CURDIR)/target/coverage/profiles/%p-%m.profraw cargo test -q -p retain-core
	$(LLVM_BIN)/llvm-profdata merge -sparse target/coverage/profiles/*.profraw -o target/coverage/all.profdata
	$(LLVM_BIN)/llvm-cov report -instr-profile=target/coverage/all.profdata --ignore-filename-regex='(registry|rustc|/tests)' \
		$$(ls target/coverage/debug/deps/*retain_core-* target/coverage/debug/deps/*_model-* | grep -v '\.' | sed 's/^/-object /')

docs: ## write docs/reference again
	$(PYTHON) docs/generate_reference.py

ci: ## what CI runs
	bash .ci/run
