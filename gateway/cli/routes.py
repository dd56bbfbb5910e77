"""``sockctl routes``: the uplinks, how each of them stands, and what goes where."""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.address import Address
from gateway.cli.basis import Basis, basis
from gateway.cli.daemon import DONE, REFUSED, UNUSABLE, add_socket, columns, say
from gateway.config.rules import AddressPattern, RouteRule, UserFile, UserGroup, UserItem
from gateway.errors import GatewayError
from gateway.policy.egress import Choice, Route
from gateway.policy.explain import host_words
from gateway.policy.pattern import VERSIONS, normal
from gateway.policy.router import Router


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl routes``."""
    add_socket(parser)
    parser.add_argument("--files", action="store_true", help="by the files as they are now, not as the daemon has them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print them; 0, or 1 when the daemon, the files or the kernel can not tell."""
    if arguments.files and arguments.socket:
        say("routes", "--files and -s contradict each other")
        return UNUSABLE
    try:
        found = basis(arguments, arguments.files, lambda line: say("routes", line))
    except GatewayError as error:
        say("routes", error)
        return REFUSED
    router = found.configuration.router
    if arguments.json:
        print(json.dumps({"multihomed": False} if router is None else _as_json(router, found), indent=2))
    else:
        print("\n".join(_as_text(router, found)))
    return DONE


# As text


def _as_text(router: Router | None, found: Basis) -> Iterator[str]:
    yield from found.words()
    if router is None:
        yield "single-homed: the kernel's own routes decide"
        return
    yield ""
    rows = [("UPLINK", "INTERFACE", "STATE", "ADDRESSES", "WHY")]
    for uplink in found.uplinks:
        addresses = " ".join(map(str, uplink.sources)) or "-"
        rows.append((uplink.name, uplink.device, uplink.standing.value, addresses, uplink.cause))
    yield from columns(rows)
    yield ""
    routes = [("LINE", "WAYS OUT", "DESTINATION", "NOW")]
    for route in router.routes:
        routes += [(route.origin, _ways(route), _destination(route), words) for words in _now(router, route)]
    yield from columns(routes)
    if not router.routes or router.routes[-1].rule is not None:
        yield "what no line is for is refused: there is no [external] interface"


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


def _as_json(router: Router, found: Basis) -> dict[str, Any]:
    return {
        "multihomed": True,
        "from": found.as_json(),
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
