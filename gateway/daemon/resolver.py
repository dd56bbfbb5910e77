"""A resolver process: split DNS for the inside, by UDP and TCP, and for the daemon's own sessions.

It has no privilege, no file and nothing but the sockets that it was given and those that it asks name servers by. What
it decides is `gateway.dns`; this puts that to the sockets of `gateway.net` and to the supervisor's orders.
"""

import asyncio
import os
import secrets
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.address import Address
from gateway.config.settings import QueryLog, ResolverSettings
from gateway.daemon.adoption import Adoption, Chosen
from gateway.daemon.answering import attend
from gateway.daemon.asking import Asking
from gateway.daemon.counters import DnsBlock
from gateway.daemon.dnssampling import DnsSampler
from gateway.daemon.life import live
from gateway.daemon.logs import reopen
from gateway.daemon.messages import (
    Ask,
    Dump,
    End,
    Flush,
    Load,
    Network,
    Orders,
    Ready,
    Received,
    Reopen,
    Serve,
    Swap,
    close_all,
    send,
)
from gateway.daemon.namedesk import NameDesk
from gateway.daemon.querylog import QueryEvents, QueryLogger
from gateway.daemon.ways import ZoneWays, prefers_ipv6
from gateway.dns.clients import Client, Clients
from gateway.dns.exchanges import Attempt
from gateway.dns.forwarder import Forwarder
from gateway.dns.guard import Guard
from gateway.dns.servers import Server
from gateway.dns.show import load_types
from gateway.dns.zones import View, Zone, Zones
from gateway.net.datagrams import Datagrams, Desk
from gateway.net.dnstcp import Connection, TcpAsker, TcpLimits, TcpServer
from gateway.net.entropy import Entropy
from gateway.net.loop import PathLoop, Poller
from gateway.net.streams import Line, StreamLimits, Streams
from gateway.net.upstreams import Upstreams
from gateway.system.journal import Journal
from gateway.system.sandbox import Confinement, Kind, confine
from gateway.system.title import Title

TICK_SECONDS = 0.05
"""How exactly the time limits of questions to name servers are kept."""

RESERVED_DESCRIPTORS = 64
"""Descriptors that are no client's and no name server's: logs, listeners, epoll sets, workers."""


@dataclass(frozen=True, slots=True)
class Post:
    """What a resolver is from its birth on."""

    name: str
    block: DnsBlock
    #: by which the workers ask
    lookups: Mapping[str, socket.socket]
    descriptors: int


