"""Rates from real counters, over a clock that the test moves."""

from collections.abc import Iterator

import pytest

from gateway.control.protocol import ResolverTotals
from gateway.daemon.counters import Block, Counter, DnsBlock, DnsCounter
from gateway.daemon.rates import WINDOW, DnsRates, Rates


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


# Names


@pytest.fixture
def dns_block() -> Iterator[DnsBlock]:
    found = DnsBlock()
    yield found
    found.close()


def figures(totals: ResolverTotals) -> tuple[float, float]:
    return totals.queries_per_second, totals.hit_rate


def test_before_the_second_look_nobody_asks_and_nothing_is_known(dns_block: DnsBlock) -> None:
    rates = DnsRates([dns_block])
    dns_block[DnsCounter.QUERIES] = 100
    assert figures(rates.totals()) == (0, 0)
    rates.look(1.0)
    assert (rates.totals().queries, figures(rates.totals())) == (100, (0, 0))


def test_questions_and_the_share_of_the_caches_are_those_of_the_last_seconds(dns_block: DnsBlock) -> None:
    dns_block[DnsCounter.QUERIES], dns_block[DnsCounter.HITS] = 1000, 0
    rates = DnsRates([dns_block])
    rates.look(10.0)
    dns_block[DnsCounter.QUERIES], dns_block[DnsCounter.HITS] = 1030, 20
    rates.look(14.0)
    assert figures(rates.totals()) == (7.5, 0.667)
    rates.look(14.0 + WINDOW)
    assert figures(rates.totals()) == (0, 0)


@pytest.mark.parametrize(
    ("queries", "hits", "expected"),
    [
        pytest.param(-10, -10, (0, 0), id="both shrink"),
        pytest.param(10, -5, (10, 0), id="hits shrink"),
        pytest.param(10, 12, (10, 1), id="hits are written a moment earlier"),
    ],
)
def test_numbers_that_do_not_go_together_are_no_nonsense(
    dns_block: DnsBlock, queries: int, hits: int, expected: tuple[float, float]
) -> None:
    dns_block[DnsCounter.QUERIES] = dns_block[DnsCounter.HITS] = 100
    rates = DnsRates([dns_block])
    rates.look(0.0)
    dns_block[DnsCounter.QUERIES] += queries
    dns_block[DnsCounter.HITS] += hits
    rates.look(1.0)
    assert figures(rates.totals()) == expected


def test_two_looks_at_names_at_the_same_moment_do_not_divide_by_nothing(dns_block: DnsBlock) -> None:
    rates = DnsRates([dns_block])
    rates.look(1.0)
    dns_block[DnsCounter.QUERIES] = 1
    rates.look(1.0)
    assert rates.totals().queries_per_second == 1000.0


def test_totals_have_every_counter_of_all_resolvers(dns_block: DnsBlock) -> None:
    other = DnsBlock()
    for counter in DnsCounter:
        dns_block[counter], other[counter] = counter + 1, 100
    totals = DnsRates([dns_block, other]).totals()
    shown = [counter for counter in DnsCounter if counter is not DnsCounter.LOST]
    assert {counter: getattr(totals, counter.name.lower()) for counter in shown} == {
        counter: counter + 101 for counter in shown
    }
    other.close()


def test_without_resolvers_there_is_nothing() -> None:
    rates = DnsRates([])
    rates.look(1.0)
    rates.look(2.0)
    assert rates.totals() == ResolverTotals()
