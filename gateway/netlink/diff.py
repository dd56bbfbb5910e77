"""From what is in the kernel under our protocol number to what should be, in steps that never open a wrong way; pure.

Whoever is interrupted between two steps leaves a state in which packets leave by their own interface or not at all, and
the next run goes on from there. A route that changes is removed and added, since the kernel's own replacing does not
look whose route it replaces; for that moment the destination is unreachable.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from gateway.netlink.desired import Wanted
from gateway.netlink.model import KernelRoute, RoutingRule

Verb = Literal["add", "remove"]


class Step(NamedTuple):
    """One change."""

    verb: Verb
    item: KernelRoute | RoutingRule


def steps(own: Wanted, wanted: Wanted) -> tuple[Step, ...]:
    """What turns ``own`` into ``wanted``, in order; nothing for what is right already.

    A way into a table exists only while what ends it does: unreachable rules come first and go last. Still before them
    come the rules by destination, and after them they go, so that the inside is never cut off. A table is changed while
    no new way leads there yet, and no old one any more. Routes by a gateway need the route to the gateway.
    """
    return (
        *_rules("add", wanted.rules - own.rules, (_BY_DESTINATION, _END)),
        *_rules("remove", own.rules - wanted.rules, (_WAY,)),
        *_each("remove", reversed(_by_depth(own.routes - wanted.routes))),
        *_each("add", _by_depth(wanted.routes - own.routes)),
        *_rules("add", wanted.rules - own.rules, (_WAY,)),
        *_rules("remove", own.rules - wanted.rules, (_END, _BY_DESTINATION)),
    )


_BY_DESTINATION, _WAY, _END = "by destination", "into a table", "unreachable"


def _sort(rule: RoutingRule) -> str:
    if rule.action != "lookup":
        return _END
    return _WAY if rule.destination is None else _BY_DESTINATION


def _rules(verb: Verb, rules: Iterable[RoutingRule], sorts: Sequence[str]) -> Iterator[Step]:
    """Steps for the rules of these sorts, in that order; within a sort in any fixed one."""
    chosen = [rule for rule in rules if _sort(rule) in sorts]
    chosen.sort(key=lambda rule: (sorts.index(_sort(rule)), _rank(rule)))
    return _each(verb, chosen)


def _each(verb: Verb, items: Iterable[KernelRoute | RoutingRule]) -> Iterator[Step]:
    return (Step(verb, item) for item in items)


def _rank(rule: RoutingRule) -> tuple[object, ...]:
    selectors = (rule.oif or "", rule.source or (), rule.destination or ())
    return (-rule.priority, rule.version, *selectors, rule.table, rule.action)


def _by_depth(routes: Iterable[KernelRoute]) -> list[KernelRoute]:
    return sorted(routes, key=_depth)


def _depth(route: KernelRoute) -> tuple[object, ...]:
    """Networks on the link before gateways; then any fixed order."""
    return (
        route.gateway is not None,
        route.version,
        route.table,
        route.destination,
        route.metric,
        route.gateway or (),
        route.index,
        route.on_link,
        route.scope,
        route.source or (),
        route.kind,
        route.metrics,
        route.preference,
    )
