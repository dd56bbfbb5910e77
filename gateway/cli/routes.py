"""``sockctl routes``: the uplinks, how each of them stands, and what goes where."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.address import Address
from gateway.config.rules import AddressPattern, RouteRule, UserFile, UserGroup, UserItem
from gateway.daemon.configuration import load
from gateway.daemon.outlook import Outlook, outlook
from gateway.errors import ConfigError, GatewayError
from gateway.policy.egress import Choice, Route
from gateway.policy.explain import host_words
from gateway.policy.pattern import VERSIONS, normal
from gateway.policy.router import Router

SETTINGS_PATH = "/etc/gateway.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl routes``."""
    parser.add_argument("-f", metavar="FILE", default=SETTINGS_PATH, help=f"settings (default {SETTINGS_PATH})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print them; 0, or 1 when the files are refused or the kernel does not answer."""
    try:
        configuration = load(arguments.f, _say)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    except GatewayError as error:
        _say(str(error))
        return 1
    router = configuration.router
    if router is None:
        print(json.dumps({"multihomed": False}) if arguments.json else "single-homed: the kernel's own routes decide")
        return 0
    found = outlook(configuration)
    router.update(found.uplinks)
    if arguments.json:
        print(json.dumps(_as_json(router, found), indent=2))
    else:
        print("\n".join(_as_text(router, found)))
    return 0


def _say(line: str) -> None:
    print(f"sockctl routes: {line}", file=sys.stderr)


# As text


def _as_text(router: Router, found: Outlook) -> Iterator[str]:
    if found.status is None:
        yield "as the kernel's interfaces are; no running sockd has said what its probes found"
    else:
        yield f"as sockd knows them since {found.status.time}"
    yield ""
    rows = [("UPLINK", "INTERFACE", "STATE", "ADDRESSES", "WHY")]
    for uplink in found.uplinks:
        addresses = " ".join(map(str, uplink.sources)) or "-"
        rows.append((uplink.name, uplink.device, uplink.standing.value, addresses, uplink.cause))
    yield from _columns(rows)
    yield ""
    routes = [("LINE", "WAYS OUT", "DESTINATION", "NOW")]
    for route in router.routes:
        routes += [(route.origin, _ways(route), _destination(route), words) for words in _now(router, route)]
    yield from _columns(routes)
    if not router.routes or router.routes[-1].rule is not None:
        yield "what no line is for is refused: there is no [external] interface"


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()


def _ways(route: Route) -> str:
    return ",".join(map(str, route.egress))


def _destination(route: Route) -> str:
    if route.rule is None:
        return "everything else"
    users = ",".join(map(_user, route.rule.users))
    where = host_words(route.rule.destination)
    return f"{where} for {users}" if users else where


def _user(item: UserItem) -> str:
    if isinstance(item, UserFile):
        return item.path
    return f"@{item.name}" if isinstance(item, UserGroup) else item.name


def _now(router: Router, route: Route) -> list[str]:
    """Where it goes at present: one answer where both families have the same, else one for each."""
    answers = {version: _answer(router.choose(route, version)) for version in _versions(route.rule)}
    if len(set(answers.values())) == 1:
        return [next(iter(answers.values()))]
    return [f"IPv{version}: {answer}" for version, answer in answers.items()]


def _versions(rule: RouteRule | None) -> Sequence[int]:
    """The families that a line's destination has addresses of."""
    destination = None if rule is None else normal(rule.destination)
    return (destination.version,) if isinstance(destination, AddressPattern) else VERSIONS


def _answer(choice: Choice) -> str:
    egress = choice.egress
    if egress is None:
        return f"refused: {choice.reason}"
    because = choice.reason.partition(", because ")[2]
    return f"{egress.uplink} from {egress.source}" + (f", because {because}" if because else "")


# As JSON


def _as_json(router: Router, found: Outlook) -> dict[str, Any]:
    status = found.status
    return {
        "multihomed": True,
        "sockd": None if status is None else {"warden": status.pid, "time": status.time},
        "uplinks": [
            {
                "name": uplink.name,
                "interface": uplink.device,
                "state": uplink.standing.value,
                "addresses": list(map(str, uplink.sources)),
                "why": uplink.cause,
            }
            for uplink in found.uplinks
        ],
        "routes": [
            {
                "line": route.origin,
                "ways_out": list(map(str, route.egress)),
                "destination": None if route.rule is None else host_words(route.rule.destination),
                "users": [] if route.rule is None else list(map(_user, route.rule.users)),
                "now": {f"ipv{version}": _choice(router, route, version) for version in _versions(route.rule)},
            }
            for route in router.routes
        ],
    }


def _choice(router: Router, route: Route, version: int) -> dict[str, str | None]:
    choice = router.choose(route, version)
    source: Address | None = None if choice.egress is None else choice.egress.source
    return {
        "uplink": None if choice.egress is None else choice.egress.uplink,
        "source": None if source is None else str(source),
        "reason": choice.reason,
    }
