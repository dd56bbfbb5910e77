"""Lines of ``sockd.route`` and uplinks, each built in a line."""

from dataclasses import replace

from gateway.address import parse_address
from gateway.config.rules import Anyone, EgressWord, RouteFile, RouteRule
from gateway.place import Place
from gateway.policy.egress import Standing, Uplink
from tests.support.rules import address, host, users

ROUTES = "/etc/sockd.route"


def words(text: str) -> tuple[EgressWord, ...]:
    """``wan1,192.0.2.1``: names and addresses."""
    return tuple(parse_address(word) or word for word in text.split(","))


def line(text: str, *, user: str = "") -> RouteRule:
    """A line from ``WAYS [DESTINATION]``, and the user list by keyword."""
    ways, *destination = text.split()
    target = host(destination[0]) if destination else Anyone()
    return RouteRule(Place(ROUTES, 1, 1), words(ways), target, users(user))


def route_file(*rules: RouteRule | str) -> RouteFile:
    """A file of these as its lines 1, 2, 3."""
    lines = (line(one) if isinstance(one, str) else one for one in rules)
    return RouteFile(ROUTES, tuple(replace(one, place=Place(ROUTES, n, 1)) for n, one in enumerate(lines, 1)))


def uplink(
    name: str, *sources: str, device: str = "", standing: Standing = Standing.UP, cause: str = "it answers"
) -> Uplink:
    """An uplink; its device has its name unless another one is given."""
    return Uplink(name, device or name, standing, cause, tuple(map(address, sources)))
