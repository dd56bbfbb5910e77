"""The answers of one zone, each until its time is over, and then for a while longer in case the servers are silent.

A cache belongs to one zone, so that nothing that a zone's servers say is ever found under another's names (field-cases
D2, D11). It knows keys and answers, but neither messages nor who asks; the clock comes in by argument.

Room for a new answer is found in a bounded number of steps. What is too old goes before what is fresh, and what nobody
asked for again before what somebody did (second chance). The answers are spread over small dictionaries, because one
large one stands still for milliseconds whenever it is rebuilt.
"""

from collections.abc import Callable, Hashable, Iterator
from struct import Struct
from typing import NamedTuple, TypeVar

from gateway.dns.answer import NEVER, Answer
from gateway.dns.constants import NOERROR, NXDOMAIN, SOA
from gateway.dns.names import is_below

STALE_SECONDS = 86_400
"""How long after its time an answer may still be given if nobody can be asked (RFC 8767 §5: one to three days)."""

REFRESHED_TTL = 10
"""Seconds that an answer must have for it to be asked for again before its time is over."""

REFRESH_PART = 0.9
"""The part of its time after which that is."""

SHARD_ANSWERS = 16_384
"""Answers that one dictionary holds at most, more or less: rebuilding it costs some 0.2 ms."""

SWEPT = 8
"""Places that are looked at for an answer that is too old, each time when room is needed."""

CHANCES = 64
"""Answers in use that are passed over before one goes all the same."""

SHARED_VALUES = 1024
"""Different values of what many answers have alike that are kept once."""

_GONE = -2.0 * STALE_SECONDS
"""When answers have expired that nobody may get any more, whatever the time is."""

_SOA = SOA.to_bytes(2, "big")
_TYPE_BEFORE_TTL = 4

_ttl = Struct("!I")
_unpack_ttl = _ttl.unpack_from
_pack_ttl = _ttl.pack_into

_Value = TypeVar("_Value", bound=Hashable)


class Bounds(NamedTuple):
    """How long answers are kept, in seconds, whatever their records say."""

    #: at least, of answers that have records and may be kept at all
    min_ttl: int
    #: at most (field-cases D7); 0: nothing is kept
    max_ttl: int
    #: at most, of answers that say that there is no such name or no such record; 0: these are not kept
    negative_ttl: int


class _Shard:
    """A part of a cache: its answers, and their keys in a ring for the hands of two clocks."""

    __slots__ = ("answers", "hand", "ring", "sweeper")

    def __init__(self) -> None:
        self.answers: dict[bytes, Answer] = {}
        #: each key of `answers` once
        self.ring: list[bytes] = []
        self.hand = 0
        self.sweeper = 0

    def add(self, key: bytes, answer: Answer) -> None:
        """A new key."""
        self.answers[key] = answer
        self.ring.append(key)

    def exchange(self, key: bytes, answer: Answer, now: float) -> None:
        """A new key in place of one that goes; there must be one."""
        place = self._expired(now)
        if place < 0:
            place = self._unwanted()
        del self.answers[self.ring[place]]
        self.ring[place] = key
        self.answers[key] = answer

    def _expired(self, now: float) -> int:
        """A place whose answer is too old, if one is near; else -1. The whole ring is seen in a few thousand calls."""
        ring, answers = self.ring, self.answers
        place = self.sweeper
        for _ in range(SWEPT):
            place = place + 1 if place + 1 < len(ring) else 0
            if answers[ring[place]].expires <= now:
                self.sweeper = place
                return place
        self.sweeper = place
        return -1

    def _unwanted(self) -> int:
        """The next place whose answer nobody has asked for since the hand was there last."""
        ring, answers = self.ring, self.answers
        place = self.hand
        for _ in range(CHANCES):
            place = place + 1 if place + 1 < len(ring) else 0
            answer = answers[ring[place]]
            if not answer.used:
                break
            answer.used = False
        self.hand = place
        return place

    def drop(self, keys: list[bytes]) -> None:
        """Without these; their answers are nobody's any more."""
        for key in keys:
            self.answers.pop(key).expires = _GONE
        self.ring = list(self.answers)


