"""What one message, one client or one loop can make the resolver do (field-cases D5, D6, D8).

Work is measured as time of the resolver process, over many messages, and never by a clock on the wall.
"""

import itertools
from collections.abc import Iterator

import dns.edns
import dns.flags
import dns.message
import pytest

from tests.support.dnsgateway import extended_error, option, question, rcode, records, waiting
from tests.support.lying.habits import (
    Code,
    Delay,
    Drop,
    EchoEcs,
    Instead,
    Many,
    Options,
    Referral,
    Repeat,
    Truncated,
)
from tests.support.lying.message import SERVFAIL
from tests.support.lying.sending import Habit, Rule, on
from tests.support.lying.tricks import TRICKS, Counts, Cut, Noise, Raw, Trailing, Trick
from tests.support.splitworld import SplitWorld, split_world
from tests.support.waiting import eventually

OUTSTANDING = 16
MESSAGE_SECONDS = 0.005
"""Of the processor, for one message; field-cases D12."""
ROUNDS = 50
_number = itertools.count()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitWorld]:
    with split_world(
        tmp_path_factory.mktemp("work"), resolver={"outstanding": OUTSTANDING}, outside_keys={"stale": False}
    ) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(world: SplitWorld) -> None:
    world.calm()


def _new_name() -> str:
    """One that nobody has asked for, not even in vain."""
    return f"x{next(_number)}.many.example"


# --- D6: messages that are much work to read


HEAVY = [
    *(pytest.param((Trick(kind),), id=f"a pointer, {kind}") for kind in TRICKS),
    pytest.param((Many(999),), id="as many records as are read"),
    pytest.param((Many(4000),), id="4000 records"),
    pytest.param((Options(((10, b""),), 1000),), id="1000 options"),
    pytest.param((Options(((65001, b"x" * 60000),)),), id="a huge option"),
    pytest.param((Counts((None, 65535, 65535, 65535)),), id="many records that are not there"),
    pytest.param((Counts((65535, None, None, None)),), id="many questions that are not there"),
    pytest.param((Noise(1200, 1),), id="noise"),
    pytest.param((Noise(60000, 2),), id="much noise"),
    pytest.param((Cut(20),), id="a part"),
    pytest.param((Trailing(b"\xc0\x0c" * 30000),), id="much behind the end"),
    pytest.param((Raw(b"\x81\x80" + b"\0\1" * 4 + b"\xc0\x0c" * 30000),), id="nothing but pointers"),
]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("habits", HEAVY)
def test_no_answer_costs_much_time(world: SplitWorld, habits: tuple[Habit, ...], transport: str) -> None:
    """By UDP it comes three times, until it is enough; by TCP it is as long as it can be."""
    if transport == "udp":
        rules = on(*habits, Repeat(3), transport="udp"), on(Code(SERVFAIL))
    else:
        rules = on(Truncated(), transport="udp"), on(*habits)
    world.outside.obey(*rules)
    before = world.gateway.cpu_seconds()
    for _ in range(ROUNDS):
        world.gateway.ask(_new_name())
    used = world.gateway.cpu_seconds() - before
    heard = [one for one in world.outside.heard() if one.transport == transport]
    assert len(heard) >= ROUNDS
    assert used / len(heard) < MESSAGE_SECONDS, (used, len(heard))
    assert records(world.gateway.ask("www.corp.example")) == ["www.corp.example. A 10.0.0.80"]


def _long_options(count: int) -> bytes:
    query = question("www.example", options=[option(65001)] * count)
    return query.to_wire()


