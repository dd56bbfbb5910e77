"""The real ``sockd`` with a ``[resolver]`` on loopback, and clients that ask it from addresses of their own choice.

It goes by what clients and administrators see: answers, logs, the control socket, and what the kernel says of the
resolver processes. It needs no root: name servers and clients are addresses of 127.0.0.0/8.
"""

import contextlib
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from gateway.control.protocol import CacheFlush
from tests.support import daemon as files
from tests.support import proc
from tests.support.daemon import Sockd
from tests.support.lyingserver import LyingServer

LISTENS = "127.0.0.1"
CLIENT = "127.0.0.9"
"""Who asks unless a test says otherwise: no name server has this address."""
CLIENTS = ("127.0.0.0/8",)
INSIDE = ("10.0.0.0/8",)
PATIENCE = 15.0
"""Seconds for one answer; the daemon itself gives up sooner."""

_NAMES = re.compile(r"; names on \S+:(\d+)")

ZoneTable = Mapping[str, object]
"""The keys of one [[resolver.zone]]."""


class DnsGateway:
    """A daemon that answers questions on `LISTENS`."""

    def __init__(self, daemon: Sockd, port: int) -> None:
        self.daemon = daemon
        self.port = port

    def send(self, query: dns.message.Message, client: str = CLIENT, *, tcp: bool = False) -> dns.message.Message:
        """The answer to a query. Raises dns.exception.Timeout when there is none."""
        if tcp:
            return dns.query.tcp(query, LISTENS, PATIENCE, self.port, client)
        return dns.query.udp(query, LISTENS, PATIENCE, self.port, client)

    def ask(
        self,
        name: str,
        kind: str = "A",
        client: str = CLIENT,
        *,
        tcp: bool = False,
        edns: bool = True,
        dnssec: bool = False,
        flags: int = 0,
        options: Sequence[dns.edns.Option] = (),
    ) -> dns.message.Message:
        """The answer to a question, which has RD and these ``flags`` beside it."""
        return self.send(question(name, kind, edns=edns, dnssec=dnssec, flags=flags, options=options), client, tcp=tcp)

    def datagrams(self, client: str = CLIENT) -> socket.socket:
        """A UDP socket of a client that is connected to the resolver."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((client, 0))
        made.connect((LISTENS, self.port))
        made.settimeout(PATIENCE)
        return made

    def stream(self, client: str = CLIENT) -> socket.socket:
        """A connection of a client."""
        return socket.create_connection((LISTENS, self.port), PATIENCE, (client, 0))

    def resolvers(self) -> list[int]:
        """The processes that answer."""
        return [pid for pid in proc.tree(self.daemon.pid) if proc.name(pid).startswith("sockd: resolver")]

    def cpu_seconds(self) -> float:
        """What the resolver processes, which have one thread each, have used up to now, to the nanosecond."""
        return sum(map(_nanoseconds, self.resolvers())) / 1e9

    def flush(self) -> None:
        """Forget all answers."""
        self.daemon.control(CacheFlush())


def _nanoseconds(pid: int) -> int:
    """Time on a processor (Documentation/scheduler/sched-stats.rst); the ticks of proc(5) miss what is short."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def question(
    name: str,
    kind: str = "A",
    *,
    edns: bool = True,
    dnssec: bool = False,
    flags: int = 0,
    options: Sequence[dns.edns.Option] = (),
) -> dns.message.Message:
    """A query with RD and these ``flags`` beside it."""
    made = dns.message.make_query(name, kind)
    made.flags |= dns.flags.Flag(flags)
    if edns or dnssec or options:
        made.use_edns(0, dns.flags.DO if dnssec else 0, 1232, options=list(options))
    return made


def option(code: int, data: bytes = b"") -> dns.edns.Option:
    """An EDNS option."""
    return dns.edns.GenericOption(dns.edns.OptionType.make(code), data)


@contextlib.contextmanager
def dns_gateway(
    folder: Path,
    zones: Sequence[ZoneTable],
    *,
    resolver: Mapping[str, object] | None = None,
    settings: files.Toml | None = None,
    descriptors: int | None = None,
) -> Iterator[DnsGateway]:
    """``sockd`` with these zones; `CLIENTS` may ask, and the addresses of `INSIDE` are those of the inside.

    ``resolver`` adds to or replaces keys of [resolver]; the rest is as for `tests.support.daemon.sockd`.
    """
    tables: dict[str, Mapping[str, object]] = {
        "internal": {"networks": INSIDE},
        "resolver": {"addresses": [LISTENS], "port": 0, "clients": CLIENTS, "zone": zones, **(resolver or {})},
        **(settings or {}),
    }
    with files.sockd(folder, settings=tables, descriptors=descriptors) as daemon:
        found = _NAMES.search(daemon.stderr())
        assert found, f"sockd answers no questions:\n{daemon.stderr()}"
        yield DnsGateway(daemon, int(found[1]))


def address(server: LyingServer, number: int = 0) -> str:
    """One of its addresses, as it is written among the servers of a zone."""
    return f"{server.addresses[number]} {server.port}"


def extended_error(message: dns.message.Message) -> tuple[int, str] | None:
    """The code and the text of the extended error (RFC 8914); None: there is none."""
    for option in message.options:
        if isinstance(option, dns.edns.EDEOption):
            return int(option.code), option.text or ""
    return None


def records(message: dns.message.Message) -> list[str]:
    """The answer section without TTLs: ``www.example. A 192.0.2.1``."""
    return [
        f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)} {rdata}" for rrset in message.answer for rdata in rrset
    ]


def rcode(message: dns.message.Message) -> str:
    """Its name."""
    return dns.rcode.to_text(message.rcode())


def waiting(sock: socket.socket) -> list[dns.message.Message]:
    """The datagrams that have come."""
    found = []
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(dns.message.from_wire(sock.recv(65535)))
    return found
