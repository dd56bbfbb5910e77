"""Local names: what the gateway itself says about some names of a zone, by hosts files and by records in the settings.

A name that is written here exists here wholly: its other types have no data, whatever the zone's servers say. In a
*closed* zone, one without servers, nothing else exists. Wildcards are those of RFC 4592. Which names belong to the zone
is decided by whoever fills it, `gateway.dns.zones`.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.ttl

from gateway.address import Address
from gateway.config.fields import quoted
from gateway.dns.answer import Answer
from gateway.dns.constants import (
    AAAA,
    CNAME,
    DNAME,
    DNSKEY,
    DS,
    IN,
    MAX_TTL,
    NOERROR,
    NS,
    NSEC,
    NSEC3,
    NSEC3PARAM,
    NXDOMAIN,
    OPT,
    RRSIG,
    SOA,
    A,
    parse_type,
    type_text,
)
from gateway.dns.names import ROOT, BadName, is_below, parents, text_name, wire_name
from gateway.errors import GatewayError

LOCAL_TTL = 60
"""Seconds, of a record that says nothing else: so long a change may take till everybody has seen it."""

MAX_CHAIN = 8
"""Aliases one after the other (field-cases D8)."""

_OWNER = b"\xc0\x0c"
"""A pointer to the name of the question, whatever that is (RFC 1035 §4.1.4)."""

_STAR = b"\1*"

_REFUSED_TYPES = frozenset({NS, SOA, DNAME, OPT, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM})
_META_TYPES = range(128, 256)
"""Types of questions, and of what belongs to one message only (RFC 6895 §3.1)."""

_TAIL_OF_SOA = struct.pack("!IIII", 1, 3600, 1200, 604800)
"""Serial, refresh, retry and expiry, as in RFC 6303 §3."""

_RNAME = b"\6nobody\7invalid\0"

_fixed = struct.Struct("!HHIH").pack


class BadRecord(GatewayError):
    """A record that is refused; the message says what is wrong with it."""


class Row(NamedTuple):
    """One record; ``origin`` is where it is written, as ``hosts:12``."""

    name: bytes
    type: int
    ttl: int
    rdata: bytes
    origin: str


def address_row(name: bytes, address: Address, origin: str) -> Row:
    """The A or AAAA record of a host."""
    return Row(name, A if address.version == 4 else AAAA, LOCAL_TTL, address.packed, origin)


def read_record(text: str, zone: bytes, origin: str) -> Row:
    """A line of a master file, ``NAME [TTL] [IN] TYPE RDATA``, with names that are relative to the zone.

    ``@`` is the zone itself (RFC 1035 §5.1). Raises BadRecord.
    """
    owner, *words = text.split(None, 1)
    rest = words[0] if words else ""
    ttl, rest = _ttl(rest)
    if rest[:3].upper() == "IN ":
        rest = rest[3:].lstrip()
    word, _, data = rest.partition(" ")
    kind = _type(word)
    name = _absolute(owner, zone)
    if kind == CNAME and name == zone:
        raise BadRecord("the zone itself can not be an alias; write its addresses")
    return Row(name, kind, ttl, _rdata(kind, data.strip(), zone), origin)


def _ttl(rest: str) -> tuple[int, str]:
    word, _, others = rest.partition(" ")
    if not word[:1].isdigit():
        return LOCAL_TTL, rest
    try:
        ttl = dns.ttl.from_text(word)
    except dns.ttl.BadTTL:
        ttl = MAX_TTL + 1
    if ttl > MAX_TTL:
        raise BadRecord(f"{quoted(word)} is no TTL, which is a number of seconds")
    return ttl, others.lstrip()


def _type(word: str) -> int:
    kind = parse_type(word)
    if not kind:
        raise BadRecord(f"{quoted(word)} is no type of a record; a record is written 'NAME [TTL] TYPE DATA'")
    if kind in _REFUSED_TYPES or kind in _META_TYPES:
        raise BadRecord(f"a record of type {type_text(kind)} can not be written here")
    return kind


def _absolute(word: str, zone: bytes) -> bytes:
    """The wire name of a word, taken relative to the zone unless it ends in a dot."""
    if word == "@":
        return zone
    try:
        if word.endswith(".") and not word.endswith("\\."):
            return wire_name(word)
        name = wire_name(word)
        _check_doubled(name, zone)
        return wire_name(f"{word}.{text_name(zone)}" if zone != ROOT else word)
    except BadName as fault:
        raise BadRecord(str(fault)) from None


def _check_doubled(name: bytes, zone: bytes) -> None:
    """A name that ends in that of the zone was meant to be whole. Raises BadRecord."""
    if zone != ROOT and is_below(name, zone):
        whole = text_name(name)
        raise BadRecord(f"{whole[:-1]} is taken as relative to the zone; with a dot at its end, {whole}, it is whole")


_WITH_TARGETS = frozenset({"CNAME", "PTR", "MX", "SRV", "NAPTR"})


def _rdata(kind: int, data: str, zone: bytes) -> bytes:
    if type_text(kind) in _WITH_TARGETS and data and not data.endswith("."):
        try:
            _check_doubled(wire_name(data.split()[-1]), zone)
        except BadName as fault:
            raise BadRecord(str(fault)) from None
    origin = dns.name.from_wire(zone, 0)[0]
    try:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.RdataType(kind), data, origin, relativize=False)
        wire = rdata.to_wire(origin=origin)
    except (dns.exception.DNSException, ValueError) as error:
        reason = str(error).rstrip(".")
        raise BadRecord(f"{quoted(data)} is no data of type {type_text(kind)}: {reason}") from None
    # The target of an alias is looked up as it stands.
    return (wire or b"").lower() if kind == CNAME else (wire or b"")


class Local:
    """The local names of one zone, ready to be asked."""

    __slots__ = ("_apexes", "_closed", "_inner", "_names", "_rcode", "_ttl", "_wild", "digest")

    def __init__(
        self,
        apexes: Sequence[bytes],
        rows: Iterable[Row],
        *,
        closed: bool = False,
        rcode: int = NXDOMAIN,
        ttl: int = LOCAL_TTL,
    ) -> None:
        """``apexes`` are the zone's name and the reverse zones that belong to it; every row is in one of them.

        ``closed``: what is not written does not exist, and is answered with ``rcode``; ``ttl`` seconds is how long
        others may remember what does not exist.
        """
        self._apexes = frozenset(apexes)
        self._closed = closed
        self._rcode = rcode
        self._ttl = ttl
        self._names: dict[bytes, tuple[Row, ...]] = {}
        for row in (*rows, *(self._soa_row(apex) for apex in apexes if closed)):
            known = self._names.get(row.name, ())
            if not any(other[1] == row[1] and other[3] == row[3] for other in known):
                self._names[row.name] = (*known, row)
        #: names that exist because of others below them (RFC 4592 §2.2.2), and the apexes
        self._inner = self._inner_names()
        self._wild = any(name.startswith(_STAR) for name in self._names)
        #: another one as soon as an answer is another one
        self.digest = self._digest()

    def _inner_names(self) -> frozenset[bytes]:
        found = set(self._apexes)
        for name in self._names:
            for parent in parents(name):
                if parent != name and parent in found:
                    break
                if parent != name:
                    found.add(parent)
                if parent in self._apexes:
                    break
        return frozenset(found)

    def _digest(self) -> bytes:
        what = blake2b(repr((self._closed, self._rcode, self._ttl)).encode(), digest_size=16)
        for rows in self._names.values():
            for name, kind, ttl, rdata, _ in rows:
                what.update(b"%b %d %d %d %b" % (name, kind, ttl, len(rdata), rdata))
        return what.digest()

    def __len__(self) -> int:
        """How many names are written."""
        return len(self._names)

    def names(self) -> Iterator[bytes]:
        """All that are written, wildcards too."""
        return iter(self._names)

    def rows(self, name: bytes) -> tuple[Row, ...]:
        """What is written for exactly this name."""
        return self._names.get(name, ())

    def find(self, name: bytes, type: int) -> Answer | None:
        """The answer; None if nothing is written for this name, and others have to be asked.

        An alias is followed to other names that are written here; where it leads to another name, that is the
        ``target`` of the answer. None too for a host of one label in a closed root, which may get a domain.
        """
        rows = self._names.get(name)
        if rows is None and self._wild:
            rows = self._synthesised(name)
        if rows is None:
            return self._missing(name, type) if self._closed else None
        return self._answer(name, rows, type)

    def _synthesised(self, name: bytes) -> tuple[Row, ...] | None:
        """The wildcard below the closest name that exists (RFC 4592 §3.3.1)."""
        inner, names = self._inner, self._names
        if name in inner:
            return None
        at = name[0] + 1 if name != ROOT else 0
        while at < len(name):
            parent = name[at:]
            if parent in names or parent in inner:
                return names.get(_STAR + parent)
            at += name[at] + 1
        return None

    def _answer(self, name: bytes, rows: tuple[Row, ...], type: int) -> Answer:
        body = _Body(rows[0].origin)
        owner, target = _OWNER, None
        for _ in range(MAX_CHAIN):
            found = [row for row in rows if row.type == type]
            if not found and rows[0].type != CNAME:
                return body.answer(NOERROR, soa=self._soa(target or name))
            for row in found or rows[:1]:
                body.add(owner, row)
            if found:
                return body.answer(NOERROR)
            owner = target = rows[0].rdata
            # Only what is written: a name that a wildcard covers may be another zone's.
            rows = self._names.get(target, ())
            if not rows:
                break
        return body.answer(NOERROR, target=target)

    def _missing(self, name: bytes, type: int) -> Answer | None:
        """Of a closed zone."""
        if name in self._inner:
            return _Body("").answer(NOERROR, soa=self._soa(name))
        if ROOT in self._apexes and type in (A, AAAA) and len(name) == name[0] + 2:
            return None
        return _Body("").answer(self._rcode, soa=self._soa(name))

    def _soa(self, name: bytes) -> Row:
        """Of the apex above a name; it lets others remember that there is nothing (RFC 2308 §3)."""
        return self._soa_row(next((parent for parent in parents(name) if parent in self._apexes), ROOT))

    def _soa_row(self, apex: bytes) -> Row:
        return Row(apex, SOA, self._ttl, apex + _RNAME + _TAIL_OF_SOA + self._ttl.to_bytes(4, "big"), "")


class _Body:
    """An answer while it grows."""

    __slots__ = ("_bytes", "_origin", "_records", "_ttl", "_ttls")

    def __init__(self, origin: str) -> None:
        self._bytes = bytearray()
        self._origin = origin
        self._records = 0
        self._ttls: list[int] = []
        self._ttl = MAX_TTL

    def add(self, owner: bytes, row: Row) -> None:
        self._bytes += owner
        self._ttls.append(len(self._bytes) + 4)
        self._bytes += _fixed(row.type, IN, row.ttl, len(row.rdata))
        self._bytes += row.rdata
        self._records += 1
        self._ttl = min(self._ttl, row.ttl)

    def answer(self, rcode: int, *, soa: Row | None = None, target: bytes | None = None) -> Answer:
        records, authorities = self._records, 0
        if soa is not None:
            self.add(soa.name, soa)
            authorities = 1
        body, ttls = bytes(self._bytes), tuple(self._ttls)
        return Answer(rcode, records, authorities, body, ttls, self._ttl, origin=self._origin, target=target)


def clashes(rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    """Rows that can not stand beside others, and what is wrong: an alias has no other records and leads to an end."""
    names: dict[bytes, list[Row]] = {}
    aliases = False
    for row in rows:
        names.setdefault(row.name, []).append(row)
        aliases = aliases or row.type == CNAME
    for rows_of_name in names.values() if aliases else ():
        for row in rows_of_name:
            if row.type == CNAME and (fault := _fault_of_alias(row, rows_of_name, names)):
                yield row, fault


def _fault_of_alias(row: Row, beside: Sequence[Row], names: dict[bytes, list[Row]]) -> str:
    other = next((other for other in beside if (other.type, other.rdata) != (CNAME, row.rdata)), None)
    if other is not None:
        where = f" ({other.origin})" if other.origin and other.origin != row.origin else ""
        return f"{text_name(row.name)} is an alias, and has another record of type {type_text(other.type)}{where} too"
    at = row
    for _ in range(MAX_CHAIN):
        following = _alias_at(at.rdata, names)
        if following is None:
            return ""
        at = following
    return f"{text_name(row.name)} is an alias that leads through more than {MAX_CHAIN} others, or in a circle"


def _alias_at(name: bytes, names: dict[bytes, list[Row]]) -> Row | None:
    """The alias that a name is, by itself or by a wildcard."""
    found = names.get(name)
    if found is None:
        wild = (names.get(_STAR + parent) for parent in parents(name) if parent != name)
        found = next((rows for rows in wild if rows), [])
    return found[0] if found and found[0].type == CNAME else None
