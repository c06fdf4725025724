# Everything a person does with a checkout. `make run` and `make test` work on a fresh machine and need nothing first.

.DEFAULT_GOAL := help
.PHONY: help run test screenshots test-long test-dynamodb-local chaos chaos-kills chaos-freezes chaos-drains chaos-syscalls \
	chaos-faults chaos-server chaos-disk chaos-clocks chaos-model chaos-model-dynamodb chaos-simulation chaos-fuzz \
	chaos-soak chaos-report check fmt lock audit sbom docs figures bench profile cost check-install clean

PYTHON ?=
ARGS ?=
export PYTHON

VENV := .venv
BIN := $(VENV)/bin
BOOTSTRAP := tools/bootstrap.sh
# What the tests need beside Python packages.
PROGRAMS := mariadbd smtp-sink faketime promtool chromium
# The database server lies in /usr/sbin, which a plain user's PATH may lack.
export PATH := $(PATH):/usr/sbin:/usr/local/sbin

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## the demo, on embedded parts: make run ARGS="--count 50 --until-done"
	@$(BOOTSTRAP) run $(if $(findstring mysql,$(ARGS)),mariadbd)
	@$(BIN)/mailculator demo $(ARGS)

# Three at a time, each file as a whole: most tests wait for something. One of the three has the files that keep a
# machine busy by themselves (tests/support/busy_files.py). For a debugger: ARGS="-n 0". CONTRACT_ON=dynamodb-local takes
# the contract suite there.
BESIDE = $(if $(filter dynamodb-local,$(CONTRACT_ON)),$(BIN)/python -m tests.support.dynamodb_local --for-contract)
test: ## all tests: make test ARGS="-k callback"
	@$(BOOTSTRAP) dev $(PROGRAMS)
	@$(BESIDE) $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-dynamodb-local: ## what concerns DynamoDB, on DynamoDB Local (needs Java and Maven, or DYNAMODB_TEST_ENDPOINT)
	@$(BOOTSTRAP) dev $(PROGRAMS)
	@$(BIN)/python -m tests.support.dynamodb_local $(BIN)/pytest -m dynamodb $(ARGS)

screenshots: ## the pictures of the operators' page in docs/images, from the real page
	@$(BOOTSTRAP) dev mariadbd chromium
	@mkdir -p docs/images
	MAILCULATOR_TEST_SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/pytest -q -n 0 tests/browser/test_screenshots.py $(ARGS)

test-long: ## what takes minutes each: the cutover's rehearsal, an older consumer and chaos on DynamoDB
	@$(BOOTSTRAP) dev $(PROGRAMS)
	@$(BIN)/pytest -m long $(ARGS)

# Large figures of what `make test` runs in small; each by itself, since each takes up to 40 minutes. What they find is
# written down in data/chaos; `make chaos-report` keeps it in docs/proof and brings it into docs/reliability.md.
CHAOS = @$(BOOTSTRAP) dev $(PROGRAMS) && MAILCULATOR_TEST_CHAOS_RECORDS=$(CURDIR)/data/chaos \
	MAILCULATOR_TEST_CHAOS_COMMIT="$$(git describe --always --dirty --exclude='*' 2>/dev/null)" \
	MAILCULATOR_TEST_CHAOS_SIZE=$(SIZE)
SIZE = full
SIDE_BY_SIDE = $(BIN)/pytest -m "" -n 2 --dist load
chaos-kills: ## kill -9 of random replicas under load: make chaos-kills ARGS="-k mysql"
	$(CHAOS) MAILCULATOR_TEST_CHAOS_KILLS=1000 MAILCULATOR_TEST_CHAOS_MAILS=20000 \
		$(SIDE_BY_SIDE) tests/chaos/test_chaos_kills.py $(ARGS)

