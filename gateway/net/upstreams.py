"""What the forwarder sends to name servers: questions by UDP, spread over many ports; TCP and TLS by `Streams`.

Each of the first questions of a `TURN_SECONDS` to a server gets a socket of its own, whose port the kernel has drawn;
that is every question, as long as few are asked. Beyond that each goes by one of these sockets, drawn anew, so that a
forger still has to guess port and id (RFC 5452 §4.5, §9.2; field-cases D1). A socket that nobody waits for is closed
with the turn, and one that is used takes few questions for a short time, none of them with the id of another.

A socket is connected, so that it hears only from whom it asks, and bound to its way out before it sends. What comes
with an id that it has never sent is a guess, and told to everyone who waits there as a wrong answer.
"""

import asyncio
import errno
import os
import select
import socket
from collections.abc import Callable

import msgspec

from gateway.dns.outside import Moved, Token
from gateway.dns.servers import Server
from gateway.net.egress import bind_to
from gateway.net.loop import Poller
from gateway.net.sockets import Socket
from gateway.net.streams import Failed, Heard, Streams
from gateway.policy.egress import Egress
from gateway.session.texts import TEXTS

_DATAGRAM = int(socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
_FAMILY = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}

LONGEST = 4096
"""Bytes of an answer that are read: three times of what name servers are told to send."""

PORTS = 64
"""Sockets to one server by one way out, before questions share them."""

QUESTIONS = 64
"""By one socket, over its whole life."""

TURN_SECONDS = 0.1
"""How often sockets are looked through: 640 questions a second are so few that each has a socket of its own."""

TURNS = 10
"""After so many a socket takes no more questions, however few it had."""

DRAWS = 4
"""Sockets that are drawn for a question before it gets a new one: those before have sent its id already."""


class Question(msgspec.Struct, eq=False):
    """One that waits for its answer; the ``link`` of its token.

    A Struct, since it is made for each question; see `gateway.net.dialer.Attempt`.
    """

    port: "Port"
    id: bytes
    token: Token

    def release(self) -> None:
        """Nobody waits for it any more."""
        port = self.port
        asked = port.asked
        if asked[self.id] is self:
            asked[self.id] = None
            port.waiting -= 1
            port.upstreams.open -= 1
            if port.is_retired and not port.waiting:
                port.close()


class Port:
    """A socket to one server, and what was asked by it."""

    __slots__ = ("asked", "fd", "is_retired", "siblings", "sock", "trouble", "turns", "upstreams", "waiting")

    def __init__(self, upstreams: "Upstreams", siblings: list["Port"], sock: Socket) -> None:
        """For a connected socket; ``siblings`` are those of the same server and way that take questions."""
        self.upstreams = upstreams
        self.siblings = siblings
        self.sock = sock
        self.fd = sock.fileno()
        #: by their ids; None: answered, or given up. The answer may come all the same, and once more
        self.asked: dict[bytes, Question | None] = {}
        #: how many wait
        self.waiting = 0
        self.turns = 0
        #: takes no more questions, and is closed as soon as nobody waits
        self.is_retired = False
        #: why those who wait will wait in vain
        self.trouble = ""

    def ready(self, _events: int) -> None:
        """As `Handler`: an answer, or what ICMP says of the questions.

        One answer a call, since few sockets have two; the poller says so again when there is another one.
        """
        try:
            data = self.sock.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(os.strerror(error.errno or 0))
            return
        question = self.asked.get(data[:2])
        if question is None:
            self._unasked(data)
        else:
            self._tell(question, data)

    def _tell(self, question: Question, data: bytes) -> None:
        token = question.token
        # The token may begin anew, or be released, while it is told.
        if self.upstreams.heard(token, data) and token.link is question:
            token.link = None
            question.release()

    def _unasked(self, data: bytes) -> None:
        """Somebody answers again, or too late; or he guesses, and then nobody here goes on trusting this socket."""
        self.upstreams.strays += 1
        if data[:2] not in self.asked:
            for question in self._waiting():
                if question.token.link is question:
                    self._tell(question, data)

    def _waiting(self) -> list[Question]:
        return [question for question in self.asked.values() if question is not None]

    def _fail(self, why: str) -> None:
        """One event is one failure; the others that waited here ask anew."""
        self.retire()
        for question in self._waiting():
            token = question.token
            if token.link is question:
                token.link = None
                question.release()
                self.upstreams.failed(token, why)
                why = Moved(why)

    def break_down(self, why: str) -> None:
        """Those who wait are to be told why they wait in vain, but not within this call."""
        self.trouble = why
        self.retire()
        self.upstreams.poller.again(self)

    def resume(self) -> None:
        """As `Resumable`."""
        if self in self.upstreams.ports:
            self._fail(self.trouble)

    def turn(self) -> None:
        """Time has passed."""
        self.turns += 1
        if not self.waiting or self.turns > TURNS:
            self.retire()

    def retire(self) -> None:
        """Take no more questions."""
        if not self.is_retired:
            self.is_retired = True
            self.siblings.remove(self)
            if not self.waiting:
                self.close()

    def close(self) -> None:
        """Hear no more."""
        ports, poller = self.upstreams.ports, self.upstreams.poller
        if self in ports:
            ports.remove(self)
            poller.close_later(self.fd, self.sock)


