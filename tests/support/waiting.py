"""Waiting for something that another process does, with a bound and without long sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def eventually(look: Callable[[], Value], *, within: float = 3.0, every: float = 0.01) -> Value:
    """Call ``look`` until it returns something true, for at most ``within`` seconds; return its last value.

    It does not raise when the time is over: the caller's own assert shows the last value and says what was wanted.
    """
    deadline = time.monotonic() + within
    while not (value := look()) and time.monotonic() < deadline:
        time.sleep(every)
    return value
