"""The rates of sessions from two looks at them, by the sessions' own ages."""

import pytest

from gateway.cli.top.sample import LEAST_SPAN, YOUNG, Row, row_of, rows_of
from tests.support.fakesockd import live


def test_a_rate_is_the_difference_over_the_difference_of_ages() -> None:
    before = row_of(live(1, seconds=100.0, sent=1000, received=0), None)
    row = row_of(live(1, seconds=104.0, sent=5000, received=800), before)
    assert (row.sent, row.received) == (1000.0, 200.0)


def test_nothing_is_known_of_an_old_session_that_is_new_to_us() -> None:
    row = row_of(live(1, seconds=YOUNG + 0.1), None)
    assert (row.sent, row.received) == (None, None)


def test_a_young_session_has_its_average() -> None:
    row = row_of(live(1, seconds=YOUNG, sent=100, received=5000), None)
    assert (row.sent, row.received) == (10.0, 500.0)


@pytest.mark.parametrize("seconds", [0.0, LEAST_SPAN - 0.01])
def test_a_session_that_has_just_begun_has_no_rate(seconds: float) -> None:
    assert row_of(live(1, seconds=seconds, sent=100), None).sent is None


def test_looks_close_together_do_not_make_a_rate_of_noise() -> None:
    first = row_of(live(1, seconds=100.0, sent=0), None)
    second = row_of(live(1, seconds=101.0, sent=1000), first)
    close = row_of(live(1, seconds=101.1, sent=9000), second)
    assert close.sent == 1000.0
    assert close.live.sent == 9000, "the bytes themselves are those of now"
    later = row_of(live(1, seconds=102.0, sent=9000), close)
    assert later.sent == 8000.0, "the span begins where the last rate ended"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"seconds": 50.0, "sent": 9999, "received": 9999}, id="younger than before"),
        pytest.param({"seconds": 101.0, "sent": 1, "received": 9999}, id="fewer bytes sent than before"),
        pytest.param({"seconds": 101.0, "sent": 9999, "received": 1}, id="fewer bytes received than before"),
    ],
)
def test_another_session_with_the_same_id_starts_anew(changes: dict[str, float]) -> None:
    before = row_of(live(1, seconds=100.0, sent=1000, received=1000), None)
    row = row_of(live(1, **changes), before)
    assert (row.sent, row.received) == (None, None)


def test_each_session_against_its_own_row() -> None:
    before = rows_of([live(1, seconds=1.0, sent=0), live(2, seconds=1.0, sent=0)], {})
    after = rows_of([live(2, seconds=2.0, sent=20), live(3, seconds=20.0), live(1, seconds=2.0, sent=10)], before)
    assert [(row.live.session[-1], row.sent) for row in after.values()] == [("2", 20.0), ("3", None), ("1", 10.0)]
    assert all(isinstance(row, Row) for row in after.values())
