"""Records of sessions to operators who look on: from the workers by a stream socket each, as long as somebody looks."""

import socket
from collections.abc import Callable, Iterable
from typing import Annotated

import msgspec

from gateway.control.protocol import ControlError, Tail
from gateway.control.selection import Selection
from gateway.control.server import Reply
from gateway.session.record import Record

READ_BYTES = 1 << 16
MAX_LINE = 1 << 16
"""A record is far shorter: a worker that writes more without a line end is not listened to any more."""

_records = msgspec.json.Decoder(Record)


class Lost(msgspec.Struct, frozen=True):
    """What stands in place of records that were not written."""

    lost: Annotated[int, msgspec.Meta(ge=0)]


_losses = msgspec.json.Decoder(Lost)


class _Reader:
    """An operator."""

    def __init__(self, reply: Reply, selection: Selection) -> None:
        self.reply = reply
        self._selection = selection
        self._lost = 0

    def take(self, record: Record) -> None:
        """A record, if it is one of those that were asked for."""
        if self._selection.matches(record):
            self.lose(0)
            self._lost += not self.reply.row(record)

    def lose(self, count: int) -> None:
        """So many never came."""
        self._lost += count
        if self._lost and self.reply.row(Lost(self._lost)):
            self._lost = 0


class _Source:
    """One worker."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""


class Tailing:
    """All who look on."""

    def __init__(
        self,
        watch: Callable[[socket.socket, Callable[[], None]], None],
        forget: Callable[[socket.socket], None],
        start: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        """``start`` and ``stop`` are called when the first one comes and the last one has gone."""
        self._watch = watch
        self._forget = forget
        self._start = start
        self._stop = stop
        self._readers: list[_Reader] = []
        self._sources: set[_Source] = set()

    @property
    def is_on(self) -> bool:
        """Whether somebody looks on."""
        return bool(self._readers)

    def add(self, request: Tail, reply: Reply) -> None:
        """Somebody wants to look on. Raises ControlError for a filter that can not be understood."""
        if request.filter.session == "*":
            raise ControlError("'*' is for sockctl kill")
        reader = _Reader(reply, Selection.of(request.filter))
        reply.on_close = lambda: self._remove(reader)
        self._readers.append(reader)
        if len(self._readers) == 1:
            self._start()

    def _remove(self, reader: _Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)
        if not self._readers:
            for source in tuple(self._sources):
                self._drop(source)
            self._stop()

    def open(self) -> socket.socket:
        """A worker's end of a new stream, which the caller passes on and closes. Raises OSError."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        mine.setblocking(False)
        source = _Source(mine)
        self._sources.add(source)
        self._watch(mine, lambda: self._hear(source))
        return theirs

    def _hear(self, source: _Source) -> None:
        try:
            data = source.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, source.rest = (source.rest + data).split(b"\n")
        for line in lines:
            self._pass_on(line)
        if not data or len(source.rest) > MAX_LINE:
            self._drop(source)

    def _pass_on(self, line: bytes) -> None:
        try:
            if line.startswith(b'{"lost":'):
                count = _losses.decode(line).lost
                self._each(lambda reader: reader.lose(count))
            else:
                record = _records.decode(line)
                self._each(lambda reader: reader.take(record))
        except (ValueError, RecursionError):
            pass  # no worker of ours writes this

    def _each(self, tell: Callable[[_Reader], None]) -> None:
        for reader in tuple(self._readers):
            tell(reader)

    def _drop(self, source: _Source) -> None:
        if source in self._sources:
            self._sources.discard(source)
            self._forget(source.sock)
            source.sock.close()

    def end(self) -> None:
        """The daemon ends."""
        for reader in tuple(self._readers):
            reader.reply.done({})
            self._remove(reader)

    def sockets(self) -> Iterable[socket.socket]:
        """Those that a new process must not keep."""
        return tuple(source.sock for source in self._sources)
