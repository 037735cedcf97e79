# Two commands: `make serve` and `make test`. Each makes what it needs, in .venv.
# The newest Python that has all packages, unless this names another.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
# Many tests wait for processes most of their time, so three at once keep two processors busy; with six some wait too long.
JOBS ?= 3

# Each kind of server that the tests know; one that is not here is left out.
REDIS_SERVERS ?= system valkey redis62

.PHONY: serve test test-slow test-redis bench soak fuzz attack overload sustained lint format docs clean help
.DEFAULT_GOAL := help

help:
	@echo "make serve    Redis, one worker and the web server on http://127.0.0.1:5000, until Ctrl-C"
	@echo "make test     the tests, and what this machine cannot run and why"
	@echo "make test-slow   the others: a browser, services started again and again, further kinds of Redis"
	@echo "make test-redis  the tests of whole services, on each Redis: that on the PATH, Valkey 9, Redis 6.2"
	@echo "make soak     ten minutes of killed workers and restarted Redis under load (SOAK=\"--seconds 60\")"
	@echo "make fuzz     5,000 broken and hostile uploads against a running service (FUZZ=\"--seed 2\")"
	@echo "make attack   small requests that try to stop a running service (ATTACK=\"--through nginx\")"
	@echo "make overload ten times as many clients as may wait, beside five times (OVERLOAD=\"--queue 64\")"
	@echo "make sustained  loads of 2, 5 and 10 times what the model can do, for 90 s each (SUSTAINED=\"--seconds 30\")"
	@echo "make bench    the service beside the bare model: a table, JSON and a picture in bench/results"
	@echo "make lint     ruff and mypy"
	@echo "make format   ruff, writing"
	@echo "make docs     docs/settings.md and the samples, from their sources"
	@echo "make clean    remove $(VENV) and caches"

serve: $(VENV)/.serve
	@$(BIN)/python -m scripts.serve

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow"

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m slow

test-redis: $(VENV)/.dev
	@for kind in $(REDIS_SERVERS); do \
	  $(BIN)/python -c 'import sys; from scripts.local_redis import binaries; sys.exit(sys.argv[1] not in binaries())' $$kind || \
	    { echo "No Redis of the kind $$kind here."; continue; }; \
	  echo "== $$kind"; \
	  REDIS_SERVER=$$kind $(BIN)/python -m pytest -n $(JOBS) --dist loadfile \
	    tests/faults tests/e2e || exit 1; \
	done

bench: $(VENV)/.dev
	@$(BIN)/python -m scripts.install requirements-bench.txt
	$(BIN)/python -m bench.throughput

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

overload: $(VENV)/.dev
	$(BIN)/python -m bench.overload $(OVERLOAD)

sustained: $(VENV)/.dev
	$(BIN)/python -m bench.sustained $(SUSTAINED)

soak: $(VENV)/.dev
	$(BIN)/python -m bench.soak $(SOAK)

fuzz: $(VENV)/.dev
	$(BIN)/python -m bench.fuzz $(FUZZ)

attack: $(VENV)/.dev
	$(BIN)/python -m bench.attack $(ATTACK)

docs: $(VENV)/.dev
	$(BIN)/python -m scripts.settings_page
	$(BIN)/python -m scripts.draw_samples

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@PYTHON="$(PYTHON)" sh scripts/make_venv.sh $(VENV)

# The stamps are made last, so that an installation that was broken off is taken up again.
$(VENV)/.serve: requirements-serve.txt requirements-openvino.txt requirements.txt | $(BIN)/python
	@echo "Installing what the servers need (TensorFlow is large: half a gigabyte, once) ..."
	@$(BIN)/python -m scripts.install requirements-serve.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements-serve.txt requirements-openvino.txt requirements.txt | $(BIN)/python
	@echo "Installing what the tests need (TensorFlow is large: half a gigabyte, once) ..."
	@$(BIN)/python -m scripts.install requirements-dev.txt
	@touch $@ $(VENV)/.serve
