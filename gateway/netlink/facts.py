"""What the kernel's state says about one interface: to uplinks, to the guard and to the listeners; pure."""

from collections.abc import Iterable

from gateway.address import Address
from gateway.netlink.model import InterfaceAddress, KernelState, Link, Prefix, is_link_local
from gateway.uplink.facts import Facts

_SCOPES = ("global", "link", "host")


def facts_of(state: KernelState, device: str, gateways: tuple[Address, ...]) -> Facts:
    """An interface as an uplink; ``gateways`` are configured, and each replaces what the kernel has for its family."""
    link = link_named(state, device)
    if link is None:
        return Facts(device)
    nexthops = [*gateways]
    for version in (4, 6):
        if not any(gateway.version == version for gateway in gateways):
            nexthops += _learnt(state, link, version)
    return Facts(device, True, link.running, _sources(addresses_of(state, device)), tuple(dict.fromkeys(nexthops)))


def _learnt(state: KernelState, link: Link, version: int) -> Iterable[Address]:
    """Next hops of main's default routes by this interface, the preferred one first."""
    found = [route for route in state.routes if _is_default(route.destination, version) and route.index == link.index]
    found.sort(key=lambda route: route.metric)
    return (route.gateway for route in found if route.gateway is not None)


def _is_default(destination: Prefix, version: int) -> bool:
    return destination.length == 0 and destination.address.version == version


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
