"""What the repository itself promises: its top level, its house rules, its manual pages."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP_LEVEL = {
    "pyproject.toml", "gateway", "image", "ansible", "tests", "Vagrantfile", "README.md", "LICENSE", "CHANGELOG.md",
    "Makefile",
}  # fmt: skip
REGISTRIES = re.compile(r"pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian\.org")


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout; run it in a clone")
    return [ROOT / name for name in listing.stdout.split("\0") if name]


def test_top_level_stays_as_designed() -> None:
    tops = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {top for top in tops if not top.startswith(".")} <= TOP_LEVEL


def test_no_registry_is_named() -> None:
    here = Path(__file__).resolve()
    named = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.is_file() and path != here and REGISTRIES.search(path.read_text("utf-8", "replace"))
    ]
    assert named == []


@pytest.mark.skipif(shutil.which("man") is None, reason="needs man(1): apt-get install man-db")
@pytest.mark.parametrize("page", sorted((ROOT / "gateway" / "man").glob("*.[1-8]")), ids=lambda page: page.name)
def test_manual_page_has_no_warnings(page: Path) -> None:
    shown = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, text=True, check=False)
    assert shown.returncode == 0
    assert shown.stderr == ""
    assert "SYNOPSIS" in shown.stdout or "DESCRIPTION" in shown.stdout
