"""The metrics by HTTP, for Prometheus and for curl: GET and HEAD of one page, one request a connection.

The smallest form of HTTP/1.1 that is correct (RFC 9112): no body is read, no connection is kept. In the loop
``for key, _ in selector.select(timeout): key.data()``; never blocks, and whoever is slow only costs a bounded place.
Nothing here knows what the metrics are.
"""

import re
import selectors
import socket
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import NamedTuple

from gateway.control.acceptor import Acceptor
from gateway.control.complaints import Complaints, fault_of
from gateway.control.metrics import CONTENT_TYPE
from gateway.errors import RemoteProtocolError
from gateway.wire.httphead import CRLF, Field, head_size, is_token, parse_field, split_head

MAX_CONNECTIONS = 16

HEAD_SECONDS = 10.0
SEND_SECONDS = 30.0
LINGER_SECONDS = 2.0
"""After the answer: until the client has closed as well, so that nothing it still sends resets the connection before
it has read the answer (RFC 9112 §9.6)."""

MAX_DISCARDED = 1 << 20
"""Bytes of a body that is not read, which are taken from the kernel while the connection lingers."""

_CHUNK = 1 << 16
_TEXT = "text/plain; charset=utf-8"
_INDEX = b"This is sockd, the daemon of a multihomed gateway. Its metrics are at /metrics.\n"
_BAD = HTTPStatus.BAD_REQUEST
_VERSION = re.compile(rb"HTTP/1\.[0-9]")
_TARGET = re.compile(rb"(?:https?://[^/?#]*)?(?P<path>/[^?#]*)(?:\?[^#]*)?", re.IGNORECASE)
"""Origin form and absolute form (RFC 9112 §3.2.1, §3.2.2)."""


class Page(NamedTuple):
    """What a GET of a path gives."""

    content_type: str
    content: Callable[[], bytes]


class MetricsServer:
    """All listeners of the metrics, and the connections on them."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        selector: selectors.BaseSelector,
        render: Callable[[], bytes],
        clock: Callable[[], float],
        trouble: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Owns the listening sockets from now on.

        ``render`` makes the page as `gateway.control.metrics.CONTENT_TYPE`; when it raises, the scraper gets a 500
        and ``trouble`` a line, at a bounded rate. ``clock`` gives monotonic seconds.
        """
        self._selector = selector
        self._clock = clock
        self._failures = Complaints(lambda line: trouble(f"metrics: {line}"), clock)
        say = Complaints(lambda line: trouble(f"metrics: {line}"), clock)
        self._pages = {b"/": Page(_TEXT, lambda: _INDEX), b"/metrics": Page(CONTENT_TYPE, render)}
        self._exchanges: set[_Exchange] = set()
        self._acceptors = [Acceptor(sock, selector, self._has_room, self._take, say, clock) for sock in listeners]

    def tick(self) -> None:
        """Hold the time limits; to be called about once a second."""
        for exchange in tuple(self._exchanges):
            exchange.tick()
        for acceptor in self._acceptors:
            acceptor.tick()

    def close(self) -> None:
        """Serve nobody any more."""
        for acceptor in self._acceptors:
            acceptor.close()
        for exchange in tuple(self._exchanges):
            exchange.close()

    def forsake(self) -> None:
        """In a child after fork(2): close its copies, and leave the selector, which is still the parent's, alone."""
        for acceptor in self._acceptors:
            acceptor.forsake()
        for exchange in self._exchanges:
            exchange.sock.close()

    def _has_room(self) -> bool:
        return len(self._exchanges) < MAX_CONNECTIONS

    def _take(self, sock: socket.socket) -> None:
        self._exchanges.add(_Exchange(sock, self._selector, self._clock, self._answer, self._left, self._failures))

    def _left(self, exchange: "_Exchange") -> None:
        self._exchanges.discard(exchange)
        for acceptor in self._acceptors:
            acceptor.resume()

    def _answer(self, head: bytes) -> bytes:
        try:
            return respond(head, self._pages)
        except RemoteProtocolError as error:
            return error.reply
        except Exception as error:  # a bug of whoever makes the page; the daemon goes on
            self._failures(f"the page could not be made: {fault_of(error)}")
            answer = _response(HTTPStatus.INTERNAL_SERVER_ERROR, "the page could not be made; the log says why")
            return _bodiless(head.partition(b" ")[0], answer)


