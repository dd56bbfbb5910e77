"""Whether earlier lines leave anything for a later one: the exact questions behind the warning "never matches".

A set of requests is a product of fields. One line covers another when it does so in every field; several cover it
together when cutting away their boxes of source, destination and port leaves nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from gateway.config.rules import AccessRule, AddressPattern, Anyone, HostPattern, NamePattern
from gateway.policy.pattern import (
    VERSIONS,
    bits_of,
    host_covers,
    is_prefix,
    normal,
    port_ranges,
    ranges_cover,
    span,
    week_minutes,
)

PIECES = 200
"""When so many boxes are left, the answer is "no": it would have to be paid with time."""

Side = tuple[int, int]
"""A range of one field, both ends included."""

Box = tuple[tuple[int, int], tuple[Side, ...]]
"""The versions of source and destination; the ranges of source, destination and port."""


def covers(outer: AccessRule, inner: AccessRule) -> bool:
    """Whether every request that matches ``inner`` certainly matches ``outer``.

    User lists are compared as they are written, since files and groups change.
    """
    return (
        host_covers(normal(outer.source), normal(inner.source))
        and host_covers(normal(outer.destination), normal(inner.destination))
        and ranges_cover(port_ranges(outer.ports), port_ranges(inner.ports))
        and _conditions_cover(outer, inner)
    )


def cover_together(earlier: Iterable[AccessRule], inner: AccessRule) -> bool:
    """Whether these lines together leave nothing of ``inner``; no when it is not known."""
    left = list(_boxes(inner, inner))
    if not left:
        return False
    for outer in earlier:
        if _conditions_cover(outer, inner):
            for box in _boxes(outer, inner):
                left = [piece for old in left for piece in _cut(old, box)]
        if not left:
            return True
        if len(left) > PIECES:
            return False
    return False


def _conditions_cover(outer: AccessRule, inner: AccessRule) -> bool:
    """Whether ``outer`` asks for nothing more in the fields that are not ranges."""
    old, new = outer.options, inner.options
    return (
        (not outer.users or (bool(inner.users) and set(inner.users) <= set(outer.users)))
        and _words_cover(old.auth, new.auth)
        and _words_cover(old.method, new.method)
        and ranges_cover(week_minutes(old.hours), week_minutes(new.hours))
    )


def _words_cover(outer: frozenset[str] | None, inner: frozenset[str] | None) -> bool:
    return outer is None or (inner is not None and inner <= outer)


def _boxes(rule: AccessRule, within: AccessRule) -> Iterator[Box]:
    """The requests of a rule as boxes, by address.

    None for a mask with holes, and for a name pattern that does not cover the one of ``within``; one that does stands
    for every address, since names are compared only with names.
    """
    sources = _ranges(rule.source, within.source)
    destinations = _ranges(rule.destination, within.destination)
    for (source, clients), (target, hosts), ports in product(sources, destinations, port_ranges(rule.ports)):
        yield (source, target), (clients, hosts, ports)


def _ranges(pattern: HostPattern, within: HostPattern) -> Sequence[tuple[int, Side]]:
    pattern = normal(pattern)
    if isinstance(pattern, AddressPattern):
        return [(pattern.version, span(pattern))] if is_prefix(pattern) else []
    if isinstance(pattern, Anyone) or (isinstance(within, NamePattern) and host_covers(pattern, within)):
        return [(version, (0, (1 << bits_of(version)) - 1)) for version in VERSIONS]
    return []


def _cut(box: Box, hole: Box) -> Iterator[Box]:
    """What is left of a box: at most two pieces a field, none of which overlap."""
    versions, sides = box
    other_versions, others = hole
    if versions != other_versions or any(a[1] < b[0] or b[1] < a[0] for a, b in zip(sides, others, strict=True)):
        yield box
        return
    for index, (first, last) in enumerate(others):
        low, high = sides[index]
        if low < first:
            yield versions, _with(sides, index, (low, first - 1))
        if last < high:
            yield versions, _with(sides, index, (last + 1, high))
        sides = _with(sides, index, (max(low, first), min(high, last)))


def _with(sides: tuple[Side, ...], index: int, side: Side) -> tuple[Side, ...]:
    return (*sides[:index], side, *sides[index + 1 :])
