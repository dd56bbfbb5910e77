"""The listening sockets: one a worker for each of the inside's addresses, as these come and go.

They stay open here, so that what waits in the queue of a worker that died is served by its successor. Whoever else has
one can shut it down for all (shutdown(2)), and so can root from outside (``ss -K``): it is then replaced.
"""

import itertools
import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gateway.address import Address, Endpoint
from gateway.daemon.messages import MAX_LISTENERS, ListenAddress
from gateway.errors import StartError
from gateway.net.sockets import endpoint_of, inherited, listening
from gateway.netlink.model import is_link_local

BACKLOG = 4096
LET_GO_SECONDS = 30.0
"""So long a socket that was given up may still be open in a worker, which is busy or stopped."""


Opener = Callable[[Endpoint, int, bool, str, int], socket.socket]


class _Opened(NamedTuple):
    """The sockets of one address, a worker each, and their number, which is never used twice."""

    number: int
    sockets: tuple[socket.socket, ...]


class Listeners:
    """The sockets that the workers accept from."""

    def __init__(
        self,
        workers: int,
        port: int,
        device: str,
        trouble: Callable[[str], None],
        protocol: str = "tcp",
        limit: int = MAX_LISTENERS,
    ) -> None:
        """``device`` is the interface that clients must come in by, empty for any; ``trouble`` hears of failures.

        ``protocol`` is for its words: whether sockets listen or take datagrams is up to the `opener`. There are at most
        ``limit`` for each worker.
        """
        self._limit = limit
        self._workers = workers
        self._suffix = "" if protocol == "tcp" else f"/{protocol}"
        #: as it is written, and as it is
        self._written_port = self._port = port
        self._device = device
        self._trouble = trouble
        self._given = False
        #: who opens a socket; the arguments, and OSError, are those of `gateway.net.sockets.listening`
        self.opener: Opener = listening
        self._numbers = itertools.count(1)
        self._open: dict[ListenAddress, _Opened] = {}
        self._failed: dict[ListenAddress, str] = {}
        #: those that are open and deaf, and why nothing else could be opened in their place, in words
        self._deaf: dict[ListenAddress, str] = {}
        self._left_out = 0
        #: addresses and ports that were given up, and until when a worker may still hold them
        self._given_up: dict[Endpoint, float] = {}

    def _let_go(self, place: ListenAddress) -> None:
        now = time.monotonic()
        self._given_up = {endpoint: until for endpoint, until in self._given_up.items() if until > now}
        self._given_up[Endpoint(place.address, self._port)] = now + LET_GO_SECONDS

    def _was_ours(self, address: Address) -> bool:
        """Whether workers may still hold this address: they close it when they hear that it was given up."""
        now = time.monotonic()
        held = (one.address for one, until in self._given_up.items() if one.port == self._port and until > now)
        return _overlaps(address, held)

    def open_first(self, wanted: Sequence[ListenAddress], port: int | None = None) -> None:
        """Open them all; raises StartError when one can not be opened, and then none is.

        ``port`` counts in place of the one that is written, if that is any free one.
        """
        self._port = self._port or port or 0
        for place in self._bounded(wanted):
            try:
                self._add(place)
            except OSError as error:
                self.close()
                raise StartError(f"cannot listen on {self._words(place)}: {error.strerror}") from None

    def take(self, sockets: Sequence[socket.socket]) -> None:
        """Use these, which listen already (sd_listen_fds(3)), and no others, for all workers together."""
        self._given = True
        for index, sock in enumerate(sockets):
            inherited(sock)
            opened = _Opened(next(self._numbers), (sock,) * self._workers)
            self._open[ListenAddress(endpoint_of(sock.getsockname()).address, -index)] = opened

    def move(self, port: int, device: str, wanted: Sequence[ListenAddress], free: int = 0) -> "Move":
        """Open what other settings want beside what there is. Raises StartError, and then all is as it was.

        What an interface has is not among it, unless it is another one: its addresses come and go by themselves.
        ``free`` counts in place of the port that is written, if that is any free one and another than before.
        """
        is_same = (port, device) == (self._written_port, self._device)
        move = Move(self._port if port == self._written_port else port or free, device, {}, replaces=not is_same)
        if self._given or (is_same and device):
            return move._replace(replaces=False)
        before = self._port, self._device
        self._port, self._device = move.port, device
        try:
            for place in self._bounded(wanted):
                if not is_same or place not in self._open:
                    is_ours = self._port == before[0] and _overlaps(place.address, (one.address for one in self._open))
                    move.opened[place] = self._opened(place, is_ours=is_ours)
        except OSError as error:
            move.close()
            raise StartError(f"cannot listen on {self._words(place)}: {error.strerror}") from None
        finally:
            move = move._replace(port=self._port)
            self._port, self._device = before
        return move

    def complete(self, move: "Move", written_port: int) -> None:
        """The new ones are those that there are now; the old ones are closed if it replaces them."""
        if move.replaces:
            self.close()
            self._written_port, self._port, self._device = written_port, move.port, move.device
        self._open.update(move.opened)

    def adjust(self, wanted: Sequence[ListenAddress]) -> bool:
        """Open what is missing, close what is not wanted any more; whether anything changed."""
        if self._given:
            return False
        before = set(self._open)
        for place in before.difference(wanted):
            self._let_go(place)
            _close(self._open.pop(place).sockets)
        for place in self._bounded(wanted):
            if place not in self._open:
                self._try(place)
        self._failed = {
            place: why for place, why in self._failed.items() if place in wanted and place not in self._open
        }
        return set(self._open) != before

    def revive(self) -> bool:
        """Put another socket in place of each that was shut down; whether there was any. To be called now and then.

        No event tells of it here, and all that waited in its queue has been refused by the kernel already.
        """
        deaf = [place for place, opened in self._open.items() if not all(map(_listens, opened.sockets))]
        self._deaf = {place: fault for place, fault in self._deaf.items() if place in deaf}
        revived = [place for place in deaf if self._revive(place)]
        return bool(revived)

    def _revive(self, place: ListenAddress) -> bool:
        sockets = self._open[place].sockets
        where = self._named(endpoint_of(sockets[0].getsockname()))
        try:
            sockets = _listening_again(sockets) if self._given else self._replaced(place, sockets)
        except OSError as error:
            fault = f"{where} was shut down by somebody, and can not be opened again: {error.strerror}"
            if self._deaf.get(place) != fault:
                self._deaf[place] = fault
                self._trouble(f"{fault}; it is tried again")
            return False
        self._deaf.pop(place, None)
        self._open[place] = _Opened(next(self._numbers), sockets)
        self._trouble(f"{where} was shut down by somebody; it is opened again")
        return True

    def _replaced(self, place: ListenAddress, sockets: Sequence[socket.socket]) -> tuple[socket.socket, ...]:
        """The same with new ones for those that are deaf, which are closed. Raises OSError."""
        new: dict[socket.socket, socket.socket] = {}
        try:
            for sock in sockets:
                if not _listens(sock):
                    new[sock] = self._listening(place, BACKLOG, shared=True)
        except OSError:
            _close(new.values())
            raise
        _close(new)
        return tuple(new.get(sock, sock) for sock in sockets)

    def _bounded(self, wanted: Sequence[ListenAddress]) -> Sequence[ListenAddress]:
        """As many as can be handed to a worker; those that are open already go first."""
        left_out = max(0, len(wanted) - self._limit)
        if left_out != self._left_out:
            self._left_out = left_out
            if left_out:
                where = self._device or "[internal] addresses"
                self._trouble(f"{where} has {len(wanted)} addresses: {left_out} of them are not listened on")
        return sorted(wanted, key=lambda place: place not in self._open)[: self._limit]

    @property
    def incomplete(self) -> bool:
        """Whether some could not be opened, so that another try may help."""
        return bool(self._failed)

    @property
    def failures(self) -> tuple[str, ...]:
        """Where clients can not connect though they should, and why."""
        failed = (f"cannot listen on {self._words(place)}: {why}" for place, why in self._failed.items())
        return (*failed, *self._deaf.values())

    def _try(self, place: ListenAddress) -> None:
        try:
            self._add(place)
        except OSError as error:
            why = error.strerror or "unknown"
            if self._failed.get(place) != why:
                self._failed[place] = why
                self._trouble(f"cannot listen on {self._words(place)}: {why}; it is tried again")
        else:
            self._failed.pop(place, None)

    def _add(self, place: ListenAddress) -> None:
        self._open[place] = self._opened(place)

    def _opened(self, place: ListenAddress, *, is_ours: bool = False) -> _Opened:
        """One socket is bound alone first: with SO_REUSEPORT a second daemon of the same user would be let in.

        Not so if the port ``is_ours`` already.
        """
        if not is_ours and not self._was_ours(place.address):
            probe = self._listening(place, 0, shared=False)
            self._port = probe.getsockname()[1]
            probe.close()
        sockets: list[socket.socket] = []
        try:
            for _ in range(self._workers):
                sockets.append(self._listening(place, BACKLOG, shared=True))
        except OSError:
            _close(sockets)
            raise
        return _Opened(next(self._numbers), tuple(sockets))

    def _listening(self, place: ListenAddress, backlog: int, shared: bool) -> socket.socket:
        scope = place.interface if is_link_local(place.address) else 0
        return self.opener(Endpoint(place.address, self._port), backlog, shared, self._device, scope)

    def _words(self, place: ListenAddress) -> str:
        return self._named(Endpoint(place.address, self._port))

    def _named(self, endpoint: Endpoint) -> str:
        where = f"{endpoint}{self._suffix}"
        return f"{where} of {self._device}" if self._device else where

    @property
    def port(self) -> int:
        """Theirs, as it is."""
        return self._port

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the open sockets, in the order of `of_worker`."""
        return tuple(opened.number for opened in self._open.values())

    def of_worker(self, index: int) -> list[socket.socket]:
        """The open sockets of a worker; the first one is 0."""
        return [opened.sockets[index] for opened in self._open.values()]

    @property
    def sockets(self) -> list[socket.socket]:
        """All of them."""
        return [sock for opened in self._open.values() for sock in opened.sockets]

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where clients connect now."""
        return [endpoint_of(sock.getsockname()) for sock in self.of_worker(0)]

    def close(self) -> None:
        """Close them all here; workers keep theirs."""
        for place in self._open:
            self._let_go(place)
        _close(self.sockets)
        self._open.clear()


