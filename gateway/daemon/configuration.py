"""Every file of the daemon, read and checked together: all of it is good, or none of it is used."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.config.access import parse_access
from gateway.config.route import parse_route
from gateway.config.rules import AccessFile, RouteFile
from gateway.config.settings import Settings, examine_settings
from gateway.config.source import read_services, read_text
from gateway.daemon.host import read_passwords, user_files
from gateway.daemon.network import network_of
from gateway.errors import ConfigError
from gateway.netlink.kernel import read_kernel
from gateway.netlink.model import KernelState
from gateway.place import Problem, Severity
from gateway.policy.access import AccessPolicy
from gateway.policy.destination import Guard
from gateway.policy.lint import lint
from gateway.policy.passwords import PasswordFile
from gateway.policy.routelint import reference_problems, route_lint
from gateway.policy.router import Router
from gateway.policy.routetable import RouteTable
from gateway.policy.users import UserFiles
from gateway.services import Services


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


def load(path: str, report: Callable[[str], None]) -> Configuration:
    """Read gateway.toml and the files that it names.

    ``report`` is told later of user files that can not be read any more. Raises ConfigError with the mistakes of all
    files, and KernelRefused when the host's own addresses can not be learnt.
    """
    settings, found = examine_settings(read_text(path), path)
    problems = list(found)
    if settings is None:
        raise ConfigError(problems)
    services = read_services()
    kernel = read_kernel()
    users = user_files(report)
    access = policy = passwords = routes = router = None
    try:
        access = parse_access(read_text(settings.files.access), settings.files.access, services, settings.dialect)
        guard = guard_of(settings, kernel)
        policy = AccessPolicy.compile(access, guard, users, multihomed=settings.multihomed)
    except ConfigError as error:
        problems += error.problems
    try:
        routes, router = _routing(settings, users)
    except ConfigError as error:
        problems += error.problems
    try:
        passwords = read_passwords(settings.files.passwords) if settings.files.passwords else None
    except ConfigError as error:
        problems += error.problems
    if access is None or policy is None or any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems)
    doubts = (*access.warnings, *lint(access), *route_doubts(settings, path, routes, access, kernel))
    return Configuration(settings, services, access, policy, passwords, routes, router, kernel, doubts)


def guard_of(settings: Settings, kernel: KernelState) -> Guard:
    """What this host guards, by its interfaces at this moment."""
    network = network_of(settings, kernel, ())
    return Guard(frozenset(network.own), network.inside)


def _routing(settings: Settings, users: UserFiles) -> tuple[RouteFile | None, Router | None]:
    """``sockd.route`` and what follows from it. Raises ConfigError."""
    if not settings.multihomed:
        return None, None
    path = settings.files.routes
    routes = parse_route(read_text(path), path, settings.dialect) if path else None
    table = None if routes is None else RouteTable.compile(routes, users)
    return routes, Router(table, settings.external.interface)


def route_doubts(
    settings: Settings, path: str, routes: RouteFile | None, access: AccessFile, kernel: KernelState
) -> tuple[Problem, ...]:
    """What is doubtful about the ways out that these files name, on a host with these interfaces."""
    if not settings.multihomed:
        return ()
    interfaces = {link.name for link in kernel.links}
    addresses = {entry.address for entry in kernel.addresses}
    own = () if routes is None else (*routes.warnings, *route_lint(routes))
    return (
        *own,
        *reference_problems(
            routes, access, settings.external.interface, settings.uplinks.keys(), interfaces, addresses, path
        ),
    )
