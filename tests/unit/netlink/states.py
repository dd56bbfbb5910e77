"""States of a kernel built in a line, hypothesis strategies that make them collide, and a model of the kernel.

The strategies have few names, addresses and networks, the same on several interfaces, so that changes from one state to
another meet each other's routes and rules.
"""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import strategies as st

from gateway.netlink.desired import MAIN, NO_METRIC, Bases, Strict, Wanted, desired
from gateway.netlink.diff import Step
from gateway.netlink.model import (
    NULL_KINDS,
    InterfaceAddress,
    KernelRoute,
    KernelState,
    Link,
    Prefix,
    RouteKind,
    RouterPreference,
    RoutingRule,
    RuleAction,
    is_link_local,
)
from tests.support.rules import address

BASES = Bases(10_000, 5_000)
ON_LINK = 253


def prefix(text: str) -> Prefix:
    """``10.0.0.0/8``; an address alone is a host."""
    head, _, length = text.partition("/")
    return Prefix(address(head), int(length)) if length else Prefix.host(address(head))


def own(text: str, index: int) -> InterfaceAddress:
    """An address with its prefix on an interface."""
    net = prefix(text)
    return InterfaceAddress(net.address, net.length, index, scope="link" if is_link_local(net.address) else "global")


def route(
    destination: str,
    index: int,
    via: str = "",
    *,
    table: int = MAIN,
    metric: int | None = None,
    on_link: bool = False,
    source: str = "",
    metrics: bytes = b"",
    preference: RouterPreference = "medium",
) -> KernelRoute:
    """A route as the kernel tells of it."""
    net = prefix(destination)
    version = net.address.version
    return KernelRoute(
        version,
        table,
        net,
        address(via) if via else None,
        index,
        on_link,
        0 if via or version == 6 else ON_LINK,
        address(source) if source else None,
        NO_METRIC[version] if metric is None else metric,
        "unicast",
        metrics,
        preference,
    )


def null(
    destination: str, kind: RouteKind = "blackhole", *, table: int = MAIN, metric: int | None = None
) -> KernelRoute:
    """A route that leads nowhere, as the kernel tells of it."""
    return replace(route(destination, 0, table=table, metric=metric), scope=0, kind=kind)


_ACTIONS: tuple[RuleAction, ...] = ("lookup", *NULL_KINDS)


def rule(text: str) -> RoutingRule:
    """``5002 from 192.0.2.1 lookup 10002``; rules without an address are for ``-4`` or ``-6``, which stand first."""
    words = text.split()
    version = {"-4": 4, "-6": 6}.get(words[0])
    words = words[1:] if version else words
    told = dict(zip(words[1::2], words[2::2], strict=False))
    source, destination = (prefix(told[word]) if word in told else None for word in ("from", "to"))
    net = source or destination
    return RoutingRule(
        net.address.version if net else version or 4,
        int(words[0]),
        next(action for action in _ACTIONS if action in words),
        int(told.get("lookup", 0)),
        source,
        destination,
        told.get("oif"),
        words[-1] == "nodefault",
    )


NAMES = ("wan1", "wan2", "eth1")
CARDS = (*NAMES, "mgmt0")
_NETWORKS = ("10.0.0.0/9", "192.168.0.0/16", "fd00::/16")
_NULLS = ("203.0.113.0/24", "10.0.0.0/8", "192.168.1.3/32", "2001:db8:1::/48", "2001:db8::/32", "fd00::/8")
_PREFERENCES: tuple[RouterPreference, ...] = ("low", "medium", "high")
_METRICS = (b"", bytes.fromhex("08000200d4050000"))
_ADDRESSES = (
    "192.168.1.2/24",
    "192.168.1.3/24",
    "10.0.0.1/8",
    "203.0.113.5/32",
    "2001:db8:1::2/64",
    "2001:db8:2::2/64",
    "fe80::2/64",
)
_GATEWAYS = ("192.168.1.1", "10.0.0.254", "198.51.100.1", "2001:db8:1::1", "fe80::1")


