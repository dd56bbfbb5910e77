"""Forged answers from off the path (field-cases D1), data that nobody asked for (D12), and AD that nobody gave (D13).

Each lie is told by a name server that the real daemon asks; beside each, what is honest still works.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import pytest

from tests.support.dnsgateway import question, rcode, records, waiting
from tests.support.lying.habits import (
    Delay,
    Extra,
    First,
    Flags,
    Instead,
    LowerCase,
    NoQuestion,
    OtherAddress,
    OtherPort,
    Repeat,
    WrongId,
    WrongQuestion,
)
from tests.support.lying.message import AD, QR
from tests.support.lying.sending import Habit, on
from tests.support.splitworld import OTHER_HOST, SplitWorld, split_world

FORGED = "203.0.113.66"
NAME = "a-name-with-many-letters.many.example"
HONEST = [f"{NAME}. A 198.51.100.7"]
FORGERY = Instead((f"{NAME} 60 A {FORGED}",))
QUESTIONS = 80


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitWorld]:
    with split_world(tmp_path_factory.mktemp("forged"), resolver={"workers": 2}) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(world: SplitWorld) -> None:
    world.calm()


# --- D1: what is asked can not be guessed


def test_each_question_has_a_port_an_id_and_letters_of_its_own(world: SplitWorld) -> None:
    for number in range(QUESTIONS):
        world.gateway.ask(f"number{number}.many.example")
    heard = world.outside.heard()
    assert len(heard) == QUESTIONS
    for values in ([one.port for one in heard], [one.id for one in heard]):
        # some may meet by chance; who counts up has one step between most of them
        assert len(set(values)) > QUESTIONS - 5, values
        assert len({after - before for before, after in itertools.pairwise(values)}) > QUESTIONS - 10, values
    assert len({one.spelled[-len(".many.example") :] for one in heard}) > QUESTIONS - 15


def test_both_processes_draw_numbers_of_their_own(world: SplitWorld) -> None:
    """Two that were born of the same process must not draw the same ones (field-cases D11)."""
    sockets = [world.gateway.datagrams() for _ in range(QUESTIONS)]
    for sock in sockets:
        with sock:
            sock.send(question(NAME).to_wire())
            sock.recv(4096)
    one, other = world.outside.heard(NAME)  # each has a cache of its own
    assert (one.port, one.id, one.spelled) != (other.port, other.id, other.spelled)
    assert one.id != other.id
    assert one.spelled != other.spelled


# --- D1: what was not asked is not believed


WRONG = [
    pytest.param((WrongId(),), id="another id"),
    pytest.param((WrongQuestion(name="other.example"),), id="another name"),
    pytest.param((WrongQuestion(type=28),), id="another type"),
    pytest.param((WrongQuestion(klass=3),), id="another class"),
    pytest.param((LowerCase(),), id="other letter case"),
    pytest.param((NoQuestion(),), id="no question"),
    pytest.param((Flags(clear=QR),), id="no response"),
    pytest.param((Flags(set=2 << 11),), id="another opcode"),
    pytest.param((OtherPort(),), id="from another port"),
    pytest.param((OtherAddress(OTHER_HOST),), id="from another address"),
]


@pytest.mark.parametrize("habits", WRONG)
def test_an_answer_that_does_not_fit_is_passed_over(world: SplitWorld, habits: tuple[Habit, ...]) -> None:
    world.outside.obey(on(First(2, FORGERY, *habits), name=NAME))
    assert records(world.gateway.ask(NAME)) == HONEST
    assert {one.transport for one in world.outside.heard(NAME)} == {"udp"}


def test_the_right_answer_is_believed_if_it_comes_first(world: SplitWorld) -> None:
    """So that the test above could fail: the same forgery, where it fits."""
    world.outside.obey(on(First(1, FORGERY), name=NAME))
    assert records(world.gateway.ask(NAME)) == [f"{NAME}. A {FORGED}"]


def test_a_forger_gets_one_chance_however_many_ask(world: SplitWorld) -> None:
    """The same question is on its way once, in whatever letters and with whatever id clients ask it."""
    world.outside.obey(on(Delay(0.15), name=NAME))
    sockets = [world.gateway.datagrams(f"127.0.0.{10 + number % 4}") for number in range(40)]
    for number, sock in enumerate(sockets):
        name = "".join(letter.upper() if number >> at % 6 & 1 else letter for at, letter in enumerate(NAME))
        query = question(name)
        query.id = number
        sock.send(query.to_wire())
    for number, sock in enumerate(sockets):
        with sock:
            answer = dns.message.from_wire(sock.recv(4096))
        assert (answer.id, records(answer)[0].lower()) == (number, HONEST[0].lower())
    # each process once, and once more if it lost patience
    assert len(world.outside.heard(NAME)) <= 2 * len(world.gateway.resolvers())


def test_an_answer_that_comes_twice_or_too_late_hurts_nobody(world: SplitWorld) -> None:
    world.outside.obey(on(Repeat(3), name=NAME))
    for _ in range(4):
        assert records(world.gateway.ask(NAME)) == HONEST
    world.outside.obey(on(Delay(0.5), name=NAME, times=1))
    world.gateway.flush()
    assert records(world.gateway.ask(NAME)) == HONEST  # that of the second attempt
    assert records(world.gateway.ask("www.example")) == ["www.example. A 198.51.100.1"]


# --- D12: addresses that nobody asked for


@pytest.mark.parametrize("glue", ["0.0.0.0", "::", "127.0.0.1", "255.255.255.255"])
def test_glue_is_not_looked_at(world: SplitWorld, glue: str) -> None:
    kind = "AAAA" if ":" in glue else "A"
    lines = [f"ns.example 60 {kind} {glue}", f"www.example 60 {kind} {glue}", f"{NAME} 60 {kind} {glue}"]
    for _ in range(2):  # each process keeps it
        world.gateway.ask("www.example")
    world.outside.obey(on(Extra(authority=("example 60 NS ns.example.",), additional=tuple(lines)), name=NAME))
    answer = world.gateway.ask(NAME)
    assert (records(answer), answer.authority, answer.additional) == (HONEST, [], [])
    assert records(world.gateway.ask("www.example")) == ["www.example. A 198.51.100.1"]
    assert world.outside.heard("ns.example") == []


# --- D13: authentic is what the name server calls so, for whom it concerns


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize(
    ("says", "flags", "dnssec", "wanted"),
    [
        pytest.param(True, dns.flags.AD, False, True, id="said, and asked for by AD"),
        pytest.param(True, 0, True, True, id="said, and asked for by DO"),
        pytest.param(True, 0, False, False, id="said, and not asked for"),
        pytest.param(False, dns.flags.AD, False, False, id="asked for by AD, and not said"),
        pytest.param(False, 0, True, False, id="asked for by DO, and not said"),
    ],
)
def test_authentic_is_said_and_asked_for(
    world: SplitWorld, is_cached: bool, says: bool, flags: int, dnssec: bool, wanted: bool
) -> None:
    world.outside.obey(on(Flags(set=AD if says else 0)))
    for _ in range(4 if is_cached else 1):
        answer = world.gateway.ask(NAME, flags=flags, dnssec=dnssec)
        assert bool(answer.flags & dns.flags.AD) is wanted
        assert records(answer) == HONEST


def test_what_is_pieced_together_is_not_authentic(world: SplitWorld) -> None:
    for server in (world.inside, world.outside):
        server.obey(on(Flags(set=AD)))
    answer = world.gateway.ask("cdn.corp.example", dnssec=True)
    assert records(answer) == ["cdn.corp.example. CNAME edge.example.", "edge.example. A 198.51.100.2"]
    assert not answer.flags & dns.flags.AD


def test_a_client_can_not_make_its_answer_authentic(world: SplitWorld) -> None:
    """Flags of a query that mean something in an answer only are not passed on, and do not come back."""
    query = question(NAME, flags=dns.flags.AA | dns.flags.RA | dns.flags.AD)
    answer = world.gateway.send(query)
    assert (rcode(answer), answer.flags & (dns.flags.AA | dns.flags.AD)) == ("NOERROR", 0)
    (heard,) = world.outside.heard(NAME)
    assert not heard.message.flags & (dns.flags.AA | dns.flags.RA)


def test_a_datagram_of_nobody_gets_no_answer(world: SplitWorld) -> None:
    """A response, or what is shorter than a header: whoever is said to have sent it did not ask (reflection)."""
    response = dns.message.make_response(question(NAME)).to_wire()
    with world.gateway.datagrams() as sock:
        for data in (response, response[:11], b"", b"\0"):
            sock.send(data)
        sock.send(question(NAME).to_wire())
        assert records(dns.message.from_wire(sock.recv(4096))) == HONEST
        assert waiting(sock) == []


# --- D1: who can not be told from a forger, each with a daemon of its own, which remembers that


@pytest.mark.parametrize("times", [3, 100])
def test_after_some_wrong_answers_the_question_goes_by_tcp(tmp_path: Path, times: int) -> None:
    with split_world(tmp_path / "world") as world:
        world.outside.obey(on(First(times, FORGERY, WrongId()), name=NAME, transport="udp"))
        assert records(world.gateway.ask(NAME)) == HONEST
        assert [one.transport for one in world.outside.heard(NAME)] == ["udp", "tcp"]
        world.gateway.daemon.wait_log(rf"wrong answers as if from 127\.0\.0\.3:\d+ for {NAME}\.: .*; asking by TCP")


def test_a_server_that_loses_the_letter_case_is_asked_by_tcp(tmp_path: Path) -> None:
    """At once, when that is known of it."""
    other = f"other-{NAME}"
    with split_world(tmp_path / "world") as world:
        world.outside.obey(on(LowerCase(), transport="udp"))
        for name in (NAME, other):
            assert records(world.gateway.ask(name)) == [f"{name}. A 198.51.100.7"]
        by_udp, by_tcp = world.outside.heard(NAME)
        assert (by_udp.transport, by_tcp.transport) == ("udp", "tcp")
        assert by_udp.spelled != by_udp.name
        assert [one.transport for one in world.outside.heard(other)][-1] == "tcp"
