"""The routes and rules that keep every connection to its own interface, worked out from what the kernel has; pure.

Each strict interface, the uplinks and the inside one, gets a table of its own: a copy of what the table main says about
it, so that two uplinks can have overlapping networks and a default route each. Rules lead there by the interface that
a socket is bound to, and by the source address of the packet, and where the table has no answer they end:

    p+0  to NEAR NETWORK lookup main            without its default routes
    p+1  to INSIDE NETWORK unreachable          there or nowhere
    p+1  to NULL NETWORK oif NAME unreachable   or blackhole, or prohibit; for IPv6 only
    p+1  to NULL NETWORK oif NAME lookup t+0    for IPv4 only
    p+2  oif NAME lookup TABLE                  sockets bound to the device
    p+3  from ADDRESS lookup TABLE              what has no such socket: resets, ICMP errors, the reverse path filter
    p+8  oif NAME unreachable                   for IPv6 only
    p+9  from ADDRESS unreachable

Near networks are those that main has a way to by a card that is no uplink: the inside, networks behind routers of the
inside, a management network, a VPN. Answers of the host itself to them leave as they always did, from whatever address.
Where main has a longer prefix by an uplink, though, the source address decides: an answer from an inside address is
never drawn out by an uplink's network within a near one.

Null networks are those that main has a ``blackhole``, ``unreachable`` or ``prohibit`` route for. Our tables have these
routes, too, but a socket that is bound to a device does not heed them, so there are rules. For IPv6 these routes are by
the loopback interface, and a lookup for a socket that is bound to another one passes them by (``rt6_score_route``).
For IPv4 no error of a lookup counts (see below). What does is an answer that TCP can not use: the table t+0, which no
interface has as there is no index 0, says that everything is multicast, and connect(2) fails with ENETUNREACH. The
scope of that answer is wide, so that the kernel does not take it for one when it looks for a new gateway.

The last rule makes it fail closed. For the inside interface it also means that a packet for an inside address that came
in by an outside card gets no answer, not even a reset: nothing can leave with that source address but by the inside.

What a socket sees that is bound to a device and an address whose table has no answer (Linux 6.18): for IPv6, connect(2)
fails at once with ENETUNREACH. For IPv4 the kernel does not believe that anything is unreachable by a device that was
named, not even with a null route or a rule that says so: it takes the destination to be on that device's link
(``ip_route_output_key_hash_rcu``) and asks for it there by ARP; if nobody answers, the connection fails with
EHOSTUNREACH. That leaves by no other device either. A socket bound to the address alone gets ENETUNREACH in both
families.

IPv4 has no ``oif NAME unreachable``: when a route by a gateway is added to main, the kernel looks for the gateway by
all rules as if a socket were bound to the device (``fib_check_nh``). A DHCP client that sets an address and at once the
default route would be refused, as the new network is not in our table yet. A socket bound to a device loses nothing:
what it finds in main can only be a route by that device.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

from gateway.address import Address
from gateway.netlink.facts import addresses_of, disfavour, inside_networks, link_named
from gateway.netlink.model import (
    NULL_KINDS,
    UNIVERSE,
    KernelRoute,
    KernelState,
    Link,
    NullKind,
    Prefix,
    RoutingRule,
    is_link_local,
)
from gateway.netlink.regions import broadest, cover, within

MAIN = 254
NEAR, NOWHERE, BY_DEVICE, BY_SOURCE, NOT_BY_DEVICE, NOT_BY_SOURCE = 0, 1, 2, 3, 8, 9
"""What is added to the base of our priorities."""

VERSIONS = (4, 6)
NO_METRIC = {4: 0, 6: 1024}
"""What the kernel makes of a route without a metric (``IP6_RT_PRIO_USER``)."""

MOST_NETWORKS = 256
"""Of each family and each kind of rule by destination: the kernel goes through all of them for every packet."""


class Strict(NamedTuple):
    """An interface that nothing of its own leaves but by itself."""

    #: the kernel's name
    name: str
    #: the first of a family replaces the interface's default routes of that family
    gateways: tuple[Address, ...]
    #: whether inside hosts are behind it
    inside: bool


class Bases(NamedTuple):
    """Where our numbers begin: tables by the interfaces' indexes from ``table``, ten priorities from ``priority``.

    An index is at least 1: the first table is for what leads nowhere.
    """

    table: int
    priority: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be in the kernel, or what is there, under our protocol number."""

    routes: frozenset[KernelRoute] = frozenset()
    rules: frozenset[RoutingRule] = frozenset()
    #: networks that have no rule because there were more than MOST_NETWORKS; nothing that the kernel knows
    left_out: int = field(default=0, compare=False)


