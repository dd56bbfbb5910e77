"""Which server is asked next, how long it is waited for, and when it is down and up again."""

import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address
from gateway.dns.servers import CURIOSITY, FALL, LEARN_SECONDS, PROBE_SECONDS, Health, Server, Servers
from tests.support.rules import address

NOW = 1000.0
INCURIOUS = CURIOSITY
CURIOUS = 0.0


def server(text: str, port: int = 53, tls: str = "") -> Server:
    return Server(address(text), port, tls)


FIRST, SECOND, THIRD = (server(f"10.0.0.{number}") for number in (53, 54, 55))


def always(number: float) -> Callable[[], float]:
    return lambda: number


def servers(*times: float | None, random: float = INCURIOUS) -> Servers:
    """As many as there are times: the round trip of each in seconds, None: it was never heard."""
    made = Servers((FIRST, SECOND, THIRD)[: len(times)], always(random))
    for health, seconds in zip(made.all, times, strict=True):
        if seconds is not None:
            made.answered(health, seconds, NOW)
            health.learn_at = NOW + LEARN_SECONDS
    return made


def names(healths: Sequence[Health]) -> list[str]:
    return [str(health.server) for health in healths]


def fell(made: Servers, health: Health, now: float = NOW, why: str = "timed out") -> None:
    """The server goes down now."""
    assert [made.failed(health, why, now) for _ in range(FALL)] == [False] * (FALL - 1) + [True]


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (server("10.0.0.53"), "10.0.0.53"),
        (server("10.0.0.53", 5353), "10.0.0.53:5353"),
        (server("9.9.9.9", 853, "dns.quad9.net"), "9.9.9.9:853 (dns.quad9.net)"),
        (server("9.9.9.9", 53, "dns.quad9.net"), "9.9.9.9:53 (dns.quad9.net)"),
        (server("2001:db8::53"), "2001:db8::53"),
        (server("2001:db8::53", 5353), "[2001:db8::53]:5353"),
        (server("2001:db8::53", 853, "dns.example"), "[2001:db8::53]:853 (dns.example)"),
    ],
)
def test_how_a_server_is_written(of: Server, text: str) -> None:
    assert str(of) == text


class TestWhoIsAsked:
    @pytest.mark.parametrize(
        ("times", "wanted"),
        [
            pytest.param((None, None, None), 0, id="at the beginning the first one in order"),
            pytest.param((0.100, 0.100, 0.100), 0, id="among equals the first one"),
            pytest.param((0.100, 0.050, None), 0, id="twice the time is equal"),
            pytest.param((0.101, 0.050, 0.060), 1, id="more than twice the time is clearly slower"),
            pytest.param((0.300, 0.080, 0.050), 1, id="the first of those that are not clearly slower"),
            pytest.param((0.300, 0.200, 0.050), 2, id="the quickest, if it is clearly quicker than each"),
            pytest.param((0.002, 0.0001, 0.0001), 0, id="below a millisecond differences are chance"),
            pytest.param((0.0021, 0.0001, 0.0001), 1, id="above it they are not"),
            pytest.param((0.300, None, 0.050), 1, id="one that was never heard, before a quick one behind it"),
            pytest.param((0.300, None, None), 0, id="the only one that was heard"),
        ],
    )
    def test_the_order_counts_unless_another_is_clearly_quicker(
        self, times: tuple[float | None, ...], wanted: int
    ) -> None:
        made = servers(*times)
        assert made.best(NOW, ()) is made.all[wanted]

    def test_each_is_asked_once_and_then_none(self) -> None:
        made = servers(0.3, 0.05, 0.2)
        tried: list[Health] = []
        while (health := made.best(NOW, tried)) is not None:
            tried.append(health)
        assert names(tried) == ["10.0.0.54", "10.0.0.53", "10.0.0.55"]

    def test_one_that_is_down_is_not_asked(self) -> None:
        made = servers(None, None)
        fell(made, made.all[0])
        assert made.best(NOW, ()) is made.all[1]
        assert made.best(NOW, [made.all[1]]) is None

    def test_none_is_asked_when_all_are_down(self) -> None:
        made = servers(0.1, 0.1)
        for health in made.all:
            assert not made.is_dead()
            fell(made, health)
        assert made.is_dead()
        assert made.best(NOW, ()) is None

    def test_a_zone_without_servers_has_nobody_to_ask(self) -> None:
        made = Servers((), always(CURIOUS))
        assert made.best(NOW, ()) is None
        assert made.is_dead()
        assert made.due(NOW) == []
        assert made.why(NOW) == ""


