"""What a worker does once a second so that others can see what it does: its numbers and its title."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from gateway.daemon.counters import Block, Counter, Slot
from gateway.net.runner import Runner
from gateway.session.record import Result
from gateway.session.tally import Tally, Use, Uses
from gateway.system.journal import Journal
from gateway.system.title import Title

PERIOD = 1.0
SHARE = 200
"""The time of one sample, times this, is at least the time between two: half a per cent of the processor."""

_ENDS = {
    Result.REFUSED: Counter.REFUSED,
    Result.FAILED: Counter.FAILED,
    Result.TIMED_OUT: Counter.TIMED_OUT,
    Result.ERROR: Counter.ERROR,
}


class Ledger:
    """What is counted of each line of ``sockd.conf``, by its slot: the same line is the same from file to file."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._uses: dict[int, Use] = {}
        #: what an earlier worker left, and what was written last
        self._before: dict[int, Slot] = {}
        self._written: dict[int, Slot] = {}

    def uses(self, slots: Mapping[str, int]) -> Uses:
        """Those of the lines of these labels."""
        return Uses({label: self._use(slot) for label, slot in slots.items()})

    def _use(self, slot: int) -> Use:
        use = self._uses.get(slot)
        if use is None:
            use = self._uses[slot] = Use()
            self._before[slot] = self._written[slot] = self._block.slot(slot)
        return use

    def write(self, live: Mapping[int, "Moving"], now: int) -> "Sums":
        """What was counted, with the running relays by the `id` of their uses; ``now`` is seconds since the epoch."""
        relays = sent = received = 0
        for slot, use in self._uses.items():
            before, written = self._before[slot], self._written[slot]
            moving = live.get(id(use), _NOTHING)
            begun, up, down = use.relays + moving.relays, use.sent + moving.sent, use.received + moving.received
            relays += begun
            sent += up
            received += down
            hits = before.hits + begun + use.refusals
            last = now if hits != written.hits else written.last
            new = Slot(hits, before.sent + up, before.received + down, last)
            if new != written:
                self._written[slot] = new
                self._block.set_slot(slot, new)
        return Sums(relays, sent, received)


class Sums(NamedTuple):
    """Of all lines, since the worker began: sessions that were connected, bytes client to target and back."""

    relays: int
    sent: int
    received: int


class Moving(NamedTuple):
    """The running relays of one line."""

    relays: int
    sent: int
    received: int


_NOTHING = Moving(0, 0, 0)


class Sampler:
    """Looks at the sessions of a worker and writes down what is seen."""

    def __init__(
        self, runner: Runner, tally: Tally, ledger: Ledger, block: Block, journal: Journal, title: Title
    ) -> None:
        self._runner = runner
        self._tally = tally
        self._ledger = ledger
        self._block = block
        self._journal = journal
        self._title = title
        self._before = {counter: block[counter] for counter in Counter}
        self._sample()

    def _sample(self) -> None:
        began = time.perf_counter()
        self.write()
        took = time.perf_counter() - began
        self._runner.loop.call_later(max(PERIOD, SHARE * took), self._sample)

    def write(self) -> None:
        """Write down what is the case now."""
        runner, tally, block, before = self._runner, self._tally, self._block, self._before
        live: dict[int, Moving] = {}
        for session, sent, received, _ in runner.relaying():
            use = id(session.use)
            others = live.get(use, _NOTHING)
            live[use] = Moving(others.relays + 1, others.sent + sent, others.received + received)
        sums = self._ledger.write(live, int(time.time()))
        block[Counter.SESSIONS] = runner.open
        block[Counter.ROOM] = runner.limits.sessions
        block[Counter.ACCEPTED] = before[Counter.ACCEPTED] + runner.accepted
        block[Counter.CONNECTED] = before[Counter.CONNECTED] + sums.relays
        for result, counter in _ENDS.items():
            block[counter] = before[counter] + tally.ends[result.value]
        block[Counter.SENT] = before[Counter.SENT] + sums.sent
        block[Counter.RECEIVED] = before[Counter.RECEIVED] + sums.received
        block[Counter.LOST] = before[Counter.LOST] + self._journal.lost
        self._title.show(doing(runner.open, tally))


def doing(sessions: int, tally: Tally) -> str:
    """``14 sessions; fred: telnet(c) to ftp.uu.net``: the latest one in the original's words."""
    words = f"{sessions} session{'' if sessions == 1 else 's'}"
    return words if tally.latest is None else f"{words}; {tally.latest.title()}"
