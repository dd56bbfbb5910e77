"""What each key and each answer makes of the state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.top.scroll import selected, wanted
from gateway.cli.top.sorting import Sort
from gateway.cli.top.state import Asking, Editing, Page, Size
from gateway.cli.top.update import FILTER_LENGTH, Quit, failed, killed, looked, not_killed, pressed, resized
from gateway.control.protocol import Filter, Kill, Sessions
from tests.support.fakesockd import live
from tests.unit.cli.top.looks import again, asked, begun, ids, sample, shown, typed

THREE = (
    live(3, user="wilma", host="b.example", seconds=7.0),
    live(2, user="fred", host="c.example", seconds=9.0),
    live(1, user="barney", host="a.example", seconds=8.0),
)
KEYS = [
    *"baruddKkpqRhynxgG/?<>+-=.1",
    *["up", "down", "page-up", "page-down", "home", "end", "enter", "escape", "backspace", "\x15", "\x17", "\x01", "é"],
]


# Sorting and moving


@pytest.mark.parametrize(
    ("key", "sort", "order"),
    [
        ("b", Sort.BYTES, ["3", "2", "1"]),
        ("a", Sort.AGE, ["2", "1", "3"]),
        ("u", Sort.USER, ["1", "2", "3"]),
        ("d", Sort.DESTINATION, ["1", "3", "2"]),
        ("r", Sort.RATE, ["3", "2", "1"]),
    ],
)
def test_keys_that_sort(key: str, sort: Sort, order: list[str]) -> None:
    state = typed(begun(*THREE), "d", key)
    assert (state.sort, ids(state)) == (sort, order)
    assert ids(typed(state, "R")) == order[::-1]
    assert ids(typed(state, "R", "R")) == order
    assert ids(again(state, *reversed(THREE))) == order, "the next look keeps the order"


def test_an_order_starts_its_own_way_round() -> None:
    assert not typed(begun(*THREE), "R", "a").reverse


@pytest.mark.parametrize(("key", "sort"), [("<", Sort.AGE), (">", Sort.RATE)])
def test_keys_for_the_neighbouring_column(key: str, sort: Sort) -> None:
    assert typed(begun(*THREE), key).sort is sort


def test_the_cursor_stays_with_its_session_through_a_new_order() -> None:
    state = typed(begun(*THREE), "down", "u")
    row = selected(state)
    assert row is not None
    assert row.live.user == "fred"


@pytest.mark.parametrize(
    ("keys", "cursor"),
    [
        (["down"], 1),
        (["down", "down", "up"], 1),
        (["up"], 0),
        (["page-down"], 18),
        (["page-down", "page-down"], 36),
        (["page-down", "page-up"], 0),
        (["end"], 59),
        (["end", "down"], 59),
        (["end", "home"], 0),
        (["G"], 59),
        (["G", "g"], 0),
    ],
)
def test_keys_that_move(keys: list[str], cursor: int) -> None:
    assert typed(begun(*[live(number) for number in range(60, 0, -1)]), *keys).cursor == cursor


def test_an_unknown_key_does_nothing() -> None:
    state = begun(*THREE)
    assert pressed(state, "x") == (state, None)
    assert pressed(state, "é") == (state, None)


def test_q_quits() -> None:
    assert pressed(begun(), "q").command == Quit()


# Filters


def test_a_filter_is_typed_and_applied() -> None:
    state = typed(begun(*THREE), "/")
    assert state.prompt == Editing("")
    state = typed(state, *"user=fredx", "backspace", "enter")
    assert (state.prompt, state.filter, state.rows) == (None, Filter(user="fred"), ())
    assert ids(again(state, THREE[1])) == ["2"]


def test_a_filter_that_is_there_is_changed() -> None:
    state = typed(begun(*THREE), "/", *"user=fred to=:22", "enter", "/")
    assert state.prompt == Editing("user=fred dest=:22")
    assert typed(state, "\x17").prompt == Editing("user=fred")
    assert typed(state, "\x17", "\x17").prompt == Editing("")
    assert typed(state, "\x15", "enter").filter == Filter()


def test_escape_leaves_the_filter_as_it_was() -> None:
    state = typed(begun(*THREE), "/", *"user=fred", "escape")
    assert (state.prompt, state.filter) == (None, Filter())
    assert ids(state) == ["3", "2", "1"]


def test_the_same_filter_again_keeps_the_table() -> None:
    state = again(typed(begun(*THREE), "/", *"user=fred", "enter"), THREE[1])
    assert ids(typed(state, "/", "enter")) == ["2"]


def test_a_filter_that_is_not_understood_can_be_mended() -> None:
    state = typed(begun(*THREE), "/", *"usr=fred", "enter")
    assert isinstance(state.prompt, Editing)
    assert "usr=fred: write one of" in state.prompt.error
    assert state.filter == Filter()
    assert typed(state, "backspace").prompt == Editing("usr=fre")


def test_keys_of_commands_are_letters_in_a_filter() -> None:
    assert typed(begun(*THREE), "/", *"qKk?", "up", "\x01", "é").prompt == Editing("qKk?")


def test_a_filter_has_an_end() -> None:
    state = typed(begun(), "/", *"a" * (FILTER_LENGTH + 5))
    assert state.prompt == Editing("a" * FILTER_LENGTH)


def test_an_answer_to_the_filter_of_before_does_not_fill_the_table() -> None:
    state = typed(begun(*THREE), "/", *"user=fred", "enter")
    late = looked(state, sample(*THREE, at=1.0))
    assert late.rows == ()
    assert late.sample.at == 1.0, "what it says of the daemon counts"


# Ending sessions


def test_k_asks_and_y_ends_the_session_under_the_cursor() -> None:
    state = typed(begun(*THREE), "down", "k")
    assert isinstance(state.prompt, Asking)
    assert state.prompt.question == "end 6920f1a3-1-2: fred, 10.1.2.3:40002 to c.example:443"
    turn = pressed(state, "y")
    assert turn.command == Kill(filter=Filter(session="6920f1a3-1-2"))
    assert turn.state.prompt is None


@pytest.mark.parametrize("key", ["n", "N", "enter", "escape", "k", "q", " ", "up"])
@pytest.mark.parametrize("ask", ["k", "K"])
def test_anything_but_y_ends_nothing(key: str, ask: str) -> None:
    state = again(typed(begun(*THREE), "/", *"user=fred", "enter"), THREE[1])
    state = typed(state, ask, key)
    assert (state.prompt, state.message) == (None, "nothing was ended")


def test_the_question_stands_for_the_session_that_it_names() -> None:
    state = again(typed(begun(*THREE), "k"), live(9), *THREE)
    assert pressed(state, "y").command == Kill(filter=Filter(session="6920f1a3-1-3"))


def test_shift_k_asks_with_the_number_and_ends_what_the_filter_shows() -> None:
    state = typed(begun(*THREE), "/", *"dest=.example rule=17", "enter")
    state = typed(again(state, *THREE, matched=1234), "K")
    assert isinstance(state.prompt, Asking)
    assert state.prompt.question == "end all 1,234 sessions of dest=.example rule=17"
    assert pressed(state, "y").command == Kill(filter=Filter(destination=".example", rule="17"))


def test_shift_k_for_a_single_session() -> None:
    state = again(typed(begun(*THREE), "/", *"user=fred", "enter"), THREE[1])
    assert isinstance(prompt := typed(state, "K").prompt, Asking)
    assert prompt.question == "end the one session of user=fred"


def test_shift_k_without_a_filter_does_not_end_everybody() -> None:
    state = typed(begun(*THREE), "K")
    assert state.prompt is None
    assert "write one with / first" in state.message


def test_shift_k_before_the_filter_has_listed_anything() -> None:
    state = typed(begun(*THREE), "/", *"user=fred", "enter", "K")
    assert state.prompt is None
    assert "press K again" in state.message


def test_nothing_to_end() -> None:
    assert typed(begun(), "k").message == "there is no session to end"
    state = again(typed(begun(*THREE), "/", *"user=nobody", "enter"))
    assert typed(state, "K").message == "there is no session to end"


@pytest.mark.parametrize(
    ("number", "message"),
    [(0, "no session ended: it was over already"), (1, "1 session ended"), (1234, "1,234 sessions ended")],
)
def test_what_became_of_it_is_told_until_the_next_key(number: int, message: str) -> None:
    state = killed(begun(*THREE), number)
    assert state.message == message
    assert again(state).message == message
    assert typed(state, "down").message == ""


def test_an_order_that_was_not_obeyed() -> None:
    assert not_killed(begun(), "only root may").message == "not ended: only root may"


# The other pages


def test_details_of_the_session_under_the_cursor() -> None:
    state = typed(begun(*THREE), "down", "enter")
    assert state.page is Page.DETAILS
    state = again(state, live(2, seconds=10.0, sent=9000, received=4000))
    assert state.details is not None
    assert (state.details.live.sent, state.details.sent) == (9000, 7000.0)
    assert not state.gone
    assert pressed(typed(state, "k"), "y").command == Kill(filter=Filter(session="6920f1a3-1-2"))


def test_details_stay_when_their_session_ends() -> None:
    state = again(typed(begun(*THREE), "enter"))
    assert state.gone
    assert state.details is not None
    assert state.details.live.user == "wilma"
    assert typed(state, "k").message == "there is no session to end"


@pytest.mark.parametrize("key", ["q", "enter", "escape"])
def test_back_from_the_details_to_the_table_as_it_was(key: str) -> None:
    before = typed(begun(*THREE), "down")
    state = typed(again(typed(before, "enter"), live(2)), key)
    assert (state.page, state.details, state.cursor) == (Page.TABLE, None, 1)
    assert ids(state) == ["3", "2", "1"]


def test_an_answer_for_the_table_does_not_change_the_details() -> None:
    state = looked(typed(begun(*THREE), "enter"), sample(at=1.0))
    assert not state.gone
    assert ids(state) == ["3", "2", "1"]


def test_no_details_of_nothing() -> None:
    assert typed(begun(), "enter").page is Page.TABLE


@pytest.mark.parametrize("key", ["h", "?"])
@pytest.mark.parametrize("leave", ["q", "h", "x", "escape"])
def test_help_is_left_by_any_key(key: str, leave: str) -> None:
    state = typed(begun(*THREE), key)
    assert state.page is Page.HELP
    assert typed(state, leave).page is Page.TABLE


# The pace


def test_a_pause_keeps_the_picture_and_ends() -> None:
    assert typed(begun(), "p").paused
    assert not typed(begun(), "p", "p").paused


def test_plus_and_minus_change_the_pace() -> None:
    assert (typed(begun(), "+").interval, typed(begun(), "+").message) == (2.0, "every 2 s")
    assert (typed(begun(), "-").interval, typed(begun(), "-").message) == (0.5, "every 0.5 s")


# What the daemon answers


def test_looks_are_counted_whatever_came_of_them() -> None:
    state = begun(*THREE)
    assert state.looks == 1
    assert again(state).looks == 2
    assert failed(state, "gone").looks == 2


def test_a_daemon_that_is_gone_leaves_the_picture() -> None:
    state = failed(begun(*THREE), "no sockd answers")
    assert state.trouble == "no sockd answers; trying again"
    assert ids(state) == ["3", "2", "1"]
    assert again(state, live(4)).trouble == ""


def test_rates_come_from_two_looks() -> None:
    state = again(begun(live(1, seconds=100.0, sent=0)), live(1, seconds=101.0, sent=500))
    assert state.rows[0].sent == 500.0


def test_a_new_size() -> None:
    assert resized(begun(*THREE), Size(100, 30)).size == Size(100, 30)


@given(
    st.lists(
        st.one_of(
            st.sampled_from(KEYS),
            st.sampled_from([Size(80, 24), Size(20, 3), Size(1, 1), Size(200, 50)]),
            st.lists(st.integers(1, 30), unique=True, max_size=30),
        ),
        max_size=30,
    )
)
def test_no_order_of_keys_sizes_and_answers_breaks_the_screen(events: list[str | Size | list[int]]) -> None:
    state = begun(*THREE)
    for event in events:
        if isinstance(event, str):
            state = pressed(state, event).state
        elif isinstance(event, Size):
            state = resized(state, event)
        else:
            state = again(state, *[live(number) for number in event], matched=len(event) * 2)
        shown(state)
        assert isinstance(wanted(state), Sessions)


def test_the_last_key_of_a_command_is_the_one_that_does_it() -> None:
    assert asked(begun(*THREE), "k", "y").command == Kill(filter=Filter(session="6920f1a3-1-3"))
