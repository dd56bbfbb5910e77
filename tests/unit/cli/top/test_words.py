"""Texts and numbers for a table: what is cut and where, and that nothing but visible ASCII comes out."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.top.words import cut, cut_front, moment, natural, per_second, rate, target, visible
from tests.support.fakesockd import live


@given(st.text(max_size=30))
def test_everything_comes_out_as_visible_ascii(text: str) -> None:
    assert all(" " <= char <= "~" for char in visible(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("fred", "fred", id="plain text stays"),
        pytest.param("a\x1b[31mb", "a\\x1b[31mb", id="a control sequence does not reach the terminal"),
        pytest.param("caf\xe9\u4e2d", "caf\\xe9\\u4e2d", id="wide characters do not shift the columns"),
        pytest.param("\x7f\x80", "\\x7f\\x80", id="both sides of the end of ASCII"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "width", "from_behind", "from_the_front"),
    [
        pytest.param("abcde", 5, "abcde", "abcde", id="what just fits is whole"),
        pytest.param("abcdef", 5, "abcd~", "~cdef", id="one too many is cut"),
        pytest.param("abc", 1, "~", "~", id="one place"),
        pytest.param("abc", 0, "", "", id="no place"),
    ],
)
def test_cut(text: str, width: int, from_behind: str, from_the_front: str) -> None:
    assert cut(text, width) == from_behind
    assert cut_front(text, width) == from_the_front


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "-/s"), (0.0, "0/s"), (0.04, "0/s"), (0.05, "0.1/s"), (9.94, "9.9/s"), (9.95, "10/s"), (870.4, "870/s")],
)
def test_events_per_second(count: float | None, shown: str) -> None:
    assert per_second(count) == shown


@pytest.mark.parametrize(("speed", "shown"), [(None, "-"), (0.0, "0"), (1536.0, "1.5K"), (1.2e9, "1.1G")])
def test_rate(speed: float | None, shown: str) -> None:
    assert rate(speed) == shown


@pytest.mark.parametrize(
    ("host", "address", "shown"),
    [
        pytest.param("www.example.com", "203.0.113.7", "www.example.com:443", id="the name that was asked for"),
        pytest.param("2001:db8::1", "2001:db8::1", "[2001:db8::1]:443", id="an IPv6 address in brackets"),
        pytest.param(None, "203.0.113.7", "203.0.113.7:443", id="an address alone"),
        pytest.param(None, None, "(relaying)", id="nothing yet"),
    ],
)
def test_target(host: str | None, address: str | None, shown: str) -> None:
    assert target(live(1, host=host, address=address)) == shown


def test_a_time_is_understood_or_none() -> None:
    found = moment("2026-11-22T11:30:05.250Z")
    assert found is not None
    assert found.utcoffset() is not None
    assert moment("yesterday") is None
    assert moment("2026-11-22T11:30:05") is None, "without a zone it can not be compared"


def test_numbers_sort_as_numbers() -> None:
    inorder = ["10.0.0.2:9", "10.0.0.2:10", "10.0.0.10:1", "10.0.1.0:1", "[2001:db8::1]:1", "a9", "a10", "a10b"]
    mixed = random.Random(1).sample(inorder, len(inorder))
    assert sorted(mixed, key=natural) == inorder


def test_digits_of_other_scripts_are_no_error() -> None:
    assert natural("a²") == ["a²"]
