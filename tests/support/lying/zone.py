"""What the server would answer if it were honest: names and records in a plain table."""

import itertools
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import dns.rdatatype

from tests.support.lying.message import NOERROR, NXDOMAIN, Asked, Message, Record, data_of, wire

TTL = 60


@dataclass(frozen=True, slots=True)
class Turns:
    """Other data each time it is asked for, over and over, with a TTL of 0: a rebinding server (field-cases S9)."""

    turns: tuple[tuple[str, ...], ...]

    @staticmethod
    def of(*turns: Sequence[str]) -> "Turns":
        return Turns(tuple(map(tuple, turns)))


Zone = Mapping[str, Mapping[str, Sequence[str] | Turns]]
"""name -> type -> data as in a master file, as in ``{"www.example": {"A": ["192.0.2.1"], "MX": ["10 mx.example."]}}``.

A name that begins with ``*.`` is a wildcard (RFC 4592); an empty mapping is a name that exists and has no records.
CNAME and DNAME (RFC 6672) are followed as far as the table goes.
"""


@dataclass(frozen=True, slots=True)
class Honesty:
    """A zone, the names of its apexes, which speak for what is not there, and the TTL of what is and is not."""

    zone: Zone
    apexes: tuple[str, ...]
    ttl: int = TTL
    negative_ttl: int = TTL

    def answer(self, asked: Asked) -> Message:
        """Records behind the aliases that lead to them; a name that is not there does not exist (RFC 2308)."""
        found: list[Record] = []
        name, seen = asked.name, {asked.name}
        while (step := self._alias(name, asked, found)) is not None:
            name = step
            if name in seen:
                return replace(asked.message(), answer=tuple(found))
            seen.add(name)
        held = self._held(name)
        found += self._records(name, asked.type, held or {}, asked.turn)
        exists = held is not None or any(other.endswith(f".{name}") for other in self.zone)
        message = replace(asked.message(NOERROR if exists else NXDOMAIN), answer=tuple(found))
        complete = any(one.type != 5 for one in found) or (asked.type == "CNAME" and found)
        return message if complete else replace(message, authority=tuple(self.soa(name)))

    def _alias(self, name: str, asked: Asked, found: list[Record]) -> str | None:
        """Where an alias of this name leads; its records are added to those found."""
        held = self._held(name) or {}
        if "CNAME" in held and asked.type not in ("CNAME", "ANY"):
            added = self._records(name, "CNAME", held, asked.turn)
            found += added
            return _text(added[0].data)
        for owner in _above(name):
            if "DNAME" in self.zone.get(owner, {}) and asked.type != "DNAME":
                (dname,) = self._records(owner, "DNAME", self.zone[owner], asked.turn)
                target = f"{name.removesuffix(owner)}{_text(dname.data)}"
                found += [dname, Record(wire(name), 5, dname.ttl, wire(target))]
                return target
        return None

    def _held(self, name: str) -> Mapping[str, Sequence[str] | Turns] | None:
        if name in self.zone:
            return self.zone[name]
        for above in _above(name):
            if (stars := self.zone.get(f"*.{above}")) is not None:
                return stars
            if above in self.zone:
                return None
        return None

    def _records(self, name: str, kind: str, held: Mapping[str, Sequence[str] | Turns], turn: int) -> list[Record]:
        data = held.get(kind, ())
        ttl = 0 if isinstance(data, Turns) else self.ttl
        texts = data.turns[turn % len(data.turns)] if isinstance(data, Turns) else data
        number = number_of(kind)
        return [Record(wire(name), number, ttl, data_of(kind, text)) for text in texts]

    def soa(self, name: str) -> list[Record]:
        """The SOA record of the apex that a name is below; none if there is no such apex."""
        fitting = [apex for apex in self.apexes if name == apex or name.endswith(f".{apex}") or not apex]
        if not fitting:
            return []
        apex = max(fitting, key=len)
        data = wire(f"ns.{apex}") + wire(f"hostmaster.{apex}")
        numbers = struct.pack("!5I", 1, 3600, 600, 86400, self.negative_ttl)
        return [Record(wire(apex), 6, self.ttl, data + numbers)]


def _above(name: str) -> Iterable[str]:
    """Every name above this one but the root."""
    while name := name.partition(".")[2]:
        yield name


def _text(name: bytes) -> str:
    labels = []
    while name[0]:
        labels.append(name[1 : 1 + name[0]].decode("latin-1").lower())
        name = name[1 + name[0] :]
    return ".".join(labels)


def number_of(kind: str) -> int:
    """The number of a type that is written as text."""
    return int(dns.rdatatype.from_text(kind))


def chain(first: str, length: int, address: str) -> dict[str, dict[str, list[str]]]:
    """A zone in which a name leads to an address by this many aliases: c1.FIRST, c2.FIRST and so on."""
    names = [first, *(f"c{number}.{first}" for number in range(1, length + 1))]
    links = {name: {"CNAME": [f"{following}."]} for name, following in itertools.pairwise(names)}
    return {**links, names[-1]: {"A": [address]}}


def circle(*names: str) -> dict[str, dict[str, list[str]]]:
    """A zone in which each name is an alias of the next, and the last of the first."""
    return {name: {"CNAME": [f"{names[(at + 1) % len(names)]}."]} for at, name in enumerate(names)}
