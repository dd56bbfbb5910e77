"""How long what was said counts: no longer than the administrator says (field-cases D7), and beyond its time only where
nobody answers any more (D9).

The answers live for a second, and each test sees it pass.
"""

import itertools
from collections.abc import Iterator

import dns.message
import pytest

from gateway.control.protocol import CacheDump
from tests.support.dnsgateway import extended_error, rcode, records
from tests.support.lying.habits import Code, Drop, Extra, NoName, Ttl
from tests.support.lying.message import SERVFAIL
from tests.support.lying.sending import Habit, on
from tests.support.splitworld import SplitWorld, split_world
from tests.support.waiting import eventually

STALE, STALE_NO_NAME = 3, 19
_number = itertools.count()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitWorld]:
    keys = {"max_ttl": 1, "negative_ttl": 1}
    with split_world(tmp_path_factory.mktemp("time"), outside_keys=keys) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(world: SplitWorld) -> None:
    world.calm()


@pytest.fixture
def name() -> str:
    """One that nobody has asked for, not even in vain."""
    return f"ghost{next(_number)}.many.example"


def _honest(name: str) -> list[str]:
    return [f"{name}. A 198.51.100.7"]


def _lasts(message: dns.message.Message) -> list[int]:
    return [rrset.ttl for rrset in (*message.answer, *message.authority)]


def _is_asked_again(world: SplitWorld, name: str, kind: str = "A") -> None:
    """A client asks all the time, until its name server has to be asked."""
    before = len(world.outside.heard(name, kind))

    def asked() -> bool:
        world.gateway.ask(name, kind)
        return len(world.outside.heard(name, kind)) > before

    assert eventually(asked, every=0.05)


# --- D7: no name lives longer than it may


@pytest.mark.parametrize("seconds", [2, 2**31 - 1])
def test_no_record_lives_longer_than_the_administrator_says(world: SplitWorld, name: str, seconds: int) -> None:
    world.outside.obey(on(Ttl(seconds)))
    for _ in range(3):
        answer = world.gateway.ask(name)
        assert (records(answer), _lasts(answer)) == (_honest(name), [1])
    assert len(world.outside.heard(name)) == 1
    _is_asked_again(world, name)


@pytest.mark.parametrize("seconds", [0, 2**31, 2**32 - 1])
def test_what_has_no_time_to_live_is_not_kept(world: SplitWorld, name: str, seconds: int) -> None:
    """A TTL with its highest bit set is one of 0 (RFC 2181 §8)."""
    world.outside.obey(on(Ttl(seconds)))
    for _ in range(3):
        answer = world.gateway.ask(name)
        assert (records(answer), _lasts(answer)) == (_honest(name), [0])
    assert len(world.outside.heard(name)) == 3


def test_what_does_not_exist_is_believed_no_longer_than_that(world: SplitWorld, name: str) -> None:
    world.outside.obey(on(NoName("example", ttl=604800), name=name))
    answer = world.gateway.ask(name)
    assert (rcode(answer), _lasts(answer)) == ("NXDOMAIN", [1])
    world.outside.obey()
    assert eventually(lambda: records(world.gateway.ask(name)) == _honest(name), every=0.05)


def test_a_ghost_is_not_kept_alive(world: SplitWorld, name: str) -> None:
    """Its owner keeps other names alive that bring it along, with a long life and its own name servers."""
    assert records(world.gateway.ask(name)) == _honest(name)
    lines = (f"{name} 86400 A 198.51.100.7", "many.example 86400 NS ns.many.example.")
    revived = Extra(lines[:1], lines[1:], ("ns.many.example 86400 A 198.51.100.7", *lines[:1]))
    world.outside.obey(on(NoName("example"), name=name), on(revived, name="*.many.example"))

    def is_gone() -> bool:
        assert world.gateway.ask("alive.many.example").answer
        world.gateway.ask("many.example", "NS")
        return rcode(world.gateway.ask(name)) == "NXDOMAIN"

    assert eventually(is_gone, every=0.05, within=5)


# --- D9: what is over is given when nobody answers


FAILING = [
    pytest.param((Drop(),), id="silent"),
    pytest.param((Code(SERVFAIL),), id="failing"),
]


def _expired(world: SplitWorld, name: str, dnssec: bool = False, kind: str = "A") -> dns.message.Message:
    """Ask, and wait until the answer is over: then the name server is asked, who stays silent."""
    first = world.gateway.ask(name, kind, dnssec=dnssec)
    assert eventually(lambda: _is_over(world, name), every=0.05, within=5)
    return first


