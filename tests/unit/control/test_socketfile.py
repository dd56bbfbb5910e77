"""The socket in the file system: its permissions from the first moment, stale ones replaced, living ones respected."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.control.client import ControlClient, connected
from gateway.control.socketfile import BACKLOG, listen
from gateway.errors import StartError
from tests.unit.control.driver import as_root, in_child


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_is_what_was_asked_for_whatever_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "control.sock"
    before = os.umask(umask)
    try:
        listen(str(path), mode, None).close()
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert mode_of(path) == mode


def test_the_file_never_has_another_mode_and_takes_nobody_before_it_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "control.sock"
    seen: list[tuple[int, str]] = []

    def look(real: Callable[..., None]) -> Callable[..., None]:
        def looking(*arguments: object, **more: object) -> None:
            try:
                connected(str(path), 1.0).close()
            except ConnectionRefusedError:
                seen.append((mode_of(path), "refused"))
            real(*arguments, **more)

        return looking

    monkeypatch.setattr(os, "chown", look(os.chown))
    listen(str(path), 0o640, os.getegid()).close()
    assert seen == [(0o640, "refused")]


@as_root
def test_it_gets_its_group_and_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    listen(str(path), 0o660, 54322).close()
    assert (path.stat().st_uid, path.stat().st_gid) == (0, 54322)


@as_root
def test_a_group_that_may_not_be_given_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)  # the folders above are root's alone

    def work() -> None:
        with pytest.raises(StartError, match="s: cannot make the control socket: Operation not permitted"):
            listen("s", 0o660, 54322)

    assert in_child(work, 54321, 54321) == 0


def test_it_answers_and_never_blocks(tmp_path: Path) -> None:
    with listen(str(tmp_path / "s"), 0o600, None) as sock:
        with pytest.raises(BlockingIOError):
            sock.accept()
        connected(str(tmp_path / "s"), 1.0).close()
        sock.accept()[0].close()


def test_missing_folders_are_made_for_everybody_to_enter(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        listen(str(tmp_path / "run" / "sockd" / "s"), 0o600, None).close()
    finally:
        os.umask(before)
    assert [mode_of(tmp_path / "run"), mode_of(tmp_path / "run" / "sockd")] == [0o755, 0o755]


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    listen(str(tmp_path / "s"), 0o600, None).close()
    assert mode_of(tmp_path) == 0o700


def test_a_relative_path_is_relative_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listen("s", 0o600, None).close()
    assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)


def test_what_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listen(path, 0o666, None).close()
    with listen(path, 0o600, None):
        assert mode_of(tmp_path / "s") == 0o600
        ControlClient.connect(path).close()


def test_a_daemon_that_answers_there_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with listen(path, 0o600, None):
        with pytest.raises(StartError) as refused:
            listen(path, 0o600, None)
        assert str(refused.value) == f"{path}: a sockd is running already and answers there"
        ControlClient.connect(path).close()


def test_a_daemon_that_is_stopped_with_a_full_queue_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.control.socketfile.PROBE_SECONDS", 0.05)
    path = str(tmp_path / "s")
    with listen(path, 0o600, None):
        waiting = [connected(path, 1.0) for _ in range(BACKLOG + 1)]
        with pytest.raises(StartError, match="is running already"):
            listen(path, 0o600, None)
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_not_taken_away(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    if kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
    with pytest.raises(StartError, match=r"/s: is there and is no socket; remove it"):
        listen(str(path), 0o600, None)
    assert os.path.lexists(path)


def test_a_socket_of_another_kind_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(StartError, match="cannot make the control socket: Protocol wrong type"):
            listen(str(path), 0o600, None)
    assert path.exists()


def test_a_path_that_is_longer_than_a_socket_name_works(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    path = str(folder / "control.sock")
    for _ in range(2):  # the second one finds the first one's file
        with listen(path, 0o660, None):
            assert mode_of(folder / "control.sock") == 0o660
            with pytest.raises(StartError, match="is running already"):
                listen(path, 0o660, None)
            ControlClient.connect(path).close()


@pytest.mark.parametrize("length", [106, 107, 108, 109])
def test_both_sides_of_the_longest_socket_name(tmp_path: Path, length: int) -> None:
    room = length - len(str(tmp_path)) - 1
    if room < 1:
        pytest.skip("the temporary folder's own path is too long")
    path = str(tmp_path / ("s" * room))
    with listen(path, 0o600, None):
        ControlClient.connect(path).close()
    assert os.listdir(tmp_path) == ["s" * room]


def test_a_folder_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"/file/s: cannot make the control socket: "):
        listen(str(tmp_path / "file" / "s"), 0o600, None)


def test_a_name_that_is_too_long_for_any_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot make the control socket: File name too long"):
        listen(str(tmp_path / ("s" * 300)), 0o600, None)
