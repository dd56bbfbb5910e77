"""The daemon's logs as tests have them: sinks that obey, a clock that stands still, the host's ends of the logs."""

import fcntl
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gateway.session.record import Record, Result
from gateway.system.journal import FLUSH_SECONDS, Journal
from gateway.system.sinks import DatagramSink, Sink

#: 2026-01-02 03:04:05.678 UTC
NOW = 1767323045.678
HEAD = f"2026-01-02T03:04:05Z sockd[{os.getpid()}]: "
NOWHERE = "/nonexistent/log"
SYSLOG = rf"<(\d+)>[A-Z][a-z]{{2}} [ 123]\d \d\d:\d\d:\d\d sockd\[{os.getpid()}\]: (.*)"


def record(number: int = 1) -> Record:
    return Record(
        "2026-01-02T03:04:05.678Z", f"t-{number:x}", "10.1.2.3:40000", "socks4", "connect", "fred", "none",
        "203.0.113.9", "203.0.113.9", 80, "192.0.2.254:40001", None, None,
        "sockd.conf:1", None, "permitted by sockd.conf:1",
        Result.CONNECTED, 1, 2, 0.5, "the client closed",
    )  # fmt: skip


class FakeSink:
    """Takes lines, refuses them, or is broken, as it is told."""

    chunk = 1 << 16

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.takes = True
        self.broken: OSError | None = None
        self.asked = 0

    def put(self, line: bytes) -> bool:
        """As `Sink`."""
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        if self.takes:
            self.taken.append(line)
        return self.takes

    @property
    def lines(self) -> list[str]:
        """The texts of the lines, without their heads."""
        return [line.split("]: ", 1)[1] for line in b"".join(self.taken).decode().splitlines()]


class Schedule:
    """Keeps what was asked for later."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, function: Callable[[], None]) -> None:
        self.waiting.append((seconds, function))

    def pass_time(self, upto: float = FLUSH_SECONDS) -> None:
        """What was asked for within so many seconds happens now."""
        due = [function for seconds, function in self.waiting if seconds <= upto]
        self.waiting = [(seconds, function) for seconds, function in self.waiting if seconds > upto]
        for function in due:
            function()


class Desk:
    """A journal with a schedule, as a worker has it; its alarms go nowhere unless ``options`` say where."""

    def __init__(self, classic: Sink | None = None, records: Sink | None = None, **options: Any) -> None:
        self.now = NOW
        options.setdefault("syslog", NOWHERE)
        self.journal = Journal(classic, records, wall=lambda: self.now, **options)
        self.schedule = Schedule()
        self.journal.attach(self.schedule)


class Host:
    """A socket of the host that takes datagrams."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._sock: socket.socket | None = None

    def start(self) -> None:
        """Listen, as after a boot."""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self.path)
        self._sock.setblocking(False)

    def stop(self) -> None:
        """Be gone."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            os.unlink(self.path)

    def datagrams(self) -> Iterator[tuple[bytes, list[int]]]:
        """What came, and the descriptors that came with it."""
        assert self._sock is not None
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._sock, 1 << 20, 1)
            except BlockingIOError:
                return
            yield data, descriptors


class Syslogd(Host):
    """The other end of /dev/log."""

    def read(self) -> list[tuple[int, str]]:
        """Priority and text of what came."""
        found: list[tuple[int, str]] = []
        for line, _ in self.datagrams():
            parts = re.fullmatch(SYSLOG, line.decode())
            assert parts, line
            found.append((int(parts[1]), parts[2]))
        return found


def hang_up(host: Host, sink: DatagramSink) -> None:
    """A sink lives as long as its process; it lets its socket go when nobody listens."""
    host.stop()
    assert not sink.put(b"x")


class Journald(Host):
    """The other end of journald's socket; reads what the native protocol says."""

    def read(self) -> list[dict[str, str]]:
        """The entries that came."""
        found = []
        for data, descriptors in self.datagrams():
            for descriptor in descriptors:
                assert data == b""
                data = read_sealed(descriptor)
            found.append(dict(entry_fields(data)))
        return found


def read_sealed(fd: int) -> bytes:
    """What is in a file in memory, which nobody may be able to change any more."""
    with open(fd, "rb") as file:
        wanted = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == wanted
        file.seek(0)
        return file.read()


def entry_fields(data: bytes) -> Iterator[tuple[str, str]]:
    """Names and values of one entry, in either form."""
    while data:
        line, found, rest = data.partition(b"\n")
        assert found, "a field without its end"
        name, is_short, value = line.partition(b"=")
        if is_short:
            data = rest
        else:
            size = int.from_bytes(rest[:8], "little")
            value, end, data = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            assert end == b"\n"
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name), name
        yield name.decode(), value.decode()
