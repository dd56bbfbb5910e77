"""The record of a query: its line for people, its object for programs, and nothing that a client could forge."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dns.names import text_name
from gateway.dns.record import QueryRecord, escape

MISS = QueryRecord(
    "2026-01-02T03:04:05.678Z", "10.1.2.3", "www.corp.example.", "A", "NOERROR", "corp.example", "miss", "10.0.0.53",
    "eth1", None, 12.345,
)  # fmt: skip
FAILED = msgspec.structs.replace(
    MISS,
    rcode="SERVFAIL",
    server=None,
    egress=None,
    ede="no reachable authority: zone corp.example: 10.0.0.53 timed out",
)
STRANGE = msgspec.structs.replace(MISS, rcode="REFUSED", zone=None, cache="none", server=None, egress=None, ede="")


@pytest.mark.parametrize(
    ("record", "line"),
    [
        pytest.param(
            MISS,
            "query 10.1.2.3 www.corp.example. A: NOERROR (corp.example, miss, 10.0.0.53 by eth1, 12.3 ms)",
            id="an answer",
        ),
        pytest.param(
            FAILED,
            "query 10.1.2.3 www.corp.example. A: SERVFAIL (corp.example, miss, 12.3 ms): "
            "no reachable authority: zone corp.example: 10.0.0.53 timed out",
            id="none",
        ),
        pytest.param(
            STRANGE, "query 10.1.2.3 www.corp.example. A: REFUSED (no zone, none, 12.3 ms)", id="what came to no zone"
        ),
        pytest.param(
            msgspec.structs.replace(MISS, egress=None),
            "query 10.1.2.3 www.corp.example. A: NOERROR (corp.example, miss, 10.0.0.53, 12.3 ms)",
            id="a server by the kernel's routes",
        ),
    ],
)
def test_the_line(record: QueryRecord, line: str) -> None:
    assert record.line() == line


def test_the_object_has_every_field_by_name() -> None:
    assert json.loads(msgspec.json.encode(MISS)) == {
        "time": "2026-01-02T03:04:05.678Z",
        "client": "10.1.2.3",
        "name": "www.corp.example.",
        "type": "A",
        "rcode": "NOERROR",
        "zone": "corp.example",
        "cache": "miss",
        "server": "10.0.0.53",
        "egress": "eth1",
        "ede": None,
        "milliseconds": 12.345,
    }


@given(st.binary(min_size=1, max_size=63))
def test_a_name_of_any_bytes_is_one_visible_word_of_the_line(label: bytes) -> None:
    name = text_name(bytes((len(label),)) + label + b"\0")
    line = msgspec.structs.replace(MISS, name=name).line()
    words = line.split(" ")
    assert words[:2] == ["query", "10.1.2.3"]
    assert words[3:5] == ["A:", "NOERROR"]
    assert line.isascii()
    assert line.isprintable()
    assert words[2] == name


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain\\(.", "plain\\(."), ("a b", r"a\032b"), ("a\nb\x7f", r"a\010b\127"), ("é", r"\195\169"), ("", "")],
)
def test_a_name_that_nobody_has_escaped_is_escaped_here(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_the_words_of_a_server_stay_on_the_line() -> None:
    forged = msgspec.structs.replace(MISS, ede="other: fine\nquery 10.9.9.9 x. A: NOERROR\x1b[2J")
    assert forged.line().endswith(r": other: fine\010query 10.9.9.9 x. A: NOERROR\027[2J")
