"""DNS messages on one stream: two bytes of length before each (RFC 1035 §4.2.2), over TCP or TLS, never blocking.

`MessageSocket` is what clients' connections and those to name servers have in common: it reads as long as its owner
wants more, hands over whole messages, and keeps what the peer does not take yet. It knows no limits of time.
"""

import socket
import ssl
import struct
from abc import ABC, abstractmethod

from gateway.net.loop import Poller
from gateway.net.sockets import Socket

READ_BYTES = 16384
"""A read; the longest record of TLS too (RFC 8446 §5.1)."""

READS_A_TURN = 8
"""Then the others have their turn."""

AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a non-blocking socket says when the kernel, or the TLS peer, has to act first."""

_length = struct.Struct("!H").pack


class Frames:
    """Bytes of a stream, and the messages in them. It holds one unfinished message and what was fed last at most."""

    __slots__ = ("_at", "_data")

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        """These came next."""
        if self._at:
            del self._data[: self._at]
            self._at = 0
        self._data += data

    def take(self) -> bytes | None:
        """The next whole message, which may be empty; None: there is none yet."""
        data, at = self._data, self._at
        if len(data) < at + 2:
            if at == len(data):  # the memory of a long message is not kept by a connection that is quiet
                data.clear()
                self._at = 0
            return None
        end = at + 2 + (data[at] << 8 | data[at + 1])
        if len(data) < end:
            return None
        self._at = end
        return bytes(data[at + 2 : end])

    def __len__(self) -> int:
        """Bytes that were fed and not taken."""
        return len(self._data) - self._at


class MessageSocket(ABC):
    """A handler of the poller: messages in and out by one connected socket."""

    __slots__ = ("_is_taking", "_out", "_poller", "_sock", "fd", "frames", "is_closed")

    def __init__(self, poller: Poller, sock: Socket | socket.socket) -> None:
        """The socket is non-blocking, and its owner adds it to the poller, for `READ_WRITE`."""
        self._poller = poller
        self._sock = sock
        self.fd = sock.fileno()
        self.frames = Frames()
        self._out = bytearray()
        self._is_taking = False
        self.is_closed = False

    @abstractmethod
    def wants_more(self) -> bool:
        """Whether messages are read now. When that becomes true again, call `read_on`."""

    @abstractmethod
    def took(self, message: bytes) -> None:
        """A whole message has come, without its length; it may be empty."""

    @abstractmethod
    def finished(self) -> None:
        """The peer sends no more (FIN, or the end of TLS)."""

    @abstractmethod
    def broken(self, error: OSError) -> None:
        """The connection can not be used any more."""

    def unsendable(self, error: OSError) -> None:
        """The peer takes no more; what it has sent before that could still be read."""
        self.broken(error)

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken."""
        return len(self._out)

    def ready(self, _events: int) -> None:
        """As `Handler`; errors show themselves in what is tried."""
        if self._out:
            self.flush()
        if not self.is_closed:
            self._read()

    def resume(self) -> None:
        """As `Resumable`."""
        if not self.is_closed:
            self._read()

    def read_on(self) -> None:
        """More is wanted again: read, but not within this call."""
        self._poller.again(self)

    def send(self, message: bytes) -> None:
        """Send a message of at most 65535 bytes, or keep it until the peer takes it."""
        self.queue(message)
        if not self._is_taking:
            self.flush()

    def queue(self, message: bytes) -> None:
        """The same, but it leaves with the next `flush`."""
        self._out += _length(len(message)) + message

    def flush(self) -> None:
        """Send what the peer takes."""
        out = self._out
        try:
            while out:
                del out[: self._sock.send(out)]
        except AGAIN:
            return
        except OSError as error:
            out.clear()
            self.unsendable(error)

    def close(self) -> None:
        """Close it; it calls none of its own hooks any more."""
        if not self.is_closed:
            self.is_closed = True
            self._out.clear()
            self._poller.close_later(self.fd, self._sock)

    def _read(self) -> None:
        for _ in range(READS_A_TURN):
            self._take()
            if self.is_closed or not self.wants_more():
                return
            try:
                data = self._sock.recv(READ_BYTES)
            except AGAIN:
                return
            except OSError as error:
                self.broken(error)
                return
            if not data:
                self.finished()
                return
            self.frames.feed(data)
        self._poller.again(self)

    def _take(self) -> None:
        """Hand over what is whole. What is sent meanwhile leaves together."""
        self._is_taking = True
        try:
            while not self.is_closed and self.wants_more():
                message = self.frames.take()
                if message is None:
                    break
                self.took(message)
        finally:
            self._is_taking = False
        if self._out and not self.is_closed:
            self.flush()
