"""The screen as a whole, as text: at the sizes that there are, on every page, and with nothing on it."""

from dataclasses import replace

import msgspec
import pytest

from gateway.cli.top.state import Size, State
from gateway.cli.top.style import Style, text_of
from gateway.cli.top.update import failed
from gateway.cli.top.view import plain, render
from tests.support.fakesockd import live
from tests.unit.cli.top.looks import SMALL, USUAL, WIDE, again, begun, shown, typed

SESSIONS = [
    live(3, user="wilma", host="ftp.uu.net", port=21, uplink="wan2", sent=5 << 20, received=700, seconds=4000.0),
    live(2, sent=2 << 20, received=3 << 20, seconds=59.0),
    live(1, user="", state="negotiating", host=None, address=None, port=None, uplink=None, rule=None, seconds=2.0),
]
LATER = [
    msgspec.structs.replace(session, seconds=session.seconds + 1, sent=session.sent + 1024) for session in SESSIONS
]


def two_looks(size: Size) -> State:
    return again(begun(*SESSIONS, size=size), *LATER)


def test_a_usual_terminal() -> None:
    lines = shown(two_looks(USUAL))
    assert lines[4:9] == [
        "SESSION  USER     DESTINATION            UPLINK    AGE  SENT RECVD SENT/s RECV/s",
        "~1a3-1-3 wilma    ftp.uu.net:21          wan2    1h06m  5.0M   700   1.0K      0",
        "~1a3-1-2 fred     www.example.com:443    wan1    1m00s  2.0M  3.0M   1.0K      0",
        "~1a3-1-1 -        (negotiating)          -          3s  2.0K  2.0K   1.0K      0",
        "",
    ]
    assert lines[-1] == "1-3 of 3  by bytes  h help  q quit  k kill  / filter  b a r u d sort  R reverse"


def test_a_wide_terminal() -> None:
    lines = shown(two_looks(WIDE))
    assert lines[4].split() == [
        *["SESSION", "USER", "CLIENT", "DESTINATION", "RULE", "UPLINK", "STATE", "AGE"],
        *["SENT", "RECVD", "SENT/s", "RECV/s"],
    ]
    assert lines[6].split() == [
        *["6920f1a3-1-2", "fred", "10.1.2.3:40002", "www.example.com:443", "sockd.conf:17", "wan1", "relaying"],
        *["1m00s", "2.0M", "3.0M", "1.0K", "0"],
    ]
    assert lines[-1].endswith("enter details  p pause  + - pace")


def test_a_small_terminal() -> None:
    assert shown(two_looks(SMALL)) == [
        "sockd 0.9.0  up 3h14m",
        "sessions 3/16000  connections 87/s",
        "refused 34 (0/s)  failed 3 (0/s)",
        "uplinks  wan2 down  wan1 up",
        "USER      DESTINATION             RECV/s",
        "wilma     ftp.uu.net:21                0",
        "fred      www.example.com:443          0",
        "-         (negotiating)                0",
        "",
        "1-3 of 3  by bytes  h help  q quit",
    ]


def test_nobody_there() -> None:
    assert shown(begun())[5] == "no sessions"
    assert shown(begun())[-1].startswith("0 of 0  by bytes")
    state = typed(begun(*SESSIONS), "/", *"user=nobody", "enter")
    assert shown(state)[5] == "...", "the answer is on its way"
    assert shown(again(state))[5] == "no sessions that the filter matches"


def test_10_000_sessions() -> None:
    state = begun(*[live(number) for number in range(10_000, 9_900, -1)], matched=10_000)
    assert shown(state)[-1].startswith("1-18 of 10000  by bytes")
    state = typed(state, "end")
    assert shown(state)[5] == "..."
    state = again(state, *[live(number) for number in range(10_000, 0, -1)])
    assert shown(state)[-1].startswith("9983-10000 of 10000")
    assert shown(state)[-2].startswith("~1a3-1-1 ")