# Nearly all of it is waiting: MariaDB's freezes go in so many parts side by side, and DynamoDB's beside them.
chaos-freezes: PARTS = 3
chaos-freezes: ## SIGSTOP for twice the lease, then SIGCONT
	$(CHAOS) MAILCULATOR_TEST_CHAOS_FREEZES=300 MAILCULATOR_TEST_CHAOS_PARTS=$(PARTS) \
		$(BIN)/pytest -m "" -n $$(($(PARTS) + 1)) --dist load tests/chaos/test_chaos_freezes.py $(ARGS)

chaos-drains: ## SIGTERM at random moments
	$(CHAOS) MAILCULATOR_TEST_CHAOS_DRAINS=200 $(SIDE_BY_SIDE) tests/chaos/test_chaos_drains.py $(ARGS)

chaos-syscalls: ## kill -9 before every system call of a mail's life
	$(CHAOS) MAILCULATOR_TEST_SYSCALLS=all $(SIDE_BY_SIDE) tests/syscalls $(ARGS)

chaos-faults: ## the way to each dependency falls ill: each fault, each phase
	$(CHAOS) MAILCULATOR_TEST_FAULTS=all MAILCULATOR_TEST_FAULTS_REPEATS=5 \
		$(BIN)/pytest -m "" -n 2 --dist loadfile tests/faults $(ARGS)

chaos-server: ## MariaDB killed, restarted, frozen, read-only, out of connections
	$(CHAOS) MAILCULATOR_TEST_CHAOS_SERVER=250 $(SIDE_BY_SIDE) tests/chaos/test_chaos_mariadb.py $(ARGS)

chaos-disk: ## the journal's disk full or failing, at each operation of a mail's life
	$(CHAOS) $(SIDE_BY_SIDE) tests/integration/test_journal_every_failure.py $(ARGS)

chaos-clocks: ## clocks off by up to a day, jumps, time zones, nights that change the time
	$(CHAOS) MAILCULATOR_TEST_CHAOS_CLOCKS=40 $(BIN)/pytest -m "" tests/chaos/test_chaos_clocks.py $(ARGS)

# In parts, of which whoever has done with one takes the next that nobody has begun.
MODEL = MAILCULATOR_TEST_MODEL_STEPS=60 MAILCULATOR_TEST_CHAOS_PARTS=$(PARTS)
AGREES = tests/contract/test_model.py::test_whatever_happens_a_store_does_what_the_model_says
IN_PARTS = $(BIN)/pytest -n 3 --dist worksteal $(AGREES)
size_from = $(if $(filter 0,$(shell test $(EXAMPLES) -ge $(1); echo $$?)),full,small)
chaos-model: EXAMPLES = 20000
chaos-model: PARTS = 6
chaos-model: SIZE = $(call size_from,20000)
chaos-model: ## the model of the queue against MariaDB and SQLite: make chaos-model EXAMPLES=2000 ARGS="-k mysql"
	$(CHAOS) $(MODEL) MAILCULATOR_TEST_MODEL_EXAMPLES=$(EXAMPLES) $(IN_PARTS) -m "not dynamodb" $(ARGS)

chaos-model-dynamodb: EXAMPLES = 2000
chaos-model-dynamodb: PARTS = 3
chaos-model-dynamodb: SIZE = $(call size_from,2000)
chaos-model-dynamodb: ## the same against DynamoDB Local (needs Java and Maven)
	$(CHAOS) $(MODEL) MAILCULATOR_TEST_MODEL_ON_DYNAMODB=$(EXAMPLES) $(BIN)/python -m tests.support.dynamodb_local \
		--for-contract $(IN_PARTS) -m dynamodb $(ARGS)

chaos-simulation: ## replicas on a virtual clock, by seeds
	$(CHAOS) MAILCULATOR_TEST_SIMULATION_SEEDS=10000 MAILCULATOR_TEST_SIMULATION_MAILS=100 \
		$(BIN)/pytest -n 2 --dist loadfile tests/simulation -k worlds $(ARGS)

