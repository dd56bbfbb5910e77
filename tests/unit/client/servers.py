"""Name servers on loopback for the client's tests: each one a zone, or a habit of answering, by UDP and TCP."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from select import select

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from gateway.address import Address, Endpoint

Message = dns.message.Message
Habit = Callable[[Message, str], Sequence[bytes]]
"""A query and ``udp`` or ``tcp`` -> what is sent back, one message after the other."""

Zone = Mapping[str, Sequence[str]]
"""``www.example`` -> ``A 192.0.2.80``, ``CNAME host.example``."""

SOA = "ns.test. admin.test. 1 3600 600 86400 300"
HOST = "127.0.0.1"


def sockets() -> tuple[socket.socket, socket.socket]:
    """One that listens for TCP, and one for UDP at the same port; not every free port is free for both."""
    while True:
        stream = socket.create_server((HOST, 0))
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagram.bind(stream.getsockname())
        except OSError:
            stream.close()
            datagram.close()
        else:
            return stream, datagram


class Server:
    """What was asked, and where it listens."""

    def __init__(self, habit: Habit) -> None:
        self.habit = habit
        self.asked: list[tuple[str, str, str]] = []
        self.queries: list[Message] = []
        self._stream, self._datagram = sockets()
        self.port: int = self._stream.getsockname()[1]
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(Address(4, 0x7F00_0001), self.port)

    def names(self) -> set[str]:
        """All names that it was asked about."""
        return {name for name, _, _ in self.asked}

    def close(self) -> None:
        """Serve no more."""
        self._stop.close()
        self._thread.join()
        for sock in (self._stream, self._datagram, self._stopped):
            sock.close()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select([self._stopped, self._stream, self._datagram], [], [])
            if self._stopped in ready:
                return
            if self._datagram in ready:
                data, client = self._datagram.recvfrom(65535)
                for answer in self._answers(data, "udp"):
                    self._datagram.sendto(answer, client)
            if self._stream in ready:
                connection, _ = self._stream.accept()
                with connection, suppress(OSError):
                    self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with connection.makefile("rb") as stream:
            size = int.from_bytes(stream.read(2), "big")
            for answer in self._answers(stream.read(size), "tcp"):
                # In two pieces, as the network may cut it.
                framed = len(answer).to_bytes(2, "big") + answer
                connection.sendall(framed[:1])
                connection.sendall(framed[1:])

    def _answers(self, data: bytes, transport: str) -> Sequence[bytes]:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.queries.append(query)
        self.asked.append((name, dns.rdatatype.to_text(question.rdtype), transport))
        return self.habit(query, transport)


@contextmanager
def serving(*habits: Habit) -> Iterator[tuple[Server, ...]]:
    """A server for each habit."""
    servers: list[Server] = []
    try:
        servers.extend(Server(habit) for habit in habits)
        yield tuple(servers)
    finally:
        for server in servers:
            server.close()


def answer(query: Message, zone: Zone) -> Message:
    """What an honest server says: aliases are followed as far as the zone goes."""
    response = dns.message.make_response(query, recursion_available=True)
    question = query.question[0]
    name, kind = question.name, dns.rdatatype.to_text(question.rdtype)
    found = False
    while True:
        held = [text.split(" ", 1) for text in zone.get(name.to_text(omit_final_dot=True).lower(), ())]
        records = [data for type_, data in held if type_ == kind]
        alias = next((data for type_, data in held if type_ == "CNAME"), "")
        for type_, data in ((kind, record) for record in records):
            response.answer.append(dns.rrset.from_text(name, 300, "IN", type_, data))
            found = True
        if records or not alias:
            break
        response.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", alias + "."))
        name = dns.name.from_text(alias)
    if not found and not (response.answer and not held):
        response.authority.append(dns.rrset.from_text(_apex(name), 300, "IN", "SOA", SOA))
        if not held:
            response.set_rcode(dns.rcode.NXDOMAIN)
    return response


def _apex(name: dns.name.Name) -> dns.name.Name:
    return dns.name.Name(name.labels[-2:])


def holding(zone: Zone) -> Habit:
    """Answer from this zone; its names are without a dot at their end. An alias that leads out of it has no end."""
    return lambda query, _: [answer(query, zone).to_wire(max_size=65535)]


def saying(rcode: dns.rcode.Rcode) -> Habit:
    """Always this."""

    def habit(query: Message, _: str) -> list[bytes]:
        response = dns.message.make_response(query)
        response.set_rcode(rcode)
        return [response.to_wire()]

    return habit


def silent(_: Message, __: str) -> list[bytes]:
    """Never say anything."""
    return []


def truncated(zone: Zone) -> Habit:
    """By UDP nothing but that there is more."""

    def habit(query: Message, transport: str) -> list[bytes]:
        response = answer(query, zone)
        if transport == "udp":
            response.answer.clear()
            response.flags |= dns.flags.TC
        return [response.to_wire(max_size=65535)]

    return habit