def desired(interfaces: Sequence[Strict], state: KernelState, bases: Bases, networks: Sequence[Prefix] = ()) -> Wanted:
    """The routes and rules for these interfaces, given what the kernel has.

    One that is named twice counts once, with all its gateways. An address that two of them have belongs to the first.
    ``networks`` are inside networks whatever the inside interface says of itself.
    """
    merged = _merged(interfaces)
    near = _near(merged, state, networks) if merged else _Near((), (), 0)
    routes: set[KernelRoute] = set()
    rules = set(_near_rules(near, bases))
    taken: set[Address] = set()
    left_out = near.left_out
    for strict in merged:
        link = link_named(state, strict.name)
        rules.update(_device_rules(strict.name, link, bases))
        if link is not None:
            addresses = _routable(state, strict.name)
            rules.update(_source_rules(addresses - taken, bases.table + link.index, bases))
            taken |= addresses
            table = _table(strict, link, addresses, state, bases)
            nowhere, more = _null_rules(strict.name, table, bases)
            rules.update(nowhere)
            routes.update(table, _nowhere(link, nowhere, bases))
            left_out += more
    return Wanted(frozenset(routes), frozenset(rules), left_out)


def _merged(interfaces: Sequence[Strict]) -> Sequence[Strict]:
    found: dict[str, Strict] = {}
    for strict in interfaces:
        before = found.get(strict.name, Strict(strict.name, (), False))
        found[strict.name] = Strict(strict.name, before.gateways + strict.gateways, before.inside or strict.inside)
    return list(found.values())


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


class _Near(NamedTuple):
    """Networks that are not for uplinks; those of the inside are among both."""

    #: main knows the way
    by_main: tuple[Prefix, ...]
    #: there is no other way
    only: tuple[Prefix, ...]
    left_out: int


def _near(interfaces: Iterable[Strict], state: KernelState, networks: Iterable[Prefix]) -> _Near:
    """No end without a way: what is told to be unreachable is inside of what main is asked for."""
    inside = [network for strict in interfaces if strict.inside for network in inside_networks(state, strict.name)]
    inside += [network for network in networks if _is_network(network)]
    outside = {strict.name for strict in interfaces if not strict.inside}
    far_links = {link.index for link in state.links if link.name in outside}
    routes = [route for route in state.routes if _is_network(route.destination)]
    near = [route.destination for route in routes if route.kind == "unicast" and route.index not in far_links]
    far = {route.destination for route in routes if route.index in far_links}
    far |= {network for network, route in _best(routes).items() if route.kind in NULL_KINDS}
    ways, ends = cover([*inside, *near], far), cover(inside, far)
    by_main = broadest(ways, MOST_NETWORKS, first=ends)
    only = broadest(list(within(ends, by_main)), MOST_NETWORKS)
    return _Near(by_main, only, len({*ways}.difference(by_main) | {*ends}.difference(only)))


def _is_network(network: Prefix) -> bool:
    """Neither everything, nor what is on every link, nor this host itself, for which the table local has the answer."""
    return bool(network.length) and not is_link_local(network.address) and network != _LOOPBACK


_LOOPBACK = Prefix.host(Address(6, 1))
"""Main has a route for it, by the loopback interface."""


