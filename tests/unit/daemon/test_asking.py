"""What an operator asks a resolver: how a name is resolved, and what its caches hold, in however many messages."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Iterator
from typing import Any, TypeVar

import pytest

from gateway.address import Address
from gateway.control.protocol import CacheEntry, Resolved
from gateway.daemon.asking import ROW, ROWS, TURN, Asking
from gateway.daemon.messages import Answered, Ask, Dump, Dumped, Flush, Flushed, channel, receive
from gateway.dns.answer import Answer
from gateway.dns.constants import A
from gateway.dns.names import wire_name
from gateway.dns.query import key_of
from gateway.dns.zones import View
from tests.unit.dns.world import World, lines

Value = TypeVar("Value")

TEXT = """
[resolver]
domain = "corp.example"
[[resolver.zone]]
name = "corp.example"
servers = ["10.0.0.99"]
clients = ["10.2.0.0/16"]
[[resolver.zone]]
name = "corp.example"
servers = ["10.0.0.53"]
records = ["printer A 10.0.0.7"]
[[resolver.zone]]
name = "."
servers = ["192.0.2.53"]
stale = true
"""
SOA = "!corp.example. 300 SOA ns. root. 1 2 3 4 60"
WWW = "www.corp.example. 300 A 10.0.0.9"


class Loop(asyncio.SelectorEventLoop):
    """A real loop, with the time of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__()

    def time(self) -> float:
        return self._world.now


class Place:
    """A resolver's desk for operators, and the supervisor's end."""

    def __init__(self, *, capacity: int = 1000) -> None:
        self.world = World(TEXT, capacity=capacity)
        self.loop = Loop(self.world)
        self.mine, self.theirs = channel()
        self.asking = Asking(self.loop, self.world.forwarder, self.view_of, self.theirs)

    def view_of(self, client: Address) -> View:
        return self.world.forwarder.zones.view_for(client)

    def run(self, work: Awaitable[Value]) -> Value:
        async def working() -> Value:
            return await work

        return self.loop.run_until_complete(working())

    def said(self) -> Any:
        """What the supervisor hears next; None: nothing yet."""
        for _ in range(3):
            self.run(asyncio.sleep(0))
        try:
            received = receive(self.mine)
        except BlockingIOError:
            return None
        assert received is not None
        return received.message

    def ask(self, name: str, kind: str = "A", client: str = "") -> None:
        self.asking.ask(Ask(7, name, kind, client))

    def resolved(self) -> Resolved:
        answered = self.said()
        assert isinstance(answered, Answered)
        assert (answered.number, answered.fault) == (7, "")
        assert answered.resolved is not None
        return answered.resolved

    def dumped(self, zone: str = "", name: str = "", limit: int = 1000) -> tuple[list[CacheEntry], int]:
        self.asking.dump(Dump(8, zone, name, limit))
        rows: list[CacheEntry] = []
        while True:
            found = self.said()
            if found is None:
                self.world.now += 1.0  # it waits until it is read
                continue
            assert isinstance(found, Dumped)
            rows += found.rows
            if found.matched is not None:
                return rows, found.matched

    def flushed(self, zone: str = "", name: str = "") -> int:
        self.asking.flush(Flush(9, zone, name))
        found = self.said()
        assert isinstance(found, Flushed)
        return found.count

    def know(self, *records: str, client: str = "10.0.0.9") -> None:
        """Somebody has asked for these."""
        for record in records:
            name, _, kind, _ = record.split(" ", 3)
            asker = self.world.ask(name, kind, client, stream=True)
            self.world.answer(self.world.took(), record)
            assert lines(asker)

    def close(self) -> None:
        self.run(asyncio.sleep(0))
        self.loop.close()
        self.mine.close()
        self.theirs.close()


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


# A name


