"""The one place where configuration text is read from disk: bounded, strict UTF-8, and never blocking on a pipe.

Everything else in this package works on text that was handed in.
"""

import os
import stat
from collections.abc import Callable

from gateway.errors import ConfigError
from gateway.place import Place, Problem
from gateway.services import Services, parse_services

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes. A file of ten thousand rules has about half a million; what is larger than this is not a configuration."""

SERVICES_PATH = "/etc/services"


Opener = Callable[[str, int], int]
"""As `open_without_waiting`, which takes a path and flags (open(2)) and gives a descriptor. Raises OSError."""


def open_without_waiting(path: str, flags: int) -> int:
    """Open a file. A pipe must neither block till somebody writes, nor count as an empty file, which would be valid."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_text(path: str, opener: Opener = open_without_waiting) -> str:
    """The text of a configuration file, without the byte order mark that some editors put in front.

    ``opener`` is who may open it. Raises ConfigError with one Problem when the file is missing, unreadable, not a
    regular file, larger than `SIZE_LIMIT`, holds a NUL byte, or is not UTF-8; the last two name the line and column.
    """
    content = _read_bytes(path, opener)
    if b"\0" in content:
        raise _refused(_place_of(path, content, content.index(b"\0")), "a NUL byte; this is not a text file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place_of(path, error.object, error.start)
        message = (
            f"not UTF-8 text (byte 0x{error.object[error.start]:02x}); convert the file, for instance with iconv(1)"
        )
        raise _refused(place, message) from None


def read_services(path: str = SERVICES_PATH) -> Services:
    """The TCP services of this host; none where it has no services(5) file: only port numbers are understood then."""
    return parse_services(services_text(path))


def services_text(path: str = SERVICES_PATH) -> str:
    """The host's services(5) file, empty where there is none.

    Bytes that are not UTF-8, which old files have in their comments, do no harm.
    """
    try:
        return _read_bytes(path, open_without_waiting).decode("utf-8", "replace")
    except ConfigError:
        return ""


def _read_bytes(path: str, opener: Opener) -> bytes:
    try:
        with open(path, "rb", opener=opener) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise _unreadable(path, "Is not a regular file")
            content = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    except ValueError:
        raise _unreadable(path, "The path holds a NUL byte") from None
    if len(content) > SIZE_LIMIT:
        raise _unreadable(path, f"Larger than {SIZE_LIMIT // 1024 // 1024} MiB")
    return content


def _place_of(path: str, content: bytes, offset: int) -> Place:
    before = content[:offset]
    line_start = before.rfind(b"\n") + 1
    return Place(path, before.count(b"\n") + 1, len(before[line_start:].decode("utf-8-sig", "replace")) + 1)


def _unreadable(path: str, reason: str) -> ConfigError:
    return _refused(Place(path), f"cannot read: {reason}")


def _refused(place: Place, message: str) -> ConfigError:
    return ConfigError([Problem(place, message)])
