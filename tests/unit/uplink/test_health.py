"""The standing of one uplink as playbooks: at this second this happens, the log says that, and so it stands."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address
from gateway.policy.egress import Standing, Uplink
from gateway.uplink.facts import Facts
from gateway.uplink.health import Health, Thresholds
from tests.support.rules import address

UP, SETTLING, DOWN = Standing.UP, Standing.SETTLING, Standing.DOWN


def having(*sources: str) -> Facts:
    """A working interface with these addresses."""
    return Facts("eth0", exists=True, running=True, sources=tuple(map(address, sources)))


TEN, ELEVEN, TWELVE, SIX = "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10"
WORKS = having(TEN)
BARE = having()
PULLED = Facts("eth0", exists=True, running=False, sources=(address(TEN),))
EMPTY_AND_PULLED = Facts("eth0", exists=True)
GONE = Facts("eth0")
ROUTED = replace(WORKS, defaults=frozenset({4}))
FIRST, SECOND = replace(WORKS, index=4), replace(WORKS, index=9)


class Round(NamedTuple):
    """A round of probes that began when the one before had ended, or at the time of its `Start`, and its result."""

    answered: bool
    detail: str = ""


class Start(NamedTuple):
    """A round begins; the next `Round` is its end."""


class Tick(NamedTuple):
    """The time that `Health.due` said, or any other, has come."""


ANSWER = Round(True)
SILENCE = Round(False, "198.51.100.1 port 443: timed out")
REFUSED = Round(False, "198.51.100.1 port 443: No route to host")

Event = Facts | Round | Start | Tick
Step = tuple[float, Event, tuple[str, ...], Standing]


class Play:
    """A health, and the round that is under way."""

    def __init__(self, thresholds: Thresholds, probed: bool, name: str = "wan1") -> None:
        self.health = Health(name, "eth0", thresholds, probed)
        self.began: int | None = None

    def give(self, now: float, event: Event) -> tuple[str, ...]:
        """Let this happen; returns the lines."""
        match event:
            case Facts():
                return self.health.observe(event, now)
            case Start():
                self.began = self.health.generation
                return ()
            case Tick():
                return self.health.tick(now)
        generation = self.health.generation if self.began is None else self.began
        self.began = None
        return self.health.probed(generation, event.answered, event.detail, now)

    def follow(self, steps: Sequence[Step]) -> None:
        """Every step has its lines and its standing."""
        for now, event, lines, standing in steps:
            assert self.give(now, event) == lines, f"at {now}: {event}"
            assert self.health.uplink.standing is standing, f"at {now}: {event}"
            assert (self.health.due is not None) is (standing is SETTLING), "only a delay has an end"


UNPROBED = {
    "usable from the start": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, WORKS, (), UP),
        (99, Tick(), (), UP),
    ],
    "both families from the start": [
        (0, having(TEN, SIX), ("uplink wan1 (eth0) is up: 192.0.2.10, 2001:db8::10",), UP),
    ],
    "the cable is pulled and put back": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (2, PULLED, (), DOWN),
        (5, WORKS, ("uplink wan1 (eth0) works again: link is up; preferred again in 30 s",), SETTLING),
        (34.9, Tick(), (), SETTLING),
        (35, Tick(), ("uplink wan1 (eth0) is preferred again: held for 30 s",), UP),
        (36, Tick(), (), UP),
    ],
    "the interface goes and comes back in steps": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, GONE, ("uplink wan1 (eth0) is down: no such interface",), DOWN),
        (2, EMPTY_AND_PULLED, ("uplink wan1 (eth0) is still down: link is down",), DOWN),
        (3, BARE, ("uplink wan1 (eth0) is still down: no address",), DOWN),
        (4, WORKS, ("uplink wan1 (eth0) works again: it has an address; preferred again in 30 s",), SETTLING),
        (34, Tick(), ("uplink wan1 (eth0) is preferred again: held for 30 s",), UP),
    ],
    "the interface goes and comes back at once": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, GONE, ("uplink wan1 (eth0) is down: no such interface",), DOWN),
        (2, WORKS, ("uplink wan1 (eth0) works again: the interface is there; preferred again in 30 s",), SETTLING),
    ],
    "an interface that appears after the start": [
        (0, GONE, ("uplink wan1 (eth0) is down: no such interface",), DOWN),
        (1, GONE, (), DOWN),
        (
            9,
            WORKS,
            (
                "uplink wan1 (eth0) works again: the interface is there; preferred again in 30 s",
                "uplink wan1 (eth0): address 192.0.2.10 is gained",
            ),
            SETTLING,
        ),
    ],
    "the default route goes and comes back": [
        (0, ROUTED, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, WORKS, ("uplink wan1 (eth0) is down: no default route",), DOWN),
        (2, ROUTED, ("uplink wan1 (eth0) works again: it has a default route; preferred again in 30 s",), SETTLING),
    ],
    "an uplink that never had a default route may be meant so": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, ROUTED, (), UP),
        (2, WORKS, ("uplink wan1 (eth0) is down: no default route",), DOWN),
    ],
    "another interface gets the name at once": [
        (0, FIRST, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, SECOND, ("uplink wan1 (eth0): another interface has the name now",), UP),
        (2, SECOND, (), UP),
    ],
    "the last address goes": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, BARE, ("uplink wan1 (eth0) is down: no address",), DOWN),
        (2, WORKS, ("uplink wan1 (eth0) works again: it has an address; preferred again in 30 s",), SETTLING),
    ],
    "another address comes after the last one has gone": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, BARE, ("uplink wan1 (eth0) is down: no address",), DOWN),
        (
            2,
            having(ELEVEN),
            (
                "uplink wan1 (eth0) works again: it has an address; preferred again in 30 s",
                "uplink wan1 (eth0): address 192.0.2.10 is replaced by 192.0.2.11",
            ),
            SETTLING,
        ),
    ],
    "a flapping link never gets through the delay": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (2, WORKS, ("uplink wan1 (eth0) works again: link is up; preferred again in 30 s",), SETTLING),
        (31, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (32, Tick(), (), DOWN),
        (33, WORKS, ("uplink wan1 (eth0) works again: link is up; preferred again in 30 s",), SETTLING),
        (62.9, Tick(), (), SETTLING),
        (63, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (64, WORKS, ("uplink wan1 (eth0) works again: link is up; preferred again in 30 s",), SETTLING),
        (94, Tick(), ("uplink wan1 (eth0) is preferred again: held for 30 s",), UP),
    ],
    "an address change during the delay does not begin it anew": [
        (0, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (
            1,
            WORKS,
            (
                "uplink wan1 (eth0) works again: link is up; preferred again in 30 s",
                "uplink wan1 (eth0): address 192.0.2.10 is gained",
            ),
            SETTLING,
        ),
        (20, having(TEN, SIX), ("uplink wan1 (eth0): address 2001:db8::10 is gained",), SETTLING),
        (31, Tick(), ("uplink wan1 (eth0) is preferred again: held for 30 s",), UP),
    ],
    "rounds of probes that nobody asked for do not count": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        *((second, SILENCE, (), UP) for second in range(1, 5)),
        (5, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (6, ANSWER, (), DOWN),
        (7, ANSWER, (), DOWN),
    ],
}

NO_ANSWER = "no answer to its probes, 3 rounds in a row: 198.51.100.1 port 443: timed out"

PROBED = {
    "up until the probes prove otherwise": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (5, REFUSED, (), UP),
        (10, REFUSED, (), UP),
        (15, SILENCE, (f"uplink wan1 (eth0) is down: {NO_ANSWER}",), DOWN),
        (20, REFUSED, (), DOWN),
        (25, ANSWER, (), DOWN),
        (30, ANSWER, ("uplink wan1 (eth0) works again: its probes are answered; preferred again in 30 s",), SETTLING),
        (35, ANSWER, (), SETTLING),
        (60, Tick(), ("uplink wan1 (eth0) is preferred again: held for 30 s",), UP),
    ],
    "an answer between failures begins the count anew": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (5, SILENCE, (), UP),
        (10, SILENCE, (), UP),
        (15, ANSWER, (), UP),
        (20, SILENCE, (), UP),
        (25, SILENCE, (), UP),
        (30, SILENCE, (f"uplink wan1 (eth0) is down: {NO_ANSWER}",), DOWN),
    ],
    "a failure between answers begins the count anew, and is not told again": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (5, SILENCE, (), UP),
        (10, SILENCE, (), UP),
        (15, SILENCE, (f"uplink wan1 (eth0) is down: {NO_ANSWER}",), DOWN),
        (20, ANSWER, (), DOWN),
        (25, SILENCE, (), DOWN),
        (30, ANSWER, (), DOWN),
        (35, REFUSED, (), DOWN),
        (40, REFUSED, (), DOWN),
        (45, REFUSED, (), DOWN),
        (50, ANSWER, (), DOWN),
        (55, ANSWER, ("uplink wan1 (eth0) works again: its probes are answered; preferred again in 30 s",), SETTLING),
    ],
    "failures count during the delay": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, SILENCE, (), UP),
        (2, SILENCE, (), UP),
        (3, SILENCE, (f"uplink wan1 (eth0) is down: {NO_ANSWER}",), DOWN),
        (4, ANSWER, (), DOWN),
        (5, ANSWER, ("uplink wan1 (eth0) works again: its probes are answered; preferred again in 30 s",), SETTLING),
        (6, SILENCE, (), SETTLING),
        (7, SILENCE, (), SETTLING),
        (8, SILENCE, (f"uplink wan1 (eth0) is down: {NO_ANSWER}",), DOWN),
        (35, Tick(), (), DOWN),
        (40, ANSWER, (), DOWN),
        (41, ANSWER, ("uplink wan1 (eth0) works again: its probes are answered; preferred again in 30 s",), SETTLING),
        (70.9, Tick(), (), SETTLING),
        (71, Tick(), ("uplink wan1 (eth0) is preferred again: held for 30 s",), UP),
    ],
    "after the cable is put back its probes have to be answered first": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, ANSWER, (), UP),
        (2, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (3, WORKS, ("uplink wan1 (eth0) is still down: waiting for 2 answers of its probes",), DOWN),
        (4, ANSWER, (), DOWN),
        (5, ANSWER, ("uplink wan1 (eth0) works again: its probes are answered; preferred again in 30 s",), SETTLING),
        (35, Tick(), ("uplink wan1 (eth0) is preferred again: held for 30 s",), UP),
    ],
    "the cable is put back, but nobody answers": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, SILENCE, (), UP),
        (2, SILENCE, (), UP),
        (3, SILENCE, (f"uplink wan1 (eth0) is down: {NO_ANSWER}",), DOWN),
        (4, PULLED, ("uplink wan1 (eth0) is still down: link is down",), DOWN),
        (5, WORKS, ("uplink wan1 (eth0) is still down: waiting for 2 answers of its probes",), DOWN),
        (6, SILENCE, (), DOWN),
        (7, SILENCE, (), DOWN),
        (8, SILENCE, (f"uplink wan1 (eth0) is still down: {NO_ANSWER}",), DOWN),
        (9, SILENCE, (), DOWN),
    ],
    "an answer from before the cable was pulled does not count after it": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (2, WORKS, ("uplink wan1 (eth0) is still down: waiting for 2 answers of its probes",), DOWN),
        (3, ANSWER, (), DOWN),
        (4, PULLED, ("uplink wan1 (eth0) is still down: link is down",), DOWN),
        (5, WORKS, ("uplink wan1 (eth0) is still down: waiting for 2 answers of its probes",), DOWN),
        (6, ANSWER, (), DOWN),
        (7, ANSWER, ("uplink wan1 (eth0) works again: its probes are answered; preferred again in 30 s",), SETTLING),
    ],
    "a round that ends while the cable is out does not count": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, Start(), (), UP),
        (2, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (3, ANSWER, (), DOWN),
        (4, ANSWER, (), DOWN),
        (5, ANSWER, (), DOWN),
    ],
    "a round that began before the cable was pulled does not count when it is back": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, Start(), (), UP),
        (2, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (3, WORKS, ("uplink wan1 (eth0) is still down: waiting for 2 answers of its probes",), DOWN),
        (4, ANSWER, (), DOWN),
        (5, ANSWER, (), DOWN),
        (6, ANSWER, ("uplink wan1 (eth0) works again: its probes are answered; preferred again in 30 s",), SETTLING),
    ],
    "a round that began while the cable was out does not count when it is back": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
        (2, Start(), (), DOWN),
        (3, WORKS, ("uplink wan1 (eth0) is still down: waiting for 2 answers of its probes",), DOWN),
        (4, ANSWER, (), DOWN),
        (5, ANSWER, (), DOWN),
        (6, ANSWER, ("uplink wan1 (eth0) works again: its probes are answered; preferred again in 30 s",), SETTLING),
    ],
    "a round from an address that went away meanwhile does not count": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, SILENCE, (), UP),
        (2, SILENCE, (), UP),
        (3, Start(), (), UP),
        (4, having(ELEVEN), ("uplink wan1 (eth0): address 192.0.2.10 is replaced by 192.0.2.11",), UP),
        (5, SILENCE, (), UP),
        (6, SILENCE, (f"uplink wan1 (eth0) is down: {NO_ANSWER}",), DOWN),
    ],
    "a round goes on counting when an address comes beside the others": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, SILENCE, (), UP),
        (2, SILENCE, (), UP),
        (3, Start(), (), UP),
        (4, having(TEN, SIX), ("uplink wan1 (eth0): address 2001:db8::10 is gained",), UP),
        (5, SILENCE, (f"uplink wan1 (eth0) is down: {NO_ANSWER}",), DOWN),
    ],
    "addresses of an uplink without answers are told too": [
        (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
        (1, SILENCE, (), UP),
        (2, SILENCE, (), UP),
        (3, SILENCE, (f"uplink wan1 (eth0) is down: {NO_ANSWER}",), DOWN),
        (4, having(ELEVEN), ("uplink wan1 (eth0): address 192.0.2.10 is replaced by 192.0.2.11",), DOWN),
    ],
    "down from the start": [
        (0, BARE, ("uplink wan1 (eth0) is down: no address",), DOWN),
        (1, ANSWER, (), DOWN),
        (
            2,
            WORKS,
            (
                "uplink wan1 (eth0) is still down: waiting for 2 answers of its probes",
                "uplink wan1 (eth0): address 192.0.2.10 is gained",
            ),
            DOWN,
        ),
    ],
    "results before the first facts do not count": [
        (0, SILENCE, (), DOWN),
        (1, SILENCE, (), DOWN),
        (2, SILENCE, (), DOWN),
        (3, Tick(), (), DOWN),
        (4, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
    ],
}


@pytest.mark.parametrize("steps", UNPROBED.values(), ids=UNPROBED)
def test_an_uplink_without_probes(steps: Sequence[Step]) -> None:
    Play(Thresholds(3, 2, 30), probed=False).follow(steps)


@pytest.mark.parametrize("steps", PROBED.values(), ids=PROBED)
def test_an_uplink_with_probes(steps: Sequence[Step]) -> None:
    Play(Thresholds(3, 2, 30), probed=True).follow(steps)


def test_without_a_failback_delay_a_link_that_is_back_is_used_at_once() -> None:
    Play(Thresholds(3, 2, 0), probed=False).follow(
        [
            (0, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
            (
                1,
                WORKS,
                ("uplink wan1 (eth0) is up again: link is up", "uplink wan1 (eth0): address 192.0.2.10 is gained"),
                UP,
            ),
            (2, Tick(), (), UP),
        ]
    )


def test_the_smallest_thresholds_change_with_every_round() -> None:
    Play(Thresholds(1, 1, 0), probed=True).follow(
        [
            (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
            (1, SILENCE, (f"uplink wan1 (eth0) is down: no answer to its probes: {SILENCE.detail}",), DOWN),
            (2, ANSWER, ("uplink wan1 (eth0) is up again: its probes are answered",), UP),
            (3, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
            (4, WORKS, ("uplink wan1 (eth0) is still down: waiting for an answer of its probes",), DOWN),
            (5, ANSWER, ("uplink wan1 (eth0) is up again: its probes are answered",), UP),
        ]
    )


def test_a_delay_of_part_of_a_second_is_told_as_it_is_written() -> None:
    Play(Thresholds(3, 2, 0.25), probed=False).follow(
        [
            (0, WORKS, ("uplink wan1 (eth0) is up: 192.0.2.10",), UP),
            (1, PULLED, ("uplink wan1 (eth0) is down: link is down",), DOWN),
            (2, WORKS, ("uplink wan1 (eth0) works again: link is up; preferred again in 0.25 s",), SETTLING),
            (2.25, Tick(), ("uplink wan1 (eth0) is preferred again: held for 0.25 s",), UP),
        ]
    )


def test_an_uplink_that_is_called_as_its_interface_is_named_once() -> None:
    Play(Thresholds(3, 2, 30), probed=False, name="eth0").follow(
        [
            (0, WORKS, ("uplink eth0 is up: 192.0.2.10",), UP),
            (1, having(ELEVEN), ("uplink eth0: address 192.0.2.10 is replaced by 192.0.2.11",), UP),
            (2, GONE, ("uplink eth0 is down: no such interface",), DOWN),
        ]
    )


MANY = tuple(f"192.0.2.{number}" for number in range(20, 29))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param((TEN,), (TEN,), None, id="nothing"),
        pytest.param((TEN,), (ELEVEN,), f"address {TEN} is replaced by {ELEVEN}", id="one for another"),
        pytest.param((TEN,), (TEN, ELEVEN), f"address {ELEVEN} is gained", id="one more"),
        pytest.param((TEN, ELEVEN), (TEN,), f"address {ELEVEN} is lost", id="one less"),
        pytest.param(
            (TEN, ELEVEN),
            (ELEVEN,),
            f"address {TEN} is lost; address {ELEVEN} is used from now on",
            id="the preferred one less",
        ),
        pytest.param((TEN, ELEVEN), (ELEVEN, TEN), f"address {ELEVEN} is used from now on", id="another preferred"),
        pytest.param((TEN, ELEVEN, TWELVE), (TEN, TWELVE, ELEVEN), None, id="another order of those behind it"),
        pytest.param(
            (TEN,),
            (ELEVEN, TEN),
            f"address {ELEVEN} is gained; address {ELEVEN} is used from now on",
            id="one more, preferred",
        ),
        pytest.param((TEN,), (TEN, SIX), f"address {SIX} is gained", id="the other family comes"),
        pytest.param((TEN, SIX), (TEN,), f"address {SIX} is lost", id="the other family goes"),
        pytest.param(
            (TEN,),
            (SIX,),
            f"address {TEN} is lost; address {SIX} is gained",
            id="an address is not replaced by one of the other family",
        ),
        pytest.param((TEN, SIX), (SIX, TEN), None, id="the order of the families"),
        pytest.param(
            (TEN,),
            (TEN, *MANY[:4]),
            "; ".join(f"address {one} is gained" for one in MANY[:4]),
            id="as many as a line names",
        ),
        pytest.param(
            (TEN,),
            (TEN, *MANY),
            "; ".join(f"address {one} is gained" for one in MANY[:4]) + " and 5 more",
            id="more than a line names",
        ),
    ],
)
def test_address_changes_are_one_line_and_no_loss(
    before: tuple[str, ...], after: tuple[str, ...], told: str | None
) -> None:
    play = Play(Thresholds(3, 2, 30), probed=False)
    play.give(0, having(*before))
    play.follow([(1, having(*after), (f"uplink wan1 (eth0): {told}",) if told else (), UP)])
    assert play.health.uplink.sources == tuple(map(address, after))


def test_a_line_names_the_first_of_very_many_addresses() -> None:
    play = Play(Thresholds(3, 2, 30), probed=False)
    assert play.give(0, having(*MANY)) == (f"uplink wan1 (eth0) is up: {', '.join(MANY[:4])} and 5 more",)


def test_the_value_that_others_get() -> None:
    play = Play(Thresholds(3, 2, 30), probed=False)
    sources = (address(TEN),)
    assert play.health.uplink == Uplink("wan1", "eth0", DOWN, "nothing is known of it yet", ())
    play.give(0, WORKS)
    assert play.health.uplink == Uplink("wan1", "eth0", UP, "link is up", sources)
    play.give(1, PULLED)
    assert play.health.uplink == Uplink("wan1", "eth0", DOWN, "link is down", sources)
    play.give(2, WORKS)
    assert play.health.uplink == Uplink("wan1", "eth0", SETTLING, "link is up", sources)
    assert play.health.due == 32
    play.give(32, Tick())
    assert play.health.uplink == Uplink("wan1", "eth0", UP, "held for 30 s", sources)


# Whatever happens

states = st.sampled_from(
    [WORKS, WORKS, having(TEN, SIX), having(ELEVEN), having(ELEVEN, TEN), BARE, PULLED, EMPTY_AND_PULLED, GONE]
)
events = st.one_of(
    states, st.just(ANSWER), st.just(ANSWER), st.just(SILENCE), st.just(SILENCE), st.just(Start()), st.just(Tick())
)
stories = st.lists(st.tuples(st.sampled_from((0.0, 0.5, 1.0, 4.0)), events), max_size=60)
thresholds = st.builds(Thresholds, st.integers(1, 3), st.integers(1, 3), st.sampled_from((0.0, 2.0, 6.0)))


def usable(facts: Facts) -> bool:
    return facts.exists and facts.running and bool(facts.sources)


class Witness:
    """Watches a play, and knows from outside how long it has been well and what was answered."""

    def __init__(self, limits: Thresholds, probed: bool) -> None:
        self.play = Play(limits, probed)
        self.limits = limits
        self.probed = probed
        self.facts: Facts | None = None
        #: rounds in a row that count, since link and address are there
        self.answers = self.failures = 0
        self.down_until = 0.0
        #: a round under way that began before link or address went away, or while they were away
        self.stale = False

    def step(self, now: float, event: Event) -> None:
        """Give the event, and look."""
        before, generation = self.play.health.uplink, self.play.health.generation
        if isinstance(event, Round):
            self.count(event)
        lines = self.play.give(now, event)
        assert event != self.facts or not lines, "what is known already is told again"
        if isinstance(event, Facts):
            self.note(event, generation)
        if isinstance(event, Start):
            self.stale = self.facts is None or not usable(self.facts)
        self.look(now, before, event, lines)

    def count(self, event: Round) -> None:
        stale = self.stale or self.facts is None or not usable(self.facts)
        self.stale = False
        if stale:
            return
        self.answers, self.failures = (self.answers + 1, 0) if event.answered else (0, self.failures + 1)

    def note(self, facts: Facts, generation: int) -> None:
        lost = self.facts is not None and not set(self.facts.sources) <= set(facts.sources)
        if not usable(facts):
            self.answers = self.failures = 0
        if lost or not usable(facts) or self.facts is None or not usable(self.facts):
            self.stale = self.stale or self.play.began is not None
        if lost:
            assert self.play.health.generation > generation
        self.facts = facts

    def look(self, now: float, before: Uplink, event: Event, lines: tuple[str, ...]) -> None:
        after = self.play.health.uplink
        changed = (before.standing, before.cause) != (after.standing, after.cause)
        assert after.cause
        assert (self.play.health.due is not None) is (after.standing is SETTLING)
        assert changed <= bool(lines), "every change has its line"
        assert changed or not lines or isinstance(event, Facts), "no line without a change"
        if self.facts is None or not usable(self.facts):
            assert after.standing is DOWN
        elif not self.probed:
            assert after.standing is not DOWN
        self.returned(now, before, after)
        if after.standing is DOWN:
            self.down_until = now

    def returned(self, now: float, before: Uplink, after: Uplink) -> None:
        """Neither up nor down without what it takes."""
        first = before.cause == "nothing is known of it yet"
        if after.standing is UP and before.standing is not UP and not first:
            assert now - self.down_until >= self.limits.failback
        if before.standing is DOWN and after.standing is not DOWN and not first and self.probed:
            assert self.answers >= self.limits.rise
        if before.standing is not DOWN and after.standing is DOWN and self.facts is not None and usable(self.facts):
            assert self.failures >= self.limits.fall


@settings(max_examples=300)
@given(thresholds, st.booleans(), stories)
def test_whatever_happens(limits: Thresholds, probed: bool, story: list[tuple[float, Event]]) -> None:
    witness = Witness(limits, probed)
    now = 0.0
    for pause, event in story:
        now += pause
        witness.step(now, event)


@settings(max_examples=100)
@given(thresholds, st.booleans(), stories)
def test_it_always_comes_back_when_all_is_well(
    limits: Thresholds, probed: bool, story: list[tuple[float, Event]]
) -> None:
    play = Play(limits, probed)
    now = 0.0
    for pause, event in [*story, (1.0, WORKS), *[(1.0, ANSWER)] * (limits.rise + 1)]:
        now += pause
        play.give(now, event)
    assert play.health.uplink.standing is not DOWN
    play.give(now + limits.failback, Tick())
    assert play.health.uplink.standing is UP
    assert play.health.uplink.sources == (Address(4, 0xC000020A),)


def test_one_that_is_in_doubt_has_to_show_that_it_works() -> None:
    """Of a new watcher that knows that it was down: without probes the delay is enough."""
    probed = Health("wan1", "wan1", Thresholds(2, 2, 30), probed=True, doubtful=True)
    assert probed.observe(WORKS, 0) == ("uplink wan1 is down: waiting for 2 answers of its probes",)
    assert probed.probed(probed.generation, True, "", 1) == ()
    assert probed.probed(probed.generation, True, "", 2) == (
        "uplink wan1 works again: its probes are answered; preferred again in 30 s",
    )
    unprobed = Health("wan1", "wan1", Thresholds(2, 2, 30), probed=False, doubtful=True)
    assert unprobed.observe(WORKS, 0) == ("uplink wan1 works again: link is up; preferred again in 30 s",)
    assert unprobed.uplink.standing is SETTLING


def test_a_round_that_began_by_another_interface_of_the_name_does_not_count() -> None:
    health = Health("wan1", "wan1", Thresholds(1, 1, 0), probed=True)
    health.observe(FIRST, 0)
    began = health.generation
    health.observe(SECOND, 1)
    assert health.probed(began, False, "no answer", 2) == ()
    assert health.uplink.standing is UP
    assert health.uplink.index == 9
