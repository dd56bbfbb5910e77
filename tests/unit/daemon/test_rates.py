"""Rates from real counters, over a clock that the test moves."""

from collections.abc import Iterator

import pytest

from gateway.daemon.counters import Block, Counter
from gateway.daemon.rates import WINDOW, Rates


@pytest.fixture
def block() -> Iterator[Block]:
    found = Block()
    yield found
    found.close()


def test_before_the_second_look_nothing_grows(block: Block) -> None:
    rates = Rates([block])
    block[Counter.ACCEPTED] = 100
    assert rates.totals().accepted_per_second == 0
    rates.look(1.0)
    found = rates.totals()
    assert (found.accepted, found.accepted_per_second, found.sent_per_second) == (100, 0, 0)


def test_rates_are_what_was_added_by_the_time_between(block: Block) -> None:
    rates = Rates([block])
    rates.look(10.0)
    block[Counter.ACCEPTED], block[Counter.SENT], block[Counter.RECEIVED] = 5, 3000, 70_000
    rates.look(12.0)
    found = rates.totals()
    assert (found.accepted_per_second, found.sent_per_second, found.received_per_second) == (2.5, 1500, 35_000)


def test_what_was_long_ago_is_forgotten(block: Block) -> None:
    rates = Rates([block])
    for second in range(20):
        if second < 5:
            block[Counter.ACCEPTED] += 100
        rates.look(float(second))
    assert rates.totals().accepted_per_second == 0
    assert rates.totals().accepted == 500


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(WINDOW - 0.5, 0.0, id="just before: measured from the look before"),
        pytest.param(WINDOW, 2.0, id="from then on: measured from the window's begin"),
    ],
)
def test_the_window_begins_at_the_last_look_that_is_old_enough(block: Block, seconds: float, expected: float) -> None:
    """The first look is taken at 0 with ten, the second one at 1 with none more, the third one with ten more."""
    rates = Rates([block])
    block[Counter.ACCEPTED] = 10
    rates.look(0.0)
    rates.look(1.0)
    if expected:
        block[Counter.ACCEPTED] += int(expected * WINDOW)
    rates.look(1.0 + seconds)
    assert rates.totals().accepted_per_second == expected


def test_sums_that_shrink_are_no_negative_rate(block: Block) -> None:
    rates = Rates([block])
    block[Counter.SENT] = 1000
    rates.look(0.0)
    block[Counter.SENT] = 10
    rates.look(1.0)
    assert rates.totals().sent_per_second == 0


def test_two_looks_at_the_same_moment_do_not_divide_by_nothing(block: Block) -> None:
    rates = Rates([block])
    rates.look(1.0)
    block[Counter.ACCEPTED] = 1
    rates.look(1.0)
    assert rates.totals().accepted_per_second == 1000.0


def test_totals_have_every_counter_of_all_workers(block: Block) -> None:
    other = Block()
    for counter in Counter:
        block[counter], other[counter] = counter + 1, 100
    totals = Rates([block, other]).totals()
    assert {counter: getattr(totals, counter.name.lower()) for counter in Counter} == {
        counter: counter + 101 for counter in Counter
    }
    other.close()
