"""One epoll set nested in an asyncio loop: the callbacks of the data path run on it, without tasks or futures.

Edge-triggered throughout: a descriptor is registered once, and whoever handles it reads until the kernel has no more,
or says `Poller.again` and is called once more after the others had their turn.

Descriptors are closed at the end of a turn only (`Poller.close_later`): a number that was closed and used anew within
one turn would otherwise get the events of its predecessor.
"""

import asyncio
import select
import socket
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
READ_WRITE = READ | select.EPOLLOUT
EVENTS_A_TURN = 256
ROUNDS_A_TURN = 4


class Handler(Protocol):
    """Who is told of a descriptor's events."""

    def ready(self, events: int) -> None:
        """The descriptor has these epoll events."""


class Poller:
    """The nested epoll set of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Callable[[Handler, Exception], None]) -> None:
        """``failed`` is told of an exception that escaped from a handler: a bug that costs one session."""
        self.loop = loop
        self.handlers: dict[int, Handler] = {}
        self._failed = failed
        self._epoll = select.epoll()
        self._closing: list[socket.socket] = []
        self._again: list[Handler] = []
        self._scheduled = False
        loop.add_reader(self._epoll.fileno(), self.turn)

    def add(self, fd: int, handler: Handler, events: int) -> None:
        """Tell ``handler`` of a new descriptor's events."""
        self.handlers[fd] = handler
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Ask for other events of a descriptor; events that hold already are reported anew."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Hear no more of a descriptor that stays open."""
        del self.handlers[fd]
        self._epoll.unregister(fd)

    def close_later(self, sock: socket.socket) -> None:
        """Close a registered socket at the end of this turn; its handler hears no more of it."""
        self.handlers.pop(sock.fileno(), None)
        self._closing.append(sock)
        if not self._scheduled:
            self._schedule()

    def again(self, handler: Handler) -> None:
        """Call ``handler.ready(0)`` in the next turn: it stopped for fairness, not for want of data."""
        self._again.append(handler)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self.turn)

    def turn(self) -> None:
        """Handle what is ready, a bounded number of events, then close what was closed."""
        handlers = self.handlers
        poll = self._epoll.poll
        self._scheduled = True
        again, self._again = self._again, []
        for handler in again:
            self._call(handler, 0)
        for _ in range(ROUNDS_A_TURN):
            events = poll(0, EVENTS_A_TURN)
            for fd, mask in events:
                found = handlers.get(fd)
                if found is not None:
                    try:
                        found.ready(mask)
                    except Exception as error:  # a bug costs its own session, never the worker
                        self._failed(found, error)
            if self._closing:
                for sock in self._closing:
                    sock.close()
                self._closing.clear()
            if len(events) < 2:
                break
        self._scheduled = False
        if self._again:
            self._schedule()

    def _call(self, handler: Handler, mask: int) -> None:
        try:
            handler.ready(mask)
        except Exception as error:  # as in `turn`
            self._failed(handler, error)

    def close(self) -> None:
        """Close the set itself and what waits to be closed."""
        self.loop.remove_reader(self._epoll.fileno())
        for sock in self._closing:
            sock.close()
        self._closing.clear()
        self._epoll.close()


T = TypeVar("T")


class Deadlines:
    """Things that each get the same number of seconds, in the order in which they began. Costs one dictionary entry."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._began: dict[object, float] = {}

    def __len__(self) -> int:
        return len(self._began)

    def __contains__(self, item: object) -> bool:
        return item in self._began

    def __iter__(self) -> Iterator[object]:
        return iter(tuple(self._began))

    def add(self, item: object) -> None:
        """Start the time of ``item``, anew if it was there."""
        self._began.pop(item, None)
        self._began[item] = self._clock()

    def discard(self, item: object) -> None:
        """Forget ``item``, if it is there."""
        self._began.pop(item, None)

    def oldest(self) -> object | None:
        """The item whose time ends first."""
        return next(iter(self._began), None)

    def expired(self) -> list[object]:
        """Take out and return what has had its time."""
        limit = self._clock() - self.seconds
        found = []
        for item, began in self._began.items():
            if began > limit:
                break
            found.append(item)
        for item in found:
            del self._began[item]
        return found
