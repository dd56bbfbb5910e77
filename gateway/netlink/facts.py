"""What the kernel's state says about one interface: to uplinks, to the guard and to the listeners; pure."""

from collections.abc import Iterable

from gateway.address import Address
from gateway.netlink.model import (
    InterfaceAddress,
    KernelRoute,
    KernelState,
    Link,
    Prefix,
    RouterPreference,
    is_link_local,
)
from gateway.uplink.facts import Facts

_SCOPES = ("global", "link", "host")
_PREFERENCES: tuple[RouterPreference, ...] = ("high", "medium", "low")


def facts_of(state: KernelState, device: str, gateways: tuple[Address, ...]) -> Facts:
    """An interface as an uplink; ``gateways`` are configured, and each replaces what the kernel has for its family."""
    link = link_named(state, device)
    if link is None:
        return Facts(device)
    configured = {gateway.version for gateway in gateways}
    learnt = [route for route in _default_routes(state, link) if route.version not in configured]
    nexthops = [*gateways, *(route.gateway for route in learnt if route.gateway is not None)]
    return Facts(
        device,
        True,
        link.running,
        _sources(addresses_of(state, device)),
        tuple(dict.fromkeys(nexthops)),
        link.index,
        frozenset(configured | {route.version for route in learnt}),
    )


def _default_routes(state: KernelState, link: Link) -> list[KernelRoute]:
    """Main's default routes by this interface, those of IPv4 first, and of each family the preferred one."""
    found = [route for route in state.routes if route.destination.length == 0 and route.index == link.index]
    return sorted(found, key=lambda route: (route.version, route.metric, disfavour(route)))


def disfavour(route: KernelRoute) -> int:
    """How little a router recommends itself: of several the least counts."""
    return _PREFERENCES.index(route.preference)


def _sources(addresses: Iterable[InterfaceAddress]) -> tuple[Address, ...]:
    """What a connection can be made from, the preferred one first; among equals the kernel's order stands."""
    usable = [entry for entry in addresses if entry.usable and not is_link_local(entry.address)]
    usable.sort(key=lambda entry: (entry.deprecated, _SCOPES.index(entry.scope), entry.secondary))
    return tuple(dict.fromkeys(entry.address for entry in usable))


def inside_networks(state: KernelState, device: str) -> tuple[Prefix, ...]:
    """The networks that an interface is on: those of its addresses, and those that main has without a gateway.

    The second kind is how the far end of a point to point link shows, and networks of addresses whose routes somebody
    else keeps. Link-local ones are on every interface, and "everything" is no network: neither is among them.
    """
    link = link_named(state, device)
    if link is None:
        return ()
    own = [Prefix.around(entry.address, entry.prefix) for entry in addresses_of(state, device)]
    routed = [route.destination for route in state.routes if route.index == link.index and route.gateway is None]
    return tuple(dict.fromkeys(net for net in [*own, *routed] if net.length and not is_link_local(net.address)))


def interface_addresses(state: KernelState, device: str) -> tuple[InterfaceAddress, ...]:
    """The addresses of an interface that can be listened on, link-local ones included."""
    return tuple(entry for entry in addresses_of(state, device) if entry.usable)


def addresses_of(state: KernelState, device: str) -> tuple[InterfaceAddress, ...]:
    """Every address of an interface, in the kernel's order; none when it does not exist."""
    link = link_named(state, device)
    return tuple(entry for entry in state.addresses if link is not None and entry.index == link.index)


def link_named(state: KernelState, device: str) -> Link | None:
    """The interface of that name, if it exists."""
    return next((link for link in state.links if link.name == device), None)
