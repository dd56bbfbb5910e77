"""Answers in words: what dnspython reads is shown as zone files have it, and for all else there are bytes to see."""

import struct
import subprocess
import sys

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dns.answer import NEVER, Answer
from gateway.dns.constants import ANY, HTTPS, MAX_TTL, TXT, A
from gateway.dns.names import wire_name
from gateway.dns.show import (
    answer_lines,
    cache_words,
    ede_words,
    question_of,
    seconds_left,
    shown,
)

WWW = wire_name("www.corp.example")


def question(name: bytes = WWW, type: int = A) -> bytes:
    return name + struct.pack("!HH", type, 1)


def record(data: bytes, type: int = A, ttl: int = 300, name: bytes = b"\xc0\x0c", class_: int = 1) -> bytes:
    """One of the body; by default of the name that was asked for."""
    return name + struct.pack("!HHIH", type, class_, ttl, len(data)) + data


def answer(*records: bytes, authorities: int = 0) -> Answer:
    """The last ``authorities`` records are those of the authority section."""
    return Answer(0, len(records) - authorities, authorities, b"".join(records), (), 300)


def only_line(data: bytes, type: int = A, class_: int = 1) -> str:
    (line,) = answer_lines(question(), answer(record(data, type, class_=class_)))
    return line


# Records of an answer


def test_a_record_is_shown_as_in_a_zone_file() -> None:
    assert only_line(bytes((10, 0, 0, 9))) == "www.corp.example. 300 A 10.0.0.9"


def test_names_in_the_data_are_read_through_their_pointers() -> None:
    alias = record(b"\4host\xc0\x10", type=5)
    host = record(bytes((10, 0, 0, 9)), name=b"\4host\xc0\x10")
    assert answer_lines(question(), answer(alias, host)) == (
        "www.corp.example. 300 CNAME host.corp.example.",
        "host.corp.example. 300 A 10.0.0.9",
    )


@pytest.mark.parametrize(("age", "ttl"), [(0, 300), (1, 299), (300, 0), (301, 0)])
def test_the_ttl_is_what_is_left_and_never_less_than_nothing(age: int, ttl: int) -> None:
    (line,) = answer_lines(question(), answer(record(bytes(4))), age)
    assert line == f"www.corp.example. {ttl} A 0.0.0.0"


def test_the_records_of_other_sections_are_not_shown() -> None:
    both = answer(record(bytes((10, 0, 0, 1))), record(bytes((10, 0, 0, 2))), authorities=1)
    assert answer_lines(question(), both) == ("www.corp.example. 300 A 10.0.0.1",)
    assert answer_lines(question(), answer(record(bytes(4)), authorities=1)) == ()


@pytest.mark.parametrize(
    ("data", "type", "shown_as"),
    [
        pytest.param(bytes(3), A, r"A \# 3 000000", id="an address that is too short"),
        pytest.param(b"", A, r"A \# 0", id="no data"),
        pytest.param(b"\xc0\xff", 5, r"CNAME \# 2 c0ff", id="a pointer forwards"),
        pytest.param(b"ab", 65280, r"TYPE65280 \# 2 6162", id="a type that nobody knows"),
        pytest.param(b"\5ab", TXT, r"TXT \# 3 056162", id="a text that is longer than its data"),
        pytest.param(b"\0\1\0\0\1\0\2", HTTPS, r"HTTPS \# 7 00010000010002", id="a parameter beyond its data"),
    ],
)
def test_data_that_can_not_be_read_are_shown_in_hexadecimal(data: bytes, type: int, shown_as: str) -> None:
    assert only_line(data, type) == f"www.corp.example. 300 {shown_as}"


def test_another_class_is_named() -> None:
    assert only_line(b"\1a", TXT, class_=3) == r"www.corp.example. 300 CLASS3 TXT \# 2 0161"


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_body_that_ends_too_early_is_shown_as_far_as_it_goes(cut: int) -> None:
    whole = record(bytes((10, 0, 0, 1)))
    broken = Answer(0, 2, 0, whole + whole[:cut], (), 300)
    first, rest = answer_lines(question(), broken)
    assert first == "www.corp.example. 300 A 10.0.0.1"
    assert rest == rf"\# {cut} {whole[:cut].hex()}"


def test_what_a_server_put_into_names_and_texts_is_escaped() -> None:
    name = b"\5a\n \x1b(\0"
    (line,) = answer_lines(question(name, TXT), answer(record(b'\6"\r\xc3\xa9\x00;', TXT)))
    assert line == r'a\010\032\027\(. 300 TXT "\"\013\195\169\000;"'


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [1, 2, 5, 6, 15, 16, 28, 29, 33, 35, 41, 42, 45, 46, 47, 50, 55, 64, 65, 249, 250, 257, 999]
            ),
            st.binary(max_size=40),
        ),
        max_size=4,
    ),
    st.binary(max_size=12),
    st.integers(0, 3),
)
def test_no_bytes_whatever_make_it_fail_and_all_that_comes_out_is_visible(
    records: list[tuple[int, bytes]], rest: bytes, more: int
) -> None:
    body = b"".join(record(data, type) for type, data in records) + rest
    lines = answer_lines(question(), Answer(0, len(records) + more, 0, body, (), 0))
    assert len(lines) >= len(records)
    assert all(line.isascii() and line.isprintable() for line in lines)


