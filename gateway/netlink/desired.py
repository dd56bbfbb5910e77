"""The routes and rules that keep every connection to its own interface, worked out from what the kernel has; pure.

Each strict interface, the uplinks and the inside one, gets a table of its own: a copy of what the table main says about
it, so that two uplinks can have overlapping networks and a default route each. Rules lead there by the interface that
a socket is bound to, and by the source address of the packet, and where the table has no answer they end:

    p+0  to INSIDE NETWORK lookup main    without its default routes: answers to inside hosts go inside
    p+1  to INSIDE NETWORK unreachable    or nowhere
    p+2  oif NAME lookup TABLE            sockets bound to the device
    p+3  from ADDRESS lookup TABLE        what has no such socket: resets, ICMP errors, the reverse path filter
    p+8  oif NAME unreachable             for IPv6 only
    p+9  from ADDRESS unreachable

The last one makes it fail closed. For the inside interface it also means that a packet for an inside address that came
in by an outside card gets no answer, not even a reset: nothing can leave with that source address but by the inside.

What a socket sees that is bound to a device and an address whose table has no answer (Linux 6.18): for IPv6, connect(2)
fails at once with ENETUNREACH. For IPv4 the kernel does not believe that anything is unreachable by a device that was
named: it takes the destination to be on that device's link (``ip_route_output_key_hash_rcu``) and asks for it there by
ARP; if nobody answers, the connection fails with EHOSTUNREACH. That leaves by no other device either. A socket bound
to the address alone gets ENETUNREACH in both families.

IPv4 has no ``oif NAME unreachable``: when a route by a gateway is added to main, the kernel looks for the gateway by
all rules as if a socket were bound to the device (``fib_check_nh``). A DHCP client that sets an address and at once the
default route would be refused, as the new network is not in our table yet. A socket bound to a device loses nothing:
what it finds in main can only be a route by that device.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from gateway.address import Address
from gateway.netlink.facts import addresses_of, inside_networks, link_named
from gateway.netlink.model import (
    UNIVERSE,
    KernelRoute,
    KernelState,
    Link,
    Prefix,
    RoutingRule,
    is_link_local,
)

MAIN = 254
INSIDE, NOT_INSIDE, BY_DEVICE, BY_SOURCE, NOT_BY_DEVICE, NOT_BY_SOURCE = 0, 1, 2, 3, 8, 9
"""What is added to the base of our priorities."""

VERSIONS = (4, 6)
NO_METRIC = {4: 0, 6: 1024}
"""What the kernel makes of a route without a metric (``IP6_RT_PRIO_USER``)."""


class Strict(NamedTuple):
    """An interface that nothing of its own leaves but by itself."""

    #: the kernel's name
    name: str
    #: the first of a family replaces the interface's default routes of that family
    gateways: tuple[Address, ...]
    #: whether inside hosts are behind it
    inside: bool


class Bases(NamedTuple):
    """Where our numbers begin: tables by the interfaces' indexes from ``table``, ten priorities from ``priority``."""

    table: int
    priority: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be in the kernel, or what is there, under our protocol number."""

    routes: frozenset[KernelRoute] = frozenset()
    rules: frozenset[RoutingRule] = frozenset()


def desired(interfaces: Sequence[Strict], state: KernelState, bases: Bases) -> Wanted:
    """The routes and rules for these interfaces, given what the kernel has.

    One that is named twice counts once, with all its gateways. An address that two of them have belongs to the first.
    """
    routes: set[KernelRoute] = set()
    rules: set[RoutingRule] = set()
    taken: set[Address] = set()
    for strict in _merged(interfaces):
        link = link_named(state, strict.name)
        rules.update(_device_rules(strict.name, link, bases))
        if link is not None:
            addresses = _routable(state, strict.name)
            rules.update(_source_rules(addresses - taken, bases.table + link.index, bases))
            taken |= addresses
            routes.update(_routes(strict, link, addresses, state, bases))
        if strict.inside:
            rules.update(_inside_rules(state, strict.name, bases))
    return Wanted(frozenset(routes), frozenset(rules))


def _merged(interfaces: Sequence[Strict]) -> Iterable[Strict]:
    found: dict[str, Strict] = {}
    for strict in interfaces:
        before = found.get(strict.name, Strict(strict.name, (), False))
        found[strict.name] = Strict(strict.name, before.gateways + strict.gateways, before.inside or strict.inside)
    return found.values()


def _routable(state: KernelState, name: str) -> set[Address]:
    """An interface's addresses that are its own alone; link-local ones mean something on every link."""
    return {entry.address for entry in addresses_of(state, name) if not is_link_local(entry.address)}


