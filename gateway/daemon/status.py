"""The status file: what the running daemon knows of the uplinks, for ``sockctl routes`` and whoever else may read it.

Replaced whole, so that a reader never sees half of one; and it can not be stale: who wrote it holds a lock on it.
"""

import contextlib
import errno
import fcntl
import os
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from gateway.daemon.messages import Network

VERSION = 1

_TRIES = 3
"""How often the file is opened anew when it was replaced meanwhile."""


@dataclass(frozen=True, slots=True)
class Status:
    """One JSON object; ``version`` grows when the meaning of a key changes."""

    version: int
    #: of the warden that wrote it
    pid: int
    #: when, RFC 3339 in UTC
    time: str
    network: Network


_decoder = msgspec.json.Decoder(Status)


class StatusFile:
    """The file as its writer has it: the last one stays open and locked until the next one, or the process's end."""

    def __init__(self, path: str) -> None:
        """An empty ``path`` is none."""
        self._path = path
        self._held: int | None = None

    def write(self, network: Network, timestamp: str) -> None:
        """Replace the file. Raises OSError, and then the old one stays."""
        if not self._path:
            return
        new = f"{self._path}.new"
        file = _make(new)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            _fill(file, msgspec.json.encode(Status(VERSION, os.getpid(), timestamp, network)) + b"\n")
            os.replace(new, self._path)
        except OSError:
            os.close(file)
            os.unlink(new)
            raise
        self.close()
        self._held = file

    def close(self) -> None:
        """Say no longer that it is true."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _make(path: str) -> int:
    """A new file, never an existing one or one by a symbolic link: others may write to its folder, too."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # left by one that was killed
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)


def _fill(file: int, data: bytes) -> None:
    if os.write(file, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_status(path: str) -> Status | None:
    """What the running daemon wrote; None when there is none that can be read, or its writer is no more."""
    try:
        for _ in range(_TRIES):
            with open(path, "rb", opener=_open_without_waiting) as file:
                if _is_held(file):
                    return _understood(file.read())
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    return None
    except OSError:
        pass
    return None


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _is_held(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _understood(data: bytes) -> Status | None:
    """None for what another version wrote, or something that is no status at all."""
    try:
        status = _decoder.decode(data)
    except (ValueError, RecursionError):
        return None
    return status if status.version == VERSION else None
