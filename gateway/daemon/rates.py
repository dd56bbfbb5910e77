"""How fast the numbers of the daemon grow: over the last seconds, as they were looked at."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from gateway.control.protocol import ResolverTotals, Totals
from gateway.daemon.counters import Block, Counter, DnsBlock, DnsCounter, total

WINDOW = 5.0
"""Seconds."""


class _Look(NamedTuple):
    time: float
    accepted: int
    sent: int
    received: int


class Rates:
    """Those of all workers together."""

    def __init__(self, board: Sequence[Block]) -> None:
        self._board = board
        self._looks: deque[_Look] = deque()

    def look(self, now: float) -> None:
        """To be called about once a second, with the time by a clock that never goes back."""
        sums = (total(self._board, counter) for counter in (Counter.ACCEPTED, Counter.SENT, Counter.RECEIVED))
        self._looks.append(_Look(now, *sums))
        while len(self._looks) > 2 and self._looks[1].time <= now - WINDOW:
            self._looks.popleft()

    def totals(self) -> Totals:
        """All numbers, with the rates."""
        sums = {counter.name.lower(): total(self._board, counter) for counter in Counter}
        accepted, sent, received = self._rates()
        return Totals(**sums, accepted_per_second=accepted, sent_per_second=sent, received_per_second=received)

    def _rates(self) -> tuple[float, float, float]:
        if len(self._looks) < 2:
            return 0.0, 0.0, 0.0
        first, last = self._looks[0], self._looks[-1]
        seconds = max(last.time - first.time, 0.001)
        # A worker that died took its live bytes with it, so that a sum can shrink.
        accepted, sent, received = (
            max(0, after - before) / seconds for before, after in zip(first[1:], last[1:], strict=True)
        )
        return round(accepted, 1), round(sent), round(received)


class _DnsLook(NamedTuple):
    time: float
    queries: int
    hits: int


class DnsRates:
    """Those of all resolvers together."""

    def __init__(self, board: Sequence[DnsBlock]) -> None:
        self._board = board
        self._looks: deque[_DnsLook] = deque()

    def look(self, now: float) -> None:
        """To be called about once a second, with the time by a clock that never goes back."""
        sums = (total(self._board, counter) for counter in (DnsCounter.QUERIES, DnsCounter.HITS))
        self._looks.append(_DnsLook(now, *sums))
        while len(self._looks) > 2 and self._looks[1].time <= now - WINDOW:
            self._looks.popleft()

    def totals(self) -> ResolverTotals:
        """All numbers, with the rates."""
        sums = {
            counter.name.lower(): total(self._board, counter)
            for counter in DnsCounter
            if counter is not DnsCounter.LOST
        }
        rate, share = self._rates()
        return ResolverTotals(**sums, queries_per_second=rate, hit_rate=share)

    def _rates(self) -> tuple[float, float]:
        if len(self._looks) < 2:
            return 0.0, 0.0
        first, last = self._looks[0], self._looks[-1]
        queries, hits = max(0, last.queries - first.queries), max(0, last.hits - first.hits)
        seconds = max(last.time - first.time, 0.001)
        return round(queries / seconds, 1), round(min(1.0, hits / queries), 3) if queries else 0.0
