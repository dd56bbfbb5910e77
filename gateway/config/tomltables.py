"""TOML to frozen structs, with every mistake at its line; what tables and keys there are comes in by argument.

A table is a Struct, a key one of its fields: its type, its default, and the description that a mistake is answered
with. A field that is a mapping to a Struct holds tables whose names are the administrator's own. What TOML has no type
for has a reader besides, and what keys must be to one another a check.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, get_args

import msgspec
from msgspec import Struct

from gateway.config.fields import BadField, quoted
from gateway.errors import ConfigError
from gateway.place import Place, Problem

Key = tuple[str, ...]
"""Where a value stands: the names of the tables around it and its own; of the text as a whole, empty."""


class Fault(NamedTuple):
    """What is wrong with the value of a key."""

    key: Key
    message: str


class Read(NamedTuple):
    """A table that was read, for its checks."""

    #: the struct; what was refused has its default
    value: Any
    #: what stands in the file
    written: Mapping[str, Any]
    #: whole keys of what was refused so far
    refused: frozenset[Key]


Reader = Callable[[Any, str], Any]
"""From a TOML value, and the folder of the file, to that of a field.

Raises msgspec.ValidationError for what is of the wrong kind as a whole, and BadField where it can say more. The reader
of a field that holds tables by name gets the names.
"""

Check = Callable[[Read], Iterable[Fault]]


class Grammar(NamedTuple):
    """The structs are the grammar; this is what they can not say: readers of fields, and checks of whole tables."""

    readers: Mapping[tuple[type[Struct], str], Reader]
    checks: Mapping[type[Struct], tuple[Check, ...]]


_Table = TypeVar("_Table", bound=Struct)


def load_toml(text: str, path: str) -> dict[str, Any]:
    """The values in a TOML text. Raises ConfigError with the first mistake, the only one that can be known."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(error, text, path)]) from None
    except (ValueError, RecursionError):
        fault = "not TOML that can be read: a number too long or too deep a nesting"
        raise ConfigError([Problem(Place(path), fault)]) from None


def read_tables(
    kind: type[_Table], data: Mapping[str, Any], folder: str, grammar: Grammar
) -> tuple[_Table, tuple[Fault, ...]]:
    """What is right in the values of `load_toml`, with the defaults for all else, and what is wrong in them.

    Relative names of files are taken from ``folder``.
    """
    reading = _Reading(kind, folder, grammar)
    return reading.table(kind, data, ()), tuple(reading.faults)


def place_faults(faults: Iterable[Fault], text: str, path: str) -> tuple[Problem, ...]:
    """The faults with their lines, in the order of the text."""
    problems = [Problem(Place(path, _line_of(text, fault.key)), fault.message) for fault in faults]
    return tuple(sorted(problems, key=lambda problem: problem.place.line))


@dataclass(frozen=True, slots=True)
class _Reading:
    """One text on its way to structs; ``faults`` grows as they are found."""

    root: type[Struct]
    folder: str
    grammar: Grammar
    faults: list[Fault] = field(default_factory=list)

    def table(self, kind: type[_Table], data: Mapping[str, Any], key: Key) -> _Table:
        types = {field.name: field.type for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {}
        for name, raw in data.items():
            here = (*key, name)
            if name not in types:
                self.faults.append(Fault(here, _unknown(here, raw, tuple(types), self.root)))
                continue
            try:
                values[name] = self._value(here, raw, types[name], self.grammar.readers.get((kind, name)))
            except BadField as fault:
                self._refuse(here, fault)
        table = kind(**values)
        for check in self.grammar.checks.get(kind, ()):
            self.faults.extend(check(Read(table, data, frozenset(fault.key for fault in self.faults))))
        return table

    def _value(self, key: Key, raw: Any, kind: Any, reader: Reader | None) -> Any:
        if _is_struct(kind):
            if not isinstance(raw, dict):
                raise BadField(f"a table is expected, such as [{key[0]}], not {_shown(raw)}")
            return self.table(kind, raw, key)
        if (member := _member(kind)) is not None:
            return self._named_tables(key, raw, kind, member, reader)
        try:
            return msgspec.convert(raw, kind) if reader is None else reader(raw, self.folder)
        except msgspec.ValidationError:
            raise _unexpected(kind, raw) from None

    def _named_tables(
        self, key: Key, raw: Any, kind: Any, member: type[Struct], reader: Reader | None
    ) -> Mapping[str, Struct]:
        if not isinstance(raw, dict):
            raise _unexpected(kind, raw)
        found: dict[str, Struct] = {}
        for name, data in raw.items():
            here = (*key, name)
            if not isinstance(data, dict):
                self._refuse(here, _unexpected(kind, data))
                continue
            table = self.table(member, data, here)
            try:
                found[name if reader is None else reader(name, self.folder)] = table
            except BadField as fault:
                self._refuse(here, fault)
        return MappingProxyType(found)

    def _refuse(self, key: Key, fault: BadField) -> None:
        self.faults.append(Fault(key, f"{dotted(key)}: {fault}"))


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _member(kind: Any) -> type[Struct] | None:
    """The struct that a field holds by name, if it is such a field."""
    inner = get_args(get_args(kind)[0])
    return inner[1] if len(inner) == 2 and _is_struct(inner[1]) else None


# Messages


_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dotted(key: Key) -> str:
    """The key for a message: ``uplinks.wan1.probes``; names that TOML wants in quotes are in quotes."""
    return ".".join(name if _BARE.fullmatch(name) else quoted(name) for name in key)


def _unexpected(kind: Any, raw: Any) -> BadField:
    return BadField(f"expected {get_args(kind)[1].description}, not {_shown(raw)}")


def _unknown(key: Key, raw: Any, known: tuple[str, ...], root: type[Struct]) -> str:
    name = quoted(key[-1])
    where = f"in [{dotted(key[:-1])}]" if key[:-1] else "at the top of the file"
    homes = [f"[{table}]" for table, keys in _tables(root) if key[-1] in keys]
    close = get_close_matches(key[-1], known, 1)
    if isinstance(raw, dict) and len(key) > 2:
        # A table in a named one can only be the rest of the name: [uplinks.eth0.100] is a slip for one in quotes.
        whole = f"[{dotted(key[:-2])}.{quoted('.'.join(key[-2:]))}]"
        return f"unknown table {name} {where}; a name that holds dots is written in quotes: {whole}"
    if homes:
        return f"unknown key {name} {where}; it belongs in {' or '.join(homes)}"
    if close:
        return f"unknown key {name} {where}; {close[0]} may be meant"
    return f"unknown key {name} {where}; known are {', '.join(known)}"


def _tables(root: type[Struct]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for table in msgspec.structs.fields(root):
        if _is_struct(table.type):
            yield table.name, table.type.__struct_fields__
        elif (member := _member(table.type)) is not None:
            yield f"{table.name}.NAME", member.__struct_fields__


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


# Places


_WHERE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def _syntax_problem(error: tomllib.TOMLDecodeError, text: str, path: str) -> Problem:
    found = _WHERE.fullmatch(str(error))
    if found is None:
        return Problem(Place(path), f"not TOML: {error}")
    line, column = (int(found[2]), int(found[3])) if found[2] else (text.count("\n") + 1, 0)
    return Problem(Place(path, line, column), f"not TOML: {found[1]}")


def _line_of(text: str, key: Key) -> int:
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


def _holds(lines: list[str], key: Key) -> bool | None:
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
