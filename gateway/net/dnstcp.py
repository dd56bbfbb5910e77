"""Queries by TCP (RFC 7766): many on a connection, answered in any order, and no client may hold what others need.

Who may not ask is closed before a byte is read, and is looked up again for each query, since a reload may change that.
A client that sends slowly, does not read, or says nothing is cut after its time; one that asks much waits for its own
answers. When all places are taken, the connection that has been quiet longest makes room.

Nothing here knows what a query says.
"""

import asyncio
import errno
import select
import socket
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from gateway.dns.clients import Client
from gateway.net.framed import MessageSocket
from gateway.net.loop import READ_WRITE, Poller
from gateway.net.sockets import Socket, accepted, address_of, text_of

ACCEPTS_A_TURN = 16
LAST_TURNS = 16
"""Turns for those who wait when a socket is given up."""

PAUSE_SECONDS = 1.0
TELL_SECONDS = 10.0
SWEEP_SECONDS = 1.0

QUIET_ONES = 32
"""Connections that are looked at, the quietest first, for one that can make room."""

_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NEVER = float("inf")


class TcpLimits(NamedTuple):
    """What the clients of one process may use."""

    #: connections in all, and of one address
    connections: int = 1000
    of_client: int = 32
    #: queries of one connection that wait for their answers; then no more are read
    outstanding: int = 100
    #: bytes of answers that a client has not read; then no more queries are read
    unread: int = 1 << 18
    #: seconds without a query or an answer, and those in which unread answers have to be read
    idle: float = 10.0
    #: seconds for a query from its first byte to its last
    message: float = 10.0
    #: seconds without a query or an answer while queries wait for answers
    answer: float = 30.0


class TcpAsker:
    """Who sent a query by TCP; `gateway.dns.outside.Asker`."""

    __slots__ = ("_connection",)

    is_stream = True

    def __init__(self, connection: "Connection") -> None:
        self._connection: Connection | None = connection

    def reply(self, data: bytes) -> None:
        """The whole message; empty: there will be none. Another one, or one to a client who has gone, is dropped."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.answer(data)


class Connection(MessageSocket):
    """One client's connection."""

    __slots__ = ("_moves", "_moves_seen", "_outstanding", "_partial_since", "_quiet_since", "_server", "_stuck_since",
                 "_taken", "_taken_seen", "_was_ended", "packed")  # fmt: skip

    def __init__(self, server: "TcpServer", sock: Socket, packed: bytes, now: float) -> None:
        super().__init__(server.poller, sock)
        self._server = server
        self.packed = packed
        self._outstanding = 0
        #: the client sends no more, but may wait for answers
        self._was_ended = False
        #: queries, and queries and answers; as they were at the last look
        self._taken = self._taken_seen = 0
        self._moves = self._moves_seen = 0
        #: since when there was neither, since when a query has been coming, and since when answers have not been read
        self._quiet_since = now
        self._partial_since = self._stuck_since = _NEVER

    @property
    def can_go(self) -> bool:
        """Whether nothing is owed to the client."""
        return not self._outstanding and not self.unsent

    def wants_more(self) -> bool:
        """As `MessageSocket`: not more than it gets answers for, and reads."""
        limits = self._server.limits
        return not self._was_ended and self._outstanding < limits.outstanding and self.unsent < limits.unread

    def took(self, message: bytes) -> None:
        """As `MessageSocket`."""
        server = self._server
        now = server.clock()
        client = server.client_of(self.packed, now)
        if client is None or not message:
            self.end()
            return
        self._taken += 1
        self._moves += 1
        self._outstanding += 1
        server.moved(self)
        server.asked(message, client, TcpAsker(self), now)

    def answer(self, data: bytes) -> None:
        """For `TcpAsker`: the answer to one of the queries."""
        if self.is_closed:
            return
        was_full = not self.wants_more()
        self._outstanding -= 1
        self._moves += 1
        if data:
            self.send(data)
        if self.unsent > 4 * self._server.limits.unread:
            self.end()  # long answers to queries that had been read before it was stuck
        elif not self.is_closed:
            self._go_on(was_full)

    def flush(self) -> None:
        """As `MessageSocket`; what was read is no more overdue."""
        was_full = not self.wants_more()
        super().flush()
        if not self.unsent:
            self._stuck_since = _NEVER
        if not self.is_closed:
            self._go_on(was_full)

    def _go_on(self, was_full: bool) -> None:
        if self._was_ended:
            if self.can_go:
                self.end()
        elif was_full and self.wants_more():
            self.read_on()

    def finished(self) -> None:
        """As `MessageSocket`: what the client has asked is still answered."""
        self._was_ended = True
        self._go_on(False)

    def broken(self, _error: OSError) -> None:
        """As `MessageSocket`: the client has gone."""
        self.end()

    def is_overdue(self, now: float) -> bool:
        """Whether one of its times is over. To be asked again and again: times begin when it is seen that they run."""
        self._look(now)
        limits = self._server.limits
        quiet = limits.answer if self._outstanding else limits.idle
        return (
            now >= self._quiet_since + quiet
            or now >= self._partial_since + limits.message
            or now >= self._stuck_since + limits.idle
        )

    def _look(self, now: float) -> None:
        if self._moves != self._moves_seen:
            self._moves_seen = self._moves
            self._quiet_since = now
        if not self.frames:
            self._partial_since = _NEVER
        elif self._taken != self._taken_seen or self._partial_since == _NEVER or not self.wants_more():
            self._taken_seen = self._taken
            self._partial_since = now
        if self.unsent and self._stuck_since == _NEVER:
            self._stuck_since = now

    def end(self) -> None:
        """Close it; who still has its askers speaks to nobody."""
        self.close()
        self._server.removed(self)


