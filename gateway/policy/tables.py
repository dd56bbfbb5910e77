"""Look-up tables from a value to the set of rules that it satisfies; a set is a Python integer, one bit a rule.

A table costs one bisection however many rules it holds. Which bit stands for which rule is the caller's matter.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, TypeVar

from gateway.config.rules import AddressPattern, Anyone, HostPattern, NamePattern
from gateway.policy.pattern import VERSIONS, is_prefix, normal, span

_Number = TypeVar("_Number", bound=IntEnum)


class IntervalTable(NamedTuple):
    """``sets[i]`` holds from ``borders[i - 1]`` up to, not including, ``borders[i]``."""

    borders: list[int]
    sets: list[int]

    @classmethod
    def build(cls, ranges: Iterable[tuple[int, int, int]], base: int = 0) -> "IntervalTable":
        """From (low, high, bits), both ends included, and the bits that hold everywhere.

        The ranges of one bit must not overlap. Equal sets are stored once: most intervals of a large file are gaps
        that share the background of its wide rules.
        """
        changes: dict[int, int] = {}
        for low, high, bits in ranges:
            changes[low] = changes.get(low, 0) ^ bits
            changes[high + 1] = changes.get(high + 1, 0) ^ bits
        borders = sorted(border for border, bits in changes.items() if bits)
        stored = {base: base}
        sets = [base]
        current = base
        for border in borders:
            current ^= changes[border]
            sets.append(stored.setdefault(current, current))
        return cls(borders, sets)

    def at(self, value: int) -> int:
        """The bits that hold for this value."""
        return self.sets[bisect_right(self.borders, value)]

    def between(self, low: int, high: int) -> list[int]:
        """The bits of every interval that shares a value with this range, both ends included."""
        return self.sets[bisect_right(self.borders, low) : bisect_right(self.borders, high) + 1]


class AddressTable(NamedTuple):
    """The rules that cover an address of one version: prefixes as intervals, masks with holes by exact look-up.

    ``holes`` has one entry a distinct mask, so that many rules with the same odd mask still cost one look-up.
    """

    intervals: IntervalTable
    holes: tuple[tuple[int, Mapping[int, int]], ...]

    @classmethod
    def build(cls, patterns: Iterable[tuple[AddressPattern, int]], base: int = 0) -> "AddressTable":
        """From (pattern, bits), all of one version, and the bits of the rules that cover every address."""
        ranges: list[tuple[int, int, int]] = []
        holes: dict[int, dict[int, int]] = {}
        for pattern, bits in patterns:
            if is_prefix(pattern):
                ranges.append((*span(pattern), bits))
            else:
                masked = holes.setdefault(pattern.mask, {})
                number = pattern.number & pattern.mask
                masked[number] = masked.get(number, 0) | bits
        return cls(IntervalTable.build(ranges, base), tuple(holes.items()))

    def at(self, number: int) -> int:
        """The bits that hold for the address of this number."""
        intervals, holes = self
        bits = intervals.sets[bisect_right(intervals.borders, number)]
        for mask, masked in holes:
            bits |= masked.get(number & mask, 0)
        return bits


class NameTable(NamedTuple):
    """The rules whose name pattern covers a canonical name."""

    exact: Mapping[str, int]
    below: Mapping[str, int]

    @classmethod
    def build(cls, patterns: Iterable[tuple[NamePattern, int]]) -> "NameTable":
        """From (pattern, bits)."""
        exact: dict[str, int] = {}
        below: dict[str, int] = {}
        for pattern, bits in patterns:
            table = below if pattern.below else exact
            table[pattern.name] = table.get(pattern.name, 0) | bits
        return cls(exact, below)

    def at(self, name: str) -> int:
        """The bits that hold for this name; as many look-ups as the name has labels."""
        bits = self.exact.get(name, 0)
        below = self.below
        if below:
            bits |= below.get(name, 0)
            dot = name.find(".")
            while dot >= 0:
                bits |= below.get(name[dot + 1 :], 0)
                dot = name.find(".", dot + 1)
        return bits


def user_table(groups: Iterable[tuple[int, frozenset[str]]], base: int) -> dict[str, int]:
    """From (bits, members) of each distinct user list: user -> bits, those of every list that names it and ``base``.

    Users with the same lists share one set, since a file of a hundred thousand users must not cost as many sets.
    """
    table: dict[str, int] = {}
    for bits, members in groups:
        joined: dict[int, int] = {}
        for user in members:
            known = table.get(user, base)
            both = joined.get(known)
            if both is None:
                both = joined[known] = known | bits
            table[user] = both
    return table


def address_tables(patterns: Sequence[tuple[HostPattern, int]]) -> dict[int, AddressTable]:
    """One table a version; a pattern that covers every host is in both, a name in none."""
    everyone = sum(bit for pattern, bit in patterns if isinstance(pattern, Anyone))
    plainly = [(normal(pattern), bit) for pattern, bit in patterns]
    return {
        version: AddressTable.build(
            ((p, bit) for p, bit in plainly if isinstance(p, AddressPattern) and p.version == version), everyone
        )
        for version in VERSIONS
    }


def interval_table(tested: Iterable[tuple[Iterable[tuple[int, int]], int]], everything: int) -> IntervalTable | None:
    """The table of a numeric field, from the ranges of those rules that test it; None when none does."""
    rows = [(tuple(ranges), bit) for ranges, bit in tested]
    if not rows:
        return None
    untested = everything ^ sum(bit for _, bit in rows)
    return IntervalTable.build(((low, high, bit) for ranges, bit in rows for low, high in ranges), untested)


def word_table(
    words: Mapping[_Number, str], tested: Sequence[tuple[frozenset[str] | None, int]]
) -> dict[_Number, int] | None:
    """For each number that has a word, the rules that take it; None when no rule has such an option."""
    if all(accepted is None for accepted, _ in tested):
        return None
    return {
        number: sum(bit for accepted, bit in tested if accepted is None or word in accepted)
        for number, word in words.items()
    }
