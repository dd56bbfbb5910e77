"""The transparent relay between two connected sockets.

A direction copies with recv and send while its traffic is small. One that fills a whole read borrows a pipe and moves
to splice(2), so that bulk data never enters user space; it gives the pipe back when it falls quiet. At most one read
(or one pipe) is held for a slow receiver, whose source is not read meanwhile. Each end of file is passed on by itself,
so that half-closed connections work; a reset is passed on as a reset, so that a cut transfer does not look complete.
"""

import errno
import os
import select
import socket
import struct
from typing import Protocol

from gateway.net.loop import READ_WRITE, Poller
from gateway.net.pipes import PIPE_BYTES, Pipe, PipePool
from gateway.net.sockets import Socket, hurry
from gateway.session.tcp import Session

COPY_BYTES = 32768
ROUNDS = 8
"""How many reads, or pipe loads, one direction may do before the others have their turn."""

_ERROR = select.EPOLLERR | select.EPOLLHUP
_RDHUP = select.EPOLLRDHUP
_URGENT = select.EPOLLPRI
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_UNUSUAL = _ERROR | _RDHUP | _URGENT
_ENDED = _RDHUP | select.EPOLLHUP
"""Without an error: this side sends no more; with the second, it also takes no more (epoll_ctl(2))."""
_RARE = _UNUSUAL & ~_ENDED
_UNKNOWN = select.EPOLLHUP
"""For reading without a fresh event: an end of file may wait behind the data, as its edge may be gone."""

_MORE = socket.MSG_MORE
_SPLICE = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Owner(Protocol):
    """Who relays belong to; what all of them share."""

    poller: Poller
    pipes: PipePool

    def relay_ended(self, relay: "Relay", end: str) -> None:
        """A relay is over; ``end`` says why, in the words of the record."""


