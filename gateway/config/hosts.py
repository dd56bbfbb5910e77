"""hosts(5) files: an address and its names on each line; text to values with places, or every mistake in it.

What becomes of a name, in which zone it is and who asks for it is the business of `gateway.dns.zones`.
"""

from typing import NamedTuple

from gateway.address import Address, Name, canonical_name, parse_address, plain
from gateway.config.fields import quoted
from gateway.errors import BadName, ConfigError
from gateway.place import Place, Problem


class HostsLine(NamedTuple):
    """An address and its names in canonical form, of which the first is the one that the address is called by."""

    place: Place
    address: Address
    names: tuple[Name, ...]


def parse_hosts(text: str, path: str) -> tuple[HostsLine, ...]:
    """The lines of a hosts file; ``path`` is what places say. Raises ConfigError with every mistake."""
    lines: list[HostsLine] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        place = Place(path, number)
        address = parse_address(words[0])
        names, faults = _names(words[1:])
        if address is None:
            faults.insert(0, _no_address(words[0]))
        elif len(words) == 1:
            faults.append(f"there is no name after the address {words[0]}")
        problems += [Problem(place, fault) for fault in faults]
        if address is not None and not faults:
            lines.append(HostsLine(place, plain(address), names))
    if problems:
        raise ConfigError(problems)
    return tuple(lines)


def _names(words: list[str]) -> tuple[tuple[Name, ...], list[str]]:
    """The names, each once, and what is wrong with others."""
    names: dict[Name, None] = {}
    faults: list[str] = []
    for word in words:
        if parse_address(word) is not None:
            faults.append(f"a second address, {word}; each has a line of its own")
            continue
        try:
            names[canonical_name(word)] = None
        except BadName as fault:
            faults.append(f"{quoted(word)} is no host name: {fault}")
    return tuple(names), faults


def _no_address(word: str) -> str:
    hint = "; an address with a zone after '%' means nothing to other hosts" if "%" in word else ""
    return f"{quoted(word)} is no IPv4 or IPv6 address, which a line begins with{hint}"
