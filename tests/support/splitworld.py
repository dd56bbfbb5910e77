"""Split DNS between two name servers that lie as a test tells them: one for the inside's names, one for all others.

Both have data for names of either side, so that an answer shows who was asked. Names are made up under ``corp.example``
and ``lab``, which is a top-level domain that the outside does not have; the rest is outside.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.support.dnsgateway import DnsGateway, ZoneTable, address, dns_gateway, rcode
from tests.support.lying.zone import Turns, Zone, chain, circle
from tests.support.lyingserver import LyingServer
from tests.support.waiting import eventually

INSIDE_HOST, OUTSIDE_HOST, OTHER_HOST = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""The name servers; the last is another address that the outside one can send from."""
VIEWERS = "127.0.0.64/26"
"""Clients for whom ``view.example`` is inside, too."""
WRITTEN = ("printer.example. A 10.0.0.9", "written.example. A 198.51.100.77")
"""Local names of the outside zone."""
VIEWER = "127.0.0.70"
STRANGER = "127.0.1.9"
"""Who may not ask."""

INSIDE_ZONE: Zone = {
    "www.corp.example": {"A": ["10.0.0.80"], "TXT": ['"inside"']},
    "*.many.corp.example": {"A": ["10.0.0.7"]},
    "alias.corp.example": {"CNAME": ["www.corp.example."]},
    "cdn.corp.example": {"CNAME": ["edge.example."]},
    "detour.corp.example": {"CNAME": ["hostile-alias.example."]},
    "host.lab": {"A": ["10.0.0.81"]},
    "www.view.example": {"A": ["10.0.0.90"]},
    "80.0.0.10.in-addr.arpa": {"PTR": ["www.corp.example."]},
    # what is not the inside's to say
    "www.example": {"A": ["10.66.66.66"]},
    "edge.example": {"A": ["10.66.66.66"]},
}
OUTSIDE_ZONE: Zone = {
    "www.example": {"A": ["198.51.100.1"], "AAAA": ["2001:db8::1"]},
    "edge.example": {"A": ["198.51.100.2"]},
    "*.many.example": {"A": ["198.51.100.7"]},
    "alias.example": {"CNAME": ["www.example."]},
    "www.view.example": {"A": ["198.51.100.90"]},
    "hostile-alias.example": {"CNAME": ["www.corp.example."]},
    "to-localhost.example": {"CNAME": ["localhost."]},
    # these lead to names that are written in gateway.toml
    "to-printer.example": {"CNAME": ["printer.example."]},
    "to-written.example": {"CNAME": ["written.example."]},
    "printer.example": {"A": ["203.0.113.66"]},
    "written.example": {"A": ["203.0.113.66"]},
    "turning.example": {"A": Turns.of(["198.51.100.9"], ["10.0.0.80"])},
    "rebound.example": {"A": ["10.0.0.80"]},
    "mixed.example": {"A": ["198.51.100.9", "10.0.0.80"]},
    "self.example": {"A": ["0.0.0.0"], "AAAA": ["::"]},
    "mapped.example": {"AAAA": ["::ffff:10.0.0.80"]},
    "private.example": {"A": ["192.168.1.1"]},
    "hint.example": {"HTTPS": ["1 . ipv4hint=10.0.0.80"]},
    "service.example": {"HTTPS": ["1 . ipv4hint=198.51.100.9"]},
    "friend.example": {"A": ["10.0.0.80"]},
    "www.friend.example": {"A": ["10.0.0.81"]},
    **chain("eight.example", 8, "198.51.100.8"),
    **chain("nine.example", 9, "198.51.100.8"),
    **circle("one.example", "two.example"),
    # what is not the outside's to say
    "www.corp.example": {"A": ["203.0.113.66"], "TXT": ['"outside"']},
    "new.corp.example": {"A": ["203.0.113.66"]},
}


class SplitWorld(NamedTuple):
    """The daemon, and whom it asks."""

    gateway: DnsGateway
    inside: LyingServer
    outside: LyingServer

    def calm(self) -> None:
        """Both servers are honest, up, and have heard nothing; nothing is known of any name."""
        for server in (self.inside, self.outside):
            server.obey()
        assert eventually(lambda: self.answers("www.corp.example") and self.answers("www.example"))
        self.gateway.flush()
        for server in (self.inside, self.outside):
            server.forget()

    def answers(self, name: str) -> bool:
        """Whether the name has an address."""
        return rcode(self.gateway.ask(name)) == "NOERROR"


def zones(inside: LyingServer, outside: LyingServer, more: Mapping[str, object] | None = None) -> list[ZoneTable]:
    """The zones of the two; ``more`` are keys of the outside one."""
    return [
        {"name": "corp.example", "networks": ["10.0.0.0/8"], "servers": [address(inside)]},
        {"name": "lab", "servers": [address(inside)]},
        {"name": "view.example", "servers": [address(inside)], "clients": [VIEWERS]},
        {"name": "view.example", "servers": [address(outside)], "private": False},
        {
            "name": ".",
            "servers": [address(outside)],
            "allow": ["friend.example"],
            "records": WRITTEN,
            **(more or {}),
        },
    ]


@contextlib.contextmanager
def split_world(
    folder: Path,
    *,
    resolver: Mapping[str, object] | None = None,
    outside_keys: Mapping[str, object] | None = None,
    ttl: int = 60,
    descriptors: int | None = None,
) -> Iterator[SplitWorld]:
    """Everything started, and ended; ``ttl`` is that of the outside's records."""
    inside = LyingServer(INSIDE_ZONE, addresses=(INSIDE_HOST,), apexes=("corp.example", "lab", "10.in-addr.arpa", ""))
    outside = LyingServer(OUTSIDE_ZONE, addresses=(OUTSIDE_HOST,), ttl=ttl, apexes=("example", ""))
    with (
        inside,
        outside,
        dns_gateway(
            folder,
            zones(inside, outside, outside_keys),
            resolver={"clients": ["127.0.0.0/24"], **(resolver or {})},
            descriptors=descriptors,
        ) as gateway,
    ):
        yield SplitWorld(gateway, inside, outside)
