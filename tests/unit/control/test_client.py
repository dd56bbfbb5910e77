"""The asking side: what it makes of every answer and of none, and the words for a daemon that can not be reached."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.control import client as module
from gateway.control.client import ControlClient, connected, socket_name
from gateway.control.protocol import (
    ControlError,
    Filter,
    Kill,
    Status,
    Tail,
    decode_request,
    encode_done,
    encode_error,
    encode_row,
)
from gateway.control.socketfile import BACKLOG, listen
from tests.unit.control.driver import as_root, in_child


class Far:
    """A client, and the other end of its connection, on which an answer waits before it is asked for."""

    def __init__(self) -> None:
        self.sock, near = socket.socketpair()
        self.client = ControlClient(near, timeout=0.05)

    def says(self, *lines: bytes) -> None:
        self.sock.sendall(b"".join(lines))

    def close(self) -> None:
        self.client.close()
        self.sock.close()


@pytest.fixture
def far() -> Iterator[Far]:
    made = Far()
    yield made
    made.close()


def test_what_is_asked_arrives_and_the_answer_comes_back_whole(far: Far) -> None:
    far.says(encode_row({"n": 1}), encode_row([2]), encode_done({"sum": 3}))
    request = Kill(Filter(user="fred"))
    assert far.client.ask(request) == ([{"n": 1}, [2]], {"sum": 3})
    assert decode_request(far.sock.recv(4096).removesuffix(b"\n")) == request


def test_one_connection_asks_again_and_again(far: Far) -> None:
    for number in range(3):
        far.says(encode_done(number))
        assert far.client.ask(Status()) == ([], number)


def test_an_answer_that_ends_with_nothing_is_an_answer(far: Far) -> None:
    far.says(encode_done(None), encode_done(1))
    assert far.client.ask(Status()) == ([], None)
    assert far.client.ask(Status()) == ([], 1)


def test_an_error_is_raised_in_its_own_words_and_the_next_request_is_answered(far: Far) -> None:
    far.says(encode_error("gateway.toml:3: no"), encode_done(1))
    with pytest.raises(ControlError) as refused:
        far.client.ask(Status())
    assert str(refused.value) == "gateway.toml:3: no"
    assert far.client.ask(Status()) == ([], 1)


def test_rows_come_one_by_one_and_the_end_after_them(far: Far) -> None:
    far.says(encode_row(1))
    rows = far.client.rows(Tail())
    assert next(rows) == 1
    far.says(encode_row(2), encode_done("over"))
    assert list(rows) == [2]
    assert far.client.done == "over"


def test_an_error_after_rows_is_raised_after_them(far: Far) -> None:
    far.says(encode_row(1), encode_error("broke off"))
    rows = far.client.rows(Tail())
    assert next(rows) == 1
    with pytest.raises(ControlError, match="broke off"):
        next(rows)


def test_who_stops_in_the_middle_closes_the_connection_so_that_nothing_is_mixed_up(far: Far) -> None:
    far.says(encode_row(1), encode_row(2))
    rows = far.client.rows(Tail())
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    with pytest.raises(ControlError, match="is closed"):
        far.client.ask(Status())
    while far.sock.recv(4096):
        pass


BROKEN = [
    pytest.param(b"", "closed the connection before its answer was whole", id="nothing at all"),
    pytest.param(encode_row(1), "closed the connection before its answer was whole", id="rows without an end"),
    pytest.param(encode_done(1)[:-1], "closed the connection before its answer was whole", id="half a line"),
    pytest.param(b"hello\n", "not understood: ", id="another protocol"),
    pytest.param(b'{"v":7,"done":1}\n', "sockd speaks version 7 of the control protocol", id="another version"),
]


@pytest.mark.parametrize(("answer", "text"), BROKEN)
def test_a_broken_answer_is_one_clear_line(far: Far, answer: bytes, text: str) -> None:
    far.says(answer)
    far.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(ControlError, match=text):
        far.client.ask(Status())


def test_an_answer_that_does_not_come_in_time_is_said(far: Far) -> None:
    with pytest.raises(ControlError, match=r"sockd has not answered for 0\.05 seconds"):
        far.client.ask(Status())


def test_a_line_without_end_is_given_up(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER", 1000)
    far.says(b"x" * 1001)
    with pytest.raises(ControlError, match="a line of more than 1000 bytes"):
        far.client.ask(Status())


def test_who_is_turned_away_before_he_asks_reads_why(far: Far) -> None:
    far.says(encode_error("that takes root"))
    far.sock.close()
    with pytest.raises(ControlError, match="that takes root"):
        far.client.ask(Status())


def test_a_daemon_that_takes_no_request_is_said(far: Far) -> None:
    far.client._sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        _fill(far.client._sock)
    with pytest.raises(ControlError, match="sockd does not take the request: timed out"):
        far.client.ask(Status())


def _fill(sock: socket.socket) -> None:
    while True:
        sock.send(b"x" * 65536)


def test_an_interrupt_ends_the_wait_for_a_row_and_the_connection(far: Far) -> None:
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            next(far.client.rows(Tail()))
    finally:
        signal.signal(signal.SIGALRM, previous)
    with pytest.raises(ControlError, match="is closed"):
        far.client.ask(Status())


# Connecting


def refusal(path: str, timeout: float = 10.0) -> str:
    with pytest.raises(ControlError) as refused:
        ControlClient.connect(path, timeout)
    return str(refused.value)


def test_without_a_socket_nobody_answers(tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    assert refusal(path) == f"no sockd answers on {path}: No such file or directory; is it running?"
    path = f"{tmp_path}/{'x' * 120}/s"
    assert refusal(path) == f"no sockd answers on {path}: No such file or directory; is it running?"


def test_where_a_daemon_died_nobody_answers(tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    listen(path, 0o600, None).close()
    assert refusal(path) == f"no sockd answers on {path}: Connection refused; is it running?"


def test_a_daemon_that_does_not_accept_is_told_from_none(tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    with listen(path, 0o600, None):
        waiting = [connected(path, 1.0) for _ in range(BACKLOG + 1)]
        assert refusal(path, 0.05) == f"{path}: a sockd is there, and takes no connection; is it stopped?"
        for sock in waiting:
            sock.close()


def test_another_failure_is_said_as_it_is(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(f"{tmp_path}/s")
        assert refusal(f"{tmp_path}/s") == f"{tmp_path}/s: cannot ask sockd: Protocol wrong type for socket"


@as_root
@pytest.mark.parametrize(
    ("mode", "group", "text"),
    [
        pytest.param(0o660, 4, "s: only root and group adm may ask sockd", id="a group by name"),
        pytest.param(0o660, 7777777, "s: only root and group 7777777 may ask sockd", id="a group without a name"),
        pytest.param(0o660, 0, "s: only root may ask sockd", id="the group of root"),
        pytest.param(0o600, 4, "s: only root may ask sockd", id="a group that may not"),
    ],
)
def test_who_may_is_said_as_far_as_the_file_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, group: int, text: str
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the folders above are root's alone

    def ask() -> None:
        assert refusal("s") == text

    with listen("s", mode, group):
        assert in_child(ask, 54321, 54321) == 0


@as_root
def test_a_folder_that_may_not_be_entered_tells_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)

    def ask() -> None:
        assert refusal("run/s") == "run/s: permission denied; ask as root"

    with listen("run/s", 0o666, None):
        assert in_child(ask, 54321, 54321) == 0


def test_a_name_that_fits_is_used_as_it_is_and_a_longer_one_by_its_folder(tmp_path: Path) -> None:
    with socket_name("x" * 107) as name:
        assert name == "x" * 107
    before = len(os.listdir("/proc/self/fd"))
    path = f"{tmp_path}/{'y' * 108}"
    with socket_name(path) as name:
        assert os.path.samestat(os.stat(os.path.dirname(name)), os.stat(tmp_path))
        assert os.path.basename(name) == "y" * 108
    assert len(os.listdir("/proc/self/fd")) == before
