"""Who asks: the view of a client, how fast it may ask, and how many of its questions are waiting.

Whether a client may ask at all is decided here by its address, before anything else looks at what it says (field-cases
D4, D14). Clients are remembered by the bytes of their address, so that the next datagram costs one look-up; how many is
bounded, whoever sends from however many addresses; strangers are not remembered here. The clock comes in by argument.
"""

from gateway.address import Address
from gateway.dns.zones import View, Zones

MAX_CLIENTS = 65_536

REFILL_SECONDS = 1.0
"""How often a client gets what it may ask in a second."""

UNLIMITED = (1 << 30) - 1
"""Tokens where there is no limit: the largest integer of one digit, the quickest to count down."""

_CHANCES = 16
"""Clients that are passed over, because they have just asked, before one is forgotten all the same."""

_MAPPED = bytes(10) + b"\xff\xff"


class Client:
    """Somebody who may ask."""

    __slots__ = ("_seen", "address", "outstanding", "packed", "refilled", "tokens", "view")

    def __init__(self, packed: bytes, view: View, tokens: int, now: float) -> None:
        """``packed``: its address, 4 bytes or 16."""
        self.packed = packed
        self.address = Address.from_packed(packed)
        self.view = view
        #: questions that it may ask before it needs `Clients.refill`, and when that gave it some last
        self.tokens = tokens
        self.refilled = now
        #: questions that wait for a name server; counted by who forwards them
        self.outstanding = 0
        self._seen = tokens

    def is_idle(self) -> bool:
        """Whether it has not asked since this was wanted to know last, and waits for nothing."""
        is_idle = self.tokens == self._seen and not self.outstanding
        self._seen = self.tokens
        return is_idle


class Clients:
    """All who have asked lately."""

    __slots__ = ("_full", "_hand", "_ring", "_zones", "known", "outstanding", "rate")

    def __init__(self, zones: Zones, rate: float, outstanding: int) -> None:
        """``rate``: questions a second of each client, 0: no limit; ``outstanding``: how many of them may wait."""
        #: by packed address, for who looks on the fast path before it asks `of`; always this same dictionary
        self.known: dict[bytes, Client] = {}
        self._ring: list[bytes] = []
        self._hand = 0
        self._configure(zones, rate, outstanding)

    def _configure(self, zones: Zones, rate: float, outstanding: int) -> None:
        self._zones = zones
        self.rate = rate
        self.outstanding = outstanding
        self._full = max(int(rate), 1) if rate else UNLIMITED

    def adopt(self, zones: Zones, rate: float, outstanding: int) -> None:
        """Other zones and limits. Clients stay, with what waits for them; who may not ask any more is forgotten."""
        self._configure(zones, rate, outstanding)
        for packed, client in list(self.known.items()):
            view = zones.view_of(client.address)
            if view is None:
                del self.known[packed]
            else:
                client.view = view
                client.tokens = self._full
        self._ring = list(self.known)
        self._hand = 0

    def of(self, packed: bytes, now: float) -> Client | None:
        """The client with this source address, 4 bytes or 16; None: it may not ask.

        An IPv4-mapped address counts as IPv4 (RFC 4291 §2.5.5.2), or it would be another client, with another view.
        """
        if packed[:12] == _MAPPED:
            packed = packed[12:]
        return self.known.get(packed) or self._meet(packed, now)

    def admits(self, client: Client, now: float) -> bool:
        """Whether its rate allows one question more, which is counted."""
        if client.tokens > 0:
            client.tokens -= 1
            return True
        return self.refill(client, now)

    def refill(self, client: Client, now: float) -> bool:
        """For a client whose tokens are used up, and who asks: whether it gets new ones, less one for that question."""
        if self.rate and now - client.refilled < REFILL_SECONDS:
            client.tokens = 0  # it may have been counted below
            return False
        client.refilled = now
        client.tokens = self._full - 1
        return True

    # Who is remembered

    def _meet(self, packed: bytes, now: float) -> Client | None:
        view = self._zones.view_of(Address.from_packed(packed))
        if view is None:
            return None
        client = Client(packed, view, self._full, now)
        if len(self._ring) < MAX_CLIENTS:
            self._ring.append(packed)
        else:
            self._ring[self._forget()] = packed
        self.known[packed] = client
        return client

    def _forget(self) -> int:
        """Forget a client that has not asked for long; its place in the ring."""
        ring, known = self._ring, self.known
        for _ in range(_CHANCES):
            self._hand = (self._hand + 1) % len(ring)
            if known[ring[self._hand]].is_idle():
                break
        del known[ring[self._hand]]
        return self._hand
