"""Waiting for something that another process does, and measuring, on a machine that may be busy."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def eventually(look: Callable[[], Value], *, within: float = 10.0, every: float = 0.01) -> Value:
    """Call ``look`` until it returns something true, for at most ``within`` seconds; return its last value.

    It does not raise when the time is over: the caller's own assert shows the last value and says what was wanted.
    """
    deadline = time.monotonic() + within
    while not (value := look()) and time.monotonic() < deadline:
        time.sleep(every)
    return value


def least(measure: Callable[[], float], *, below: float, attempts: int = 5) -> float:
    """Measure until the result is below a limit, a few times at most; return the smallest result.

    For limits of time and of work: a busy machine disturbs one attempt or another, what is really slow is slow in each.
    """
    smallest = measure()
    while smallest >= below and (attempts := attempts - 1):
        smallest = min(smallest, measure())
    return smallest