def test_a_question_is_answered_when_the_name_server_has(place: Place) -> None:
    place.ask("WWW.Corp.Example.")
    assert place.said() is None
    place.world.now += 0.25
    place.world.answer(place.world.took(), WWW)
    found = place.resolved()
    assert found.name == "www.corp.example."
    assert (found.type, found.rcode, found.records) == ("A", "NOERROR", (WWW,))
    assert (found.zone, found.view, found.server, found.cache) == ("corp.example", 0, "10.0.0.53", "miss")
    assert (found.seconds, found.why, found.ede) == (0.25, "", "")
    assert [step[12:] for step in found.steps] == [
        "client 127.0.0.1 has view 0",
        "www.corp.example. is in zone corp.example",
        "not in the cache",
        "10.0.0.53 answered",
    ]


def test_what_the_cache_has_is_told_with_its_time_and_who_said_it(place: Place) -> None:
    place.know(WWW)
    place.world.now += 100.5
    place.ask("www.corp.example")
    found = place.resolved()
    assert (found.server, found.cache) == ("10.0.0.53", "fresh, 200 s left of 300")
    assert found.records == ("www.corp.example. 200 A 10.0.0.9",)


def test_local_names_are_told_with_their_line(place: Place) -> None:
    place.ask("printer.corp.example")
    found = place.resolved()
    assert (found.records[0].split()[-1], found.cache, found.egress) == ("10.0.0.7", "local", "")
    assert found.server == "gateway.toml:11"


def test_a_name_of_one_label_is_told_with_the_domain_that_it_got(place: Place) -> None:
    place.ask("printer")
    found = place.resolved()
    assert found.name == "printer.corp.example."
    assert found.cache == "local"


def test_an_alias_is_told_with_the_zone_of_its_end(place: Place) -> None:
    place.ask("away.corp.example")
    place.world.answer(place.world.took(), "away.corp.example. 300 CNAME www.example.net.")
    place.world.answer(place.world.took(), "www.example.net. 300 A 192.0.2.80")
    found = place.resolved()
    assert (found.name, found.zone, found.server) == ("away.corp.example.", ".", "192.0.2.53")
    assert len(found.records) == 2


@pytest.mark.parametrize(
    ("client", "server"),
    [("10.2.0.5", "10.0.0.99"), ("::ffff:10.2.0.5", "10.0.0.99"), ("10.3.0.5", "10.0.0.53"), ("", "10.0.0.53")],
)
def test_it_is_asked_as_that_client_would_ask(place: Place, client: str, server: str) -> None:
    place.ask("www.corp.example", client=client)
    sent = place.world.took()
    assert sent.server == server
    place.world.answer(sent, WWW)
    assert place.resolved().view == (1 if server == "10.0.0.99" else 0)


def test_no_such_records_and_no_such_name_are_told_apart(place: Place) -> None:
    place.ask("www.corp.example", "MX")
    place.world.answer(place.world.took(), SOA)
    found = place.resolved()
    assert (found.rcode, found.why) == ("NOERROR", "zone corp.example has the name, but no such records")
    place.ask("no.corp.example")
    place.world.answer(place.world.took(), SOA, rcode="NXDOMAIN")
    found = place.resolved()
    assert (found.rcode, found.why) == ("NXDOMAIN", "")


def test_what_is_not_given_is_told_with_the_reason_and_not_as_missing(place: Place) -> None:
    place.ask("www.example.net")
    place.world.answer(place.world.took(), "www.example.net. 300 A 10.0.0.9")
    found = place.resolved()
    assert (found.rcode, found.records, found.why) == ("NOERROR", (), "")
    assert found.ede.startswith("blocked: www.example.net. of zone . is not given: ")


def test_a_failure_is_told_with_its_reason(place: Place) -> None:
    place.ask("www.corp.example")
    place.world.fail(place.world.took(), "Connection refused")
    for sent in place.world.take():
        place.world.fail(sent, "Connection refused")
    found = place.resolved()
    assert (found.rcode, found.records) == ("SERVFAIL", ())
    assert found.ede.startswith("no reachable authority: zone corp.example: 10.0.0.53")


