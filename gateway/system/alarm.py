"""What was lost of a target's lines, by this process and by all, and that it is broken is said once by all of them.

The processes of the daemon write to the same files, so that a full disk meets each of them. What one has said, the
others know from a page of memory that they share since before they were forked. Nothing is locked there: two processes
that fail within the same microsecond may both say it.
"""

import mmap
import os
from collections.abc import Callable

CALM_SECONDS = 1.0
"""A disk that is full, has room, and is full again is news once in so long."""

_SLOTS = 1024
_SINCE, _BASE, _FIRST_SLOT = 0, 1, 2
"""Words of the page: when the alarm was given in ms, 0 if there is none; what was lost before; what processes lost."""


class Losses:
    """Counts, and says nothing."""

    def __init__(self) -> None:
        #: by this process, since its start
        self.lost = 0

    def lose(self, count: int) -> None:
        """So many lines more are lost."""
        self.lost += count

    def failed(self, error: OSError) -> None:
        """The target is broken."""

    def works(self) -> None:
        """The target has taken something."""


class Alarm(Losses):
    """One target that several processes write to, those that are forked after this was made."""

    def __init__(self, name: str, say: Callable[[str, bool], None], wall: Callable[[], float]) -> None:
        """``say`` gets a line and whether it is an error; ``wall`` gives seconds since the epoch."""
        super().__init__()
        self._name = name
        self._say = say
        self._wall = wall
        self._words = memoryview(mmap.mmap(-1, 8 * (_FIRST_SLOT + _SLOTS))).cast("Q")
        self._slot = 0
        self.settle()

    def settle(self) -> None:
        """To be called in a new process: it counts for itself from here on."""
        self.lost = 0
        # Two processes of one daemon whose numbers are a multiple of the slots apart have one count, no less true.
        self._slot = _FIRST_SLOT + os.getpid() % _SLOTS

    @property
    def lost_by_all(self) -> int:
        """By every process since the first one's start, also by those that are dead."""
        return sum(self._words[_FIRST_SLOT:])

    def lose(self, count: int) -> None:
        """As `Losses`."""
        super().lose(count)
        if count:
            self._words[self._slot] += count

    def failed(self, error: OSError) -> None:
        """Say so, unless it was said already. To be called before what was lost by it is counted."""
        if not self._words[_SINCE]:
            self._words[_BASE] = self.lost_by_all
            self._words[_SINCE] = self._now()
            self._say(f"{self._name}: {error.strerror}; what can not be written is lost and counted", True)

    def works(self) -> None:
        """Say so if the contrary was said, but not at once."""
        since = self._words[_SINCE]
        if since and abs(self._now() - since) >= CALM_SECONDS * 1000:
            self._words[_SINCE] = 0
            lost = self.lost_by_all - self._words[_BASE]
            self._say(f"{self._name}: can be written again; {lost} lines were lost meanwhile", False)

    @property
    def is_on(self) -> bool:
        """Whether the target is known to be broken."""
        return bool(self._words[_SINCE])

    def _now(self) -> int:
        return max(1, int(self._wall() * 1000))
