"""``sockctl explain``: which line decides about a request, which ones nearly did, and what the guard says.

It asks the rules that the running daemon has, or those of the files, and looks names up as the daemon does; nothing is
sent to the destination.
"""

import argparse
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.address import Address, Name, canonical_host, parse_address, plain
from gateway.cli.basis import Basis, basis
from gateway.cli.daemon import SETTINGS_PATH, say
from gateway.config.access import parse_access
from gateway.config.listing import Listing
from gateway.config.options import DAYS
from gateway.config.rules import AccessRule, Dialect
from gateway.config.source import read_services, read_text
from gateway.daemon.host import user_files
from gateway.errors import BadName, GatewayError
from gateway.net.lookup import LookupFailed, system_lookup
from gateway.netlink.kernel import own_addresses
from gateway.policy.access import AccessPolicy
from gateway.policy.decision import AUTH_OF_METHOD, WORD_OF_COMMAND, Question, Result
from gateway.policy.destination import Guard
from gateway.policy.egress import Choice
from gateway.policy.explain import Explanation, Verdict, explain, minute_words
from gateway.policy.router import Candidate, Router
from gateway.services import Services
from gateway.session.tcp import NO_ROUTE
from gateway.wire.constants import Command, Method

PERMITTED, DENIED, FAILED = 0, 1, 2
"""The exit status; FAILED also for a command line or a file that is wrong."""

_TARGET = re.compile(r"\[(?P<v6>[^\]]*)\]:(?P<port6>.*)|(?P<host>[^:]*):(?P<port>[^:]*)", re.DOTALL)
_TIME = re.compile(rf"({'|'.join(DAYS)}) ([01][0-9]|2[0-3]):([0-5][0-9])")
_METHODS = {"none": Method.NONE, "password": Method.PASSWORD}
_COMMANDS: dict[str, Command] = {word: command for command, word in WORD_OF_COMMAND.items()}


