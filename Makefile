# `make run` and `make test` each work alone on a machine with python3 >= 3.11, pip and make.
# The environment in .venv is made once and reused; it is brought up to date when the versions change.

VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
SYNTHKD_DATA ?= $(abspath ../shared/data)
export SYNTHKD_DATA
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first Python that is new enough; name another with `make PYTHON=...`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.DELETE_ON_ERROR:
.PHONY: run test test-vllm lint types pytest bench bench-peers recorded clean help

run: $(VENV)/.base  ## the main job: the quickstart, on a simulated teacher
	$(BIN)/synthkd run pipelines/quickstart.yaml

test: lint types pytest  ## lint, types and every test that a CPU can run

# One after the other even under `make -j`: pytest's closing line stays the last one.
types: lint
pytest: types

lint: $(VENV)/.test  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

# A file's tests stay together, so that what they share is made once.
pytest: $(VENV)/.test
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile

# A server of its own is no part of `make test`: its environment takes two minutes and 2.5 GB.
test-vllm: $(VENV)/.test  ## a tiny model served by vLLM on the CPU, and what synthkd does with it
	@lacks=$$(PYTHON=$(PYTHON) sh requirements/vllm.sh --lacks); \
	if [ -n "$$lacks" ]; then echo "skipped: vLLM for CPUs does not run here: $$lacks"; exit; fi; \
	$(MAKE) --no-print-directory $(VLLM)/.made && \
	SYNTHKD_VLLM_PYTHON=$(abspath $(VLLM)/bin/python) $(BIN)/pytest tests/vllm --timeout 600 $(ARGS)

bench: $(VENV)/.test  ## the benchmarks of tests/bench, printed as a table
	@for bench in tests/bench/bench_*.py; do $(BIN)/python "$$bench" || exit; done

# A peer that does not install here is told of and left out; the table is printed all the same.
bench-peers: $(VENV)/.test  ## the teacher gateway beside others, each in an environment of its own
	@mkdir -p .venv-peers; for peer in curator distilabel datadesigner; do \
		home=.venv-peers/$$peer; wanted=tests/bench/peers/$$peer.txt; \
		cmp -s $$wanted $$home/installed.txt && continue; \
		echo "installing $$peer into $$home"; rm -rf $$home; \
		{ $(BIN)/python -m venv $$home && $$home/bin/python -m pip install -q -r $$wanted && \
			cp $$wanted $$home/installed.txt; } >$$home.log 2>&1 || { \
			echo "$$peer does not install here, so it is left out: see $$home.log"; rm -rf $$home; }; \
	done
	@$(BIN)/python tests/bench/bench_gateway.py $(ARGS)

recorded: $(VENV)/.base  ## the pipelines on real recorded answers
	@if [ ! -d "$(SYNTHKD_DATA)" ]; then \
		echo "skipped: no recorded data at $(SYNTHKD_DATA); set SYNTHKD_DATA to its folder"; \
	else for pipeline in pipelines/*_recorded.yaml; do \
		echo "$$pipeline"; $(BIN)/synthkd run "$$pipeline" || exit; done; fi

clean:  ## forget the environments; what runs made (data/out, .synthkd) stays
	rm -rf $(VENV) $(VLLM)

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' Makefile | expand -t 12

# pip is seeded into the environment by hand where a Linux distribution has split off ensurepip.
$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "synthkd needs python3 >= 3.11; none was found. Install one, or: make PYTHON=/path/to/python3" >&2; \
		exit 1; fi
	@$(PYTHON) -m venv $(VENV) >$(VENV).log 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) >>$(VENV).log 2>&1 && \
		$(PYTHON) -m pip --python $(VENV) install -q pip >>$(VENV).log 2>&1; \
	} || { cat $(VENV).log >&2; rm -rf $(VENV) $(VENV).log; exit 1; }
	@rm -f $(VENV).log

$(VENV)/.base: pyproject.toml requirements/base.txt | $(BIN)/python
	@echo "installing synthkd into $(VENV)"
	@$(BIN)/python -m pip install -q -c requirements/base.txt -e '.[fast]'
	@touch $@

# The tools come on top of the same base, so the main job's stamp is fresh too.
$(VENV)/.test: pyproject.toml requirements/base.txt requirements/test.txt | $(BIN)/python
	@echo "installing synthkd and its test tools into $(VENV)"
	@$(BIN)/python -m pip install -q -c requirements/test.txt -e '.[fast,crowd,language,metrics,tokens,train,test]'
	@touch $(VENV)/.base $@

# Left half made it would be taken for whole, so it is thrown away.
$(VLLM)/.made: requirements/vllm.txt requirements/vllm.sh
	@echo "installing vLLM into $(VLLM)"
	@PYTHON=$(PYTHON) sh requirements/vllm.sh $(VLLM) >$(VLLM).log 2>&1 || { \
		cat $(VLLM).log >&2; rm -rf $(VLLM) $(VLLM).log; exit 1; }
	@rm -f $(VLLM).log; touch $@
