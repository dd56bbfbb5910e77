"""From what the kernel knows and the settings say to what the processes of the daemon need; pure."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from gateway.address import Address
from gateway.config.fields import mask_of
from gateway.config.rules import AccessFile, AddressPattern, EgressWord, RouteFile
from gateway.config.settings import Settings, UplinkSettings, uplink_settings
from gateway.daemon.messages import ListenAddress, Network
from gateway.netlink.facts import inside_networks, interface_addresses
from gateway.netlink.model import KernelState
from gateway.policy.egress import Uplink


def network_of(settings: Settings, state: KernelState, uplinks: Iterable[Uplink]) -> Network:
    """The host's networks now."""
    own = tuple(dict.fromkeys(entry.address for entry in state.addresses))
    return Network(tuple(uplinks), own, _inside(settings, state), _listen(settings, state))


def _inside(settings: Settings, state: KernelState) -> tuple[AddressPattern, ...]:
    """Those that are written; else the networks that the internal addresses, or the interface, are on."""
    internal = settings.internal
    if internal.networks:
        return internal.networks
    if internal.interface:
        return tuple(_pattern(*prefix) for prefix in inside_networks(state, internal.interface))
    return tuple(
        _pattern(entry.address, entry.prefix)
        for entry in state.addresses
        if entry.address in internal.addresses or Address(entry.address.version, 0) in internal.addresses
    )


def _pattern(address: Address, length: int) -> AddressPattern:
    mask = mask_of(address.version, length)
    return AddressPattern(address.version, address.number & mask, mask)


def _listen(settings: Settings, state: KernelState) -> tuple[ListenAddress, ...]:
    internal = settings.internal
    if not internal.interface:
        return tuple(map(ListenAddress, internal.addresses))
    return tuple(ListenAddress(entry.address, entry.index) for entry in interface_addresses(state, internal.interface))


def written_words(settings: Settings, routes: RouteFile | None, access: AccessFile) -> tuple[EgressWord, ...]:
    """Every way out that some file names, each once."""
    words: list[EgressWord] = [*settings.uplinks, *settings.external.interface]
    words += [word for rule in (routes.rules if routes else ()) for word in rule.egress]
    words += [word for rule in access.rules for word in rule.options.via or ()]
    return tuple(dict.fromkeys(words))


def uplinks_of(settings: Settings, words: Iterable[EgressWord], state: KernelState) -> Mapping[str, UplinkSettings]:
    """The uplinks that there are by now, by name: one for each name, and for each interface that has a named address.

    A name that is the interface of another uplink is that uplink.
    """
    found: dict[str, UplinkSettings] = {}
    devices: set[str] = set()

    def add(name: str) -> None:
        taken = uplink_settings(settings, name)
        if name in settings.uplinks or taken.interface not in devices:
            found.setdefault(name, taken)
            devices.add(taken.interface)

    names = {link.index: link.name for link in state.links}
    holders = {entry.address: names.get(entry.index, "") for entry in state.addresses}
    for word in words:
        name = holders.get(word, "") if isinstance(word, Address) else word
        if name:
            add(name)
    return MappingProxyType(found)
