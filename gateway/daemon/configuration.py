"""Every file of the daemon, read and checked together: all of it is good, or none of it is used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.address import Address
from gateway.config.access import parse_access
from gateway.config.fields import mask_of
from gateway.config.rules import AccessFile, AddressPattern
from gateway.config.settings import Settings, examine_settings
from gateway.config.source import read_services, read_text
from gateway.daemon.host import read_passwords, user_files
from gateway.errors import ConfigError
from gateway.netlink.kernel import InterfaceAddress, own_addresses
from gateway.place import Problem, Severity
from gateway.policy.access import AccessPolicy
from gateway.policy.destination import Guard
from gateway.policy.lint import lint
from gateway.policy.passwords import PasswordFile
from gateway.services import Services


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that was read, checked, and what there is to warn of."""

    settings: Settings
    services: Services
    access: AccessFile
    policy: AccessPolicy
    passwords: PasswordFile | None
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
    access = policy = passwords = None
    try:
        access = parse_access(read_text(settings.files.access), settings.files.access, services, settings.dialect)
        policy = AccessPolicy.compile(access, _guard(settings), user_files(report))
    except ConfigError as error:
        problems += error.problems
    try:
        passwords = read_passwords(settings.files.passwords) if settings.files.passwords else None
    except ConfigError as error:
        problems += error.problems
    if access is None or policy is None or any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems)
    return Configuration(settings, services, access, policy, passwords, (*access.warnings, *lint(access)))


def _guard(settings: Settings) -> Guard:
    addresses = own_addresses()
    inside = settings.internal.networks or _networks(settings.internal.addresses, addresses)
    return Guard(frozenset(own.address for own in addresses), inside)


def _networks(internal: Sequence[Address], own: Sequence[InterfaceAddress]) -> tuple[AddressPattern, ...]:
    """The networks that the internal addresses are on; for a wildcard address those of all interfaces."""
    found = []
    for address, prefix in own:
        if address in internal or Address(address.version, 0) in internal:
            mask = mask_of(address.version, prefix)
            found.append(AddressPattern(address.version, address.number & mask, mask))
    return tuple(found)
