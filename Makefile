# planet_ros: `make help` lists the targets.
#
# Every target that needs Python packages makes .venv first (once; again when setup.py, setup.cfg
# or pyproject.toml change). It takes ROS 2 from wheels: Linux on x86-64, Python 3.10 to 3.13.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The interpreter to make .venv with, for example `make test PYTHON=python3.12`.
PYTHON ?=
# The preset and the seeds of `make results`; ranges such as 100-119 too.
TASK ?=
SEEDS ?= 0 1 2
# What mypy infers can hang on the order of a set.
MYPY := PYTHONHASHSEED=0 $(BIN)/mypy
# Passed on to pytest, for example `make test PYTEST_ARGS='-k cem -x'`.
PYTEST_ARGS ?=

# A ROS installation that the user has sourced must not mix with the wheels in .venv.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH LD_PRELOAD VIRTUAL_ENV
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH COLCON_CURRENT_PREFIX
unexport RMW_IMPLEMENTATION ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION ROS_PACKAGE_PATH
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

.PHONY: help demo results test lint format docs policies clean

help: ## Print this list
	@echo "usage: make TARGET [PYTHON=python3.X]"
	@sed -nE 's/^([a-z]+):[^#]*## (.*)$$/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

demo: $(STAMP) ## Learn to swing up a pendulum, control it over ROS topics, report to runs/demo
	@$(BIN)/planet-ros demo --output runs/demo

results: $(STAMP) ## Train the preset TASK=pendulum with SEEDS="0 1 2", and check the targets
	@$(BIN)/python benchmarks/results.py $(TASK) --seeds $(SEEDS)

test: lint ## Run the linters, then every test
	@echo "==> pytest"
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP) ## Check style, types and package.xml
	@echo "==> ruff check"
	@$(BIN)/ruff check .
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "==> mypy"
	@$(MYPY) planet_ros sim_bridge benchmarks examples test/*.py
	@MYPYPATH=test:examples $(MYPY) test/unit # each folder of tests has a conftest.py of its own
	@MYPYPATH=test $(MYPY) test/ros
	@echo "==> package.xml"
	@$(BIN)/python -c "$$CHECK_PACKAGE_XML"

format: $(STAMP) ## Rewrite the code as the linters want it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(STAMP) ## Write docs/configuration.md and docs/interface.md anew from their schemas
	@mkdir -p docs
	@$(BIN)/planet-ros config --markdown > docs/configuration.md.new
	@mv docs/configuration.md.new docs/configuration.md
	@$(BIN)/planet-ros interface --markdown > docs/interface.md.new
	@mv docs/interface.md.new docs/interface.md

policies: $(STAMP) ## Write config/sros2/ anew from the running nodes
	@mkdir -p config/sros2
	@$(BIN)/planet-ros policy > config/sros2/simulation.xml.new
	@mv config/sros2/simulation.xml.new config/sros2/simulation.xml
	@for robot in pendulum base arm; do \
	  $(BIN)/planet-ros policy --robot $$robot > config/sros2/robot_$$robot.xml.new; \
	  mv config/sros2/robot_$$robot.xml.new config/sros2/robot_$$robot.xml; \
	done

clean: ## Remove builds and caches; .venv and runs/ stay
	@rm -rf build install log dist *.egg-info
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# colcon takes a package whose package.xml is invalid for a plain Python package, without a word.
define CHECK_PACKAGE_XML
import sys
from catkin_pkg.package import parse_package
warnings = []
parse_package("package.xml", warnings=warnings)
sys.exit("\n".join(warnings) or None)
endef
export CHECK_PACKAGE_XML

# The stamp comes last, so that an interrupted installation starts again.
$(STAMP): setup.py setup.cfg pyproject.toml
	@rm -f $@
	@bash -c "$$MAKE_VENV"
	@echo "==> Installing planet_ros and what it needs into $(VENV) (minutes, the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,ros,dev]'
	@touch $@
	@echo "==> $(VENV) is ready"

# Keeps .venv if it works. Otherwise makes it with the first interpreter that can.
define MAKE_VENV
set -eu
fail() { printf 'error: %s\n' "$$@" >&2; exit 1; }
supported() {
  "$$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}
if supported $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1; then exit 0; fi
case "$$(uname -s) $$(uname -m)" in
  'Linux x86_64') ;;
  *) fail "ROS 2 wheels exist for Linux on x86-64 only; this is $$(uname -s) on $$(uname -m)." ;;
esac
given='$(PYTHON)'
without_venv=
for python in $${given:-python3 python3.13 python3.12 python3.11 python3.10}; do
  supported "$$python" || continue
  if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then
    without_venv="$$without_venv $$python"
    continue
  fi
  echo "==> Making $(VENV) with $$("$$python" --version)"
  exec "$$python" -m venv --clear $(VENV)
done
if [ -n "$$without_venv" ]; then
  version="$$($${without_venv##* } -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  fail "Python $$version cannot make a virtual environment: ensurepip is missing." \
    "Install it, on Debian and Ubuntu with: sudo apt install python$$version-venv"
fi
if [ -n "$$given" ]; then
  found="$$("$$given" --version 2>/dev/null || echo nothing that runs)"
  fail "PYTHON=$$given is not a Python from 3.10 to 3.13 (found: $$found)."
fi
fail "No Python from 3.10 to 3.13 found (tried python3 and python3.13 to python3.10)." \
  "Install one, on Ubuntu with: sudo apt install python3 python3-venv" \
  "or name one: make PYTHON=/path/to/python3"
endef
export MAKE_VENV