def test_the_cursor_is_a_line_of_its_own_style() -> None:
    lines = render(typed(begun(*SESSIONS), "down"))
    marked = [text_of(line) for line in lines if any(span.style is Style.CURSOR for span in line)]
    assert len(marked) == 1
    assert marked[0].startswith("~1a3-1-2")
    assert len(marked[0]) == 80


def test_the_order_and_the_filter_stand_in_the_last_line() -> None:
    state = again(typed(begun(*SESSIONS), "u", "R", "/", *"to=:443 user=fred", "enter"), LATER[1])
    assert shown(state)[-1].startswith("1-1 of 1  by user reversed  user=fred dest=:443  h help")


def test_the_question_keeps_its_end_when_it_is_cut() -> None:
    state = typed(begun(live(1, host="a" * 200)), "k")
    assert shown(state)[-1].endswith("aaa~? (y/n)")
    assert len(shown(state)[-1]) == 80
    narrow = replace(state, size=Size(5, 24))
    assert shown(narrow)[-1] == "? (y~"


def test_what_is_typed_last_is_seen() -> None:
    state = typed(begun(), "/", *"user=", *"x" * 80, "y")
    assert shown(state)[-1].startswith("~xxx")
    assert shown(state)[-1].endswith("xy_")
    state = typed(begun(), "/", *"usr=fred", "enter")
    assert shown(state)[-1].startswith("filter: usr=fred_  usr=fred: write one of user= ")


def test_a_message_takes_the_last_line() -> None:
    assert shown(typed(begun(), "K"))[-1] == "K ends all sessions that a filter shows; write one with / first"


def test_the_help_fits_a_usual_terminal() -> None:
    lines = shown(typed(begun(), "h"))
    assert not any("~" in line for line in lines)
    assert any(line.startswith("K ") for line in lines)
    shown(typed(begun(size=SMALL), "h"))


def test_details_show_every_field() -> None:
    state = again(
        typed(two_looks(USUAL), "down", "enter"), msgspec.structs.replace(LATER[1], seconds=61.0, sent=3 << 20)
    )
    text = "\n".join(shown(state))
    for value in msgspec.structs.asdict(LATER[1]).values():
        if not isinstance(value, int | float):
            assert str(value) in text
    assert "sent         3145728 bytes, 1023K/s" in text
    assert "age          1m01s (61.0 s)" in text
    assert shown(state)[-1] == "q back  k kill  p pause"


def test_details_of_a_session_that_has_ended_and_of_a_daemon_that_has() -> None:
    state = again(typed(begun(*SESSIONS), "enter"))
    assert shown(state)[0] == "session 6920f1a3-1-3  HAS ENDED"
    assert "! no sockd answers; trying again" in shown(failed(state, "no sockd answers"))


def test_details_of_a_session_of_which_little_is_known() -> None:
    state = typed(begun(SESSIONS[2], size=SMALL), "enter")
    assert "destination  (negotiating)" in shown(state)


@pytest.mark.parametrize("columns", [1, 2, 5, 10, 23, 39, 79, 81, 131, 500])
@pytest.mark.parametrize("lines", [1, 2, 3, 4, 5, 7, 25, 100])
def test_no_size_is_too_odd(columns: int, lines: int) -> None:
    state = two_looks(Size(columns, lines))
    for keys in ((), ("h",), ("enter",), ("k",), ("/", "x", "enter"), ("end",)):
        shown(typed(state, *keys))


def test_plain_text_is_the_heading_and_every_session() -> None:
    state = begun(*[live(number) for number in range(60, 0, -1)], size=Size(160, 10_000))
    lines = [text_of(line) for line in plain(state)]
    assert len(lines) == 4 + 1 + 60
    assert lines[5].startswith("6920f1a3-1-60")
    assert lines[-1].startswith("6920f1a3-1-1 ")
