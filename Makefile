# `make demo` and `make test` do all their own set-up; see README.md.
SHELL := /bin/sh
CARGO ?= cargo
export CARGO_TARGET_DIR ?= $(CURDIR)/target
PREFIX ?= $(HOME)/.local

.PHONY: help setup setup-test build demo test check soak install generate

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

soak: setup-test ## the longer tests
	BUILDPLANE_SOAK=1 scripts/test

generate: ## write the generated files anew
	$(CARGO) run --quiet --package xtask -- generate

install: setup build ## install the binary and the registry under PREFIX (~/.local)
	install -D -m 0755 $(CARGO_TARGET_DIR)/release/buildplane $(PREFIX)/bin/buildplane
	@if [ -x $(CARGO_TARGET_DIR)/libexec/buildplane/docker-registry ]; then \
	  install -D -m 0755 $(CARGO_TARGET_DIR)/libexec/buildplane/docker-registry $(PREFIX)/libexec/buildplane/docker-registry; fi