class Move(NamedTuple):
    """The sockets of other settings, until it is sure that they are wanted."""

    port: int
    device: str
    opened: dict[ListenAddress, _Opened]
    #: whether nothing of what was open before is wanted
    replaces: bool = True

    def close(self) -> None:
        """They are not wanted."""
        for opened in self.opened.values():
            _close(opened.sockets)


def _overlaps(address: Address, others: Iterable[Address]) -> bool:
    """Whether one of these is the same, or has it: one of a family's wildcards has all of them."""
    return any(address == other or not address.number or not other.number for other in others)


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _listens(sock: socket.socket) -> bool:
    if sock.type == socket.SOCK_DGRAM:
        # shutdown(2) fails on one that is not connected, and yet nothing can be sent by it any more.
        poll = select.poll()
        poll.register(sock, select.POLLRDHUP)
        return not poll.poll(0)
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _listening_again(sockets: tuple[socket.socket, ...]) -> tuple[socket.socket, ...]:
    """The same that were given, which nobody here can replace. Raises OSError."""
    for sock in set(sockets):
        if not _listens(sock):
            sock.listen(BACKLOG)
            # One that was shut down twice, or from outside, would give all that it accepts its own end. This clears it.
            sock.shutdown(socket.SHUT_RDWR)
            sock.listen(BACKLOG)
    return sockets
