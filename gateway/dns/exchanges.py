"""Questions to name servers, each until it is answered or given up: which server, which way, how long, what counts.

An answer counts if it has the id, the letter case and the question that were sent, and comes from where they were sent
to (RFC 5452, field-cases D1). Several wrong ones mean that somebody guesses: the question goes on by TCP. Two who ask
the same wait for the same exchange. A question never leaves its zone: when none of the zone's servers answers, that is
the answer.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from gateway.config.rules import EgressWord
from gateway.dns.answer import Answer
from gateway.dns.constants import FORMERR, NOERROR, NOTIMP, NXDOMAIN, SERVFAIL, SOA, Ede, rcode_text
from gateway.dns.guard import Guard, allowed
from gateway.dns.names import text_name
from gateway.dns.outside import Events, Failure, Outside, Ways
from gateway.dns.query import build_query, key_of
from gateway.dns.response import Malformed, Reading, read_response
from gateway.dns.servers import Health
from gateway.dns.serving import Serving

GIVE_UP_SECONDS = 6.0
"""Of one question in all: stubs ask again, or somebody else, after five seconds at most (resolv.conf(5))."""

PROBE_SECONDS = 1.0
"""How long a server that is down may take to show that it is not."""

STREAM_SECONDS = 4.0
"""Of one attempt by TCP or TLS, its connection included."""

STALE_SECONDS = 1.8
"""After so long whoever waits gets what was known before, if it may be given (RFC 8767 §5)."""

PLAIN_SECONDS = 900.0
"""A server that refused EDNS is asked without it so long (RFC 6891 §6.2.2)."""

MAX_WRONG = 3
"""Wrong answers to one question before it goes on by TCP."""

ROUNDS = 2
"""How often each server is asked one question at most."""

Outcome = Answer | Failure


class Flight:
    """One question on its way; the token of the outside."""

    __slots__ = ("asked_at", "cases", "deadline", "edns", "failure", "give_up_at", "health", "is_probe", "is_stream",
                 "key", "link", "name", "over", "rounds", "sent", "serial", "serving", "tried", "type", "variant",
                 "waiters", "way", "words", "wrong")  # fmt: skip

    def __init__(self, serving: Serving, key: bytes, words: tuple[EgressWord, ...], now: float) -> None:
        self.serving = serving
        self.key = key
        self.words = words
        self.name = key[:-3]
        self.type = (key[-3] << 8) | key[-2]
        self.variant = key[-1]
        self.link: Any = None
        #: who wants to know, the first one first
        self.waiters: list[Any] = []
        self.tried: list[Health] = []
        self.health: Health | None = None
        self.sent = b""
        self.asked_at = now
        self.deadline = self.give_up_at = now + GIVE_UP_SECONDS
        #: counts attempts, so that the timers of former ones are known as such
        self.serial = 0
        self.rounds = 1
        self.wrong = 0
        self.is_stream = False
        self.edns = True
        #: for one server, which is down, and for nobody's sake
        self.is_probe = False
        self.over = False
        #: the best that can be said if no server does better
        self.failure: Failure | None = None
        #: how it left, for the log
        self.way = ""

    @property
    def server(self) -> str:
        """Who was asked last."""
        return "" if self.health is None else self.health.text


Landed = Callable[[Any, Flight, Outcome, float], None]
"""Hears of the outcome for one of those who wait for a flight, and the time."""


class Exchanges:
    """All questions that are on their way."""

    def __init__(
        self,
        outside: Outside,
        ways: Ways,
        guard: Guard,
        random: Callable[[int], bytes],
        events: Events,
        landed: Landed,
        overdue: Callable[[Flight, float], None],
    ) -> None:
        """``random`` gives so many unpredictable bytes; ``overdue`` hears of what waits for `STALE_SECONDS`."""
        self.ways = ways
        self.guard = guard
        self._outside = outside
        self._random = random
        self._events = events
        self._landed = landed
        self._overdue = overdue
        self._flights: dict[tuple[Serving, bytes, tuple[EgressWord, ...]], Flight] = {}
        self._timers: list[tuple[float, int, int, Flight]] = []
        self._number = count().__next__
        self.sent = self.timeouts = self.wrong = 0

    def __len__(self) -> int:
        return len(self._flights)

    def under_way(self, serving: Serving, key: bytes, words: tuple[EgressWord, ...] = ()) -> Flight | None:
        """The exchange for this question, if there is one."""
        return self._flights.get((serving, key, words))

    def begin(
        self, serving: Serving, key: bytes, now: float, waiter: Any = None, words: tuple[EgressWord, ...] = ()
    ) -> Flight:
        """Ask; ``key`` is that of `gateway.dns.query.Query`. The waiter may hear at once."""
        flight = self._flights[serving, key, words] = Flight(serving, key, words, now)
        if waiter is not None:
            flight.waiters.append(waiter)
        serving.forwarded += 1
        self._attempt(flight, now)
        if serving.zone.stale and not flight.over:
            heappush(self._timers, (now + STALE_SECONDS, self._number(), -1, flight))
        return flight

    def probe(self, serving: Serving, health: Health, now: float) -> None:
        """See whether a server that is down has come back: it is asked for the SOA record of the zone."""
        flight = Flight(serving, key_of(serving.zone.name, SOA), (), now)
        flight.is_probe = True
        flight.give_up_at = now + PROBE_SECONDS
        if not self._ask(flight, health, now):
            flight.over = True

    # One attempt after the other

    def _attempt(self, flight: Flight, now: float) -> None:
        """Ask the best server that was not asked yet; without one, that is the end."""
        if flight.is_probe:
            flight.over = True
            return
        servers = flight.serving.servers
        while now < flight.give_up_at:
            health = servers.best(now, flight.tried)
            if health is None:
                if flight.rounds >= ROUNDS or not flight.tried or servers.is_dead() or flight.failure is not None:
                    break
                flight.rounds += 1
                flight.tried = []
                continue
            flight.tried.append(health)
            if self._ask(flight, health, now):
                return
        self._end(flight, self._unanswered(flight, now), now)

    def _unanswered(self, flight: Flight, now: float) -> Failure:
        if flight.failure is not None:
            return flight.failure
        zone = flight.serving.zone
        if not zone.servers:
            return Failure(SERVFAIL, Ede.NOT_READY, f"zone {zone.text} has no name servers")
        why = f"zone {zone.text}: {flight.serving.servers.why(now) or 'no name server answered in time'}"
        return Failure(SERVFAIL, Ede.NO_REACHABLE_AUTHORITY, why)

    def _ask(self, flight: Flight, health: Health, now: float, *, stream: bool = False) -> bool:
        """Whether the question has left."""
        server = health.server
        way = self.ways.way(flight.serving.zone, server.address.version, flight.words)
        if way.blocked:
            # Nothing is wrong with the server, and there is no other way: see Ways.
            flight.failure = Failure(SERVFAIL, Ede.NETWORK_ERROR, f"zone {flight.serving.zone.text}: {way.blocked}")
            return False
        flight.health = health
        flight.is_stream = stream or bool(server.tls)
        flight.edns = health.plain_until <= now
        flight.way = "" if way.egress is None else way.egress.uplink
        flight.wrong = 0
        flight.asked_at = now
        number = int.from_bytes(self._random(10), "big")
        # By TCP nobody guesses, and a server that loses the case of letters can still be asked.
        cases = 0 if flight.is_stream else number >> 16
        flight.sent = build_query(
            number & 0xFFFF, flight.name, flight.type, variant=flight.variant, edns=flight.edns, cases=cases
        )
        health.queries += 1
        self.sent += 1
        patience = STREAM_SECONDS if flight.is_stream else flight.serving.servers.patience(health)
        self._set_timer(flight, min(now + patience, flight.give_up_at))
        if flight.is_stream:
            self._outside.stream(flight, server, way.egress, flight.sent)
            return True
        try:
            self._outside.datagram(flight, server, way.egress, flight.sent)
        except OSError as error:
            self._server_failed(flight, error.strerror or str(error), now)
            return False
        return True

    def _set_timer(self, flight: Flight, when: float) -> None:
        flight.deadline = when
        flight.serial += 1
        heappush(self._timers, (when, self._number(), flight.serial, flight))

    def tick(self, now: float) -> None:
        """See to what is due; to be called some twenty times a second."""
        timers = self._timers
        while timers and timers[0][0] <= now:
            _, _, serial, flight = heappop(timers)
            if flight.over:
                continue
            if serial < 0:
                self._overdue(flight, now)
            elif serial == flight.serial:
                self._late(flight, now)

    def next_due(self) -> float | None:
        """When the next timer is due; None: there is none."""
        return self._timers[0][0] if self._timers else None

    def _late(self, flight: Flight, now: float) -> None:
        self.timeouts += 1
        self._outside.release(flight)
        health = flight.health
        if health is not None and flight.wrong and not flight.is_stream:
            # It may be the right one that loses the case of letters; or a forger, whom TCP shuts out.
            if not self._ask(flight, health, now, stream=True):
                self._attempt(flight, now)
            return
        self._server_failed(flight, "timed out", now)
        self._attempt(flight, now)

    def _server_failed(self, flight: Flight, why: str, now: float) -> None:
        health = flight.health
        if health is not None and flight.serving.servers.failed(health, why, now, flight.asked_at):
            self._events.trouble(f"zone {flight.serving.zone.text}: name server {health.text} is down: {why}")

    # What comes back

    def heard(self, flight: Flight, data: bytes, now: float) -> bool:
        """Something came from where the question went; whether it was the answer, and nothing more is waited for."""
        if flight.over or flight.health is None:
            return True
        try:
            reading = read_response(data, flight.sent, flight.serving.inside)
        except Malformed as fault:
            return self._wrong(flight, str(fault), now)
        health = flight.health
        if reading.truncated and not flight.is_stream:
            self._outside.release(flight)
            if not self._ask(flight, health, now, stream=True):
                self._attempt(flight, now)
            return True
        if flight.serving.servers.answered(health, now - flight.asked_at, now):
            self._events.line(f"zone {flight.serving.zone.text}: name server {health.text} is up")
        if flight.is_probe:
            flight.over = True
            self._outside.release(flight)
            return True
        self._take(flight, health, reading, now)
        return True

    def _wrong(self, flight: Flight, why: str, now: float) -> bool:
        self.wrong += 1
        flight.wrong += 1
        if flight.is_stream:
            self._server_failed(flight, f"answered nonsense: {why}", now)
            self._attempt(flight, now)
            return True
        if flight.wrong < MAX_WRONG:
            return False
        self._outside.release(flight)
        health = flight.health
        assert health is not None
        zone, wanted = flight.serving.zone.text, text_name(flight.name)
        text = (
            f"zone {zone}: {flight.wrong} wrong answers as if from {health.server} for {wanted}: {why}; asking by TCP"
        )
        self._events.trouble(text)
        if not self._ask(flight, health, now, stream=True):
            self._attempt(flight, now)
        return True

    def _take(self, flight: Flight, health: Health, reading: Reading, now: float) -> None:
        rcode = reading.answer.rcode
        if rcode in (NOERROR, NXDOMAIN) and not reading.referral:
            self._end(flight, self._accepted(flight, health, reading, now), now)
            return
        if rcode in (FORMERR, NOTIMP) and flight.edns and not reading.edns:
            health.plain_until = now + PLAIN_SECONDS
            flight.tried.remove(health)
            self._attempt(flight, now)
            return
        flight.failure = _refused(flight, health, reading)
        self._attempt(flight, now)

    def _accepted(self, flight: Flight, health: Health, reading: Reading, now: float) -> Outcome:
        zone = flight.serving.zone
        answer = reading.answer
        answer.origin = health.text
        answer.target = reading.target
        if not zone.private and reading.addresses:
            why = self._rebinding(flight, reading)
            if why:
                return Failure(NOERROR, Ede.BLOCKED, why)
        kept = flight.serving.cache.put(flight.key, answer, now)
        if kept is None:
            answer.stored = answer.expires = now  # for those who wait, and nobody else
        return kept or answer

    def _rebinding(self, flight: Flight, reading: Reading) -> str:
        """Why this answer of an outside zone is not given (field-cases D15); empty: it is."""
        for address in reading.addresses:
            why = self.guard.refused(address)
            if why is not None:
                settings = flight.serving.zone.settings
                if settings is not None and allowed(flight.name, flight.serving.zone.allow):
                    return ""
                return f"{text_name(flight.name)} of zone {flight.serving.zone.text} is not given: {why}"
        return ""

    def failed(self, flight: Flight, why: str, now: float) -> None:
        """The attempt that is under way has come to nothing."""
        if flight.over:
            return
        self._outside.release(flight)
        self._server_failed(flight, why, now)
        self._attempt(flight, now)

    def _end(self, flight: Flight, outcome: Outcome, now: float) -> None:
        flight.over = True
        self._outside.release(flight)
        self._flights.pop((flight.serving, flight.key, flight.words), None)
        waiters, flight.waiters = flight.waiters, []
        for waiter in waiters:
            self._landed(waiter, flight, outcome, now)


def _refused(flight: Flight, health: Health, reading: Reading) -> Failure:
    zone = flight.serving.zone.text
    if reading.referral:
        return Failure(
            SERVFAIL, Ede.NO_REACHABLE_AUTHORITY, f"zone {zone}: {health.server} only refers to other servers"
        )
    text = f"zone {zone}: {health.server} says {rcode_text(reading.answer.rcode)}"
    if reading.ede is None:
        return Failure(SERVFAIL, Ede.OTHER, text)
    code, words = reading.ede
    return Failure(SERVFAIL, code, f"{text}: {words}" if words else text)
