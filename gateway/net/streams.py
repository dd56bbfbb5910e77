"""TCP and TLS connections to name servers: kept, shared and pipelined (RFC 7766, RFC 7858).

All exchanges with one server by one way out share a connection, answers come in any order, and further connections are
made only when it is full. An id of this layer's own tells the exchanges on a connection apart; the message's id is put
back into its answer. A connection leaves strictly by its way out, and ends with it.

Nothing here knows what a message says, or when an exchange has taken too long: who began it gives it up.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from gateway.dns.outside import Moved, Ours, Token
from gateway.dns.servers import Server
from gateway.net.egress import bind_to
from gateway.net.framed import AGAIN, MessageSocket
from gateway.net.loop import READ_WRITE, Poller
from gateway.net.sockets import hurry
from gateway.policy.egress import Egress
from gateway.session.texts import TEXTS

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_UNDER_WAY = frozenset({0, errno.EINPROGRESS})
_HOSTNAME_MISMATCH, _IP_MISMATCH = 62, 64
"""X509_V_ERR_*_MISMATCH of openssl/x509_vfy.h."""

HEADER_BYTES = 12
MAX_UNSENT = 1 << 16
"""Bytes that a server has not taken: until it does, its connection counts as full."""

MAX_STRAYS = 100
"""Messages on a connection that nobody asked for, beside late answers to those who gave up."""

SWEEP_SECONDS = 1.0

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What this host lacks when no connection can be made."""

_NEVER = float("inf")

Heard = Callable[[Any, bytes], bool]
Failed = Callable[[Any, str], None]


class StreamLimits(NamedTuple):
    """Bounds of the connections to name servers."""

    #: seconds for a connection and its TLS handshake
    connect: float = 5.0
    #: seconds without an exchange after which a connection is closed
    idle: float = 10.0
    #: exchanges on one connection at a time
    exchanges: int = 100
    #: connections to one server by one way out at a time
    connections: int = 3
    #: connections in all
    total: int = 256


class Exchange(msgspec.Struct, eq=False):
    """A message that waits for its answer; the ``link`` of its token."""

    token: Token
    server: Server
    egress: Egress | None
    message: bytes
    #: where it is now, its id there, and how many messages had come there before it
    line: "Line | None" = None
    number: int = 0
    mark: int = 0
    #: lost with a connection that had answered nothing
    lost: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return self.token.link is self

    def as_sent(self) -> bytes:
        """The message with the id that it has on its connection."""
        return self.number.to_bytes(2, "big") + self.message[2:]

    def release(self) -> None:
        """Nobody waits any more; the token knows that already."""
        if self.line is not None:
            self.line.give_up(self)


