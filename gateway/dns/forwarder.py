"""The forwarder: a client's question comes in as bytes, and its answer goes out, now or later.

Exactly one zone answers a name: by its local names, its cache, or its name servers, and by nothing else. What a zone's
servers say counts for that zone's names only; an alias that leads into another zone is followed there, as the client's
view has it. When none of the servers of a zone answers, the client hears SERVFAIL and why (RFC 8914).
"""

from collections.abc import Callable, Mapping, Sequence

from gateway.config.rules import EgressWord
from gateway.dns.answer import NEVER, Answer
from gateway.dns.cache import Cache, is_negative
from gateway.dns.chain import alias, spliced
from gateway.dns.clients import Client
from gateway.dns.constants import (
    AAAA,
    DNSKEY,
    DS,
    HEADER_BYTES,
    MAX_MESSAGE,
    MAX_NAME,
    NOERROR,
    NS,
    NSEC,
    NSEC3,
    NSEC3PARAM,
    NXDOMAIN,
    REFUSED,
    RRSIG,
    SERVFAIL,
    SOA,
    A,
    Ede,
)
from gateway.dns.exchanges import STALE_SECONDS, Exchanges, Flight, Outcome
from gateway.dns.guard import Guard, addresses, allowed
from gateway.dns.hot import keep
from gateway.dns.names import ROOT, text_name
from gateway.dns.outside import Asker, Events, Failure, Outside, Ways
from gateway.dns.pursuit import Link, Pursuit
from gateway.dns.query import CD_BIT, DO_BIT, Query, key_of, read_query
from gateway.dns.reply import failure, reply, stale_reply
from gateway.dns.servers import Servers
from gateway.dns.serving import Serving
from gateway.dns.zones import View, Zone, Zones

MAX_CHAIN = 8
"""Answers that one question is pieced together from (field-cases D8)."""

STALE_TTL = 30
"""Seconds, of an answer that is given although its time is over (RFC 8767 §4)."""

FAILED_SECONDS = 1.0
"""So long nobody is asked again for what no server could answer (RFC 9520 §3.2)."""

MAX_FAILED = 4096

LOOP_SECONDS = 0.5
"""A server that owes us an answer for so long, and then asks us for it, is waiting for us."""

OF_TOP_LEVEL = frozenset({NS, SOA, DS, DNSKEY, RRSIG, NSEC, NSEC3, NSEC3PARAM})
"""What is asked of top-level domains; of the inside's hosts, whose names have one label too, all else may be asked."""

VARIANTS = (0, DO_BIT, CD_BIT, DO_BIT | CD_BIT)
"""In which one question may be known."""


class Counts:
    """What became of questions; the hot ones are counted where they are answered."""

    __slots__ = ("blocked", "coalesced", "forwarded", "hits", "limited", "local", "nxdomain", "queries", "refused",
                 "servfail", "stale")  # fmt: skip

    def __init__(self) -> None:
        self.queries = self.hits = self.local = self.forwarded = self.coalesced = self.stale = 0
        self.nxdomain = self.servfail = self.refused = self.limited = self.blocked = 0


Record = Callable[[Pursuit, int, str, float], None]
"""Told of an answer: its rcode, the words of the extended error, and the time."""


