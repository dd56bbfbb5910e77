"""Asks the daemon in a thread of its own, so that keys are obeyed while it does not answer.

Each errand is a connection of its own, from the oldest on: the daemon may go and come back between any two of them.
"""

import os
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from gateway.cli.daemon import understood
from gateway.cli.top.sample import Sample
from gateway.control.protocol import Kill, Listed, Live, Report, Request, Sessions, Status
from gateway.errors import GatewayError


class Asks(Protocol):
    """A connection to the daemon."""

    def ask(self, request: Request, /) -> tuple[list[Any], Any]:
        """The rows and the end of an answer; raises ControlError."""


Connect = Callable[[], AbstractContextManager[Asks]]


class Killed(NamedTuple):
    """Sessions were ended."""

    number: int


class Failed(NamedTuple):
    """An errand that came to nothing: which, and why."""

    request: Sessions | Kill
    why: str


Answer = Sample | Killed | Failed


class Daemon(NamedTuple):
    """How the daemon is asked, and the clocks: monotonic seconds, and now in UTC."""

    connect: Connect
    clock: Callable[[], float]
    now: Callable[[], datetime]

    def look(self, asked: Sessions) -> Sample:
        """How it is and the sessions asked for. Raises ControlError."""
        begun = self.clock()
        with self.connect() as daemon:
            _, report = daemon.ask(Status())
            rows, done = daemon.ask(asked)
        live = understood(rows, tuple[Live, ...])
        matched = understood(done, Listed).matched
        at = self.clock()
        return Sample(asked, understood(report, Report), live, matched, at, self.now(), at - begun)

    def kill(self, order: Kill) -> Killed:
        """End sessions. Raises ControlError."""
        with self.connect() as daemon:
            _, done = daemon.ask(order)
        return Killed(understood(done, dict[str, int]).get("killed", 0))

    def run(self, request: Sessions | Kill) -> Answer:
        """Either of the two; what goes wrong is an answer too."""
        try:
            return self.kill(request) if isinstance(request, Kill) else self.look(request)
        except GatewayError as error:
            return Failed(request, str(error))


class Courier:
    """The thread. ``fileno()`` is readable when there are answers to `take`; close it, or use it in a ``with``."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._errands: queue.SimpleQueue[Sessions | Kill | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()
        self._bell, self._rope = os.pipe()
        # Not waited for at the end: it may sit before a daemon that does not answer.
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def fileno(self) -> int:
        """For poll(2)."""
        return self._bell

    def send(self, request: Sessions | Kill) -> None:
        """One more errand; they are done in order."""
        self._errands.put(request)

    def take(self) -> list[Answer]:
        """The answers that are there; call it when `fileno` is readable. Raises what a mistake of ours raised there."""
        count = len(os.read(self._bell, 4096))
        return [self._checked(self._answers.get()) for _ in range(count)]

    @staticmethod
    def _checked(answer: Answer | Exception) -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """End the thread as soon as it is idle. Its pipe stays open if it is not: it may still ring."""
        self._errands.put(None)
        self._thread.join(0.1)
        if not self._thread.is_alive():
            os.close(self._bell)
            os.close(self._rope)

    def _serve(self) -> None:
        while (request := self._errands.get()) is not None:
            try:
                self._answers.put(self._daemon.run(request))
            except Exception as bug:
                self._answers.put(bug)
            os.write(self._rope, b"!")