class TestCuriosity:
    """Now and then another server is asked, or its time would never be known again."""

    def test_the_one_whose_time_was_not_measured_for_longest(self) -> None:
        made = servers(0.05, 0.3, 0.4, random=CURIOUS)
        made.all[1].learn_at, made.all[2].learn_at = NOW - 1, NOW - 2
        assert made.best(NOW, ()) is made.all[2]
        assert made.best(NOW, ()) is made.all[1]
        assert made.best(NOW, ()) is made.all[0]

    def test_but_not_the_one_that_was_asked_lately(self) -> None:
        made = servers(0.05, 0.3, random=CURIOUS)
        assert made.best(NOW + LEARN_SECONDS - 0.1, ()) is made.all[0]
        assert made.best(NOW + LEARN_SECONDS, ()) is made.all[1]
        assert made.best(NOW + LEARN_SECONDS, ()) is made.all[0]

    def test_and_not_often(self) -> None:
        made = servers(0.05, 0.3, random=INCURIOUS)
        assert made.best(NOW + 10 * LEARN_SECONDS, ()) is made.all[0]
        curious = servers(0.05, 0.3, random=INCURIOUS - 0.001)
        assert curious.best(NOW + 10 * LEARN_SECONDS, ()) is curious.all[1]

    def test_nor_one_that_is_down_or_was_tried(self) -> None:
        made = servers(0.05, 0.3, 0.4, random=CURIOUS)
        fell(made, made.all[1])
        late = NOW + 10 * LEARN_SECONDS
        assert made.best(late, [made.all[2]]) is made.all[0]

    def test_a_server_that_has_become_quick_is_found_out(self) -> None:
        made = Servers((FIRST, SECOND), itertools.cycle((0.9, CURIOUS)).__next__)
        real = {made.all[0]: 0.2, made.all[1]: 0.02}
        now, chosen = NOW, []
        for _ in range(100):
            health = made.best(now, ())
            assert health is not None
            made.answered(health, real[health], now)
            chosen.append(health)
            now += 1
        assert chosen[0] is made.all[0]
        assert chosen[50:].count(made.all[1]) > 40


class TestPatience:
    def test_at_first_nothing_is_known(self) -> None:
        made = servers(None)
        assert made.patience(made.all[0]) == 0.8

    @pytest.mark.parametrize(
        ("seconds", "patience"),
        [
            pytest.param(0.001, 0.2, id="never less than this"),
            pytest.param(0.066, 0.2, id="just below"),
            pytest.param(0.070, 0.21, id="just above: three times the first measurement (RFC 6298 §2.2)"),
            pytest.param(0.600, 1.8, id="of a slow one"),
            pytest.param(0.700, 2.0, id="never more than this"),
        ],
    )
    def test_it_follows_the_round_trip(self, seconds: float, patience: float) -> None:
        made = servers(seconds)
        assert made.patience(made.all[0]) == pytest.approx(patience)

    def test_the_mean_and_the_deviation_are_smoothed(self) -> None:
        """RFC 6298 §2.3: an eighth of the new time, a quarter of the new deviation from the old mean."""
        made = servers(0.080)
        health = made.all[0]
        assert (health.srtt, health.deviation) == (0.080, 0.040)
        made.answered(health, 0.160, NOW)
        assert health.srtt == pytest.approx(0.090)
        assert health.deviation == pytest.approx(0.050)
        assert made.patience(health) == pytest.approx(0.290)

    def test_a_server_that_is_always_the_same_is_not_waited_for_longer_than_it_takes(self) -> None:
        made = servers(0.5)
        for _ in range(40):
            made.answered(made.all[0], 0.5, NOW)
        assert made.patience(made.all[0]) == pytest.approx(0.5, abs=0.001)

    def test_it_doubles_with_each_failure(self) -> None:
        made = servers(0.1)
        health = made.all[0]
        seen = []
        for _ in range(6):
            seen.append(made.patience(health))
            made.failed(health, "timed out", NOW)
        assert seen == pytest.approx([0.3, 0.6, 1.2, 2.0, 2.0, 2.0])
        made.answered(health, 0.1, NOW)
        assert made.patience(health) < 0.3


