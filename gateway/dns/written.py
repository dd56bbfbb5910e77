"""A zone as the settings and the files that they name describe it: its extent, its servers, its local names.

Files come in parsed; a mistake goes out with the line of the file that it is in.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gateway.address import Address
from gateway.config.fields import parse_prefix, quoted
from gateway.config.hosts import HostsLine
from gateway.config.rules import EgressWord
from gateway.config.settings import ServerAddress, Settings, ZoneSettings, is_private, zone_ways
from gateway.config.tomltables import Fault, Item, Key, dotted, place_faults
from gateway.dns.constants import PTR
from gateway.dns.extents import Extent
from gateway.dns.local import LOCAL_TTL, BadRecord, Row, address_row, read_record
from gateway.dns.names import BadName, reverse_name, reverse_zones, text_name, wire_name
from gateway.dns.servers import Server
from gateway.place import Place, Problem, Severity

DNS_PORT, TLS_PORT = 53, 853

_NO_POINTERS = tuple(parse_prefix(prefix)[0] for prefix in ("0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128"))
"""Addresses that mean this host, or none: many names have them in files that block names, and none is theirs."""

_LOCALHOST = "localhost"


class Files(NamedTuple):
    """What was read: the settings' own path and text, and by their paths, hosts files and files of name servers."""

    path: str
    text: str
    hosts: Mapping[str, tuple[HostsLine, ...]]
    servers: Mapping[str, tuple[Address, ...]]


class Written(NamedTuple):
    """One zone of the settings; ``number`` counts them from 0."""

    number: int
    settings: ZoneSettings
    name: bytes
    extent: Extent
    servers: tuple[Server, ...]
    ways: tuple[EgressWord, ...]
    #: its own local names
    rows: tuple[Row, ...]
    #: the PTR records of its hosts, in whatever zone they are
    pointers: tuple[Row, ...]

    @property
    def text(self) -> str:
        """``corp.example`` or ``.``."""
        return text_name(self.name).removesuffix(".") or "."


class Complaints:
    """Collects what is wrong, and knows the lines of it."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lines = files.text.split("\n")
        self._said: dict[Problem, None] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Each once, in the order in which they were found."""
        return tuple(self._said)

    def at(self, place: Place, message: str) -> None:
        """A mistake in one of the other files."""
        self._said[Problem(place, message)] = None

    def of(self, key: Key, message: str, severity: Severity = Severity.ERROR) -> None:
        """A mistake in a key of the settings."""
        (problem,) = place_faults([Fault(key, f"{dotted(key)}: {message}")], self._files.text, self._files.path)
        self._said[problem._replace(severity=severity)] = None

    def of_record(self, key: Key, record: str, message: str) -> None:
        """A mistake in one of the records of a key."""
        line = self.line_of(record)
        text = f"{dotted(key)}: {quoted(record)}: {message}"
        if line:
            self._said[Problem(Place(self._files.path, line), text)] = None
        else:
            self.of(key, f"{quoted(record)}: {message}")

    def line_of(self, record: str) -> int:
        """The line of the settings that holds this text, 0 if that can not be told."""
        found = [number for number, line in enumerate(self._lines, 1) if record in line]
        return found[0] if len(found) == 1 else 0


def zone_key(number: int, zone: ZoneSettings) -> Key:
    """Where a zone stands in the settings."""
    return ("resolver", "zone", Item(number, zone.name))


def read_zone(number: int, settings: Settings, files: Files, complaints: Complaints) -> Written:
    """One of the zones; what is wrong with it goes to ``complaints``, and is left out."""
    zone = settings.resolver.zone[number]
    name = wire_name(zone.name)
    reverse = dict.fromkeys(apex for pattern in zone.networks for apex in reverse_zones(pattern) if apex != name)
    extent = Extent((name, *reverse), tuple(map(wire_name, zone.exclude)), is_private(zone))
    records = _Records(zone_key(number, zone), name, extent, files, complaints)
    hosts = tuple(records.hosts(zone.hosts)) if zone.hosts else ()
    rows = (*records.inline(zone.records), *(row for row in hosts if row.type != PTR))
    pointers = tuple(row for row in hosts if row.type == PTR)
    ways = zone_ways(settings, zone) if zone.servers else ()
    return Written(number, zone, name, extent, tuple(_servers(zone, files)), ways, rows, pointers)


def _servers(zone: ZoneSettings, files: Files) -> Iterator[Server]:
    """Each once, in their order, those of files in the place of their file."""
    usual = TLS_PORT if zone.tls else DNS_PORT
    found: dict[Server, None] = {}
    for word in zone.servers:
        if isinstance(word, ServerAddress):
            found[Server(word.address, word.port or usual, zone.tls)] = None
        else:
            found.update((Server(address, usual, zone.tls), None) for address in files.servers[word])
    yield from found


class _Records:
    """Reads the local names of one zone."""

    def __init__(self, key: Key, zone: bytes, extent: Extent, files: Files, complaints: Complaints) -> None:
        self._key = key
        self._zone = zone
        self._extent = extent
        self._files = files
        self._complaints = complaints
        self._text = text_name(zone).removesuffix(".")

    def inline(self, texts: Iterable[str]) -> Iterator[Row]:
        for text in texts:
            line = self._complaints.line_of(text)
            label = os.path.basename(self._files.path)
            key = (*self._key, "records")
            try:
                row = read_record(text, self._zone, f"{label}:{line}" if line else label)
            except BadRecord as fault:
                self._complaints.of_record(key, text, str(fault))
                continue
            if self._extent.covers(row.name):
                yield row
            else:
                self._complaints.of_record(key, text, self._outside(text_name(row.name).removesuffix(".")))

    def hosts(self, path: str) -> Iterator[Row]:
        for line in self._files.hosts[path]:
            names = []
            for name in line.names:
                wire = self._absolute(name)
                if wire is not None and self._extent.covers(wire):
                    names.append(wire)
                else:
                    self._complaints.at(line.place, self._outside(name))
            yield from host_rows(line, names)

    def _absolute(self, name: str) -> bytes | None:
        """A name of one label is relative to the zone, any other one is whole."""
        whole = f"{name}.{self._text}" if "." not in name and self._text else name
        try:
            return wire_name(whole)
        except BadName:
            return None

    def _outside(self, name: str) -> str:
        excluded = self._extent.exclusions and " or is excluded from it"
        return f"{name} is not in the zone {self._text or '.'}{excluded or ''}"


def host_rows(line: HostsLine, names: list[bytes]) -> Iterator[Row]:
    """The records of a line of a hosts file: the address of each name, and the first name of the address."""
    origin = f"{os.path.basename(line.place.path)}:{line.place.line}"
    for name in names:
        yield address_row(name, line.address, origin)
    if names and not any(pattern.covers(*line.address) for pattern in _NO_POINTERS):
        yield Row(reverse_name(line.address), PTR, LOCAL_TTL, names[0], origin)


def common_rows(settings: Settings, files: Files, complaints: Complaints) -> Iterator[Row]:
    """Those of ``[resolver] hosts``, which belong to whatever zone they are in; names of one label get the domain."""
    path, domain = settings.resolver.hosts, settings.resolver.domain
    for line in files.hosts[path] if path else ():
        names = []
        for name in line.names:
            # Of these the gateway has its own idea, which is the same everywhere.
            if name == _LOCALHOST or name.endswith(f".{_LOCALHOST}"):
                continue
            try:
                names.append(wire_name(f"{name}.{domain}" if domain and "." not in name else name))
            except BadName as fault:
                complaints.at(line.place, str(fault))
        yield from host_rows(line, names)
