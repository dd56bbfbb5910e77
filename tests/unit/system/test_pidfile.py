"""The pid file: a lock, so that it can not be stale."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import StartError
from gateway.system.pidfile import PidFile

HOLD = """
import os, sys
from gateway.system.pidfile import PidFile
held = PidFile(sys.argv[1])
held.write()
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_it_holds_the_number_of_the_process_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "sockd.pid"
    mine = PidFile(str(path))
    mine.write()
    assert path.read_text() == f"{os.getpid()}\n"
    mine.write()
    assert path.read_text() == f"{os.getpid()}\n"
    mine.remove()
    assert not path.exists()


def test_a_shorter_number_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    path = tmp_path / "sockd.pid"
    path.write_text("123456789012345\n")
    mine = PidFile(str(path))
    mine.write()
    assert path.read_text() == f"{os.getpid()}\n"
    mine.remove()


def test_a_second_daemon_is_refused_with_the_number_of_the_first(tmp_path: Path) -> None:
    path = str(tmp_path / "sockd.pid")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        number = first.stdout.readline().strip()
        with pytest.raises(StartError) as caught:
            PidFile(path)
        assert str(caught.value) == f"{path}: sockd is running already, as process {number}"
        first.kill()
    again = PidFile(path)
    again.write()
    assert Path(path).read_text() == f"{os.getpid()}\n"
    again.remove()


def test_a_daemon_that_has_not_written_its_number_yet_is_unknown(tmp_path: Path) -> None:
    path = str(tmp_path / "sockd.pid")
    first = PidFile(path)
    with pytest.raises(StartError, match="as process unknown"):
        PidFile(path)
    first.remove()


def test_a_file_that_is_left_over_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "sockd.pid"
    path.write_text("1\n")
    mine = PidFile(str(path))
    mine.write()
    mine.remove()


def test_a_folder_that_is_missing_is_one_clear_line(tmp_path: Path) -> None:
    path = f"{tmp_path}/missing/sockd.pid"
    with pytest.raises(StartError) as caught:
        PidFile(path)
    assert str(caught.value) == f"{path}: cannot open the pid file: No such file or directory"


def test_removing_what_somebody_else_removed_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "sockd.pid"
    mine = PidFile(str(path))
    path.unlink()
    mine.remove()


def test_children_do_not_get_it_by_exec(tmp_path: Path) -> None:
    mine = PidFile(str(tmp_path / "sockd.pid"))
    assert not os.get_inheritable(mine.fd)
    mine.remove()
