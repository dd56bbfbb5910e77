"""Names of TCP ports, as /etc/services (services(5)) gives them.

The library call ``getservbyport`` opens and reads the file each time; a record is written for every session, so the
file is read once, by whoever composes the program, and this table is handed down.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Services(NamedTuple):
    """TCP services both ways; the first name of a port and the first port of a name count."""

    ports: Mapping[str, int]
    names: Mapping[int, str]

    def name(self, port: int) -> str:
        """The service's name, else the number as text (``spec/socks4.md`` §9.1)."""
        return self.names.get(port) or str(port)

    def port(self, word: str) -> int | None:
        """The port of a service name or of a decimal number from 0 to 65535; None for anything else."""
        known = self.ports.get(word)
        if known is not None:
            return known
        if word.isascii() and word.isdigit() and len(word) <= 5 and int(word) <= 0xFFFF:
            return int(word)
        return None


def parse_services(text: str) -> Services:
    """The TCP entries of a services(5) text; lines that are not entries are passed over, as the C library does."""
    ports: dict[str, int] = {}
    names: dict[int, str] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2 or not words[1].endswith("/tcp"):
            continue
        number = words[1].removesuffix("/tcp")
        if not (number.isascii() and number.isdigit() and len(number) <= 5 and int(number) <= 0xFFFF):
            continue
        port = int(number)
        names.setdefault(port, words[0])
        for name in (words[0], *words[2:]):
            ports.setdefault(name, port)
    return Services(ports, names)
