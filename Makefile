# For developers: thin calls of the scripts that ./run and ./test use too.
.DEFAULT_GOAL := help
.PHONY: help run test check texts lock registry interop fuzz bench screenshots clean

BIN := .venv/bin

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: ## The daemon on ./var with three simulated devices
	./run

test: ## Unit, property and scenario tests
	./test

check: ## Lint, format, types, import contracts, the tree and its scripts
	scripts/setup.sh test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_tree.py

texts: ## Bring the catalogues of http/locale up to date; says what is not translated
	scripts/setup.sh run
	$(BIN)/python -m tools.texts

lock: ## Remake requirements/*.txt and package-lock.json
	scripts/setup.sh run
	scripts/lock.sh

registry: ## Rebuild the table of LwM2M objects: make registry FACTS=objects.jsonl
	scripts/setup.sh run
	$(BIN)/python -m tools.build_registry $(FACTS)

interop: ## Foreign clients against the daemon: libcoap, Leshan
	scripts/setup.sh test
	tests/interop/run

fuzz: ## The DTLS engine under sanitizers, 25 s; longer: make fuzz SECONDS=600
	scripts/setup.sh run
	tests/fuzz/run $(or $(SECONDS),25) $(SEED)

bench: ## The figures of benchmarks/results.json
	scripts/setup.sh bench
	$(BIN)/python -m benchmarks

screenshots: ## The pictures of the README, of a daemon with simulated devices
	scripts/setup.sh test
	$(BIN)/python -m tools.screenshots

clean: ## Remove what the commands installed and made, except ./var
	rm -rf .venv .setup node_modules flownexus_appliance/http/static/vendor tests/interop/leshan/target
	rm -f flownexus_appliance/coap/dtls/_engine*.so
	rm -rf build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
