"""Questions to name servers, each until it is answered or given up: which server, which way, how long, what counts.

An answer counts if it has the id, the letter case and the question that were sent, and comes from where they were sent
to (RFC 5452, field-cases D1). Several wrong ones mean that somebody guesses: the question goes on by TCP. Two who ask
the same wait for the same exchange. A question never leaves its zone: when none of the zone's servers answers, that is
the answer.

When a server takes longer than it usually does another one is asked, but its answer still counts: a name that no cache
has takes a recursive server much longer than others. Only who says nothing at all for long has failed.
"""

import errno
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.config.rules import EgressWord
from gateway.dns.answer import Answer
from gateway.dns.constants import FORMERR, HEADER_BYTES, NOERROR, NOTIMP, NXDOMAIN, SERVFAIL, SOA, Ede, rcode_text
from gateway.dns.guard import Guard, allowed
from gateway.dns.names import text_name
from gateway.dns.outside import Events, Failure, Moved, Ours, Outside, Ways
from gateway.dns.query import key_of, query_for
from gateway.dns.response import Malformed, Reading, read_response
from gateway.dns.servers import Health
from gateway.dns.serving import Serving

GIVE_UP_SECONDS = 6.0
"""Of one question in all: stubs ask again, or somebody else, after five seconds at most (resolv.conf(5))."""

SILENCE_SECONDS = 2.0
"""A server that has not said a word for so long has failed; it is still listened to."""

PROBE_SECONDS = 1.0
"""How long a server that is down may take to show that it is not."""

STREAM_SECONDS = 4.0
"""Of one attempt by TCP or TLS, its connection included."""

STALE_SECONDS = 1.8
"""After so long whoever waits gets what was known before, if it may be given (RFC 8767 §5)."""

HABIT_SECONDS = 900.0
"""So long it is kept in mind that a server is asked without EDNS (RFC 6891 §6.2.2), or by TCP alone."""

MAX_WRONG = 3
"""Wrong answers to one question before it goes on by TCP."""

ROUNDS = 2
"""How often each server is asked one question at most, once a round; by TCP again where UDP does not do."""

