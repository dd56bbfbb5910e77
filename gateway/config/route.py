"""The grammar of ``sockd.route``: text to a `RouteFile`, or every mistake in it; sockd.route(5) describes it.

The classic ``if_addr dst_addr dst_mask`` (``spec/socks4.md`` §4.2) is valid as it stands. Whether an interface of that
name or address exists is not asked here: it may come later. What a line means is the business of the policy layer.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from gateway.address import Address, plain
from gateway.config.fields import ACTIONS, OPERATORS, BadField, looks_numeric, mask_of, parse_way, quoted
from gateway.config.lexer import Line, read_lines, word_offset
from gateway.config.reader import LineReader, accepted, needs_mask
from gateway.config.rules import AddressPattern, Dialect, EgressWord, HostPattern, RouteFile, RouteRule, UserItem
from gateway.place import Place, Problem

_WORD = re.compile(r"[^ \t]+")

_COMMAS = "several ways out are separated by single commas, without blanks"

_ELSEWHERE = (
    (re.compile(r"\*=.*"), "'*=' stands once, right after the ways out and before the destination"),
    (re.compile(r"\?=.*"), "'?=' belongs to sockd.conf: who a client is has been settled before it is routed"),
    (re.compile("|".join(OPERATORS)), "ports are tested in sockd.conf; a line of sockd.route has none"),
    (re.compile(r"[^=]+=.*"), "options belong to sockd.conf; the ways out are the first word of the line"),
    (re.compile(r":(?!:).*"), "commands belong to sockd.conf; a line of sockd.route has none"),
)
"""Words that mean something, but not where a destination or the end of the line is expected."""


class _Way(NamedTuple):
    """One item of the list of ways out, and where it begins."""

    word: EgressWord
    place: Place


def parse_route(text: str, path: str, dialect: Dialect = Dialect.CLASSIC) -> RouteFile:
    """The lines of a ``sockd.route``, with the parser's own warnings.

    ``path`` is what places and messages say. Raises ConfigError with every mistake of the file, and the warnings, in
    the order of the file.
    """
    lines, problems = read_lines(text, path)
    rules: list[RouteRule] = []
    for line in lines:
        problems += _lost_lines(line, path)
        words = _WORD.findall(line.text.partition("#")[0])
        if words:
            reader = _RouteReader(line, words, path, dialect)
            rule = reader.read()
            problems += reader.problems
            if rule is not None:
                rules.append(rule)
    warnings = accepted(problems)
    return RouteFile(path, tuple(rules), warnings)


class _RouteReader(LineReader[RouteRule]):
    """Reads the words of one line."""

    def _rule(self) -> RouteRule | None:
        ways = self._ways()
        users = self._users()
        destination = self._destination()
        self._end(told_apart=destination is not None)
        if destination is not None:
            self._check_families(ways, destination)
        if self._refused or destination is None:
            return None
        return RouteRule(self._place(0), tuple(way.word for way in ways), destination, users)

    # The fields, in their order

    def _ways(self) -> list[_Way]:
        word = self._next()
        if word in ACTIONS:
            self._give_up(0, f"{quoted(word)}: this looks like a line of sockd.conf; here a line begins with a way out")
        if word.startswith("*="):
            self._give_up(0, "the way out is missing before '*=': the name or the address of an interface")
        self._at = 1
        offset = word_offset(self._line.text, self._words, 0)
        found: list[_Way] = []
        for item in word.split(","):
            self._way(item, self._line.place(self._path, offset), found)
            offset += len(item) + 1
        if self._next().startswith(","):
            self._give_up(1, f"a blank before a comma; {_COMMAS}")
        return found

    def _way(self, item: str, place: Place, found: list[_Way]) -> None:
        if not item:
            self._give_up_at(place, f"there is an empty item in the list of ways out; {_COMMAS}")
        try:
            word = parse_way(item)
        except BadField as fault:
            self._error_at(place, str(fault))
            return
        if any(word == way.word for way in found):
            self._error_at(place, f"{quoted(item)} is in the list already")
        found.append(_Way(word, place))

    def _users(self) -> tuple[UserItem, ...]:
        word = self._next()
        if word.startswith("*=") and ":" in word:
            self._error(self._at, f"{quoted(word)}: a list of users has no ':', and a line of sockd.route no command")
        return super()._users()

    def _destination(self) -> HostPattern | None:
        word = self._next()
        if not word:
            what = "an address and its mask, a prefix, a name or ALL"
            self._give_up(self._at, f"the destination is missing after {quoted(self._words[-1])}: {what}")
        self._refuse_elsewhere(word)
        if len(self._words) == 2 and looks_numeric(word):
            self._give_up(self._at, f"a line has 3 fields, not 2: {needs_mask(word)}")
        mask = self._words[self._at + 1] if self._at + 1 < len(self._words) else ""
        if looks_numeric(mask) and mask.isdigit():
            hint = "a prefix is one word, as in 10.0.0.0/8, and ports are tested in sockd.conf"
            self._give_up(self._at + 1, f"{quoted(mask)} is no mask such as 255.0.0.0; {hint}")
        return self._host()

    def _end(self, told_apart: bool) -> None:
        """Nothing follows the destination. Where that was refused, what follows may have been meant as a part of it."""
        word = self._next()
        if word:
            self._refuse_elsewhere(word)
        if word and told_apart:
            self._give_up(self._at, f"unexpected {quoted(word)}: a line ends after its destination; {_COMMAS}")

    def _refuse_elsewhere(self, word: str) -> None:
        for shape, fault in _ELSEWHERE:
            if shape.fullmatch(word) is not None:
                self._give_up(self._at, f"{quoted(word)}: {fault}")

    def _check_families(self, ways: Iterable[_Way], destination: HostPattern) -> None:
        """A connection has one family: a way out that is written as an address serves only its own."""
        version = _version(destination)
        for way in ways:
            if version and isinstance(way.word, Address) and way.word.version != version:
                fault = f"an IPv{version} destination is never reached from {way.word}; remove that from the line"
                self._error_at(way.place, fault)


def _version(destination: HostPattern) -> int | None:
    """The family of every host of a destination, None if it is not one alone; what is IPv4-mapped is IPv4."""
    if not isinstance(destination, AddressPattern):
        return None
    mapped = destination.mask >> 32 == mask_of(6, 96) >> 32 and plain(Address(6, destination.number)).version == 4
    return 4 if mapped else destination.version


def _lost_lines(line: Line, path: str) -> list[Problem]:
    r"""A line that a ``\`` made part of the comment before it.

    In ``sockd.conf`` a ``#`` after a ``:`` is part of a command, and such a line goes on; here it always begins a
    comment, so that the line would be lost without a word.
    """
    mark = line.text.find("#")
    joint = next((joint for joint in line.joints if 0 <= mark < joint), None)
    if joint is None:
        return []
    fault = "a '\\' at the end of the comment before joins this line to it; remove that '\\'"
    return [Problem(line.place(path, joint), fault)]