class Line(MessageSocket):
    """One connection to a name server."""

    __slots__ = ("_forgotten", "_is_open", "_strays", "_streams", "_telling", "answered", "deadline", "egress",
                 "exchanges", "is_retired", "received", "server")  # fmt: skip

    def __init__(self, streams: "Streams", sock: socket.socket, server: Server, egress: Egress | None) -> None:
        """The socket is being connected."""
        super().__init__(streams.poller, sock)
        self._streams = streams
        self.server = server
        self.egress = egress
        self.exchanges: dict[int, Exchange] = {}
        #: the monotonic time at which it has to be connected, or is closed for want of use
        self.deadline = streams.clock() + streams.limits.connect
        #: messages, and those of them that answered an exchange
        self.received = self.answered = 0
        #: takes no more exchanges, and closes after the last
        self.is_retired = False
        self._is_open = False
        self._strays = self._forgotten = 0
        self._telling: Exchange | None = None

    def has_room(self) -> bool:
        """Whether it can take one more exchange."""
        return len(self.exchanges) < self._streams.limits.exchanges and self.unsent < MAX_UNSENT

    def ask(self, exchange: Exchange) -> None:
        """Send this, as soon as the connection is made."""
        bits = self._streams.bits
        number = bits(16)
        while number in self.exchanges:
            number = bits(16)
        self.exchanges[number] = exchange
        exchange.line, exchange.number, exchange.mark = self, number, self.received
        if self._is_open:
            self.deadline = _NEVER
            self.send(exchange.as_sent())

    # Connecting

    def ready(self, events: int) -> None:
        """As `Handler`."""
        if self._is_open:
            super().ready(events)
        else:
            self._connect()

    def _connect(self) -> None:
        """Go on to connect, as far as it goes."""
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self.fail(os.strerror(number))
            return
        try:
            if not self.server.tls or self._shake_hands(self.server.tls):
                self._open()
        except AGAIN:
            return
        except OSError as error:
            self.fail(words(error, self.server))

    def _shake_hands(self, name: str) -> bool:
        """Whether TLS is ready; raises AGAIN and other OSErrors."""
        if not isinstance(self._sock, ssl.SSLSocket):
            context = self._streams.tls
            if context is None:
                self.fail("no TLS here: the certificates of the authorities were not loaded")
                return False
            assert isinstance(self._sock, socket.socket)
            # The descriptor stays the same, and registered.
            self._sock = context.wrap_socket(self._sock, server_hostname=name, do_handshake_on_connect=False)
        self._sock.do_handshake()
        return True

    def _open(self) -> None:
        self._is_open = True
        self._rest()
        for exchange in self.exchanges.values():
            self.queue(exchange.as_sent())
        self.flush()
        self.resume()

    def _rest(self) -> None:
        """Without an exchange its time runs."""
        self.deadline = _NEVER if self.exchanges else self._streams.clock() + self._streams.limits.idle

    # What comes

    def wants_more(self) -> bool:
        """As `MessageSocket`: always."""
        return True

    def took(self, message: bytes) -> None:
        """As `MessageSocket`: an answer to one of the exchanges, whatever their order."""
        if len(message) < HEADER_BYTES:
            self.lose(f"sent a message of {len(message)} bytes")
            return
        self.received += 1
        exchange = self.exchanges.get(message[0] << 8 | message[1])
        if exchange is None or not self._tell(exchange, message):
            self._strays += 1
            if self._strays > self._forgotten + MAX_STRAYS:
                self.lose("sent answers that nobody had asked for")

    def _tell(self, exchange: Exchange, message: bytes) -> bool:
        """Whether that was the answer."""
        self._telling = exchange
        try:
            if not self._streams.heard(exchange.token, exchange.message[:2] + message[2:]):
                return False
        finally:
            self._telling = None
        self.answered += 1
        if exchange.line is self:
            self._forget(exchange)
            if exchange.is_wanted:
                exchange.token.link = None
        return True

    def _forget(self, exchange: Exchange) -> None:
        del self.exchanges[exchange.number]
        exchange.line = None
        if not self.exchanges and self._is_open:
            if self.is_retired:
                self.end()
            else:
                self._rest()

    def give_up(self, exchange: Exchange) -> None:
        """Nobody waits for this exchange any more."""
        if exchange is not self._telling:
            self._forgotten += 1
            # Not a word since it was asked: others had better not be asked on this connection, which may be dead.
            if self._is_open and self.received == exchange.mark:
                self.retire()
        self._forget(exchange)

    # Its end

    def retire(self) -> None:
        """Take no more exchanges."""
        self.is_retired = True
        self._streams.withdraw(self)

    def finished(self) -> None:
        """As `MessageSocket`: a server may close when it likes (RFC 7766 §6.2.4)."""
        self.lose("closed the connection")

    def broken(self, error: OSError) -> None:
        """As `MessageSocket`."""
        self.lose(words(error, self.server))

    def unsendable(self, _error: OSError) -> None:
        """As `MessageSocket`: answers that came before the end count. The end comes behind them."""
        self.retire()
        self.deadline = self._streams.clock()
        self.read_on()

    def lose(self, why: str) -> None:
        """It is over; exchanges are tried once more on another connection."""
        self.end()
        for exchange in self._orphans():
            self._streams.try_again(exchange, why, self.answered > 0)

    def fail(self, why: str) -> None:
        """It is over, and its exchanges have failed."""
        self.end()
        for exchange in self._orphans():
            self._streams.fail(exchange, why)

    def _orphans(self) -> list[Exchange]:
        orphans = list(self.exchanges.values())
        self.exchanges.clear()
        for exchange in orphans:
            exchange.line = None
        return orphans

    def overdue(self) -> None:
        """Its deadline has passed."""
        if self._is_open:
            self.lose("closed the connection")
        else:
            self.fail("timed out")

    def end(self) -> None:
        """Close it and be forgotten; its exchanges are not told."""
        if isinstance(self._sock, ssl.SSLSocket) and self._is_open and not self.is_closed:
            try:
                self._sock.unwrap()  # says that this is the end (RFC 8446 §6.1); nobody waits for the answer
            except (OSError, ValueError):
                pass
        self.close()
        self._streams.remove(self)


