"""What workers and resolvers count, in memory that they share with the supervisor.

The supervisor makes the memory before it forks; each of them writes its own block, once a second, and the supervisor
reads them all. So what ps(1), ``sockctl`` and the metrics show costs the data path nothing, waits for nobody, and is
still there when a process has died: its successor goes on from the same numbers. Every number is a 64-bit word of its
own, which is written whole.
"""

import enum
import mmap
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from gateway.config.listing import Listing
from gateway.config.rules import AccessFile

WORD = 8
SLOTS = 1 << 16
"""How many lines of ``sockd.conf`` can be counted apart; what is beyond shares the last slot."""

UNMATCHED = 0
"""The slot of requests that no line matched."""


class Counter(enum.IntEnum):
    """The words of a block in front of its slots."""

    #: sessions of now, and how many there is room for
    SESSIONS = 0
    ROOM = 1
    ACCEPTED = 2
    CONNECTED = 3
    REFUSED = 4
    FAILED = 5
    TIMED_OUT = 6
    ERROR = 7
    #: bytes client to target and target to client, of live sessions too
    SENT = 8
    RECEIVED = 9
    #: lines and records that no log took
    LOST = 10


GAUGES = (Counter.SESSIONS, Counter.ROOM)
"""What a dead worker has none of; everything else only grows."""


class DnsCounter(enum.IntEnum):
    """The words of a resolver's block; by the same names in `gateway.control.protocol.ResolverTotals`, but for LOST."""

    #: of clients that may ask
    QUERIES = 0
    #: answered from a cache, from the local names, by asking a name server, by what somebody else had asked it, and
    #: by what had expired
    HITS = 1
    LOCAL = 2
    FORWARDED = 3
    COALESCED = 4
    STALE = 5
    #: answers by what they said
    NXDOMAIN = 6
    SERVFAIL = 7
    REFUSED = 8
    #: queries that got no answer; and those among all that were not looked for, since their client asks too much
    DROPPED = 9
    LIMITED = 10
    #: answers that were not given, since they lead an outside name to the inside
    BLOCKED = 11
    #: messages to name servers, those that were not answered in time, and what came back and was no answer to them
    UPSTREAM_QUERIES = 12
    UPSTREAM_TIMEOUTS = 13
    WRONG_ANSWERS = 14
    #: answers in the caches, and questions that name servers have not answered yet
    ENTRIES = 15
    OUTSTANDING = 16
    #: lines and records that no log took
    LOST = 17


DNS_GAUGES = (DnsCounter.ENTRIES, DnsCounter.OUTSTANDING)
"""What a dead resolver has none of."""

_SLOTS_AT = 16
"""The first word of the slots."""


class Slot(NamedTuple):
    """What one line decided."""

    hits: int
    #: client to target, target to client
    sent: int
    received: int
    #: seconds since the epoch, 0: never
    last: int


_Kind = TypeVar("_Kind", Counter, DnsCounter)


class _Words(Generic[_Kind]):
    """So many words of memory that a fork shares, the first ones by their names."""

    def __init__(self, count: int, gauges: Sequence[_Kind]) -> None:
        # Pages that nobody writes take no memory.
        self._memory = mmap.mmap(-1, count * WORD)
        self._words = memoryview(self._memory).cast("Q")
        self._gauges: Sequence[_Kind] = gauges

    def __getitem__(self, counter: _Kind) -> int:
        return self._words[counter]

    def __setitem__(self, counter: _Kind, number: int) -> None:
        self._words[counter] = number

    def clear_gauges(self) -> None:
        """Its process has gone."""
        for counter in self._gauges:
            self._words[counter] = 0

    def close(self) -> None:
        """Give the memory back."""
        self._words.release()
        self._memory.close()


class Block(_Words[Counter]):
    """The numbers of one worker."""

    def __init__(self) -> None:
        super().__init__(_SLOTS_AT + SLOTS * len(Slot._fields), GAUGES)

    def slot(self, number: int) -> Slot:
        """What is counted in a slot."""
        at = _SLOTS_AT + number * len(Slot._fields)
        return Slot(*self._words[at : at + len(Slot._fields)])

    def set_slot(self, number: int, slot: Slot) -> None:
        """Write a slot."""
        at = _SLOTS_AT + number * len(Slot._fields)
        for place, value in enumerate(slot, at):
            self._words[place] = value


class DnsBlock(_Words[DnsCounter]):
    """The numbers of one resolver."""

    def __init__(self) -> None:
        super().__init__(len(DnsCounter), DNS_GAUGES)


def total(blocks: Iterable[_Words[_Kind]], counter: _Kind) -> int:
    """Of all workers, or of all resolvers."""
    return sum(block[counter] for block in blocks)


def total_slot(blocks: Sequence[Block], number: int) -> Slot:
    """Of all workers; ``last`` is the latest."""
    slots = [block.slot(number) for block in blocks]
    hits, sent, received = (sum(values) for values in list(zip(*slots, strict=True))[:3])
    return Slot(hits, sent, received, max(slot.last for slot in slots))


class Slots:
    """Which line has which slot: the same line keeps its own from one loading of the files to the next."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], int] = {}

    def assign(self, access: AccessFile, text: str) -> tuple[int, ...]:
        """The slots of the lines of a file, whose text this is, in their order."""
        seen: dict[str, int] = {}
        slots = []
        for words in map(str.strip, written_lines(access, text)):
            seen[words] = seen.get(words, 0) + 1
            # Of lines with the same words, the second one stays the second.
            slots.append(self._slot((words, seen[words])))
        return tuple(slots)

    def _slot(self, key: tuple[str, int]) -> int:
        return self._known.setdefault(key, min(len(self._known) + 1, SLOTS - 1))


def written_lines(access: AccessFile, text: str) -> list[str]:
    """The lines of a file as its text has them, joined, in the order of its rules."""
    lines = Listing.of(text, access.path).lines
    numbers = list(lines)
    return [lines[numbers[bisect_right(numbers, rule.place.line) - 1]] for rule in access.rules]


def by_label(access: AccessFile, slots: Sequence[int]) -> Mapping[str, int]:
    """The slots by the labels of their lines, and that of no line by the empty one."""
    return {"": UNMATCHED} | {rule.label: slot for rule, slot in zip(access.rules, slots, strict=True)}
