"""One epoll set nested in an asyncio loop: the callbacks of the data path run on it, without tasks or futures.

Edge-triggered throughout: a descriptor is registered once, and whoever handles it reads until the kernel has no more,
or says `Poller.again` and is called once more after the others had their turn.

Descriptors are closed at the end of a turn only (`Poller.close_later`): a number that was closed and used anew within
one turn would otherwise get the events of its predecessor.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Protocol

READ = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET
READ_WRITE = READ | select.EPOLLOUT
EVENTS_A_TURN = 256
ROUNDS_A_TURN = 4


class Handler(Protocol):
    """Who is told of a descriptor's events."""

    def ready(self, events: int) -> None:
        """The descriptor has these epoll events."""


class Resumable(Handler, Protocol):
    """Who asked to be called again."""

    def resume(self) -> None:
        """Go on where you stopped; it may have been closed meanwhile."""


class Closable(Protocol):
    """A socket of either type."""

    def close(self) -> None:
        """Close it."""


class Poller:
    """The nested epoll set of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Callable[[Handler, Exception], None]) -> None:
        """``failed`` is told of an exception that escaped from a handler: a bug that costs one session."""
        self.loop = loop
        self.handlers: dict[int, Handler] = {}
        self._failed = failed
        self._epoll = select.epoll()
        self._closing: list[Closable] = []
        self._again: list[Resumable] = []
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

    def close_later(self, fd: int, sock: Closable) -> None:
        """Close a registered socket, whose descriptor is ``fd``, at the end of this turn; no more is heard of it."""
        self.handlers.pop(fd, None)
        self._closing.append(sock)
        if not self._scheduled:
            self._schedule()

    def again(self, handler: Resumable) -> None:
        """Call ``handler.resume()`` in the next turn: it stopped for fairness, not for want of data."""
        self._again.append(handler)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self.turn)

    def turn(self) -> None:
        """Handle what is ready, a bounded number of events, then close what was closed."""
        self._scheduled = True
        again, self._again = self._again, []
        for stopped in again:
            try:
                stopped.resume()
            except Exception as error:  # a bug costs its own session, never the worker
                self._failed(stopped, error)
        for _ in range(ROUNDS_A_TURN):
            if not self._handle(self._epoll.poll(0, EVENTS_A_TURN)):
                break
        self._scheduled = False
        if self._again:
            self._schedule()

    def _handle(self, events: list[tuple[int, int]]) -> bool:
        """Whether there were so many that more have come meanwhile."""
        find = self.handlers.get
        for fd, mask in events:
            handler = find(fd)
            if handler is not None:
                try:
                    handler.ready(mask)
                except Exception as error:  # as in `turn`
                    self._failed(handler, error)
        if self._closing:
            for sock in self._closing:
                sock.close()
            self._closing.clear()
        return len(events) > 1

    def close(self) -> None:
        """Close the set itself and what waits to be closed."""
        self.loop.remove_reader(self._epoll.fileno())
        for sock in self._closing:
            sock.close()
        self._closing.clear()
        self._epoll.close()