def reset_on_close(sock: Socket) -> None:
    """Make closing this socket send a reset (RFC 9293 §3.10.5)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


class Side:
    """One of the two sockets, and the direction that leads *to* it: what waits to be written to it."""

    __slots__ = (
        "count",
        "delays",
        "eof",
        "fd",
        "held",
        "other",
        "pending",
        "pipe",
        "readable",
        "relay",
        "shut",
        "sock",
        "urgent",
        "watches_writes",
    )

    other: "Side"

    def __init__(self, relay: "Relay", sock: Socket, is_target: bool) -> None:
        self.relay = relay
        self.sock = sock
        self.fd = sock.fileno()
        #: bytes that were read from the other side and wait for this one
        self.pending: bytes | memoryview | None = None
        #: the pipe that carries the other side's bytes to this one, while there are many
        self.pipe: Pipe | None = None
        #: whether there is either of the two
        self.held = False
        #: bytes read from this side
        self.count = 0
        #: whether a read may find something that no event will tell of again
        self.readable = False
        #: whether this side has sent urgent data; splice(2) would stop in front of it for ever
        self.urgent = False
        #: this side sends no more
        self.eof = False
        #: this side was told that no more comes
        self.shut = False
        #: whether the poller tells when this side takes bytes again
        self.watches_writes = is_target
        #: whether small segments to this side may wait (Nagle's algorithm); the listener's option spares the client
        self.delays = is_target

    @property
    def name(self) -> str:
        """``client`` or ``target``, for the record."""
        return "client" if self is self.relay.client else "target"

    @property
    def waiting(self) -> int:
        """Bytes that were read for this side and not yet written to it."""
        return (0 if self.pending is None else len(self.pending)) + (0 if self.pipe is None else self.pipe.level)

    def ready(self, events: int) -> None:
        """Move what can be moved. The common case is handled right here: a small message and a sink that takes it."""
        sink = self.other
        if events & _RARE or sink.held or self.held or self.eof:
            self.relay.handle(self, events)
            return
        if not events & _IN:
            return
        try:
            data = self.sock.recv(COPY_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.relay.failed(self, error)
            return
        size = len(data)
        self.count += size
        if sink.delays and self.count != size and size:
            # The first message of a session has nothing to wait for; many sessions have no second one.
            self.relay.hurry(sink)
        ending = events & _ENDED
        if ending and size < COPY_BYTES:
            # The end of file had arrived before this short read, so it came with it: see `Relay._copy`.
            self.eof = True
        try:
            if not size:
                sent = 0
            elif ending:
                sent = sink.sock.send(data, _MORE)
            else:
                sent = sink.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.relay.failed(sink, error)
            return
        if ending or sent != size or size == COPY_BYTES or not size:
            self.relay.moved(self, sink, data, sent)

    def resume(self) -> None:
        """Go on reading after the others had their turn."""
        if not self.relay.closed:
            self.readable = True
            self.relay.pump(self, self.other, _UNKNOWN)


class Relay:
    """Two sides until both directions have ended."""

    __slots__ = ("_owner", "_quiet_since", "_seen", "client", "closed", "session", "target")

    def __init__(self, owner: Owner, session: Session, client: Socket, target: Socket, now: float) -> None:
        self._owner = owner
        self.session = session
        near = self.client = Side(self, client, False)
        far = self.target = Side(self, target, True)
        near.other, far.other = far, near
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
        client.readable = client_readable
        if early:
            client.count = len(early)
            target.pending = early
            target.held = True
        if early or client_readable:
            self.pump(client, target, _UNKNOWN)
        if target_events & ~_OUT and not self.closed:
            target.ready(target_events)

    def handle(self, side: Side, events: int) -> None:
        """Events in all their combinations."""
        if events & _URGENT:
            side.urgent = True
        if events & (_IN | _UNUSUAL):
            side.readable = True
            if not side.eof:
                self.pump(side, side.other, events)
            elif events & _ERROR:
                self._check(side)
        if events & _ERROR and not self.closed and side.other.held:
            # Nothing is read from this side while the other takes nothing, so that its reset must be looked for.
            self._check(side)
        if events & (_OUT | _ERROR) and not self.closed and side.held:
            self.pump(side.other, side, _UNKNOWN)

    def pump(self, source: Side, sink: Side, events: int) -> None:
        """Move bytes from ``source`` to ``sink`` until the one has none or the other takes none."""
        if sink.delays:
            self.hurry(sink)
        try:
            if sink.pending is not None and not self._flush(source, sink):
                return
            if sink.pipe is not None and source.urgent and not sink.pipe.level:
                self._return_pipe(sink)
            if sink.pipe is not None:
                self._splice(source, sink, sink.pipe)
            else:
                self._copy(source, sink, events)
        except OSError as error:
            self.failed(sink, error)

    def hurry(self, sink: Side) -> None:
        """Let no small segment to this side wait any more."""
        sink.delays = False
        hurry(sink.sock)

    def _flush(self, source: Side, sink: Side) -> bool:
        """Write what waits for ``sink``; False while it does not take all, and when nothing can follow."""
        pending = sink.pending
        assert pending is not None
        try:
            sent = sink.sock.send(pending)
        except BlockingIOError:
            sent = 0
        if sent < len(pending):
            self._hold(sink, memoryview(pending)[sent:])
            return False
        sink.pending = None
        sink.held = sink.pipe is not None
        if source.eof:
            self._finish(source, sink)
            return False
        return True

    def _copy(self, source: Side, sink: Side, events: int) -> None:
        ending = events & _UNUSUAL == _RDHUP
        for _ in range(ROUNDS):
            if not source.readable:
                return
            try:
                data = source.sock.recv(COPY_BYTES)
            except BlockingIOError:
                source.readable = False
                return
            except OSError as error:
                self.failed(source, error)
                return
            size = len(data)
            source.count += size
            if size < COPY_BYTES:
                # A short read has emptied the socket. If the end of file had arrived before it, that came with it,
                # and leaves in the segment of the last bytes; with an error or urgent data, at whose mark reads end,
                # one more read tells.
                source.readable = bool(events & _UNUSUAL) or source.urgent
                source.eof = ending or not size
            try:
                sent = sink.sock.send(data, _MORE if ending else 0) if size else 0
            except BlockingIOError:
                sent = 0
            if not self.moved(source, sink, data, sent):
                return
        self._owner.poller.again(source)

    def moved(self, source: Side, sink: Side, data: bytes, sent: int) -> bool:
        """``data`` was read and ``sent`` bytes of it were written; whether to go on reading at once."""
        size = len(data)
        if not size:
            source.eof = True
        if sent < size:
            self._hold(sink, memoryview(data)[sent:])
            source.readable = True
            return False
        if source.eof:
            self._finish(source, sink)
            return False
        if size == COPY_BYTES:
            source.readable = True
            if not source.urgent:
                sink.pipe = self._owner.pipes.take()
                sink.held = sink.pipe is not None
            self._owner.poller.again(source)
            return False
        return True

    def _hold(self, sink: Side, rest: memoryview) -> None:
        sink.pending = rest
        sink.held = True
        self._watch_writes(sink)

    def _splice(self, source: Side, sink: Side, pipe: Pipe) -> None:
        moved = 0
        for _ in range(ROUNDS):
            if not pipe.level:
                if source.urgent:
                    break
                if not self._fill(source, sink, pipe, moved):
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
                self.failed(source, error)
                return False
            else:
                if loaded:
                    source.count += loaded
                    pipe.level = loaded
                    return True
                # In front of urgent data splice(2) gives nothing too.
                source.eof = not source.sock.recv(1, socket.MSG_PEEK)
                if not source.eof:
                    source.urgent = True
                    self._owner.poller.again(source)
                    return False
        if source.eof or moved < COPY_BYTES:
            self._return_pipe(sink)
        if source.eof:
            self._finish(source, sink)
        return False

    def _return_pipe(self, sink: Side) -> None:
        if sink.pipe is not None:
            self._owner.pipes.give_back(sink.pipe)
            sink.pipe = None
            sink.held = sink.pending is not None

    def _watch_writes(self, sink: Side) -> None:
        """From the first short write on, hear when the sink takes more; most sessions never need to."""
        if not sink.watches_writes:
            sink.watches_writes = True
            self._owner.poller.change(sink.fd, READ_WRITE)

    def _finish(self, source: Side, sink: Side) -> None:
        """``source`` has ended and all of it was written: pass the end on; close when both directions have ended."""
        if source.shut:
            self._close("the client closed" if sink is self.client else "the target closed")
            return
        sink.shut = True
        try:
            sink.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise

    def _check(self, side: Side) -> None:
        """An error event after the end of file: a reset, if the socket holds one."""
        number = side.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self.failed(side, OSError(number, os.strerror(number)))

    def failed(self, side: Side, error: OSError) -> None:
        """A system call on this side's socket failed."""
        if error.errno in (errno.ECONNRESET, errno.EPIPE):
            self.cut(f"reset by the {side.name}")
        else:
            self.cut(f"{side.name}: {os.strerror(error.errno or 0)}")

    def rest(self, now: float) -> float:
        """For how many seconds nothing has moved, as seen from the calls of this; a relay at rest keeps no pipe."""
        total = self.client.count + self.target.count - self.client.waiting - self.target.waiting
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
        reset_on_close(self.client.sock)
        reset_on_close(self.target.sock)
        self._close(end)

    def _close(self, end: str) -> None:
        client, target = self.client, self.target
        self.closed = True
        close_later = self._owner.poller.close_later
        if client.held or target.held:
            self._return_pipe(client)
            self._return_pipe(target)
        close_later(client.fd, client.sock)
        close_later(target.fd, target.sock)
        self._owner.relay_ended(self, end)
        # No cycle is left for the collector to find; nobody looks behind `closed`.
        del client.other, target.other, self.client, self.target
