"""The package's types, as basedpyright sees them."""

import subprocess
from pathlib import Path

import pytest

from tests.forks import BIN

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_types_fit():
    """Here, and not before the tests, because it takes a minute of one core."""
    run = subprocess.run([BIN / "basedpyright"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
