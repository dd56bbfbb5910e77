"""What a resolver does once a second so that others can see what it does: its numbers, its title, its zones."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite

from gateway.control.protocol import ResolverTotals, ServerRow, ZoneRow
from gateway.daemon.counters import DnsBlock, DnsCounter
from gateway.daemon.messages import Zones, send
from gateway.daemon.titles import resolver_words
from gateway.dns.forwarder import Forwarder
from gateway.dns.servers import Health, Server
from gateway.dns.serving import Serving
from gateway.dns.zones import Zone
from gateway.net.datagrams import Datagrams
from gateway.net.dnstcp import TcpServer
from gateway.system.journal import Journal
from gateway.system.title import Title

PERIOD = 1.0
LOOKS = 5
"""Seconds, and so samples, that a rate is taken over."""

WayOf = Callable[[Zone, Server], str]


class DnsSampler:
    """Looks at the questions of a resolver and writes down what is seen."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        forwarder: Forwarder,
        sockets: Callable[[], Sequence[Datagrams]],
        server: TcpServer,
        block: DnsBlock,
        journal: Journal,
        title: Title,
        channel: socket.socket,
        way_of: WayOf,
    ) -> None:
        """``sockets`` gives those of now; `leave` is told of one that is closed."""
        self._loop = loop
        self._forwarder = forwarder
        self._sockets = sockets
        self._server = server
        self._block = block
        self._journal = journal
        self._title = title
        self._channel = channel
        self._way_of = way_of
        self._before = {counter: block[counter] for counter in DnsCounter}
        self._looks: deque[tuple[float, int, int]] = deque(maxlen=LOOKS + 1)
        self._told: tuple[ZoneRow, ...] | None = None
        self._sample()

    def _sample(self) -> None:
        self._loop.call_later(PERIOD, self._sample)  # first, so that a bug costs one sample and not all later ones
        self.write()

    def leave(self, datagrams: Datagrams) -> None:
        """A socket is closed; what it has counted stays counted."""
        for counter, number in _of_sockets([datagrams]).items():
            self._before[counter] += number

    def write(self) -> None:
        """Write down what is the case now."""
        for counter, number in self._counted().items():
            self._block[counter] = self._before[counter] + number
        servings = self._forwarder.servings
        self._block[DnsCounter.ENTRIES] = sum(len(serving.cache) for serving in servings)
        self._block[DnsCounter.OUTSTANDING] = len(self._forwarder.exchanges)
        self._show(servings)
        self._tell(servings)

    def _counted(self) -> dict[DnsCounter, int]:
        counts, exchanges = self._forwarder.counts, self._forwarder.exchanges
        by_sockets = _of_sockets(self._sockets())
        return {
            DnsCounter.QUERIES: counts.queries + by_sockets[DnsCounter.QUERIES],
            DnsCounter.HITS: counts.hits + by_sockets[DnsCounter.HITS],
            DnsCounter.LOCAL: counts.local,
            DnsCounter.FORWARDED: counts.forwarded,
            DnsCounter.COALESCED: counts.coalesced,
            DnsCounter.STALE: counts.stale,
            DnsCounter.NXDOMAIN: counts.nxdomain,
            DnsCounter.SERVFAIL: counts.servfail,
            DnsCounter.REFUSED: counts.refused,
            DnsCounter.DROPPED: self._server.strangers + by_sockets[DnsCounter.DROPPED],
            DnsCounter.LIMITED: counts.limited + by_sockets[DnsCounter.LIMITED],
            DnsCounter.BLOCKED: counts.blocked,
            DnsCounter.UPSTREAM_QUERIES: exchanges.sent,
            DnsCounter.UPSTREAM_TIMEOUTS: exchanges.timeouts,
            DnsCounter.WRONG_ANSWERS: exchanges.wrong,
            DnsCounter.LOST: self._journal.lost,
        }

    def _show(self, servings: Sequence[Serving]) -> None:
        block = self._block
        self._looks.append((self._loop.time(), block[DnsCounter.QUERIES], block[DnsCounter.HITS]))
        (began, queries, hits), (now, *last) = self._looks[0], self._looks[-1]
        asked = last[0] - queries
        rate = asked / (now - began) if now > began else 0.0
        share = (last[1] - hits) / asked if asked else 0.0
        totals = ResolverTotals(queries_per_second=rate, hit_rate=min(1.0, share), entries=block[DnsCounter.ENTRIES])
        self._title.show(resolver_words(totals, _down(servings)))

    def _tell(self, servings: Sequence[Serving]) -> None:
        """Tell the supervisor how the zones stand, if they stand otherwise."""
        rows = tuple(self._row(serving) for serving in servings if serving.zone.settings is not None)
        if rows == self._told:
            return
        try:
            send(self._channel, Zones(rows))
        except OSError:
            return  # it is told with the next sample
        self._told = rows

    def _row(self, serving: Serving) -> ZoneRow:
        zone = serving.zone
        views = tuple(view.number for view in self._forwarder.zones.views if zone in view.zones)
        servers = tuple(self._server_row(zone, health) for health in serving.servers.all)
        queries = serving.hits + serving.forwarded
        return ZoneRow(zone.text, views, zone.private, servers, len(serving.cache), queries, serving.hits)

    def _server_row(self, zone: Zone, health: Health) -> ServerRow:
        time = health.srtt
        return ServerRow(
            health.text,
            "down" if health.is_down else "up",
            health.cause,
            round(time * 1000, 1) if time is not None and isfinite(time) else None,
            health.queries,
            health.failed,
            self._way_of(zone, health.server),
        )


def _of_sockets(sockets: Sequence[Datagrams]) -> Mapping[DnsCounter, int]:
    """What never came to the forwarder: hot answers, what was above a rate, and what got no answer at all."""
    hot, limited = sum(one.hits for one in sockets), sum(one.limited for one in sockets)
    return {
        DnsCounter.QUERIES: hot + limited,
        DnsCounter.HITS: hot,
        DnsCounter.LIMITED: limited,
        DnsCounter.DROPPED: sum(one.refused + one.lost for one in sockets),
    }


def _down(servings: Sequence[Serving]) -> Iterator[str]:
    return (health.text for serving in servings for health in serving.servers.all if health.is_down)