# Rules


def _device_rules(name: str, link: Link | None, bases: Bases) -> Iterator[RoutingRule]:
    """The kernel takes rules for interfaces that do not exist yet; their tables depend on the index that they get."""
    yield RoutingRule(6, bases.priority + NOT_BY_DEVICE, "unreachable", oif=name)
    if link is not None:
        for version in VERSIONS:
            yield RoutingRule(version, bases.priority + BY_DEVICE, "lookup", bases.table + link.index, oif=name)


def _source_rules(addresses: Iterable[Address], table: int, bases: Bases) -> Iterator[RoutingRule]:
    for address in addresses:
        source = Prefix.host(address)
        yield RoutingRule(address.version, bases.priority + NOT_BY_SOURCE, "unreachable", source=source)
        yield RoutingRule(address.version, bases.priority + BY_SOURCE, "lookup", table, source=source)


def _inside_rules(state: KernelState, name: str, bases: Bases) -> Iterator[RoutingRule]:
    """With the inside down, neither main's default routes nor an uplink's may lead outside what is meant for it."""
    for network in inside_networks(state, name):
        version = network.address.version
        main = RoutingRule(version, bases.priority + INSIDE, "lookup", MAIN, destination=network)
        yield main._replace(suppress_default=True)
        yield RoutingRule(version, bases.priority + NOT_INSIDE, "unreachable", destination=network)


# Routes


def _routes(
    strict: Strict, link: Link, addresses: Iterable[Address], state: KernelState, bases: Bases
) -> Iterator[KernelRoute]:
    """The table of one interface. The kernel takes routes by interfaces that are up only."""
    if not link.up:
        return
    table = bases.table + link.index
    versions = {address.version for address in addresses}
    gateways = {gateway.version: gateway for gateway in reversed(strict.gateways) if gateway.version in versions}
    found = [
        replace(route, table=table)
        for route in state.routes
        if route.index == link.index and not (route.destination.length == 0 and route.version in gateways)
    ]
    found += [_default(gateway, link, table) for gateway in gateways.values()]
    near = [route.destination for route in found if route.gateway is None and route.destination.length]
    yield from _one_each(chain.from_iterable(_with_way(route, near) for route in found))


def _default(gateway: Address, link: Link, table: int) -> KernelRoute:
    version = gateway.version
    everything = Prefix(Address(version, 0), 0)
    return KernelRoute(version, table, everything, gateway, link.index, False, UNIVERSE, None, NO_METRIC[version])


def _with_way(route: KernelRoute, near: Iterable[Prefix]) -> Iterator[KernelRoute]:
    """A route, and what the kernel wants so that it believes that the gateway is on the link.

    A gateway can be configured that no network of the interface holds, or main can have one from the time when there
    was such a network. For IPv6 "on the link" as a word is not enough: the kernel refuses it when main has the gateway
    in another interface's network (``ip6_route_check_nh_onlink``), but it looks into the route's own table first.
    """
    gateway = route.gateway
    known = gateway is None or is_link_local(gateway) or any(network.holds(gateway) for network in near)
    by_word = gateway is not None and gateway.version == 4 and not known
    yield replace(route, on_link=by_word)
    if gateway is not None and not known and not by_word:
        network = Prefix.host(gateway)
        yield KernelRoute(6, route.table, network, None, route.index, False, UNIVERSE, None, NO_METRIC[6])


def _one_each(routes: Iterable[KernelRoute]) -> Iterable[KernelRoute]:
    """One for each destination and metric, as the kernel wants it: of several next hops by one interface the lowest."""
    ordered = sorted(routes, key=lambda route: route.gateway or Address(0, 0), reverse=True)
    return {(route.destination, route.metric): route for route in ordered}.values()
