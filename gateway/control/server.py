"""The daemon's end of the control socket: who may ask, one request after the other, answers at the reader's pace.

In the loop ``for key, _ in selector.select(timeout): key.data()``: never blocks, and whatever goes wrong with one
connection ends that one. What the requests mean is not known here.
"""

import select
import selectors
import socket
from collections.abc import Callable

from gateway.control.acceptor import Acceptor
from gateway.control.complaints import Complaints, fault_of
from gateway.control.peer import Gate, Peer, allowed_peers, peer_of
from gateway.control.protocol import MAX_REQUEST, Request, decode_request, encode_error
from gateway.control.reply import CHUNK, Outbox, Reply
from gateway.control.socketfile import listen
from gateway.errors import GatewayError

__all__ = ["Gate", "Peer", "Reply", "Server", "allowed_peers", "listen"]

MAX_CONNECTIONS = 32

IDLE_SECONDS = 300.0
"""How long a connection may ask nothing, or not read what was answered; streams and unanswered requests may."""

LAST_SENDS = 32
"""Turns of `CHUNK` bytes for what waits on a connection when the server is closed."""

_FAILED = "sockd failed at this request; its log says why"


class Server:
    """All connections of operators."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        allowed: Gate,
        handle: Callable[[Request, Reply], None],
        trouble: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """Owns the listening socket (`listen`) from now on.

        ``handle`` gets each request with its `Reply`, which it may answer at once or later; a GatewayError that it
        raises is the answer. ``trouble`` takes lines for the log, at a bounded rate; ``clock`` gives monotonic seconds.
        """
        self._selector = selector
        self._allowed = allowed
        self._handle = handle
        self._clock = clock
        self._connections: set[_Connection] = set()
        self._refusals, self._failures, pauses = (
            Complaints(lambda line: trouble(f"control socket: {line}"), clock) for _topic in range(3)
        )
        self._acceptor = Acceptor(listener, selector, lambda: True, self._take, pauses, clock)

    def tick(self) -> None:
        """Hold the time limits, and see who has gone; to be called about once a second."""
        self._acceptor.tick()
        for connection in tuple(self._connections):
            connection.tick()

    def close(self) -> None:
        """Ask nobody in any more; what waits is sent as far as its readers take it at once."""
        self._acceptor.close()
        for connection in tuple(self._connections):
            connection.finish()

    def forsake(self) -> None:
        """In a child after fork(2): close its copies, and leave the selector, which is still the parent's, alone."""
        self._acceptor.forsake()
        for connection in self._connections:
            connection.sock.close()

    def _take(self, sock: socket.socket) -> None:
        peer = peer_of(sock)
        if not self._allowed(peer):
            needs = self._allowed.needs
            self._refusals(f"process {peer.pid} of user {peer.uid} was refused: that takes {needs}")
            _turn_away(sock, f"user {peer.uid} may not ask this sockd: that takes {needs}")
        elif len(self._connections) >= MAX_CONNECTIONS:
            _turn_away(sock, f"{MAX_CONNECTIONS} connections are open already; end one of them, or try again later")
        else:
            self._connections.add(_Connection(self, sock, peer, self._selector, self._clock))

    # What its connections call

    def dispatch(self, line: bytes, reply: Reply) -> None:
        """Have a request answered."""
        try:
            self._handle(decode_request(line), reply)
        except GatewayError as error:
            reply.error(str(error))
        except Exception as error:  # a bug costs its own request
            self.failed("a request failed", error)
            reply.error(_FAILED)

    def left(self, connection: "_Connection") -> None:
        """It is closed."""
        self._connections.discard(connection)

    def failed(self, what: str, error: Exception) -> None:
        """A bug, for the log."""
        self._failures(f"{what}: {fault_of(error)}")


def _turn_away(sock: socket.socket, text: str) -> None:
    """One line, which the empty buffer of a new connection has room for, and no more."""
    with sock:
        try:
            sock.send(encode_error(text))
        except OSError:
            pass  # it did not wait for that


