# Every target works on a fresh clone: the environment is made when it is missing or its lock changed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PYTHONPATH := functions
# Half of what all levels take is waiting: five jobs keep two cores busy.
JOBS ?= 5

# What a user gives reaches programs in their environment, or as "$$NAME", which the shell fills in: a shell runs what
# stands on its line. Without `value` make itself would run what is in a $(shell ...).
GIVEN := PYTHON JOBS ONCE FULL MEMORY SCALE HISTORIES FROM SEED ENDPOINT TOKEN_FILE SCOPE_GROUPS ADOPT ARCHIVED \
	PROJECT REGION ADMIN ALERTS LOCATION ACCESS RUNBOOKS TUNING BUDGET SINK ORGANIZATION PUBLIC_WEBHOOK FULL_RUNS AUDIT FUNCTION SEVERITY SINCE RELEASE AGAIN DIRTY UNLOCK \
	CONFIRM BACKUPS UNTESTED
$(foreach name,$(GIVEN),$(if $(filter undefined,$(origin $(name))),,$(eval override export $(name) := $$(value $(name)))))
# Where the shell forbids it, each of the hundreds of processes that tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
# Each is a folder of tests and a target: from the core alone to everything at once, in a browser.
LEVELS := unit simulation contract fuzz functional faults gcp browser
SHARED = -p tests.support.file_by_file --dist load --maxschedchunk 1 -o console_output_style=classic
TESTS = REQUIRE_EMULATORS=1 $(BIN)/python -m pytest -q -m "not slow"
.PHONY: help setup run local connect sync test $(LEVELS) simulate mutants check fix screenshots bench lock audit sbom clean \
	plan diff deploy rollback detach destroy logs doctor tofu

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements-dev.txt
	@command -v "$$PYTHON" >/dev/null || { echo "Python 3.11 is needed: sudo apt-get install python3.11 python3.11-venv" >&2; exit 1; }
	@test -x $(BIN)/python || "$$PYTHON" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt >&2
	@touch $@

setup: $(STAMP) ## make the environment

run: $(STAMP) ## the whole system on this machine, through a working day (ONCE=1: then stop)
	@$(BIN)/python -m infra.local.working_day $(if $(ONCE),--once)

local: $(STAMP) ## emulators and functions only, for any DIRECTORY_API_ENDPOINT and any SCIM endpoint
	@$(BIN)/python -m infra.local.start

connect: $(STAMP) ## ENDPOINT=... TOKEN_FILE=... [SCOPE_GROUPS=a@x,b@x] [ADOPT=all] [ARCHIVED=suspended]: set up the connection and turn it on
	@test -n "$$ENDPOINT" && test -n "$$TOKEN_FILE" || { echo "Usage: make connect ENDPOINT=https://... TOKEN_FILE=path [SCOPE_GROUPS=a@x,b@x] [ADOPT=all] [ARCHIVED=suspended]" >&2; exit 2; }
	@$(BIN)/python -m infra.local.connect --endpoint="$$ENDPOINT" --token-file="$$TOKEN_FILE" --scope-groups="$$SCOPE_GROUPS" --adopt="$$ADOPT" --archived="$$ARCHIVED"

# Make itself exits 2 whatever status a command had: where 1, 2 and 3 must be told apart, call the module.
sync: $(STAMP) ## a full run now, one JSON line on stdout (FULL=1: and a drift run, which lists Keeper)
	@$(BIN)/python -m infra.local.sync $(if $(FULL),--full)

test: $(STAMP) ## every level, several files at a time, real emulators and a browser included (JOBS=5)
	@$(TESTS) -n "$$JOBS" $(SHARED)

unit: ## the core and the use cases over ports in memory
simulation: ## whole histories on virtual time, with faults
contract: ## each adapter against its real counterpart: emulators, SCIM servers, the directory's simulator
fuzz: ## any answer a server may give, wrong ones included
functional: ## the functions behind HTTP, the API, the pages and the commands
faults: ## the whole local cloud while its surroundings fail
gcp: ## the deployment against a stand-in for gcloud
browser: ## the pages in Chromium
$(LEVELS): $(STAMP)
	@$(TESTS) tests/$@ $(ARGS)

