"""Where finished lines go: a file, standard error or output, syslogd, journald. Each takes bytes, and never blocks.

A sink knows nothing of the lines: what they say, how many wait, and what is lost is `gateway.system.outlet`'s.
"""

import errno
import fcntl
import os
import select
import socket
import stat
import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol

from gateway.config.settings import LogSettings
from gateway.errors import StartError

LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
LOG_MODE = 0o640
"""How a log file is opened, whoever does it: several processes add to its end, and others may not read it."""

SYSLOG_SOCKET = "/dev/log"
JOURNALD_SOCKET = "/run/systemd/journal/socket"

PIPE_CHUNK = select.PIPE_BUF
"""Up to this much a pipe takes whole or not at all (pipe(7)), so that the lines of several workers stay apart."""

FILE_CHUNK = 1 << 20
SYSLOG_BYTES = 8192
"""What is left of a message that no socket takes whole."""

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


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

    def __init__(self, fd: int, name: str = "the log") -> None:
        """``name`` is what the administrator calls it: a path, or ``stderr``."""
        mode = os.fstat(fd).st_mode
        self.fd = fd
        self.name = name
        self.chunk = PIPE_CHUNK
        self._write: Callable[[bytes], int] = lambda data: os.write(self.fd, data)
        #: what a full disk or a short write left of lines that were taken, and whether it begins within a line
        self._rest = b""
        self._torn = False
        self._stream: socket.socket | None = None
        self._is_file = False
        if stat.S_ISSOCK(mode):
            self._duplicate(fd)
        elif stat.S_ISFIFO(mode) or os.isatty(fd):
            self._open_anew(fd)
        else:
            self._is_file = True
            self.chunk = FILE_CHUNK

    def _duplicate(self, fd: int) -> None:
        stream = self._stream = socket.socket(fileno=os.dup(fd))
        self._write = lambda data: stream.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

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
            if self._rest and not self._finish():
                return False
            taken = self._write(line)
            if not taken:
                return False
            self._keep(line, taken)
        except BlockingIOError:
            return False
        return True

    def _finish(self) -> bool:
        taken = self._write(self._rest)
        if taken:
            self._keep(self._rest, taken)
        return not self._rest

    def _keep(self, data: bytes, taken: int) -> None:
        self._rest = data[taken:]
        if self._rest:
            self._torn = data[taken - 1 : taken] != b"\n"

    def reopen(self, fd: int) -> int:
        """Go on in the file that ``fd`` is, which is closed; the number of lines that were lost by that, 0 or 1.

        A line of which the old file took a part is finished there if it can be, or its rest is lost: it would be no
        line in the new file. Whole lines that were held with it go to the new one. What is no file, such as a named
        pipe, has nothing to be opened again. Raises OSError, and then everything is as it was.
        """
        try:
            if not self._is_file:
                return 0
            lost = self._let_go()
            os.dup2(fd, self.fd, inheritable=False)
            return lost
        finally:
            os.close(fd)

    def _let_go(self) -> int:
        try:
            if not self._rest or self._finish():
                return 0
        except OSError:
            pass  # that disk is still full
        if not self._torn:
            return 0
        self._rest = self._rest.partition(b"\n")[2]
        self._torn = False
        return 1

    def close(self) -> None:
        """Close the descriptor that is written to; one that was given and is not that one stays its owner's."""
        if self._stream is None:
            os.close(self.fd)
        else:
            self._stream.close()


class DatagramSink:
    """A socket of the host that takes one message a datagram; connected anew when its other end was restarted."""

    chunk = 0

    def __init__(self, path: str) -> None:
        self._path = path
        self._sock: socket.socket | None = None

    def put(self, line: bytes) -> bool:
        """Send one message."""
        try:
            self._send(self._sock or self._connect(), line)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        return True

    def _connect(self) -> socket.socket:
        sock = self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.connect(self._path)
        return sock

    def _send(self, sock: socket.socket, message: bytes) -> None:
        sock.send(message)

    def close(self) -> None:
        """Let the socket go; the next message connects again."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


class SyslogSink(DatagramSink):
    """The host's syslogd."""

    def __init__(self, path: str = SYSLOG_SOCKET) -> None:
        super().__init__(path)

    def _send(self, sock: socket.socket, message: bytes) -> None:
        message = message.rstrip(b"\n")
        try:
            sock.send(message)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            sock.send(message[:SYSLOG_BYTES])


class JournaldSink(DatagramSink):
    """systemd-journald, by its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/)."""

    def __init__(self, path: str = JOURNALD_SOCKET) -> None:
        super().__init__(path)

    def _send(self, sock: socket.socket, message: bytes) -> None:
        try:
            sock.send(message)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            _send_sealed(sock, message)


def _send_sealed(sock: socket.socket, message: bytes) -> None:
    """What no datagram holds goes as a file in memory that nobody can change any more (memfd_create(2))."""
    fd = os.memfd_create("sockd-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = memoryview(message)
        while left:
            left = left[os.write(fd, left) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        socket.send_fds(sock, [b""], [fd])
    finally:
        os.close(fd)


class Targets(NamedTuple):
    """The files among the targets of ``[log]``, by their paths; None for what is no file."""

    classic: str | None
    records: str | None


def file_targets(log: LogSettings) -> Targets:
    """What `gateway.system.journal.Journal.reopen` is to be given descriptors of."""
    return Targets(*(target if target.startswith("/") else None for target in (log.classic, log.json)))


def open_sink(target: str) -> Sink | None:
    """The sink that a key of ``[log]`` names, which is a word or the path of a file. Raises StartError."""
    match target:
        case "none":
            return None
        case "stderr":
            return FileSink(sys.stderr.fileno(), target)
        case "stdout":
            return FileSink(sys.stdout.fileno(), target)
        case "syslog":
            return SyslogSink()
        case "journald":
            return JournaldSink()
    try:
        return FileSink(os.open(target, LOG_FLAGS, LOG_MODE), target)
    except OSError as error:
        raise StartError(f"{target}: cannot open the log: {error.strerror}") from None
