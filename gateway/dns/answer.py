"""What is said about a question, as caches keep it and replies are made of it: bytes, not objects.

An answer is everything after the question of a message, but its OPT record. Compression pointers in it are right for
any question of the same length at the same place, so that the same bytes serve whoever asks, in any letter case.
"""

import msgspec

NEVER = float("inf")


class Answer(msgspec.Struct, eq=False, gc=False):
    """The records of one answer, and how long they may be kept.

    A Struct that the garbage collector does not know: it would look at all of a full cache again and again, and
    everybody would wait for it.
    """

    rcode: int
    #: how many records of the answer section and of the authority section are in ``body``
    records: int
    authorities: int
    body: bytes
    #: the places of their TTL fields, counted from the beginning of ``body``
    ttls: tuple[int, ...]
    #: how many seconds it may be kept by its own records; 0: it may not be
    ttl: int
    #: its sender called it authentic
    ad: bool = False
    #: who said it, for the administrator: ``10.0.0.53`` or ``gateway.toml:12``
    origin: str = ""
    #: the name that its chain of aliases ends at, if it is not the end: who asked must go on there
    target: bytes | None = None
    #: when it came, until when it counts, and from when on it is asked for anew if somebody still wants it
    stored: float = 0.0
    expires: float = NEVER
    refresh_at: float = NEVER
    #: asked for since it was last passed over for eviction
    used: bool = False

    def age(self, now: float) -> int:
        """Whole seconds since it came; 0 for what does not grow old."""
        return 0 if self.expires == NEVER else int(now - self.stored)
