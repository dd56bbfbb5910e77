"""``test_sockd_conf``: the test program of 4.2, with its arguments, its output and its exit codes.

``spec/socks4.md`` §11; test_sockd_conf(8) is its manual. It judges the classic files alone, without the guard, and
really runs the commands of the lines that match. Its exit codes are the original's: 1 is permit, 0 is deny.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from gateway.address import Address, Name, canonical_host, plain
from gateway.config.access import parse_access
from gateway.config.listing import Listing
from gateway.config.route import parse_route
from gateway.config.rules import AccessFile, AccessRule, Action, IdentLevel, SpecialCommand
from gateway.config.source import read_services, read_text
from gateway.daemon.host import user_files
from gateway.errors import BadName, ConfigError, GatewayError
from gateway.net.lookup import LookupFailed, system_lookup
from gateway.policy.command import UNKNOWN_USER, CommandRefused, Substitutions, expand
from gateway.policy.decision import Question
from gateway.policy.enforced import rule_problems
from gateway.policy.linear import first_match
from gateway.policy.routetable import RouteTable

PROGRAM = "test_sockd_conf"
USAGE = f"{PROGRAM} [-i] [-I] [-B] [-C conf_file] [-R route_file] user src_addr dst_addr {{service,port}}"
ACCESS_PATH = "/etc/sockd.conf"
ROUTE_PATH = "/etc/sockd.route"
DENIED, PERMITTED, FAILED = 0, 1, 255
"""Exit codes; FAILED is -1 in the original: a wrong command line, or here a file with mistakes."""


class _Wrong(GatewayError):
    """An argument that makes no sense; the message says which."""


class _Test(NamedTuple):
    """One run: what is asked, what is pretended of identd, and the file that answers."""

    options: argparse.Namespace
    file: AccessFile
    listing: Listing
    question: Question
    destination: Address
    substitutions: Substitutions


def main() -> None:
    """The console entry."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Test one request; the exit code."""
    options = _Parser.of_program().parse_args(arguments)
    try:
        return _run(options)
    except ConfigError as error:
        _say(str(error))
    except _Wrong as error:
        _say(f"{PROGRAM}: {error}")
    return FAILED


def _run(options: argparse.Namespace) -> int:
    services = read_services()
    port = services.port(options.port)
    if port is None:
        raise _Wrong(f"Unknown service or illegal port number '{options.port}'")
    _, source = _host(options.source)
    host, destination = _host(options.destination)
    _say(f"USER:{options.user},  SRC:{options.source},  DST:{options.destination}, PORT:{port}")
    try:
        text = read_text(options.C)
    except ConfigError as error:
        _say(f"Unable to open config file ({options.C})\n{error}")
        return DENIED
    file = parse_access(text, options.C, services)
    question = Question(source, host, port, options.user, minute=_now())
    substitutions = _substitutions(options, services.name(port), question, destination)
    test = _Test(options, file, Listing.of(text, options.C), question, destination, substitutions)
    return _check_route(test) if _permitted(test) else DENIED


def _substitutions(
    options: argparse.Namespace, service: str, question: Question, destination: Address
) -> Substitutions:
    simulated = options.i or options.I or options.B
    return Substitutions(
        client_name=options.source,
        client_address=str(question.source),
        command="connect",
        process=str(os.getpid()),
        service=service,
        port=str(question.port),
        user=options.user,
        destination_name=options.destination,
        destination_address=str(destination),
        ident=UNKNOWN_USER if simulated else options.user,
    )


def _permitted(test: _Test) -> bool:
    """Find the deciding line, pretend to ask identd, run the commands (``spec/socks4.md`` §3.5)."""
    users = user_files(_say)
    problems = rule_problems(test.file.rules, users, multihomed=True)
    if problems:
        raise ConfigError(problems)
    rule = first_match(test.file.rules, test.question, test.destination, users)
    if rule is None:
        _say("*** No match with any line. Access denied.")
        return False
    _say(f"Line {rule.place.line}: {test.listing.at(rule.place)}")
    if rule.action is Action.PERMIT and not _passes_ident(test, rule):
        return False
    if rule.command is not None:
        _run_command(rule.command, test.substitutions)
    return rule.action is Action.PERMIT


