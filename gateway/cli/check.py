"""``sockctl check``: every mistake of the files in one run, and with -v what was understood.

It judges files as the daemon does when it loads them, but asks nothing of the host that a test machine can not answer:
no ports, no privileges. An interface that is named and does not exist is a warning, as the daemon would wait for it.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

from gateway.config.access import parse_access
from gateway.config.printer import print_access, print_route, print_settings
from gateway.config.route import parse_route
from gateway.config.rules import AccessFile, Dialect, RouteFile
from gateway.config.settings import Settings, examine_settings
from gateway.config.source import read_services, read_text
from gateway.daemon.configuration import reference_doubts
from gateway.daemon.host import ThisHost, read_passwords, user_files
from gateway.daemon.zonefiles import load_zones, zone_doubts
from gateway.errors import ConfigError
from gateway.netlink.kernel import KernelRefused, read_kernel
from gateway.place import Place, Problem, Severity
from gateway.policy.enforced import route_problems, rule_problems
from gateway.policy.lint import lint
from gateway.policy.routelint import route_lint
from gateway.services import Services


class Findings(NamedTuple):
    """What there is to say about one file: its problems, and what was understood if its text is right."""

    path: str
    problems: tuple[Problem, ...]
    understood: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl check``."""
    parser.add_argument("-v", "--verbose", action="store_true", help="print what was understood, in the file's grammar")
    parser.add_argument(
        "--dialect",
        choices=[dialect.value for dialect in Dialect],
        default=Dialect.CLASSIC.value,
        help="the sense of the masks in a sockd.conf given here; gateway.toml says it for the one that it names",
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a gateway.toml (NAME.toml), checked with the files it names, a sockd.route (NAME.route), or a sockd.conf",
    )


def run(arguments: argparse.Namespace) -> int:
    """Problems go to stderr, the rest to stdout; 0 when no file has an error, else 1."""
    dialect, services = Dialect(arguments.dialect), read_services()
    findings = [found for path in arguments.files for found in check_file(path, dialect, services)]
    problems = _in_order(findings)
    for problem in problems:
        print(problem, file=sys.stderr)
    for found in findings:
        if arguments.verbose and found.understood is not None:
            print(f"# {found.path}\n{found.understood}")
    errors = _errors(problems)
    if errors:
        print(f"configuration refused; errors: {errors}, warnings: {len(problems) - errors}", file=sys.stderr)
        return 1
    print("configuration OK")
    return 0


def check_file(path: str, dialect: Dialect, services: Services) -> list[Findings]:
    """What is found in a file and, for a gateway.toml, in the files that it names."""
    if path.endswith(".toml"):
        return _check_settings(path, services)
    _, found = _read_routes(path, dialect) if path.endswith(".route") else _read_access(path, dialect, services)
    return [found]


def _check_settings(path: str, services: Services) -> list[Findings]:
    try:
        settings, problems = examine_settings(read_text(path), path)
    except ConfigError as error:
        return [Findings(path, error.problems)]
    if settings is None:
        return [Findings(path, problems)]
    findings = [Findings(path, problems, None if problems else print_settings(settings))]
    access, found = _read_access(settings.files.access, settings.dialect, services, settings.multihomed)
    findings.append(found)
    routes = None
    if settings.files.routes:
        routes, found = _read_routes(settings.files.routes, settings.dialect)
        findings.append(found)
    findings.append(_check_references(settings, path, access, routes))
    if settings.files.passwords:
        findings.append(_check_passwords(settings.files.passwords))
    if settings.resolver.zone and not problems:
        findings.append(_check_zones(settings, path))
    return findings


def _check_zones(settings: Settings, path: str) -> Findings:
    """The zones, with the files that they name; what of the host they need is looked at as it is now."""
    text, host = read_text(path), ThisHost(path)
    try:
        kernel = host.kernel()
        zones = load_zones(settings, path, text, kernel, host)
    except ConfigError as error:
        return Findings(path, error.problems)
    except KernelRefused as error:
        return Findings(path, (Problem(Place(path), str(error)),))
    return Findings(path, (*zones.warnings, *zone_doubts(settings, path, text, kernel)) if zones is not None else ())


def _read_access(
    path: str, dialect: Dialect, services: Services, multihomed: bool = True
) -> tuple[AccessFile | None, Findings]:
    """The file, if its grammar is right. One that is given alone may be for a multihomed server."""
    try:
        file = parse_access(read_text(path), path, services, dialect)
    except ConfigError as error:
        return None, Findings(path, error.problems)
    faults = rule_problems(file.rules, user_files(_say_nothing), multihomed=multihomed)
    return file, Findings(path, (*file.warnings, *lint(file), *faults), print_access(file))


def _read_routes(path: str, dialect: Dialect) -> tuple[RouteFile | None, Findings]:
    """As `_read_access`."""
    try:
        file = parse_route(read_text(path), path, dialect)
    except ConfigError as error:
        return None, Findings(path, error.problems)
    faults = route_problems(file.rules, user_files(_say_nothing))
    return file, Findings(path, (*file.warnings, *route_lint(file), *faults), print_route(file))


def _check_references(settings: Settings, path: str, access: AccessFile | None, routes: RouteFile | None) -> Findings:
    """What the files that can be read say together, on a host with these interfaces."""
    try:
        kernel = read_kernel()
    except KernelRefused:
        return Findings(path, ())
    rules = access or AccessFile(settings.files.access, ())
    return Findings(path, reference_doubts(settings, path, routes, rules, kernel))


def _in_order(findings: Sequence[Findings]) -> tuple[Problem, ...]:
    """Every problem once: file by file as they were looked at, and in the order of its lines."""
    files = list(dict.fromkeys(found.path for found in findings))
    problems = dict.fromkeys(problem for found in findings for problem in found.problems)
    return tuple(sorted(problems, key=lambda problem: (files.index(problem.place.path), problem.place)))


def _say_nothing(_line: str) -> None:
    """A user file that can not be read is an error of the line that names it, and said there."""


def _check_passwords(path: str) -> Findings:
    try:
        read_passwords(path)
    except ConfigError as error:
        return Findings(path, error.problems)
    return Findings(path, ())


def _errors(problems: tuple[Problem, ...]) -> int:
    return sum(problem.severity is Severity.ERROR for problem in problems)
