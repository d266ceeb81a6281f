# The two commands a newcomer needs: `make demo` and `make test`. Both make the virtual environment on first use.
PYTHON ?= python3
VENV ?= .venv

.PHONY: demo test install

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet -e ".[dev]"
	touch $@

demo: install
	$(VENV)/bin/aed demo --output demo

test: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pytest -q
