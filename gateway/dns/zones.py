"""The zones at work: for each client its view, and in a view exactly one zone for each name; never another one.

A *view* is the zones that a client sees: of zones with one name, the first whose ``clients`` have its address. Clients
that see the same zones share a view. Where local names make one zone say different things in two views, each view has a
`Zone` of its own, so that nothing of the one is ever in the other's cache (field-cases D11).
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.address import Address, plain
from gateway.config.rules import AddressPattern, EgressWord
from gateway.config.settings import Settings, ZoneSettings, gives_stale, is_private
from gateway.config.tomltables import Key
from gateway.dns.cache import Bounds
from gateway.dns.constants import PTR
from gateway.dns.extents import boundaries, owner_of, stand_ins
from gateway.dns.extents import clashes as apex_clashes
from gateway.dns.hot import Hot
from gateway.dns.local import Local, Row
from gateway.dns.local import clashes as record_clashes
from gateway.dns.names import ROOT, is_below, text_name, wire_name
from gateway.dns.servers import Server
from gateway.dns.special import SPECIAL_TTL, Special, specials
from gateway.dns.written import Complaints, Files, Written, common_rows, read_zone, zone_key
from gateway.errors import ConfigError
from gateway.place import Problem, Severity
from gateway.policy.pattern import VERSIONS, within
from gateway.policy.tables import AddressTable

_BUILT_IN_BOUNDS = Bounds(0, 86400, 3600)


class Zone:
    """One zone, compared as an object. ``settings`` None: built in, with nothing but its local names."""

    __slots__ = ("allow", "bounds", "identity", "keeps_way", "local", "name", "private", "servers", "settings",
                 "stale", "text", "ways")  # fmt: skip

    def __init__(self, name: bytes, settings: ZoneSettings | None, local: Local) -> None:
        self.name = name
        #: ``corp.example`` or ``.``
        self.text = text_name(name).removesuffix(".") or "."
        self.settings = settings
        self.local = local
        #: may give inside addresses, and never leaves by a way to the outside
        self.private = settings is None or is_private(settings)
        #: gives old answers when no server answers (RFC 8767)
        self.stale = settings is not None and gives_stale(settings)
        self.servers: tuple[Server, ...] = ()
        #: ways out to the servers, the preferred one first; none: by the kernel's own routes
        self.ways: tuple[EgressWord, ...] = ()
        #: always asked by its own ways, whoever wants to know
        self.keeps_way = self.private or (settings is not None and bool(settings.interface))
        self.bounds = _BUILT_IN_BOUNDS if settings is None else _bounds(settings)
        #: names that may have inside addresses, with all below them, although the zone is public
        self.allow = frozenset(map(wire_name, settings.allow if settings else ()))
        #: equal for two zones, of two loads, that have the same names, servers, ways, and local names
        self.identity: Hashable = None

    def __repr__(self) -> str:
        return f"<zone {self.text}>"


def _bounds(settings: ZoneSettings) -> Bounds:
    return Bounds(settings.min_ttl, settings.max_ttl, settings.negative_ttl)


class View:
    """The zones of some clients."""

    __slots__ = ("_table", "hot", "number", "zones")

    def __init__(self, number: int, zones: tuple[Zone, ...], table: Mapping[bytes, Zone]) -> None:
        """``table`` has the zone that begins at a name; the root is one of the names."""
        #: 0 is that of clients whom no zone names
        self.number = number
        #: those of the administrator first
        self.zones = zones
        #: replies by the bytes of queries, kept by `gateway.dns.hot`
        self.hot: dict[bytes, Hot] = {}
        self._table = table

    def zone_of(self, name: bytes) -> Zone:
        """The one zone that a wire name belongs to."""
        get = self._table.get
        while (zone := get(name)) is None:
            name = name[name[0] + 1 :]
        return zone


class _Choice(NamedTuple):
    """Which view a client has."""

    #: by version, the clients of zones that have an address
    tables: Mapping[int, AddressTable]
    views: Mapping[int, View]


class Zones:
    """All zones and views of the settings."""

    def __init__(
        self,
        views: tuple[View, ...],
        choice: _Choice,
        clients: Sequence[AddressPattern],
        domain: bytes | None,
        *,
        is_inside_asked: bool,
        warnings: tuple[Problem, ...] = (),
    ) -> None:
        self.views = views
        #: those of every view, the built-in ones last
        self.zones = tuple(sorted(dict.fromkeys(zone for view in views for zone in view.zones), key=_is_built_in))
        #: what names of one label get; None: they do not exist
        self.domain = domain
        #: who may ask
        self.clients = tuple(clients)
        #: doubts about what is written
        self.warnings = warnings
        self._choice = choice
        self._is_inside_asked = is_inside_asked

    @staticmethod
    def compile(settings: Settings, inside: Sequence[AddressPattern], files: Files) -> "Zones":
        """The zones of ``[resolver]``. ``inside``, the networks of the inside, may ask unless others are written.

        Raises ConfigError with every mistake in the records and hosts files, and every contradiction between zones.
        """
        return _Compiler(settings, files).zones(inside)

    @staticmethod
    def none() -> "Zones":
        """Where there is no resolver: nobody may ask, and there are the built-in zones only."""
        return Zones.compile(Settings(), (), Files("", "", {}, {}))

    def for_inside(self, inside: Sequence[AddressPattern]) -> "Zones":
        """The very same zones and views, now that these are the networks of the inside."""
        if not self._is_inside_asked:
            return self
        return Zones(self.views, self._choice, inside, self.domain, is_inside_asked=True, warnings=self.warnings)

    def view_of(self, address: Address) -> View | None:
        """What a client sees; None if it may not ask at all. An IPv4-mapped address is that of the IPv4 host."""
        version, number = plain(address)
        if not any(pattern.covers(version, number) for pattern in self.clients):
            return None
        return self.view_for(address)

    def view_for(self, address: Address) -> View:
        """What somebody with this address would see, whether he may ask or not."""
        version, number = plain(address)
        return self._choice.views[self._choice.tables[version].at(number)]


def _is_built_in(zone: Zone) -> bool:
    return zone.settings is None


_Chosen = tuple[int, ...]
"""The numbers of the zones of the settings that a view has."""


class _Compiler:
    """From what is written to what is at work."""

    def __init__(self, settings: Settings, files: Files) -> None:
        self._settings = settings
        self._complaints = Complaints(files)
        self._written = [
            read_zone(number, settings, files, self._complaints) for number in range(len(settings.resolver.zone))
        ]
        self._common = tuple(common_rows(settings, files, self._complaints))
        self._specials = self._all_specials()
        self._made: dict[tuple[int, tuple[Row, ...]], Zone] = {}
        self._owners: dict[Zone, int] = {}
        self._used: set[tuple[int, bytes]] = set()

    def _all_specials(self) -> tuple[Special, ...]:
        """The built-in zones of every view; those that stand in for a zone are used where it is not seen."""
        known = (*specials(), Special(ROOT))
        extents = [zone.extent for zone in self._written]
        return (*known, *stand_ins(extents, {special.name for special in known}))

    def zones(self, inside: Sequence[AddressPattern]) -> Zones:
        """Raises ConfigError."""
        views, choice = self._views()
        self._identify(views.values())
        self._look_for_doubts(views)
        problems = self._complaints.problems
        if any(problem.severity is Severity.ERROR for problem in problems):
            raise ConfigError(problems)
        resolver = self._settings.resolver
        own = wire_name(resolver.domain) if resolver.domain else None
        clients = resolver.clients or inside
        is_inside_asked = not resolver.clients
        return Zones(tuple(views.values()), choice, clients, own, is_inside_asked=is_inside_asked, warnings=problems)

    def _views(self) -> tuple[dict[_Chosen, View], _Choice]:
        """One for each set of zones that some client sees; the first is that of clients whom no zone names."""
        patterns = [(pattern, zone.number) for zone in self._written for pattern in zone.settings.clients]
        tables = {
            version: AddressTable.build(
                (pattern, 1 << bit) for bit, (pattern, _) in enumerate(patterns) if pattern.version == version
            )
            for version in VERSIONS
        }
        chosen: dict[int, _Chosen] = {0: self._chosen(frozenset())}
        for table in tables.values():
            for bits in table.intervals.sets:
                chosen[bits] = self._chosen({number for bit, (_, number) in enumerate(patterns) if bits >> bit & 1})
        views: dict[_Chosen, View] = {}
        for numbers in chosen.values():
            if numbers not in views:
                views[numbers] = self._view(len(views), numbers)
        return views, _Choice(tables, {bits: views[numbers] for bits, numbers in chosen.items()})

    def _chosen(self, matched: Iterable[int]) -> _Chosen:
        """Of each name, the first zone that is for clients who are among those of the ``matched`` ones."""
        found: dict[bytes, int] = {}
        for zone in self._written:
            if not zone.settings.clients or zone.number in matched:
                found.setdefault(zone.name, zone.number)
        return tuple(sorted(found.values()))

    # One view

    def _view(self, number: int, chosen: _Chosen) -> View:
        extents = {number: self._written[number].extent for number in chosen}
        for clash in apex_clashes(extents):
            self._say_clash(clash.apex, clash.first, clash.second)
        table = boundaries(extents, self._specials)
        loose = self._loose(chosen, table)
        zones = {owner: self._zone(owner, tuple(loose.get(owner, ()))) for owner in _in_order(table.values())}
        for owner in chosen:
            zones.setdefault(owner, self._zone(owner, tuple(loose.get(owner, ()))))
            self._used.update(
                (owner, row.name) for row in self._written[owner].rows if owner_of(row.name, table) == owner
            )
        return View(number, tuple(zones.values()), {name: zones[owner] for name, owner in table.items()})

    def _loose(self, chosen: _Chosen, table: Mapping[bytes, int]) -> dict[int, list[Row]]:
        """The records that belong to whatever zone their names are in, by these zones."""
        found: dict[int, list[Row]] = {}
        pointers = (row for number in chosen for row in self._written[number].pointers)
        for row in (*pointers, *self._common):
            found.setdefault(owner_of(row.name, table), []).append(row)
        return found

    def _zone(self, owner: int, loose: tuple[Row, ...]) -> Zone:
        """The zone with these records besides its own; views in which they are the same share it."""
        zone = self._made.get((owner, loose))
        if zone is None:
            zone = self._written_zone(self._written[owner], loose) if owner >= 0 else self._built_in(owner, loose)
            self._made[owner, loose] = zone
            self._owners[zone] = owner
        return zone

    def _written_zone(self, written: Written, loose: tuple[Row, ...]) -> Zone:
        rows = tuple(_together(written.rows, loose))
        key = zone_key(written.number, written.settings)
        for row, fault in record_clashes(rows):
            self._complaints.of(key, f"{row.origin}: {fault}")
        zone = Zone(written.name, written.settings, Local(written.extent.apexes, rows, closed=not written.servers))
        zone.servers, zone.ways = written.servers, written.ways
        return zone

    def _built_in(self, owner: int, loose: tuple[Row, ...]) -> Zone:
        special = self._specials[-1 - owner]
        rows = _together(special.rows, loose)
        is_root = special.name == ROOT
        local = Local((special.name,), rows, closed=not is_root, rcode=special.rcode, ttl=SPECIAL_TTL)
        return Zone(special.name, None, local)

    # All views

    def _identify(self, views: Iterable[View]) -> None:
        """A zone whose limits have changed is another one: it may have answers for names that are not its own now."""
        others: dict[Zone, set[bytes]] = {}
        for view in views:
            for zone in view.zones:
                if zone.servers:
                    others.setdefault(zone, set()).update(self._cut_out(zone, view))
        for zone in self._made.values():
            cut = frozenset(others.get(zone, ()))
            zone.identity = (zone.name, zone.settings, zone.servers, zone.ways, zone.local.digest, cut)

    def _cut_out(self, zone: Zone, view: View) -> Iterator[bytes]:
        apexes = self._written[self._owners[zone]].extent.apexes
        for name, other in view._table.items():
            if other is not zone and any(is_below(name, apex) for apex in apexes):
                yield name

    def _say_clash(self, apex: bytes, first: int, second: int) -> None:
        zone = self._written[second]
        key = (*zone_key(second, zone.settings), "name" if zone.name == apex else "networks")
        other = self._written[first].text
        self._complaints.of(key, f"{text_name(apex)[:-1]} is the zone {other}'s for the same clients already")

    def _look_for_doubts(self, views: Mapping[_Chosen, View]) -> None:
        askers = self._settings.resolver.clients or self._settings.internal.networks
        for zone in self._written:
            key = zone_key(zone.number, zone.settings)
            clients = zone.settings.clients
            if not any(zone.number in chosen for chosen in views):
                self._doubt(
                    (*key, "clients"), "zones of this name before it are for all these clients: it is never asked"
                )
                continue
            if askers and clients and not any(_overlap(mine, theirs) for mine in clients for theirs in askers):
                self._doubt((*key, "clients"), "none of these clients may ask; see clients of [resolver]")
            lost = [row for row in zone.rows if (zone.number, row.name) not in self._used]
            if lost:
                message = (
                    f"{text_name(lost[0].name)[:-1]} ({lost[0].origin}) belongs to another zone, which is asked for it"
                )
                self._doubt(key, message)
        self._doubt_domain(views)

    def _doubt_domain(self, views: Mapping[_Chosen, View]) -> None:
        domain = self._settings.resolver.domain
        if domain and not all(view.zone_of(wire_name(domain)).private for view in views.values()):
            message = f"{domain} is in a zone that is not private: names of one label are asked for outside"
            self._doubt(("resolver", "domain"), message)

    def _doubt(self, key: Key, message: str) -> None:
        self._complaints.of(key, message, Severity.WARNING)


def _in_order(owners: Iterable[int]) -> list[int]:
    """Those of the settings in their order, then the built-in ones in theirs."""
    return sorted(set(owners), key=lambda owner: (owner < 0, abs(owner)))


def _together(own: Iterable[Row], loose: Iterable[Row]) -> Iterator[Row]:
    """An address has the first name that is written for it, and those that are written beside it."""
    named: set[bytes] = set()
    for row in own:
        if row.type == PTR:
            named.add(row.name)
        yield row
    for row in loose:
        if row.type == PTR and row.name in named:
            continue
        if row.type == PTR:
            named.add(row.name)
        yield row


def _overlap(one: AddressPattern, other: AddressPattern) -> bool:
    return within(one, other) or within(other, one)
