# `make demo` and `make test` do all their own set-up; see README.md.
SHELL := /bin/sh
CARGO ?= cargo
export CARGO_TARGET_DIR ?= $(CURDIR)/target
PREFIX ?= $(HOME)/.local

.PHONY: help setup setup-test build demo test conformance check soak fuzz bench bench-tunnel install generate

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: ## install what the local platform needs (only what is missing; starts no service)
	@scripts/setup

setup-test:
	@scripts/setup --test

build: ## build the release binary
	$(CARGO) build --release --locked --package buildplane-cli

demo: setup build ## build an image on a local build plane, from nothing, in a temporary directory
	@$(CARGO_TARGET_DIR)/release/buildplane demo

test: setup-test ## run every test
	@scripts/test

check: ## format, lints, documentation, edges between crates, generated files
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet
	$(CARGO) run --quiet --locked --package xtask -- check

conformance: ## check the controllers, gateway and agent against the cluster of KUBECONFIG (without: against the embedded API)
	@scripts/conformance

soak: setup-test ## the longer tests
	BUILDPLANE_SOAK=1 scripts/test

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(shell sed -n 's/^name = "\([a-z]*\)"$$/\1/p' fuzz/Cargo.toml)

fuzz: ## fuzz everything that strangers write and we read, a minute each
	@cargo fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz@0.13.2
	@for target in $(FUZZ_TARGETS); do \
	  echo "fuzz: $$target for $(FUZZ_SECONDS) s"; \
	  RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --target-dir $(CARGO_TARGET_DIR)/fuzz $$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 || exit 1; \
	done

bench: bench-tunnel ## measure everything that has a number to keep

bench-tunnel: setup ## measure the tunnel beside a bare chain and upstream's protocol; writes target/bench/tunnel.json
	$(CARGO) build --release --locked --package buildplane-cli --package buildplane-bench
	$(CARGO_TARGET_DIR)/release/buildplane-bench tunnel --buildplane $(CARGO_TARGET_DIR)/release/buildplane \
	  --output $(CARGO_TARGET_DIR)/bench/tunnel.json

generate: ## write the generated files anew
	$(CARGO) run --quiet --package xtask -- generate

install: setup build ## install the binary and the registry under PREFIX (~/.local)
	install -D -m 0755 $(CARGO_TARGET_DIR)/release/buildplane $(PREFIX)/bin/buildplane
	@if [ -x $(CARGO_TARGET_DIR)/libexec/buildplane/docker-registry ]; then \
	  install -D -m 0755 $(CARGO_TARGET_DIR)/libexec/buildplane/docker-registry $(PREFIX)/libexec/buildplane/docker-registry; fi
