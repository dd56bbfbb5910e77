"""What others see of a resolver: counts that only grow, a title of now, and how the zones and their servers stand."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from gateway.control.protocol import ResolverTotals, ServerRow, ZoneRow
from gateway.daemon.counters import DnsBlock, DnsCounter
from gateway.daemon.dnssampling import LOOKS, PERIOD, DnsSampler
from gateway.daemon.messages import Zones, channel, receive
from gateway.dns.servers import Server
from gateway.dns.zones import Zone
from gateway.net.datagrams import Datagrams
from gateway.net.dnstcp import TcpServer
from gateway.system.journal import Journal
from gateway.system.title import Title
from tests.unit.dns.world import World, lines

TEXT = """
[[resolver.zone]]
name = "corp.example"
servers = ["10.0.0.99"]
clients = ["10.2.0.0/16"]
[[resolver.zone]]
name = "corp.example"
servers = ["10.0.0.53", "10.0.0.54"]
[[resolver.zone]]
name = "."
servers = ["192.0.2.53"]
"""
WWW = "www.corp.example. 300 A 10.0.0.9"


@dataclass
class Socket:
    """What a socket has counted."""

    hits: int = 0
    refused: int = 0
    limited: int = 0
    lost: int = 0


@dataclass
class Server_:
    strangers: int = 0


class Shown:
    """The last title."""

    words = ""

    def show(self, doing: str) -> None:
        self.words = doing


class Loop:
    """The time of a world, and what is to be done next."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self._world.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.later.append((seconds, call))


class Place:
    """A resolver that is looked at."""

    def __init__(self, block: DnsBlock) -> None:
        self.world = World(TEXT)
        self.loop = Loop(self.world)
        self.block = block
        self.sockets = [Socket()]
        self.server = Server_()
        self.journal = Journal(None, None)
        self.title = Shown()
        self.mine, self.theirs = channel()
        self.ways: dict[str, str] = {}
        self.sampler = DnsSampler(
            cast(asyncio.AbstractEventLoop, self.loop),
            self.world.forwarder,
            lambda: cast(list[Datagrams], self.sockets),
            cast(TcpServer, self.server),
            block,
            self.journal,
            cast(Title, self.title),
            self.theirs,
            self.way_of,
        )

    def way_of(self, zone: Zone, server: Server) -> str:
        return self.ways.get(f"{zone.text} {server}", "")

    def second(self, seconds: float = PERIOD) -> None:
        """Time passes until it looks again."""
        self.world.now += seconds
        ((_, sample),) = self.loop.later
        self.loop.later.clear()
        sample()

    def told(self) -> tuple[ZoneRow, ...] | None:
        """What the supervisor is told; None: nothing."""
        found: Any = None
        while True:
            try:
                received = receive(self.mine)
            except BlockingIOError:
                return None if found is None else found.rows
            assert received is not None
            found = received.message
            assert isinstance(found, Zones)

    def know(self, record: str) -> None:
        asker = self.world.ask(record.split(" ")[0])
        self.world.answer(self.world.took(), record)
        assert lines(asker)

    def close(self) -> None:
        self.mine.close()
        self.theirs.close()


@pytest.fixture
def block() -> Iterator[DnsBlock]:
    found = DnsBlock()
    yield found
    found.close()


@pytest.fixture
def place(block: DnsBlock) -> Iterator[Place]:
    made = Place(block)
    yield made
    made.close()


# Counts


def test_what_became_of_questions_is_written_down_once_a_second(place: Place) -> None:
    place.know(WWW)
    place.world.ask("www.corp.example")
    place.world.ask("www.corp.example")  # hot, and so counted by the socket
    place.world.ask("mail.corp.example")
    place.sockets[0].hits += 1
    assert place.block[DnsCounter.QUERIES] == 0
    place.second()
    found = {counter.name: place.block[counter] for counter in DnsCounter if place.block[counter]}
    assert found == {
        "QUERIES": 4,
        "HITS": 2,
        "FORWARDED": 2,
        "UPSTREAM_QUERIES": 2,
        "ENTRIES": 1,
        "OUTSTANDING": 1,
    }
    place.world.answer(place.world.took(), rcode="REFUSED")
    place.world.answer(place.world.took(), rcode="REFUSED")
    place.second()
    assert (place.block[DnsCounter.SERVFAIL], place.block[DnsCounter.OUTSTANDING]) == (1, 0)


def test_who_gets_no_answer_is_counted_wherever_that_was_decided(place: Place) -> None:
    place.sockets.append(Socket(hits=5, refused=1, limited=2, lost=3))
    place.sockets[0] = Socket(refused=10, limited=20, lost=30)
    place.server.strangers = 100
    place.second()
    block = place.block
    assert (block[DnsCounter.DROPPED], block[DnsCounter.LIMITED]) == (144, 22)
    assert (block[DnsCounter.QUERIES], block[DnsCounter.HITS]) == (27, 5)


