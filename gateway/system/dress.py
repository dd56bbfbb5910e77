"""Classic lines in the form that their target wants: with a head in a file and for syslogd, as fields for journald.

Whatever text is given, no line of a log holds a line end or another control byte.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from gateway.session.record import Record

NOTICE, ERROR = 5, 3
"""Levels of RFC 5424 §6.2.1."""

IDENT = "sockd"

PART = 512
"""Lines that are put together at once. Blocks beyond 100 kB come from the kernel page by page, which costs more."""

_quote = msgspec.json.Encoder().encode


class Mark(NamedTuple):
    """What a line has besides its text."""

    level: int = NOTICE
    #: that of the session which ends with this line
    record: Record | None = None


class Dress(Protocol):
    """The form of one kind of target."""

    def blocks(self, lines: Sequence[str], marks: Mapping[int, Mark]) -> list[bytes]:
        """The lines in their form, one or more to a block; ``marks`` are by the places of the lines."""

    def split(self, block: bytes) -> list[bytes]:
        """A block as its single lines, each with its end."""


class FileDress:
    """For files, terminals and pipes: time in UTC, name and process."""

    def __init__(self, wall: Callable[[], float]) -> None:
        """Of the present process; ``wall`` gives seconds since the epoch."""
        self._wall = wall
        self._pid = os.getpid()
        self._second = 0
        self._head = ""

    def blocks(self, lines: Sequence[str], marks: Mapping[int, Mark]) -> list[bytes]:  # noqa: ARG002
        """As `Dress`."""
        return _headed(self._start(), lines)

    def split(self, block: bytes) -> list[bytes]:
        """As `Dress`."""
        return block.splitlines(True)

    def _start(self) -> str:
        """The head; its time is that of the writing, which is 50 ms later at most."""
        second = int(self._wall())
        if second != self._second:
            self._second = second
            self._head = f"{self._stamp(second)} {IDENT}[{self._pid}]: "
        return self._head

    def _stamp(self, second: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


class SyslogDress(FileDress):
    """For syslogd: priority, local time, name and process, as syslog(3) writes it (RFC 3164 §4.1)."""

    def __init__(self, wall: Callable[[], float], facility: int) -> None:
        """``facility`` is its code."""
        super().__init__(wall)
        self._facility = facility

    def blocks(self, lines: Sequence[str], marks: Mapping[int, Mark]) -> list[bytes]:
        """As `Dress`."""
        start = self._start()
        if all(mark.level == NOTICE for mark in marks.values()):
            return _headed(self._priority(NOTICE) + start, lines)
        usual = Mark()
        return [
            f"{self._priority(marks.get(place, usual).level)}{start}{line}\n".encode()
            for place, line in enumerate(lines)
        ]

    def _priority(self, level: int) -> str:
        return f"<{self._facility * 8 + level}>"

    def _stamp(self, second: int) -> str:
        return time.strftime("%b %e %H:%M:%S", time.localtime(second))


class JournaldDress:
    """For journald: fields (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/, systemd.journal-fields(7))."""

    def __init__(self, facility: int) -> None:
        """Of the present process; ``facility`` is its code."""
        self._common = fields({"SYSLOG_FACILITY": facility, "SYSLOG_IDENTIFIER": IDENT, "SYSLOG_PID": os.getpid()})

    def blocks(self, lines: Sequence[str], marks: Mapping[int, Mark]) -> list[bytes]:
        """As `Dress`, each line by itself."""
        usual = Mark()
        return [self._entry(line, marks.get(place, usual)) for place, line in enumerate(lines)]

    def split(self, block: bytes) -> list[bytes]:
        """As `Dress`."""
        return [block]

    def _entry(self, line: str, mark: Mark) -> bytes:
        entry = fields({"MESSAGE": line, "PRIORITY": mark.level}) + self._common
        return entry if mark.record is None else entry + fields(_facts(mark.record))


def _facts(record: Record) -> dict[str, object]:
    known = msgspec.structs.asdict(record) | {"result": record.result.value}
    return {f"SOCKD_{name.upper()}": value for name, value in known.items() if value is not None}


def fields(values: Mapping[str, object]) -> bytes:
    """The values in journald's form: ``NAME=value``, or with their length if they hold a line end."""
    return b"".join(_field(name.encode(), str(value).encode()) for name, value in values.items())


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%s\n%s%s\n" % (name, len(value).to_bytes(8, "little"), value)
    return b"%s=%s\n" % (name, value)


def _headed(head: str, lines: Sequence[str]) -> list[bytes]:
    """Many lines with the same head, in a few calls."""
    between = f"\n{head}"
    return [
        "".join((head, between.join(lines[start : start + PART]), "\n")).encode()
        for start in range(0, len(lines), PART)
    ]


def visible(lines: Sequence[str]) -> Sequence[str]:
    r"""The lines, with ``\xNN`` in place of what can not be seen."""
    parts = ("".join(lines[start : start + PART]) for start in range(0, len(lines), PART))
    if all(map(_is_visible, parts)):
        return lines
    return [line if line.isprintable() else "".join(map(_shown, line)) for line in lines]


def _is_visible(text: str) -> bool:
    # What JSON does not escape is visible ASCII, and DEL; to ask it takes a sixth of the time of `isprintable`.
    if text.isascii() and len(_quote(text)) == len(text) + 2 and "\x7f" not in text:
        return True
    return text.isprintable()


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else char.encode("unicode_escape").decode()
