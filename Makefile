# The two commands that a newcomer needs: `make demo` and `make test`. All of them make the virtual environment on first
# use, with uv: wheels only, of the versions in installation/constraints.txt.

# A Python as uv takes it: versions, a program's name or its path. Below 3.12 MediaPipe brings its models along.
PYTHON ?= >=3.10,<3.12
VENV ?= .venv
# Processes that share the tests, each with one thread: one more than cores, for a fifth of the time a test waits.
WORKERS ?= 3
UV := $(or $(shell command -v uv),.uv/bin/uv)
export UV
# Compiled modules are kept also where the machine says not to: else each new process compiles PyTorch and nerfstudio
# again, for more than ten seconds.
export PYTHONDONTWRITEBYTECODE :=
# What installation/overrides.txt leaves out, and what only that would need.
NEVER := pyliblzfse opencv-python opencv-contrib-python keras mtcnn lz4 ml-dtypes namex optree rfc3987-syntax lark
RESOLVE := pip compile --quiet --only-binary :all: --overrides installation/overrides.txt --all-extras \
	--no-annotate --no-header pyproject.toml

.PHONY: demo test docs install constraints resolution FORCE

install: $(VENV)/.installed

demo: install
	$(VENV)/bin/aed demo --output demo

test: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 10

# The documentation as a site, in site/. The variable silences an announcement.
docs: install
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

$(VENV)/.python: FORCE | $(UV)
	@installation/make_environment.sh "$(UV)" "$(PYTHON)" "$(VENV)"

$(VENV)/.installed: pyproject.toml installation/constraints.txt installation/overrides.txt $(VENV)/.python
	@$(VENV)/bin/python installation/check_machine.py "$$($(UV) cache dir)"
	$(UV) pip install --python $(VENV) --only-binary :all: --overrides installation/overrides.txt \
		--constraints installation/constraints.txt --editable ".[dev]"
	@touch $@

# The newest versions that fit together, one set for all Pythons and systems as far as there is one.
constraints: | $(UV)
	$(UV) $(RESOLVE) --upgrade --universal --fork-strategy fewest --python-version 3.10 \
		$(NEVER:%=--no-emit-package %) \
		--output-file installation/constraints.txt

# Whether that set has wheels everywhere.
resolution: | $(UV)
	@for python in 3.10 3.11 3.12; do for system in x86_64-manylinux_2_35 windows aarch64-apple-darwin; do \
		MACOSX_DEPLOYMENT_TARGET=15.0 $(UV) $(RESOLVE) --constraints installation/constraints.txt \
			--python-version $$python --python-platform $$system --output-file /dev/null || exit 1; \
		echo "Python $$python, $$system: resolves to wheels only"; done; done
