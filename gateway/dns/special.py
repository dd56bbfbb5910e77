"""Names that are never looked up outside: those with a meaning of their own, and the reverse zones of private networks.

Each is a zone of its own, built in and closed. A zone of the administrator with the same name, or with a longer one,
takes its place; so does a larger one that is private, such as ``arpa`` with servers inside, but for the names that
mean something on every host alone. A public zone, ``.`` above all, never does: what is asked here would tell the
outside about the inside.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gateway.address import Address
from gateway.config.fields import parse_prefix
from gateway.dns.constants import NOERROR, NXDOMAIN, PTR
from gateway.dns.local import Row, address_row
from gateway.dns.names import is_below, reverse_name, reverse_zones, wire_name

SPECIAL_TTL = 10800
"""Seconds that others may remember that there is nothing (RFC 6303 §3)."""


class Special(NamedTuple):
    """One built-in zone."""

    name: bytes
    #: which no larger zone takes the place of
    fixed: bool = False
    #: of names of which nothing is written
    rcode: int = NXDOMAIN
    rows: tuple[Row, ...] = ()
    #: it is in the place of a private zone of the administrator, for clients who see no zone of that name
    stands_in: bool = False
    #: names that are left to the next larger zone all the same, with those below them
    exclusions: tuple[bytes, ...] = ()

    def excludes(self, name: bytes) -> bool:
        """Whether the name is left to the next larger zone."""
        return any(is_below(name, excluded) for excluded in self.exclusions)


_LOCALHOST = wire_name("localhost")
_LOOPBACKS = (Address(4, 0x7F00_0001), Address(6, 1))
_ORIGIN = "built in"

_NETWORKS = (
    # RFC 1918, by RFC 6303 §4.1
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
    # RFC 6303 §4.2: this network, link-local, documentation, broadcast
    "0.0.0.0/8", "169.254.0.0/16", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "255.255.255.255/32",
    # shared address space, by RFC 7793
    "100.64.0.0/10",
    # RFC 6303 §4.3-§4.6: unspecified, link-local, documentation; unique local, of which it has the half fd00::/8 only
    "::/128", "fe80::/10", "2001:db8::/32", "fc00::/7",
    # site-local: deprecated by RFC 3879 §4, but still the inside's where there are any
    "fec0::/10",
)  # fmt: skip


def specials() -> Iterator[Special]:
    """All of them, none twice; the root, which is whatever has no zone, is not among them."""
    addresses = [address_row(name, at, _ORIGIN) for name in (_LOCALHOST, b"\1*" + _LOCALHOST) for at in _LOOPBACKS]
    # RFC 6761 §6.3
    yield Special(_LOCALHOST, fixed=True, rows=tuple(addresses))
    # RFC 6761 §6.4; RFC 7686 §2; RFC 9476 §2
    yield from (Special(wire_name(name), fixed=True) for name in ("invalid", "onion", "alt"))
    # RFC 6761 §6.2; RFC 6762 §22.1; RFC 8375 §4; reserved by ICANN for private use
    yield from (Special(wire_name(name)) for name in ("test", "local", "home.arpa", "internal"))
    # RFC 9462 §6.4: there is nothing of any type
    yield Special(wire_name("resolver.arpa"), fixed=True, rcode=NOERROR)
    yield from (Special(zone, fixed=True, rows=rows) for zone, rows in _loopback_zones())
    for network in _NETWORKS:
        yield from map(Special, reverse_zones(parse_prefix(network)[0]))


def _loopback_zones() -> Iterator[tuple[bytes, tuple[Row, ...]]]:
    """RFC 6303 §4.2, §4.3: 127/8 and ::1, where the addresses of localhost have its name."""
    for network, address in zip(("127.0.0.0/8", "::1/128"), _LOOPBACKS, strict=True):
        row = Row(reverse_name(address), PTR, SPECIAL_TTL, _LOCALHOST, _ORIGIN)
        yield from ((zone, (row,)) for zone in reverse_zones(parse_prefix(network)[0]))
