"""All doors of the daemon: the listening sockets of the workers, and those of the resolvers, by UDP and by TCP."""

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.address import Endpoint
from gateway.config.settings import Settings
from gateway.daemon.listeners import Listeners, Move
from gateway.daemon.messages import MAX_LISTENERS, ListenAddress, Network
from gateway.errors import StartError
from gateway.net.sockets import datagram_listening

ATTEMPTS = 10
"""At a free port: one that UDP has free may be somebody's by TCP."""


class Moves(NamedTuple):
    """The doors of other settings, until it is sure that they are wanted."""

    sessions: Move
    datagrams: Move
    streams: Move

    def close(self) -> None:
        """They are not wanted."""
        for move in self:
            move.close()


class Doors:
    """Three sets of sockets that come and go with the host's addresses; ``sessions`` closes before the others."""

    def __init__(self, settings: Settings, workers: int, resolvers: int, trouble: Callable[[str], None]) -> None:
        """For so many processes; ``trouble`` hears of failures."""
        self._settings = settings
        self._resolvers = resolvers
        self._trouble = trouble
        self.sessions = Listeners(workers, settings.internal.port, settings.internal.interface, trouble)
        self.datagrams, self.streams = self._dns_listeners()

    def _dns_listeners(self) -> tuple[Listeners, Listeners]:
        port, device, limit = self._settings.resolver.port, dns_device(self._settings), MAX_LISTENERS // 2
        datagrams = Listeners(self._resolvers, port, device, self._trouble, "udp", limit)
        datagrams.opener = _datagrams
        return datagrams, Listeners(self._resolvers, port, device, self._trouble, limit=limit)

    @property
    def all(self) -> tuple[Listeners, Listeners, Listeners]:
        """In the order in which they are opened."""
        return self.sessions, self.datagrams, self.streams

    def open_first(self, network: Network, given: tuple[socket.socket, ...] = ()) -> None:
        """Open them all; ``given`` take the place of the workers'. Raises StartError, and then none is open."""
        try:
            if given:
                self.sessions.take(given)
            else:
                self.sessions.open_first(network.listen)
            self._open_dns(self._places(self._settings, network))
        except StartError:
            self.close()
            raise

    def _open_dns(self, places: Sequence[ListenAddress]) -> None:
        """One port for both; where any free one is wanted, one that is free for both. Raises StartError."""
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                self.datagrams.open_first(places)
                self.streams.open_first(places, self.datagrams.port)
            except StartError:
                if self._settings.resolver.port or not attempts_left:
                    raise
                self.datagrams.close()
                self.datagrams, self.streams = self._dns_listeners()
            else:
                return

    def _places(self, settings: Settings, network: Network) -> tuple[ListenAddress, ...]:
        return dns_places(settings, network) if self._resolvers else ()

    def move(self, settings: Settings, network: Network, *, accepts: bool) -> Moves:
        """Open what other settings want; without ``accepts`` nothing for sessions.

        Raises StartError, and then all is as it was.
        """
        internal, port, device = settings.internal, settings.resolver.port, dns_device(settings)
        moved: list[Move] = []
        try:
            moved.append(self.sessions.move(internal.port, internal.interface, network.listen if accepts else ()))
            places = self._places(settings, network)
            moved.append(self.datagrams.move(port, device, places))
            moved.append(self.streams.move(port, device, places, moved[-1].port))
        except StartError:
            for move in moved:
                move.close()
            raise
        return Moves(*moved)

    def complete(self, moves: Moves, settings: Settings, network: Network, *, accepts: bool) -> None:
        """What was opened for these settings counts from now on."""
        self._settings = settings
        if accepts:
            self.sessions.complete(moves.sessions, settings.internal.port)
        else:
            moves.sessions.close()
        self.datagrams.complete(moves.datagrams, settings.resolver.port)
        self.streams.complete(moves.streams, settings.resolver.port)
        if accepts:
            self.sessions.adjust(network.listen)
        self._adjust_dns(network)

    def _adjust_dns(self, network: Network) -> bool:
        places = self._places(self._settings, network)
        changed = [listeners.adjust(places) for listeners in (self.datagrams, self.streams)]
        return any(changed)

    def adjust(self, network: Network, *, accepts: bool) -> bool:
        """Open what is missing and close what is not wanted, by interfaces; whether anything changed."""
        changed = False
        if accepts and self._settings.internal.interface:
            changed = self.sessions.adjust(network.listen)
        if dns_device(self._settings):
            changed = self._adjust_dns(network) or changed
        return changed

    def revive(self) -> bool:
        """See `Listeners.revive`."""
        revived = [listeners.revive() for listeners in self.all]
        return any(revived)

    @property
    def incomplete(self) -> bool:
        """See `Listeners.incomplete`."""
        return any(listeners.incomplete for listeners in self.all)

    @property
    def failures(self) -> tuple[str, ...]:
        """See `Listeners.failures`."""
        return tuple(dict.fromkeys(fault for listeners in self.all for fault in listeners.failures))

    @property
    def numbers(self) -> tuple[tuple[int, ...], ...]:
        """What changes when any socket does."""
        return tuple(listeners.numbers for listeners in self.all)

    @property
    def dns_numbers(self) -> tuple[int, ...]:
        """The numbers of a resolver's sockets, in the order of `of_resolver`."""
        streams, datagrams = self.streams.numbers, self.datagrams.numbers
        return (*(2 * number for number in datagrams), *(2 * number + 1 for number in streams))

    def of_resolver(self, index: int) -> list[socket.socket]:
        """The open sockets of a resolver; the first one is 0."""
        return [*self.datagrams.of_worker(index), *self.streams.of_worker(index)]

    @property
    def sockets(self) -> list[socket.socket]:
        """All of them."""
        return [sock for listeners in self.all for sock in listeners.sockets]

    def close(self) -> None:
        """Close them all here; the children keep theirs."""
        for listeners in self.all:
            listeners.close()


def dns_device(settings: Settings) -> str:
    """The interface that questions must come in by; empty for any."""
    return "" if settings.resolver.addresses else settings.internal.interface


def dns_places(settings: Settings, network: Network) -> tuple[ListenAddress, ...]:
    """Where questions are taken: as it is written, else where clients connect."""
    if not settings.resolver.zone:
        return ()
    if settings.resolver.addresses:
        return tuple(map(ListenAddress, settings.resolver.addresses))
    return network.listen


def _datagrams(endpoint: Endpoint, _backlog: int, shared: bool, device: str, scope: int) -> socket.socket:
    return datagram_listening(endpoint, shared, device, scope)
