"""A forwarder in a world of its own: its clock, its name servers and its clients are the test's."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from gateway.address import Address, parse_address
from gateway.config.fields import parse_prefix
from gateway.config.rules import EgressWord
from gateway.config.settings import parse_settings
from gateway.dns.clients import Clients
from gateway.dns.exchanges import Attempt
from gateway.dns.forwarder import Forwarder
from gateway.dns.guard import Guard
from gateway.dns.outside import Way
from gateway.dns.pursuit import Pursuit
from gateway.dns.servers import Server
from gateway.dns.written import Files
from gateway.dns.zones import Zone, Zones
from gateway.policy.egress import Egress

INSIDE = (parse_prefix("10.0.0.0/8")[0],)
OWN = (Address(4, 0x0A000001), Address(4, 0xC0000201))


def here(text: str) -> Address:
    address = parse_address(text)
    assert address is not None
    return address


@dataclass(eq=False)
class Sent:
    """A question that went to a name server."""

    attempt: Attempt
    server: str
    way: str
    data: bytes
    stream: bool

    @property
    def message(self) -> dns.message.Message:
        return dns.message.from_wire(self.data)

    @property
    def name(self) -> str:
        """As it was sent, but for the letter case."""
        return str(self.message.question[0].name).lower()

    def __str__(self) -> str:
        kind = dns.rdatatype.to_text(self.message.question[0].rdtype)
        return f"{self.name} {kind} to {self.server}{' by TCP' if self.stream else ''}{self.way and ' by ' + self.way}"


@dataclass
class Asker:
    """Somebody who waits."""

    is_stream: bool = False
    replies: list[bytes] = field(default_factory=list)

    def reply(self, data: bytes) -> None:
        self.replies.append(data)


class World:
    """The forwarder of these settings, and all around it."""

    def __init__(
        self, text: str, *, log_all: bool = False, outstanding: int = 256, capacity: int = 1000, limit: int = 4096
    ) -> None:
        self.now = 1000.0
        self.sent: list[Sent] = []
        self.released: list[Attempt] = []
        self.lines: list[str] = []
        self.troubles: list[str] = []
        self.kinds: list[str] = []
        self.records: list[str] = []
        self.blocked: dict[str, str] = {}
        #: ways out that are lost
        self.shut: set[str] = set()
        self.broken: dict[str, OSError] = {}
        self._random = random.Random(7)
        zones = self.zones(text)
        self.forwarder = Forwarder(
            zones,
            self,
            self,
            Guard(INSIDE, OWN),
            self._random.randbytes,
            self,
            self._record,
            capacity=capacity,
            outstanding=outstanding,
            flights=limit,
            log_all=log_all,
        )
        self.clients = Clients(zones, 0, outstanding)

    @staticmethod
    def zones(text: str) -> Zones:
        settings = parse_settings(text, "gateway.toml")
        return Zones.compile(settings, INSIDE, Files("gateway.toml", text, {}, {}))

    def adopt(self, text: str) -> None:
        """Other settings."""
        zones = self.zones(text)
        self.forwarder.adopt(zones)
        self.clients.adopt(zones, 0, 256)

    # Clients

    def ask(
        self, name: str, kind: str = "A", client: str = "10.0.0.9", *, stream: bool = False, **options: Any
    ) -> Asker:
        """A question of a client; the answers come to what this gives."""
        options = {"use_edns": 0, "id": 4711, **options}
        query = dns.message.make_query(name, kind, **options)
        return self.ask_wire(query.to_wire(), client, stream=stream)

    def ask_wire(self, data: bytes, client: str = "10.0.0.9", *, stream: bool = False) -> Asker:
        asker = Asker(stream)
        known = self.clients.of(here(client).packed, self.now)
        assert known is not None, "this client may not ask"
        hot = known.view.hot.get(data[2:])
        if hot is not None and not stream and self.now < hot.until:
            asker.reply(data[:2] + hot.rest)
        else:
            self.forwarder.ask(data, known, asker, self.now)
        return asker

    # Name servers

    def answer(self, sent: Sent, *records: str, rcode: str = "NOERROR", **options: Any) -> bool:
        """A name server answers: lines ``name ttl type data``, ``!`` before those of the authority section."""
        return self.say(sent, reply_to(sent, records, rcode, **options))

    def say(self, sent: Sent, data: bytes) -> bool:
        """These bytes come back; whether that was the answer."""
        return self.forwarder.exchanges.heard(sent.attempt, data, self.now)

    def fail(self, sent: Sent, why: str) -> None:
        self.forwarder.exchanges.failed(sent.attempt, why, self.now)

    def take(self) -> list[Sent]:
        """What was sent since the last time."""
        found, self.sent = self.sent, []
        return found

    def took(self) -> Sent:
        """The one thing that was sent."""
        (found,) = self.take()
        return found

    def wait(self, seconds: float) -> None:
        """Time passes."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 0.05)
            self.forwarder.tick(self.now)

    # gateway.dns.outside.Outside

    def datagram(self, token: Any, server: Server, egress: Egress | None, message: bytes) -> None:
        if str(server) in self.broken:
            raise self.broken[str(server)]
        self.sent.append(Sent(token, str(server), "" if egress is None else egress.uplink, message, False))

    def stream(self, token: Any, server: Server, egress: Egress | None, message: bytes) -> None:
        self.sent.append(Sent(token, str(server), "" if egress is None else egress.uplink, message, True))

    def release(self, token: Any) -> None:
        self.released.append(token)

    # gateway.dns.outside.Ways

    def way(self, zone: Zone, version: int, words: Sequence[EgressWord]) -> Way:
        has_own = zone.private or (zone.settings is not None and bool(zone.settings.interface))
        ways = zone.ways if has_own or not words else words
        if zone.text in self.blocked:
            return Way(None, self.blocked[zone.text])
        name = str(ways[0]) if ways else ""
        if name in self.shut:
            return Way(None, f"{name} is shut")
        return Way(Egress(name, name, Address(version, 1)) if name else None)

    # gateway.dns.outside.Events

    def trouble(self, text: str) -> None:
        self.troubles.append(text)

    def provoked(self, kind: str, text: str) -> None:
        self.kinds.append(kind)
        self.troubles.append(text)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def _record(self, pursuit: Pursuit, rcode: int, why: str, _now: float) -> None:
        client = "sockd" if pursuit.client is None else str(pursuit.client.address)
        name = dns.name.from_wire(pursuit.query.name, 0)[0]
        self.records.append(f"{client} {name} {dns.rcode.to_text(dns.rcode.Rcode(rcode))} {why}".strip())


