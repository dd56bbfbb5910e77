"""What the service manager is told, against a socket that stands in for its own."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.system.notify import STATUS_BYTES, Notifier


class Manager:
    """The manager's end: each datagram as the lines that it holds."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)

    def heard(self) -> list[list[str]]:
        """All datagrams that wait."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(1 << 16).decode().split("\n"))
            except BlockingIOError:
                return found


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def manager(path: str) -> Iterator[Manager]:
    made = Manager(path)
    yield made
    made.socket.close()


@pytest.fixture
def notifier(path: str, manager: Manager) -> Iterator[Notifier]:
    assert manager.heard() == []
    with closing(Notifier(path, 1.0, lambda: 1_234_567_890)) as made:
        yield made


SAID: list[tuple[str, Callable[[Notifier], None], list[str]]] = [
    ("ready with its status", lambda it: it.ready("2 workers"), ["READY=1", "STATUS=2 workers"]),
    ("a status alone", lambda it: it.status("14 sessions"), ["STATUS=14 sessions"]),
    ("a reload with its time, microseconds", lambda it: it.reloading(), ["RELOADING=1", "MONOTONIC_USEC=1234567"]),
    ("the end", lambda it: it.stopping(), ["STOPPING=1"]),
    ("a sign of life", lambda it: it.watchdog(), ["WATCHDOG=1"]),
    ("no second line by a status", lambda it: it.status("a\nREADY=1\r\x00b"), ["STATUS=a READY=1  b"]),
    ("a surrogate as a blank", lambda it: it.status("a\udc80b"), ["STATUS=a b"]),
]


@pytest.mark.parametrize(("say", "lines"), [pytest.param(*case[1:], id=case[0]) for case in SAID])
def test_each_word_is_one_datagram(
    notifier: Notifier, manager: Manager, say: Callable[[Notifier], None], lines: list[str]
) -> None:
    say(notifier)
    assert manager.heard() == [lines]


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_a_long_status_is_cut_between_letters(notifier: Notifier, manager: Manager, letter: str) -> None:
    notifier.status("." + letter * 5000)
    ((line,),) = manager.heard()
    assert STATUS_BYTES - 1 <= len(line.removeprefix("STATUS=").encode()) <= STATUS_BYTES


def test_an_abstract_socket_is_found() -> None:
    name = f"sockd-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    with closing(manager.socket), closing(Notifier(f"@{name}")) as notifier:
        notifier.stopping()
        assert manager.heard() == [["STOPPING=1"]]


@pytest.mark.parametrize("address", ["", "relative/path", "vsock:2:1234", "/missing/notify", "/" + "x" * 200, "@"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    with closing(Notifier(address, 1.0)) as notifier:
        notifier.ready("here")
        notifier.status("still here")
        notifier.reloading()
        notifier.watchdog()
        notifier.stopping()


def test_a_manager_that_starts_again_is_found_again(path: str, manager: Manager, notifier: Notifier) -> None:
    notifier.ready("first")
    assert len(manager.heard()) == 1
    manager.socket.close()
    os.unlink(path)
    notifier.status("lost")
    second = Manager(path)
    with closing(second.socket):
        notifier.watchdog()
        assert second.heard() == [["STATUS=lost", "WATCHDOG=1"]]
        notifier.watchdog()
        assert second.heard() == [["WATCHDOG=1"]]


def fill(notifier: Notifier) -> None:
    """Until the manager's queue takes no more (net.unix.max_dgram_qlen); what is said last was not taken."""
    for _ in range(10_000):
        notifier.status("noise")
        if notifier._unsent:
            return
    raise AssertionError("the queue of the socket never fills")


def test_a_manager_that_does_not_read_is_not_waited_for_and_told_later(notifier: Notifier, manager: Manager) -> None:
    fill(notifier)
    notifier.ready("serving")
    notifier.status("14 sessions")
    manager.heard()
    notifier.watchdog()
    assert manager.heard() == [["STATUS=14 sessions", "READY=1", "WATCHDOG=1"]]


def test_only_the_last_state_is_told_later(notifier: Notifier, manager: Manager) -> None:
    fill(notifier)
    notifier.reloading()
    notifier.ready("reloaded")
    manager.heard()
    notifier.watchdog()
    ((*lines,),) = manager.heard()
    assert sorted(lines) == ["READY=1", "STATUS=reloaded", "WATCHDOG=1"]


def test_once_closed_it_is_silent(notifier: Notifier, manager: Manager) -> None:
    notifier.close()
    notifier.ready("from a child")
    notifier.close()
    assert manager.heard() == []


def test_without_a_watchdog_there_is_no_sign_of_life(path: str, manager: Manager) -> None:
    with closing(Notifier(path)) as notifier:
        notifier.watchdog()
    assert manager.heard() == []


WATCHDOGS = [
    pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, 15.0, id="half of the time"),
    pytest.param({"WATCHDOG_USEC": "1"}, 5e-7, id="the shortest, for whoever reads it"),
    pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, None, id="a watchdog of another process"),
    pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "me"}, None, id="an owner that is no number"),
    pytest.param({"WATCHDOG_PID": "77"}, None, id="an owner without a time"),
    pytest.param({"WATCHDOG_USEC": "0"}, None, id="no time at all"),
    pytest.param({"WATCHDOG_USEC": "-5"}, None, id="a time below nothing"),
    pytest.param({"WATCHDOG_USEC": "٣"}, None, id="a digit of another script"),
    pytest.param({}, None, id="nothing"),
]


@pytest.mark.parametrize(("variables", "seconds"), WATCHDOGS)
def test_the_watchdog_of_the_environment(variables: dict[str, str], seconds: float | None) -> None:
    environ = {"HOME": "/", **variables}
    with closing(Notifier.from_environment(environ, pid=77)) as notifier:
        assert notifier.watchdog_seconds == seconds
    assert environ == {"HOME": "/"}


def test_the_socket_of_the_environment_is_for_this_process_only(path: str, manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    with closing(Notifier.from_environment(environ)) as notifier:
        assert environ == {}
        assert notifier.watchdog_seconds == 1.0
        notifier.ready("here")
    assert manager.heard() == [["READY=1", "STATUS=here"]]
