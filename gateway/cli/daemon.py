"""What the commands share that ask a running daemon: which one, what becomes of its errors, how its numbers look.

A command gets a connection and prints what it hears. Every expected mistake is one line on standard error and a
status; what the status is for is in sockctl(8).
"""

import argparse
import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from gateway.config.settings import ControlSettings, examine_settings
from gateway.config.source import read_text
from gateway.control.client import ControlClient
from gateway.control.protocol import ControlError
from gateway.errors import ConfigError, GatewayError

SETTINGS_PATH = "/etc/gateway.toml"

DONE, REFUSED, UNUSABLE = 0, 1, 2
"""The exit status; REFUSED also when no daemon answers or there was nothing to do, UNUSABLE when none can be asked."""

SECONDS = 20.0
"""For an answer: more than the daemon gives its workers, so that it can tell who has not answered."""

SHORT_HASH = 12
"""Digits of a configuration's hash that are shown."""


def add_socket(parser: argparse.ArgumentParser) -> None:
    """The options that say which daemon is meant."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("-s", dest="socket", metavar="PATH", help="the daemon's control socket")
    which.add_argument(
        "-f", metavar="FILE", help=f"the daemon's settings, which name its control socket (default {SETTINGS_PATH})"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option that all of these commands have."""
    parser.add_argument("--json", action="store_true", help="print JSON, as the daemon answers")


def socket_path(arguments: argparse.Namespace) -> str:
    """The control socket of the daemon that is meant. Raises ConfigError and ControlError when that can not be told."""
    return arguments.socket or control_socket(arguments.f)


def control_socket(path: str | None) -> str:
    """The socket that a settings file names; None is the usual file, which need not be there or be right.

    A daemon goes on while its files are edited: mistakes elsewhere in them do not matter. Raises ConfigError when the
    file is not understood, and ControlError when it says that there is no socket.
    """
    try:
        settings, problems = examine_settings(read_text(path or SETTINGS_PATH), path or SETTINGS_PATH)
        if settings is None:
            raise ConfigError(problems)
    except ConfigError:
        if path is None:
            return ControlSettings().socket
        raise
    if not settings.control.socket:
        raise ControlError(f"{path or SETTINGS_PATH}: [control] socket is empty, so this sockd can not be asked")
    return settings.control.socket


def with_daemon(
    command: str, arguments: argparse.Namespace, work: Callable[[ControlClient], int], timeout: float = SECONDS
) -> int:
    """The status of what is done with a connection to the daemon that is meant; ``timeout`` as of `ControlClient`."""
    try:
        path = socket_path(arguments)
    except GatewayError as error:
        say(command, error)
        return UNUSABLE
    try:
        with ControlClient.connect(path, timeout) as client:
            return work(client)
    except ControlError as error:
        say(command, error)
        return REFUSED


def say(command: str, what: object) -> None:
    """A line on standard error; mistakes of files, which name their places, stand for themselves."""
    start = "" if isinstance(what, ConfigError) else f"sockctl {command}: "
    print(f"{start}{what}", file=sys.stderr, flush=True)


_Kind = TypeVar("_Kind")


def understood(answer: Any, kind: type[_Kind]) -> _Kind:
    """An answer as a value of `gateway.control.protocol`. Raises ControlError when it is of another kind."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise ControlError(f"the answer is not understood: {error}; are sockctl and sockd of one version?") from None


def print_rows(rows: Sequence[Any]) -> None:
    """Each as a JSON object on a line of its own."""
    for row in rows:
        print(json.dumps(row))


def print_object(done: Any) -> None:
    """One JSON object, for reading too."""
    print(json.dumps(done, indent=2))


# How things look


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> Iterator[str]:
    """Lines of cells below one another, those of the columns ``right`` at the right edge; the first row is the head."""
    seen = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*seen, strict=True)]
    for row in seen:
        cells = (
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def visible(text: str) -> str:
    r"""A text that can not reach for the terminal: a tab is a blank, and what else can not be seen is ``\xNN``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char == "\t" else f"\\x{ord(char):02x}" for char in text)


_UNITS = ("", "K", "M", "G", "T", "P")


def amount(octets: float) -> str:
    """Bytes in at most four characters and a unit of 1024, as ls(1) -h has them: ``999``, ``1.5K``, ``20M``."""
    power = 0
    while octets >= 1023.5 and power < len(_UNITS) - 1:
        octets /= 1024
        power += 1
    return f"{octets:.1f}{_UNITS[power]}" if power and octets < 9.95 else f"{octets:.0f}{_UNITS[power]}"


def span(seconds: float) -> str:
    """Seconds as the two greatest units that they have: ``7s``, ``3m05s``, ``2h14m``, ``5d03h``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    return f"{whole // 86400}d{whole // 3600 % 24:02}h"


def counted(number: int, thing: str) -> str:
    """``1 session``, ``2 sessions``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def short_hash(configuration: str) -> str:
    """So much of a configuration's hash that two of them differ."""
    return configuration[:SHORT_HASH]


def destination(host: str | None, address: str | None, port: int | None) -> str:
    """What was asked for, else what it is connected to, with its port; ``-`` before there is a request."""
    where = host or address
    if where is None:
        return "-"
    where = f"[{where}]" if ":" in where else where
    return where if port is None else f"{where}:{port}"
