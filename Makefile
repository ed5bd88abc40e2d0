# Everything a contributor does. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run build test verify fix bench sim churn anonymous months breakages vm vm-test clean

# For `make run`: more flags for loop-local, for example  make run ARGS="--http-port 8090 --data-dir /tmp/loop"
ARGS ?=

# For `make bench`: rounds in which our system and what it is compared with take turns.
ROUNDS ?= 3

# For `make sim`.
SCENARIO ?= chaos
SEEDS ?= 100
FIRST ?= 1

# For `make churn`.
FORUMS ?= 13
GUESTS ?= 5

# For `make anonymous`.
GETS ?= 100000

# For `make vm` and `make vm-test`.
FORMATS ?=
STORY ?=

# Cargo puts its own tools where a fresh shell may not look yet.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

run: build ## Build, start 3 hubs and 3 peers in ./data, print where to look (Ctrl-C stops all)
	@exec target/debug/loop-local $(ARGS)

build:
	@scripts/install-tools.sh build
	@cargo build --locked --bins

test: ## Install what is missing, then run every test, browsers and killed processes included
	@start=$$SECONDS; trap 'echo "make test took $$((SECONDS - start)) s"' EXIT; \
	scripts/install-tools.sh test; \
	vm/check; \
	cargo build --locked --workspace --bins --tests; \
	cargo nextest run --locked --workspace; \
	cargo test --locked --workspace --doc --quiet

verify: ## Everything a change must pass; writes nothing
	@scripts/install-tools.sh verify
	cargo fmt --all --check
	cargo clippy --locked --workspace --lib --bins -- -D warnings
	cargo clippy --locked --workspace --all-targets -- -D warnings -A clippy::disallowed_methods
	cargo deny --locked check --hide-inclusion-graph licenses bans sources
	RUSTDOCFLAGS="-D warnings --cfg tokio_unstable" cargo doc --locked --workspace --no-deps --quiet
	@$(MAKE) --no-print-directory test

fix: ## Format, and apply what clippy can fix by itself
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

bench: ## Measure parts and the whole, interleaved with etcd and with Node + MariaDB; prints ratios (ROUNDS=3)
	@start=$$SECONDS; trap 'echo "make bench took $$((SECONDS - start)) s"' EXIT; \
	scripts/install-tools.sh bench; \
	echo "bench: building (a first time takes minutes)"; \
	cargo build --locked --release --bins; \
	cargo build --locked --release --package loop-benches --bins; \
	cargo bench --locked --package loop-benches --benches -- \
	    --warm-up-time 0.5 --measurement-time 1 --sample-size 20 --noplot; \
	target/release/load suite --rounds $(ROUNDS); \
	target/release/load reads --rounds $(ROUNDS); \
	target/release/load migrate; \
	target/release/load hot; \
	target/release/load watch; \
	target/release/load watch --watched-forums 1000

sim: ## Simulated clusters from seeds: SEEDS=100, SCENARIO=chaos (list: all), FIRST=1; SEED=7 for one, TRACE=1 tells it, BREAK=name breaks it
	@cargo build --locked --profile sim --package loop-sim-tests --bin sim
	@target/sim/sim --scenario $(SCENARIO) $(if $(BREAK),--break $(BREAK)) $(if $(SEED),--seed $(SEED) $(if $(TRACE),--trace),--seeds $(SEEDS) --first $(FIRST))

churn: ## Volunteers of 15 s, one after the other, beside three permanent peers: FORUMS=13 GUESTS=5; 8 minutes (300 and 50: 64)
	@cargo build --locked --package loop-sim-tests --bin churn
	@cargo build --locked --bins
	@target/debug/churn --forums $(FORUMS) --guests $(GUESTS) $(ARGS)

anonymous: ## Read GETS=100000 forums of random names from one address: what the hubs agree on and what is on disk, before and after
	@cargo build --locked --package loop-sim-tests --bin anonymous
	@cargo build --locked --bins
	@target/debug/anonymous --gets $(GETS)

months: SCENARIO = month
months: SEEDS = 1
months: ## Volunteers who come and go for weeks, modelled: DAYS=30, SEEDS=1, SCENARIO=month (list, all), FIRST=1, BREAK=name
	@cargo build --locked --profile sim --package loop-sim-tests --bin months
	@target/sim/months --scenario $(SCENARIO) --seeds $(SEEDS) --first $(FIRST) $(if $(DAYS),--days $(DAYS)) $(if $(BREAK),--break $(BREAK))

breakages: ## Switch on each bug in turn until the simulation notices; writes sim-tests/BREAKAGES.md
	@cargo build --locked --profile sim --package loop-sim-tests --bin sim
	@target/sim/sim --break all --write sim-tests/BREAKAGES.md

# Debian is installed into a folder, and QEMU may get one: that needs root, the rest does not.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=MIRROR,SECURITY_MIRROR,SOURCE_DATE_EPOCH)

vm: ## The virtual machine of a volunteer, in target/vm: raw, qcow2, vmdk, OVA, vhdx (FORMATS=qcow2,ova for some)
	@scripts/install-tools.sh vm
	cargo build --locked --release --package loop-peer --package loop-console --bins
	@release=$${CARGO_TARGET_DIR:-target}/release; \
	$(AS_ROOT) vm/build --peer $$release/loop-peer --console $$release/loop-console --out target/vm $(if $(FORMATS),--formats $(FORMATS))

vm-test: ## Boot what `make vm` has made, in QEMU, against a real hub: power cuts, wrong strings, every format (STORY=name for one)
	@scripts/install-tools.sh vm
	@cargo build --locked --package loop-hub --package loop-hubctl --bins
	@$(AS_ROOT) vm/test/run --images target/vm --programs $${CARGO_TARGET_DIR:-target}/debug $(STORY)

clean: ## Remove what was built and fetched; ./data stays
	cargo clean
	rm -rf sim-tests/browser/node_modules sim-tests/realtime/node_modules benches/node/node_modules
