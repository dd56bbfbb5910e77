"""Every file of the daemon, read and checked together: all of it is good, or none of it is used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from gateway.config.access import parse_access
from gateway.config.route import parse_route
from gateway.config.rules import AccessFile, RouteFile
from gateway.config.settings import Settings, examine_settings, uplink_settings
from gateway.config.source import Opener, open_without_waiting
from gateway.daemon.host import Host, SameHost, Texts, ThisHost, read_passwords, user_files
from gateway.daemon.network import network_of
from gateway.daemon.zonefiles import load_zones, zone_doubts
from gateway.dns.zones import Zones
from gateway.errors import ConfigError
from gateway.netlink.model import KernelState
from gateway.place import Place, Problem, Severity
from gateway.policy.access import AccessPolicy
from gateway.policy.destination import Guard
from gateway.policy.lint import lint
from gateway.policy.passwords import PasswordFile
from gateway.policy.routelint import reference_problems, route_lint
from gateway.policy.router import Router
from gateway.policy.routetable import RouteTable
from gateway.policy.users import UserFiles
from gateway.services import Services


def no_zones() -> Zones | None:
    """There is no resolver."""
    return None


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that was read, checked, and what there is to warn of."""

    settings: Settings
    services: Services
    access: AccessFile
    policy: AccessPolicy
    passwords: PasswordFile | None
    routes: RouteFile | None
    #: None on a single-homed server; knows no uplink yet
    router: Router | None
    #: the host's interfaces when the files were read
    kernel: KernelState
    warnings: tuple[Problem, ...]
    #: what all of this was read from
    texts: Texts
    #: makes the zones, which most processes do not need
    make_zones: Callable[[], Zones | None] = no_zones

    @property
    def zones(self) -> Zones | None:
        """The zones of the resolver, always the same ones; None if there is no resolver."""
        return self.make_zones()


def load(path: str, report: Callable[[str], None], opener: Opener = open_without_waiting) -> Configuration:
    """Read gateway.toml and the files that it names, by who may open them.

    ``report`` is told later of user files that can not be read any more. Raises ConfigError with the mistakes of all
    files, and KernelRefused when the host's own addresses can not be learnt.
    """
    host = ThisHost(path, opener)
    return _load(path, report, host, lambda: host.texts, are_zones_checked=True)


def reproduce(texts: Texts, report: Callable[[str], None]) -> Configuration:
    """What `load` made of these texts elsewhere; it knows nothing of the host's interfaces. Raises ConfigError."""
    return _load(texts.path, report, SameHost(texts), lambda: texts, are_zones_checked=False)


def naming_files(settings: Settings) -> tuple[str, ...]:
    """The files that may name others: user files stand in both."""
    return tuple(filter(None, (settings.files.access, settings.files.routes)))


def _load(
    path: str, report: Callable[[str], None], host: Host, texts: Callable[[], Texts], *, are_zones_checked: bool
) -> Configuration:
    text = host.text(path)
    settings, found = examine_settings(text, path)
    if settings is None:
        raise ConfigError(found)
    problems = list(found)
    services, kernel, users = host.services(), host.kernel(), user_files(report, host)
    rules = _collected(problems, lambda: _rules(settings, services, kernel, users, host))
    routing = _collected(problems, lambda: _routing(settings, users, host))
    passwords = _collected(problems, lambda: _passwords(settings, host))
    of_zones: tuple[Problem, ...] | None = ()
    if are_zones_checked:
        of_zones = _collected(problems, lambda: _zone_warnings(settings, path, text, kernel, host))
    if rules is None or routing is None or any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems)
    (access, policy), (routes, router) = rules, routing
    of_routes = () if routes is None else (*routes.warnings, *route_lint(routes))
    named = reference_doubts(settings, path, routes, access, kernel)
    doubts = (*access.warnings, *lint(access), *of_routes, *named, *(of_zones or ()))
    zones = _zone_maker(settings, text, kernel, texts())
    return Configuration(settings, services, access, policy, passwords, routes, router, kernel, doubts, texts(), zones)


_Read = TypeVar("_Read")


def _collected(problems: list[Problem], read: Callable[[], _Read]) -> _Read | None:
    """What was read; None when it is refused, and then its mistakes are among the problems."""
    try:
        return read()
    except ConfigError as error:
        problems += error.problems
        return None


def _rules(
    settings: Settings, services: Services, kernel: KernelState, users: UserFiles, host: Host
) -> tuple[AccessFile, AccessPolicy]:
    """``sockd.conf``. Raises ConfigError."""
    path = settings.files.access
    access = parse_access(host.text(path), path, services, settings.dialect)
    return access, AccessPolicy.compile(access, guard_of(settings, kernel), users, multihomed=settings.multihomed)


def _passwords(settings: Settings, host: Host) -> PasswordFile | None:
    return read_passwords(settings.files.passwords, host) if settings.files.passwords else None


def guard_of(settings: Settings, kernel: KernelState) -> Guard:
    """What this host guards, by its interfaces at this moment."""
    network = network_of(settings, kernel, ())
    return Guard(frozenset(network.own), network.inside)


def _zone_warnings(settings: Settings, path: str, text: str, kernel: KernelState, host: Host) -> tuple[Problem, ...]:
    """Of the zones and the files that they name. Raises ConfigError."""
    zones = load_zones(settings, path, text, kernel, host)
    return () if zones is None else (*zones.warnings, *zone_doubts(settings, path, text, kernel))


def _zone_maker(settings: Settings, text: str, kernel: KernelState, texts: Texts) -> Callable[[], Zones | None]:
    """They are made when they are asked for, and once only: large hosts files are costly."""
    return cache(lambda: load_zones(settings, texts.path, text, kernel, SameHost(texts)))


def _routing(settings: Settings, users: UserFiles, host: Host) -> tuple[RouteFile | None, Router | None]:
    """``sockd.route`` and what follows from it. Raises ConfigError."""
    if not settings.multihomed:
        return None, None
    path = settings.files.routes
    routes = parse_route(host.text(path), path, settings.dialect) if path else None
    table = None if routes is None else RouteTable.compile(routes, users)
    return routes, Router(table, settings.external.interface)


def reference_doubts(
    settings: Settings, path: str, routes: RouteFile | None, access: AccessFile, kernel: KernelState
) -> tuple[Problem, ...]:
    """The warnings about what the files name, and this host has not now. Those of ``path``, the settings, come last."""
    interfaces = {link.name for link in kernel.links}
    addresses = {entry.address for entry in kernel.addresses}
    default = settings.external.interface
    named = reference_problems(routes, access, default, settings.uplinks.keys(), interfaces, addresses, path)
    missing = (text for name, text in _interfaces(settings) if name not in interfaces)
    return (
        *(named if settings.multihomed else ()),
        *(Problem(Place(path), text, Severity.WARNING) for text in missing),
    )


def _interfaces(settings: Settings) -> Iterator[tuple[str, str]]:
    """The interfaces that the settings themselves name, and what to say when one of them is missing."""
    inside = settings.internal.interface
    if inside:
        yield inside, f"[internal] interface: there is no interface {inside} now; nobody can connect until it appears"
    for name in settings.uplinks if settings.multihomed else ():
        device = uplink_settings(settings, name).interface
        missing = f"there is no interface {device} now; what goes by this uplink is refused until it appears"
        yield device, f"[uplinks.{name}]: {missing}"
