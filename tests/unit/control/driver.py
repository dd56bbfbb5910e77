"""The supervisor's kind of loop, driven by hand, with a clock that goes only when it is set; and raw peers for it."""

import json
import os
import resource
import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway.control.protocol import Live, Request
from gateway.control.server import Reply, Server, allowed_peers, listen
from tests.support.waiting import eventually

Value = TypeVar("Value")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become other users")


class Loop:
    """``selectors`` and nothing else."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.now = 1000.0
        self.lines: list[str] = []
        self._closing: list[Callable[[], None]] = [self.selector.close]

    def clock(self) -> float:
        """Monotonic seconds."""
        return self.now

    def trouble(self, line: str) -> None:
        """A line for the log."""
        self.lines.append(line)

    def turn(self, patience: float = 0.0) -> int:
        """One turn; how many descriptors had something to do."""
        ready = self.selector.select(patience)
        for key, _ in ready:
            key.data()
        return len(ready)

    def rest(self) -> None:
        """Turn until nothing is left to do; fails for a loop that spins."""
        for _ in range(10_000):
            if not self.turn():
                return
        raise AssertionError("the loop spins")

    def until(self, look: Callable[[], Value]) -> Value:
        """Turn until this is true."""

        def turned() -> Value:
            self.turn()
            return look()

        return eventually(turned, every=0.001)

    def closing(self, close: Callable[[], None]) -> None:
        """Call this at the end."""
        self._closing.append(close)

    def close(self) -> None:
        """The end of the test."""
        while self._closing:
            self._closing.pop()()


class Operator:
    """A peer of the control socket that keeps to nothing."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self.loop = loop
        self.sock = sock
        self._received = b""
        sock.setblocking(False)
        loop.closing(sock.close)

    def send(self, data: bytes) -> None:
        """All of it, while the loop turns."""

        def sent() -> bool:
            nonlocal data
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                return False
            return not data

        assert self.loop.until(sent)

    def line(self) -> Any:
        """The next line of an answer; None at the end of the connection."""

        def whole() -> bool:
            return b"\n" in self._received or not self._receive()

        assert self.loop.until(whole), "no line came"
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line) if line else None

    def answer(self) -> tuple[list[Any], Any]:
        """Rows, and the last line without its version."""
        rows = []
        while "row" in (line := self.line()):
            rows.append(line["row"])
        assert line.pop("v") == 1
        return rows, line

    def is_shut(self) -> bool:
        """Whether the daemon has closed the connection, and nothing is left to read."""
        return not self._receive() and not self._received

    def _receive(self) -> bool:
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._received += data
        return bool(data)


class House:
    """A control server on a real socket file."""

    def __init__(self, path: Path, handle: Callable[[Request, Reply], None]) -> None:
        self.path = str(path)
        self.loop = Loop()
        self.handle = handle
        listener = listen(self.path, 0o660, None)
        gate = allowed_peers(os.geteuid(), None)
        self.server = Server(listener, self.loop.selector, gate, self._handle, self.loop.trouble, self.loop.clock)
        self.loop.closing(self.server.close)

    def _handle(self, request: Request, reply: Reply) -> None:
        self.handle(request, reply)

    def operator(self) -> Operator:
        """A new connection, accepted."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        self.loop.rest()
        return Operator(self.loop, sock)


def live(**changes: Any) -> Live:
    """A session as it is shown."""
    fields: dict[str, Any] = {
        "session": "65a-1-7",
        "worker": 1,
        "state": "relaying",
        "client": "10.1.2.3:40000",
        "protocol": "socks5",
        "command": "connect",
        "user": "fred",
        "host": "ftp.example.com",
        "address": "192.0.2.7",
        "port": 21,
        "egress": "198.51.100.1:50000",
        "uplink": "wan1",
        "rule": "sockd.conf:17",
        "sent": 3,
        "received": 5,
        "seconds": 1.5,
    }
    return Live(**{**fields, **changes})


@contextmanager
def without_descriptors() -> Iterator[None]:
    """The next descriptor would be one too many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def in_child(work: Callable[[], None], user: int = 0, group: int = 0, groups: tuple[int, ...] = ()) -> int:
    """The exit status of a child that has become this user and done this: 0, or 1 if it raised."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if (user, group) != (0, 0):
                os.setgroups(groups)
                os.setresgid(group, group, group)
                os.setresuid(user, user, user)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
