"""A listening socket in a plain loop: accepts without ever spinning when descriptors or places run out.

In the loop ``for key, _ in selector.select(timeout): key.data()``; what was accepted is somebody else's matter.
"""

import errno
import math
import selectors
import socket
from collections.abc import Callable

from gateway.control.complaints import Complaints, fault_of

ACCEPTS_A_TURN = 16
BACKLOG = 16
PAUSE_SECONDS = 1.0

_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """One listening socket, which it owns."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        has_room: Callable[[], bool],
        take: Callable[[socket.socket], None],
        say: Complaints,
        clock: Callable[[], float],
    ) -> None:
        """``take`` gets each accepted socket, non-blocking; while there is no room, clients wait in the queue."""
        self._listener = listener
        self._selector = selector
        self._has_room = has_room
        self._take = take
        self._say = say
        self._clock = clock
        #: when to accept again, after a pause
        self._resume_at: float | None = None
        self._open = True
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ, self._ready)

    def resume(self) -> None:
        """A place has become free: accept again if that was what lacked."""
        if self._resume_at == math.inf:
            self._resume()

    def tick(self) -> None:
        """Accept again when a pause for want of descriptors is over."""
        if self._resume_at is not None and self._clock() >= self._resume_at:
            self._resume()

    def close(self) -> None:
        """Accept no more; who waits in the queue is refused by the kernel."""
        if self._open and self._resume_at is None:
            self._selector.unregister(self._listener)
        self.forsake()

    def forsake(self) -> None:
        """Close the socket alone: the selector is its owner's, whose child we are."""
        self._open = False
        self._listener.close()

    def _ready(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            if not self._open:
                return
            if not self._has_room():
                self._pause(math.inf)
                return
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTOR:
                    self._say(f"accepting pauses: {error.strerror}")
                    self._pause(self._clock() + PAUSE_SECONDS)
                    return
                if error.errno == errno.EINVAL:
                    self._revive()
                    return
                continue  # the client has gone already (accept(2), "Error handling")
            self._hand_over(sock)

    def _revive(self) -> None:
        """Somebody has shut the socket down, as ``ss -K`` does: it would be ready for ever. It listens again."""
        self._say("a listening socket was shut down by somebody; it listens again")
        try:
            self._listener.listen(BACKLOG)
            # One that was shut down from outside would give all that it accepts its own end. This clears it.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.listen(BACKLOG)
        except OSError as error:
            self._say(f"a listening socket can not listen again: {error.strerror}")
        self._pause(self._clock() + PAUSE_SECONDS)

    def _hand_over(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            self._take(sock)
        except Exception as error:  # costs this client alone, never the loop
            sock.close()
            self._say(f"a client was dropped: {fault_of(error)}")

    def _pause(self, until: float) -> None:
        self._selector.unregister(self._listener)
        self._resume_at = until

    def _resume(self) -> None:
        self._resume_at = None
        if self._open:
            self._selector.register(self._listener, selectors.EVENT_READ, self._ready)
