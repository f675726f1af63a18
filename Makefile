# `make demo` and `make test` do all set-up themselves: Python 3.10 to 3.13 is enough.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
# The versions that were tested, with hashes; make PACKAGES="-r requirements/dev.txt"
# takes the newest that are allowed.
PACKAGES ?= --require-hashes -r requirements/lock.txt

.PHONY: demo test test-slow lint lock clean

demo: $(VENV)/ready
	$(RUN) phantom.py input/PHANTOM --cases 8
	$(RUN) train.py --data input/PHANTOM --validation 1 --augment --name demo \
	    --filters 8 16 32 64 128 --epochs 8 --steps 60 --models output/demo --replace
	$(RUN) predict.py --data input/PHANTOM --model output/demo/demo.keras --overlay \
	    --output output/demo/maps --replace
	$(RUN) evaluate.py output/demo/maps --data input/PHANTOM --observer both
	@echo "look at output/demo/maps/report/report.html"

test: $(VENV)/ready
	$(RUN) -m pytest -n 2

test-slow: $(VENV)/ready
	$(RUN) -m pytest -n 2 -m slow

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# Keeps the versions that are there; remove requirements/lock.txt first for new ones.
lock: $(VENV)/ready
	$(RUN) -m pip install --quiet --disable-pip-version-check uv
	$(RUN) -m uv pip compile --quiet --universal --python-version 3.10 --no-annotate \
	    --no-header --no-emit-index-url --generate-hashes requirements/dev.txt \
	    --output-file requirements/lock.txt

$(VENV)/ready: requirements.txt $(wildcard requirements/*.txt)
	@$(PYTHON) -c "import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14) and \
	    'expected Python 3.10 to 3.13, for which TensorFlow has wheels, got ' \
	    + sys.version.split()[0] + ': give one with make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check $(PACKAGES)
	@touch $@

clean:
	rm -rf $(VENV) output
