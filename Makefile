# Everything from a clean clone to a running demo. `make` alone lists the targets.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-run setup-test setup-lint filter build demo demo-up test fuzz bench bench-core mutants lint clean

FILTER := build/jwtproxy-filter.wasm
# CI takes Cargo.lock as it is; elsewhere a new dependency may enter it.
LOCKED := $(if $(CI),--locked)
# One build for all that the demo starts, so that their common dependencies are compiled once.
DEMO := cargo build --release $(LOCKED) -p signer-native -p keyregistry-mock -p jwtproxy-tests --bins
RUN_DEMO := "$${CARGO_TARGET_DIR:-target}/release/demo"

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: setup-run setup-test setup-lint ## install all that is missing, under .tools/ (the other targets see to their own part)

setup-run:
	@scripts/check-prerequisites
	@scripts/wasm-cargo wasm32-wasip1 >/dev/null
	@scripts/setup-envoy

setup-test:
	@scripts/check-prerequisites test
	@scripts/wasm-cargo wasm32-unknown-unknown >/dev/null
	@scripts/setup-cargo-tool wasm-bindgen-test-runner

setup-lint:
	@scripts/check-prerequisites lint
	@scripts/setup-cargo-tool cargo-deny

filter: ## build the Envoy filter, build/jwtproxy-filter.wasm
	@scripts/build-filter

build: filter ## build the filter and the release binaries
	cargo build --release $(LOCKED) -p signer-native -p keyregistry-mock

demo: setup-run filter ## show it all working: sign, verify, refuse
	$(DEMO)
	$(RUN_DEMO)

demo-up: setup-run filter ## the same, and leave it running to play with
	$(DEMO)
	$(RUN_DEMO) --keep

test: setup-run setup-test filter ## run every test: wasm, unit, end-to-end with a real Envoy
	scripts/check-filter-imports $(FILTER)
	scripts/test-wasm
	cargo build --workspace $(LOCKED)
	cargo test --workspace $(LOCKED)

fuzz: ## fuzz every parser, FUZZ_SECONDS each (20); FUZZ="token framing" names some, FUZZ=--minimise keeps what was found
	scripts/fuzz $(FUZZ)

bench: setup-run filter ## measure it beside Envoy's jwt_authn and bare signatures (quarter of an hour; report in build/bench/)
	@scripts/check-prerequisites bench
	cargo build --release $(LOCKED) -p signer-native -p jwtproxy-bench --bins
	"$${CARGO_TARGET_DIR:-target}/release/bench" $(BENCH)

bench-core: ## measure the token rules alone: time, allocations, instructions
	@scripts/check-prerequisites bench-core
	@scripts/setup-cargo-tool gungraun-runner
	PATH="$$PWD/.tools/gungraun-runner/bin:$$PATH" cargo bench $(LOCKED) -p jwt-core --features testing

mutants: filter ## change each line that decides about trust, and see that a test fails (hours; MUTANTS="-p jwt-keys" for a part)
	@scripts/setup-cargo-tool cargo-mutants
	PATH="$$PWD/.tools/cargo-mutants/bin:$$PATH" JWTPROXY_FILTER_WASM="$$PWD/$(FILTER)" \
		cargo mutants --output build $(MUTANTS)

lint: setup-lint filter ## check formatting, clippy (native and wasm) and dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings
	scripts/wasm-cargo wasm32-wasip1 clippy $(LOCKED) -p filter-wasm -- -D warnings
	scripts/check-dependencies

clean: ## remove build/ and target/ (.tools/ stays: it is slow to fetch)
	cargo clean
	rm -rf build
