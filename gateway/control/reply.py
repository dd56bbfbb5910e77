"""An answer on its way: what the daemon's parts say it with, and what waits until the reader takes it.

Nothing here touches a socket, but for the one call that sends; nothing is sent but from the loop, so that whoever
answers is never called back in the middle of it.
"""

import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from gateway.control.peer import Peer
from gateway.control.protocol import encode_done, encode_error, encode_row

MAX_WAITING = 1 << 20
"""Bytes that wait for a reader before rows of a stream are dropped."""

CHUNK = 1 << 16
"""Bytes that are made ready, and sent, in one turn of the loop."""


class Outbox:
    """Lines that wait, and iterables of rows, which are asked for a row only when there is room for it."""

    def __init__(self) -> None:
        self._queue: deque[bytes | Iterator[object]] = deque()
        self._bytes = bytearray()
        #: bytes of all lines in it
        self.waiting = 0

    @property
    def is_empty(self) -> bool:
        """Whether all was sent."""
        return not self._bytes and not self._queue

    def put(self, line: bytes) -> None:
        """Queue a line."""
        self._queue.append(line)
        self.waiting += len(line)

    def put_rows(self, rows: Iterable[object]) -> None:
        """Queue rows that are still to be made."""
        self._queue.append(iter(rows))

    def clear(self) -> None:
        """Forget all but the lines that are being sent, of which one may be under way."""
        self._queue.clear()
        self.waiting = len(self._bytes)

    def send(self, sock: socket.socket) -> int:
        """Send once what a non-blocking stream takes: so many bytes.

        Raises OSError when the peer has gone, and what an iterable of rows raises.
        """
        self._fill()
        if not self._bytes:
            return 0
        try:
            sent = sock.send(self._bytes)
        except BlockingIOError:
            return 0
        del self._bytes[:sent]
        self.waiting -= sent
        return sent

    def _fill(self) -> None:
        while self._queue and len(self._bytes) < CHUNK:
            first = self._queue[0]
            if isinstance(first, bytes):
                self._bytes += first
                self._queue.popleft()
            else:
                self._pull(first)

    def _pull(self, rows: Iterator[object]) -> None:
        for row in rows:
            line = encode_row(row)
            self._bytes += line
            self.waiting += len(line)
            if len(self._bytes) >= CHUNK:
                return
        self._queue.popleft()


class Carrier(Protocol):
    """The connection that an answer goes by."""

    peer: Peer
    out: Outbox

    @property
    def is_closed(self) -> bool:
        """Whether the peer has gone."""

    def wake(self) -> None:
        """There is something to send."""


class Reply:
    """The answer to one request: rows in any number, then once `done` or `error`, now or at any later time."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.peer = carrier.peer
        #: called once when the connection ends before `done` or `error` was said; who streams stops then
        self.on_close: Callable[[], None] | None = None
        self.is_answered = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing is taken any more: it was answered, or the peer has gone."""
        return self.is_answered or self._carrier.is_closed

    def row(self, row: object) -> bool:
        """A row of a stream; False when it was dropped: the reader is too slow, or there is none any more."""
        if self.is_closed or self._carrier.out.waiting >= MAX_WAITING:
            return False
        self._put(encode_row(row))
        return True

    def rows(self, rows: Iterable[object]) -> None:
        """Rows that are made as the reader takes them, all of them; `done` may be said at once, it is sent after them.

        What the iterable raises ends the answer with an error.
        """
        if not self.is_closed:
            self._carrier.out.put_rows(rows)
            self._carrier.wake()

    def done(self, done: object) -> None:
        """The end of the answer; ignored when it is closed."""
        self._end(encode_done(done))

    def error(self, text: str) -> None:
        """The end of an answer that is none: the reason in one line or several; ignored when it is closed."""
        self._end(encode_error(text))

    def _end(self, line: bytes) -> None:
        if not self.is_closed:
            self.is_answered = True
            self._put(line)

    def _put(self, line: bytes) -> None:
        self._carrier.out.put(line)
        self._carrier.wake()
