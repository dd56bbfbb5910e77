"""The pid file: a lock, so that it can not be stale."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import StartError
from gateway.system.pidfile import PidFile

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")

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


def test_what_kill_9_left_is_no_hindrance(tmp_path: Path) -> None:
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


UNPRIVILEGED = """
import os, sys
from gateway.system.pidfile import PidFile
held = PidFile(sys.argv[1])
held.write()
os.setresuid(65534, 65534, 65534)
held.remove()
"""


@needs_root
def test_a_daemon_that_gave_up_root_leaves_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "sockd.pid"
    done = subprocess.run([sys.executable, "-c", UNPRIVILEGED, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text() == ""
    again = PidFile(str(path))
    again.write()
    assert path.read_text() == f"{os.getpid()}\n"
    again.remove()
    assert not path.exists()


def refusal(path: Path) -> str:
    with pytest.raises(StartError) as caught:
        PidFile(str(path))
    return str(caught.value)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "sockd.pid", tmp_path / "precious"
    other.write_text("precious")
    path.symlink_to(other)
    assert refusal(path) == f"{path}: cannot open the pid file: Too many levels of symbolic links"
    path.unlink()
    path.hardlink_to(other)
    assert refusal(path).startswith(f"{path}: no pid file")
    assert other.read_text() == "precious"


def test_a_fifo_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "sockd.pid"
    os.mkfifo(path)
    assert refusal(path) == f"{path}: no pid file: not an ordinary file, or one with a second name; remove it"


@needs_root
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sockd.pid"
    path.write_text("1\n")
    os.chown(path, 65534, -1)
    assert refusal(path) == f"{path}: the pid file belongs to user 65534; remove it"
    assert path.read_text() == "1\n"
    os.chown(path, 0, -1)
    PidFile(str(path)).remove()


def test_a_file_that_its_daemon_took_away_meanwhile_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sockd.pid"
    first = PidFile(str(path))
    real = os.open

    def opened(*arguments: object) -> int:
        """Between opening and locking, the first daemon ends."""
        monkeypatch.setattr(os, "open", real)
        descriptor: int = real(*arguments)  # type: ignore[arg-type]
        first.remove()
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    second = PidFile(str(path))
    second.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert refusal(path) == f"{path}: sockd is running already, as process {os.getpid()}"
    second.remove()


def test_a_file_that_never_stays_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sockd.pid"
    real = os.open

    def opened(*arguments: object) -> int:
        descriptor: int = real(*arguments)  # type: ignore[arg-type]
        path.unlink()
        return descriptor

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "open", opened)
    assert refusal(path) == f"{path}: the pid file vanishes again and again; something else removes it"
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_file_of_a_successor_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "sockd.pid"
    first = PidFile(str(path))
    path.unlink()
    second = PidFile(str(path))
    second.write()
    first.remove()
    assert path.read_text() == f"{os.getpid()}\n"
    second.remove()