check: $(STAMP) ## lint, types, import contracts, unit tests
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q tests/unit

fix: $(STAMP) ## let the linter fix what it can, and format
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

simulate: $(STAMP) ## [HISTORIES=1000] [FROM=1] [SEED=17]: run histories of the simulation, or shrink one that fails
	@$(BIN)/python -m tests.simulation.simulate --histories="$${HISTORIES:-1000}" --from="$${FROM:-1}" $(if $(SEED),--seed="$$SEED")

mutants: $(STAMP) ## remove one safeguard at a time from a copy of the code, and check that the simulation notices
	@$(BIN)/python -m tests.simulation.mutants

screenshots: $(STAMP) ## take the pictures in docs/screenshots again (needs Chromium)
	@SCREENSHOTS=1 REQUIRE_EMULATORS=1 REQUIRE_BROWSER=1 $(BIN)/python -m pytest -q tests/browser/test_pictures.py

bench: $(STAMP) ## measure, print the figures and write docs/benchmarks.md (MEMORY=1: 100,000 users too; SCALE=1: only reading a large directory)
	@$(BIN)/python -m tests.benchmark.$(if $(SCALE),scale,bench $(if $(MEMORY),--memory))

# Google Cloud: infra/gcp reads PROJECT, REGION, ADMIN, ALERTS and what else there is from the environment.
GCP = $(BIN)/python -m infra.gcp

plan: $(STAMP) ## PROJECT=... REGION=... ADMIN=... ALERTS=... ACCESS=group:...: print every command of a deployment, and change nothing
	@$(GCP) plan

diff: $(STAMP) ## (settings as for deploy): what a deployment would change, field by field; changes nothing (make exits with 2 if anything differs)
	@$(GCP) diff

deploy: $(STAMP) ## PROJECT=... REGION=... ADMIN=... ALERTS=... ACCESS=group:... [LOCATION=...] [RUNBOOKS=url] [TUNING=path] [BUDGET=50EUR] [SINK=organization [ORGANIZATION=number] [PUBLIC_WEBHOOK=off] [FULL_RUNS=hourly]] [AGAIN=yes] [DIRTY=yes] [UNLOCK=yes] [ADOPT=yes] [CONFIRM=yes] [UNTESTED=yes]: deploy; may be repeated
	@$(GCP) deploy

rollback: $(STAMP) ## (settings as for deploy) [RELEASE=...] [UNLOCK=yes] [UNTESTED=yes]: let every function serve the release before, or that one
	@$(GCP) rollback

detach: $(STAMP) ## (settings as for deploy) [CONFIRM=yes] [UNLOCK=yes]: take functions of an earlier version out of Cloud Functions after a typed confirmation, for good
	@$(GCP) detach

destroy: $(STAMP) ## (settings as for deploy) [AUDIT=delete [BACKUPS=delete]] [ADOPT=yes] [UNLOCK=yes]: remove the deployment after a typed confirmation (delete: Firestore too, its backups too)
	@$(GCP) destroy

logs: $(STAMP) ## (settings as for deploy) [FUNCTION=console] [SEVERITY=INFO] [SINCE=1h]: what the functions logged
	@$(GCP) logs

doctor: $(STAMP) ## (settings as for deploy): check every precondition and live dependency, and say how to fix each failure
	@$(GCP) doctor

tofu: $(STAMP) ## (settings as for deploy) [ADOPT=yes]: write the same deployment as OpenTofu JSON (yes: and the imports of an existing deployment)
	@$(GCP) tofu

lock: $(STAMP) ## resolve pyproject.toml again into the two requirements files
	@$(BIN)/uv pip compile -q pyproject.toml --generate-hashes --no-strip-extras --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 -o functions/requirements.txt
	@$(BIN)/uv pip compile -q pyproject.toml --extra dev --generate-hashes --no-strip-extras --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 -c functions/requirements.txt -o requirements-dev.txt

audit: $(STAMP) ## whether a locked package has a known vulnerability; also fails if that could not be checked
	@$(BIN)/python -m infra.dependencies.audit

sbom: $(STAMP) ## write the software bill of materials of both locks (CycloneDX) into .local/sbom
	@$(BIN)/python -m infra.dependencies.sbom

clean: ## remove the environment and everything local
	@rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
