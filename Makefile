# What the README names; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up test e2e soak gen bench fmt

prepare := . .ci/prepare

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

up: ## Build, start examples/raft-cluster.yaml on this machine and show it live
	@$(prepare) && cargo build --release --locked --workspace --bin quorate --bin quorate-raft-cluster
	@$(prepare) && exec "$$CARGO_TARGET_DIR/release/quorate" up -f examples/raft-cluster.yaml

test: ## Run every check and test
	@.ci/test

e2e: ## Start a real Kubernetes on this machine, test it under faults and take it down (as root)
	@.ci/e2e

soak: ## Test for hours what `test` and `e2e` test for minutes (PART=name for a part of it; as root)
	@.ci/soak $(PART)

gen: ## Write the generated files anew
	@$(prepare) && cargo xtask gen

bench: ## Measure a RaftCluster of three members on this machine
	@$(prepare) && cargo xtask bench raft-cluster

fmt: ## Format the sources
	@cargo fmt --all
