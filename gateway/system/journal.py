"""Where the daemon writes: classic lines to syslog, a file or stderr; JSON records to a file or stderr.

Lines are gathered and written together a few times a second, so that a record costs the data path no system call.
A target that is slow or dead never blocks: what it does not take waits in a bounded queue, what does not fit is lost,
counted, and the loss is said in the log itself as soon as the target takes lines again.
"""

import os
import select
import socket
import stat
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from gateway.config.settings import FACILITIES
from gateway.errors import StartError
from gateway.session.record import Record, json_lines

QUEUE_BYTES = 1 << 20
FLUSH_SECONDS = 0.05
CHUNK_BYTES = 4096
"""A pipe that poll(2) calls writable takes at least this much without blocking (PIPE_BUF, pipe(7))."""

NOTICE, ERROR = 5, 3


class Sink(Protocol):
    """Takes finished lines; returns False for one that it does not take now. Raises OSError when it is broken."""

    def put(self, line: bytes) -> bool:
        """Write one line without blocking."""


class FileSink:
    """A descriptor opened for appending: a file, a terminal, a pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._can_block = not stat.S_ISREG(os.fstat(fd).st_mode)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def put(self, line: bytes) -> bool:
        """Write lines that belong together; one longer than `CHUNK_BYTES` may be torn if the reader is slow."""
        if not self._can_block:
            os.write(self.fd, line)
            return True
        for start in range(0, len(line), CHUNK_BYTES):
            if not self._poll.poll(100 if start else 0):
                return start > 0
            os.write(self.fd, line[start : start + CHUNK_BYTES])
        return True


class SyslogSink:
    """The host's syslog socket; connected anew when syslogd was restarted."""

    def __init__(self, path: str = "/dev/log") -> None:
        self._path = path
        self._sock: socket.socket | None = None

    def put(self, line: bytes) -> bool:
        """Send one datagram."""
        try:
            if self._sock is None:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                self._sock = sock
                sock.connect(self._path)
            self._sock.send(line)
        except BlockingIOError:
            return False
        except OSError:
            if self._sock is not None:
                self._sock.close()
                self._sock = None
            return False
        return True


class Channel:
    """One sink, the lines that wait for it, and the count of those that were lost."""

    def __init__(self, sink: Sink | None, loss_line: Callable[[int], bytes], joined: bool) -> None:
        """``sink`` None writes nowhere. ``joined`` sinks get all lines of a flush in one piece."""
        self._sink = sink
        self._loss_line = loss_line
        self._joined = joined
        self._queue: deque[bytes] = deque()
        self._lost = 0

    def flush(self, lines: list[bytes]) -> bool:
        """Write what waited and then these; whether all of it was taken."""
        queue = self._queue
        sink = self._sink
        if sink is None:
            return True
        queue.extend(lines)
        try:
            self._put(sink, queue)
        except OSError:
            self._lost += len(queue)
            queue.clear()
        waiting = sum(map(len, queue))
        while waiting > QUEUE_BYTES:
            waiting -= len(queue.popleft())
            self._lost += 1
        return not queue

    def _put(self, sink: Sink, queue: deque[bytes]) -> None:
        if self._lost and sink.put(self._loss_line(self._lost)):
            self._lost = 0
        if not self._joined:
            while queue and sink.put(queue[0]):
                queue.popleft()
        elif queue and sink.put(b"".join(queue)):
            queue.clear()


class Journal:
    """Both logs of one process. Lines and records are only gathered here; `flush` writes them."""

    def __init__(
        self,
        classic: Sink | None,
        records: Sink | None,
        facility: int = FACILITIES["daemon"],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Until `attach` every line is written at once. ``wall`` gives seconds since the epoch."""
        self._wall = wall
        self._pid = os.getpid()
        self._syslog = isinstance(classic, SyslogSink)
        self._facility = facility
        self._classic = Channel(classic, lambda lost: self._dressed(f"{lost} lines were lost", ERROR), not self._syslog)
        self._json = Channel(records, lambda lost: b'{"lost":%d}\n' % lost, True)
        self._lines: list[bytes] = []
        self._records: list[Record] | None = None if records is None else []
        self._schedule: Callable[[float, Callable[[], None]], object] | None = None
        self._scheduled = False
        self._second = 0
        self._stamp = ""
        self._head = ""
        self._millisecond = 0
        self._now = ""

    def attach(self, schedule: Callable[[float, Callable[[], None]], object]) -> None:
        """From now on gather lines, and write them by ``schedule(seconds, function)``; also names the new process."""
        self._schedule = schedule
        self._pid = os.getpid()
        self._second = 0

    def line(self, text: str, level: int = NOTICE) -> None:
        """A classic line."""
        self._lines.append(self._dressed(text, level))
        if not self._scheduled:
            self._soon()

    def trouble(self, text: str) -> None:
        """A line of the error class."""
        self.line(text, ERROR)

    def record(self, record: Record) -> None:
        """A session's record."""
        if self._records is not None:
            self._records.append(record)
            if not self._scheduled:
                self._soon()

    def timestamp(self) -> str:
        """Now, as RFC 3339 in UTC with milliseconds."""
        millisecond = int(self._wall() * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            second, rest = divmod(millisecond, 1000)
            if second != self._second:
                self._tick(second)
            self._now = f"{self._stamp}.{rest:03d}Z"
        return self._now

    def flush(self) -> None:
        """Write what waits; try again later if a target does not take it."""
        self._scheduled = False
        lines, self._lines = self._lines, []
        done = self._classic.flush(lines)
        if self._records is not None:
            records, self._records = self._records, []
            done = self._json.flush([json_lines(records)] if records else []) and done
        if not done:
            self._soon()

    def _soon(self) -> None:
        if self._schedule is not None:
            self._scheduled = True
            self._schedule(FLUSH_SECONDS, self.flush)
        elif self._lines or self._records:
            self.flush()

    def _tick(self, second: int) -> None:
        """Make the texts of a new second."""
        self._second = second
        self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        if self._syslog:
            self._head = f"{time.strftime('%b %e %H:%M:%S', time.localtime(second))} sockd[{self._pid}]: "
        else:
            self._head = f"{self._stamp}Z sockd[{self._pid}]: "

    def _dressed(self, text: str, level: int) -> bytes:
        second = int(self._wall())
        if second != self._second:
            self._tick(second)
        if self._syslog:
            return f"<{self._facility * 8 + level}>{self._head}{text}".encode()
        return f"{self._head}{text}\n".encode()


def open_sink(target: str) -> Sink | None:
    """The sink that a ``[log]`` key names: ``none``, ``stderr``, ``syslog``, or a file's path. Raises StartError."""
    if target == "none":
        return None
    if target == "stderr":
        return FileSink(sys.stderr.fileno())
    if target == "syslog":
        return SyslogSink()
    try:
        return FileSink(os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o640))
    except OSError as error:
        raise StartError(f"{target}: cannot open the log: {error.strerror}") from None
