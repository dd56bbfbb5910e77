"""The end of a daemon that accepts nobody any more and waits for its sessions."""

import time
from collections.abc import Callable

from gateway.control.server import Reply

QUIET_SECONDS = 2.2
"""So long nobody must be served before it ends: the workers' numbers are a second old."""


class Draining:
    """How far it is; before the first `begin`, nothing."""

    def __init__(self, sessions: Callable[[], int], line: Callable[[str], None]) -> None:
        """``sessions`` counts those of now; ``line`` takes lines for the log."""
        self._sessions = sessions
        self._line = line
        self._replies: list[Reply] = []
        self._until: float | None = None
        self._quiet_since: float | None = None
        self._reported = -1
        self.is_on = False

    def begin(self, timeout: float, reply: Reply) -> None:
        """Somebody wants it, after so many seconds at the latest (0: never), and to be told how far it is."""
        self._replies.append(reply)
        self._reported = -1
        if timeout:
            until = time.monotonic() + timeout
            self._until = until if self._until is None else min(until, self._until)
        if not self.is_on:
            self.is_on = True
            self._line("draining -- nobody is accepted any more")

    def tick(self, *, settled: bool) -> None:
        """Time has passed; ``settled``: every worker has heard that it is to accept nobody."""
        if not self.is_on:
            return
        sessions = self._sessions()
        if sessions or not settled:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = time.monotonic()
        if sessions != self._reported and settled:
            self._reported = sessions
            for reply in self._replies:
                reply.row({"sessions": sessions})

    @property
    def _is_late(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until

    @property
    def _is_quiet(self) -> bool:
        return self._quiet_since is not None and time.monotonic() >= self._quiet_since + QUIET_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether `is_over` would say so."""
        return self._is_late or self._is_quiet

    def is_over(self) -> bool:
        """Whether it is time to end, which is said."""
        if self._is_late:
            sessions = self._sessions()
            left = "1 session is" if sessions == 1 else f"{sessions} sessions are"
            self._line(f"drained -- time is up, {left} ended")
            return True
        if self._is_quiet:
            self._line("drained -- the last session has ended")
            return True
        return False

    def end(self) -> None:
        """The daemon ends now."""
        for reply in self._replies:
            reply.done({"sessions": 0})