def test_what_is_old_is_told_as_such(place: Place) -> None:
    place.know("www.example.net. 300 A 192.0.2.80")
    place.world.now += 310
    place.ask("www.example.net")
    place.world.fail(place.world.took(), "Connection refused")
    for sent in place.world.take():
        place.world.fail(sent, "Connection refused")
    found = place.resolved()
    assert (found.server, found.cache) == ("192.0.2.53", "stale, expired 10 s ago")
    assert found.ede.startswith("stale answer")


@pytest.mark.parametrize("kind", ["AXFR", "IXFR", "ANY", "OPT", "TYPE0", "TSIG"])
def test_types_that_are_asked_for_nobody_are_answered_all_the_same(place: Place, kind: str) -> None:
    place.ask("www.corp.example", kind)
    assert place.world.take() == []
    found = place.resolved()
    assert (found.name, found.type, found.zone, found.server) == ("www.corp.example.", kind, "", "")
    assert found.why == "this is not asked for anybody"


def test_other_settings_while_a_question_waits_do_no_harm(place: Place) -> None:
    place.ask("www.corp.example")
    sent = place.world.took()
    place.world.adopt(TEXT.replace("10.0.0.53", "10.0.0.54"))
    place.world.answer(sent, WWW)
    assert place.resolved().records == (WWW,)
    place.ask("www.corp.example")
    assert place.world.took().server == "10.0.0.54"


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        pytest.param(("a..b", "A", ""), "empty label", id="no name"),
        pytest.param(("", "A", ""), "the name is empty", id="an empty name"),
        pytest.param(("a.example", "B", ""), "no such type of records", id="no type"),
        pytest.param(("a.example", "TYPE65536", ""), "no such type of records", id="a type that is too high"),
        pytest.param(("a.example", "A", "10.0.0"), "no address of a client", id="no address"),
    ],
)
def test_what_can_not_be_asked_is_refused(place: Place, ask: tuple[str, str, str], words: str) -> None:
    place.ask(*ask)
    answered = place.said()
    assert answered.resolved is None
    assert words in answered.fault


def test_the_longest_answer_that_there_is_can_be_told(place: Place) -> None:
    """A text of 64 KiB, each octet of which is written as four characters, and the backslash as two in JSON."""
    place.ask("www.corp.example", "TXT")
    text = " ".join('"' + "\\255" * 255 + '"' for _ in range(250))
    sent = place.world.took()
    place.world.answer(sent, f"www.corp.example. 300 TXT {text}")
    found = place.resolved()
    assert found.rcode == "NOERROR"
    assert len(found.records) == 1


# The caches


def test_what_is_known_is_listed_with_the_time_that_is_left(place: Place) -> None:
    place.know(WWW, "www.example.net. 60 A 192.0.2.80")
    place.world.now += 100
    rows, matched = place.dumped()
    assert matched == 2
    assert {row.zone: row for row in rows} == {
        "corp.example": CacheEntry(
            "corp.example",
            0,
            "www.corp.example.",
            "A",
            "NOERROR",
            ("www.corp.example. 200 A 10.0.0.9",),
            200,
            "10.0.0.53",
        ),
        ".": CacheEntry(
            ".", 0, "www.example.net.", "A", "NOERROR", ("www.example.net. 0 A 192.0.2.80",), -40, "192.0.2.53"
        ),
    }


@pytest.mark.parametrize(
    ("zone", "name", "matched"),
    [
        pytest.param("", "", 4, id="all"),
        pytest.param("corp.example", "", 3, id="of a zone, in all views"),
        pytest.param("Corp.Example.", "", 3, id="whose name is written otherwise"),
        pytest.param(".", "", 1, id="of the root"),
        pytest.param("", "corp.example", 3, id="below a name"),
        pytest.param("", "www.corp.example", 2, id="of a name"),
        pytest.param(".", "corp.example", 0, id="both"),
        pytest.param("", "p.example", 0, id="no label of its own"),
        pytest.param("example", "", 0, id="no zone"),
    ],
)
def test_zone_and_name_choose_what_is_listed_and_forgotten(place: Place, zone: str, name: str, matched: int) -> None:
    place.know(WWW, "mail.corp.example. 300 A 10.0.0.8", "www.example.net. 300 A 192.0.2.80")
    place.know("www.corp.example. 300 A 10.0.0.1", client="10.2.0.5")
    rows, found = place.dumped(zone, name)
    assert (len(rows), found) == (matched, matched)
    assert place.flushed(zone, name) == matched
    assert place.dumped()[1] == 4 - matched
    assert place.flushed(zone, name) == 0


