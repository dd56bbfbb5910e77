"""Doubts about a file that is correct: lines that can never match, and lines that let in more than one may mean.

Finding the line that covers another is done with the classifier's own tables, so that ten thousand lines take less
than seconds; each answer is then proved line against line (`gateway.policy.coverage`).
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import islice
from operator import or_

from gateway.config.rules import (
    AccessFile,
    AccessRule,
    Action,
    AddressPattern,
    Anyone,
    HostPattern,
    NamePattern,
    UserItem,
)
from gateway.place import Problem, Severity
from gateway.policy.block import positions
from gateway.policy.coverage import cover_together, covers
from gateway.policy.pattern import is_everywhere, is_prefix, normal, port_ranges, span, week_minutes
from gateway.policy.tables import AddressTable, IntervalTable, NameTable, address_tables

BLOCK = 4_096
"""Lines in one table. A larger file has several, and each line is looked up in all of those before it."""

TRIES = 16
"""How many lines that look like covering one are proved before it is left alone."""

TOGETHER = 64
"""Among how many earlier lines a cover by several together is looked for."""

INTERVALS = 256
"""Over how many intervals of a field these earlier lines are gathered."""


def lint(file: AccessFile) -> tuple[Problem, ...]:
    """The warnings about a file, in the order of its lines; the parser's own are not among them."""
    rules = file.rules
    found = dict(_twins(rules))
    for start in range(0, len(rules), BLOCK):
        table = _Table(rules[start : start + BLOCK])
        for index in range(start, len(rules)):
            if index not in found and (doubt := _unreachable(rules[index], index - start, table)) is not None:
                found[index] = doubt
    warnings = {**{index: doubt for index, rule in enumerate(rules) if (doubt := _too_open(rule))}, **found}
    return tuple(Problem(rules[index].place, warnings[index], Severity.WARNING) for index in sorted(warnings))


def _twins(rules: Sequence[AccessRule]) -> Iterator[tuple[int, str]]:
    """The lines that are written twice, however many look alike in some field."""
    first: dict[tuple[object, ...], AccessRule] = {}
    for index, rule in enumerate(rules):
        known = first.setdefault((rule.source, rule.destination, rule.ports, rule.users, rule.options), rule)
        if known is not rule:
            yield index, _covered_by(known)


def _covered_by(rule: AccessRule) -> str:
    return f"this line never matches: {rule.label} matches everything that it does, and comes first"


def _unreachable(rule: AccessRule, earlier: int, table: "_Table") -> str | None:
    """Why a line never matches; ``earlier`` is how many lines, from the table's first on, come before it."""
    empty = _empty_field(rule)
    if empty is not None:
        return f"this line never matches: {empty}"
    one = table.covering(rule, earlier)
    if one is not None:
        return _covered_by(one)
    if earlier <= table.size and cover_together(table.overlapping(rule, earlier), rule):
        return "this line never matches: the lines before it together match everything that it does"
    return None


def _empty_field(rule: AccessRule) -> str | None:
    if not port_ranges(rule.ports):
        return "no port passes its test"
    if not week_minutes(rule.options.hours):
        return "its hours hold no time at all"
    return None


def _too_open(rule: AccessRule) -> str | None:
    """The doubt about a line that permits everything to everybody."""
    identified = bool(rule.users) or (rule.options.auth is not None and "none" not in rule.options.auth)
    if rule.action is Action.DENY or identified:
        return None
    if not (is_everywhere(rule.source) and is_everywhere(rule.destination)):
        return None
    return "this line lets anyone who can reach this gateway through; name the networks of your clients as source"


class _Table:
    """A run of decisive lines, from a field of another line to those that cover or touch it; bits as in `Block`."""

    def __init__(self, rules: Sequence[AccessRule]) -> None:
        self.size = len(rules)
        self._backwards = rules[::-1]
        coded = [(rule, 1 << (len(rules) - 1 - index)) for index, rule in enumerate(rules) if not rule.options.report]
        self._sources = _HostTable([(rule.source, bit) for rule, bit in coded])
        self._destinations = _HostTable([(rule.destination, bit) for rule, bit in coded])
        self._ports = IntervalTable.build(
            (low, high, bit) for rule, bit in coded for low, high in port_ranges(rule.ports)
        )
        self._users: dict[UserItem | None, int] = {}
        for rule, bit in coded:
            for item in rule.users or (None,):
                self._users[item] = self._users.get(item, 0) | bit

    def covering(self, rule: AccessRule, earlier: int) -> AccessRule | None:
        """The first of that many lines that covers a rule on its own."""
        bits = (
            self._first(earlier) & self._sources.covering(rule.source) & self._destinations.covering(rule.destination)
        )
        ranges = port_ranges(rule.ports)
        bits &= self._ports.at(ranges[0][0]) & self._ports.at(ranges[-1][1])
        bits &= self._users.get(None, 0) | (self._users.get(rule.users[0], 0) if rule.users else 0)
        candidates = (self._backwards[position - 1] for position in islice(positions(bits), TRIES))
        return next((candidate for candidate in candidates if covers(candidate, rule)), None)

    def overlapping(self, rule: AccessRule, earlier: int) -> list[AccessRule]:
        """The lines among that many that share a request with a rule by their addresses; none if too many do."""
        bits = (
            self._first(earlier) & self._sources.touching(rule.source) & self._destinations.touching(rule.destination)
        )
        if bits.bit_count() > TOGETHER:
            return []
        return [self._backwards[position - 1] for position in positions(bits)]

    def _first(self, count: int) -> int:
        """The set of the first ``count`` lines, or of all."""
        kept = min(count, self.size)
        return ((1 << kept) - 1) << (self.size - kept)


class _HostTable:
    """One host field of many lines."""

    def __init__(self, patterns: Sequence[tuple[HostPattern, int]]) -> None:
        self._all = sum(bit for _, bit in patterns)
        self._anyone = sum(bit for pattern, bit in patterns if isinstance(pattern, Anyone))
        self._tables = address_tables(patterns)
        self._names = NameTable.build((pattern, bit) for pattern, bit in patterns if isinstance(pattern, NamePattern))

    def covering(self, pattern: HostPattern) -> int:
        """The lines whose field may cover a pattern, and all that do."""
        pattern = normal(pattern)
        if isinstance(pattern, AddressPattern):
            return self._covering_addresses(self._tables[pattern.version], pattern)
        return self._anyone | (self._names.at(pattern.name) if isinstance(pattern, NamePattern) else 0)

    def _covering_addresses(self, table: AddressTable, pattern: AddressPattern) -> int:
        low, high = span(pattern)
        bits = table.intervals.at(low) & table.intervals.at(high)
        for mask, masked in table.holes:
            if pattern.mask & mask == mask:
                bits |= masked.get(pattern.number & mask, 0)
        return bits

    def touching(self, pattern: HostPattern) -> int:
        """The lines whose field may share a host with a pattern, and all prefixes that do."""
        pattern = normal(pattern)
        if not isinstance(pattern, AddressPattern) or not is_prefix(pattern):
            return self._all
        met = self._tables[pattern.version].intervals.between(*span(pattern))
        return reduce(or_, met) if len(met) <= INTERVALS else self._all
