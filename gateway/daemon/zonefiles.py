"""The files that zones name, and what is doubtful about zones on a host that has these interfaces."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from gateway.address import Address
from gateway.config.hosts import HostsLine, parse_hosts
from gateway.config.resolvconf import parse_nameservers
from gateway.config.rules import EgressWord
from gateway.config.settings import ServerAddress, Settings, ZoneSettings, is_private, uplink_settings
from gateway.config.tomltables import Fault, Key, dotted, place_faults
from gateway.daemon.host import Host
from gateway.daemon.network import network_of
from gateway.dns.written import DNS_PORT, Files, zone_key
from gateway.dns.zones import Zones
from gateway.errors import ConfigError
from gateway.netlink.model import KernelState
from gateway.place import Problem, Severity


def load_zones(settings: Settings, path: str, text: str, kernel: KernelState, host: Host) -> Zones | None:
    """The zones, None if there is no ``[[resolver.zone]]``; ``text`` is that of the settings, which ``path`` holds.

    Who may ask them follows from the host's networks; see `Zones.for_inside` for when these become others.

    Raises ConfigError with the mistakes of all files that zones name, or of the zones.
    """
    # A zone whose name was refused is no zone, and that is said already.
    if not settings.resolver.zone or not all(zone.name for zone in settings.resolver.zone):
        return None
    problems = list(place_faults(_leaks(settings, kernel), text, path))
    try:
        files = _zone_files(settings, path, text, host)
        zones = Zones.compile(settings, network_of(settings, kernel, ()).inside, files)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return zones


def zone_doubts(settings: Settings, path: str, text: str, kernel: KernelState) -> tuple[Problem, ...]:
    """The warnings about zones that name what this host has not now, or that would ask the resolver itself."""
    faults = (*_missing_ways(settings, kernel), *_own_servers(settings, kernel))
    return tuple(problem._replace(severity=Severity.WARNING) for problem in place_faults(faults, text, path))


def _zone_files(settings: Settings, path: str, text: str, host: Host) -> Files:
    """Every file once. Raises ConfigError with the mistakes of all."""
    problems: list[Problem] = []
    resolver = settings.resolver
    hosts = dict.fromkeys(filter(None, (resolver.hosts, *(zone.hosts for zone in resolver.zone))))
    servers = dict.fromkeys(word for zone in resolver.zone for word in zone.servers if isinstance(word, str))
    files = Files(
        path,
        text,
        _parsed(hosts, host, parse_hosts, problems),
        _parsed(servers, host, parse_nameservers, problems),
    )
    if problems:
        raise ConfigError(problems)
    return files


_Parsed = TypeVar("_Parsed", tuple[HostsLine, ...], tuple[Address, ...])


def _parsed(
    paths: Iterable[str], host: Host, parse: Callable[[str, str], _Parsed], problems: list[Problem]
) -> Mapping[str, _Parsed]:
    found: dict[str, _Parsed] = {}
    for path in paths:
        try:
            found[path] = parse(host.text(path), path)
        except ConfigError as error:
            problems += error.problems
    return found


def _keyed(settings: Settings) -> Iterator[tuple[Key, ZoneSettings]]:
    """The zones that ask somebody."""
    for number, zone in enumerate(settings.resolver.zone):
        if zone.servers:
            yield zone_key(number, zone), zone


def _leaks(settings: Settings, kernel: KernelState) -> Iterator[Fault]:
    """Inside zones whose way out is an address that an interface to the outside has now."""
    outside = {uplink_settings(settings, name).interface for name in settings.uplinks}
    outside |= {word for word in settings.external.interface if isinstance(word, str)}
    links = {link.index: link.name for link in kernel.links}
    holders = {entry.address: links.get(entry.index, "") for entry in kernel.addresses}
    for key, zone in _keyed(settings):
        for way in zone.interface if is_private(zone) else ():
            device = holders.get(way, "") if isinstance(way, Address) else ""
            if device in outside:
                where = (*key, "interface")
                fault = f"{way} is an address of {device}, a way to the outside, and would let inside names out"
                yield Fault(where, f"{dotted(where)}: {fault}")


def _missing_ways(settings: Settings, kernel: KernelState) -> Iterator[Fault]:
    """Ways out that a zone itself names; those of other tables are said there."""
    known: set[EgressWord] = {*settings.uplinks, *(link.name for link in kernel.links)}
    known |= {entry.address for entry in kernel.addresses}
    for key, zone in _keyed(settings):
        for way in zone.interface:
            if way not in known:
                where = (*key, "interface")
                what = (
                    f"no interface has the address {way}"
                    if isinstance(way, Address)
                    else f"there is no interface {way}"
                )
                yield Fault(where, f"{dotted(where)}: {what} now; what is asked by it fails until it appears")


def _own_servers(settings: Settings, kernel: KernelState) -> Iterator[Fault]:
    """Name servers that are the resolver itself, by the addresses that it has now."""
    own = _own_addresses(settings, kernel)
    for key, zone in _keyed(settings):
        for server in zone.servers:
            port = isinstance(server, ServerAddress) and not zone.tls and (server.port or DNS_PORT)
            if port == settings.resolver.port and isinstance(server, ServerAddress) and server.address in own:
                where = (*key, "servers")
                yield Fault(where, f"{dotted(where)}: {server} is this resolver itself, which would ask in a circle")


def _own_addresses(settings: Settings, kernel: KernelState) -> frozenset[Address]:
    """Where the resolver listens; what is written for all addresses is every address that there is."""
    written = settings.resolver.addresses or tuple(listen.address for listen in network_of(settings, kernel, ()).listen)
    everywhere = {address.version for address in written if not address.number}
    return frozenset({*written, *(one.address for one in kernel.addresses if one.address.version in everywhere)})
