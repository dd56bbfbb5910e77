"""TOML to frozen structs, with every mistake at its line; what tables and keys there are comes in by argument.

A table is a Struct, a key one of its fields: its type, its default, and the description that a mistake is answered
with. A field that is a mapping to a Struct holds tables whose names are the administrator's own; one that is a tuple of
Structs, an array of tables. What TOML has no type for has a reader besides, and what keys must be to one another a
check.
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


class Item(NamedTuple):
    """One table of an array of tables."""

    #: counted from 0
    number: int
    #: what its key ``name`` says, whether that is right or not; empty if it has none
    name: str


Key = tuple[str | Item, ...]
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
    #: of the table itself
    key: Key


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
            self.faults.extend(check(Read(table, data, frozenset(fault.key for fault in self.faults), key)))
        return table

    def _value(self, key: Key, raw: Any, kind: Any, reader: Reader | None) -> Any:
        if _is_struct(kind):
            if not isinstance(raw, dict):
                raise BadField(f"a table is expected, such as [{dotted(key)}], not {_shown(raw)}")
            return self.table(kind, raw, key)
        if (element := _element(kind)) is not None:
            return self._array(key, raw, kind, element)
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

    def _array(self, key: Key, raw: Any, kind: Any, element: type[Struct]) -> tuple[Struct, ...]:
        """As many as are written, so that each keeps its number: what is no table has the defaults."""
        if not isinstance(raw, list):
            raise _unexpected(kind, raw)
        return tuple(self._element(item_key(key, number, data), data, kind, element) for number, data in enumerate(raw))

    def _element(self, key: Key, raw: Any, kind: Any, element: type[Struct]) -> Struct:
        if isinstance(raw, dict):
            return self.table(element, raw, key)
        self._refuse(key, _unexpected(kind, raw))
        return element()

    def _refuse(self, key: Key, fault: BadField) -> None:
        self.faults.append(Fault(key, f"{dotted(key)}: {fault}"))


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _member(kind: Any) -> type[Struct] | None:
    """The struct that a field holds by name, if it is such a field."""
    inner = get_args(get_args(kind)[0])
    return inner[1] if len(inner) == 2 and _is_struct(inner[1]) else None


def _element(kind: Any) -> type[Struct] | None:
    """The struct of an array of tables, if the field is one."""
    inner = get_args(get_args(kind)[0])
    return inner[0] if len(inner) == 2 and inner[1] is ... and _is_struct(inner[0]) else None


def item_key(key: Key, number: int, raw: Any) -> Key:
    """The key of one table of the array at ``key``; ``raw`` is what stands there."""
    name = raw.get("name") if isinstance(raw, dict) else None
    return (*key, Item(number, name if isinstance(name, str) else ""))


# Messages


_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dotted(key: Key) -> str:
    """The key for a message: ``uplinks.wan1.probes``; names that TOML wants in quotes are in quotes.

    A table of an array goes by its own name, ``resolver.zone "corp.example".servers``, or by its number, from 1.
    """
    return "".join(map(_part, key)).removeprefix(".")


def _part(part: str | Item) -> str:
    if isinstance(part, Item):
        # Escaped and cut as others are.
        return f' "{quoted(part.name)[1:-1]}"' if part.name else f" {part.number + 1}"
    return f".{part if _BARE.fullmatch(part) else quoted(part)}"


def _unexpected(kind: Any, raw: Any) -> BadField:
    return BadField(f"expected {get_args(kind)[1].description}, not {_shown(raw)}")


def _unknown(key: Key, raw: Any, known: tuple[str, ...], root: type[Struct]) -> str:
    last = str(key[-1])
    name = quoted(last)
    where = f"in {_heading(key[:-1])}" if key[:-1] else "at the top of the file"
    homes = [title for title, keys in _tables(root) if last in keys]
    close = get_close_matches(last, known, 1)
    if isinstance(raw, dict) and len(key) > 2 and isinstance(key[-2], str):
        # A table in a named one can only be the rest of the name: [uplinks.eth0.100] is a slip for one in quotes.
        whole = f"[{dotted(key[:-2])}.{quoted('.'.join(map(str, key[-2:])))}]"
        return f"unknown table {name} {where}; a name that holds dots is written in quotes: {whole}"
    if homes:
        return f"unknown key {name} {where}; it belongs in {' or '.join(homes)}"
    if close:
        return f"unknown key {name} {where}; {close[0]} may be meant"
    return f"unknown key {name} {where}; known are {', '.join(known)}"


def _heading(key: Key) -> str:
    """``[internal]``, or ``[[resolver.zone]] "corp.example"``."""
    return f"[[{dotted(key[:-1])}]]{_part(key[-1])}" if isinstance(key[-1], Item) else f"[{dotted(key)}]"


def _tables(root: type[Struct], prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every table that can be written, as it is written, and its keys."""
    for table in msgspec.structs.fields(root):
        name = f"{prefix}{table.name}"
        if _is_struct(table.type):
            yield f"[{name}]", table.type.__struct_fields__
            yield from _tables(table.type, f"{name}.")
        elif (member := _member(table.type)) is not None:
            yield f"[{name}.NAME]", member.__struct_fields__
        elif (element := _element(table.type)) is not None:
            yield f"[[{name}]]", element.__struct_fields__


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

    TOML can write a key in many ways, so texts are read: that of the lines before it lacks the key, and that of some
    more has it. Of the texts between those two none can be read, since the value goes over several lines.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    low, high = 0, len(lines)
    if not key or _holds(lines, key) is not True:
        return 0
    while (middle := _readable_between(lines, key, low, high)) is not None:
        end, held = middle
        low, high = (low, end) if held else (end, high)
    return low + 1


def _readable_between(lines: list[str], key: Key, low: int, high: int) -> tuple[int, bool] | None:
    """Of the texts that end between two lines, one near the middle that is whole TOML, and whether it has the key."""
    for end in sorted(range(low + 1, high), key=lambda end: abs(2 * end - low - high)):
        held = _holds(lines[:end], key)
        if held is not None:
            return end, held
    return None


def _holds(lines: list[str], key: Key) -> bool | None:
    """Whether the text of these lines has the key; None if it is no whole TOML text."""
    try:
        value: Any = tomllib.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return None
    for part in key:
        if isinstance(part, Item):
            if not isinstance(value, list) or part.number >= len(value):
                return False
            value = value[part.number]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return False
    return True
