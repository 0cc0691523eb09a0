# Two commands matter: `make demo` shows the gateway on real traffic, `make test` runs every test.
# Both install what is missing (apt, as root) and build what they need.

CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: help build demo test truth fragmentations lint pcaps bench bench-classifier fuzz clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 18

build: ## Build target/release/bulkhead
	@scripts/build

demo: build ## Two zones, real services, the gateway between them; ends non-zero if anything differs
	@scripts/install-deps test || echo "demo: going on without what is missing"
	@$(CARGO) run --locked -q -p bulkhead-tests --bin demo

test: build ## Every test: unit, property, replay, end-to-end in network namespaces
	@scripts/install-deps test || echo "test: tests that need what is missing will be skipped, and counted"
	@scripts/test

truth: build ## The same packets through nftables; PACKETS=10000000 POLICIES=1000 SEED=, ARGS='--classes ...'
	@scripts/install-deps test
	@$(CARGO) run --locked --release -q -p bulkhead-tests --bin truth -- $(ARGS)

fragmentations: build ## Datagrams in random fragments to a Linux receiver; DATAGRAMS=1000000 QUEUES=1 SEED=
	@scripts/install-deps test
	@$(CARGO) run --locked --release -q -p bulkhead-tests --bin fragmentations

lint: ## Formatting and clippy, warnings are errors
	@scripts/install-deps build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked -p bulkhead --no-default-features -- -D warnings

pcaps: ## Record the captures in pcaps/ again
	@scripts/install-deps test
	@$(CARGO) run --locked -q -p bulkhead-tests --bin make-pcaps

bench: build ## Forwarding and replay, side by side with the kernel
	@scripts/install-deps bench
	@scripts/bench

bench-classifier: ## The classifier beside DPDK's; ARGS='--quick' takes minutes, not an hour
	@scripts/install-deps bench || echo "bench-classifier: going on without what is missing"
	@scripts/bench-classifier $(ARGS)

fuzz: ## Fuzz one target or all in turn; TARGET=agreement, SECONDS=60 for each
	@scripts/install-deps fuzz
	@fuzz/run $(or $(TARGET),agreement) $(or $(SECONDS),60)

clean: ## Remove what was built
	$(CARGO) clean
