"""The table: which columns a width has room for, and what stands in them."""

import pytest

from gateway.cli.top.sample import Row
from gateway.cli.top.sorting import Sort
from gateway.cli.top.style import Style, text_of
from gateway.cli.top.table import COLUMNS, head, layout, rows
from tests.support.fakesockd import live

SESSION = live(1, user="backup-operator", host="a-long-name-of-a-host.corp.example.net", sent=2048, received=3 << 20)
ROW = Row(SESSION, 512.0, None, SESSION)


def titles(width: int) -> list[str]:
    return [place.column.title for place in layout(width)]


@pytest.mark.parametrize("width", range(1, 300))
def test_no_width_is_exceeded(width: int) -> None:
    places = layout(width)
    assert len(text_of(head(places, Sort.BYTES, width))) == width
    plain, under_cursor = rows(places, [ROW, ROW], 1, width)
    assert len(text_of(plain)) <= width
    assert len(text_of(under_cursor)) == width


def test_what_80_columns_show() -> None:
    assert text_of(head(layout(80), Sort.BYTES, 80)) == (
        "SESSION  USER     DESTINATION            UPLINK    AGE  SENT RECVD SENT/s RECV/s"
    )
    assert text_of(rows(layout(80), [ROW], 1, 80)[0]) == (
        "~1a3-1-1 backup-~ a-long-name-of-a-host~ wan1    1m41s  2.0K  3.0M    512      -"
    )


def test_columns_are_left_out_in_one_order() -> None:
    assert titles(120) == [column.title for column in COLUMNS if column.title != "STATE"]
    assert titles(200) == [column.title for column in COLUMNS]
    assert titles(40) == ["USER", "DESTINATION", "RECV/s"]
    assert titles(22) == titles(5) == ["DESTINATION"]
    seen: set[str] = set()
    for width in range(1, 250):
        assert seen <= set(titles(width)), "a wider screen shows what a narrower one does"
        seen = set(titles(width))


def test_a_wide_screen_cuts_nothing() -> None:
    text = text_of(rows(layout(200), [ROW], 1, 200)[0])
    assert "~" not in text
    assert {"6920f1a3-1-1", "backup-operator", "10.1.2.3:40001", "sockd.conf:17", "relaying"} <= set(text.split())
    assert "a-long-name-of-a-host.corp.example.net:443" in text


@pytest.mark.parametrize(("sort", "marked"), [(Sort.BYTES, [" SENT", "RECVD"]), (Sort.RATE, ["SENT/s", "RECV/s"])])
def test_the_columns_of_the_order_stand_out(sort: Sort, marked: list[str]) -> None:
    assert [span.text for span in head(layout(80), sort, 80) if span.style is Style.SORTED] == marked


def test_an_order_whose_column_is_left_out_marks_none() -> None:
    assert all(span.style is Style.HEAD for span in head(layout(80), Sort.CLIENT, 80))


def test_a_session_that_moves_nothing_yet_is_faint() -> None:
    early = live(1, state="negotiating", user="", host=None, address=None, port=None, rule=None, uplink=None)
    ((span,),) = rows(layout(200), [Row(early, None, None, early)], 1, 200)
    assert span.style is Style.FAINT
    assert span.text.split()[1:6] == ["-", "10.1.2.3:40001", "(negotiating)", "-", "-"]


def test_what_a_client_sent_can_not_reach_the_terminal() -> None:
    hostile = live(1, user="a\x1b[2Jb", host="\u202ex\n")
    ((span,),) = rows(layout(200), [Row(hostile, None, None, hostile)], 1, 200)
    assert span.text.isascii()
    assert span.text.isprintable()
    assert "a\\x1b[2Jb" in span.text