chaos-fuzz: ## payloads nobody would write, for an hour of CPU
	$(CHAOS) MAILCULATOR_TEST_FUZZ_SECONDS=1200 $(SIDE_BY_SIDE) tests/fuzz $(ARGS)

chaos-soak: ## an hour, with a fault each minute
	$(CHAOS) MAILCULATOR_TEST_CHAOS_SOAK=3600 $(BIN)/pytest tests/chaos/test_chaos_soak.py -k chaos_soak $(ARGS)

chaos: chaos-kills chaos-freezes chaos-drains chaos-syscalls chaos-faults chaos-server chaos-disk chaos-clocks \
	chaos-model chaos-model-dynamodb chaos-simulation chaos-fuzz chaos-soak ## all of them, one after the other: nine hours

chaos-report: ## the runs that count, into docs/proof and docs/reliability.md
	@$(BOOTSTRAP) dev
	$(BIN)/python -m tests.chaos.report data/chaos

check: ## format, lint, types and the Dockerfile
	@$(BOOTSTRAP) dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint --failure-threshold style Dockerfile

fmt: ## format, and mend what the linter can mend
	@$(BOOTSTRAP) dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Without UPGRADE=1 the pins that still fit stay. New ones have been public for a week: most poisoned releases are
# found and withdrawn sooner.
LOCK = UV_CUSTOM_COMPILE_COMMAND="make lock" $(if $(UPGRADE),UV_EXCLUDE_NEWER="7 days") $(BIN)/uv pip compile --quiet \
	$(if $(UPGRADE),--upgrade) --universal --python-version 3.11 --generate-hashes --no-emit-index-url
lock: ## the lock files, from pyproject.toml: make lock UPGRADE=1
	@$(BOOTSTRAP) dev
	@test -x $(BIN)/uv || $(BIN)/pip install --quiet uv
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --group build -o requirements-build.lock
	$(LOCK) --group audit -o requirements-audit.lock
	$(LOCK) --group dev pyproject.toml -o requirements-dev.lock

audit: ## known vulnerabilities of every locked package: make audit ARGS="--ignore-vuln ID"
	@$(BOOTSTRAP) dev
	@$(BIN)/python -m tools.supply_chain audit $(ARGS)

sbom: ## what is in the image, of Python's packages, as CycloneDX: dist/mailculator.cdx.json
	@$(BOOTSTRAP) dev
	@$(BIN)/python -m tools.supply_chain sbom

docs: ## .env.example and docs/configuration.md, from the settings
	@$(BOOTSTRAP) dev
	$(BIN)/python -m mailculator.config_docs

figures: ## measure start-up and memory: make figures ARGS=--check writes nothing
	@$(BOOTSTRAP) dev mariadbd
	@$(BIN)/python -m benchmarks.startup $(ARGS)

# The peers come last: they want Redis, PostgreSQL and a whole Postfix, and say which of them is missing.
BENCHES ?= end_to_end remote_relay replicas depth page page_open latency attachments peers
bench: ## speed and memory, beside others: make bench BENCHES=replicas ARGS="--rounds 3"
	@$(BOOTSTRAP) dev mariadbd smtp-sink $(if $(filter page,$(BENCHES)),chromium)
	@for one in $(BENCHES); do $(BIN)/python -m benchmarks.$$one $(ARGS) || exit; done

profile: ## where an email's CPU goes: make profile ARGS="--store sqlite"
	@$(BOOTSTRAP) dev mariadbd smtp-sink
	@$(BIN)/python -m benchmarks.profile_mail $(ARGS)

cost: ## what an email costs on DynamoDB, in units and dollars: make cost ARGS=--check writes nothing
	@$(BOOTSTRAP) dev
	@$(BIN)/python -m benchmarks.dynamodb_cost $(ARGS)

check-install: ## a plain `pip install .`, with no lock, in an environment of its own
	@$(BOOTSTRAP) dev
	tools/check_install.sh

clean: ## away with what the other targets made; data/ stays
	rm -rf $(VENV) .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
