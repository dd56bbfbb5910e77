"""Lines for the log about what others may cause as often as they like: at a bounded rate, the rest counted."""

import traceback
from collections.abc import Callable

TELL_SECONDS = 10.0


class Complaints:
    """One topic: at most one line in `TELL_SECONDS`."""

    def __init__(self, trouble: Callable[[str], None], clock: Callable[[], float]) -> None:
        """``trouble`` takes a line; ``clock`` gives monotonic seconds."""
        self._trouble = trouble
        self._clock = clock
        self._tell_at = float("-inf")
        self._untold = 0

    def __call__(self, text: str) -> None:
        """Tell it, or count it for the next one."""
        now = self._clock()
        if now < self._tell_at:
            self._untold += 1
            return
        self._tell_at = now + TELL_SECONDS
        untold, self._untold = self._untold, 0
        self._trouble(f"{text} ({untold} more before it, not told)" if untold else text)


def fault_of(error: Exception) -> str:
    """A bug in one line: what was raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}: {error}"