class _Door:
    """A listening socket. Level-triggered, so that what waits is reported again after a pause."""

    def __init__(self, server: "TcpServer", sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._family = int(sock.family)
        self._paused: asyncio.TimerHandle | None = None
        self._is_open = True
        server.poller.add(sock.fileno(), self, select.EPOLLIN)

    def ready(self, _events: int) -> None:
        """Clients wait to be accepted."""
        server = self._server
        if not server.has_place():
            self._pause("all places are taken by clients that wait for answers")
            return
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, name = accepted(self._sock, self._family)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTOR:
                    self._pause(error.strerror or "no descriptor")
                    return
                if error.errno == errno.EINVAL:
                    self._give_up()
                    return
                continue  # the client has gone already (accept(2), "Error handling")
            server.admit(sock, address_of(name[0]).packed)
            if server.is_full:
                return  # only while somebody waits, which the next event tells, may somebody else be put out

    def _give_up(self) -> None:
        """It listens no more (accept(2))."""
        self.close()
        self._server.tell(f"{self._name} was shut down by somebody; no query is accepted by it")

    @property
    def _name(self) -> str:
        return f"{text_of(self._sock.getsockname())} (TCP)"

    def _pause(self, why: str) -> None:
        if self._paused is None:
            self._server.tell_now_and_then(f"accepting pauses on {self._name}: {why}")
            self._server.poller.remove(self._sock.fileno())
            self._paused = self._server.loop.call_later(PAUSE_SECONDS, self.resume)

    def resume(self) -> None:
        """Accept again, if it was paused."""
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
            self._server.poller.add(self._sock.fileno(), self, select.EPOLLIN)

    def finish(self) -> None:
        """Accept who waits already, and then no more."""
        for _ in range(LAST_TURNS):
            if self._is_open and self._paused is None and not self._server.is_full:
                self.ready(select.EPOLLIN)
        self.close()

    def close(self) -> None:
        """Accept no more here. The socket stays open for whoever else holds it."""
        if self._is_open:
            self._is_open = False
            if self._paused is None:
                self._server.poller.remove(self._sock.fileno())
            else:
                self._paused.cancel()
                self._paused = None


class TcpServer:
    """All TCP clients of one process, by whatever listening sockets they come."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        client_of: Callable[[bytes, float], Client | None],
        asked: Callable[[bytes, Client, TcpAsker, float], None],
        tell: Callable[[str], None],
        limits: TcpLimits,
    ) -> None:
        """``client_of(packed address, now)`` gives None for who may not ask; ``asked`` hears of each query, as
        `gateway.dns.forwarder.Forwarder.ask`; ``tell`` of what an administrator has to know. ``now`` is the loop's
        time, monotonic seconds.
        """
        self.loop = loop
        self.poller = poller
        self.clock = loop.time
        self.client_of = client_of
        self.asked = asked
        self.tell = tell
        self.limits = limits
        #: connections that were served
        self.seen = 0
        #: connections that were closed at once: strangers, and those above a client's number
        self.strangers = self.excess = 0
        #: connections that were closed for a newer one, and for their slowness
        self.put_out = self.overdue = 0
        self._doors: dict[socket.socket, _Door] = {}
        #: the quietest first
        self._connections: dict[Connection, None] = {}
        self._of_client: Counter[bytes] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._tell_at = 0.0

    def __len__(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    @property
    def addresses(self) -> int:
        """How many addresses have connections."""
        return len(self._of_client)

    def listen(self, sock: socket.socket) -> None:
        """Accept clients by this socket of `gateway.net.sockets.listening`; it stays its owner's to close."""
        self._doors[sock] = _Door(self, sock)

    def finish(self, sock: socket.socket) -> None:
        """Accept who waits at this socket, and then no more; connections go on."""
        self._doors.pop(sock).finish()

    def close(self) -> None:
        """Accept nobody, and end all connections."""
        for door in self._doors.values():
            door.close()
        self._doors.clear()
        for connection in tuple(self._connections):
            connection.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # For doors

    @property
    def is_full(self) -> bool:
        """Whether all places are taken."""
        return len(self._connections) >= self.limits.connections

    def has_place(self) -> bool:
        """Whether somebody who waits can come; if need be somebody who is owed nothing goes."""
        if not self.is_full:
            return True
        for connection in islice(self._connections, QUIET_ONES):
            if connection.can_go:
                self.put_out += 1
                connection.end()
                return True
        return False

    def admit(self, sock: Socket, packed: bytes) -> None:
        """Somebody from this address has come."""
        now = self.clock()
        if self.client_of(packed, now) is None:
            self.strangers += 1
            sock.close()
        elif self._of_client[packed] >= self.limits.of_client:
            self.excess += 1
            sock.close()
        else:
            self.seen += 1
            self._of_client[packed] += 1
            connection = Connection(self, sock, packed, now)
            self._connections[connection] = None
            self.poller.add(connection.fd, connection, READ_WRITE)
            if self._timer is None:
                self._timer = self.loop.call_later(self._step, self._sweep)

    def tell_now_and_then(self, text: str) -> None:
        """Tell it, unless something was told in the last `TELL_SECONDS`."""
        now = self.clock()
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            self.tell(text)

    # For connections

    def moved(self, connection: Connection) -> None:
        """This one has just asked."""
        if connection in self._connections:
            del self._connections[connection]
            self._connections[connection] = None

    def removed(self, connection: Connection) -> None:
        """This one is closed."""
        if connection in self._connections:
            del self._connections[connection]
            self._of_client[connection.packed] -= 1
            if not self._of_client[connection.packed]:
                del self._of_client[connection.packed]
            for door in self._doors.values():
                door.resume()

    # Time

    @property
    def _step(self) -> float:
        limits = self.limits
        return min(SWEEP_SECONDS, limits.idle / 4, limits.message / 4, limits.answer / 4)

    def _sweep(self) -> None:
        self._timer = None
        now = self.clock()
        for connection in [connection for connection in self._connections if connection.is_overdue(now)]:
            self.overdue += 1
            connection.end()
        if self._connections:
            self._timer = self.loop.call_later(self._step, self._sweep)