def reply_to(sent: Sent, records: Sequence[str], rcode: str = "NOERROR", **options: Any) -> bytes:
    """A whole message in answer to a question, its letter case kept."""
    query = sent.message
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA
    if not options.get("edns", True):
        answer.use_edns(False)
    if options.get("tc"):
        answer.flags |= dns.flags.TC
    if options.get("ad"):
        answer.flags |= dns.flags.AD
    if ede := options.get("ede"):
        answer.use_edns(0, options=[dns.edns.EDEOption(*ede)])
    answer.set_rcode(dns.rcode.from_text(rcode))
    for line in records:
        section = answer.authority if line.startswith("!") else answer.answer
        name, ttl, kind, data = line.lstrip("!").split(" ", 3)
        rrset = dns.rrset.from_text(name, int(ttl), "IN", kind, data)
        section.append(rrset)
    return answer.to_wire(max_size=65535)


def heard(asker: Asker) -> dns.message.Message:
    """The one reply that somebody got."""
    (data,) = asker.replies
    return dns.message.from_wire(data)


def lines(asker: Asker) -> list[str]:
    """The records of the answer section."""
    return [line for rrset in heard(asker).answer for line in rrset.to_text().splitlines()]


def verdict(asker: Asker) -> str:
    """``NOERROR``, or the rcode with the extended error: ``SERVFAIL 22 zone ...``."""
    message = heard(asker)
    words = [dns.rcode.to_text(message.rcode())]
    for option in message.options:
        if isinstance(option, dns.edns.EDEOption):
            words += [str(int(option.code)), option.text or ""]
    return " ".join(words).strip()