class _Connection:
    """One operator: a request is read when the one before it is answered, and the answer is sent."""

    def __init__(
        self,
        server: Server,
        sock: socket.socket,
        peer: Peer,
        selector: selectors.BaseSelector,
        clock: Callable[[], float],
    ) -> None:
        self._server = server
        self.sock = sock
        self.peer = peer
        self.out = Outbox()
        self.is_closed = False
        self._selector = selector
        self._clock = clock
        self._inbox = bytearray()
        self._scanned = 0
        self._reply: Reply | None = None
        #: whether the peer says no more: it may still read
        self._ended = False
        #: whether this side hears no more: it ends when all is sent
        self._last = False
        self._since = clock()
        self._events = 0
        self._settle()

    # What others call

    def wake(self) -> None:
        """There is something to send."""
        if not self.is_closed:
            self._since = self._clock()
            self._settle()

    def tick(self) -> None:
        """Close it when it is idle for too long, or the peer has gone unheard."""
        answering = self._reply is not None and not self._reply.is_answered
        if _is_gone(self.sock) or (not answering and self._clock() - self._since >= IDLE_SECONDS):
            self._close()

    def finish(self) -> None:
        """The last chance to send, without waiting; then it ends."""
        try:
            for _ in range(LAST_SENDS):
                if not self.out.is_empty:
                    self.out.send(self.sock)
        except OSError:
            pass  # the peer has gone
        except Exception as error:  # a bug in what makes the rows
            self._server.failed("an answer failed", error)
        self._close()

    # Its own turn in the loop

    def _ready(self) -> None:
        if self.is_closed:
            return  # closed by another one's turn in the same round
        try:
            self._receive()
            self._send()
            self._advance()
            self._settle()
        except OSError:
            self._close()
        except Exception as error:  # a bug costs this connection, never the loop
            self._server.failed("a connection was given up", error)
            self._close()

    def _receive(self) -> None:
        if not self._hears:
            return
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return
        self._inbox += data
        if not data:
            self._ended = True
            if _is_gone(self.sock):
                self._close()

    def _send(self) -> None:
        if self.is_closed or self.out.is_empty:
            return
        try:
            if self.out.send(self.sock):
                self._since = self._clock()
        except OSError:
            raise
        except GatewayError as error:
            self._spoil(str(error))
        except Exception as error:  # a bug in what makes the rows
            self._server.failed("an answer failed", error)
            self._spoil(_FAILED)

    def _advance(self) -> None:
        """Take the next request when the last one is answered."""
        if self.is_closed or not self.out.is_empty or (self._reply is not None and not self._reply.is_answered):
            return
        self._reply = None
        line = self._cut()
        if line is not None:
            self._reply = Reply(self)
            self._since = self._clock()
            self._server.dispatch(line, self._reply)
        elif len(self._inbox) > MAX_REQUEST:
            self._refuse(f"a request is one line of at most {MAX_REQUEST} bytes")
        elif self._ended or self._last:
            self._close()

    def _cut(self) -> bytes | None:
        """The first whole line."""
        found = self._inbox.find(b"\n", self._scanned)
        if found < 0 or found >= MAX_REQUEST:
            self._scanned = len(self._inbox)
            return None
        line = bytes(self._inbox[:found])
        del self._inbox[: found + 1]
        self._scanned = 0
        return line

    def _spoil(self, text: str) -> None:
        """End an answer whose rows can not be made."""
        self.out.clear()
        if self._reply is not None:
            self._reply.is_answered = True
        self.out.put(encode_error(text))

    def _refuse(self, text: str) -> None:
        self._last = True
        self._inbox.clear()
        self.out.put(encode_error(text))

    # Its place in the selector

    @property
    def _hears(self) -> bool:
        """Not while a whole request of the longest kind waits for its turn: the kernel keeps what follows."""
        return not self._ended and not self._last and len(self._inbox) <= MAX_REQUEST

    def _settle(self) -> None:
        """Wait for what it needs now, and for nothing else: the loop must not spin on an end that is known."""
        if self.is_closed:
            return
        events = (selectors.EVENT_READ if self._hears else 0) | (0 if self.out.is_empty else selectors.EVENT_WRITE)
        if events == self._events:
            return
        if not self._events:
            self._selector.register(self.sock, events, self._ready)
        elif events:
            self._selector.modify(self.sock, events, self._ready)
        else:
            self._selector.unregister(self.sock)
        self._events = events

    def _close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if self._events:
            self._selector.unregister(self.sock)
        self.sock.close()
        self.out.clear()
        self._server.left(self)
        self._tell()

    def _tell(self) -> None:
        """Whoever still answers need not any more."""
        reply = self._reply
        if reply is None or reply.is_answered or reply.on_close is None:
            return
        try:
            reply.on_close()
        except Exception as error:  # a bug of whoever answers
            self._server.failed("the end of an answer was not heard", error)


def _is_gone(sock: socket.socket) -> bool:
    """Whether the peer can not read any more, either: POLLHUP says so, half a close does not (poll(2))."""
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))
