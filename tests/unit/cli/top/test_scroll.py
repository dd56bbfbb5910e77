"""Where the cursor stands, which lines are on the screen, and what the daemon is asked for because of it."""

from dataclasses import replace

import pytest

from gateway.cli.top.scroll import STEP, count, first_look, height, is_live, lacks, move, selected, settled, wanted
from gateway.cli.top.sorting import Sort
from gateway.cli.top.state import Size, State
from gateway.control.protocol import MAX_ROWS, Filter, Live, Sessions
from tests.support.fakesockd import live
from tests.unit.cli.top.looks import USUAL, again, begun, ids, typed

#: the most bytes first, as the table is sorted at the start
MANY = [live(number) for number in range(300, 0, -1)]
LINES = 18
"""Of sessions at 80x24: 4 of heading, 1 of titles and 1 below go away."""


def ten_thousand(listed: int = STEP) -> State:
    """A daemon with 10,000 sessions that has listed the first."""
    return begun(*[live(number) for number in range(10_000, 10_000 - listed, -1)], matched=10_000)


def under_cursor(state: State) -> str:
    row = selected(state)
    assert row is not None
    return row.live.session.rpartition("-")[2]


def test_how_many_sessions_the_screen_shows() -> None:
    assert height(begun(*MANY)) == LINES
    assert height(begun(*MANY, size=Size(80, 2))) == 0


@pytest.mark.parametrize(
    ("start", "to", "cursor", "top"),
    [
        pytest.param(0, 1, 1, 0, id="one down"),
        pytest.param(0, LINES - 1, LINES - 1, 0, id="the last line of the screen"),
        pytest.param(0, LINES, LINES, 1, id="one below the screen"),
        pytest.param(0, -1, 0, 0, id="above the first"),
        pytest.param(0, 299, 299, 300 - LINES, id="the last"),
        pytest.param(0, 300, 299, 300 - LINES, id="behind the last"),
        pytest.param(299, 300 - LINES, 300 - LINES, 300 - LINES, id="up to the first line of the screen"),
        pytest.param(299, 299 - LINES, 299 - LINES, 299 - LINES, id="one above the screen"),
    ],
)
def test_the_screen_follows_the_cursor(start: int, to: int, cursor: int, top: int) -> None:
    moved = move(move(begun(*MANY), start), to)
    assert (moved.cursor, moved.top) == (cursor, top)


def test_an_empty_table_has_nothing_under_the_cursor() -> None:
    state = move(begun(), 5)
    assert (state.cursor, state.top, selected(state)) == (0, 0, None)


def test_the_cursor_stays_with_its_session() -> None:
    state = move(begun(live(3), live(2), live(1)), 1)
    assert under_cursor(state) == "2"
    state = again(state, live(9), live(8), live(3), live(2), live(1))
    assert (under_cursor(state), state.cursor) == ("2", 3)


def test_a_cursor_that_was_not_moved_stays_at_the_top() -> None:
    state = again(begun(live(3), live(2)), live(9), live(3), live(2))
    assert (under_cursor(state), state.cursor) == ("9", 0)


def test_home_lets_the_session_go() -> None:
    state = typed(begun(live(3), live(2)), "down", "home")
    assert under_cursor(again(state, live(9), live(3), live(2))) == "9"


def test_when_its_session_ends_the_cursor_stays_where_it_was() -> None:
    state = move(begun(live(3), live(2), live(1)), 1)
    assert under_cursor(again(state, live(3), live(1))) == "1"
    assert under_cursor(again(state, live(3))) == "3"
    assert selected(again(state)) is None


def test_a_smaller_screen_keeps_the_cursor_on_it() -> None:
    state = move(begun(*MANY), 17)
    smaller = settled(replace(state, size=Size(80, 12)))
    assert smaller.top <= smaller.cursor < smaller.top + height(smaller)


# What is asked for


@pytest.mark.parametrize(
    ("sort", "asked"),
    [
        (Sort.BYTES, Sessions(sort="bytes", limit=STEP)),
        (Sort.AGE, Sessions(sort="age", limit=STEP)),
        (Sort.RATE, Sessions(sort="bytes", limit=MAX_ROWS)),
        (Sort.USER, Sessions(sort="bytes", limit=MAX_ROWS)),
    ],
)
def test_only_an_order_of_the_daemon_s_own_is_asked_for_in_part(sort: Sort, asked: Sessions) -> None:
    assert wanted(begun(*MANY, sort=sort)) == asked == first_look(sort, Filter(), USUAL)


def test_the_other_way_round_needs_all() -> None:
    assert wanted(typed(begun(*MANY), "R")) == Sessions(sort="bytes", limit=MAX_ROWS)


def test_a_high_screen_is_asked_for_whole() -> None:
    assert first_look(Sort.BYTES, Filter(), Size(80, 150)).limit >= 150


def test_the_next_lines_are_asked_for_before_the_cursor_is_there() -> None:
    state = ten_thousand()
    assert not lacks(state, wanted(state))
    near = move(state, STEP - LINES)
    assert lacks(near, state.table.asked)
    assert wanted(near).limit == 2 * STEP


def test_the_end_of_10_000_sessions() -> None:
    state = typed(ten_thousand(), "end")
    assert state.cursor == 9_999
    assert selected(state) is None, "it is not here yet"
    assert wanted(state).limit == MAX_ROWS
    everything = [live(number) for number in range(10_000, 0, -1)]
    state = again(state, *everything)
    assert under_cursor(state) == "1"
    assert ids(state)[state.top :][:LINES] == [str(number) for number in range(LINES, 0, -1)]


def test_what_is_listed_whole_can_be_sorted_without_asking() -> None:
    state = begun(*MANY[:50])
    assert not lacks(typed(state, "u"), state.table.asked)
    assert lacks(typed(ten_thousand(), "u"), state.table.asked)


def test_what_was_asked_for_already_is_not_asked_for_at_once_again() -> None:
    state = typed(ten_thousand(), "r")
    assert not lacks(state, wanted(state))


def test_more_than_needed_is_good_enough() -> None:
    assert not lacks(ten_thousand(), Sessions(sort="bytes", limit=MAX_ROWS))


def test_a_new_filter_is_asked_for_at_once() -> None:
    state = typed(begun(*MANY), "/", *"user=fred", "enter")
    assert lacks(state, begun().table.asked)
    assert count(state) == 0, "the sessions of the old filter are not its"
    assert wanted(state).filter == Filter(user="fred")


def test_the_details_ask_for_their_session_alone() -> None:
    state = typed(begun(*MANY), "down", "enter")
    assert wanted(state) == Sessions(filter=Filter(session="6920f1a3-1-299"), limit=1)
    assert lacks(state, begun().table.asked)


def test_a_pause_asks_for_nothing_but_a_new_filter() -> None:
    state = typed(ten_thousand(), "p")
    before = state.table.asked
    assert not is_live(state)
    assert not lacks(typed(state, "r"), before)
    assert not lacks(typed(state, "end"), before)
    assert not lacks(typed(state, "enter"), before)
    state = typed(state, "/", *"user=fred", "enter")
    assert is_live(state), "what the filter shows must come, once"
    assert lacks(state, before)
    assert not is_live(again(state, live(1)))


def test_the_daemon_lists_10_000_at_most() -> None:
    all_of_them: list[Live] = [live(number) for number in range(20, 0, -1)]
    state = begun(*all_of_them, matched=12_000, sort=Sort.RATE)
    assert count(state) == 20, "what is not listed with all asked for will not come"
    assert count(begun(*all_of_them, matched=12_000)) == MAX_ROWS
