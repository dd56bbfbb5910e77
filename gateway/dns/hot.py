"""Hot answers: whole replies, found by the bytes of the query itself, so that nothing of either is read again.

The key is the query as it came, but its id; so the letter case, the flags and the EDNS options of a reply are right for
whoever sends the same bytes. A reply stands for one second of its answer's age; then its TTLs are written anew, and it
is seen whether the answer has expired or should be refreshed. A view has its own: whoever may not ask finds nothing.
"""

import itertools
import struct

from gateway.dns.answer import NEVER, Answer
from gateway.dns.constants import HEADER_BYTES
from gateway.dns.query import Query
from gateway.dns.reply import age

HOT_ENTRIES = 16384
"""At most so many a view; when there are more, the oldest quarter goes."""

_ID_BYTES = 2
_COUNTS_AT = 6
_QUARTER = HOT_ENTRIES // 4

_counts = struct.Struct("!HH").unpack_from

FRESH, WANTED, GONE = range(3)
"""What `Hot.renew` found: it may be sent; it may, and the answer should be asked for anew; it may not."""


class Hot:
    """One reply, for whoever sends these very bytes."""

    __slots__ = ("answer", "places", "rest", "seconds", "size", "until")

    def __init__(self, rest: bytes, places: tuple[int, ...], answer: Answer, now: float) -> None:
        """``rest`` is the reply as of ``now`` without its id; ``places`` are those of its TTLs, counted from there."""
        self.rest = rest
        self.places = places
        self.answer = answer
        #: bytes of the whole reply, its id too
        self.size = _ID_BYTES + len(rest)
        #: how old the answer is in ``rest``
        self.seconds = answer.age(now)
        #: from then on `renew` is asked before it is sent; monotonic seconds
        self.until = self._until(now)

    def renew(self, now: float) -> int:
        """Let it stand for another second, if it may: FRESH, WANTED or GONE."""
        answer = self.answer
        if now >= answer.expires:
            return GONE
        seconds = answer.age(now)
        if seconds != self.seconds:
            whole = bytearray(self.rest)
            age(whole, self.places, seconds - self.seconds)
            self.rest = bytes(whole)
            self.seconds = seconds
        self.until = self._until(now)
        answer.used = True
        return WANTED if now >= answer.refresh_at else FRESH

    def _until(self, now: float) -> float:
        """The next moment at which the bytes change, or a refresh or the end of the answer is due."""
        answer = self.answer
        if answer.expires == NEVER:
            return NEVER
        until = min(answer.stored + self.seconds + 1, answer.expires)
        return min(until, answer.refresh_at) if answer.refresh_at > now else until


def hot_of(message: bytes, query: Query, answer: Answer, now: float) -> Hot:
    """The same reply for the next one who asks; ``message`` was made for ``query`` of ``answer`` as of ``now``.

    A reply that was cut has the first of the answer's records only, and the first of their TTLs.
    """
    records, authorities = _counts(message, _COUNTS_AT)
    body = HEADER_BYTES - _ID_BYTES + len(query.question)
    return Hot(message[_ID_BYTES:], tuple(body + place for place in answer.ttls[: records + authorities]), answer, now)


def keep(hot: dict[bytes, Hot], data: bytes, message: bytes, query: Query, answer: Answer, now: float) -> None:
    """Let ``hot`` answer whoever sends the same query ``data`` again; see `hot_of`.

    Not for a name with capital letters: who mixes them at random (0x20) never sends the same bytes twice.
    """
    if not query.question.startswith(query.name):
        return
    if len(hot) >= HOT_ENTRIES:
        for key in list(itertools.islice(hot, _QUARTER)):
            del hot[key]
    hot[data[_ID_BYTES:]] = hot_of(message, query, answer, now)
