"""Style and types, as tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LINTERS = [
    pytest.param([sys.executable, "-m", "ruff", "check", "."], id="ruff finds nothing"),
    pytest.param([sys.executable, "-m", "ruff", "format", "--check", "."], id="every file is formatted"),
    pytest.param([sys.executable, "-m", "mypy"], id="types hold strictly"),
]


@pytest.mark.parametrize("command", LINTERS)
def test_linter(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
