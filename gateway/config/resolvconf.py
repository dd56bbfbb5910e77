"""The name servers of a resolv.conf(5), as DHCP clients and the like write it; its other lines mean nothing here."""

from gateway.address import Address, parse_address, plain
from gateway.config.fields import quoted
from gateway.errors import ConfigError
from gateway.place import Place, Problem

_KEYWORD = "nameserver"


def parse_nameservers(text: str, path: str) -> tuple[Address, ...]:
    """The addresses of the nameserver lines, each once, in their order; ``path`` is what places say.

    The zone of a link-local address, ``fe80::1%eth0``, is left out: the way to the servers is written elsewhere.
    Raises ConfigError with every mistake; a file without such a line is one.
    """
    found: dict[Address, None] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or words[0] != _KEYWORD:
            continue
        address = parse_address(words[1].partition("%")[0]) if len(words) > 1 else None
        if address is None or address.number == 0:
            written = quoted(words[1]) if len(words) > 1 else "nothing"
            problems.append(Problem(Place(path, number), f"{_KEYWORD} is followed by an address, not {written}"))
        else:
            found[plain(address)] = None
    if not found and not problems:
        problems.append(Problem(Place(path), f"there is no {_KEYWORD} line in it"))
    if problems:
        raise ConfigError(problems)
    return tuple(found)