class Forwarder:
    """All zones at work."""

    def __init__(
        self,
        zones: Zones,
        outside: Outside,
        ways: Ways,
        guard: Guard,
        random: Callable[[int], bytes],
        events: Events,
        record: Record | None = None,
        *,
        capacity: int,
        outstanding: int,
        flights: int = 4096,
        log_all: bool = False,
    ) -> None:
        """``capacity`` answers of each zone are kept, and so many questions of one client may be ``outstanding``.

        ``record`` hears of each question that was not answered well, with ``log_all`` of each.
        """
        self.exchanges = Exchanges(outside, ways, guard, random, events, self._landed, self._overdue, flights)
        self.counts = Counts()
        self._random = random
        self._events = events
        self._record = record
        self._log_all = log_all
        self._capacity = capacity
        self._outstanding = outstanding
        self._failed: dict[tuple[Serving, bytes, tuple[EgressWord, ...]], tuple[float, Failure]] = {}
        #: grows whenever an answer that is pieced together may have become wrong
        self._generation = 0
        self._servings: dict[Zone, Serving] = {}
        self.adopt(zones)

    # Other zones, another network

    def adopt(
        self,
        zones: Zones,
        *,
        record: Record | None = None,
        capacity: int = 0,
        outstanding: int = 0,
        log_all: bool = False,
    ) -> None:
        """These zones from now on; those that are the same as before keep their answers and their servers' health.

        With another ``capacity`` the caches are new ones, and empty. 0: all is as it was but for the zones.
        """
        if outstanding:
            self._record, self._outstanding, self._log_all = record, outstanding, log_all
        if capacity not in (0, self._capacity):
            self._capacity = capacity
            for serving in self._servings.values():
                serving.cache = Cache(capacity, serving.zone.bounds)
        known = {serving.zone.identity: serving for serving in self._servings.values()}
        self.zones = zones
        self._servings = {zone: self._serving(zone, known) for zone in zones.zones}
        self._asked = tuple(serving for serving in self._servings.values() if serving.servers.all)
        self._failed.clear()
        self._generation += 1

    def _serving(self, zone: Zone, known: Mapping[object, Serving]) -> Serving:
        serving = known.get(zone.identity)
        views = self.zones.views
        if serving is None:
            return Serving(zone, Cache(self._capacity, zone.bounds), Servers(zone.servers, self._chance), views)
        serving.adopt(zone, views)
        return serving

    def _chance(self) -> float:
        return int.from_bytes(self._random(4), "big") / (1 << 32)

    def networks_changed(self, guard: Guard) -> None:
        """Other addresses are the inside's: what was let in before is looked at again."""
        before, self.exchanges.guard = self.exchanges.guard, guard
        new = guard.beyond(before)
        if new is None:
            return  # what was let in would be let in again
        for serving in self._asked:
            if not serving.zone.private:
                serving.cache.forget(new)
        self.cool()

    def cool(self) -> None:
        """Answer nothing any more without looking at the caches."""
        self._generation += 1
        self._failed.clear()
        for view in self.zones.views:
            view.hot.clear()

    def serving(self, zone: Zone) -> Serving:
        """A zone of now, at work."""
        return self._servings[zone]

    @property
    def servings(self) -> Sequence[Serving]:
        """All zones at work."""
        return tuple(self._servings.values())

    # A question comes

    def ask(self, data: bytes, client: Client, asker: Asker, now: float) -> None:
        """A message of a client; what is no query gets no answer."""
        query = read_query(data)
        if query is None:
            if asker.is_stream:
                asker.reply(b"")  # its place on the connection is free again
            return
        counts = self.counts
        counts.queries += 1
        if isinstance(query, bytes):
            counts.refused += 1
            asker.reply(query)
            return
        view = client.view
        if not self._log_all:
            # The way of most questions: known, and no alias; or its zone's servers are asked.
            name = query.name
            zone = view.zone_of(name)
            answer = zone.local.find(name, query.type)
            if answer is None:
                serving = self._servings[zone]
                answer = serving.cache.get(query.key, now)
                if answer is not None:
                    counts.hits += 1
                    serving.hits += 1
                    if now >= answer.refresh_at:
                        self._refresh(serving, query.key, answer, now)
                elif zone.name != ROOT or not _is_bare(name, query.type):
                    generation = self._generation
                    pursuit = Pursuit(data, query, view, client, asker, now, generation=generation, zone=zone)
                    self._forward(pursuit, serving, now)
                    return
            else:
                counts.local += 1
            if answer is not None and answer.target is None:
                self._give(data, query, view, answer, asker, now)
                return
        self._pursue(Pursuit(data, query, view, client, asker, now, generation=self._generation), now)

    def resolve(
        self,
        data: bytes,
        view: View,
        asker: Asker,
        now: float,
        words: tuple[EgressWord, ...] = (),
        steps: list[str] | None = None,
    ) -> Pursuit | None:
        """The daemon's own question, for a client with this view; None: it is no query that is pursued."""
        query = read_query(data)
        if query is None or isinstance(query, bytes):
            asker.reply(query or b"")
            return None
        self.counts.queries += 1
        pursuit = Pursuit(b"", query, view, None, asker, now, words, steps, self._generation)
        self._pursue(pursuit, now)
        return pursuit

    def refresh(self, data: bytes, client: Client, now: float) -> None:
        """A question that is often asked is answered from what will be too old soon."""
        query = read_query(data)
        if isinstance(query, Query):
            serving = self._servings[client.view.zone_of(query.name)]
            answer = serving.cache.get(query.key, now)
            if answer is not None:
                self._refresh(serving, query.key, answer, now)

    def _refresh(self, serving: Serving, key: bytes, answer: Answer, now: float) -> None:
        answer.refresh_at = NEVER  # once is enough
        if not serving.servers.is_dead() and self.exchanges.under_way(serving, key) is None:
            self.exchanges.begin(serving, key, now)

    def _give(self, data: bytes, query: Query, view: View, answer: Answer, asker: Asker, now: float) -> None:
        """An answer that is known, as bytes; the next one who asks the same way gets the same bytes."""
        if answer.rcode == NXDOMAIN:
            self.counts.nxdomain += 1
        limit = MAX_MESSAGE if asker.is_stream else query.size
        message = reply(query, answer, answer.age(now), limit)
        asker.reply(message)
        if data and answer.expires > now and not asker.is_stream and not self._log_all:
            keep(view.hot, data, message, query, answer, now)

    # The way to an answer

    def _pursue(self, pursuit: Pursuit, now: float) -> None:
        """As far as what is known leads; then somebody is asked."""
        while len(pursuit.chain) <= MAX_CHAIN:
            zone = pursuit.zone = pursuit.view.zone_of(pursuit.name)
            if pursuit.steps is not None:  # such texts cost what a question can be spared
                pursuit.note(f"{text_name(pursuit.name)} is in zone {zone.text}")
            entered = self._barred(pursuit, zone)
            if entered is not None:
                self._fail(pursuit, entered, now)
                return
            answer = self._known(pursuit, zone, now)
            if answer is None:
                self._forward(pursuit, self._servings[zone], now)
                return
            if answer.target is None:
                self._finish(pursuit, answer, now)
                return
            pursuit.follow(answer, answer.target)
        text = f"more than {MAX_CHAIN} aliases one after the other, or aliases in a circle"
        self._fail(pursuit, Failure(SERVFAIL, Ede.OTHER, text), now)

    def _barred(self, pursuit: Pursuit, zone: Zone) -> Failure | None:
        """Why this name is not looked up in this zone at all: somebody outside made an alias of it."""
        if not pursuit.chain or not zone.private or zone.settings is None:
            return None
        link = _outer(pursuit)
        return None if link is None else _blocked(link, f"it is an alias into the inside zone {zone.text}")

    def _exposed(self, pursuit: Pursuit, answer: Answer) -> Failure | None:
        """Why the end of a chain is not given: it is the gateway's own name, or an exception, but not the first one."""
        link = _outer(pursuit)
        if link is None:
            return None
        whys = map(self.exchanges.guard.refused, addresses(answer))
        return next((_blocked(link, why) for why in whys if why is not None), None)

    def _known(self, pursuit: Pursuit, zone: Zone, now: float) -> Answer | None:
        """What need not be asked: the gateway's own names, and the cache."""
        name, kind = pursuit.name, pursuit.query.type
        answer = zone.local.find(name, kind)
        if answer is not None:
            self.counts.local += 1
            pursuit.cache = "local"
            pursuit.note(f"local: {answer.origin or 'known to the gateway itself'}")
            return answer
        if zone.name == ROOT and _is_bare(name, kind):
            return self._bare(pursuit, name)
        serving = self._servings[zone]
        answer = serving.cache.get(pursuit.key, now)
        if answer is None:
            pursuit.note("not in the cache")
            return None
        self.counts.hits += 1
        serving.hits += 1
        pursuit.cache = "hit"
        if pursuit.steps is not None:
            pursuit.note(f"in the cache: {int(answer.expires - now)} s left, by {answer.origin}")
        if now >= answer.refresh_at:
            self._refresh(serving, pursuit.key, answer, now)
        return answer

    def _bare(self, pursuit: Pursuit, name: bytes) -> Answer:
        """A name of one label gets the default domain, and never leaves without (SOCKS_DNAME, spec/socks4.md §7)."""
        domain = self.zones.domain
        pursuit.cache = "local"
        if domain is None or len(name) + len(domain) - 1 > MAX_NAME:
            pursuit.note("a name of one label, and [resolver] domain is empty, or too long: it does not exist")
            return Answer(NXDOMAIN, 0, 0, b"", (), 0)
        pursuit.zone = None  # the alias is the gateway's own
        return alias(name[:-1] + domain)

    def _forward(self, pursuit: Pursuit, serving: Serving, now: float) -> None:
        """Ask the zone's name servers, or wait with those who ask them already."""
        pursuit.cache = ""  # an alias may have come from there
        client = pursuit.client
        if client is not None and not pursuit.waits:
            if client.outstanding >= self._outstanding:
                self.counts.limited += 1
                text = f"{client.outstanding} questions of this client are waiting already"
                self._fail(pursuit, Failure(SERVFAIL, Ede.OTHER, text), now)
                return
            client.outstanding += 1
            pursuit.waits = True
        # Whoever asks by the same ways waits for the same answer, and learns from the same failures.
        zone, key = serving.zone, pursuit.key
        words = () if zone.keeps_way or pursuit.words == zone.ways else pursuit.words
        if self._failed:
            known = self._failed.get((serving, key, words))
            if known is not None and known[0] > now:
                pursuit.note("failed just now, and is not tried again yet")
                self._fail(pursuit, known[1], now)
                return
        if not serving.zone.servers:
            self._fail(pursuit, _nobody(serving.zone), now)
            return
        pursuit.cache = "miss"
        flight = self.exchanges.under_way(serving, key, words)
        if flight is None:
            self.counts.forwarded += 1
            self.exchanges.begin(serving, key, now, pursuit, words)
        elif self._is_loop(flight, client, pursuit.query.question, now):
            name = text_name(pursuit.name)
            text = f"a loop of forwarders: {name} comes back from {flight.server}, which is asked for it"
            self._events.provoked("loops of forwarders", text)
            self._fail(pursuit, Failure(SERVFAIL, Ede.OTHER, text), now)
        elif now < flight.began + STALE_SECONDS or not self._give_stale(pursuit, now):
            self.counts.coalesced += 1
            pursuit.cache = "coalesced"
            pursuit.note("somebody waits for the same already")
            flight.waiters.append(pursuit)

    def _is_loop(self, flight: Flight, client: Client | None, question: bytes, now: float) -> bool:
        """Whether a question that went to a server comes from there: the very same one, in its mixture of letters; or,
        from a forwarder that mixes them anew, while it owes us the answer for long.

        By its address alone it would not do: a name server of the inside may well ask us for the names of others.
        """
        address = None if client is None else client.address
        ours = (attempt for attempt in flight.attempts if attempt.health.server.address == address)
        return any(
            attempt.sent.startswith(question, HEADER_BYTES) or now > attempt.asked_at + LOOP_SECONDS for attempt in ours
        )

    def _landed(self, pursuit: Pursuit, flight: Flight, outcome: Outcome, now: float) -> None:
        """A flight has ended; whatever goes wrong for one of those who wait, the others hear of it."""
        try:
            self._heard(pursuit, flight, outcome, now)
        except Exception as error:
            text = f"internal error with {text_name(pursuit.query.name)}: {type(error).__name__}: {error}"
            self._events.provoked("internal errors", text)
            self._over(pursuit)
            pursuit.asker.reply(failure(pursuit.query, SERVFAIL, Ede.OTHER, "internal error"))

    def _heard(self, pursuit: Pursuit, flight: Flight, outcome: Outcome, now: float) -> None:
        pursuit.asked(flight)
        if isinstance(outcome, Failure):
            if outcome.rcode == SERVFAIL:
                self._remember(flight, outcome, now)
            pursuit.note(f"no answer: {outcome.text}")
            self._fail(pursuit, outcome, now)
            return
        if pursuit.steps is not None:
            pursuit.note(f"{flight.server} answered{flight.way and f' by {flight.way}'}")
        if outcome.target is not None:
            pursuit.follow(outcome, outcome.target)
            self._go_on(pursuit, now)
        else:
            self._finish(pursuit, outcome, now)

    def _go_on(self, pursuit: Pursuit, now: float) -> None:
        """From where an answer leads; from the beginning if what was known then may be wrong now."""
        if pursuit.client is not None:
            pursuit.view = pursuit.client.view
        if pursuit.view not in self.zones.views:
            self._fail(pursuit, Failure(SERVFAIL, Ede.OTHER, "the settings have changed meanwhile; ask again"), now)
            return
        if pursuit.generation != self._generation:
            pursuit.generation = self._generation
            pursuit.begin_anew()
        self._pursue(pursuit, now)

    def _remember(self, flight: Flight, outcome: Failure, now: float) -> None:
        if flight.serving.servers.is_dead() or outcome.ede == Ede.NETWORK_ERROR:
            return  # that is known without being remembered, and over as soon as a server, or the way, is back
        if self._servings.get(flight.serving.zone) is not flight.serving:
            return  # of former settings
        if len(self._failed) >= MAX_FAILED:
            self._failed.clear()
        self._failed[flight.serving, flight.key, flight.words] = (now + FAILED_SECONDS, outcome)

    def _overdue(self, flight: Flight, now: float) -> None:
        """Where something old can be given, nobody waits for a server until he has lost patience."""
        waiters, flight.waiters = flight.waiters, []
        flight.waiters += [pursuit for pursuit in waiters if not self._give_stale(pursuit, now)]

    def tick(self, now: float) -> None:
        """See to what is due; to be called some twenty times a second."""
        self.exchanges.tick(now)
        for serving in self._asked:
            for health in serving.servers.due(now):
                self.exchanges.probe(serving, health, now)

    # The end

    def _finish(self, pursuit: Pursuit, answer: Answer, now: float) -> None:
        exposed = self._exposed(pursuit, answer) if pursuit.chain else None
        if exposed is not None:
            self._fail(pursuit, exposed, now)
            return
        if pursuit.chain:
            answer = spliced(pursuit.query.name, pursuit.query.type, pursuit.chain, pursuit.name, answer, now)
            if answer.rcode == SERVFAIL:
                text = "the answers of this chain of aliases are too long together, or can not be read"
                self._fail(pursuit, Failure(SERVFAIL, Ede.INVALID_DATA, text), now)
                return
        self._over(pursuit)
        # What was just asked for gets hot with the next one who asks, if there is one.
        is_known = pursuit.cache == "hit" or (pursuit.chain and pursuit.generation == self._generation)
        data = pursuit.data if is_known else b""
        self._give(data, pursuit.query, pursuit.view, answer, pursuit.asker, now)
        if self._record is not None and (self._log_all or answer.rcode not in (NOERROR, NXDOMAIN)):
            self._record(pursuit, answer.rcode, "", now)

    def _fail(self, pursuit: Pursuit, why: Failure, now: float) -> None:
        """No answer; or the old one, where the zone's administrator permits that."""
        if why.rcode == SERVFAIL and self._give_stale(pursuit, now):
            return
        self._over(pursuit)
        counts = self.counts
        if why.rcode == SERVFAIL:
            counts.servfail += 1
        elif why.rcode == REFUSED:
            counts.refused += 1
        elif why.ede == Ede.BLOCKED:
            counts.blocked += 1
            who = "sockd" if pursuit.client is None else str(pursuit.client.address)
            self._events.provoked("blocked names", f"client {who}: {why.text}")
        pursuit.asker.reply(
            failure(pursuit.query, why.rcode, Ede(why.ede) if why.ede in _EDES else Ede.OTHER, why.text)
        )
        if self._record is not None:
            self._record(pursuit, why.rcode, why.text, now)

    def _over(self, pursuit: Pursuit) -> None:
        if pursuit.waits and pursuit.client is not None:
            pursuit.waits = False
            pursuit.client.outstanding -= 1

    def _give_stale(self, pursuit: Pursuit, now: float) -> bool:
        zone = pursuit.zone
        if zone is None or not zone.stale or pursuit.chain:
            return False
        serving = self._servings.get(zone)  # none, if the zone is another one since a reload
        answer = None if serving is None else serving.cache.stale(pursuit.key, now)
        if answer is None or answer.target is not None or serving is None or _is_denied(serving.cache, pursuit, now):
            return False
        self._over(pursuit)
        self.counts.stale += 1
        pursuit.cache = "stale"
        pursuit.note("what was known before is given, its time is over")
        limit = MAX_MESSAGE if pursuit.asker.is_stream else pursuit.query.size
        ede = Ede.STALE_NXDOMAIN if answer.rcode == NXDOMAIN else Ede.STALE_ANSWER
        pursuit.asker.reply(stale_reply(pursuit.query, answer, STALE_TTL, limit, ede))
        if self._record is not None:
            self._record(pursuit, answer.rcode, "stale", now)
        return True