class Streams:
    """The connections of one process to name servers."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        bits: Callable[[int], int],
        tls: ssl.SSLContext | None,
        limits: StreamLimits,
    ) -> None:
        """``bits`` gives so many random bits; ``tls`` checks certificates and names. `hear` says who is told."""
        self.poller = poller
        self.clock = loop.time
        self.bits = bits
        self.tls = tls
        self.limits = limits
        self.heard: Heard = _nobody_hears
        self.failed: Failed = _nobody_fails
        self._loop = loop
        #: all, and those that take exchanges
        self._all: dict[Line, None] = {}
        self._pools: dict[tuple[Server, Egress | None], list[Line]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Connections that are open or being made."""
        return len(self._all)

    def hear(self, heard: Heard, failed: Failed) -> None:
        """``heard(token, answer)`` says whether that was the answer; ``failed(token, why)`` takes words."""
        self.heard, self.failed = heard, failed

    def begin(self, token: Token, server: Server, egress: Egress | None, message: bytes) -> None:
        """Send a message. Raises nothing and calls nobody back before it returns: failures are told later."""
        exchange = token.link = Exchange(token, server, egress, message)
        self._place(exchange)

    def _place(self, exchange: Exchange) -> None:
        """On a connection that has room, or a new one."""
        server, egress = exchange.server, exchange.egress
        pool = self._pools.setdefault((server, egress), [])
        for line in pool:
            if line.has_room():
                line.ask(exchange)
                return
        if len(pool) >= self.limits.connections or len(self._all) >= self.limits.total:
            self._fail_later(exchange, Ours("all connections to it are full of questions"))
            return
        try:
            line = self._line(server, egress)
        except OSError as error:
            why = words(error, server)
            self._fail_later(exchange, Ours(why) if error.errno in NO_ROOM else why)
            return
        pool.append(line)
        line.ask(exchange)

    def _line(self, server: Server, egress: Egress | None) -> Line:
        sock = _connecting(server, egress)
        line = Line(self, sock, server, egress)
        self._all[line] = None
        self.poller.add(line.fd, line, READ_WRITE)
        if self._timer is None:
            self._timer = self._loop.call_later(self._step, self._sweep)
        return line

    @property
    def _step(self) -> float:
        return min(SWEEP_SECONDS, self.limits.connect / 4, self.limits.idle / 4)

    def _sweep(self) -> None:
        self._timer = None
        now = self.clock()
        for line in [line for line in self._all if line.deadline <= now]:
            if not line.is_closed:
                line.overdue()
        if self._all and self._timer is None:
            self._timer = self._loop.call_later(self._step, self._sweep)

    def _fail_later(self, exchange: Exchange, why: str) -> None:
        self._loop.call_soon(self.fail, exchange, why)

    def fail(self, exchange: Exchange, why: str) -> None:
        """Tell that an exchange has come to nothing, unless it was given up meanwhile."""
        if exchange.is_wanted:
            exchange.token.link = None
            self.failed(exchange.token, why)

    def try_again(self, exchange: Exchange, why: str, was_of_use: bool) -> None:
        """Its connection is lost. That may happen to it once with a connection that had answered nothing.

        Servers that close after some answers are asked for the rest on the next connection, and so on: each one answers
        something.
        """
        if not was_of_use:
            if exchange.lost:
                self.fail(exchange, why)
                return
            exchange.lost = True
        if exchange.is_wanted:
            self._place(exchange)

    def withdraw(self, line: Line) -> None:
        """This connection takes no more exchanges."""
        pool = self._pools.get((line.server, line.egress), [])
        if line in pool:
            pool.remove(line)

    def remove(self, line: Line) -> None:
        """This connection is closed."""
        self._all.pop(line, None)
        self.withdraw(line)
        if not self._pools.get((line.server, line.egress), True):
            del self._pools[line.server, line.egress]

    def ways_changed(self, is_usable: Callable[[Egress], bool]) -> None:
        """Ways out have changed: end the connections whose way can not be used any more; their exchanges fail."""
        for line in tuple(self._all):
            way = line.egress
            if way is not None and not line.is_closed and not is_usable(way):
                line.fail(Moved(f"the way out by {way.uplink} is lost"))

    def close(self) -> None:
        """End all connections; nobody is told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for line in tuple(self._all):
            line.end()


def _connecting(server: Server, egress: Egress | None) -> socket.socket:
    """A socket that is being connected by this way; raises OSError."""
    sock = socket.socket(_FAMILY[server.address.version], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if egress is not None:
            bind_to(sock, egress)
        hurry(sock)
        number = sock.connect_ex((TEXTS[server.address], server.port))
        if number not in _UNDER_WAY:
            raise OSError(number, os.strerror(number))
    except OSError:
        sock.close()
        raise
    return sock


def words(error: OSError, server: Server) -> str:
    """What has happened, for the administrator; no address but in what is said of certificates."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_words(error, server)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "closed the connection"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'protocol error').replace('_', ' ').lower()}"
    return os.strerror(error.errno) if error.errno else str(error)


def _certificate_words(error: ssl.SSLCertVerificationError, server: Server) -> str:
    said = error.verify_message.rstrip(".")
    if error.verify_code in (_HOSTNAME_MISMATCH, _IP_MISMATCH):
        return f"certificate of {server.address} is not for {server.tls}: {said}"
    return f"certificate of {server.address} is not trusted: {said}"


def _nobody_hears(_token: Any, _data: bytes) -> bool:
    return True


def _nobody_fails(_token: Any, _why: str) -> None:
    return