QUERIES = [
    pytest.param(_long_options(250), id="many options"),
    pytest.param(
        b"\0\0\1\0" + b"\0\1\0\0\0\0\xff\xff" + b"\0\0\1\0\1" + b"\0\0\1\0\1\0\0\0\0\0\0" * 90, id="many records"
    ),
    pytest.param(b"\0\0\1\0" + b"\0\1" * 4 + b"\xc0\x0c" * 600, id="pointers"),
    pytest.param(b"\0\0\1\0" + b"\xff\xff" * 4 + b"\0\0\1\0\1" * 200, id="many questions"),
    pytest.param(b"\0\0\1\0\0\1\0\0\0\0\0\0" + b"\1x" * 127 + b"\0\0\1\0\1", id="a name of many labels"),
    pytest.param(b"\0\0\1\0\0\1\0\0\0\0\0\0" + b"\1x" * 128 + b"\0\0\1\0\1", id="a name that is too long"),
    pytest.param(b"\0" * 1400, id="zeroes"),
    pytest.param(b"\xff" * 1400, id="ones"),
]


@pytest.mark.parametrize("query", QUERIES)
def test_no_query_costs_much_time(world: SplitWorld, query: bytes) -> None:
    known = b"\x12\x34" + question("www.corp.example").to_wire()[2:]
    before = world.gateway.cpu_seconds()
    with world.gateway.datagrams() as sock:
        for _ in range(100):
            for _ in range(10):
                sock.send(query)
            sock.send(known)
            while sock.recv(4096)[:2] != known[:2]:
                pass
    used = world.gateway.cpu_seconds() - before
    assert used / 1000 < MESSAGE_SECONDS / 5, used


# --- D6, D8: what nobody can read is not the end of its server


NONSENSE = [
    pytest.param("nine.example", (), id="too many aliases"),
    pytest.param("one.example", (), id="aliases in a circle"),
    pytest.param("huge.many.example", (Many(4000),), id="too many records"),
    pytest.param("folded.many.example", (Trick("circle"),), id="a name without an end"),
]


@pytest.mark.parametrize(("name", "habits"), NONSENSE)
def test_names_that_can_not_be_read_do_not_bring_their_server_down(
    world: SplitWorld, name: str, habits: tuple[Habit, ...]
) -> None:
    """Whoever owns such names chooses what our name server says of them, and how often it is asked."""
    world.outside.obey(*([on(*habits, name=name)] if habits else []))
    for kind in ("A", "AAAA", "TXT", "MX", "HTTPS"):
        answer = world.gateway.ask(name, kind)
        assert (rcode(answer), records(answer)) == ("SERVFAIL", [])
        why = extended_error(answer)
        assert why is not None
        assert why[0] == 24, why  # Invalid Data (RFC 8914 §4.25)
    assert "is down" not in world.gateway.daemon.log()
    assert records(world.gateway.ask("www.example")) == ["www.example. A 198.51.100.1"]


# --- D8: chains, referrals


def test_a_chain_of_aliases_may_be_long_but_not_too_long(world: SplitWorld) -> None:
    assert len(records(world.gateway.ask("eight.example"))) == 9
    assert rcode(world.gateway.ask("nine.example")) == "SERVFAIL"


@pytest.mark.parametrize("length", [8, 9, 30])
def test_a_chain_that_comes_link_by_link_ends_as_soon(world: SplitWorld, length: int) -> None:
    """Each part is an answer of its own, and each costs its server one question."""
    names = [f"link{number}.many.example" for number in range(length + 1)]
    links = [on(Instead((f"{name} 60 CNAME {after}.",)), name=name) for name, after in itertools.pairwise(names)]
    world.outside.obey(*links)
    answer = world.gateway.ask(names[0])
    assert rcode(answer) == ("NOERROR" if length == 8 else "SERVFAIL")
    assert len(world.outside.heard()) <= 9
    assert len(records(answer)) == (9 if length == 8 else 0)


def test_aliases_that_run_in_a_circle_through_zones_end(world: SplitWorld) -> None:
    world.inside.obey(on(Instead(("round.corp.example 60 CNAME round.lab.",)), name="round.corp.example"),
                      on(Instead(("round.lab 60 CNAME round.corp.example.",)), name="round.lab"))  # fmt: skip
    answer = world.gateway.ask("round.corp.example")
    assert (rcode(answer), records(answer)) == ("SERVFAIL", [])
    assert len(world.inside.heard()) == 2  # each of them once: then they are known