class TestDown:
    def test_after_three_failures_in_a_row(self) -> None:
        made = servers(0.1, 0.1)
        health = made.all[0]
        assert not made.failed(health, "timed out", NOW)
        assert not made.failed(health, "timed out", NOW + 1)
        assert not made.is_dead()
        assert made.failed(health, "Connection refused", NOW + 2)
        assert (health.is_down, health.since, health.cause) == (True, NOW + 2, "Connection refused")

    def test_it_is_told_once(self) -> None:
        made = servers(None)
        fell(made, made.all[0])
        assert not made.failed(made.all[0], "timed out", NOW + 5)
        assert made.all[0].since == NOW

    def test_an_answer_in_between_begins_the_row_anew(self) -> None:
        made = servers(None)
        health = made.all[0]
        for _ in range(5):
            made.failed(health, "timed out", NOW)
            made.failed(health, "timed out", NOW)
            assert not made.answered(health, 0.1, NOW)
        assert not health.is_down
        fell(made, health)

    def test_one_answer_brings_it_back(self) -> None:
        made = servers(None, None)
        health = made.all[0]
        fell(made, health)
        assert made.answered(health, 0.1, NOW + 7)
        assert (health.is_down, health.failures, health.cause, health.since) == (False, 0, "", NOW + 7)
        assert made.best(NOW + 7, ()) is health
        assert not made.answered(health, 0.1, NOW + 8)
        assert health.since == NOW + 7

    def test_what_was_asked_before_the_last_answer_does_not_bring_it_down_again(self) -> None:
        """Of the questions of an outage many fail only after its end."""
        made = servers(None)
        health = made.all[0]
        fell(made, health, NOW + 1)
        assert made.answered(health, 0.01, NOW + 1.1)
        for _ in range(50):
            assert not made.failed(health, "timed out", NOW + 1.5, began=NOW + 0.9)
        assert not health.is_down
        assert (health.failures, health.cause) == (0, "")

    def test_what_was_asked_since_does(self) -> None:
        made = servers(None)
        health = made.all[0]
        made.answered(health, 0.01, NOW)
        assert [made.failed(health, "timed out", NOW + 1, began=NOW) for _ in range(FALL)] == [False, False, True]

    def test_it_counts_what_became_of_questions(self) -> None:
        made = servers(None)
        health = made.all[0]
        made.answered(health, 0.1, NOW)
        made.failed(health, "timed out", NOW, began=NOW - 5)
        fell(made, health)
        assert (health.answered, health.failed) == (1, 4)