_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that say nothing about a name server."""

Outcome = Answer | Failure


class Attempt(msgspec.Struct, eq=False):
    """A flight's question to one server; the token of the outside.

    A Struct, as is `Flight`, since they are made for each question that no cache knows.
    """

    flight: "Flight"
    health: Health
    #: how it left, for the log
    way: str
    sent: bytes
    asked_at: float
    edns: bool
    is_stream: bool
    link: Any = None
    over: bool = False
    #: another server was asked, too; and then: counted as a failure
    is_late: bool = False
    is_silent: bool = False
    #: by TCP for want of sockets of our own
    is_makeshift: bool = False
    #: wrong answers
    wrong: int = 0


class Flight(msgspec.Struct, eq=False):
    """One question on its way."""

    serving: Serving
    key: bytes
    words: tuple[EgressWord, ...]
    began: float
    give_up_at: float
    #: who wants to know, the first one first
    waiters: list[Any] = []
    #: those that may still be answered, and the servers that were asked in this round
    attempts: list[Attempt] = []
    tried: list[Health] = []
    rounds: int = 1
    #: asked without EDNS from now on, and of whom wrong answers have come
    is_plain: bool = False
    lost_case: Health | None = None
    #: for one server, which is down, and for nobody's sake
    is_probe: bool = False
    over: bool = False
    #: the best that can be said if no server does better; and what went wrong by the ways of a session
    failure: Failure | None = None
    trouble: str = ""
    #: who was asked last, or has answered, and by which way
    health: Health | None = None
    way: str = ""

    @property
    def name(self) -> bytes:
        """The wire name."""
        return self.key[:-3]

    @property
    def server(self) -> str:
        """Who was asked last, or has answered."""
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
        limit: int = 4096,
    ) -> None:
        """``random`` gives so many unpredictable bytes; ``overdue`` hears of what waits for `STALE_SECONDS`.

        At most ``limit`` questions to one zone are on their way.
        """
        self.ways = ways
        self.guard = guard
        self._outside = outside
        self._random = random
        self._events = events
        self._landed = landed
        self._overdue = overdue
        self._limit = limit
        self._flights: dict[tuple[Serving, bytes, tuple[EgressWord, ...]], Flight] = {}
        #: what is to be looked at, and when. Nearly all are answered before, so that no order is kept among them
        self._timers: dict[Attempt | Flight, float] = {}
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
        flight = self._flights[serving, key, words] = Flight(serving, key, words, now, now + GIVE_UP_SECONDS)
        if waiter is not None:
            flight.waiters.append(waiter)
        serving.forwarded += 1
        serving.flying += 1
        if serving.flying > self._limit:
            # A zone whose servers are slow must leave room for the others.
            text = f"zone {serving.zone.text}: {self._limit} questions wait for its name servers already"
            self._end(flight, Failure(SERVFAIL, Ede.OTHER, text), now)
            return flight
        self._attempt(flight, now)
        if serving.zone.stale and not flight.over:
            self._timers[flight] = now + STALE_SECONDS
        return flight

    def probe(self, serving: Serving, health: Health, now: float) -> None:
        """See whether a server that is down has come back: it is asked for the SOA record of the zone."""
        flight = Flight(serving, key_of(serving.zone.name, SOA), (), now, now + PROBE_SECONDS, is_probe=True)
        self._ask(flight, health, now)

    # One attempt after the other

    def _attempt(self, flight: Flight, now: float) -> None:
        """Ask the best server that was not asked in this round; when there is nobody to wait for, that is the end."""
        if flight.is_probe:
            flight.over = not flight.attempts
            return
        while now < flight.give_up_at:
            health = self._next(flight, now)
            if health is None:
                break
            flight.tried.append(health)
            if self._ask(flight, health, now):
                return
        if flight.failure is not None and all(attempt.is_silent for attempt in flight.attempts):
            self._end(flight, flight.failure, now)  # who has said nothing so far will not do better
        elif not flight.attempts:
            self._end(flight, self._unanswered(flight, now), now)

    def _next(self, flight: Flight, now: float) -> Health | None:
        servers = flight.serving.servers
        health = servers.best(now, flight.tried)
        if health is None and flight.words:
            # Servers that are down by other ways may be up by these.
            health = next((one for one in servers.all if one not in flight.tried), None)
        if health is None and flight.tried and flight.failure is None and self._may_repeat(flight):
            flight.rounds += 1
            flight.tried = []
            health = servers.best(now, ())
        return health

    def _may_repeat(self, flight: Flight) -> bool:
        """Whether servers are asked once more: what was lost in an outage of a moment is never answered."""
        silent = [attempt.is_silent for attempt in flight.attempts]
        return flight.rounds < ROUNDS or (bool(silent) and all(silent))

    def _unanswered(self, flight: Flight, now: float) -> Failure:
        if flight.failure is not None:
            return flight.failure
        zone = flight.serving.zone
        if not zone.servers:
            return Failure(SERVFAIL, Ede.NOT_READY, f"zone {zone.text} has no name servers")
        why = flight.trouble or flight.serving.servers.why(now) or "no name server answered in time"
        why = f"zone {zone.text}: {why}"
        return Failure(SERVFAIL, Ede.NO_REACHABLE_AUTHORITY, why)

    def _ask(
        self, flight: Flight, health: Health, now: float, *, stream: bool = False, makeshift: bool = False
    ) -> bool:
        """Whether the question has left."""
        server = health.server
        way = self.ways.way(flight.serving.zone, server.address.version, flight.words)
        if way.blocked:
            # Nothing is wrong with the server, and there is no other way: see Ways.
            flight.failure = Failure(SERVFAIL, Ede.NETWORK_ERROR, f"zone {flight.serving.zone.text}: {way.blocked}")
            return False
        edns = not flight.is_plain and health.plain_until <= now
        is_stream = stream or bool(server.tls) or health.stream_until > now
        key = flight.key
        drawn = self._random(len(key) - 1)  # the id, and an octet for each of the name
        # By TCP nobody guesses, and a server that loses the case of letters can still be asked.
        sent = query_for(key, drawn[:2], b"" if is_stream else drawn[2:], edns=edns)
        egress = way.egress
        attempt = Attempt(flight, health, "" if egress is None else egress.uplink, sent, now, edns, is_stream)
        attempt.is_makeshift = makeshift
        health.queries += 1
        self.sent += 1
        flight.health, flight.way = health, attempt.way
        flight.attempts.append(attempt)
        self._set_timer(attempt, now + self._patience(attempt))
        if is_stream:
            self._outside.stream(attempt, server, egress, sent)
            return True
        try:
            self._outside.datagram(attempt, server, egress, sent)
        except OSError as error:
            self._drop(attempt)
            if error.errno in _OURS:
                # Other zones' questions may have taken all sockets; a connection has room for many.
                return self._ask(flight, health, now, stream=True, makeshift=True)
            self._came_to_nothing(attempt, error.strerror or str(error), now)
            return False
        return True

    def _patience(self, attempt: Attempt) -> float:
        """Seconds until another server is asked, too."""
        flight = attempt.flight
        if flight.is_probe:
            return PROBE_SECONDS
        if attempt.is_stream:
            return STREAM_SECONDS
        patience = flight.serving.servers.patience(attempt.health) * flight.rounds
        return patience if patience < SILENCE_SECONDS else SILENCE_SECONDS

    def _set_timer(self, attempt: Attempt, when: float) -> None:
        last = attempt.flight.give_up_at
        self._timers[attempt] = when if when < last else last

    def tick(self, now: float) -> None:
        """See to what is due; to be called some twenty times a second."""
        timers = self._timers
        due = [one for one, when in timers.items() if when <= now]
        due.sort(key=timers.__getitem__)
        for one in due:
            if timers.pop(one, None) is None:
                continue  # one before it has ended this one
            if isinstance(one, Flight):
                self._overdue(one, now)
            else:
                self._late(one, now)

    def _late(self, attempt: Attempt, now: float) -> None:
        """It has no answer yet: another server is asked, too; then it counts as a failure; at last it is given up.

        As long as its server is not known to be down the answer may still come.
        """
        flight = attempt.flight
        if attempt.wrong and not attempt.is_stream:
            # It may be the right one that loses the case of letters; or a forger, whom TCP shuts out.
            self._ask_by_stream(attempt, now)
            return
        is_patient = not attempt.is_stream and not flight.is_probe
        if is_patient and not attempt.is_silent and now < attempt.asked_at + SILENCE_SECONDS:
            attempt.is_late = True
            self._set_timer(attempt, attempt.asked_at + SILENCE_SECONDS)
            self._attempt(flight, now)
            return
        if not attempt.is_silent:
            attempt.is_silent = True
            self.timeouts += 1
            self._came_to_nothing(attempt, "timed out", now)
        if is_patient and now < flight.give_up_at and (flight.words or not attempt.health.is_down):
            self._set_timer(attempt, flight.give_up_at)
        else:
            self._drop(attempt)
        self._attempt(flight, now)

    def _drop(self, attempt: Attempt) -> None:
        """Its answer is not wanted any more."""
        attempt.over = True
        self._timers.pop(attempt, None)
        self._outside.release(attempt)
        attempt.flight.attempts.remove(attempt)

    def _ask_by_stream(self, attempt: Attempt, now: float) -> None:
        """The same server once more, by TCP."""
        self._drop(attempt)
        if not self._ask(attempt.flight, attempt.health, now, stream=True):
            self._attempt(attempt.flight, now)

    def _came_to_nothing(self, attempt: Attempt, why: str, now: float, *, ours: bool = False) -> None:
        flight, health = attempt.flight, attempt.health
        zone = flight.serving.zone.text
        if ours or attempt.is_makeshift:
            flight.failure = Failure(SERVFAIL, Ede.OTHER, f"zone {zone}: this gateway is too busy: {why}")
        elif flight.words:
            # A way that others do not go by says nothing about the server to them.
            flight.trouble = f"{health.text} by {attempt.way or 'this way'}: {why}"
        elif flight.serving.servers.failed(health, why, now, attempt.asked_at):
            self._events.trouble(f"zone {zone}: name server {health.text} is down: {why}")

    # What comes back

    def heard(self, attempt: Attempt, data: bytes, now: float) -> bool:
        """Something came from where the question went; whether it was the answer, and nothing more is waited for."""
        if attempt.over:
            return True
        flight = attempt.flight
        try:
            reading = read_response(data, attempt.sent, flight.serving.inside)
        except Malformed as fault:
            return self._wrong(attempt, data, str(fault), now)
        self._answered(attempt, now)
        if flight.is_probe:
            self._drop(attempt)
            flight.over = True
        elif reading.truncated and not attempt.is_stream:
            self._ask_by_stream(attempt, now)
        else:
            self._take(attempt, reading, now)
        return True

    def _answered(self, attempt: Attempt, now: float) -> None:
        serving, health = attempt.flight.serving, attempt.health
        if attempt.flight.words:
            return  # by the ways of one session: see `_came_to_nothing`
        if serving.servers.answered(health, now - attempt.asked_at, now):
            self._events.line(f"zone {serving.zone.text}: name server {health.text} is up")
            self._take_heart(serving, now)

    def _take_heart(self, serving: Serving, now: float) -> None:
        """A server is back: those whose questions were lost meanwhile ask anew."""
        for flight in [one for one in self._flights.values() if one.serving is serving]:
            if not flight.over and flight.attempts and all(attempt.is_silent for attempt in flight.attempts):
                flight.tried = []
                self._attempt(flight, now)

    def _wrong(self, attempt: Attempt, data: bytes, why: str, now: float) -> bool:
        flight = attempt.flight
        self.wrong += 1
        attempt.wrong += 1
        if attempt.is_stream:
            self._drop(attempt)
            # Nobody else speaks by TCP: it answers, and what it says of a name is the choice of who owns the name.
            self._answered(attempt, now)
            text = f"zone {flight.serving.zone.text}: {attempt.health.text} answers nonsense: {why}"
            flight.failure = Failure(SERVFAIL, Ede.INVALID_DATA, text)
            self._attempt(flight, now)
            return True
        if _differs_in_case(data, attempt.sent):
            flight.lost_case = attempt.health
        if attempt.wrong < MAX_WRONG:
            return False
        zone, name = flight.serving.zone.text, text_name(flight.name)
        text = f"zone {zone}: {attempt.wrong} wrong answers as if from {attempt.health.text} for {name}: {why}"
        self._events.provoked("wrong answers", f"{text}; asking by TCP")
        self._ask_by_stream(attempt, now)
        return True

    def _take(self, attempt: Attempt, reading: Reading, now: float) -> None:
        flight, health = attempt.flight, attempt.health
        rcode = reading.answer.rcode
        flight.health, flight.way = health, attempt.way
        if rcode in (NOERROR, NXDOMAIN) and not reading.referral:
            if flight.is_plain and not attempt.edns:
                health.plain_until = now + HABIT_SECONDS
            if attempt.is_stream and flight.lost_case is health:
                health.stream_until = now + HABIT_SECONDS
            self._end(flight, self._accepted(flight, health, reading, now), now)
            return
        self._drop(attempt)
        if rcode in (FORMERR, NOTIMP) and attempt.edns and not reading.edns:
            flight.is_plain = True
            if self._ask(flight, health, now):
                return
        else:
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
        zone = flight.serving.zone
        for address in reading.addresses:
            why = self.guard.refused(address)
            if why is not None:
                if allowed(flight.name, zone.allow):
                    return ""
                return f"{text_name(flight.name)} of zone {zone.text} is not given: {why}"
        return ""

    def failed(self, attempt: Attempt, why: str, now: float) -> None:
        """An attempt has come to nothing; by a limit of this host, if the words are `Ours`, or not yet: `Moved`."""
        if attempt.over:
            return
        self._drop(attempt)
        if isinstance(why, Moved) and attempt.health in attempt.flight.tried:
            attempt.flight.tried.remove(attempt.health)
            self._attempt(attempt.flight, now)
            return
        self._came_to_nothing(attempt, why, now, ours=isinstance(why, Ours))
        self._attempt(attempt.flight, now)

    def _end(self, flight: Flight, outcome: Outcome, now: float) -> None:
        flight.over = True
        serving, timers = flight.serving, self._timers
        serving.flying -= 1
        while flight.attempts:
            attempt = flight.attempts[-1]
            self._drop(attempt)
            if attempt.is_late and not attempt.is_silent and attempt.health is not flight.health:
                # Else a dead server that another one stands in for would never be known as such.
                self._came_to_nothing(attempt, "timed out", now)
        timers.pop(flight, None)
        self._flights.pop((serving, flight.key, flight.words), None)
        waiters, flight.waiters = flight.waiters, []
        for waiter in waiters:
            self._landed(waiter, flight, outcome, now)


def _differs_in_case(data: bytes, sent: bytes) -> bool:
    """Whether this is an answer to what was sent, had its letters been left as they were."""
    end = sent.index(0, HEADER_BYTES)
    theirs, ours = data[HEADER_BYTES:end], sent[HEADER_BYTES:end]
    return data[:2] == sent[:2] and theirs != ours and theirs.lower() == ours.lower()


def _refused(flight: Flight, health: Health, reading: Reading) -> Failure:
    zone = flight.serving.zone.text
    if reading.referral:
        text = f"zone {zone}: {health.text} only refers to other servers"
        return Failure(SERVFAIL, Ede.NO_REACHABLE_AUTHORITY, text)
    text = f"zone {zone}: {health.text} says {rcode_text(reading.answer.rcode)}"
    if reading.ede is None:
        return Failure(SERVFAIL, Ede.OTHER, text)
    code, words = reading.ede
    return Failure(SERVFAIL, code, f"{text}: {words}" if words else text)