class Cache:
    """Answers by the keys of `gateway.dns.query.Query`: the name, the type, and what else makes an answer different."""

    __slots__ = ("_answers", "_bounds", "_capacity", "_count", "_mask", "_shards", "_shared")

    def __init__(self, capacity: int, bounds: Bounds) -> None:
        """Never more than ``capacity`` answers, of which none is kept longer than the bounds say."""
        shards = 1
        while shards * SHARD_ANSWERS < capacity:
            shards *= 2
        self._capacity = capacity
        self._bounds = bounds
        self._count = 0
        self._mask = shards - 1
        self._shards = tuple(_Shard() for _ in range(shards))
        self._answers = tuple(shard.answers for shard in self._shards)
        self._shared: dict[Hashable, Hashable] = {}

    def __len__(self) -> int:
        """All answers, fresh or not."""
        return self._count

    def get(self, key: bytes, now: float) -> Answer | None:
        """The answer, if its time is not over."""
        answer = self._answers[hash(key) & self._mask].get(key)
        if answer is None or answer.expires <= now:
            return None
        answer.used = True
        return answer

    def stale(self, key: bytes, now: float) -> Answer | None:
        """The answer whose time is over, but not for longer than `STALE_SECONDS` (RFC 8767)."""
        answer = self._answers[hash(key) & self._mask].get(key)
        if answer is None or not answer.expires <= now <= answer.expires + STALE_SECONDS:
            return None
        return answer

    def put(self, key: bytes, answer: Answer, now: float) -> Answer | None:
        """Keep this answer in place of what was known; its TTLs, those in its records too, are brought within bounds.

        None: it is not kept, since it says nothing about the name (SERVFAIL and the like), or may not be. An answer
        that may not be kept still makes the older one void, so that this is not given again when it is stale
        (field-cases D9).
        """
        if answer.rcode not in (NOERROR, NXDOMAIN):
            return None
        shard = self._shards[hash(key) & self._mask]
        old = shard.answers.get(key)
        seconds = self._bind(answer)
        if not seconds or (old is None and not self._room(shard)):
            if old is not None:
                old.expires = _GONE
            return None
        self._date(answer, seconds, now)
        if old is not None:
            self._replace(shard, key, old, answer, now)
        elif self._count < self._capacity:
            self._count += 1
            shard.add(key, answer)
        else:
            shard.exchange(key, answer, now)
        return answer

    def remove(self, name: bytes, *, below: bool) -> int:
        """Forget what is known of a name, of all types, and with ``below`` of all names below it; how many it was."""
        return sum(self.removing(name, below=below))

    def removing(self, name: bytes, *, below: bool) -> Iterator[int]:
        """As `remove`, a part of the cache after the other, none of which takes more than some 20 ms."""
        for shard in self._shards:
            keys = [key for key in shard.answers if key[:-3] == name or (below and is_below(key[:-3], name))]
            shard.drop(keys)
            self._count -= len(keys)
            yield len(keys)

    def forget(self, wrong: Callable[[bytes], bool]) -> int:
        """Forget the answers whose records, as bytes, are wrong now; how many it was."""
        removed = 0
        for shard in self._shards:
            keys = [key for key, answer in shard.answers.items() if wrong(answer.body)]
            shard.drop(keys)
            removed += len(keys)
        self._count -= removed
        return removed

    def clear(self) -> int:
        """Forget everything; how many answers it was."""
        removed = self._count
        for shard in self._shards:
            shard.drop(list(shard.answers))
        self._count = 0
        return removed

    def entries(self) -> Iterator[tuple[bytes, Answer]]:
        """All keys and answers, fresh or not, in no order; the cache may change meanwhile."""
        for answers in self._answers:
            for key, answer in list(answers.items()):
                if answer.expires != _GONE:
                    yield key, answer

    # What put needs

    def _room(self, shard: _Shard) -> bool:
        """Whether a new key finds a place: free, or another's of the same shard."""
        return self._count < self._capacity or bool(shard.ring)

    def _replace(self, shard: _Shard, key: bytes, old: Answer, answer: Answer, now: float) -> None:
        if old is not answer:
            answer.used = old.used
            # Replies that were made of the old one beforehand are given no longer.
            old.expires = min(old.expires, now)
            shard.answers[key] = answer

    def _bind(self, answer: Answer) -> int:
        """The seconds that it may be kept; 0: not at all. Its records get TTLs within the same bounds."""
        shortest, longest, negative = self._bounds
        seconds = answer.ttl
        if not seconds:
            return 0
        if is_negative(answer):
            seconds = longest = min(seconds, negative, longest)
            shortest = 0
        elif seconds < shortest or seconds > longest:
            shortest = min(shortest, longest)
            seconds = min(max(seconds, shortest), longest)
        if seconds:
            _bind_records(answer, shortest, longest)
            answer.ttl = seconds
        return seconds

    def _date(self, answer: Answer, seconds: int, now: float) -> None:
        answer.stored = now
        answer.expires = now + seconds
        answer.refresh_at = now + seconds * REFRESH_PART if seconds >= REFRESHED_TTL else NEVER
        answer.ttls = self._share(answer.ttls)
        answer.origin = self._share(answer.origin)

    def _share(self, value: _Value) -> _Value:
        """One object for all equal ones: most answers have their TTLs at the same places, and come from few servers."""
        shared = self._shared
        if len(shared) < SHARED_VALUES:
            return shared.setdefault(value, value)  # type: ignore[return-value]
        return shared.get(value, value)  # type: ignore[return-value]


def is_negative(answer: Answer) -> bool:
    """Whether it says that there is no such name or no such record: it has no answer, or an SOA beside its aliases.

    RFC 2308 §2: the record that says how long that counts is an SOA in the authority section.
    """
    if answer.rcode == NXDOMAIN or not answer.records:
        return True
    if not answer.authorities:
        return False
    body = answer.body
    places = answer.ttls[answer.records :]
    return any(body[place - _TYPE_BEFORE_TTL : place - _TYPE_BEFORE_TTL + 2] == _SOA for place in places)


def _bind_records(answer: Answer, shortest: int, longest: int) -> None:
    """Who gets the answer keeps it no longer than this cache, and asks again no sooner."""
    body: bytes | bytearray = answer.body
    for place in answer.ttls:
        (ttl,) = _unpack_ttl(body, place)
        if not shortest <= ttl <= longest:
            if isinstance(body, bytes):
                body = bytearray(body)
            _pack_ttl(body, place, shortest if ttl < shortest else longest)
    if isinstance(body, bytearray):
        answer.body = bytes(body)