class _Unusable(GatewayError):
    """An argument that only a look at the host shows to be wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl explain``."""
    parser.add_argument(
        "--from", dest="source", metavar="ADDRESS", type=_address, required=True, help="the client's address"
    )
    parser.add_argument("--to", metavar="HOST:PORT", required=True, help="the destination; [2001:db8::1]:443 for IPv6")
    parser.add_argument("--user", default="", help="the user id that the client sends or proves")
    parser.add_argument("--auth", choices=sorted(_METHODS), default="none", help="how it proves it (default none)")
    parser.add_argument("--method", choices=sorted(_COMMANDS), default="connect", help="what it asks for")
    parser.add_argument("--at", metavar="'Mon 14:30'", type=_minute, help="the local time (default now)")
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        type=_address,
        action="append",
        default=[],
        help="an address that the name has; given once or more, the name is not looked up",
    )
    rules = parser.add_mutually_exclusive_group()
    rules.add_argument("-s", dest="socket", metavar="PATH", help="by the daemon at this control socket, or not at all")
    rules.add_argument("--files", action="store_true", help=f"by the files of {SETTINGS_PATH} as they are now")
    rules.add_argument("-f", metavar="FILE", help="by these settings and their files as they are now")
    rules.add_argument("-C", metavar="FILE", help="by a sockd.conf alone; the guard then knows no inside networks")
    parser.add_argument(
        "--dialect",
        choices=[dialect.value for dialect in Dialect],
        default=Dialect.CLASSIC.value,
        help="the sense of the masks, with -C",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; 0 when the request is permitted, 1 when it is denied, 2 when that can not be told."""
    try:
        return _explain(arguments)
    except (GatewayError, LookupFailed, OSError) as error:
        say("explain", error)
    return FAILED


def _explain(arguments: argparse.Namespace) -> int:
    written, port = _target(arguments.to, read_services())
    try:
        host = canonical_host(os.fsencode(written))
    except BadName as error:
        return _print_refused_name(str(error), arguments.json)
    if arguments.address and isinstance(host, Address):
        raise _Unusable("--address goes with a name; --to has an address already")
    loaded = _loaded(arguments)
    policy = loaded.policy
    question = Question(
        plain(arguments.source),
        plain(host) if isinstance(host, Address) else host,
        port,
        arguments.user,
        _COMMANDS[arguments.method],
        _METHODS[arguments.auth],
        _now() if arguments.at is None else arguments.at,
    )
    explanation = explain(policy, question, lambda name: arguments.address or _look_up(name))
    ways = _ways(explanation, loaded.router)
    if arguments.json:
        print(json.dumps(loaded.as_json() | _as_json(explanation, loaded.listing, ways), indent=2))
    else:
        print("\n".join((*loaded.words(), *_as_text(explanation, loaded.listing, ways))))
    return PERMITTED if _is_permitted(explanation, ways) else DENIED


# The ways out


class Way(NamedTuple):
    """How a connection to a permitted address would leave: what names the ways, and what becomes of each."""

    choice: Choice
    candidates: tuple[Candidate, ...]

    @property
    def others(self) -> tuple[tuple[str, str], ...]:
        """The ways that are not taken, as they are written, and why not."""
        taken = self.choice.egress
        left = (one for one in self.candidates if one.egress is None or one.egress != taken)
        return tuple((str(one.word), one.why or "another one comes first") for one in left)


Ways = Mapping[Address, Way]


def _ways(explanation: Explanation, router: Router | None) -> Ways:
    """The way to each permitted address; empty on a single-homed server."""
    if router is None:
        return {}
    verdicts = [verdict for verdict in explanation.addresses if verdict.decision.result is Result.PERMIT]
    return {verdict.address: _way(explanation.question, verdict, router) for verdict in verdicts if verdict.address}


def _way(question: Question, verdict: Verdict, router: Router) -> Way:
    address, rule = verdict.address, verdict.decision.rule
    assert address is not None
    via, label = (None, "") if rule is None else (rule.options.via, rule.label)
    name = question.host if isinstance(question.host, str) else None
    route = router.route(plain(address), name, question.user, via, label)
    if route is None:
        return Way(Choice(None, NO_ROUTE), ())
    version = plain(address).version
    return Way(router.choose(route, version), router.candidates(route, version))


def _is_permitted(explanation: Explanation, ways: Ways) -> bool:
    """What the rules permit and no usable way leads to is refused all the same."""
    if explanation.result is not Result.PERMIT:
        return False
    return not ways or any(way.choice.egress is not None for way in ways.values())


# What goes in


class _Loaded(NamedTuple):
    """What is asked, and where it is from; ``basis`` None: a rule file alone."""

    policy: AccessPolicy
    #: on a multihomed server, with the ways out as they stand now
    router: Router | None
    listing: Listing
    basis: Basis | None

    def words(self) -> Iterator[str]:
        """Where the rules are from."""
        lines = [f"{self.policy.file.path} alone"] if self.basis is None else self.basis.words()
        return (f"rules    {line}" if not number else f"note     {line}" for number, line in enumerate(lines))

    def as_json(self) -> dict[str, Any]:
        """The same as a part of an object."""
        return {"from": None if self.basis is None else self.basis.as_json()}


def _loaded(arguments: argparse.Namespace) -> _Loaded:
    if arguments.C is not None:
        return _rule_file(arguments.C, Dialect(arguments.dialect))
    found = basis(arguments, arguments.files or arguments.f is not None, lambda line: say("explain", line))
    configuration = found.configuration
    path = configuration.access.path
    listing = Listing.of(configuration.texts.files[path], path)
    return _Loaded(configuration.policy, configuration.router, listing, found)


def _rule_file(path: str, dialect: Dialect) -> _Loaded:
    text = read_text(path)
    file = parse_access(text, path, read_services(), dialect)
    guard = Guard(frozenset(own.address for own in own_addresses()))
    users = user_files(lambda line: say("explain", line))
    policy = AccessPolicy.compile(file, guard, users, multihomed=True)
    return _Loaded(policy, None, Listing.of(text, path), None)


def _look_up(name: Name) -> Sequence[Address]:
    """As a worker does: the search list of resolv.conf(5) must not make another name of it."""
    os.environ["LOCALDOMAIN"] = ""
    try:
        return system_lookup(name)
    except LookupFailed as error:
        raise _Unusable(f"{name} can not be looked up: {error}; --address tells its addresses") from None


def _target(text: str, services: Services) -> tuple[str, int]:
    found = _TARGET.fullmatch(text)
    if found is None:
        raise _Unusable(f"--to {text!r}: HOST:PORT is expected, an IPv6 address in brackets")
    port = services.port(found["port6"] or found["port"] or "")
    if port is None:
        raise _Unusable(f"--to {text!r}: no port; a service of /etc/services or a number from 0 to 65535 is expected")
    if found["v6"] is not None and parse_address(found["v6"]) is None:
        raise _Unusable(f"--to {text!r}: no IPv6 address between the brackets")
    return found["v6"] or found["host"] or "", port


def _address(text: str) -> Address:
    found = parse_address(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no address")
    return found


def _minute(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it as 'Mon 14:30'")
    return (DAYS.index(found[1]) * 24 + int(found[2])) * 60 + int(found[3])


def _now() -> int:
    now = time.localtime()
    return (now.tm_wday * 24 + now.tm_hour) * 60 + now.tm_min


# What comes out


def _print_refused_name(fault: str, as_json: bool) -> int:
    reason = f"no rule is asked: {fault}"
    print(json.dumps({"result": "deny", "reason": reason}, indent=2) if as_json else f"DENY: {reason}")
    return DENIED


def _as_text(explanation: Explanation, listing: Listing, ways: Ways) -> Iterator[str]:
    question = explanation.question
    user = f"user {question.user!r}" if question.user else "no user"
    yield (
        f"request  {WORD_OF_COMMAND[question.command]} from {question.source} to {question.host} port {question.port} "
        f"({user}, auth={AUTH_OF_METHOD[question.method]}, {minute_words(question.minute)})"
    )
    if explanation.name is not None:
        yield f"name     {question.host}"
        yield from _verdict_text(explanation.name, listing)
    for verdict in explanation.addresses:
        yield f"address  {verdict.address}"
        yield from _verdict_text(verdict, listing)
        if verdict.address is not None and verdict.address in ways:
            yield from _way_text(ways[verdict.address])
    refused = explanation.result is Result.PERMIT and not _is_permitted(explanation, ways)
    yield "result   REFUSED: no way out" if refused else f"result   {explanation.result.name}"


def _way_text(way: Way) -> Iterator[str]:
    egress = way.choice.egress
    leaves = "none" if egress is None else f"by {egress.device} from {egress.source}"
    yield f"  way out: {leaves}: {way.choice.reason}"
    yield from (f"    not by {word}: {why}" for word, why in way.others)


def _verdict_text(verdict: Verdict, listing: Listing) -> Iterator[str]:
    decision = verdict.decision
    yield f"  {decision.result.name}: {decision.reason}"
    if decision.rule is not None:
        yield f"  {_line_text(decision.rule, listing)}"
    yield f"  guard: {verdict.guard}"
    if decision.would_deny is not None:
        yield "  would be denied, if it did not only report, by"
        yield f"    {_line_text(decision.would_deny, listing)}"
    if verdict.near:
        yield "  nearly matched before:"
    for near in verdict.near:
        yield f"    {_line_text(near.rule, listing)}"
        yield from (f"      {miss}" for miss in near.misses)
    if verdict.more:
        yield f"    and {verdict.more} more"


def _line_text(rule: AccessRule, listing: Listing) -> str:
    return f"line {rule.place.line}: {listing.at(rule.place)}"


def _as_json(explanation: Explanation, listing: Listing, ways: Ways) -> dict[str, Any]:
    question = explanation.question
    return {
        "request": {
            "source": str(question.source),
            "host": str(question.host),
            "port": question.port,
            "user": question.user,
            "auth": AUTH_OF_METHOD[question.method],
            "method": WORD_OF_COMMAND[question.command],
            "at": minute_words(question.minute),
        },
        "name": None if explanation.name is None else _verdict_json(explanation.name, listing),
        "addresses": [
            _verdict_json(verdict, listing) | _way_json(ways.get(verdict.address) if verdict.address else None)
            for verdict in explanation.addresses
        ],
        "result": explanation.result.value if not ways or _is_permitted(explanation, ways) else "refused",
    }


def _way_json(way: Way | None) -> dict[str, Any]:
    if way is None:
        return {}
    egress = way.choice.egress
    leaves = (
        None if egress is None else {"uplink": egress.uplink, "device": egress.device, "source": str(egress.source)}
    )
    others = [{"word": word, "why": why} for word, why in way.others]
    return {"way_out": {"egress": leaves, "reason": way.choice.reason, "against": others}}


def _verdict_json(verdict: Verdict, listing: Listing) -> dict[str, Any]:
    decision = verdict.decision
    return {
        "address": None if verdict.address is None else str(verdict.address),
        "result": decision.result.value,
        "reason": decision.reason,
        "line": _line_json(decision.rule, listing),
        "would_deny": _line_json(decision.would_deny, listing),
        "guard": verdict.guard,
        "near": [{"line": _line_json(near.rule, listing), "misses": near.misses} for near in verdict.near],
        "more": verdict.more,
    }


def _line_json(rule: AccessRule | None, listing: Listing) -> dict[str, Any] | None:
    if rule is None:
        return None
    return {"label": rule.label, "number": rule.place.line, "text": listing.at(rule.place)}
