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
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from gateway.config.settings import FACILITIES
from gateway.errors import StartError
from gateway.session.record import Record, json_lines

QUEUE_BYTES = 1 << 20
FLUSH_SECONDS = 0.05
PIPE_CHUNK = select.PIPE_BUF
"""Up to this much a pipe takes whole or not at all (pipe(7)), so that the lines of several workers stay apart."""

FILE_CHUNK = 1 << 20

NOTICE, ERROR = 5, 3


class Sink(Protocol):
    """Takes finished lines; returns False for those that it does not take now. Raises OSError when it is broken."""

    #: how many bytes of lines may be put together; 0: one line at a time
    chunk: int

    def put(self, line: bytes) -> bool:
        """Write one line, or several, without blocking."""


class FileSink:
    """A descriptor opened for writing: a file, a terminal, a pipe, a socket.

    A standard error is shared with other processes, and so would be its being non-blocking. A pipe or terminal is
    therefore opened anew, and a socket asked not to block at each write.
    """

    def __init__(self, fd: int) -> None:
        mode = os.fstat(fd).st_mode
        self.fd = fd
        self.chunk = PIPE_CHUNK
        self._write: Callable[[bytes], int] = lambda data: os.write(self.fd, data)
        #: what a full disk or a short write left of lines that were taken
        self._rest = b""
        if stat.S_ISSOCK(mode):
            self._stream = socket.socket(fileno=os.dup(fd))
            self._write = lambda data: self._stream.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        elif stat.S_ISFIFO(mode) or os.isatty(fd):
            self._open_anew(fd)
        else:
            self.chunk = FILE_CHUNK

    def _open_anew(self, fd: int) -> None:
        try:
            self.fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            # Somebody else's: what poll(2) calls writable takes PIPE_BUF bytes, unless another process is faster.
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            self._write = lambda data: os.write(fd, data[:PIPE_CHUNK]) if poll.poll(0) else 0

    def put(self, line: bytes) -> bool:
        """Write lines that belong together. What is taken in part is finished before anything else is."""
        try:
            if self._rest:
                self._rest = self._rest[self._write(self._rest) :]
                if self._rest:
                    return False
            taken = self._write(line)
            if not taken:
                return False
            self._rest = line[taken:]
        except BlockingIOError:
            return False
        return True


class SyslogSink:
    """The host's syslog socket; connected anew when syslogd was restarted."""

    chunk = 0

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
            self._sock.send(line.rstrip(b"\n"))
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

    def __init__(self, sink: Sink | None, loss_line: Callable[[int], bytes]) -> None:
        """``sink`` None writes nowhere; ``loss_line`` words a loss of so many lines."""
        self._sink = sink
        self._loss_line = loss_line
        self._queue: deque[bytes] = deque()
        self._lost = 0

    def flush(self, lines: bytes) -> bool:
        """Write what waited and then these lines, each with its line end; whether all of it was taken."""
        sink = self._sink
        if sink is None:
            return True
        queue = self._queue
        try:
            if not queue and not self._lost and len(lines) <= sink.chunk and (not lines or sink.put(lines)):
                return True
            queue.extend(lines.splitlines(True))
            self._put(sink, queue)
        except OSError:
            self._lost += len(queue) or lines.count(b"\n")
            queue.clear()
        waiting = sum(map(len, queue))
        while waiting > QUEUE_BYTES:
            waiting -= len(queue.popleft())
            self._lost += 1
        return not queue

    def _put(self, sink: Sink, queue: deque[bytes]) -> None:
        if queue and self._lost:
            if not sink.put(self._loss_line(self._lost)):
                return
            self._lost = 0
        while queue:
            group = _first(queue, sink.chunk)
            if not sink.put(b"".join(group)):
                return
            for _ in group:
                queue.popleft()

    def forget(self) -> None:
        """Leave what waits to somebody else."""
        self._queue.clear()
        self._lost = 0


def _first(queue: Iterable[bytes], chunk: int) -> list[bytes]:
    """The first line, and those after it that go with it into so many bytes."""
    group: list[bytes] = []
    size = 0
    for line in queue:
        size += len(line)
        if group and size > chunk:
            break
        group.append(line)
    return group


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
        self._classic = Channel(classic, lambda lost: self._dress([f"{lost} lines were lost"], {0}))
        self._json = Channel(records, lambda lost: b'{"lost":%d}\n' % lost)
        #: text still to be dressed with the time of its writing, 50 ms later at most
        self._lines: list[str] = []
        #: the places in it of those that are of the error class
        self._errors: set[int] = set()
        self._records: list[Record] | None = None if records is None else []
        self._schedule: Callable[[float, Callable[[], None]], object] | None = None
        self._scheduled = False
        self._second = 0
        self._stamp = ""
        self._start = ""
        self._millisecond = 0
        self._now = ""

    def attach(self, schedule: Callable[[float, Callable[[], None]], object]) -> None:
        """From now on gather lines, and write them by ``schedule(seconds, function)``.

        To be called in the new process after a fork: what waits there is its parent's to write.
        """
        self._classic.forget()
        self._json.forget()
        self._lines.clear()
        self._errors.clear()
        self._scheduled = False
        self._schedule = schedule
        self._pid = os.getpid()
        self._second = 0

    def line(self, text: str, level: int = NOTICE) -> None:
        """A classic line."""
        if level != NOTICE:
            self._errors.add(len(self._lines))
        self._lines.append(text)
        if not self._scheduled:
            self._soon()

    def trouble(self, text: str) -> None:
        """A line of the error class; of several lines one is made."""
        self.line("; ".join(text.splitlines()), ERROR)

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
        errors, self._errors = self._errors, set()
        done = self._classic.flush(self._dress(lines, errors))
        if self._records is not None:
            records, self._records = self._records, []
            done = self._json.flush(json_lines(records)) and done
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
            self._start = f"{time.strftime('%b %e %H:%M:%S', time.localtime(second))} sockd[{self._pid}]: "
        else:
            self._start = f"{self._stamp}Z sockd[{self._pid}]: "

    def _dress(self, lines: Sequence[str], errors: Collection[int]) -> bytes:
        if not lines:
            return b""
        notice = self._head(NOTICE)
        if not errors or not self._syslog:
            # Many lines with the same head in one call, as all are but a few.
            return "".join((notice, f"\n{notice}".join(lines), "\n")).encode()
        error = self._head(ERROR)
        return "".join(f"{error if place in errors else notice}{line}\n" for place, line in enumerate(lines)).encode()

    def _head(self, level: int) -> str:
        second = int(self._wall())
        if second != self._second:
            self._tick(second)
        return f"<{self._facility * 8 + level}>{self._start}" if self._syslog else self._start


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
