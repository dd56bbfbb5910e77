"""``gateway.toml``: text to one frozen value; gateway.toml(5) describes it.

A new setting is one more field of a table below: its type, its default, and what the administrator is told to write.
Only what TOML has no type for needs a reader besides. Whether a port is free, a user exists or a file can be written is
asked when the daemon starts, not here.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from gateway.address import Address, parse_address
from gateway.config.fields import BadField, parse_prefix, quoted
from gateway.config.rules import AddressPattern, Dialect, IdentLevel
from gateway.errors import ConfigError
from gateway.place import Place, Problem

FACILITIES = MappingProxyType(
    {
        "kern": 0,
        "user": 1,
        "mail": 2,
        "daemon": 3,
        "auth": 4,
        "syslog": 5,
        "lpr": 6,
        "news": 7,
        "uucp": 8,
        "cron": 9,
        "authpriv": 10,
        "ftp": 11,
        **{f"local{number}": 16 + number for number in range(8)},
    }
)
"""Names of syslog facilities and their codes (RFC 5424 §6.2.1; names as in syslog.h)."""

IDENT_LEVELS = MappingProxyType({"off": IdentLevel.OFF, "lenient": IdentLevel.LENIENT, "strict": IdentLevel.STRICT})

_Port = Annotated[int, Meta(ge=0, le=65535, description="a port from 0 to 65535, 0 for any free one")]
_Seconds = Annotated[float, Meta(gt=0, le=366 * 86400, description="a number of seconds above 0, at most a year")]
_Workers = Annotated[int, Meta(ge=0, le=64, description="a number from 0 to 64, 0 for one a core")]
_Sessions = Annotated[
    int, Meta(ge=0, le=10**9, description="a number from 0 to 1000000000, 0 for as many as there are descriptors")
]
_Dialect = Annotated[Dialect, Meta(description='"classic" or "1992"')]
_Ident = Annotated[IdentLevel, Meta(description='"off", "lenient" or "strict"')]
_Addresses = Annotated[tuple[Address, ...], Meta(description='a list of addresses, such as ["10.0.0.1", "fd00::1"]')]
_Networks = Annotated[
    tuple[AddressPattern, ...], Meta(description='a list of prefixes, such as ["10.0.0.0/8", "fd00::/8"]')
]
_File = Annotated[str, Meta(description="the name of a file")]
_FileOrNone = Annotated[str, Meta(description='the name of a file, or "" for none')]
_User = Annotated[str, Meta(min_length=1, description="the name of a user")]
_ClassicLog = Annotated[str, Meta(description='"syslog", "stderr", "none" or the absolute path of a file')]
_JsonLog = Annotated[str, Meta(description='"none", "stderr" or the absolute path of a file')]
_Facility = Annotated[str, Meta(description=f"one of {', '.join(FACILITIES)}")]


class InternalSettings(Struct, frozen=True):
    """``[internal]``: where clients connect. ``networks`` empty: those of the addresses, as the kernel has them."""

    addresses: _Addresses = (Address(4, 0x7F00_0001),)
    port: _Port = 1080
    networks: _Networks = ()


class FilesSettings(Struct, frozen=True):
    """``[files]``: the files that are read besides; ``passwords`` empty: none."""

    access: _File = "/etc/sockd.conf"
    passwords: _FileOrNone = ""


class SockdSettings(Struct, frozen=True):
    """``[sockd]``: the daemon itself. ``user`` counts when it is started as root."""

    workers: _Workers = 0
    ident: _Ident = IdentLevel.OFF
    sessions: _Sessions = 0
    user: _User = "nobody"
    pidfile: _File = "/run/sockd.pid"


class TimeoutsSettings(Struct, frozen=True):
    """``[timeouts]``: seconds. The originals' values where they had one (``spec/socks4.md`` §1.5)."""

    handshake: _Seconds = 30.0
    connect: _Seconds = 120.0
    idle: _Seconds = 7200.0
    lookup: _Seconds = 10.0
    ident: _Seconds = 15.0
    command: _Seconds = 60.0


class LogSettings(Struct, frozen=True):
    """``[log]``: where the records of sessions go, in either form; ``facility`` is a name of `FACILITIES`."""

    classic: _ClassicLog = "syslog"
    json: _JsonLog = "none"
    facility: _Facility = "daemon"


