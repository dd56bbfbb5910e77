"""The guard: destinations that a line reaches only when it names them, whatever else it permits.

A firewall host stands in a privileged place: what it can reach by loopback, on its own link or on the inside is not
what ``permit 10.0.0.0/8 ALL`` was written for. The guard is asked after a permit, about the address that the
connection would go to, so that no name and no IPv4 address inside an IPv6 one leads around it.
"""

from collections.abc import Iterable
from typing import NamedTuple

from gateway.address import Address, plain
from gateway.config.rules import AddressPattern, HostPattern
from gateway.policy.pattern import normal, within
from gateway.policy.tables import AddressTable

NAMING_BITS = {4: 8, 6: 7}
"""A line names a destination when its mask has at least so many 1 bits: a whole class A network, or all of fc00::/7."""


class Zone(NamedTuple):
    """A guarded set of addresses: its name, the words that finish "10.0.0.1 is ...", and what it covers."""

    name: str
    phrase: str
    pattern: AddressPattern

    def lifted_by(self, destination: HostPattern) -> bool:
        """Whether a line with this destination names an address of the zone that it covers.

        A line names it with an address pattern that is narrow, or that lies within the zone. ``ALL`` and a
        destination that is not written name nothing; nor does a host name, since whoever runs its name server
        chooses the address (DNS rebinding).
        """
        pattern = normal(destination)
        if not isinstance(pattern, AddressPattern):
            return False
        return pattern.mask.bit_count() >= NAMING_BITS[pattern.version] or within(pattern, self.pattern)


def _zone4(name: str, number: int, length: int) -> Zone:
    return Zone(name, name, AddressPattern(4, number, (1 << 32) - (1 << (32 - length))))


def _zone6(name: str, number: int, length: int) -> Zone:
    return Zone(name, name, AddressPattern(6, number, (1 << 128) - (1 << (128 - length))))


LOOPBACK = (
    _zone4("loopback", 0x7F00_0000, 8),  # RFC 1122 §3.2.1.3 (g)
    _zone6("loopback", 1, 128),  # RFC 4291 §2.5.3
)

RESERVED = (
    _zone4("unspecified", 0, 8),  # RFC 1122 §3.2.1.3 (a), (b); Linux connects 0.0.0.0 to itself
    _zone6("unspecified", 0, 128),  # RFC 4291 §2.5.2
    _zone4("link-local", 0xA9FE_0000, 16),  # RFC 3927 §2.1; the metadata services of most clouds are here
    _zone6("link-local", 0xFE80 << 112, 10),  # RFC 4291 §2.5.6
    _zone4("multicast", 0xE000_0000, 4),  # RFC 5771 §3
    _zone6("multicast", 0xFF << 120, 8),  # RFC 4291 §2.7
    _zone4("broadcast", 0xFFFF_FFFF, 32),  # RFC 919 §7
    _zone4("reserved", 0xF000_0000, 4),  # RFC 1112 §4
    _zone4("metadata", 0x6464_64C8, 32),  # 100.100.100.200, Alibaba Cloud
    _zone6("metadata", 0xFD00_0EC2 << 96 | 0x254, 128),  # fd00:ec2::254, Amazon EC2
)
"""Both tables are in the order in which a class is named when an address belongs to two."""


class Guard(NamedTuple):
    """What this host guards beside the fixed classes: its own addresses, and the networks of the inside."""

    own: frozenset[Address] = frozenset()
    inside: tuple[AddressPattern, ...] = ()

    def zones(self) -> tuple[Zone, ...]:
        """Every guarded zone, the one that gives an address its name first."""
        own = (_exact(plain(address)) for address in sorted(self.own))
        inside = (normal(pattern) for pattern in self.inside)
        return (
            *LOOPBACK,
            *(Zone("the gateway itself", "the gateway itself", pattern) for pattern in own),
            *RESERVED,
            *(Zone("the inside", "on the inside", p) for p in inside if isinstance(p, AddressPattern)),
        )

    def classify(self, address: Address) -> str | None:
        """The name of the guarded class that an address belongs to: "loopback", "the inside" and so on, or None.

        An IPv4-mapped address is the IPv4 one; of other embeddings the caller asks about both addresses.
        """
        zone = find_zone(self.zones(), address)
        return None if zone is None else zone.name


def _exact(address: Address) -> AddressPattern:
    return AddressPattern(address.version, address.number, (1 << (32 if address.version == 4 else 128)) - 1)


def find_zone(zones: Iterable[Zone], address: Address) -> Zone | None:
    """The first zone that an address belongs to."""
    version, number = plain(address)
    return next((zone for zone in zones if zone.pattern.covers(version, number)), None)


class GuardTable:
    """A `Guard` compiled: one bisection an address."""

    __slots__ = ("_tables", "_zones")

    def __init__(self, guard: Guard) -> None:
        zones = guard.zones()
        # The first zone has the highest bit, so that bit_length() finds it; index 0 stands for no zone.
        self._zones: tuple[Zone | None, ...] = (None, *reversed(zones))
        coded = [(zone.pattern, 1 << (len(zones) - 1 - index)) for index, zone in enumerate(zones)]
        self._tables = {
            version: AddressTable.build((pattern, bit) for pattern, bit in coded if pattern.version == version)
            for version in (4, 6)
        }

    def at(self, address: Address) -> Zone | None:
        """The zone that a plain address belongs to."""
        return self._zones[self._tables[address.version].at(address.number).bit_length()]
