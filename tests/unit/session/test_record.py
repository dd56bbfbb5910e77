"""The JSON lines of records, and the escaping of a client's bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.session.record import Record, Result, escape, json_lines

RECORD = Record(
    "2026-01-02T03:04:05.678Z", "68f0-1-a", "10.1.2.3:40000", "socks5", "connect", r"fr\xe9d", "password",
    "example.com", "203.0.113.9", 443, "192.0.2.254:40001", "wan1", "wan1 by sockd.route:1",
    "sockd.conf:3", None, "permitted by sockd.conf:3",
    Result.CONNECTED, 517, 1 << 40, 1.25, "the client closed",
)  # fmt: skip


def test_a_record_is_one_line_of_json_with_every_field_by_name() -> None:
    line = json_lines([RECORD])
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05.678Z",
        "session": "68f0-1-a",
        "client": "10.1.2.3:40000",
        "protocol": "socks5",
        "command": "connect",
        "user": r"fr\xe9d",
        "auth": "password",
        "host": "example.com",
        "address": "203.0.113.9",
        "port": 443,
        "egress": "192.0.2.254:40001",
        "uplink": "wan1",
        "way": "wan1 by sockd.route:1",
        "rule": "sockd.conf:3",
        "would_deny": None,
        "reason": "permitted by sockd.conf:3",
        "result": "connected",
        "sent": 517,
        "received": 1 << 40,
        "seconds": 1.25,
        "end": "the client closed",
    }


def test_many_records_are_many_lines_and_none_is_none() -> None:
    assert json_lines([RECORD] * 3) == json_lines([RECORD]) * 3
    assert json_lines([]) == b""


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"fred.o'hara-1@x", "fred.o'hara-1@x", id="what user ids are made of"),
        pytest.param(b"!#$%&'*+,-./:;<=>?@[]^_`{|}~", "!#$%&'*+,-./:;<=>?@[]^_`{|}~", id="harmless signs"),
        pytest.param(b"a b", r"a\x20b", id="a blank"),
        pytest.param(b"(x)", r"\x28x\x29", id="parentheses"),
        pytest.param(b'"', r"\x22", id="a quote"),
        pytest.param(b"\\x41", r"\x5cx41", id="a backslash, so that an escape can not be forged"),
        pytest.param(b"\r\n\x1b[0m\x00\x7f", r"\x0d\x0a\x1b[0m\x00\x7f", id="control characters"),
        pytest.param("é\u202e".encode(), r"\xc3\xa9\xe2\x80\xae", id="everything that is no ASCII"),
    ],
)
def test_what_is_escaped(raw: bytes, shown: str) -> None:
    assert escape(raw) == shown


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_an_escaped_text_is_visible_and_tells_which_bytes_it_was(first: bytes, second: bytes) -> None:
    shown = escape(first)
    assert shown.isascii()
    assert set(shown).isdisjoint(' ()"\n\r\x1b')
    assert shown.encode().decode("unicode_escape").encode("latin-1") == first
    assert (shown == escape(second)) == (first == second)
