"""Where workers have names looked up: the resolver's end of `gateway.daemon.names`.

Each question gets one answer. What a worker asks for is checked, and bounded, as if it came from outside: workers speak
to strangers, and one of them may have been taken over.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gateway.address import Address, canonical_name
from gateway.config.rules import EgressWord
from gateway.daemon.messages import LookedUp, LookUp, close_all, is_address, receive, send
from gateway.dns.constants import AAAA, HEADER_BYTES, A
from gateway.dns.forwarder import Forwarder
from gateway.dns.names import wire_name
from gateway.dns.query import build_query
from gateway.dns.response import Malformed, read_response
from gateway.dns.show import shown
from gateway.dns.zones import View
from gateway.errors import BadName
from gateway.net.lookup import MAX_OUTSTANDING

MESSAGES_A_TURN = 64

MAX_WAYS = 64
MAX_WAY = 255
"""Ways out of one session, and characters in the name of one; nobody honest has so many."""


class _Worker:
    """One that asks, by its own socket."""

    __slots__ = ("outstanding", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.outstanding = 0

    def tell(self, message: LookedUp) -> None:
        try:
            send(self.sock, message)
        except OSError:
            pass  # the worker has gone, or does not listen: it gives up by itself

    def done(self, number: int, addresses: tuple[Address, ...], why: str) -> None:
        """A look-up that was under way is over."""
        self.outstanding -= 1
        self.tell(LookedUp(number, addresses, why))


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
        self._workers: dict[str, _Worker] = {}
        self.prefers_ipv6 = False
        for name, sock in sockets.items():
            self.serve(name, sock)

    def serve(self, name: str, sock: socket.socket) -> None:
        """A worker asks by this socket, and no longer by the one of its predecessor."""
        self._leave(name)
        worker = self._workers[name] = _Worker(sock)
        self._loop.add_reader(sock, self._hear, name, worker)

    def _leave(self, name: str) -> None:
        before = self._workers.pop(name, None)
        if before is not None:
            self._loop.remove_reader(before.sock)
            before.sock.close()

    def _hear(self, name: str, worker: _Worker) -> None:
        for _ in range(MESSAGES_A_TURN):
            try:
                received = receive(worker.sock)
            except OSError:
                return  # nothing more, or no message
            if received is None:
                self._leave(name)
                return
            close_all(received.descriptors)
            if isinstance(received.message, LookUp):
                self._take(worker, received.message)

    def _take(self, worker: _Worker, message: LookUp) -> None:
        wire = _checked(message.name)
        fault = "no name of a host" if wire is None else _fault(worker, message)
        if wire is None or fault:
            worker.tell(LookedUp(message.number, (), fault))
            return
        worker.outstanding += 1
        search = _Search(self._order(), partial(worker.done, message.number))
        try:
            self._look_up(search, wire, message)
        except Exception:
            search.end((), "internal error of the resolver")
            raise

    def _look_up(self, search: "_Search", wire: bytes, message: LookUp) -> None:
        view = self._view_of(message.client)
        for kind in (A, AAAA):
            query = build_query(0, wire, kind, variant=0)
            self._forwarder.resolve(query, view, _Half(search, kind, query), self._loop.time(), message.ways)

    def _order(self) -> Sequence[int]:
        """What is tried first (RFC 6724 §2.1, as far as it can be said without the destination)."""
        return (AAAA, A) if self.prefers_ipv6 else (A, AAAA)


def _checked(name: str) -> bytes | None:
    """The wire name of a name that sessions may ask for; None: it is none."""
    try:
        return wire_name(canonical_name(name))
    except BadName:
        return None


def _fault(worker: _Worker, message: LookUp) -> str:
    """Why nobody is asked for the sake of this message; empty: nothing is wrong with it."""
    if not is_address(message.client):
        return "no address of a client"
    if len(message.ways) > MAX_WAYS or not all(map(_is_way, message.ways)):
        return "no ways of a session"
    if worker.outstanding >= MAX_OUTSTANDING:
        return "too many look-ups are under way"
    return ""


def _is_way(word: EgressWord) -> bool:
    return is_address(word) if isinstance(word, Address) else len(word) <= MAX_WAY


class _Search:
    """One look-up: both kinds of addresses."""

    __slots__ = ("_done", "_found", "_is_over", "_order", "_why")

    def __init__(self, order: Sequence[int], done: Callable[[tuple[Address, ...], str], None]) -> None:
        self._order = order
        self._done = done
        self._found: dict[int, tuple[Address, ...]] = {}
        self._why = ""
        self._is_over = False

    def found(self, kind: int, addresses: tuple[Address, ...], why: str) -> None:
        """One half is there."""
        self._found[kind] = addresses
        self._why = self._why or why
        if len(self._found) == len(self._order):
            together = tuple(address for kind in self._order for address in self._found[kind])
            self.end(together, "" if together else self._why)

    def end(self, addresses: tuple[Address, ...], why: str) -> None:
        """That is the answer; the first one is."""
        if not self._is_over:
            self._is_over = True
            self._done(addresses, why)


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
