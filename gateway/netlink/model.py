"""Interfaces, addresses, routes and rules of this host as plain values; equal values mean the same thing to the kernel.

Only what routing by uplink needs of them. It knows nothing of netlink's messages (`gateway.netlink.messages`), nor of
what is wanted (`gateway.netlink.desired`).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from gateway.address import Address
from gateway.config.fields import mask_of

_LINK_LOCAL = 0xFE80 >> 6
"""The first ten bits of a link-local address (RFC 4291 §2.4)."""

UNIVERSE = 0
"""The scope of a route by way of a gateway (rtnetlink(7))."""

WIDTH = {4: 32, 6: 128}
"""Bits of an address."""


def is_link_local(address: Address) -> bool:
    """Whether an address means something on one link only. Those of IPv4 are routed like any other."""
    return address.version == 6 and address.number >> 118 == _LINK_LOCAL


class Prefix(NamedTuple):
    """A network: its first address, and the number of bits that its addresses share."""

    address: Address
    length: int

    @classmethod
    def around(cls, address: Address, length: int) -> "Prefix":
        """The network of that length that an address is in."""
        return cls(Address(address.version, address.number & mask_of(address.version, length)), length)

    @classmethod
    def host(cls, address: Address) -> "Prefix":
        """An address alone."""
        return cls(address, WIDTH[address.version])

    def holds(self, address: Address) -> bool:
        """Whether an address is in it."""
        mask = mask_of(self.address.version, self.length)
        return address.version == self.address.version and address.number & mask == self.address.number

    def __str__(self) -> str:
        """``10.0.0.0/8``."""
        return f"{self.address}/{self.length}"


@dataclass(frozen=True, slots=True)
class Link:
    """An interface."""

    index: int
    name: str
    #: up, and the link is there (IFF_UP and IFF_RUNNING, netdevice(7)); what has no link to lose is there when it is up
    running: bool
    #: administratively up, so that the kernel takes routes by it
    up: bool = True


AddressScope = Literal["global", "link", "host"]


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of this host, and the length of its network's prefix."""

    address: Address
    prefix: int
    #: that of the interface
    index: int = 0
    #: neither still being checked for duplicates nor found to be one (RFC 4862 §5.4)
    usable: bool = True
    scope: AddressScope = "global"
    #: its preferred lifetime is over (RFC 4862 §5.5.4): connections that exist may keep it, new ones rather not
    deprecated: bool = False
    #: IPv4: not the first of its network; IPv6: a temporary one (RFC 8981)
    secondary: bool = False


NullKind = Literal["blackhole", "unreachable", "prohibit"]
RouteKind = Literal["unicast", "multicast"] | NullKind
NULL_KINDS: tuple[NullKind, ...] = ("blackhole", "unreachable", "prohibit")
"""Routes that lead nowhere (ip-route(8)): what matches them is dropped, or refused."""

RouterPreference = Literal["low", "medium", "high"]
"""What a router says of itself, of several default routers (RFC 4191 §2.1)."""


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route by one interface, or one that leads nowhere. ``version`` is that of the destination.

    Those of kind ``multicast`` are only ever our own.
    """

    version: int
    table: int
    destination: Prefix
    #: None: the destination is on the link. An IPv4 destination can have an IPv6 gateway (RFC 5549)
    gateway: Address | None
    #: of the interface that it leads out by; 0 when it leads nowhere
    index: int
    #: the gateway is on the link though no network of the interface says so
    on_link: bool
    #: the kernel's number; always 0 for IPv6
    scope: int
    #: the preferred source address
    source: Address | None
    #: the kernel's number: none is 0 for IPv4, 1024 for IPv6
    metric: int
    kind: RouteKind = "unicast"
    #: MTU, window and their kind (RTA_METRICS, rtnetlink(7)), as the kernel wrote them: they are passed on, never read
    metrics: bytes = b""
    #: IPv6 only
    preference: RouterPreference = "medium"


RuleAction = Literal["lookup"] | NullKind


class RoutingRule(NamedTuple):
    """A rule of ip-rule(8); of its selectors `source`, `destination` and `oif`, None holds for any packet."""

    version: int
    priority: int
    action: RuleAction
    #: where to look up; 0 when there is nothing to look up
    table: int = 0
    source: Prefix | None = None
    destination: Prefix | None = None
    #: what the socket is bound to; the kernel takes names of interfaces that do not exist yet
    oif: str | None = None
    #: a default route of the table does not count
    suppress_default: bool = False


@dataclass(frozen=True, slots=True)
class KernelState:
    """What the kernel knows of this host's networks, of both families, in the kernel's order."""

    links: tuple[Link, ...] = ()
    addresses: tuple[InterfaceAddress, ...] = ()
    #: the routes of the table main, unicast ones and those that lead nowhere; one with several next hops as several
    routes: tuple[KernelRoute, ...] = ()
    #: those that we made: they carry our protocol number
    own_routes: tuple[KernelRoute, ...] = ()
    own_rules: tuple[RoutingRule, ...] = ()
