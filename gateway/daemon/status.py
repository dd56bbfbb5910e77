"""The status file: what the running daemon knows of the uplinks, for ``sockctl routes`` and whoever else may read it.

Replaced whole, so that a reader never sees half of one.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from gateway.daemon.messages import Network


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


def write_status(path: str, network: Network, timestamp: str, trouble: Callable[[str], None]) -> None:
    """Replace the file; an empty ``path`` is none. A failure is told to ``trouble``."""
    if not path:
        return
    data = msgspec.json.encode(Status(1, os.getpid(), timestamp, network))
    new = f"{path}.new"
    try:
        with open(new, "wb") as file:
            file.write(data + b"\n")
        os.replace(new, path)
    except OSError as error:
        trouble(f"{path}: cannot write the status file: {error.strerror}")


def read_status(path: str) -> Status | None:
    """What the running daemon wrote; None when there is none, or the one that wrote it is no more."""
    try:
        with open(path, "rb") as file:
            status = _decoder.decode(file.read())
        os.kill(status.pid, 0)
    except PermissionError:
        return status
    except (OSError, msgspec.MsgspecError):
        return None
    return status
