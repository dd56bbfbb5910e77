"""What one look at the daemon gave, and the rates of its sessions against the look before; pure.

The daemon's own ages are the clock of a session's rates: they were read together with its bytes.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from gateway.control.protocol import Live, Report, Sessions

LEAST_SPAN = 0.2
"""Seconds: two readings that are closer than this tell no rate, as after a key that asks at once."""

YOUNG = 10.0
"""Seconds: of a session not older than this that is seen for the first time the average since its begin is its rate."""


class Sample(NamedTuple):
    """One look at the daemon."""

    asked: Sessions
    report: Report
    live: tuple[Live, ...]
    #: how many sessions the filter matches, of which ``live`` are the first
    matched: int
    #: monotonic seconds, and the same moment in UTC
    at: float
    now: datetime
    #: seconds that the look took
    took: float


class Row(NamedTuple):
    """A session in the table; rates in bytes per second, None: not known yet."""

    live: Live
    sent: float | None
    received: float | None
    #: the reading that the next rates are taken against
    base: Live


Rows = Mapping[str, Row]
"""Session id -> row."""


def rows_of(listed: Iterable[Live], before: Rows) -> dict[str, Row]:
    """The sessions with their rates; in the order in which they were listed."""
    return {live.session: row_of(live, before.get(live.session)) for live in listed}


def row_of(live: Live, before: Row | None) -> Row:
    """A session with its rates, against its row of the look before."""
    if before is None or _is_another(live, before.base):
        return _first(live)
    base = before.base
    span = live.seconds - base.seconds
    if span < LEAST_SPAN:
        return Row(live, before.sent, before.received, base)
    return Row(live, (live.sent - base.sent) / span, (live.received - base.received) / span, live)


def _is_another(live: Live, base: Live) -> bool:
    """Ages and bytes only grow; where they do not, the daemon was started anew and the id with it."""
    return live.seconds < base.seconds or live.sent < base.sent or live.received < base.received


def _first(live: Live) -> Row:
    if LEAST_SPAN <= live.seconds <= YOUNG:
        return Row(live, live.sent / live.seconds, live.received / live.seconds, live)
    return Row(live, None, None, live)