def _passes_ident(test: _Test, rule: AccessRule) -> bool:
    """What the simulated identd makes of a permitted request; a line's ``?=`` goes before the options."""
    options = test.options
    level = rule.ident
    if level is None:
        level = IdentLevel.STRICT if options.I else IdentLevel.LENIENT
    if level is IdentLevel.OFF or not (options.i or options.I or options.B):
        return True
    if options.B:
        _run_special(test.file.bad_id, test)
        _say("Access denied: bad user-id.")
        return False
    _run_special(test.file.no_identd, test)
    if level is IdentLevel.STRICT:
        _say("Access denied: cannot verify user-id.")
    return level is not IdentLevel.STRICT


def _run_special(special: SpecialCommand | None, test: _Test) -> None:
    if special is not None:
        _say(f"Line {special.place.line}: {test.listing.at(special.place)}")
        _run_command(special.command, test.substitutions)


def _run_command(template: str, substitutions: Substitutions) -> None:
    """``/bin/sh -c``, with /dev/null for everything, waited for, its status ignored (``spec/socks4.md`` §3.6)."""
    try:
        command = expand(template, substitutions)
    except CommandRefused as error:
        _say(str(error))
        return
    null = subprocess.DEVNULL
    subprocess.run(["/bin/sh", "-c", command], stdin=null, stdout=null, stderr=null, check=False)


def _check_route(test: _Test) -> int:
    path = test.options.R
    if path is None and not os.path.exists(ROUTE_PATH):
        return PERMITTED
    path = path or ROUTE_PATH
    _say(f"==== Checking routing file ({path})...")
    try:
        text = read_text(path)
    except ConfigError as error:
        _say(f"Unable to open routing file ({path})\n{error}")
        return DENIED
    question = test.question
    name = question.host if isinstance(question.host, str) else None
    lines = RouteTable.compile(parse_route(text, path), user_files(_say))
    route = lines.find(test.destination, name, question.user)
    if route is None:
        _say(f"***Cannot find appropriate interface to communicate with {test.options.destination}")
        return DENIED
    _say(f"Line {route.place.line}: {Listing.of(text, path).at(route.place)}")
    return PERMITTED


def _host(text: str) -> tuple[Address | Name, Address]:
    """A host in canonical form, and its address: the first one of a name, as in the original."""
    try:
        host = canonical_host(os.fsencode(text))
        if isinstance(host, Address):
            return plain(host), plain(host)
        return host, plain(system_lookup(host)[0])
    except (BadName, LookupFailed) as error:
        raise _Wrong(f"Unknown host '{text}': {error}") from None


def _now() -> int:
    now = time.localtime()
    return (now.tm_wday * 24 + now.tm_hour) * 60 + now.tm_min


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Parser(argparse.ArgumentParser):
    """A wrong command line ends with the original's code, which is not argparse's."""

    @classmethod
    def of_program(cls) -> "_Parser":
        """The command line of the program."""
        parser = cls(prog=PROGRAM, usage=USAGE, add_help=False, allow_abbrev=False)
        parser.add_argument("-i", action="store_true", help="as if no identd answered, which -i lets pass")
        parser.add_argument("-I", action="store_true", help="as if no identd answered, which -I does not let pass")
        parser.add_argument("-B", action="store_true", help="as if identd named another user")
        parser.add_argument("-C", metavar="conf_file", default=ACCESS_PATH)
        parser.add_argument("-R", metavar="route_file")
        parser.add_argument("user")
        parser.add_argument("source", metavar="src_addr")
        parser.add_argument("destination", metavar="dst_addr")
        parser.add_argument("port", metavar="{service,port}")
        return parser

    def error(self, message: str) -> NoReturn:
        """Print the usage and end."""
        self.print_usage(sys.stderr)
        self.exit(FAILED, f"{PROGRAM}: {message}\n")
