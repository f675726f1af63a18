# `make demo` and `make test` do all set-up themselves: Python 3.10 or newer is enough.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: demo test lint clean

demo: $(VENV)/ready
	$(RUN) phantom.py input/PHANTOM --cases 8
	$(RUN) train.py --data input/PHANTOM --validation 1 --augment --name demo \
	    --filters 8 16 32 64 128 --epochs 8 --steps 60
	$(RUN) predict.py --data input/PHANTOM --model models/demo.keras --overlay
	$(RUN) evaluate.py output/demo --data input/PHANTOM --observer both
	@echo "look at output/demo/report.html"

test: $(VENV)/ready
	$(RUN) -m pytest -n 2

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

$(VENV)/ready: requirements.txt requirements/dev.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and \
	    'expected Python 3.10 or newer, got ' + sys.version.split()[0] + \
	    ': give one with make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@

clean:
	rm -rf $(VENV) output