def _near_rules(near: _Near, bases: Bases) -> Iterator[RoutingRule]:
    """With the inside down, neither main's default routes nor an uplink's may lead outside what is meant for it."""
    for network in near.by_main:
        version = network.address.version
        main = RoutingRule(version, bases.priority + NEAR, "lookup", MAIN, destination=network)
        yield main._replace(suppress_default=True)
    for network in near.only:
        yield RoutingRule(network.address.version, bases.priority + NOWHERE, "unreachable", destination=network)


def _null_rules(name: str, table: Iterable[KernelRoute], bases: Bases) -> tuple[list[RoutingRule], int]:
    """Rules for the null routes of an interface's table, and how many networks had to be left out."""
    best = _best(route for route in table if _is_network(route.destination))
    rules: list[RoutingRule] = []
    left_out = 0
    for kind in NULL_KINDS:
        nulls = [network for network, route in best.items() if route.kind == kind]
        pieces = cover(nulls, [network for network, route in best.items() if route.kind != kind])
        kept = broadest(pieces, MOST_NETWORKS)
        left_out += len(pieces) - len(kept)
        rules += [_null_rule(name, network, kind, bases) for network in kept]
    return rules, left_out


def _null_rule(name: str, network: Prefix, kind: NullKind, bases: Bases) -> RoutingRule:
    version = network.address.version
    if version == 4:
        return RoutingRule(4, bases.priority + NOWHERE, "lookup", bases.table, destination=network, oif=name)
    return RoutingRule(6, bases.priority + NOWHERE, kind, destination=network, oif=name)


def _best(routes: Iterable[KernelRoute]) -> dict[Prefix, KernelRoute]:
    """What counts for each destination: the lowest metric."""
    return {route.destination: route for route in sorted(routes, key=lambda route: route.metric, reverse=True)}


# Routes


def _nowhere(link: Link, rules: Iterable[RoutingRule], bases: Bases) -> Iterator[KernelRoute]:
    """What the rules for IPv4 find: a route for each interface, which the metric tells apart."""
    if any(rule.version == 4 for rule in rules):
        everything = Prefix(Address(4, 0), 0)
        yield KernelRoute(
            4, bases.table, everything, None, link.index, False, UNIVERSE, None, link.index, kind="multicast"
        )


def _table(
    strict: Strict, link: Link, addresses: Iterable[Address], state: KernelState, bases: Bases
) -> Sequence[KernelRoute]:
    """The table of one interface. The kernel takes routes by interfaces that are up only."""
    if not link.up:
        return []
    table = bases.table + link.index
    versions = {address.version for address in addresses}
    gateways = {gateway.version: gateway for gateway in reversed(strict.gateways) if gateway.version in versions}
    found = [replace(route, table=table) for route in state.routes if _is_copied(route, link, gateways)]
    found += [_default(gateway, link, table) for gateway in gateways.values()]
    near = [route.destination for route in found if _is_on_link(route) and route.destination.length]
    return _one_each(chain.from_iterable(_with_way(route, near) for route in found))


def _is_copied(route: KernelRoute, link: Link, gateways: Collection[int]) -> bool:
    """``gateways``: the IP versions that a gateway is configured for. A null route holds for every interface."""
    if route.destination.length == 0:
        return route.index == link.index and route.version not in gateways
    return route.kind in NULL_KINDS or route.index == link.index


def _is_on_link(route: KernelRoute) -> bool:
    return route.kind == "unicast" and route.gateway is None


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


def _one_each(routes: Iterable[KernelRoute]) -> Sequence[KernelRoute]:
    """One for each destination and metric, as the kernel wants it."""
    ordered = sorted(routes, key=_order, reverse=True)
    return list({(route.destination, route.metric): route for route in ordered}.values())


def _order(route: KernelRoute) -> tuple[object, ...]:
    """Of several the first is taken: what leads somewhere; the router that recommends itself most; the lowest."""
    attributes = (route.kind, route.metrics, route.on_link, route.scope, route.source or ())
    return (route.kind != "unicast", disfavour(route), route.gateway or Address(0, 0), *attributes)