class TestProbes:
    def test_one_that_is_up_is_not_probed(self) -> None:
        made = servers(0.1, None)
        made.failed(made.all[0], "timed out", NOW)
        assert made.due(NOW + 100) == []

    def test_one_that_is_down_is_probed_at_once_and_then_every_second_for_ever(self) -> None:
        made = servers(None, None)
        fell(made, made.all[1])
        seen = []
        for tick in range(201):  # twenty times a second
            now = NOW + tick / 20
            due = made.due(now)
            assert due in ([], [made.all[1]])
            if due:
                seen.append(round(now - NOW, 2))
                made.failed(made.all[1], "timed out", now)
        assert seen == [float(second) for second in range(11)]
        assert made.due(NOW + 86_400) == [made.all[1]]

    def test_each_is_given_once_an_interval(self) -> None:
        made = servers(None, None)
        for health in made.all:
            fell(made, health)
        assert made.due(NOW) == list(made.all)
        assert made.due(NOW + PROBE_SECONDS - 0.01) == []
        assert made.due(NOW + PROBE_SECONDS) == list(made.all)
        assert made.due(NOW + PROBE_SECONDS) == []

    def test_at_once_too_when_it_goes_down_again_soon(self) -> None:
        made = servers(None)
        fell(made, made.all[0])
        assert made.due(NOW) == [made.all[0]]
        made.answered(made.all[0], 0.1, NOW + 0.1)
        fell(made, made.all[0], NOW + 0.2)
        assert made.due(NOW + 0.2) == [made.all[0]]

    def test_until_it_answers(self) -> None:
        made = servers(None)
        fell(made, made.all[0])
        made.answered(made.all[0], 0.1, NOW + 3)
        assert made.due(NOW + 100) == []
        fell(made, made.all[0], NOW + 200)
        assert made.due(NOW + 200) == [made.all[0]]

    def test_a_zone_is_served_again_within_two_seconds_of_its_servers(self) -> None:
        """A minute without any; they come back at some moment between two probes."""
        for back in (60.0, 60.3, 60.95):
            made = servers(0.01, 0.01)
            for health in made.all:
                fell(made, health)
            now, served = NOW, 0.0
            while not served:
                if made.due(now) and now >= NOW + back:
                    made.answered(made.all[0], 0.01, now)
                if made.best(now, ()) is not None:
                    served = now
                now += 0.05
            assert served - (NOW + back) <= 2


class TestWhy:
    def test_each_server_with_its_reason(self) -> None:
        made = servers(None, None, None)
        fell(made, made.all[0], NOW)
        fell(made, made.all[1], NOW + 39.5, "Connection refused")
        made.failed(made.all[2], "Network is unreachable", NOW)
        assert made.why(NOW + 40.4) == (
            "10.0.0.53: timed out, down for 40 s; 10.0.0.54: Connection refused; 10.0.0.55: Network is unreachable"
        )
        assert made.why(NOW + 40.5).count("10.0.0.54: Connection refused, down for 1 s;") == 1

    def test_of_the_last_failure(self) -> None:
        made = servers(None)
        fell(made, made.all[0])
        made.failed(made.all[0], "No route to host", NOW + 5)
        assert made.why(NOW + 5) == "10.0.0.53: No route to host, down for 5 s"

    def test_nothing_of_one_that_is_well(self) -> None:
        made = servers(0.1, None)
        made.failed(made.all[0], "timed out", NOW)
        made.answered(made.all[0], 0.1, NOW)
        assert made.why(NOW) == ""


def test_a_server_that_is_new_can_do_everything() -> None:
    health = Servers((FIRST,), always(0.5)).all[0]
    assert health.plain_until < 0
    assert (health.queries, health.srtt, health.is_down) == (0, None, False)
    assert health.server == Server(Address(4, 0x0A000035), 53)


events = st.tuples(
    st.sampled_from([0.0, 0.1, 0.7, 1.0, 30.0]), st.integers(0, 2), st.sampled_from(["answered", "failed", "best"])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=60), st.floats(0, 0.999))
def test_whatever_happens(story: list[tuple[float, int, str]], chance: float) -> None:
    made = servers(None, None, None, random=chance)
    row, now = [0, 0, 0], NOW
    given_at: dict[Health, float] = {}
    for pause, number, what in story:
        now += pause
        health = made.all[number]
        was_down = row[number] >= FALL
        if what == "answered":
            assert made.answered(health, 0.05, now) is was_down
            row[number] = 0
            given_at.pop(health, None)
        elif what == "failed":
            row[number] += 1
            assert made.failed(health, "timed out", now) is (row[number] == FALL)
        assert [h.is_down for h in made.all] == [failures >= FALL for failures in row]
        best = made.best(now, ())
        assert (best is None) is made.is_dead() is all(failures >= FALL for failures in row)
        assert best is None or not best.is_down
        for due in made.due(now):
            assert due.is_down
            assert now - given_at.get(due, float("-inf")) >= PROBE_SECONDS
            given_at[due] = now
        assert all(now - given_at[h] < PROBE_SECONDS for h in made.all if h.is_down)
        assert all(0.2 <= made.patience(h) <= 2.0 for h in made.all)