@pytest.mark.parametrize("type", sorted(map(int, dns.rdatatype.RdataType)))
def test_no_type_has_data_that_make_it_fail(type: int) -> None:
    for data in (b"", b"\0", bytes(range(24)), bytes(200), b"\xff" * 40):
        assert only_line(data, type).startswith("www.corp.example. 300 ")


def test_a_key_of_a_cache_stands_for_its_question() -> None:
    assert question_of(WWW + struct.pack("!HB", HTTPS, 3)) == question(WWW, HTTPS)


# Whole messages


def reply(rcode: dns.rcode.Rcode = dns.rcode.NOERROR, text: str | None = None) -> dns.message.Message:
    """An answer with EDNS, and with an extended error if there is a text."""
    asked = dns.message.make_query("www.corp.example", "A", use_edns=True)
    options = [] if text is None else [dns.edns.EDEOption(dns.edns.EDECode.NO_REACHABLE_AUTHORITY, text)]
    found = dns.message.make_response(asked)
    found.use_edns(0, options=[dns.edns.GenericOption(dns.edns.OptionType.COOKIE, bytes(8)), *options])
    found.set_rcode(rcode)
    return found


def test_a_message_has_its_code_its_records_and_no_error() -> None:
    message = reply()
    message.answer.append(dns.rrset.from_text("www.corp.example.", 300, "IN", "A", "10.0.0.9"))
    message.answer.append(dns.rrset.from_text("www.corp.example.", 30, "IN", "TXT", '"a b"'))
    message.authority.append(dns.rrset.from_text("corp.example.", 60, "IN", "NS", "ns.corp.example."))
    assert shown(message.to_wire()) == (
        "NOERROR",
        ("www.corp.example. 300 A 10.0.0.9", 'www.corp.example. 30 TXT "a b"'),
        "",
    )


def test_a_message_tells_its_extended_error_and_the_upper_bits_of_its_code() -> None:
    found = shown(reply(dns.rcode.SERVFAIL, "zone corp.example: 10.0.0.53 timed out").to_wire())
    assert found == ("SERVFAIL", (), "no reachable authority: zone corp.example: 10.0.0.53 timed out")
    assert shown(reply(dns.rcode.BADVERS).to_wire()).rcode == "BADVERS"


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        (22, "", "no reachable authority"),
        (15, "10.0.0.9 is an inside address", "blocked: 10.0.0.9 is an inside address"),
        (4711, "odd", "extended error 4711: odd"),
        (0, "a\nb\x1b\xe9", r"other: a\010b\027\195\169"),
    ],
)
def test_an_extended_error_in_words(code: int, text: str, words: str) -> None:
    assert ede_words(code, text) == words


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_message_may_be_cut_and_changed_anywhere(data: st.DataObject) -> None:
    wire = bytearray(reply(dns.rcode.SERVFAIL, "why").to_wire())
    for _ in range(data.draw(st.integers(0, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    found = shown(bytes(wire[: data.draw(st.integers(0, len(wire)))]))
    for line in (found.rcode, *found.records, found.ede):
        assert line.isascii()
        assert line.isprintable()


def test_less_than_a_header_is_no_answer() -> None:
    assert shown(b"") == shown(bytes(11)) == ("SERVFAIL", (), "")


# How a cache has it


def kept(expires: float) -> Answer:
    """Since second 100."""
    found = answer(record(bytes(4)))
    found.stored, found.expires = 100.0, expires
    return found


@pytest.mark.parametrize(
    ("now", "words", "left"),
    [
        (100.0, "fresh, 300 s left of 300", 300),
        (100.2, "fresh, 300 s left of 300", 300),
        (365.0, "fresh, 35 s left of 300", 35),
        (399.9, "fresh, 1 s left of 300", 1),
        (400.0, "stale, expired 0 s ago", 0),
        (412.0, "stale, expired 12 s ago", -12),
    ],
)
def test_what_is_left_of_an_answer(now: float, words: str, left: int) -> None:
    assert cache_words(kept(400.0), now) == words
    assert seconds_left(kept(400.0), now) == left


def test_what_never_expires_is_local_and_what_is_not_there_is_a_miss() -> None:
    assert cache_words(kept(NEVER), 1e9) == "local"
    assert seconds_left(kept(NEVER), 1e9) == MAX_TTL
    assert cache_words(None, 0.0) == "miss"


def test_when_the_types_are_loaded_no_type_needs_a_file_any_more() -> None:
    program = f"""
import sys
from gateway.dns.answer import Answer
from gateway.dns.show import answer_lines, load_types
load_types()
before = set(sys.modules)
for type in range({ANY + 10}):
    record = b"\\xc0\\x0c" + type.to_bytes(2, "big") + b"\\0\\1" + bytes(4) + b"\\0\\4" + bytes(4)
    answer_lines({question()!r}, Answer(0, 1, 0, record, (), 0))
print(sorted(name for name in set(sys.modules) - before if name.startswith("dns.")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