def _is_over(world: SplitWorld, name: str) -> bool:
    rows, _ = world.gateway.daemon.control(CacheDump(name=name))
    return all(row["seconds_left"] <= 0 for row in rows)


@pytest.mark.parametrize("habits", FAILING)
def test_an_outside_answer_is_given_after_its_time_if_nobody_answers(
    world: SplitWorld, name: str, habits: tuple[Habit, ...]
) -> None:
    _expired(world, name)
    world.outside.obey(on(*habits))
    answer = world.gateway.ask(name)
    assert (rcode(answer), records(answer), _lasts(answer)) == ("NOERROR", _honest(name), [30])
    why = extended_error(answer)
    assert why is not None
    assert why[0] == STALE
    assert world.outside.heard(name)[1:], "nobody was asked first"


def test_it_is_not_given_while_somebody_answers(world: SplitWorld, name: str) -> None:
    _expired(world, name)
    answer = world.gateway.ask(name)
    assert (records(answer), _lasts(answer), extended_error(answer)) == (_honest(name), [1], None)


def test_that_there_is_nothing_is_given_too(world: SplitWorld) -> None:
    _expired(world, "nothing.example")
    world.outside.obey(on(Drop()))
    answer = world.gateway.ask("nothing.example")
    assert (rcode(answer), extended_error(answer)) == ("NXDOMAIN", (STALE_NO_NAME, ""))


@pytest.mark.parametrize(
    ("denial", "dnssec"),
    [
        pytest.param(NoName("example"), False, id="for a while"),
        pytest.param(NoName(None), False, id="for this moment"),
        pytest.param(NoName("example"), True, id="to another client, who wants no signatures"),
    ],
)
def test_it_is_not_given_past_what_was_denied_since(world: SplitWorld, name: str, denial: Habit, dnssec: bool) -> None:
    _expired(world, name, dnssec)
    world.outside.obey(on(denial))
    assert rcode(world.gateway.ask(name)) == "NXDOMAIN"
    world.outside.obey(on(Code(SERVFAIL)))
    answer = world.gateway.ask(name, dnssec=dnssec)
    assert records(answer) == []


@pytest.mark.parametrize(("first", "then"), [("A", "AAAA"), ("AAAA", "A")])
def test_it_is_not_given_if_its_name_is_known_not_to_exist(world: SplitWorld, name: str, first: str, then: str) -> None:
    world.outside.obey(on(Extra((f"{name} 1 AAAA 2001:db8::7",)), name=name, type="AAAA"))
    assert _expired(world, name, kind=first).answer
    world.outside.obey(on(NoName("example")))
    assert rcode(world.gateway.ask(name, then)) == "NXDOMAIN"
    world.outside.obey(on(Code(SERVFAIL)))
    assert records(world.gateway.ask(name, first)) == []


def test_it_is_given_if_there_is_nothing_of_another_type(world: SplitWorld, name: str) -> None:
    _expired(world, name)
    assert records(world.gateway.ask(name, "AAAA")) == []
    world.outside.obey(on(Code(SERVFAIL)))
    assert records(world.gateway.ask(name)) == _honest(name)


def test_an_inside_answer_is_never_given_after_its_time(world: SplitWorld) -> None:
    world.inside.obey(on(Ttl(1)))
    name = "x.many.corp.example"
    assert records(_expired(world, name)) == [f"{name}. A 10.0.0.7"]
    world.inside.obey(on(Code(SERVFAIL)))
    answer = world.gateway.ask(name)
    assert (rcode(answer), records(answer)) == ("SERVFAIL", [])


def test_a_chain_through_zones_is_given_whole_or_not_at_all(world: SplitWorld) -> None:
    """The alias is the inside's, and fresh; its target is outside, and over."""
    first = _expired(world, "edge.example")
    assert records(world.gateway.ask("cdn.corp.example"))[1:] == records(first)
    assert eventually(lambda: _is_over(world, "edge.example"), every=0.05, within=5)
    world.outside.obey(on(Code(SERVFAIL)))
    answer = world.gateway.ask("cdn.corp.example")
    assert (rcode(answer), records(answer)) == ("SERVFAIL", [])
    assert records(world.gateway.ask("edge.example")) == records(first)