_EDES = frozenset(Ede)


def _is_bare(name: bytes, kind: int) -> bool:
    """Whether it is asked for a host by one label, which no server of the root is asked for."""
    return len(name) == name[0] + 2 and kind not in OF_TOP_LEVEL


def _is_denied(cache: Cache, pursuit: Pursuit, now: float) -> bool:
    """Whether a fresh answer, to whoever asked, says that there is no such name, or nothing of the type in question."""
    kind = pursuit.query.type
    for other in {kind, A, AAAA}:
        for variant in VARIANTS:
            answer = cache.get(key_of(pursuit.name, other, variant), now)
            if answer is not None and (answer.rcode == NXDOMAIN or (other == kind and is_negative(answer))):
                return True
    return False


def _outer(pursuit: Pursuit) -> Link | None:
    """The first alias that was written outside, unless the administrator lets its name lead to the inside."""
    for link in pursuit.chain:
        if link.zone is not None and not link.zone.private:
            return None if allowed(link.name, link.zone.allow) else link
    return None


def _blocked(link: Link, why: str) -> Failure:
    zone = "" if link.zone is None else link.zone.text
    return Failure(NOERROR, Ede.BLOCKED, f"{text_name(link.name)} of zone {zone} is not given: {why}")


def _nobody(zone: Zone) -> Failure:
    """What is said about names that no name server is asked for."""
    if zone.settings is None:
        return Failure(REFUSED, Ede.NOT_AUTHORITATIVE, "no zone of gateway.toml has this name")
    return Failure(
        NXDOMAIN, Ede.NOT_AUTHORITATIVE, f"zone {zone.text} has no name servers, only the names of its files"
    )
