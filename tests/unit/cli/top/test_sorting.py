"""The orders of the table, each against sessions that differ in nothing else."""

import pytest

from gateway.cli.top.sample import Row
from gateway.cli.top.sorting import ORDERS, Sort, in_order, neighbour
from gateway.control.protocol import Live
from tests.support.fakesockd import live


def row(session: Live, sent: float | None = None, received: float | None = None) -> Row:
    return Row(session, sent, received, session)


IN_ORDER = {
    Sort.SESSION: (row(live(9)), row(live(10)), row(live(100))),
    Sort.USER: (row(live(1, user="")), row(live(2, user="betty")), row(live(3, user="fred"))),
    Sort.CLIENT: (row(live(1, client="10.0.0.2:50000")), row(live(2, client="10.0.0.10:4000"))),
    Sort.DESTINATION: (row(live(1, host="a", port=80)), row(live(2, host="a", port=443)), row(live(3, host="b"))),
    Sort.RULE: (row(live(1, rule=None)), row(live(2, rule="sockd.conf:9")), row(live(3, rule="sockd.conf:10"))),
    Sort.UPLINK: (row(live(1, uplink=None)), row(live(2, uplink="wan1")), row(live(3, uplink="wan2"))),
    Sort.STATE: (row(live(1, state="dialing")), row(live(2, state="relaying"))),
    Sort.AGE: (row(live(1, seconds=9.0)), row(live(2, seconds=5.0))),
    Sort.BYTES: (row(live(1, sent=1, received=9)), row(live(2, sent=5, received=4))),
    Sort.RATE: (row(live(1), 1.0, 9.0), row(live(2), 5.0, 4.0), row(live(3), 0.0, 0.0), row(live(4))),
}


@pytest.mark.parametrize("sort", Sort)
def test_every_order_both_ways(sort: Sort) -> None:
    rows = IN_ORDER[sort]
    assert in_order(reversed(rows), sort, False) == rows
    assert in_order(rows, sort, True) == tuple(reversed(rows))


@pytest.mark.parametrize("sort", set(Sort) - {Sort.SESSION})
def test_equal_sessions_keep_their_places(sort: Sort) -> None:
    rows = [row(live(number, client="10.0.0.1:1", seconds=5.0, sent=0, received=0)) for number in (1, 2, 3)]
    assert in_order(rows, sort, False) == in_order(reversed(rows), sort, False)


def test_the_daemon_is_asked_for_the_orders_that_it_has() -> None:
    assert {sort: order.asked for sort, order in ORDERS.items() if order.asked} == {
        Sort.AGE: "age",
        Sort.BYTES: "bytes",
    }
    assert set(ORDERS) == set(Sort)


def test_the_next_order_goes_round() -> None:
    assert neighbour(Sort.AGE, 1) is Sort.BYTES
    assert neighbour(Sort.AGE, -1) is Sort.STATE
    assert neighbour(Sort.RATE, 1) is Sort.SESSION
    assert neighbour(Sort.SESSION, -1) is Sort.RATE
