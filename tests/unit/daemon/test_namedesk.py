"""The resolver's end of a worker's look-ups: both kinds of addresses, in the order they are tried in, or why not."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.address import Address
from gateway.daemon.messages import End, LookedUp, LookUp, Message, receive, send
from gateway.daemon.namedesk import MAX_WAY, MAX_WAYS, MESSAGES_A_TURN, NameDesk, addresses_in
from gateway.dns.constants import A
from gateway.dns.names import wire_name
from gateway.dns.pursuit import Pursuit
from gateway.dns.query import build_query
from gateway.net.lookup import MAX_OUTSTANDING
from tests.support.routes import words
from tests.unit.dns.world import World, here

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
[[resolver.zone]]
name = "."
servers = ["192.0.2.53"]
"""
SOA = "!corp.example. 300 SOA ns. root. 1 2 3 4 60"
CLIENT = here("10.0.0.9")


class Loop:
    """As much of a loop as is needed: the time of a world, and who reads what."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.readers: dict[socket.socket, Callable[[], None]] = {}

    def time(self) -> float:
        return self._world.now

    def add_reader(self, sock: socket.socket, call: Callable[..., None], *arguments: object) -> None:
        self.readers[sock] = lambda: call(*arguments)

    def remove_reader(self, sock: socket.socket) -> None:
        del self.readers[sock]

    def turn(self) -> None:
        for call in tuple(self.readers.values()):
            call()


class Place:
    """A desk in a world of its own, and the workers that ask there."""

    def __init__(self, text: str = TEXT) -> None:
        self.world = World(text)
        self.loop = Loop(self.world)
        self.ends: list[socket.socket] = []
        self.worker, theirs = self.pair()
        self.desk = NameDesk(
            self.loop,  # type: ignore[arg-type]
            self.world.forwarder,
            self.world.forwarder.zones.view_for,
            {"worker 1": theirs},
        )

    def pair(self) -> tuple[socket.socket, socket.socket]:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in ends:
            end.setblocking(False)
        self.ends += ends
        return ends

    def ask(self, name: str, number: int = 1, client: Address = CLIENT, by: str = "") -> None:
        send(self.worker, LookUp(number, name, client, words(by) if by else ()))
        self.loop.turn()

    def heard(self, end: socket.socket | None = None) -> LookedUp | None:
        """What the worker is told; None: nothing yet."""
        try:
            received = receive(self.worker if end is None else end)
        except BlockingIOError:
            return None
        assert received is not None
        assert isinstance(received.message, LookedUp)
        return received.message

    def told(self) -> LookedUp:
        found = self.heard()
        assert found is not None
        return found

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


def both(place: Place, four: tuple[str, ...], six: tuple[str, ...], rcode: str = "NOERROR") -> None:
    """The name servers answer both questions."""
    for sent in place.world.take():
        records = four if " A to " in str(sent) else six
        place.world.answer(sent, *(records or (SOA,)), rcode=rcode)


FOUR = ("www.corp.example. 300 A 10.0.0.9", "www.corp.example. 300 A 10.0.0.8")
SIX = ("www.corp.example. 300 AAAA fd00::9",)


@pytest.mark.parametrize(
    ("prefers_ipv6", "expected"),
    [(False, ("10.0.0.9", "10.0.0.8", "fd00::9")), (True, ("fd00::9", "10.0.0.9", "10.0.0.8"))],
)
def test_both_kinds_are_asked_for_together_and_the_preferred_one_comes_first(
    place: Place, prefers_ipv6: bool, expected: tuple[str, ...]
) -> None:
    place.desk.prefers_ipv6 = prefers_ipv6
    place.ask("www.corp.example", 7)
    assert [str(sent) for sent in place.world.sent] == [
        "www.corp.example. A to 10.0.0.53",
        "www.corp.example. AAAA to 10.0.0.53",
    ]
    assert place.heard() is None
    both(place, FOUR, SIX)
    assert place.told() == LookedUp(7, tuple(map(here, expected)))


def test_one_kind_is_enough(place: Place) -> None:
    place.ask("www.corp.example")
    both(place, FOUR[:1], ())
    assert place.told() == LookedUp(1, (here("10.0.0.9"),))


@pytest.mark.parametrize(
    ("rcode", "why"),
    [
        pytest.param("NOERROR", "the name has no address", id="none"),
        pytest.param("NXDOMAIN", "the name does not exist", id="no name"),
        pytest.param("REFUSED", "other: zone corp.example: 10.0.0.53 says REFUSED", id="refused"),
    ],
)
def test_without_any_the_reason_is_told(place: Place, rcode: str, why: str) -> None:
    place.ask("www.corp.example")
    both(place, (), (), rcode)
    assert place.told() == LookedUp(1, (), why)


def test_what_is_known_is_told_at_once(place: Place) -> None:
    for _ in range(2):
        place.ask("www.corp.example")
        both(place, FOUR, SIX)
        assert len(place.told().addresses) == 3
    assert place.world.forwarder.counts.hits == 2


def test_aliases_are_followed_to_their_addresses(place: Place) -> None:
    place.ask("www.corp.example")
    alias = "www.corp.example. 300 CNAME web.corp.example."
    both(place, (alias, "web.corp.example. 300 A 10.0.0.9"), (alias, SOA))
    assert place.told() == LookedUp(1, (here("10.0.0.9"),))


def test_a_name_of_one_label_gets_the_default_domain(place: Place) -> None:
    place.ask("www")
    both(place, FOUR[:1], SIX)
    assert len(place.told().addresses) == 2


def test_sessions_see_the_names_of_their_clients(place: Place) -> None:
    place.ask("www.corp.example", client=here("10.2.0.5"))
    assert {sent.server for sent in place.world.take()} == {"10.0.0.99"}
    place.ask("www.corp.example", client=here("203.0.113.5"))
    assert {sent.server for sent in place.world.take()} == {"10.0.0.53"}


def test_questions_leave_by_the_way_of_the_session_and_are_not_mixed(place: Place) -> None:
    place.ask("www.example.net", 1, by="wan1")
    place.ask("www.example.net", 2, by="wan2")
    assert [sent.way for sent in place.world.sent] == ["wan1", "wan1", "wan2", "wan2"]


@pytest.mark.parametrize(
    ("name", "client"),
    [
        pytest.param("", CLIENT, id="no name"),
        pytest.param("a..b", CLIENT, id="an empty label"),
        pytest.param("10.0.0.1", CLIENT, id="an address"),
        pytest.param("x" * 64, CLIENT, id="a label that is too long"),
        pytest.param("a b", CLIENT, id="a blank"),
        pytest.param("x" * 60_000, CLIENT, id="a name that is too long"),
        pytest.param("www.corp.example", Address(4, 1 << 32), id="an address of a client that is none"),
        pytest.param("www.corp.example", Address(9, 1), id="a version that is none"),
    ],
)
def test_what_can_not_be_asked_for_is_told_at_once(place: Place, name: str, client: Address) -> None:
    place.ask(name, 5, client)
    assert place.told() == LookedUp(5, (), "no name of a host" if client == CLIENT else "no address of a client")
    assert place.world.take() == []


@pytest.mark.parametrize(
    ("ways", "is_asked"),
    [
        pytest.param(("wan1",) * MAX_WAYS, True, id="as many as there may be"),
        pytest.param(("wan1",) * (MAX_WAYS + 1), False, id="one more"),
        pytest.param(("w" * MAX_WAY,), True, id="a name as long as there may be"),
        pytest.param(("w" * (MAX_WAY + 1),), False, id="a longer one"),
        pytest.param((Address(4, (1 << 32) - 1),), True, id="an address"),
        pytest.param((Address(4, 1 << 32),), False, id="an address that is none"),
        pytest.param(("wan1", Address(9, 1)), False, id="a version that is none"),
    ],
)
def test_ways_that_no_session_has_are_refused(place: Place, ways: tuple[str | Address, ...], is_asked: bool) -> None:
    send(place.worker, LookUp(1, "www.example.net", CLIENT, ways))
    place.loop.turn()
    assert len(place.world.take()) == 2 * is_asked
    assert place.heard() == (None if is_asked else LookedUp(1, (), "no ways of a session"))


def test_a_worker_has_no_more_look_ups_under_way_than_an_honest_one(place: Place) -> None:
    for number in range(MAX_OUTSTANDING):
        place.ask(f"h{number}.corp.example", number)
    assert place.heard() is None
    sent = place.world.take()
    place.ask("www.corp.example", 7)
    assert place.told() == LookedUp(7, (), "too many look-ups are under way")
    assert place.world.take() == []
    for one in sent[:2]:
        place.world.answer(one, SOA)
    assert place.told() == LookedUp(0, (), "the name has no address")
    place.ask("www.corp.example", 8)
    assert place.heard() is None
    assert len(place.world.take()) == 2, "where one is answered there is room for another"
    mine, theirs = place.pair()
    place.desk.serve("worker 1", theirs)
    send(mine, LookUp(9, "mail.corp.example", CLIENT))
    place.loop.turn()
    assert len(place.world.take()) == 2, "and the next worker has asked for nothing yet"


def test_a_bug_costs_one_look_up_which_is_answered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = place.world.forwarder.resolve
    outcomes = iter([None, ZeroDivisionError("a bug")])

    def broken(*arguments: Any) -> Pursuit | None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return resolve(*arguments)

    monkeypatch.setattr(place.world.forwarder, "resolve", broken)
    with pytest.raises(ZeroDivisionError):
        place.ask("www.corp.example", 3)
    assert place.told() == LookedUp(3, (), "internal error of the resolver")
    monkeypatch.undo()
    both(place, FOUR, ())
    assert place.heard() is None, "it is answered once"
    place.ask("mail.corp.example", 4)
    assert len(place.world.take()) == 2


@pytest.mark.parametrize("data", [b"nonsense", b"{}", b"\xff" * 100, b'{"type":"LookUp","number":-1}'])
def test_what_a_worker_says_that_is_no_question_costs_nothing(place: Place, data: bytes) -> None:
    place.worker.send(data)
    send(place.worker, End())
    place.loop.turn()
    place.ask("www.corp.example")
    both(place, FOUR, SIX)
    assert len(place.told().addresses) == 3


def test_many_questions_are_answered_with_others_in_between(place: Place) -> None:
    for number in range(MESSAGES_A_TURN + 1):
        send(place.worker, LookUp(number, "www.corp.example", CLIENT))
    place.loop.turn()
    both(place, FOUR, SIX)
    told = 0
    while place.heard() is not None:
        told += 1
    assert told == MESSAGES_A_TURN
    place.loop.turn()
    assert place.told().number == MESSAGES_A_TURN


# Workers come and go


def test_the_next_worker_of_a_name_gets_no_answer_of_the_one_before(place: Place) -> None:
    place.ask("www.corp.example", 1)
    mine, theirs = place.pair()
    place.desk.serve("worker 1", theirs)
    assert len(place.loop.readers) == 1
    send(mine, LookUp(1, "mail.corp.example", CLIENT))
    place.loop.turn()
    sent = place.world.take()
    for one in sent:
        address = "10.0.0.1" if one.name.startswith("www") else "10.0.0.2"
        if " A to " in str(one):
            place.world.answer(one, f"{one.name} 300 A {address}")
        else:
            place.world.answer(one, SOA)
    assert place.heard(mine) == LookedUp(1, (here("10.0.0.2"),))
    assert place.heard(mine) is None


def test_a_worker_that_has_gone_is_left_alone(place: Place) -> None:
    place.ask("www.corp.example", 1)
    place.worker.close()
    place.loop.turn()
    assert place.loop.readers == {}
    both(place, FOUR, SIX)


def test_a_worker_that_does_not_read_is_not_waited_for(place: Place) -> None:
    place.ask("www.corp.example")
    both(place, FOUR, SIX)
    assert place.told()
    for number in range(5000):
        place.ask("www.corp.example", number)
    assert place.told().number == 0


# Answers


QUERY = build_query(0, wire_name("www.corp.example"), A, variant=0)


@pytest.mark.parametrize(
    "data",
    [pytest.param(b"", id="nothing"), pytest.param(QUERY[:11], id="cut"), pytest.param(QUERY, id="the question")],
)
def test_an_answer_that_is_none_has_no_addresses_but_a_reason(data: bytes) -> None:
    found, why = addresses_in(data, QUERY)
    assert found == ()
    assert why


def test_every_message_that_is_told_can_be_sent(place: Place) -> None:
    """A name with as many addresses as a message of 64 KiB can hold."""
    records = [f"www.corp.example. 300 A 10.{number >> 8}.{number & 255}.1" for number in range(900)]
    place.ask("www.corp.example")
    for sent in place.world.take():
        if " A to " in str(sent):
            place.world.answer(sent, *records)
        else:
            place.world.answer(sent, SOA)
    message: Message = place.told()
    assert isinstance(message, LookedUp)
    assert len(message.addresses) == 900