@pytest.mark.parametrize("count", [1, 50])
def test_a_referral_is_followed_nowhere(world: SplitWorld, count: int) -> None:
    """However many name servers it has (NXNSAttack), not one of their names is asked for."""
    servers = tuple(f"ns{number}.many.example" for number in range(count))
    name = _new_name()
    world.outside.obey(on(Referral(name, servers), name=name))
    assert rcode(world.gateway.ask(name)) == "SERVFAIL"
    assert {one.name for one in world.outside.heard()} == {name}
    assert len(world.outside.heard()) <= 2


# --- D8: what waits


def _ask_many(world: SplitWorld, names: list[str], rule: Rule) -> tuple[list[dns.message.Message], int]:
    """What one client is told at once, and how many of its questions go out; each waits for an answer that does not
    come before that was counted.
    """
    world.outside.obey(rule)
    with world.gateway.datagrams() as sock:
        for name in names:
            sock.send(question(name).to_wire())
        told: list[dns.message.Message] = []

        def are_told() -> bool:
            told.extend(waiting(sock))
            return len(told) >= len(names) - OUTSTANDING

        assert eventually(are_told), len(told)
        other = world.gateway.ask("www.corp.example", client="127.0.0.10")
        assert records(other) == ["www.corp.example. A 10.0.0.80"]
        return told, len({one.name for one in world.outside.heard()})


def test_a_client_has_so_many_questions_waiting_and_no_more(world: SplitWorld) -> None:
    names = [_new_name() for _ in range(OUTSTANDING + 20)]
    told, asked = _ask_many(world, names, on(Drop(), name="*.many.example"))
    assert (len(told), asked) == (20, OUTSTANDING)
    for answer in told:
        assert rcode(answer) == "SERVFAIL"
        assert extended_error(answer) == (0, f"{OUTSTANDING} questions of this client are waiting already")


def test_nothing_is_saved_up_for_a_burst(world: SplitWorld) -> None:
    """DNSBomb: one client's many questions for the same name wait together, but no more of them than others'."""
    told, asked = _ask_many(world, ["slow.many.example"] * 200, on(Delay(0.15), name="slow.many.example"))
    assert len([answer for answer in told if rcode(answer) == "SERVFAIL"]) >= 200 - OUTSTANDING - 1
    assert asked == 1


def test_other_clients_go_on_asking_meanwhile(world: SplitWorld) -> None:
    world.outside.obey(on(Drop(), name="*.many.example"))
    with world.gateway.datagrams() as sock:
        for number in range(100):
            sock.send(question(f"x{number}.many.example").to_wire())
        for client in ("127.0.0.10", "127.0.0.11"):
            assert records(world.gateway.ask("www.example", client=client)) == ["www.example. A 198.51.100.1"]


# --- D8: options of clients stay here


TELLING = [
    pytest.param([dns.edns.ECSOption("198.51.100.0", 24)], id="where the client is"),
    pytest.param([option(10, b"8 octets")], id="a cookie"),
    pytest.param([option(3)], id="the server's name"),
    pytest.param([option(65001, b"mark")], id="one of nobody"),
]


@pytest.mark.parametrize("options", TELLING)
def test_no_option_of_a_client_leaves_or_comes_back(world: SplitWorld, options: list[dns.edns.Option]) -> None:
    for number in range(3):
        answer = world.gateway.ask(f"x{number % 2}.many.example", options=options)
        assert (rcode(answer), answer.options) == ("NOERROR", ())
    for heard in world.outside.heard():
        assert heard.message.options == ()
        assert (heard.message.edns, heard.message.payload) == (0, 1232)


def test_a_client_subnet_of_a_server_is_nobodys(world: SplitWorld) -> None:
    """ReBirthday: neither does it come through, nor does it make two answers of one."""
    world.outside.obey(on(EchoEcs()))
    for network in ("198.51.100.0", "203.0.113.0"):
        answer = world.gateway.ask("edge.example", options=[dns.edns.ECSOption(network, 24)])
        assert (records(answer), answer.options) == (["edge.example. A 198.51.100.2"], ())
    assert len(world.outside.heard()) == 1
