"""``sockctl check``: every mistake of the files in one run, and with -v what was understood.

It judges files as the daemon does when it loads them, but asks nothing of the host that a test machine can not answer:
no ports, no privileges. An interface that is named and does not exist is a warning, as the daemon would wait for it.
"""

import argparse
import sys
from collections.abc import Iterable
from typing import NamedTuple

from gateway.config.access import parse_access
from gateway.config.printer import print_access, print_route, print_settings
from gateway.config.route import parse_route
from gateway.config.rules import AccessFile, Dialect, RouteFile
from gateway.config.settings import Settings, examine_settings
from gateway.config.source import read_services, read_text
from gateway.daemon.configuration import route_doubts
from gateway.daemon.host import read_passwords, user_files
from gateway.errors import ConfigError
from gateway.netlink.kernel import KernelRefused, read_kernel
from gateway.place import Problem, Severity
from gateway.policy.enforced import rule_problems
from gateway.policy.lint import lint
from gateway.policy.routelint import route_lint
from gateway.policy.routetable import RouteTable
from gateway.services import Services

Parsed = AccessFile | RouteFile | None


class Findings(NamedTuple):
    """What there is to say about one file: its problems in order, and what was understood if its text is right."""

    path: str
    problems: tuple[Problem, ...]
    understood: str | None = None
    #: what was read, if all of it is right
    file: Parsed = None


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
    problems = tuple(dict.fromkeys(problem for found in findings for problem in found.problems))
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
    return [_check_routes(path, dialect) if path.endswith(".route") else _check_access(path, dialect, services)]


def _check_settings(path: str, services: Services) -> list[Findings]:
    try:
        settings, problems = examine_settings(read_text(path), path)
    except ConfigError as error:
        return [Findings(path, error.problems)]
    if settings is None:
        return [Findings(path, problems)]
    findings = [Findings(path, problems, None if problems else print_settings(settings))]
    access = _check_access(settings.files.access, settings.dialect, services, settings.multihomed)
    findings.append(access)
    routes = None
    if settings.multihomed and settings.files.routes:
        routes = _check_routes(settings.files.routes, settings.dialect)
        findings.append(routes)
    findings.append(_check_references(settings, path, access.file, None if routes is None else routes.file))
    if settings.files.passwords:
        findings.append(_check_passwords(settings.files.passwords))
    return findings


def _check_access(path: str, dialect: Dialect, services: Services, multihomed: bool = True) -> Findings:
    """A file that is given alone may be for a multihomed server."""
    try:
        file = parse_access(read_text(path), path, services, dialect)
    except ConfigError as error:
        return Findings(path, error.problems)
    faults = rule_problems(file.rules, user_files(_say_nothing), multihomed=multihomed)
    problems = (*file.warnings, *lint(file), *faults)
    return Findings(path, _in_order(problems), print_access(file), file)


def _check_routes(path: str, dialect: Dialect) -> Findings:
    try:
        file = parse_route(read_text(path), path, dialect)
        RouteTable.compile(file, user_files(_say_nothing))
    except ConfigError as error:
        return Findings(path, error.problems)
    return Findings(path, _in_order((*file.warnings, *route_lint(file))), print_route(file), file)


def _check_references(settings: Settings, path: str, access: Parsed, routes: Parsed) -> Findings:
    """What both files say together, on a host with these interfaces."""
    if not isinstance(access, AccessFile) or not (routes is None or isinstance(routes, RouteFile)):
        return Findings(path, ())
    try:
        kernel = read_kernel()
    except KernelRefused:
        return Findings(path, ())
    return Findings(path, route_doubts(settings, path, routes, access, kernel))


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: problem.place))


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
