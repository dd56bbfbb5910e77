"""The classic grammar of ``sockd.route`` (``spec/socks4.md`` §4.2): by which interface a destination is reached.

``if_addr dst_addr dst_mask`` a line, all three required; ``#`` anywhere begins a comment. The first line that covers a
destination counts. Whether an address belongs to an interface of this host is not asked here.
"""

import re
from dataclasses import dataclass

from gateway.address import Address, parse_ipv4
from gateway.config.fields import BadField, parse_pair, quoted
from gateway.config.lexer import Line, read_lines
from gateway.config.rules import AddressPattern, Dialect
from gateway.errors import ConfigError
from gateway.place import Place, Problem, Severity

_WORD = re.compile(r"[^ \t]+")


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One line: talk to ``destination`` from the interface that has the address ``interface``."""

    place: Place
    interface: Address
    destination: AddressPattern


@dataclass(frozen=True, slots=True)
class RouteFile:
    """A whole ``sockd.route`` that was accepted."""

    path: str
    rules: tuple[RouteRule, ...]
    warnings: tuple[Problem, ...] = ()

    def find(self, address: Address) -> RouteRule | None:
        """The first line that covers an address."""
        return next((rule for rule in self.rules if rule.destination.covers(*address)), None)


def parse_route(text: str, path: str, dialect: Dialect = Dialect.CLASSIC) -> RouteFile:
    """The routes of a ``sockd.route``, with warnings for masks that look mistaken.

    Raises ConfigError with every mistake of the file, and the warnings, in the order of the file.
    """
    lines, problems = read_lines(text, path)
    rules: list[RouteRule] = []
    for line in lines:
        rule, faults = _read_line(line, path, dialect)
        problems += faults
        if rule is not None:
            rules.append(rule)
    problems.sort(key=lambda problem: problem.place[1:])
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems)
    return RouteFile(path, tuple(rules), tuple(problems))


def _read_line(line: Line, path: str, dialect: Dialect) -> tuple[RouteRule | None, list[Problem]]:
    words = list(_WORD.finditer(line.text.partition("#")[0]))
    places = [line.place(path, word.start()) for word in words]
    if not words:
        return None, []
    if len(words) != 3:
        fault = f"a line has 3 fields, not {len(words)}: the interface's address, the destination and its mask"
        return None, [Problem(places[min(len(words), 4) - 1], fault)]
    interface_word, *pair = (word.group() for word in words)
    problems: list[Problem] = []
    interface = parse_ipv4(interface_word)
    if interface is None:
        problems.append(Problem(places[0], f"{quoted(interface_word)} is no address of an interface, as in 192.0.2.1"))
    try:
        destination, doubt = parse_pair(pair[0], pair[1], dialect)
    except BadField as refused:
        return None, [*problems, Problem(places[1 + refused.word], str(refused))]
    if doubt is not None:
        problems.append(Problem(places[1], doubt, Severity.WARNING))
    return None if interface is None else RouteRule(places[0], interface, destination), problems
