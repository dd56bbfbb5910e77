"""Where workers have names looked up: the resolver's end of `gateway.daemon.names`."""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gateway.address import Address, canonical_name
from gateway.daemon.messages import LookedUp, LookUp, close_all, is_address, receive, send
from gateway.dns.constants import AAAA, HEADER_BYTES, A
from gateway.dns.forwarder import Forwarder
from gateway.dns.names import wire_name
from gateway.dns.query import build_query
from gateway.dns.response import Malformed, read_response
from gateway.dns.show import shown
from gateway.dns.zones import View
from gateway.errors import BadName

MESSAGES_A_TURN = 64


class NameDesk:
    """The workers that ask this resolver."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        forwarder: Forwarder,
        view_of: Callable[[Address], View],
        sockets: Mapping[str, socket.socket],
    ) -> None:
        """``view_of`` gives the view of a client, which need not be one that may ask by itself."""
        self._loop = loop
        self._forwarder = forwarder
        self._view_of = view_of
        self._sockets: dict[str, socket.socket] = {}
        self.prefers_ipv6 = False
        for name, sock in sockets.items():
            self.serve(name, sock)

    def serve(self, name: str, sock: socket.socket) -> None:
        """A worker asks by this socket, and no longer by the one of its predecessor."""
        self._leave(name)
        self._sockets[name] = sock
        self._loop.add_reader(sock, self._hear, name, sock)

    def _leave(self, name: str) -> None:
        before = self._sockets.pop(name, None)
        if before is not None:
            self._loop.remove_reader(before)
            before.close()

    def _hear(self, name: str, sock: socket.socket) -> None:
        for _ in range(MESSAGES_A_TURN):
            try:
                received = receive(sock)
            except OSError:
                return  # nothing more, or no message
            if received is None:
                self._leave(name)
                return
            close_all(received.descriptors)
            if isinstance(received.message, LookUp):
                self._look_up(sock, received.message)

    def _look_up(self, sock: socket.socket, message: LookUp) -> None:
        wire = _checked(message.name)
        if wire is None or not is_address(message.client):
            _tell(sock, LookedUp(message.number, (), "no name of a host"))
            return
        search = _Search(self._order(), partial(self._done, sock, message.number))
        view = self._view_of(message.client)
        for kind in (A, AAAA):
            query = build_query(0, wire, kind, variant=0)
            self._forwarder.resolve(query, view, _Half(search, kind, query), self._loop.time(), message.ways)

    def _order(self) -> Sequence[int]:
        """What is tried first (RFC 6724 §2.1, as far as it can be said without the destination)."""
        return (AAAA, A) if self.prefers_ipv6 else (A, AAAA)

    def _done(self, sock: socket.socket, number: int, addresses: tuple[Address, ...], why: str) -> None:
        _tell(sock, LookedUp(number, addresses, why))


def _checked(name: str) -> bytes | None:
    """The wire name of a name that sessions may ask for; None: it is none."""
    try:
        return wire_name(canonical_name(name))
    except BadName:
        return None


def _tell(sock: socket.socket, message: LookedUp) -> None:
    try:
        send(sock, message)
    except OSError:
        pass  # the worker has gone, or does not listen: it gives up by itself


class _Search:
    """One look-up: both kinds of addresses."""

    __slots__ = ("_done", "_found", "_order", "_why")

    def __init__(self, order: Sequence[int], done: Callable[[tuple[Address, ...], str], None]) -> None:
        self._order = order
        self._done = done
        self._found: dict[int, tuple[Address, ...]] = {}
        self._why = ""

    def found(self, kind: int, addresses: tuple[Address, ...], why: str) -> None:
        """One half is there."""
        self._found[kind] = addresses
        self._why = self._why or why
        if len(self._found) == len(self._order):
            together = tuple(address for kind in self._order for address in self._found[kind])
            self._done(together, "" if together else self._why)


class _Half:
    """Who waits for the addresses of one kind."""

    __slots__ = ("_kind", "_query", "_search")

    is_stream = True

    def __init__(self, search: _Search, kind: int, query: bytes) -> None:
        self._search = search
        self._kind = kind
        self._query = query

    def reply(self, data: bytes) -> None:
        """As `gateway.dns.outside.Asker`."""
        addresses, why = addresses_in(data, self._query)
        self._search.found(self._kind, addresses, why)


def addresses_in(data: bytes, query: bytes) -> tuple[tuple[Address, ...], str]:
    """The addresses in an answer of the forwarder to a query, and, if there are none, why."""
    if len(data) < HEADER_BYTES:
        return (), "the name can not be asked for"
    try:
        reading = read_response(data, query, lambda _name: True)
    except Malformed as error:
        return (), f"the answer can not be read: {error}"
    addresses = tuple(map(Address.from_packed, reading.addresses))
    if addresses:
        return addresses, ""
    seen = shown(data)
    return (), seen.ede or _WORDS.get(seen.rcode, f"the name server says {seen.rcode}")


_WORDS = {"NOERROR": "the name has no address", "NXDOMAIN": "the name does not exist"}