@st.composite
def states(draw: st.DrawFn) -> KernelState:
    """Interfaces that come and go, with addresses and the routes that follow from them, and some that do not."""
    links = tuple(
        Link(index, name, running, up=draw(st.booleans()) or running)
        for index, name in enumerate(CARDS, 2)
        for running in [draw(st.booleans())]
        if draw(st.integers(0, 3))
    )
    held = [(link.index, text) for link in links for text in draw(st.sets(st.sampled_from(_ADDRESSES), max_size=3))]
    routes = {route(str(Prefix.around(*prefix(text))), index) for index, text in held}
    for link in links:
        for via in draw(st.sets(st.sampled_from(_GATEWAYS), max_size=2)):
            destination = draw(st.sampled_from(("", "172.16.0.0/12", "10.7.0.0/16"))) if ":" not in via else ""
            whole = destination or ("::/0" if ":" in via else "0.0.0.0/0")
            metrics = st.sampled_from((NO_METRIC[6 if ":" in via else 4], 100))
            made = route(whole, link.index, via, metric=draw(metrics), on_link=not _near(via, link.index, routes))
            preference = draw(st.sampled_from(_PREFERENCES)) if ":" in via else "medium"
            routes.add(replace(made, metrics=draw(st.sampled_from(_METRICS)), preference=preference))
    for text in draw(st.sets(st.sampled_from(_NULLS), max_size=2)):
        routes.add(null(text, draw(st.sampled_from(NULL_KINDS)), metric=draw(st.sampled_from((None, 77)))))
    return KernelState(links, tuple(own(text, index) for index, text in held), tuple(routes))


def _near(via: str, index: int, routes: Iterable[KernelRoute]) -> bool:
    gateway = address(via)
    return is_link_local(gateway) or any(
        known.gateway is None and known.index == index and known.destination.holds(gateway) for known in routes
    )


@st.composite
def wishes(draw: st.DrawFn) -> Wanted:
    """What is wanted for some configuration on some state."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    gateways = st.lists(st.sampled_from(_GATEWAYS), max_size=2, unique=True)
    interfaces = [Strict(name, tuple(map(address, draw(gateways))), draw(st.booleans())) for name in names]
    bases = draw(st.sampled_from((BASES, Bases(20_000, 5_000), Bases(10_000, 5_100))))
    networks = draw(st.sets(st.sampled_from(_NETWORKS), max_size=2))
    return desired(interfaces, draw(states()), bases, tuple(map(prefix, networks)))


class Model:
    """What a kernel does with steps; anything that it would refuse raises AssertionError."""

    def __init__(self, has: Wanted) -> None:
        self.routes = {(item.table, item.destination, item.metric): item for item in has.routes}
        assert len(self.routes) == len(has.routes), "two routes of one table for the same destination and metric"
        self.rules = set(has.rules)

    def take(self, step: Step) -> None:
        """Carry out one step."""
        item = step.item
        if isinstance(item, RoutingRule):
            assert (item in self.rules) == (step.verb == "remove")
            self.rules ^= {item}
        elif step.verb == "remove":
            assert self.routes.pop((item.table, item.destination, item.metric)) == item
        else:
            assert (item.table, item.destination, item.metric) not in self.routes
            assert item.kind not in NULL_KINDS or (item.index, item.gateway, item.on_link) == (0, None, False)
            assert item.gateway is None or item.on_link or self._reaches(item), f"no way to the gateway of {item}"
            self.routes[item.table, item.destination, item.metric] = item

    def _reaches(self, item: KernelRoute) -> bool:
        gateway = item.gateway
        assert gateway is not None
        return is_link_local(gateway) or any(
            known.kind == "unicast"
            and known.gateway is None
            and known.table == item.table
            and known.destination.holds(gateway)
            for known in self.routes.values()
        )

    @property
    def has(self) -> Wanted:
        """What is there now."""
        return Wanted(frozenset(self.routes.values()), frozenset(self.rules))