class _Exchange:
    """One connection: its request, the answer, and the wait for its end."""

    def __init__(
        self,
        sock: socket.socket,
        selector: selectors.BaseSelector,
        clock: Callable[[], float],
        answer: Callable[[bytes], bytes],
        left: Callable[["_Exchange"], None],
        failed: Callable[[str], None],
    ) -> None:
        self.sock = sock
        self._selector = selector
        self._clock = clock
        self._answer = answer
        self._left = left
        self._failed = failed
        self._open = True
        self._inbox = bytearray()
        self._scanned = 0
        self._out = memoryview(b"")
        self._discarded = 0
        self._deadline = clock() + HEAD_SECONDS
        self._step = self._read
        selector.register(sock, selectors.EVENT_READ, self._ready)

    def tick(self) -> None:
        """Close it when its time is over."""
        if self._clock() >= self._deadline:
            self.close()

    def close(self) -> None:
        """Have done with it."""
        if self._open:
            self._open = False
            self._selector.unregister(self.sock)
            self.sock.close()
            self._left(self)

    def _ready(self) -> None:
        if not self._open:
            return  # closed by another one's turn in the same round
        try:
            self._step()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
        except Exception as error:  # a bug costs this connection, never the loop
            self._failed(f"a connection was given up: {fault_of(error)}")
            self.close()

    def _read(self) -> None:
        data = self.sock.recv(_CHUNK)
        if not data:
            self.close()
            return
        self._inbox += data
        try:
            size = head_size(self._inbox, self._scanned, _fault)
        except RemoteProtocolError as error:
            self._begin(error.reply)
            return
        if size <= len(self._inbox):
            self._begin(self._answer(bytes(self._inbox[:size])))
        self._scanned = len(self._inbox)

    def _begin(self, answer: bytes) -> None:
        self._out = memoryview(answer)
        self._enter(self._write, selectors.EVENT_WRITE, SEND_SECONDS)

    def _write(self) -> None:
        self._out = self._out[self.sock.send(self._out) :]
        if not self._out:
            self.sock.shutdown(socket.SHUT_WR)
            self._enter(self._linger, selectors.EVENT_READ, LINGER_SECONDS)

    def _linger(self) -> None:
        data = self.sock.recv(_CHUNK)
        self._discarded += len(data)
        if not data or self._discarded > MAX_DISCARDED:
            self.close()

    def _enter(self, step: Callable[[], None], events: int, seconds: float) -> None:
        self._step = step
        self._deadline = self._clock() + seconds
        self._selector.modify(self.sock, events, self._ready)


def respond(head: bytes, pages: dict[bytes, Page]) -> bytes:
    """The answer to a whole request head. Raises RemoteProtocolError with the answer to a malformed one."""
    first, *rest = split_head(head, _fault)
    method, target, version = _request_line(first)
    _check_host([parse_field(line, _fault) for line in rest], version)
    found = _TARGET.fullmatch(target)
    page = pages.get(found["path"]) if found is not None else None
    if page is None:
        return _bodiless(method, _response(HTTPStatus.NOT_FOUND, "there is /metrics, and nothing else"))
    if method not in (b"GET", b"HEAD"):
        return _response(HTTPStatus.METHOD_NOT_ALLOWED, "this takes GET and HEAD", b"Allow: GET, HEAD\r\n")
    return _bodiless(method, _message(HTTPStatus.OK, page.content_type, page.content()))


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Method, target and version (RFC 9112 §3)."""
    words = line.split(b" ")
    if len(words) != 3 or not is_token(words[0]) or not words[1] or not words[2].startswith(b"HTTP/"):
        raise _fault(_BAD, "the request line is malformed")
    method, target, version = words
    if _VERSION.fullmatch(version) is None:
        raise _fault(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "the HTTP version is not 1.0 or 1.1")
    return method, target, version


def _check_host(fields: Sequence[Field], version: bytes) -> None:
    """Exactly one Host, where the version has it (RFC 9112 §3.2)."""
    count = sum(name == b"host" for name, _ in fields)
    if count > 1 or (count == 0 and version != b"HTTP/1.0"):
        raise _fault(_BAD, "a request must have one Host field")


def _fault(status: HTTPStatus, fact: str) -> RemoteProtocolError:
    return RemoteProtocolError(fact, _response(status, fact))


def _response(status: HTTPStatus, text: str, fields: bytes = b"") -> bytes:
    return _message(status, _TEXT, f"{text}\n".encode(), fields)


def _message(status: HTTPStatus, content_type: str, content: bytes, fields: bytes = b"") -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n"
    )
    return head.encode() + fields + CRLF + content


def _bodiless(method: bytes, answer: bytes) -> bytes:
    """An answer to HEAD has the same fields and no content (RFC 9110 §9.3.2)."""
    return answer[: answer.index(CRLF + CRLF) + 4] if method == b"HEAD" else answer
