"""What the forwarder sends to name servers: each question by UDP from a socket of its own; TCP and TLS by `Streams`.

A socket that is made for one question has a port that the kernel drew for it, and being connected it hears only from
whom it asked (RFC 5452 §9). It is bound to its way out before it sends, and closed with the answer.
"""

import errno
import os
import select
import socket
from collections.abc import Callable

import msgspec

from gateway.dns.outside import Token
from gateway.dns.servers import Server
from gateway.net.egress import bind_to
from gateway.net.loop import Poller
from gateway.net.sockets import Socket
from gateway.net.streams import Failed, Heard, Streams
from gateway.policy.egress import Egress
from gateway.session.texts import TEXTS

_DATAGRAM = int(socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
_FAMILY = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
_EVENTS = select.EPOLLIN | select.EPOLLET

LONGEST = 4096
"""Bytes of an answer that are read: three times of what name servers are told to send."""

ANSWERS_A_TURN = 64
"""Wrong answers to one question that are heard before others have their turn."""


class Datagram(msgspec.Struct, eq=False):
    """A question by UDP that waits for its answer; the ``link`` of its token.

    A Struct, since it is made for each question; see `gateway.net.dialer.Attempt`.
    """

    upstreams: "Upstreams"
    sock: Socket
    fd: int
    token: Token | None

    def ready(self, _events: int) -> None:
        """As `Handler`: an answer, or what ICMP says of the question."""
        upstreams = self.upstreams
        heard, receive = upstreams.heard, self.sock.recv
        for _ in range(ANSWERS_A_TURN):
            token = self.token
            if token is None:
                return
            try:
                data = receive(LONGEST)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(token)
                upstreams.failed(token, os.strerror(error.errno or 0))
                return
            if heard(token, data):
                self._end(token)
                return
        upstreams.poller.again(self)

    def resume(self) -> None:
        """As `Resumable`."""
        self.ready(0)

    def _end(self, token: Token) -> None:
        # The token may have been told to begin anew meanwhile.
        if token.link is self:
            token.link = None
        self.release()

    def release(self) -> None:
        """Nobody waits for it any more."""
        if self.token is not None:
            self.token = None
            self.upstreams.open -= 1
            self.upstreams.poller.close_later(self.fd, self.sock)


class Upstreams:
    """The sockets of one process to name servers; `gateway.dns.outside.Outside`."""

    def __init__(self, poller: Poller, streams: Streams, sockets: int) -> None:
        """At most so many questions wait for an answer by UDP at a time. `hear` says who is told of answers."""
        self.poller = poller
        self.streams = streams
        self.heard = streams.heard
        self.failed = streams.failed
        #: questions by UDP that wait
        self.open = 0
        self._limit = sockets

    def hear(self, heard: Heard, failed: Failed) -> None:
        """``heard(token, answer)`` says whether that was the answer; ``failed(token, why)`` takes words.

        Both may begin another exchange for the same token, or release it.
        """
        self.heard, self.failed = heard, failed
        self.streams.hear(heard, failed)

    def datagram(self, token: Token, server: Server, egress: Egress | None, message: bytes) -> None:
        """Send a question from a new socket, by this way out only; what the token waited for before is released.

        Raises OSError, with words, when it does not leave. Answers, and errors that come later, are told.
        """
        if token.link is not None:
            self.release(token)
        if self.open >= self._limit:
            raise OSError(errno.EMFILE, f"{self._limit} questions to name servers wait for an answer already")
        address = server.address
        sock = Socket(_FAMILY[address.version], _DATAGRAM)
        try:
            if egress is not None:
                _leave_by(sock, egress)
            sock.connect((TEXTS[address], server.port))
            sock.send(message)
            fd = sock.fileno()
            link = token.link = Datagram(self, sock, fd, token)
            self.poller.add(fd, link, _EVENTS)
        except OSError:
            token.link = None
            sock.close()
            raise
        self.open += 1

    def stream(self, token: Token, server: Server, egress: Egress | None, message: bytes) -> None:
        """Send a question by TCP, or by TLS if the server has a name for it; the same way out, and never within this
        call a word about it. What the token waited for before is released.
        """
        if token.link is not None:
            self.release(token)
        self.streams.begin(token, server, egress, message)

    def release(self, token: Token) -> None:
        """Hear no more for this token; its socket is closed, or its place on a connection given to others."""
        link = token.link
        if link is not None:
            token.link = None
            link.release()

    def ways_changed(self, is_usable: Callable[[Egress], bool]) -> None:
        """Ways out have changed: connections by those that can not be used end, and their questions fail."""
        self.streams.ways_changed(is_usable)

    def close(self) -> None:
        """End all connections. Who waits for a datagram is released by whoever asked."""
        self.streams.close()


def _leave_by(sock: Socket, egress: Egress) -> None:
    try:
        bind_to(sock, egress)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({egress.source} on {egress.device})") from None