class Resolver:
    """What the process is made of, and its end."""

    def __init__(
        self,
        loop: PathLoop,
        chosen: Chosen,
        network: Network,
        journal: Journal,
        post: Post,
        channel: socket.socket,
        confinement: Confinement,
        tls: ssl.SSLContext | None,
    ) -> None:
        """``network`` is what is known so far; ``tls`` None: no name server can be asked by DNS over TLS."""
        self._loop = loop
        self._channel = channel
        self._confinement = confinement
        self._journal = journal
        self._greeted = False
        self._stopped = False
        self._network = network
        self._configuration = chosen.configuration
        settings = self._settings
        zones = self._zones()
        poller = loop.poller
        shares = max(32, (post.descriptors - RESERVED_DESCRIPTORS) // 4)
        streams = Streams(loop, poller, secrets.randbits, tls, StreamLimits(total=min(256, shares)))
        random = Entropy(os.urandom).take
        self._upstreams = Upstreams(loop, poller, streams, min(8192, 2 * shares), random)
        self._ways = ZoneWays(chosen.configuration.settings, network)
        self._queries = QueryLogger(journal, loop.call_later)
        self._events = QueryEvents(journal, loop.call_later)
        self._forwarder = Forwarder(
            zones,
            self._upstreams,
            self._ways,
            Guard(network.inside, network.own),
            random,
            self._events,
            self._queries.recorder(settings.log),
            capacity=settings.cache,
            outstanding=settings.outstanding,
            log_all=settings.log is QueryLog.ALL,
        )
        self._upstreams.hear(self._heard, self._failed)
        self._clients = Clients(zones, settings.rate, settings.outstanding)
        self._desk = self._new_desk()
        limits = TcpLimits(connections=min(1000, shares))
        self._server = TcpServer(loop, poller, self._clients.of, self._asked_by_stream, journal.trouble, limits)
        poller.failed = self._bug
        loop.set_exception_handler(self._unexpected)
        self._datagrams: dict[int, Datagrams] = {}
        self._streams: dict[int, socket.socket] = {}
        # Compiling zones takes long where hosts files are long.
        self._adoption = Adoption(channel, journal.trouble, self._adopt, lambda configuration: configuration.zones)
        self._asking = Asking(loop, self._forwarder, self._view_of, channel)
        self._names = NameDesk(loop, self._forwarder, self._view_of, post.lookups)
        title = Title(post.name, live=chosen.configuration.settings.sockd.titles)
        self._sampler = DnsSampler(
            loop, self._forwarder, self._sockets, self._server, post.block, journal, title, channel, self._way_of
        )
        attend(loop, channel, journal.trouble, self._obey)
        loop.call_soon(self._tick)

    @property
    def _settings(self) -> ResolverSettings:
        return self._configuration.settings.resolver

    def _zones(self) -> Zones:
        """As they are loaded, for the networks of the inside as they are now; without [resolver] nobody may ask."""
        zones = self._configuration.zones
        if zones is None:
            return Zones.none()
        return zones.for_inside(self._network.inside)

    def _new_desk(self) -> Desk:
        clients = self._clients
        return Desk(clients.known, clients.of, clients.refill, self._forwarder.ask, self._forwarder.refresh)

    def _sockets(self) -> list[Datagrams]:
        return list(self._datagrams.values())

    def _view_of(self, address: Address) -> View:
        """The view of whoever it is; sessions are permitted by ``sockd.conf``, and see the names all the same."""
        return self._forwarder.zones.view_for(address)

    def _asked_by_stream(self, data: bytes, client: Client, asker: TcpAsker, now: float) -> None:
        if self._clients.admits(client, now):
            self._forwarder.ask(data, client, asker, now)
        else:
            self._forwarder.counts.limited += 1
            asker.reply(b"")

    def _bug(self, handler: object, error: Exception) -> None:
        """A bug costs one question, or one connection, never the process."""
        self._say_bug(error)
        if isinstance(handler, Connection | Line):
            handler.end()

    def _unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio has called has failed; its own words are for programmers at their terminals."""
        self._say_bug(context.get("exception") or RuntimeError(context["message"]))

    def _say_bug(self, error: BaseException) -> None:
        self._events.provoked("internal errors", f"internal error: {type(error).__name__}: {error}")

    # What comes back from name servers

    def _heard(self, attempt: Attempt, data: bytes) -> bool:
        return self._forwarder.exchanges.heard(attempt, data, self._loop.time())

    def _failed(self, attempt: Attempt, why: str) -> None:
        self._forwarder.exchanges.failed(attempt, why, self._loop.time())

    def _tick(self) -> None:
        self._loop.call_later(TICK_SECONDS, self._tick)  # first, so that a bug costs one tick and not all later ones
        self._forwarder.tick(self._loop.time())

    def _way_of(self, zone: Zone, server: Server) -> str:
        """By which uplink a server is asked now; empty: by none, or by whatever the kernel chooses."""
        egress = self._ways.way(zone, server.address.version, ()).egress
        return "" if egress is None else egress.uplink

    # Orders

    def _obey(self, received: Received) -> None:
        """The supervisor says what is the case now, or has gone."""
        message, descriptors = received
        match message:
            case End():
                self.stop()
            case Orders():
                self._follow(message, descriptors)
            case Load():
                self._adoption.load(received)
            case Swap():
                self._adoption.swap(message)
            case Reopen():
                reopen(self._journal, received)
            case Serve():
                self._names.serve(message.name, socket.socket(fileno=descriptors[0]))
            case Ask():
                self._asking.ask(message)
            case Flush():
                self._asking.flush(message)
            case Dump():
                self._asking.dump(message)
            case _:
                close_all(descriptors)

    def _follow(self, orders: Orders, descriptors: list[int]) -> None:
        if orders.listeners is not None:
            self._listen(dict(zip(orders.listeners, descriptors, strict=True)))
        before, self._network = self._network, orders.network
        if orders.network.inside != before.inside:
            self._welcome(self._zones())
        self._know()
        if not self._greeted:
            self._greeted = True
            send(self._channel, Ready(os.getpid(), self._confinement))

    def _know(self) -> None:
        """The host's addresses and uplinks are these now."""
        network = self._network
        self._ways = self._forwarder.exchanges.ways = ZoneWays(self._configuration.settings, network)
        self._names.prefers_ipv6 = prefers_ipv6(network.own)
        self._forwarder.networks_changed(Guard(network.inside, network.own))
        self._upstreams.ways_changed(self._ways.is_usable)

    def _listen(self, wanted: dict[int, int]) -> None:
        """Take questions by these sockets and no others; the numbers say which of them are known already."""
        for number in self._datagrams.keys() - wanted.keys():
            datagrams = self._datagrams.pop(number)
            self._sampler.leave(datagrams)
            datagrams.close()
        for number in self._streams.keys() - wanted.keys():
            sock = self._streams.pop(number)
            self._server.finish(sock)
            sock.close()
        for number, descriptor in wanted.items():
            if number in self._datagrams or number in self._streams:
                os.close(descriptor)
            else:
                self._take(number, socket.socket(fileno=descriptor))

    def _take(self, number: int, sock: socket.socket) -> None:
        if sock.type == socket.SOCK_DGRAM:
            self._datagrams[number] = Datagrams(sock, self._loop.poller, self._desk, self._loop.time)
        else:
            self._streams[number] = sock
            self._server.listen(sock)

    def _adopt(self, chosen: Chosen, _recheck: bool) -> int:
        """Other files rule from now on."""
        self._configuration = chosen.configuration
        settings = self._settings
        zones = self._zones()
        self._forwarder.adopt(
            zones,
            record=self._queries.recorder(settings.log),
            capacity=settings.cache,
            outstanding=settings.outstanding,
            log_all=settings.log is QueryLog.ALL,
        )
        self._welcome(zones)
        self._know()
        self._journal.choose(chosen.configuration.settings.log.classes)
        return 0

    def _welcome(self, zones: Zones) -> None:
        """Other clients may ask from now on; who was a stranger may be one of them."""
        self._clients.adopt(zones, self._settings.rate, self._settings.outstanding)
        for datagrams in self._sockets():
            datagrams.adopt(self._desk)

    def stop(self) -> None:
        """Answer nobody any more, and leave the loop. Once is enough."""
        if self._stopped:
            return
        self._stopped = True
        for datagrams in self._sockets():
            datagrams.close()
        self._server.close()
        self._upstreams.close()
        self._sampler.write()
        self._queries.settle()
        self._events.settle()
        self._loop.stop()


def run_resolver(chosen: Chosen, network: Network, journal: Journal, post: Post, channel: socket.socket) -> None:
    """The life of a resolver process, which begins with all signals blocked.

    Its orders come by ``channel``, which ends when the supervisor does; with the first ones it is ready.
    """
    load_types()
    try:
        tls: ssl.SSLContext | None = ssl.create_default_context()
    except (OSError, ssl.SSLError) as error:
        journal.trouble(f"no certificates of authorities can be read, so no zone is asked by TLS: {error}")
        tls = None
    confinement = confine(Kind.RESOLVER)
    loop = PathLoop(Poller())
    asyncio.set_event_loop(loop)
    journal.attach(loop.call_later)
    resolver = Resolver(loop, chosen, network, journal, post, channel, confinement, tls)
    live(loop, journal, resolver.stop)