def test_what_a_socket_has_counted_stays_counted_when_it_is_closed(place: Place) -> None:
    place.sockets.append(Socket(hits=5, refused=1, limited=2, lost=3))
    place.second()
    before = {counter: place.block[counter] for counter in DnsCounter}
    gone = place.sockets.pop()
    place.sampler.leave(cast(Datagrams, gone))
    place.second()
    assert {counter: place.block[counter] for counter in DnsCounter} == before
    place.sockets[0].hits += 1
    place.second()
    assert place.block[DnsCounter.HITS] == 6
    assert "-" not in place.title.words


def test_a_successor_goes_on_from_the_numbers_that_it_finds(block: DnsBlock) -> None:
    block[DnsCounter.QUERIES], block[DnsCounter.SERVFAIL], block[DnsCounter.LOST] = 100, 7, 3
    place = Place(block)
    place.sockets[0].hits = 5
    place.second()
    assert (block[DnsCounter.QUERIES], block[DnsCounter.HITS], block[DnsCounter.SERVFAIL]) == (105, 5, 7)
    assert block[DnsCounter.LOST] == 3
    assert "q/s" in place.title.words
    assert place.title.words.startswith("5 q/s, 100% hits"), "not those of the one before it"
    place.close()


def test_every_counter_is_written(place: Place) -> None:
    """Whatever a block has must come from somewhere."""
    written: set[DnsCounter] = set()

    class Watched(DnsBlock):
        def __setitem__(self, counter: DnsCounter, number: int) -> None:
            written.add(counter)
            super().__setitem__(counter, number)

    watched = Watched()
    place.sampler._block = watched
    place.sampler.write()
    watched.close()
    assert written == set(DnsCounter)
    assert {counter.name.lower() for counter in DnsCounter} - {"lost"} <= set(ResolverTotals.__struct_fields__)


# The title


def test_the_title_has_the_rate_and_the_share_of_the_last_seconds(place: Place) -> None:
    assert place.title.words == "0 q/s, 0% hits, 0 names"
    place.know(WWW)
    place.sockets[0].hits += 9
    place.second()
    assert place.title.words == "10 q/s, 90% hits, 1 name"
    for _ in range(LOOKS - 1):
        place.second()
    assert place.title.words == "2 q/s, 90% hits, 1 name"
    place.second()
    assert place.title.words == "0 q/s, 0% hits, 1 name"


def test_the_title_names_the_servers_that_are_down(place: Place) -> None:
    for number in range(6):
        place.world.ask(f"h{number}.corp.example")
        for sent in place.world.take():
            place.world.fail(sent, "Connection refused")
            for again in place.world.take():
                place.world.fail(again, "Connection refused")
    place.second()
    assert place.title.words.endswith(", 0 names, down: 10.0.0.53 10.0.0.54")


# Zones


def test_zones_are_told_at_once_and_then_when_they_stand_otherwise(place: Place) -> None:
    rows = place.told()
    assert rows is not None
    up = ServerRow("10.0.0.53", "up", "", None, 0, 0, "")
    assert {(row.zone, row.views, row.private) for row in rows} == {
        ("corp.example", (0,), True),
        ("corp.example", (1,), True),
        (".", (0, 1), False),
    }
    assert next(row for row in rows if row.views == (0,)).servers[0] == up
    place.second()
    assert place.told() is None
    place.world.ask("www.corp.example")
    place.world.now += 0.02
    place.world.answer(place.world.took(), WWW)
    place.ways["corp.example 10.0.0.53"] = "eth1"
    place.second()
    rows = place.told()
    assert rows is not None
    (row,) = [row for row in rows if row.entries]
    assert (row.queries, row.hits) == (1, 0)
    assert row.servers[0] == ServerRow("10.0.0.53", "up", "", 20.0, 1, 0, "eth1")


def test_what_could_not_be_told_is_told_later(place: Place) -> None:
    place.told()
    place.mine.setblocking(False)
    place.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    sent = 0
    for _ in range(10_000):
        place.sockets[0].hits += 1
        place.world.forwarder.servings[0].hits += 1
        place.second()
        sent += 1
        if place.sampler._told is not None and place.sampler._told[0].hits != place.world.forwarder.servings[0].hits:
            break
    assert sent < 10_000, "the channel is full at last"
    rows = place.told()
    assert rows is not None
    assert rows[0].hits < place.world.forwarder.servings[0].hits
    place.second()
    rows = place.told()
    assert rows is not None
    assert rows[0].hits == place.world.forwarder.servings[0].hits


def test_a_supervisor_that_has_gone_is_not_waited_for(place: Place) -> None:
    place.mine.close()
    place.know(WWW)
    place.second()
    assert place.block[DnsCounter.QUERIES] == 1


def test_a_bug_costs_one_look_and_not_all_later_ones(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(place.sampler, "write", broken)
    with pytest.raises(ZeroDivisionError):
        place.second()
    monkeypatch.undo()
    place.know(WWW)
    place.second()
    assert place.block[DnsCounter.FORWARDED] == 1
