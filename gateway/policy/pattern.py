"""Set algebra on the patterns of rules: which addresses, names and minutes one covers, and which pattern covers which.

A mask is a *prefix* when its 1 bits come first; then the pattern is one interval of addresses. Masks with holes are
legal in the classic grammar and stay exact here, but have no interval.
"""

from gateway.config.rules import AddressPattern, Anyone, HostPattern, Hours, NamePattern, PortTest
from gateway.policy.decision import WEEK

VERSIONS = (4, 6)
DAY = 24 * 60
ALL_PORTS = ((0, 0xFFFF),)

Ranges = tuple[tuple[int, int], ...]
"""Sorted, disjoint, inclusive ranges of integers that do not touch one another."""


def bits_of(version: int) -> int:
    """The length of an address: 32 or 128."""
    return 32 if version == 4 else 128


def normal(pattern: HostPattern) -> HostPattern:
    """The pattern as questions are asked: one within ``::ffff:0:0/96`` becomes the IPv4 pattern that it means.

    Questions are made plain (`gateway.address.plain`), so that the line as it was written would never match.
    """
    if isinstance(pattern, AddressPattern) and pattern.version == 6:
        mapped = pattern.mask >> 32 == (1 << 96) - 1 and pattern.number >> 32 == 0xFFFF
        if mapped:
            return AddressPattern(4, pattern.number & 0xFFFF_FFFF, pattern.mask & 0xFFFF_FFFF)
    return pattern


def is_prefix(pattern: AddressPattern) -> bool:
    """Whether the 1 bits of the mask come first, without holes."""
    inverted = pattern.mask ^ ((1 << bits_of(pattern.version)) - 1)
    return inverted & (inverted + 1) == 0


def span(pattern: AddressPattern) -> tuple[int, int]:
    """The lowest and the highest number that the pattern covers; it covers all between only when `is_prefix`."""
    low = pattern.number & pattern.mask
    return low, low | (pattern.mask ^ ((1 << bits_of(pattern.version)) - 1))


def is_everywhere(pattern: HostPattern) -> bool:
    """Whether the pattern covers every address of a version: ``ALL``, ``0.0.0.0/0``, ``::/0``."""
    return isinstance(pattern, Anyone) or (isinstance(pattern, AddressPattern) and pattern.mask == 0)


def within(inner: AddressPattern, outer: AddressPattern) -> bool:
    """Whether every address of ``inner`` is one of ``outer``; holes in either mask are respected."""
    return (
        inner.version == outer.version
        and inner.mask & outer.mask == outer.mask
        and (inner.number ^ outer.number) & outer.mask == 0
    )


def host_covers(outer: HostPattern, inner: HostPattern) -> bool:
    """Whether every host of ``inner`` is certainly one of ``outer``; names and addresses never cover each other."""
    if isinstance(outer, Anyone):
        return True
    if isinstance(outer, AddressPattern):
        return isinstance(inner, AddressPattern) and within(inner, outer)
    return isinstance(inner, NamePattern) and outer.covers(inner.name) and (outer.below or not inner.below)


def merged(ranges: Ranges) -> Ranges:
    """The same integers as sorted ranges that neither overlap nor touch."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def port_ranges(ports: PortTest | None) -> Ranges:
    """The ports that pass, merged; all of them when there is no test."""
    return ALL_PORTS if ports is None else merged(ports.ranges())


def ranges_cover(outer: Ranges, inner: Ranges) -> bool:
    """Whether each of ``inner`` lies within one of ``outer``; both merged."""
    return all(any(low <= a and b <= high for low, high in outer) for a, b in inner)


def week_minutes(hours: tuple[Hours, ...] | None) -> Ranges:
    """The minutes of the week that pass, 0 is Monday 00:00; all of them when there is no such option.

    Hours that end before they start run past midnight, and past Sunday into Monday.
    """
    if hours is None:
        return ((0, WEEK - 1),)
    found: list[tuple[int, int]] = []
    for item in hours:
        length = item.end - item.start + (DAY if item.end < item.start else 0)
        for day in item.days if length else ():
            first = day * DAY + item.start
            last = first + length - 1
            found.append((first, min(last, WEEK - 1)))
            if last >= WEEK:
                found.append((0, last - WEEK))
    return merged(tuple(found))
