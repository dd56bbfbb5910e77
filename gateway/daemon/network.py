"""From what the kernel knows and the settings say to what the processes of the daemon need; pure."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from gateway.address import Address
from gateway.config.fields import mask_of
from gateway.config.rules import AccessFile, AddressPattern, EgressWord, RouteFile
from gateway.config.settings import Settings, UplinkSettings, uplink_settings, zone_ways
from gateway.daemon.messages import ListenAddress, Network
from gateway.netlink.facts import inside_networks, interface_addresses
from gateway.netlink.model import KernelState, Prefix
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
        found: Iterable[Prefix] = inside_networks(state, internal.interface)
    else:
        served = (entry for entry in state.addresses if _is_served(internal.addresses, entry.address))
        found = (Prefix.around(entry.address, entry.prefix) for entry in served)
    # "Everything" is no network: a guard for it would refuse every destination.
    return tuple(map(_pattern, dict.fromkeys(prefix for prefix in found if prefix.length)))


def _is_served(written: Collection[Address], address: Address) -> bool:
    """Whether clients connect to an address of this host: it is written, or all of its family are."""
    return address in written or Address(address.version, 0) in written


def _pattern(prefix: Prefix) -> AddressPattern:
    version, number = prefix.address
    return AddressPattern(version, number, mask_of(version, prefix.length))


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


def watched_words(settings: Settings, routes: RouteFile | None, access: AccessFile) -> tuple[EgressWord, ...]:
    """Every way out that is needed: by sessions on a multihomed gateway, and by zones; the inside is none."""
    of_sessions = written_words(settings, routes, access) if settings.multihomed else ()
    of_zones = (word for zone in settings.resolver.zone for word in zone_ways(settings, zone))
    return tuple(dict.fromkeys((*of_sessions, *(word for word in of_zones if word != settings.internal.interface))))


def uplinks_of(settings: Settings, words: Iterable[EgressWord], state: KernelState) -> Mapping[str, UplinkSettings]:
    """The uplinks that there are by now, by name: one for each name, and for each interface that has a named address.

    A name that is the interface of another uplink is that uplink. Of several interfaces with one address the first has
    it, as in `gateway.netlink.desired`.
    """
    by_device = {uplink_settings(settings, name).interface: name for name in settings.uplinks}
    links = {link.index: link.name for link in state.links}
    holders = {entry.address: links.get(entry.index, "") for entry in reversed(state.addresses)}

    def name_of(word: EgressWord) -> str:
        if isinstance(word, str) and word in settings.uplinks:
            return word
        device = holders.get(word, "") if isinstance(word, Address) else word
        return by_device.get(device, device)

    names = dict.fromkeys(filter(None, map(name_of, words)))
    return MappingProxyType({name: uplink_settings(settings, name) for name in names})
