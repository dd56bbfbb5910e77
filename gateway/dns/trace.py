"""What was done for one question, step by step with the time of each, for the administrator who asks why.

Only the questions of ``sockctl resolve`` have one; nobody else's question pays for it. The words are those of whoever
takes the step.
"""

from collections.abc import Callable

MAX_STEPS = 200
"""Far more than any question needs."""


class Trace(list[str]):
    """The steps so far, each behind the milliseconds since the first: ``   12.3 ms  10.0.0.53 answered``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """It begins now, by a clock in seconds that never goes back."""
        super().__init__()
        self._clock = clock
        self._began = clock()

    def append(self, text: str, /) -> None:
        """A step; of those beyond `MAX_STEPS` only the last one is kept, in the place of the one before it."""
        del self[MAX_STEPS - 1 :]
        super().append(f"{(self._clock() - self._began) * 1000:7.1f} ms  {text}")
