# Every command of a developer; CI runs the same ones. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run demo test check gates console console-check console-e2e console-soak console-speed screenshots fmt gen bench bench-proxy bench-many soak fuzz conformance coverage audit

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## install what is missing to build and test
	scripts/setup.sh

run: ## install what is missing, build, and serve the example agents on ports 8080 and 9090 until Ctrl-C; ARGS go to `up`
	@scripts/setup.sh run
	npm --prefix console run --silent build
	cargo build --release --locked --package myagent-cli
	@scripts/run.sh $(ARGS)

demo: ## a minute of the system, with things going wrong on purpose; what it claims is checked
	@scripts/setup.sh run
	cargo build --release --locked --package myagent-cli
	@scripts/demo.sh

test: gates console-check console ## everything that CI runs: gates, then all tests once, with coverage, and the stories of the console
	scripts/coverage.sh

check: gates console-check ## what is quick: gates and the unit tests of the decisions
	cargo nextest run --locked --package myagent-core

gates:
	cargo fmt --all --check
	cargo xtask layers
	cargo xtask tidy
	cargo xtask licences
	cargo clippy --workspace --all-targets --locked --quiet -- --deny warnings

console: ## build the web console; the next build of the program has it
	npm --prefix console run --silent build

console-check: ## the web console: types, lints, unit tests
	npm --prefix console run --silent check

console-e2e: console ## its stories in two browsers, with the program built for debugging; E2E_TARGETS=chromium-desktop for one
	cargo build --locked --package myagent-cli --package myagent-testkit
	npm --prefix console run --silent e2e

console-soak: console ## the console with 1,000 services and 5,000 connections for ten minutes, on an idle machine
	cargo build --release --locked --package myagent-cli
	E2E_SOAK=1 MYAGENT_MANAGER=$(CURDIR)/target/release/myagent-manager npm --prefix console run --silent e2e -- stories/crowd.story.ts --testTimeout=1200000

console-speed: console ## the marks of Lighthouse for the dashboard, on an idle machine; seven minutes
	cargo build --locked --package myagent-cli --package myagent-testkit
	npm --prefix console run --silent speed

screenshots: console ## a picture of every page, in both themes and on a telephone, in target/screenshots
	cargo build --locked --package myagent-cli --package myagent-testkit
	npm --prefix console run --silent screenshots

fmt: ## format
	cargo fmt --all

gen: ## write the generated pages of docs/reference; a test fails if they are not what the program says
	scripts/gen.sh

bench: ## measure, side by side with others; half an hour
	bench/run.sh

bench-proxy: ## only the front door, the relay and routing, beside other proxies; twelve minutes. ARGS go to bench/proxy.sh
	@bench/proxy.sh $(ARGS)

bench-many: ## 30,000 conversations at once, and 9,000 through one relay; four minutes. ARGS go to bench/many.sh
	@bench/many.sh $(ARGS)

soak: ## the stories with their big counts: 50 trees, 20 managers killed, floods of 20 s, 10,000 half-open handshakes; a quarter of an hour
	MYAGENT_SOAK=1 cargo nextest run --locked --package myagent-cli --test e2e --profile soak

fuzz: SECONDS ?= 60
fuzz: ## a minute (or SECONDS=…) of arbitrary bytes for each reader of what others wrote; needs the nightly compiler
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
	for target in $$(sed -n 's/^name = "\(.*_reader\|.*_event\|.*_scanner\|.*_parser\|.*_compiler\)"/\1/p' fuzz/Cargo.toml); do \
	  mkdir -p "fuzz/corpus/$$target"; \
	  cargo +nightly fuzz run "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- -max_total_time=$(SECONDS) -max_len=65536; \
	done

conformance: ## 517 cases of WebSocket conformance, directly and through us, with and without compression; none may be worse; 10 to 20 minutes
	@scripts/setup.sh
	cargo build --release --locked --package myagent-cli --package myagent-testkit
	@scripts/conformance/run.py $(ARGS)

coverage: ## the tests with a report of the lines they miss, in target/coverage/html
	scripts/coverage.sh --html

audit: ## licences, bans and sources with cargo-deny, which is installed if missing
	command -v cargo-deny >/dev/null || cargo install cargo-deny --locked
	cargo deny --all-features check licenses bans sources
