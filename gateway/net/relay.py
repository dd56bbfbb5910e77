"""The transparent relay between two connected sockets.

A direction copies with recv and send while its traffic is small. One that fills a whole read, or meets a short write
on a full read, borrows a pipe and moves to splice(2), so that bulk data never enters user space; it gives the pipe
back when it falls quiet. At most one read (or one pipe) is held for a slow receiver, whose source is not read
meanwhile. Each end of file is passed on by itself, so that half-closed connections work; a reset is passed on as a
reset, so that a cut transfer does not look complete.
"""

import errno
import os
import select
import socket
import struct
from typing import Protocol

from gateway.net.loop import READ_WRITE, Poller
from gateway.net.pipes import PIPE_BYTES, Pipe, PipePool
from gateway.session.tcp import Session

COPY_BYTES = 32768
ROUNDS = 8
"""How many reads, or pipe loads, one direction may do before the others have their turn."""

_ERROR = select.EPOLLERR | select.EPOLLHUP
_END = _ERROR | select.EPOLLRDHUP
_IN = select.EPOLLIN | _END
_OUT = select.EPOLLOUT | _ERROR
_SPLICE = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset_on_close(sock: socket.socket) -> None:
    """Make closing this socket send a reset (RFC 9293 §3.10.4, abort)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


class Owner(Protocol):
    """Who relays belong to; what all of them share."""

    poller: Poller
    pipes: PipePool

    def relay_ended(self, relay: "Relay", end: str) -> None:
        """A relay is over; ``end`` says why, in the words of the record."""


class Side:
    """One of the two sockets, and the direction that leads *to* it: what waits to be written to it."""

    __slots__ = (
        "count",
        "eof",
        "fd",
        "other",
        "pending",
        "pipe",
        "readable",
        "relay",
        "shut",
        "sock",
        "writes_watched",
    )

    def __init__(self, relay: "Relay", sock: socket.socket) -> None:
        self.relay = relay
        self.sock = sock
        self.fd = sock.fileno()
        self.other = self
        #: bytes that were read from the other side and wait for this one
        self.pending: bytes | memoryview | None = None
        #: the pipe that carries the other side's bytes to this one, while there are many
        self.pipe: Pipe | None = None
        #: bytes read from this side
        self.count = 0
        #: whether a read may find something
        self.readable = True
        #: this side sends no more
        self.eof = False
        #: this side was told that no more comes
        self.shut = False
        self.writes_watched = False

    @property
    def name(self) -> str:
        """``client`` or ``target``, for the record."""
        return "client" if self is self.relay.client else "target"

    def ready(self, events: int) -> None:
        """Move what can be moved; 0 means "go on where you stopped"."""
        if self.relay.closed:
            return
        if events & _IN or not events:
            self.readable = True
            if not self.eof:
                self.relay.pump(self, self.other, events)
            elif events & _ERROR:
                self.relay.check(self)
        if events & _OUT and (self.pending is not None or self.pipe is not None):
            self.relay.pump(self.other, self, 0)


class Relay:
    """Two sides until both directions have ended."""

    __slots__ = ("_owner", "_quiet_since", "_seen", "client", "closed", "session", "target")

    def __init__(
        self, owner: Owner, session: Session, client: socket.socket, target: socket.socket, now: float
    ) -> None:
        self._owner = owner
        self.session = session
        self.client = Side(self, client)
        self.target = Side(self, target)
        self.client.other = self.target
        self.target.other = self.client
        self.closed = False
        self._seen = 0
        self._quiet_since = now

    def start(self, early: bytes, client_readable: bool, target_events: int) -> None:
        """Take over both descriptors, which the poller watches already, the target for writing too.

        ``early`` goes to the target first. ``client_readable`` and ``target_events`` are what was reported of the two
        sockets before and not acted on; edges are reported once.
        """
        client, target = self.client, self.target
        handlers = self._owner.poller.handlers
        handlers[client.fd] = client
        handlers[target.fd] = target
        target.writes_watched = True
        if early:
            client.count = len(early)
            target.pending = early
        if early or client_readable:
            self.pump(client, target, 0)
        if target_events & _IN:
            target.ready(target_events)

    def pump(self, source: Side, sink: Side, events: int) -> None:
        """Move bytes from ``source`` to ``sink`` until the one has none or the other takes none."""
        if self.closed:
            return
        try:
            if sink.pending is not None and not self._flush(source, sink):
                return
            if sink.pipe is not None:
                self._splice(source, sink, sink.pipe)
            else:
                self._copy(source, sink, events)
        except OSError as error:
            self._failed(sink, error)

    def _flush(self, source: Side, sink: Side) -> bool:
        """Write what waits for ``sink``; False while it does not take all."""
        pending = sink.pending
        assert pending is not None
        try:
            sent = sink.sock.send(pending)
        except BlockingIOError:
            sent = 0
        if sent < len(pending):
            sink.pending = memoryview(pending)[sent:]
            self._watch_writes(sink)
            return False
        sink.pending = None
        if source.eof:
            self._finish(source, sink)
            return False
        return True

    def _copy(self, source: Side, sink: Side, events: int) -> None:
        # The end of file that waits behind this data leaves in the same segment, as `_finish` follows at once.
        flags = socket.MSG_MORE if events & select.EPOLLRDHUP else 0
        for _ in range(ROUNDS):
            if not source.readable:
                return
            try:
                data = source.sock.recv(COPY_BYTES)
            except BlockingIOError:
                source.readable = False
                return
            except OSError as error:
                self._failed(source, error)
                return
            size = len(data)
            if not size:
                source.eof = True
                self._finish(source, sink)
                return
            source.count += size
            # A read that was not filled has emptied the socket, unless its end of file is waiting behind the data.
            if size < COPY_BYTES and not events & _END:
                source.readable = False
            try:
                sent = sink.sock.send(data, flags)
            except BlockingIOError:
                sent = 0
            if sent < size:
                sink.pending = memoryview(data)[sent:]
                self._watch_writes(sink)
                return
            if size == COPY_BYTES and self._borrow(sink):
                self._owner.poller.again(source)
                return
        self._owner.poller.again(source)

    def _borrow(self, sink: Side) -> bool:
        sink.pipe = self._owner.pipes.take()
        return sink.pipe is not None

    def _splice(self, source: Side, sink: Side, pipe: Pipe) -> None:
        moved = 0
        for _ in range(ROUNDS):
            if not pipe.level and not self._fill(source, sink, pipe, moved):
                return
            try:
                drained = os.splice(pipe.reader, sink.fd, pipe.level, flags=_SPLICE)
            except BlockingIOError:
                drained = 0
            pipe.level -= drained
            moved += drained
            if pipe.level:
                self._watch_writes(sink)
                if not drained:
                    return
        self._owner.poller.again(source)

    def _fill(self, source: Side, sink: Side, pipe: Pipe, moved: int) -> bool:
        """Load the empty pipe; False when there is nothing to load, and then the pipe may go back to the pool."""
        if source.readable and not source.eof:
            try:
                loaded = os.splice(source.fd, pipe.writer, PIPE_BYTES, flags=_SPLICE)
            except BlockingIOError:
                source.readable = False
            except OSError as error:
                self._failed(source, error)
                return False
            else:
                if loaded:
                    source.count += loaded
                    pipe.level = loaded
                    return True
                source.eof = True
        if source.eof or moved < COPY_BYTES:
            self._return_pipe(sink)
        if source.eof:
            self._finish(source, sink)
        return False

    def _return_pipe(self, sink: Side) -> None:
        if sink.pipe is not None:
            self._owner.pipes.give_back(sink.pipe)
            sink.pipe = None

    def _watch_writes(self, sink: Side) -> None:
        """From the first short write on, hear when the sink takes more; most sessions never need to."""
        if not sink.writes_watched:
            sink.writes_watched = True
            self._owner.poller.change(sink.fd, READ_WRITE)

    def _finish(self, source: Side, sink: Side) -> None:
        """``source`` has ended and all of it was written: pass the end on; close when both directions have ended."""
        if source.shut:
            self._close(f"the {sink.name} closed")
            return
        sink.shut = True
        try:
            sink.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise

    def check(self, side: Side) -> None:
        """An error event after the end of file: a reset, if the socket holds one."""
        number = side.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._failed(side, OSError(number, os.strerror(number)))

    def _failed(self, side: Side, error: OSError) -> None:
        if error.errno in (errno.ECONNRESET, errno.EPIPE):
            self.cut(f"reset by the {side.name}")
        else:
            self.cut(f"{side.name}: {os.strerror(error.errno or 0)}")

    def rest(self, now: float) -> float:
        """For how many seconds nothing has moved, as seen from the calls of this; a relay at rest keeps no pipe."""
        total = self.client.count + self.target.count
        if total != self._seen:
            self._seen = total
            self._quiet_since = now
            return 0.0
        for side in (self.client, self.target):
            if side.pipe is not None and not side.pipe.level:
                self._return_pipe(side)
        return now - self._quiet_since

    def cut(self, end: str) -> None:
        """End both connections with a reset, so that neither peer takes what it got for the whole."""
        if self.closed:
            return
        for side in (self.client, self.target):
            reset_on_close(side.sock)
        self._close(end)

    def _close(self, end: str) -> None:
        self.closed = True
        for side in (self.client, self.target):
            self._return_pipe(side)
            side.pending = None
            self._owner.poller.close_later(side.sock)
        self._owner.relay_ended(self, end)
        # No cycle is left for the collector to find; nobody looks behind `closed`.
        del self.client.other, self.target.other, self.client, self.target
