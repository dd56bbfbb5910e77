"""What is said about a question, as caches keep it and replies are made of it: bytes, not objects.

An answer is everything after the question of a message, but its OPT record. Compression pointers in it are right for
any question of the same length at the same place, so that the same bytes serve whoever asks, in any letter case.
"""

NEVER = float("inf")


class Answer:
    """The records of one answer, and how long they may be kept."""

    __slots__ = ("ad", "authorities", "body", "expires", "origin", "rcode", "records", "refresh_at", "stored", "target",
                 "ttl", "ttls", "used")  # fmt: skip

    def __init__(
        self,
        rcode: int,
        records: int,
        authorities: int,
        body: bytes,
        ttls: tuple[int, ...],
        ttl: int,
        *,
        ad: bool = False,
        origin: str = "",
        target: bytes | None = None,
    ) -> None:
        """``ttl`` seconds is how long it may be kept by its own records; 0: it may not be.

        ``records`` and ``authorities`` count the records of the answer and authority sections in ``body``; ``ttls``
        are the places of their TTL fields, counted from the beginning of ``body``. ``ad``: its sender called it
        authentic. ``origin`` is who said it, for the administrator: ``10.0.0.53`` or ``gateway.toml:12``. ``target`` is
        the name that its chain of aliases ends at, if it is not the end: who asked must go on there.
        """
        self.rcode = rcode
        self.records = records
        self.authorities = authorities
        self.body = body
        self.ttls = ttls
        self.ttl = ttl
        self.ad = ad
        self.origin = origin
        self.target = target
        #: when it came, until when it counts, and from when on it is asked for anew if somebody still wants it
        self.stored = 0.0
        self.expires = NEVER
        self.refresh_at = NEVER
        #: asked for since it was last passed over for eviction
        self.used = False

    def age(self, now: float) -> int:
        """Whole seconds since it came; 0 for what does not grow old."""
        return 0 if self.expires == NEVER else int(now - self.stored)
