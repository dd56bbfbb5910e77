"""How often the daemon is looked at: as asked, and less often where a look is work; pure."""

REST = 30
"""A look may take this part of the time at most: 10,000 sessions, listed every second, would be felt by the daemon."""

STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""The intervals that ``+`` and ``-`` go through, seconds."""


def pause(interval: float, took: float) -> float:
    """Seconds from one look to the next, when the last one took ``took`` seconds."""
    return max(interval, REST * took)


def slower(interval: float) -> float:
    """The next longer interval."""
    return next((step for step in STEPS if step > interval), interval)


def faster(interval: float) -> float:
    """The next shorter interval."""
    return next((step for step in reversed(STEPS) if step < interval), interval)