class Settings(Struct, frozen=True):
    """The whole of ``gateway.toml``; an empty file gives the defaults."""

    dialect: _Dialect = Dialect.CLASSIC
    internal: InternalSettings = InternalSettings()
    files: FilesSettings = FilesSettings()
    sockd: SockdSettings = SockdSettings()
    timeouts: TimeoutsSettings = TimeoutsSettings()
    log: LogSettings = LogSettings()


class _Fault(NamedTuple):
    key: tuple[str, ...]
    message: str


def parse_settings(text: str, path: str) -> Settings:
    """The settings in a TOML text. Relative names of files are taken from the folder of ``path``.

    Raises ConfigError with every mistake: unknown tables and keys, wrong types, values out of range.
    """
    settings, problems = examine_settings(text, path)
    if problems or settings is None:
        raise ConfigError(problems)
    return settings


def examine_settings(text: str, path: str) -> tuple[Settings | None, tuple[Problem, ...]]:
    """What can be understood, with the defaults for all else, and every mistake in the order of the file.

    For whoever wants to look at the files that the settings name even though the settings are refused. None when the
    text is no TOML at all, or when its mistakes concern those files: ``dialect`` and ``[files]``.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, (_syntax_problem(error, text, path),)
    except (ValueError, RecursionError):
        return None, (Problem(Place(path), "not TOML that can be read: a number too long or too deep a nesting"),)
    faults: list[_Fault] = []
    settings = _read_table(Settings, data, (), os.path.dirname(path), faults)
    problems = [Problem(Place(path, _line_of(text, fault.key)), fault.message) for fault in faults]
    usable = not any(fault.key[0] in ("dialect", "files") for fault in faults)
    return settings if usable else None, tuple(sorted(problems, key=lambda problem: problem.place.line))


_Table = TypeVar("_Table", bound=Struct)


def _read_table(
    kind: type[_Table], data: Mapping[str, Any], key: tuple[str, ...], folder: str, faults: list[_Fault]
) -> _Table:
    """The table with what is right in ``data``; what is wrong is added to ``faults`` and keeps its default."""
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    for name, raw in data.items():
        here = (*key, name)
        if name not in types:
            faults.append(_Fault(here, _unknown(here, tuple(types))))
            continue
        try:
            values[name] = _read_value(here, raw, types[name], folder, faults)
        except BadField as fault:
            faults.append(_Fault(here, f"{'.'.join(here)}: {fault}"))
    return kind(**values)


def _read_value(key: tuple[str, ...], raw: Any, kind: Any, folder: str, faults: list[_Fault]) -> Any:
    if isinstance(kind, type) and issubclass(kind, Struct):
        if not isinstance(raw, dict):
            raise BadField(f"a table is expected, such as [{key[0]}], not {_shown(raw)}")
        return _read_table(kind, raw, key, folder, faults)
    reader = _READERS.get(".".join(key))
    try:
        return msgspec.convert(raw, kind) if reader is None else reader(raw, folder)
    except msgspec.ValidationError:
        raise BadField(f"expected {get_args(kind)[1].description}, not {_shown(raw)}") from None


# Readers: what TOML has no type for. Each raises msgspec.ValidationError for what is of the wrong kind as a whole, and
# BadField where it can say more.


def _read_texts(raw: Any, _folder: str) -> list[str]:
    return msgspec.convert(raw, list[str])


def _read_addresses(raw: Any, folder: str) -> tuple[Address, ...]:
    found: list[Address] = []
    for text in _read_texts(raw, folder):
        address = parse_address(text)
        if address is None:
            raise BadField(f"{quoted(text)} is no IPv4 or IPv6 address")
        if address in found:
            raise BadField(f"{quoted(text)} stands there twice")
        found.append(address)
    if not found:
        raise BadField("at least one address is needed, or nobody can connect")
    return tuple(found)


def _read_networks(raw: Any, folder: str) -> tuple[AddressPattern, ...]:
    return tuple(map(_read_network, _read_texts(raw, folder)))


def _read_network(text: str) -> AddressPattern:
    pattern, warning = parse_prefix(text)
    if warning is not None:
        raise BadField(f"{quoted(text)}: {warning}")
    return pattern


def _read_ident(raw: Any, _folder: str) -> IdentLevel:
    return _chosen(IDENT_LEVELS, raw)


def _read_facility(raw: Any, _folder: str) -> str:
    _chosen(FACILITIES, raw)
    return str(raw)


_Choice = TypeVar("_Choice")


def _chosen(choices: Mapping[str, _Choice], raw: Any) -> _Choice:
    if not isinstance(raw, str) or raw not in choices:
        raise msgspec.ValidationError
    return choices[raw]


def _read_file(raw: Any, folder: str) -> str:
    path = _read_file_or_none(raw, folder)
    if not path:
        raise BadField("the name of a file is missing")
    return path


def _read_file_or_none(raw: Any, folder: str) -> str:
    path = msgspec.convert(raw, str)
    if not path.isprintable():
        raise BadField(f"{quoted(path)} holds a character that can not be seen")
    return os.path.join(folder, path) if path else ""


def _log_reader(words: tuple[str, ...]) -> Callable[[Any, str], str]:
    def read(raw: Any, folder: str) -> str:
        if raw in words:
            return str(raw)
        if not isinstance(raw, str) or not raw.startswith("/"):
            raise msgspec.ValidationError
        return _read_file(raw, folder)

    return read


_READERS: Mapping[str, Callable[[Any, str], Any]] = MappingProxyType(
    {
        "internal.addresses": _read_addresses,
        "internal.networks": _read_networks,
        "files.access": _read_file,
        "files.passwords": _read_file_or_none,
        "sockd.ident": _read_ident,
        "sockd.pidfile": _read_file,
        "log.classic": _log_reader(("syslog", "stderr", "none")),
        "log.json": _log_reader(("none", "stderr")),
        "log.facility": _read_facility,
    }
)


# Messages and places


def _unknown(key: tuple[str, ...], known: tuple[str, ...]) -> str:
    name = quoted(key[-1])
    where = f"in [{'.'.join(key[:-1])}]" if key[:-1] else "at the top of the file"
    homes = [f"[{table}]" for table, keys in _tables() if key[-1] in keys]
    close = get_close_matches(key[-1], known, 1)
    if homes:
        return f"unknown key {name} {where}; it belongs in {' or '.join(homes)}"
    if close:
        return f"unknown key {name} {where}; {close[0]} may be meant"
    return f"unknown key {name} {where}; known are {', '.join(known)}"


def _tables() -> Iterator[tuple[str, tuple[str, ...]]]:
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            yield field.name, field.type.__struct_fields__


def _shown(raw: Any) -> str:
    if isinstance(raw, str):
        return quoted(raw)
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, dict):
        return "a table"
    if isinstance(raw, list):
        return "a list"
    # Python refuses to write out integers of thousands of digits, which TOML can hold in hexadecimal.
    return "a number that long" if isinstance(raw, int) and abs(raw) >= 10**18 else str(raw)


_WHERE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def _syntax_problem(error: tomllib.TOMLDecodeError, text: str, path: str) -> Problem:
    found = _WHERE.fullmatch(str(error))
    if found is None:
        return Problem(Place(path), f"not TOML: {error}")
    line, column = (int(found[2]), int(found[3])) if found[2] else (text.count("\n") + 1, 0)
    return Problem(Place(path, line, column), f"not TOML: {found[1]}")


def _line_of(text: str, key: tuple[str, ...]) -> int:
    """The line that first defines the key, 0 if that can not be told.

    TOML can write a key in many ways, so the lines that may hold it are only candidates: the right one is that before
    which the text lacks the key, and with which, or with the rest of the value, it has it.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    for index, line in enumerate(lines):
        if key[-1] in line and _holds(lines[:index], key) is False:
            ends = (_holds(lines[:end], key) for end in range(index + 1, len(lines) + 1))
            if next((held for held in ends if held is not None), False):
                return index + 1
    return 0


def _holds(lines: list[str], key: tuple[str, ...]) -> bool | None:
    """Whether the text of these lines has the key; None if it is no whole TOML text."""
    try:
        value: Any = tomllib.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return None
    for name in key:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True
