"""What the tools learn of the host."""

import os
from pathlib import Path

import pytest

from gateway.daemon.host import user_files
from gateway.errors import ConfigError


def test_user_files_are_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "good"
    path.write_text("fred, julie # and nobody else\n")
    assert user_files(print).file(str(path)) == {"fred", "julie"}


def test_a_missing_user_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        user_files(print).file(str(tmp_path / "gone"))


def test_a_folder_is_no_user_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        user_files(print).file(str(tmp_path))


def test_groups_are_those_of_the_host() -> None:
    found = user_files(print)
    assert found.group("no-such-group-on-any-host") is None
    root = found.group("root")
    assert root is None or "root" in root or os.getuid() != 0
