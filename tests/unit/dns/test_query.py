"""Queries of clients and our own: the vectors, the edges of names, dnspython's opinion, and any input."""

import tomllib
from pathlib import Path
from random import Random
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dns.constants import (
    AD,
    CD,
    CLASSIC_PAYLOAD,
    DO,
    MAX_NAME,
    QR,
    RA,
    RCODE_MASK,
    RD,
    UDP_PAYLOAD,
    A,
    parse_type,
)
from gateway.dns.edns import MAX_OPTIONS
from gateway.dns.names import wire_name
from gateway.dns.query import CD_BIT, DO_BIT, MAX_ADDITIONAL, Query, build_query, key_of, query_for, read_query, variant
from tests.support.feeding import octets

VECTORS = Path(__file__).parents[2] / "vectors" / "dns"
CASES = tomllib.loads((VECTORS / "query.toml").read_text())["case"]

LABELS = st.binary(min_size=1, max_size=63)
NAMES = (
    st.lists(LABELS, max_size=6)
    .map(lambda labels: b"".join(bytes((len(label),)) + label for label in labels) + b"\0")
    .filter(lambda name: len(name) <= MAX_NAME)
)
QUESTION = b"\1a\0\0\1\0\1"
OPT = bytes.fromhex("00 0029 04d0 00 00 0000 0000")


def _written_out(text: str) -> str:
    """``a*63`` is 63 times the letter."""
    return ".".join(part[0] * int(part[2:]) if part[1:2] == "*" else part for part in text.split("."))


def _query(message: bytes) -> Query:
    query = read_query(message)
    assert isinstance(query, Query)
    return query


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES if "query" in case])
def test_good_query(case: dict[str, Any]) -> None:
    message, wanted = octets(case["in"]), case["query"]
    name, type = wire_name(_written_out(wanted["name"])), parse_type(wanted["type"])
    assert type is not None
    query = _query(message)
    assert query.id == wanted["id"]
    assert query.flags == int.from_bytes(message[2:4], "big")
    assert query.question == message[12 : 12 + len(name) + 4]
    assert (query.name, query.type) == (name, type)
    assert query.key == name + type.to_bytes(2, "big") + bytes((wanted.get("variant", 0),))
    assert query.size == wanted.get("size", CLASSIC_PAYLOAD)
    assert (query.edns, query.do) == (wanted.get("edns", False), wanted.get("do", False))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES if "reply" in case])
def test_query_that_is_answered_at_once(case: dict[str, Any]) -> None:
    assert read_query(octets(case["in"])) == octets(case["reply"])


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES if "silent" in case])
def test_message_without_an_answer(case: dict[str, Any]) -> None:
    assert read_query(octets(case["in"])) is None


def test_every_case_is_of_one_kind() -> None:
    assert [case["name"] for case in CASES if len({"query", "reply", "silent"} & case.keys()) != 1] == []


@pytest.mark.parametrize("count", [MAX_ADDITIONAL, MAX_ADDITIONAL + 1])
def test_so_many_additional_records_are_read(count: int) -> None:
    record = bytes.fromhex("00 0001 0001 00000000 0000")
    message = bytes.fromhex("0001 0100 0001 0000 0000 00") + bytes((count,)) + QUESTION + record * (count - 1) + OPT
    assert isinstance(read_query(message), Query) is (count == MAX_ADDITIONAL)


@pytest.mark.parametrize("count", [MAX_OPTIONS, MAX_OPTIONS + 1])
def test_so_many_options_are_read(count: int) -> None:
    options = bytes.fromhex("fde9 0000") * count
    message = bytes.fromhex("0001 0100 0001 0000 0000 0001") + QUESTION + OPT[:-2] + len(options).to_bytes(2, "big")
    assert isinstance(read_query(message + options), Query) is (count == MAX_OPTIONS)


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param("40", id="of an unknown label kind"),
        pytest.param("3f 61*63" + " 3f 61*63" * 4 + " 00", id="too long"),
    ],
)
def test_an_additional_record_needs_an_owner_that_is_a_name(owner: str) -> None:
    message = bytes.fromhex("0001 0100 0001 0000 0000 0002") + QUESTION + octets(owner)
    assert read_query(message + bytes.fromhex("0001 0001 00000000 0000") + OPT) == octets("0001 8181") + bytes(8)


def test_queries_that_differ_in_letter_case_have_one_key_and_their_own_questions() -> None:
    lower, upper = (
        _query(dns.message.make_query(name, "A").to_wire()) for name in ("www.corp.example", "WWW.corp.EXAMPLE")
    )
    assert lower.key == upper.key
    assert lower.question != upper.question


@pytest.mark.parametrize("bits", range(4))
def test_the_key_of_a_query_is_the_one_made_from_its_parts(bits: int) -> None:
    query = _query(build_query(7, wire_name("corp.example"), A, variant=bits))
    assert query.key == key_of(wire_name("corp.example"), A, bits)
    assert variant(query.key) == bits


# What we send


@pytest.mark.parametrize("bits", range(4))
def test_our_query_says_what_its_variant_does(bits: int) -> None:
    message = dns.message.from_wire(build_query(0xBEEF, wire_name("www.corp.example"), A, variant=bits))
    assert message.id == 0xBEEF
    assert message.flags == RD | AD | (CD if bits & CD_BIT else 0)
    assert message.question[0].to_text() == "www.corp.example. IN A"
    assert (message.edns, message.payload, message.options) == (0, UDP_PAYLOAD, ())
    assert message.ednsflags == (DO if bits & DO_BIT else 0)