def test_what_was_forgotten_is_asked_for_again_even_if_it_was_hot(place: Place) -> None:
    place.know(WWW)
    for _ in range(2):
        assert lines(place.world.ask("www.corp.example"))
    assert place.flushed(name="corp.example") == 1
    place.world.ask("www.corp.example")
    assert place.world.took().server == "10.0.0.53"


@pytest.mark.parametrize("limit", [1, ROWS, ROWS + 1, 2 * ROWS + 7])
def test_no_more_than_is_wanted_is_listed_in_as_many_messages_as_it_takes(place: Place, limit: int) -> None:
    place.know(*(f"h{number}.corp.example. 300 A 10.0.0.9" for number in range(2 * ROWS + 5)))
    rows, matched = place.dumped(limit=limit)
    assert (len(rows), matched) == (min(limit, 2 * ROWS + 5), 2 * ROWS + 5)
    assert len({row.name for row in rows}) == len(rows)


def test_long_answers_are_listed_too(place: Place) -> None:
    text = " ".join('"' + "\\255" * 255 + '"' for _ in range(200))
    for number in range(6):
        place.know(f"h{number}.corp.example. 300 TXT {text}")
    place.mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    rows, matched = place.dumped()
    assert (len(rows), matched) == (6, 6)


# Clients have their turn meanwhile


def turns(place: Place, kind: type) -> int:
    """How often others had their turn until there was a message of that kind."""

    async def counting() -> int:
        for number in range(10_000):
            with contextlib.suppress(BlockingIOError):
                received = receive(place.mine)
                assert received is not None
                if isinstance(received.message, kind) and getattr(received.message, "matched", 0) is not None:
                    return number
            await asyncio.sleep(0)
        raise AssertionError("no answer")

    return place.run(counting())


@pytest.mark.parametrize(
    ("name", "limit", "least"),
    [
        pytest.param("nobody.example", 1, 8, id="a look at each answer"),
        pytest.param("", 500, 8 + 500 * (ROW + 16) // TURN, id="many in words"),
    ],
)
def test_however_much_is_known_a_list_of_it_leaves_clients_their_turns(name: str, limit: int, least: int) -> None:
    place = Place(capacity=50_000)
    fill(place, 8 * TURN + 1)
    place.asking.dump(Dump(8, "", name, limit))
    assert turns(place, Dumped) >= least
    place.close()


def test_however_much_is_forgotten_clients_have_their_turns() -> None:
    place = Place(capacity=50_000)
    fill(place, 8 * TURN)
    place.asking.flush(Flush(9, "", ""))
    assert turns(place, Flushed) >= 4
    assert sum(len(serving.cache) for serving in place.world.forwarder.servings) == 0
    place.close()


def test_what_is_forgotten_while_it_is_listed_is_not_listed(place: Place) -> None:
    fill(place, 900)
    place.asking.dump(Dump(8, "", "", 1000))
    place.asking.flush(Flush(9, "", ""))
    found = list(iter(place.said, None))
    (matched,) = (one.matched for one in found if isinstance(one, Dumped) and one.matched is not None)
    assert 0 < matched < 900
    assert Flushed(9, 900) in found


def fill(place: Place, count: int) -> None:
    """So many answers of one zone."""
    body = bytes((192, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 10, 0, 0, 9))
    serving = place.world.forwarder.servings[1]
    for number in range(count):
        answer = Answer(0, 1, 0, body, (6,), 300)
        assert serving.cache.put(key_of(wire_name(f"h{number}.corp.example"), A), answer, place.world.now)
