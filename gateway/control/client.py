"""The asking side of the control socket: ``sockctl`` and whatever program wants to know.

Blocking, for a process that does nothing else meanwhile; ^C ends a wait as it ends any other. One `ControlClient` asks
one thing after the other; an answer that was not read to its end closes the connection.
"""

import contextlib
import grp
import os
import socket
import stat
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from gateway.control.protocol import Answer, ControlError, Request, decode_answer, encode_request

TIMEOUT = 10.0
"""Seconds without a byte of an answer that is asked for whole."""

MAX_ANSWER = 1 << 26
"""Bytes of one line of an answer; the text of all files is the longest."""

SUN_PATH = 108
"""Room for a path in a socket's name, its final zero included (unix(7))."""

_CLOSED = "the connection to sockd is closed"
_TIMEVAL = struct.Struct("ll")


@contextlib.contextmanager
def socket_name(path: str) -> Iterator[str]:
    """What a Unix socket at ``path`` is bound or connected by; of any length, by a descriptor of its folder.

    Raises OSError when that folder can not be opened.
    """
    if len(os.fsencode(path)) < SUN_PATH:
        yield path
        return
    folder, name = os.path.split(path)
    fd = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def connected(path: str, timeout: float) -> socket.socket:
    """A stream connected to the Unix socket at ``path``; ``timeout`` in seconds.

    Raises OSError; BlockingIOError when somebody listens there but did not accept in time.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Python's own time limit does not make connect() wait for a place in the queue, the kernel's does (unix(7)).
        limit = _TIMEVAL.pack(int(timeout), max(1, int(timeout % 1 * 1e6)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        with socket_name(path) as name:
            sock.connect(name)
    except BaseException:  # ^C among them
        sock.close()
        raise
    return sock


class ControlClient:
    """A connection to a running daemon; a context manager, or to be closed by `close`."""

    def __init__(self, sock: socket.socket, timeout: float = TIMEOUT) -> None:
        """Takes over a connected stream; `connect` makes one."""
        self._sock = sock
        self._timeout = timeout
        self._stream = sock.makefile("rb")
        #: what ended the last answer
        self.done: Any = None

    @classmethod
    def connect(cls, path: str, timeout: float = TIMEOUT) -> "ControlClient":
        """``timeout``: seconds for connecting, and between two pieces of an answer. Raises ControlError."""
        try:
            return cls(connected(path, timeout), timeout)
        except OSError as error:
            raise ControlError(_no_connection(path, error)) from None

    def ask(self, request: Request) -> tuple[list[Any], Any]:
        """The rows of an answer and what ended it, as `msgspec` decodes JSON without a type.

        Raises ControlError when the daemon refuses, or does not answer in time.
        """
        return list(self._answer(request, self._timeout)), self.done

    def rows(self, request: Request) -> Iterator[Any]:
        """The rows of an answer as they come, however long that takes; after the last one ``done`` is what ended it.

        Raises ControlError. Who stops before the end has closed the connection.
        """
        return self._answer(request, None)

    def close(self) -> None:
        """Ask nothing more; what the daemon streams ends."""
        self._stream.close()
        self._sock.close()

    def __enter__(self) -> "ControlClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, request: Request, timeout: float | None) -> Iterator[Any]:
        whole = False
        try:
            self._send(encode_request(request))
            self._sock.settimeout(timeout)
            while (answer := self._next()).row is not None:
                yield answer.row
            whole = True
        finally:
            if not whole:
                self.close()  # what is left of this answer would be taken for the next one
        if answer.error is not None:
            raise ControlError(answer.error)
        self.done = answer.done

    def _send(self, request: bytes) -> None:
        if self._stream.closed:
            raise ControlError(_CLOSED)
        self.done = None
        try:
            self._sock.settimeout(self._timeout)
            self._sock.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # whoever is refused has that in a line to read
        except OSError as error:
            raise ControlError(f"sockd does not take the request: {_reason(error)}") from None

    def _next(self) -> Answer:
        try:
            line = self._stream.readline(MAX_ANSWER)
        except TimeoutError:
            raise ControlError(f"sockd has not answered for {self._timeout:g} seconds") from None
        except OSError as error:
            raise ControlError(f"the connection to sockd broke: {_reason(error)}") from None
        except ValueError:
            raise ControlError(_CLOSED) from None
        if not line.endswith(b"\n"):
            raise ControlError(
                "sockd closed the connection before its answer was whole"
                if len(line) < MAX_ANSWER
                else f"sockd answered with a line of more than {MAX_ANSWER} bytes"
            )
        return decode_answer(line)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _no_connection(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
        return f"no sockd answers on {path}: {_reason(error)}; is it running?"
    if isinstance(error, PermissionError):
        return f"{path}: {_who_may(path)}"
    if isinstance(error, BlockingIOError):
        return f"{path}: a sockd is there, and takes no connection; is it stopped?"
    return f"{path}: cannot ask sockd: {_reason(error)}"


def _who_may(path: str) -> str:
    """As far as the socket's own permissions tell."""
    try:
        found = os.stat(path)
    except OSError:
        return "permission denied; ask as root"
    if not found.st_mode & stat.S_IWGRP or not found.st_gid:
        return "only root may ask sockd"
    return f"only root and group {group_name(found.st_gid)} may ask sockd"


def group_name(group: int) -> str:
    """The group's name, or its number when it has none."""
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)
