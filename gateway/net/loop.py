"""The event loop of a worker: the data path's callbacks on one epoll set, and asyncio for everything else.

asyncio waits in its selector. `Poller` is that selector: it waits on the data path's own epoll set, in which asyncio's
descriptors are nested as one, and calls the handlers of the data path itself. It returns to asyncio only when one of
asyncio's descriptors is ready, a timer is due, or a handler has asked asyncio for something. So the data path pays for
no task, future or loop turn, and the two can be mixed freely.

Edge-triggered throughout: a descriptor is registered once, and whoever handles it reads until the kernel has no more,
or says `Poller.again` and is called once more after the others had their turn.

Descriptors are closed at the end of a round only (`Poller.close_later`): a number that was closed and used anew within
one round would otherwise get the events of its predecessor.
"""

import asyncio
import select
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any, Protocol, TypeVarTuple

_Ts = TypeVarTuple("_Ts")

READ = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET
READ_WRITE = READ | select.EPOLLOUT
EVENTS_A_ROUND = 256


class Handler(Protocol):
    """Who is told of a descriptor's events."""

    def ready(self, events: int) -> None:
        """The descriptor has these epoll events."""


class Resumable(Protocol):
    """Who asked to be called again."""

    def resume(self) -> None:
        """Go on where you stopped; it may have been closed meanwhile."""


class Closable(Protocol):
    """A socket of either type."""

    def close(self) -> None:
        """Close it."""


class Poller(selectors.BaseSelector):
    """The data path's epoll set, and asyncio's selector."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives monotonic seconds."""
        self.handlers: dict[int, Handler] = {}
        #: told of an exception that escaped from a handler: a bug that costs one session
        self.failed: Callable[[Handler | Resumable, Exception], None] = _unexpected
        self._clock = clock
        self._epoll = select.epoll()
        self._closing: list[Closable] = []
        self._again: list[Resumable] = []
        self._ending: list[Resumable] = []
        #: asyncio's own descriptors
        self._asyncio = selectors.DefaultSelector()
        self._asyncio_fd = self._asyncio.fileno()
        self._asyncio_wanted = False
        self._epoll.register(self._asyncio_fd, select.EPOLLIN)

    # For the data path

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
        """Close a registered socket, whose descriptor is ``fd``, at the end of this round; no more is heard of it."""
        self.handlers.pop(fd, None)
        self._closing.append(sock)

    def again(self, handler: Resumable) -> None:
        """Call ``handler.resume()`` after the others had their turn: it stopped for fairness, not for want of data."""
        self._again.append(handler)

    def at_end(self, handler: Resumable) -> None:
        """Call ``handler.resume()`` when this round is over, and before anything is waited for: it collects things."""
        self._ending.append(handler)

    def want_asyncio(self) -> None:
        """Return to asyncio after this round: something was scheduled there."""
        self._asyncio_wanted = True

    # For asyncio

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve the data path until asyncio has something to do, or ``timeout`` seconds have passed."""
        self._asyncio_wanted = False
        until = None if timeout is None else self._clock() + timeout
        wait = -1.0 if timeout is None else max(0.0, timeout)
        self._end_round()  # asyncio's callbacks have begun one, too
        while True:
            if self._round(self._epoll.poll(0.0 if self._again else wait, EVENTS_A_ROUND)):
                return self._asyncio.select(0)
            if self._asyncio_wanted:
                return []
            if until is not None:
                wait = until - self._clock()
                if wait <= 0.0:
                    return []

    def _round(self, events: list[tuple[int, int]]) -> bool:
        """Call the handlers of these events, then whoever stopped for fairness; whether asyncio has an event."""
        handlers = self.handlers
        again: Sequence[Resumable] = ()
        if self._again:
            again, self._again = self._again, []
        asyncio_ready = False
        for fd, mask in events:
            if fd in handlers:
                handler = handlers[fd]
                try:
                    handler.ready(mask)
                except Exception as error:  # a bug costs its own session, never the worker
                    self.failed(handler, error)
            elif fd == self._asyncio_fd:
                asyncio_ready = True
        self._resume(again)
        self._end_round()
        return asyncio_ready

    def _end_round(self) -> None:
        if self._ending:
            ending, self._ending = self._ending, []
            self._resume(ending)
        if self._closing:
            self._close_closed()

    def _resume(self, stopped: Sequence[Resumable]) -> None:
        for one in stopped:
            try:
                one.resume()
            except Exception as error:  # a bug costs its own session, never the worker
                self.failed(one, error)

    def _close_closed(self) -> None:
        for sock in self._closing:
            sock.close()
        self._closing.clear()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """For asyncio's own descriptors, as the next four."""
        return self._asyncio.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See `register`."""
        return self._asyncio.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See `register`."""
        return self._asyncio.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """See `register`."""
        return self._asyncio.get_map()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """See `register`."""
        return self._asyncio.get_key(fileobj)

    def close(self) -> None:
        """Close both sets, and what waits to be closed."""
        self._close_closed()
        self._epoll.close()
        self._asyncio.close()


def _unexpected(_handler: object, error: Exception) -> None:
    raise error


class PathLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on a `Poller`, which it calls back when something is scheduled while it waits there."""

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        super().__init__(poller)

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's; `create_task` and futures come through here too."""
        self.poller.want_asyncio()
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's; `call_later` comes through here too."""
        self.poller.want_asyncio()
        return super().call_at(when, callback, *args, context=context)