class Upstreams:
    """The sockets of one process to name servers; `gateway.dns.outside.Outside`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        streams: Streams,
        sockets: int,
        random: Callable[[int], bytes],
    ) -> None:
        """At most so many sockets for UDP. ``random`` gives unpredictable bytes. `hear` says who is told of answers."""
        self.poller = poller
        self.streams = streams
        self.heard = streams.heard
        self.failed = streams.failed
        #: questions by UDP that wait
        self.open = 0
        #: what came that nobody waited for
        self.strays = 0
        #: all sockets for UDP
        self.ports: set[Port] = set()
        self._lines: dict[tuple[Server, Egress | None], list[Port]] = {}
        self._loop = loop
        self._random = random
        self._limit = sockets
        self._timer: asyncio.TimerHandle | None = None

    def hear(self, heard: Heard, failed: Failed) -> None:
        """``heard(token, answer)`` says whether that was the answer; ``failed(token, why)`` takes words.

        Both may begin another exchange for the same token, or release it.
        """
        self.heard, self.failed = heard, failed
        self.streams.hear(heard, failed)

    def datagram(self, token: Token, server: Server, egress: Egress | None, message: bytes) -> None:
        """Send a question, by this way out only; what the token waited for before is released.

        Raises OSError, with words, when it does not leave. Answers, and errors that come later, are told.
        """
        if token.link is not None:
            self.release(token)
        id = message[:2]
        where = (server, egress)
        line = self._lines.get(where)
        if line is not None and (len(line) >= PORTS or len(self.ports) >= self._limit):
            port = self._drawn(line, id)
            if port is not None and _sent(port, message):
                self._wait(port, id, token)
                return
        sock = self._connected(server, egress, message)
        self._wait(self._opened(where, sock), id, token)

    def _wait(self, port: Port, id: bytes, token: Token) -> None:
        asked = port.asked
        token.link = asked[id] = Question(port, id, token)
        port.waiting += 1
        self.open += 1
        if len(asked) >= QUESTIONS:
            port.retire()

    def _drawn(self, line: list[Port], id: bytes) -> Port | None:
        """One of them that has never sent this id; None: try no longer."""
        count = len(line)
        if count:
            for octet in self._random(DRAWS):
                port = line[octet % count]
                if id not in port.asked:
                    return port
        return None

    def _connected(self, server: Server, egress: Egress | None, message: bytes) -> Socket:
        """A new socket that has sent this message."""
        self._make_room()
        address = server.address
        sock = Socket(_FAMILY[address.version], _DATAGRAM)
        try:
            if egress is not None:
                _leave_by(sock, egress)
            sock.connect((TEXTS[address], server.port))
            sock.send(message)
        except OSError:
            sock.close()
            raise
        return sock

    def _make_room(self) -> None:
        """For one socket more; raises OSError. Those that nobody waits for need not last until the turn."""
        if len(self.ports) >= self._limit > self.open:
            for port in [port for port in self.ports if not port.waiting]:
                port.retire()
        if len(self.ports) >= self._limit:
            raise OSError(errno.EMFILE, f"all {self._limit} sockets for name servers are in use")

    def _opened(self, where: tuple[Server, Egress | None], sock: Socket) -> Port:
        line = self._lines.setdefault(where, [])
        port = Port(self, line, sock)
        try:
            self.poller.add(port.fd, port, select.EPOLLIN)
        except OSError:
            sock.close()
            raise
        line.append(port)
        self.ports.add(port)
        if self._timer is None:
            self._timer = self._loop.call_later(TURN_SECONDS, self._turn)
        return port

    def _turn(self) -> None:
        self._timer = None
        for where, line in tuple(self._lines.items()):
            for port in tuple(line):
                port.turn()
            if not line:
                del self._lines[where]
        if self._lines:
            self._timer = self._loop.call_later(TURN_SECONDS, self._turn)

    def stream(self, token: Token, server: Server, egress: Egress | None, message: bytes) -> None:
        """Send a question by TCP, or by TLS if the server has a name for it; the same way out, and never within this
        call a word about it. What the token waited for before is released.
        """
        if token.link is not None:
            self.release(token)
        self.streams.begin(token, server, egress, message)

    def release(self, token: Token) -> None:
        """Hear no more for this token; its place on a socket or a connection is given to others."""
        link = token.link
        if link is not None:
            token.link = None
            link.release()

    def ways_changed(self, is_usable: Callable[[Egress], bool]) -> None:
        """Ways out have changed: nothing more leaves by the sockets of those that can not be used, nor by those whose
        way the kernel chose. Their answers may still come; connections end, and what waits there fails.
        """
        for (_, egress), line in self._lines.items():
            if egress is None or not is_usable(egress):
                for port in tuple(line):
                    port.retire()
        self.streams.ways_changed(is_usable)

    def close(self) -> None:
        """End all connections, and close all sockets; who waits for an answer is told nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for port in tuple(self.ports):
            port.retire()
            port.close()
        self.streams.close()


def _sent(port: Port, message: bytes) -> bool:
    """By a socket that others have used; what is wrong with it may be about their questions."""
    try:
        port.sock.send(message)
    except BlockingIOError:
        return False  # a new one has room
    except OSError as error:
        port.break_down(os.strerror(error.errno or 0))
        return False
    return True


def _leave_by(sock: Socket, egress: Egress) -> None:
    try:
        bind_to(sock, egress)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({egress.source} on {egress.device})") from None
