"""The Ansible tree by the rules of ansible-lint, profile production."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("ansible-lint")


@pytest.mark.skipif(not PROGRAM.exists(), reason="needs ansible-lint: .venv/bin/pip install ansible-lint")
def test_ansible_lint_finds_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [PROGRAM, "--offline", "--profile", "production", "--nocolor"],
        cwd=ROOT / "ansible",
        env={
            **os.environ,
            "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
