"""The name servers of one zone: which one to ask next, how long to wait for it, and which ones are down.

The administrator's order counts, unless a later server is clearly quicker. A server that failed several times in a row
is down: no question waits for it, but it is probed all the time, and one answer brings it back. What a server answers
does not matter here, only that it does. Nobody is asked here, and the clock comes in by argument, as monotonic seconds.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from gateway.address import Address, Endpoint

DNS_PORT = 53

FALL = 3
"""Failures in a row, without an answer in between, that make a server down."""

PROBE_SECONDS = 1.0
"""From one probe of a server that is down to the next."""

FIRST_PATIENCE, LEAST_PATIENCE, MOST_PATIENCE = 0.8, 0.2, 2.0
"""Seconds for one attempt: while nothing is known of the server, and in the end."""

CLEARLY = 2.0
"""So many times the time of another server is clearly slower."""

NEGLIGIBLE = 0.001
"""Seconds of round trip below which a difference is chance."""

CURIOSITY = 1 / 16
"""How often a server is asked that is not the best one, if its time was not measured lately."""

LEARN_SECONDS = 10.0
"""What "lately" is."""

_LONG_AGO = float("-inf")


class Server(NamedTuple):
    """A name server; with ``tls``, the name in its certificate, it is asked by DNS over TLS (RFC 7858)."""

    address: Address
    port: int
    tls: str = ""

    def __str__(self) -> str:
        """``10.0.0.53``, ``10.0.0.53:5353`` or ``9.9.9.9:853 (dns.quad9.net)``."""
        if self.tls:
            return f"{Endpoint(self.address, self.port)} ({self.tls})"
        return str(self.address) if self.port == DNS_PORT else str(Endpoint(self.address, self.port))


class Health:
    """What is known of one server. `Servers` changes it, but for `plain_until`, `stream_until` and `queries`."""

    __slots__ = ("answered", "cause", "deviation", "failed", "failures", "heard_at", "is_down", "learn_at",
                 "plain_until", "probe_at", "queries", "server", "since", "srtt", "stream_until", "text")  # fmt: skip

    def __init__(self, server: Server) -> None:
        self.server = server
        #: its own words
        self.text = str(server)
        #: smoothed round trip and its mean deviation in seconds (RFC 6298); None: it was never heard
        self.srtt: float | None = None
        self.deviation = 0.0
        #: failures in a row, and why the last one
        self.failures = 0
        self.cause = ""
        self.is_down = False
        #: when it went down or came back last
        self.since = _LONG_AGO
        self.heard_at = _LONG_AGO
        #: asked without EDNS until then; set by who asks
        self.plain_until = _LONG_AGO
        #: asked by TCP alone until then; set by who asks
        self.stream_until = _LONG_AGO
        #: when it is to be probed while it is down, and when it is worth a question to learn its time
        self.probe_at = self.learn_at = _LONG_AGO
        #: attempts, counted by who makes them; answers; failures
        self.queries = self.answered = self.failed = 0


class Servers:
    """All name servers of a zone, in the administrator's order."""

    __slots__ = ("_random", "all")

    def __init__(self, servers: Sequence[Server], random: Callable[[], float]) -> None:
        """``random`` gives numbers of at least 0 and less than 1."""
        self.all = tuple(Health(server) for server in servers)
        self._random = random

    def best(self, now: float, tried: Collection[Health]) -> Health | None:
        """Whom to ask; None: those that are not down were ``tried``.

        The first one in order, unless another one is clearly quicker; now and then another one to learn its time.
        """
        usable = [health for health in self.all if not health.is_down and health not in tried]
        if not usable:
            return None
        best = usable[0]
        if len(usable) > 1:
            best = _preferred(usable)
            unsure = [health for health in usable if health.learn_at <= now and health is not best]
            if unsure and self._random() < CURIOSITY:
                best = min(unsure, key=_learn_at)
        best.learn_at = now + LEARN_SECONDS
        return best

    def patience(self, health: Health) -> float:
        """Seconds to wait for one answer; twice as long after each failure (RFC 6298 §2, §5.5)."""
        patience = FIRST_PATIENCE
        srtt, failures = health.srtt, health.failures
        if srtt is not None:
            patience = srtt + 4 * health.deviation
            if patience < LEAST_PATIENCE:
                patience = LEAST_PATIENCE
        if failures:
            patience *= 1 << min(failures, 4)
        return patience if patience < MOST_PATIENCE else MOST_PATIENCE

    def answered(self, health: Health, seconds: float, now: float) -> bool:
        """It answered, whatever it was, after so many seconds. True: it was down and is up again."""
        _learn(health, seconds)
        health.answered += 1
        health.failures = 0
        health.cause = ""
        health.heard_at = now
        was_down, health.is_down = health.is_down, False
        if was_down:
            health.since = now
        return was_down

    def failed(self, health: Health, why: str, now: float, began: float | None = None) -> bool:
        """An attempt came to nothing; ``why`` in words. True: the server is down from now on.

        ``began`` is when the attempt was made, if that is known: one from before the last answer says nothing about
        the server now, since all that was asked in an outage fails a while after its end.
        """
        health.failed += 1
        if began is not None and began < health.heard_at:
            return False
        health.failures += 1
        health.cause = why
        if health.is_down or health.failures < FALL:
            return False
        health.is_down = True
        health.since = health.probe_at = now
        return True

    def due(self, now: float) -> list[Health]:
        """The servers that are down and to be probed now; each is given at once, and then once a `PROBE_SECONDS`."""
        due = [health for health in self.all if health.is_down and now >= health.probe_at]
        for health in due:
            health.probe_at = now + PROBE_SECONDS
        return due

    def is_dead(self) -> bool:
        """Whether all of them are down."""
        return all(health.is_down for health in self.all)

    def why(self, now: float) -> str:
        """What is wrong with each: ``10.0.0.53: timed out, down for 40 s; 10.0.0.54: Connection refused``."""
        return "; ".join(_trouble(health, now) for health in self.all if health.cause)


def _preferred(usable: Sequence[Health]) -> Health:
    """The first one that is not clearly slower than another; of one that was never heard nothing is known."""
    first = usable[0]
    if first.srtt is None or first.srtt <= CLEARLY * NEGLIGIBLE:
        return first
    limit = CLEARLY * max(min(health.srtt for health in usable if health.srtt is not None), NEGLIGIBLE)
    return next(health for health in usable if health.srtt is None or health.srtt <= limit)


def _learn_at(health: Health) -> float:
    return health.learn_at


def _learn(health: Health, seconds: float) -> None:
    """Take a measurement into the mean (RFC 6298 §2.2, §2.3)."""
    srtt = health.srtt
    if srtt is None:
        health.srtt, health.deviation = seconds, seconds / 2
        return
    health.deviation += (abs(srtt - seconds) - health.deviation) / 4
    health.srtt = srtt + (seconds - srtt) / 8


def _trouble(health: Health, now: float) -> str:
    text = f"{health.text}: {health.cause}"
    seconds = int(now - health.since) if health.is_down else 0
    return f"{text}, down for {seconds} s" if seconds else text
