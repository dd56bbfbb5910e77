"""Queries by UDP, answered in batches: the fast path of the resolver, which knows bytes and no messages.

One system call receives up to 64 queries, another one sends the replies. In between a query costs two look-ups: who it
is from, and whether these very bytes were answered a moment ago. Whatever else is handed on, and is answered through
its `Asker`: at once, then it goes out with the batch, or later, then with all others of the same round of the loop.

Nothing waits here for longer: a reply that the kernel does not take is lost, as the network may lose it. Who may not
ask hears nothing, so that an address that was forged gets nothing from us.
"""

import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from gateway.dns.clients import Client
from gateway.dns.hot import FRESH, GONE, Hot
from gateway.net.batches import BATCH, PLACES, SLOT, Batches
from gateway.net.loop import READ, Poller

ROUNDS = 8
"""Batches one after the other, before the others on the loop have their turn."""

STRANGERS = 4096
"""Addresses that may not ask and are remembered, so that they cost little when they go on asking."""

_NUMBERS = range(BATCH)
_NO_ID = bytes(2)


class Asker:
    """Who sent a query by UDP; the reply finds its way through it, once."""

    __slots__ = ("_name", "_owner")

    is_stream = False

    def __init__(self, owner: "Datagrams", name: bytes) -> None:
        self._owner: Datagrams | None = owner
        self._name = name

    def reply(self, data: bytes) -> None:
        """The whole message. Another one, and any after the end of the socket, is dropped silently."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.reply(self, self._name, data)


class Outbox:
    """Replies that are given later than with their batch: those of one round of the loop go out by few system calls."""

    __slots__ = ("_batches", "_poller", "_replies", "lost")

    def __init__(self, batches: Batches, poller: Poller) -> None:
        self._batches = batches
        self._poller = poller
        self._replies: list[tuple[bytes, bytes]] = []
        #: replies that the kernel did not take
        self.lost = 0

    def put(self, name: bytes, data: bytes) -> None:
        """A reply of at most ``SLOT`` bytes to this socket address, before the loop waits again."""
        if not self._replies:
            self._poller.at_end(self)
        self._replies.append((name, data))

    def resume(self) -> None:
        """Send them: as `Resumable`, when the round is over. Not while slots of the batches are in use."""
        replies = self._replies
        if not replies:
            return
        self._replies = []
        for first in range(0, len(replies), BATCH):
            self.lost += self._batches.send(replies[first : first + BATCH])

    def drop(self) -> None:
        """Nothing goes out any more."""
        self._replies = []


class Desk(NamedTuple):
    """What the sockets of a process share, and whom they tell."""

    #: by the 4 or 16 bytes of their addresses; whoever knows clients puts them there, and takes them out
    clients: dict[bytes, Client]
    #: one who is not there: puts him there, or gives None for one who may not ask
    client_of: Callable[[bytes, float], Client | None]
    #: a client whose tokens are spent: gives him new ones when it is time; False: this query is one too many
    admits: Callable[[Client, float], bool]
    #: a query without a hot answer: the message, who sent it, and when
    missed: Callable[[bytes, Client, Asker, float], None]
    #: a hot answer was sent for this query, and should be asked for anew before it expires
    refresh: Callable[[bytes, Client, float], None]


class Datagrams:
    """One socket, its batches and its counts."""

    def __init__(
        self, sock: socket.socket, poller: Poller, desk: Desk, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Serve this socket (`gateway.net.sockets.datagram_listening`) from now on, until `close`."""
        self._sock = sock
        self._poller = poller
        self._clock = clock
        self._batches = Batches(sock.fileno(), int(sock.family))
        self._outbox = Outbox(self._batches, poller)
        self._strangers: set[bytes] = set()
        self._asking: Asker | None = None
        self._answer: bytes | None = None
        self._closed = False
        #: messages that came; those from strangers; those above a client's rate; those without a hot answer
        self.queries = self.refused = self.limited = self.misses = 0
        self._lost = 0
        self.adopt(desk)
        poller.add(sock.fileno(), self, READ)

    @property
    def hits(self) -> int:
        """Queries that had a hot answer."""
        return self.queries - self.refused - self.limited - self.misses

    @property
    def lost(self) -> int:
        """Replies that the kernel did not take."""
        return self._lost + self._outbox.lost

    def adopt(self, desk: Desk) -> None:
        """From now on these; strangers may have become clients."""
        self._desk = desk
        self._strangers.clear()

    def ready(self, _events: int) -> None:
        """Answer what waits. An error that is reported in place of data is fetched, and is nobody's."""
        self._outbox.resume()  # who has waited before does not wait for these
        for _ in range(ROUNDS):
            if not self._batch():
                return
        self._poller.again(self)

    def resume(self) -> None:
        """The others had their turn."""
        if not self._closed:
            self.ready(0)

    def _batch(self) -> bool:
        """Receive and answer once; whether more may wait. One function, as a call a query would cost a fifth more."""
        batches = self._batches
        count = batches.receive()
        if not count:
            return False
        self.queries += count
        now = self._clock()
        data, sizes = batches.data, batches.sizes
        known, admits = self._desk.clients.get, self._desk.admits
        silent: list[int] = []
        for number, place, size, (address,) in zip(
            _NUMBERS, PLACES, batches.received(count), batches.sources(), strict=False
        ):
            client = known(address) or self._newcomer(address, now)
            if client is None:
                silent.append(number)
                continue
            left = client.tokens - 1
            client.tokens = left
            if left < 0 and not admits(client, now):
                self.limited += 1
                silent.append(number)
                continue
            hot = client.view.hot.get(data[place + 2 : place + size])
            if hot is not None and (now < hot.until or self._renewed(hot, place, size, client, now)):
                size = hot.size
                data[place + 2 : place + size] = hot.rest
                sizes[number] = size
            elif not self._missed(number, place, size, client, now):
                silent.append(number)
        if len(silent) < count:
            self._lost += batches.reply(count, silent)
        return count == BATCH

    def _newcomer(self, address: bytes, now: float) -> Client | None:
        """None: he may not ask."""
        if address not in self._strangers:
            client = self._desk.client_of(address, now)
            if client is not None:
                return client
            if len(self._strangers) >= STRANGERS:
                self._strangers.clear()
            self._strangers.add(address)
        self.refused += 1
        return None

    def _renewed(self, hot: Hot, place: int, size: int, client: Client, now: float) -> bool:
        """Whether a hot answer that was good a second ago still is; it is asked for anew when it is time."""
        found = hot.renew(now)
        if found == FRESH:
            return True
        key = self._batches.data[place + 2 : place + size]
        if found == GONE:
            del client.view.hot[key]
            return False
        try:
            self._desk.refresh(_NO_ID + key, client, now)
        except Exception as error:  # a bug costs the refresh, not the batch
            self._poller.failed(self, error)
        return True

    def _missed(self, number: int, place: int, size: int, client: Client, now: float) -> bool:
        """Hand a query on; whether it was answered at once, and the answer is in its slot."""
        self.misses += 1
        if size > SLOT:
            return False
        batches = self._batches
        asker = self._asking = Asker(self, batches.name(number))
        try:
            self._desk.missed(batches.data[place : place + size], client, asker, now)
        except Exception as error:  # a bug costs one query, not the others of its batch
            self._poller.failed(self, error)
        finally:
            self._asking = None
            answer, self._answer = self._answer, None
        if answer is None:
            return False
        batches.data[place : place + len(answer)] = answer
        batches.sizes[number] = len(answer)
        return True

    def reply(self, asker: Asker, name: bytes, data: bytes) -> None:
        """For `Asker`: a reply to who has this socket address."""
        if asker is self._asking and len(data) <= SLOT:
            self._answer = data
        elif self._closed:
            return
        elif len(data) <= SLOT:
            self._outbox.put(name, data)
        elif not self._batches.send_to(name, data):
            self._lost += 1

    def close(self) -> None:
        """Answer nobody any more."""
        if not self._closed:
            self._closed = True
            self._outbox.drop()
            # Others may hold the same socket, and then closing it does not take it out of the epoll set (epoll(7)).
            self._poller.remove(self._sock.fileno())
            self._poller.close_later(self._sock.fileno(), self._sock)