def test_our_query_without_edns_has_no_additional_record() -> None:
    message = dns.message.from_wire(build_query(1, b"\0", A, variant=DO_BIT | CD_BIT, edns=False))
    assert message.edns == -1
    assert message.flags & CD


@pytest.mark.parametrize(
    ("cases", "wanted"),
    [
        pytest.param(0, b"\3www\x073xample\3com\0", id="none"),
        pytest.param(0b1, b"\3Www\x073xample\3com\0", id="the first letter"),
        pytest.param(0b1000, b"\3www\x073Xample\3com\0", id="the fourth letter, which is the sixth octet"),
        pytest.param(1 << 11, b"\3www\x073xample\3coM\0", id="the last letter"),
        pytest.param(1 << 12, b"\3www\x073xample\3com\0", id="one letter more than there are"),
        pytest.param((1 << 64) - 1, b"\3WWW\x073XAMPLE\3COM\0", id="all"),
    ],
)
def test_letters_become_capitals_by_their_bits(cases: int, wanted: bytes) -> None:
    message = build_query(1, b"\3www\x073xample\3com\0", A, variant=0, cases=cases)
    assert message[12 : 12 + len(wanted)] == wanted


# Our own query, by the key of a question


KEY = key_of(b"\3www\x073xa.ple\3com\0", A)


@pytest.mark.parametrize(
    ("drawn", "wanted"),
    [
        pytest.param(b"", b"\3www\x073xa.ple\3com\0", id="none"),
        pytest.param(bytes(17), b"\3www\x073xa.ple\3com\0", id="none is chosen"),
        pytest.param(b"\xdf" * 17, b"\3www\x073xa.ple\3com\0", id="only one bit of each counts"),
        pytest.param(b"\xff" * 17, b"\3WWW\x073XA.PLE\3COM\0", id="all letters, and nothing else"),
        pytest.param(b"\0\x20" + bytes(15), b"\3Www\x073xa.ple\3com\0", id="the first letter"),
        pytest.param(bytes(15) + b"\x20\0", b"\3www\x073xa.ple\3coM\0", id="the last letter"),
    ],
)
def test_random_octets_choose_the_case_of_the_letters_at_their_places(drawn: bytes, wanted: bytes) -> None:
    message = query_for(KEY, b"\x12\x34", drawn, edns=True)
    assert message[:2] == b"\x12\x34"
    assert message[12 : 12 + len(wanted)] == wanted


@given(NAMES, st.integers(1, 127), st.integers(0, 3), st.booleans(), st.randoms())
def test_both_ways_to_build_a_query_build_the_same(
    name: bytes, type: int, bits: int, edns: bool, random: Random
) -> None:
    name = name.lower()
    drawn = random.randbytes(len(name))
    built = query_for(key_of(name, type, bits), b"\1\2", drawn, edns=edns)
    assert built[12 : 12 + len(name)].lower() == name
    plain = build_query(0x0102, name, type, variant=bits, edns=edns)
    assert query_for(key_of(name, type, bits), b"\1\2", b"", edns=edns) == plain
    assert built[:12] + name + built[12 + len(name) :] == plain


# Any input


@given(NAMES, st.integers(1, 127), st.integers(0, 3), st.integers(0, 2**64), st.integers(0, 65535))
def test_what_is_built_can_be_read(name: bytes, type: int, bits: int, cases: int, id: int) -> None:
    query = read_query(build_query(id, name.lower(), type, variant=bits, cases=cases))
    if type == 41:
        assert isinstance(query, bytes)
        return
    assert isinstance(query, Query)
    assert (query.id, query.name, query.type, query.do) == (id, name.lower(), type, bool(bits & DO_BIT))
    assert query.key == key_of(name.lower(), type, bits)
    assert query.size == UDP_PAYLOAD


@given(NAMES, st.integers(1, 127).filter(lambda type: type != 41), st.integers(0, 65535), st.booleans())
def test_a_query_of_dnspython_is_read_as_it_was_meant(name: bytes, type: int, payload: int, do: bool) -> None:
    theirs = dns.message.make_query(dns.name.from_wire(name, 0)[0], dns.rdatatype.RdataType.make(type))
    theirs.use_edns(
        0,
        dns.flags.DO if do else 0,
        payload,
        options=[dns.edns.GenericOption(dns.edns.OptionType.make(10), b"12345678")],
    )
    query = _query(theirs.to_wire())
    assert (query.id, query.name, query.type, query.do) == (theirs.id, name.lower(), type, do)
    assert query.size == min(max(payload, CLASSIC_PAYLOAD), UDP_PAYLOAD)


@given(
    st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=80).map(lambda data: bytes.fromhex("0001 0100 0001 0000 0000 00") + data),
    )
)
def test_any_message_is_read_refused_or_passed_over(data: bytes) -> None:
    found = read_query(data)
    if found is None:
        assert len(data) < 12 or data[2] & 0x80
        return
    if isinstance(found, Query):
        assert data[12:].startswith(found.question)
        return
    flags = int.from_bytes(found[2:4], "big")
    assert found[:2] == data[:2]
    assert flags & QR
    assert flags & RCODE_MASK or flags & RA
    dns.message.from_wire(found)
