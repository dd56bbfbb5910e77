"""Accepting clients, without ever spinning: when places or descriptors run out, accepting pauses.

A listening socket that somebody has shut down is reported for ever, and left alone: its owner opens another.
"""

import asyncio
import errno
import select
import socket

from gateway.net.loop import Poller
from gateway.net.runner import Runner
from gateway.net.sockets import accepted, text_of

ACCEPTS_A_TURN = 16
LAST_TURNS = 16
"""Turns for those who wait when a socket is given up."""

PAUSE_SECONDS = 1.0
TELL_SECONDS = 10.0

_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """One listening socket of one worker. Level-triggered, so that what waits is reported again after a pause."""

    def __init__(self, poller: Poller, runner: Runner, sock: socket.socket) -> None:
        self._poller = poller
        self._runner = runner
        self._sock = sock
        self._family = int(sock.family)
        self._paused: asyncio.TimerHandle | None = None
        self._listening = True
        self._tell_at = 0.0
        poller.add(sock.fileno(), self, select.EPOLLIN)

    def ready(self, _events: int) -> None:
        """Clients wait to be accepted."""
        runner = self._runner
        places = runner.limits.sessions
        if runner.open >= places and not runner.make_room():
            self._pause("all places are taken by running sessions")
            return
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, name = accepted(self._sock, self._family)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTOR:
                    self._pause(error.strerror or "no descriptor")
                    return
                if error.errno == errno.EINVAL:
                    self._give_up()
                    return
                continue  # the client has gone already (accept(2), "Error handling")
            runner.accept(sock, name)
            if runner.open >= places:
                return  # only while somebody waits, which the next event tells, may somebody else be put out

    def _give_up(self) -> None:
        """It listens no more (accept(2)), and what it says of itself (EPOLLHUP) can not be unasked."""
        self.close()
        self._runner.log.trouble(
            f"{text_of(self._sock.getsockname())} was shut down by somebody; nobody is accepted by it"
        )

    def _pause(self, why: str) -> None:
        if self._paused is None:
            self._say(why)
            self._poller.remove(self._sock.fileno())
            self._paused = self._runner.loop.call_later(PAUSE_SECONDS, self.resume)
            self._runner.waiting.add(self)

    def _say(self, why: str) -> None:
        """Tell why clients wait, not more often than once in `TELL_SECONDS`."""
        now = self._runner.context.clock()
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            self._runner.log.trouble(f"accepting pauses: {why}")

    def resume(self) -> None:
        """Accept again, if it was paused."""
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
            self._runner.waiting.discard(self)
            if self._listening:
                self._poller.add(self._sock.fileno(), self, select.EPOLLIN)

    def finish(self) -> None:
        """Accept who waits already, and then no more."""
        for _ in range(LAST_TURNS):
            if self._listening and self._paused is None:
                self.ready(select.EPOLLIN)
        self.close()

    def close(self) -> None:
        """Accept no more here. The socket stays open for whoever else holds it."""
        if self._listening:
            self._listening = False
            if self._paused is None:
                self._poller.remove(self._sock.fileno())
            else:
                self._paused.cancel()
                self._paused = None
                self._runner.waiting.discard(self)
