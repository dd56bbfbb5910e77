"""What clients hear: flags, letter case, age, room, and why not; read by dnspython."""

import itertools
import struct
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dns.answer import Answer
from gateway.dns.constants import (
    AD,
    BADVERS,
    CD,
    CLASSIC_PAYLOAD,
    DO,
    MAX_MESSAGE,
    NOERROR,
    NXDOMAIN,
    QR,
    RA,
    RD,
    REFUSED,
    SERVFAIL,
    SOA,
    TC,
    UDP_PAYLOAD,
    A,
    Ede,
)
from gateway.dns.names import wire_name
from gateway.dns.query import DO_BIT, Query, build_query, read_query
from gateway.dns.reply import age, failure, reply, stale_reply

WWW = wire_name("www.corp.example")
OWN = b"\xc0\x0c"
_FIXED = struct.Struct("!HHLH")


def _record(type: int, ttl: int, data: bytes) -> bytes:
    return OWN + _FIXED.pack(type, 1, ttl, len(data)) + data


def _addresses(*ttls: int, **kwargs: Any) -> Answer:
    body = b"".join(_record(A, ttl, bytes((10, 0, 0, number))) for number, ttl in enumerate(ttls, 1))
    return Answer(
        NOERROR, len(ttls), 0, body, tuple(6 + 16 * number for number in range(len(ttls))), min(ttls), **kwargs
    )


def _missing(rcode: int = NXDOMAIN) -> Answer:
    soa = _record(SOA, 60, b"\2ns\xc0\x10\4host\xc0\x10" + struct.pack("!5L", 1, 2, 3, 4, 60))
    return Answer(rcode, 0, 1, b"\xc0\x10" + soa[2:], (6,), 60)


def _query(name: bytes = WWW, *, clear: int = AD, **kwargs: Any) -> Query:
    """With RD only, unless more is asked for."""
    message = bytearray(build_query(0xBEEF, name, A, **{"variant": 0, "cases": 0b101, **kwargs}))
    message[3] &= ~clear & 0xFF
    query = read_query(bytes(message))
    assert isinstance(query, Query)
    return query


def _ttls(message: bytes) -> list[int]:
    read = dns.message.from_wire(message, one_rr_per_rrset=True)
    return [rrset.ttl for rrset in (*read.answer, *read.authority)]


def test_a_reply_has_the_id_and_the_question_of_the_query() -> None:
    query = _query()
    message = reply(query, _addresses(300, 200), 0, UDP_PAYLOAD)
    read = dns.message.from_wire(message)
    assert read.id == 0xBEEF
    assert message[12:].startswith(b"\3WwW\4corp\7example\0\0\1\0\1")
    assert read.flags == QR | RD | RA
    assert [rdata.address for rdata in read.answer[0]] == ["10.0.0.1", "10.0.0.2"]
    assert read.answer[0].name.to_text() == "WwW.corp.example."
    assert (read.edns, read.payload, read.ednsflags, read.options) == (0, UDP_PAYLOAD, 0, ())


def test_a_client_without_edns_hears_no_opt() -> None:
    read = dns.message.from_wire(reply(_query(edns=False), _addresses(300), 0, CLASSIC_PAYLOAD))
    assert read.edns == -1
    assert len(read.answer) == 1


def test_do_goes_back_as_it_came() -> None:
    assert dns.message.from_wire(reply(_query(variant=DO_BIT), _addresses(300), 0, UDP_PAYLOAD)).ednsflags == DO


def test_cd_goes_back_as_it_came() -> None:
    assert dns.message.from_wire(reply(_query(variant=2), _addresses(300), 0, UDP_PAYLOAD)).flags == QR | RD | RA | CD


@pytest.mark.parametrize(
    ("answer", "asked", "variant", "said"),
    [
        pytest.param(True, True, 0, True, id="authentic, and AD was set"),
        pytest.param(True, False, DO_BIT, True, id="authentic, and DO was set"),
        pytest.param(True, False, 0, False, id="authentic, but nobody wants to know"),
        pytest.param(False, True, DO_BIT, False, id="not authentic, though AD and DO were set"),
    ],
)
@pytest.mark.parametrize("edns", [True, False])
def test_ad_is_said_to_those_who_ask(answer: bool, asked: bool, variant: int, said: bool, edns: bool) -> None:
    query = _query(clear=0 if asked else AD, variant=variant, edns=edns)
    flags = dns.message.from_wire(reply(query, _addresses(300, ad=answer), 0, UDP_PAYLOAD)).flags
    assert bool(flags & AD) is (said and (edns or asked))


def test_a_negative_answer_has_its_soa() -> None:
    read = dns.message.from_wire(reply(_query(), _missing(), 10, UDP_PAYLOAD))
    assert read.rcode() == NXDOMAIN
    assert read.answer == []
    soa = read.authority[0].to_text()
    assert soa == "corp.example. 50 IN SOA ns.corp.example. host.corp.example. 1 2 3 4 60"


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(0, [300, 200]), (1, [299, 199]), (199, [101, 1]), (200, [100, 0]), (300, [0, 0]), (2**31, [0, 0])],
)
def test_ttls_lose_the_age_and_stop_at_nought(seconds: int, wanted: list[int]) -> None:
    answer = _addresses(300, 200)
    before = answer.body
    assert _ttls(reply(_query(), answer, seconds, UDP_PAYLOAD)) == wanted
    assert answer.body == before


def test_ttls_are_aged_where_they_stand() -> None:
    octets = bytearray(b"xx" + (300).to_bytes(4, "big") + b"yy" + (5).to_bytes(4, "big"))
    age(octets, (2, 8), 10)
    assert octets == b"xx" + (290).to_bytes(4, "big") + b"yy" + bytes(4)


@pytest.mark.parametrize("edns", [True, False])
@pytest.mark.parametrize("over", [0, 1])
def test_of_what_does_not_fit_the_first_records_go(edns: bool, over: int) -> None:
    """Some stubs never ask by TCP: they have some of the addresses, at least (musl before 1.2.4)."""
    query = _query(edns=edns)
    whole = reply(query, _addresses(*[300] * 20), 0, MAX_MESSAGE)
    message = reply(query, _addresses(*[300] * 20), 0, len(whole) - over)
    read = dns.message.from_wire(message)
    assert bool(read.flags & TC) is bool(over)
    assert (message == whole) is not over
    assert [rdata.address for rdata in read.answer[0]] == [f"10.0.0.{number}" for number in range(1, 21 - over)]
    assert read.edns == (0 if edns else -1)
    assert read.rcode() == NOERROR


def test_no_record_is_cut_in_two() -> None:
    query = _query()
    empty, whole = (len(reply(query, _addresses(*[300] * count), 0, MAX_MESSAGE)) for count in (1, 5))
    for limit in range(empty - 16, whole):
        message = reply(query, _addresses(*[300] * 5), 0, limit)
        read = dns.message.from_wire(message, one_rr_per_rrset=True)
        assert len(message) <= limit < len(message) + 16
        assert len(read.answer) == (limit - empty + 16) // 16


def test_without_room_for_a_record_the_question_goes_alone() -> None:
    query = _query()
    read = dns.message.from_wire(reply(query, _addresses(300), 0, 12 + len(query.question) + 11 + 15))
    assert (read.answer, read.flags & TC, len(read.question)) == ([], TC, 1)


def test_what_was_cut_has_lost_its_age_and_is_not_called_authentic() -> None:
    message = reply(_query(variant=DO_BIT), _addresses(*[300] * 100, ad=True), 50, UDP_PAYLOAD)
    assert set(_ttls(message)) == {250}
    assert not dns.message.from_wire(message).flags & AD


@pytest.mark.parametrize("rcode", [NOERROR, NXDOMAIN])
def test_the_authority_section_is_left_out_first_and_as_a_whole(rcode: int) -> None:
    missing, one = _missing(rcode), _addresses(300)
    body, places = one.body + missing.body, (6, 22)
    answer = Answer(rcode, 1, 1, body, places, 60)
    whole = reply(_query(), answer, 0, MAX_MESSAGE)
    read = dns.message.from_wire(reply(_query(), answer, 0, len(whole) - 1))
    assert (len(read.answer), read.authority, read.rcode(), read.flags & TC) == (1, [], rcode, TC)
    alone = dns.message.from_wire(reply(_query(), missing, 0, 60))
    assert (alone.answer, alone.authority, alone.rcode(), alone.flags & TC) == ([], [], rcode, TC)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30), st.integers(400, UDP_PAYLOAD), st.booleans())
def test_whatever_their_sizes_as_many_records_go_as_fit(sizes: list[int], limit: int, edns: bool) -> None:
    records = [_record(65280, 300, bytes(size)) for size in sizes]
    ends = list(itertools.accumulate(map(len, records)))
    places = tuple(end - len(record) + 6 for end, record in zip(ends, records, strict=True))
    query = _query(edns=edns)
    message = reply(query, Answer(NOERROR, len(records), 0, b"".join(records), places, 300), 0, limit)
    room = limit - 12 - len(query.question) - 11 * edns
    read = dns.message.from_wire(message, one_rr_per_rrset=True)
    assert len(read.answer) == sum(end <= room for end in ends)
    assert bool(read.flags & TC) is (ends[-1] > room)


def test_the_size_of_a_query_is_the_limit_of_its_reply_by_udp() -> None:
    query = _query(edns=False)
    assert len(reply(query, _addresses(*[300] * 29), 0, query.size)) <= CLASSIC_PAYLOAD
    assert reply(query, _addresses(*[300] * 30), 0, query.size)[2] & TC >> 8


def test_an_rcode_that_needs_opt_is_said_by_it() -> None:
    assert dns.message.from_wire(reply(_query(), _missing(BADVERS), 0, UDP_PAYLOAD)).rcode() == BADVERS
    assert dns.message.from_wire(failure(_query(), BADVERS)).rcode() == BADVERS


def test_an_rcode_that_needs_opt_is_servfail_without_it() -> None:
    assert dns.message.from_wire(reply(_query(edns=False), _missing(BADVERS), 0, UDP_PAYLOAD)).rcode() == SERVFAIL
    assert dns.message.from_wire(failure(_query(edns=False), BADVERS)).rcode() == SERVFAIL


# What is too old


def test_a_stale_answer_has_short_ttls_and_says_so() -> None:
    answer = _addresses(300, 200, ad=True)
    message = stale_reply(_query(clear=0), answer, 30, UDP_PAYLOAD, Ede.STALE_ANSWER)
    read = dns.message.from_wire(message)
    assert _ttls(message) == [30, 30]
    assert _errors(read) == [(Ede.STALE_ANSWER, None)]
    assert not read.flags & AD
    assert _ttls(reply(_query(), answer, 0, UDP_PAYLOAD)) == [300, 200]


def test_a_stale_answer_without_edns_says_nothing() -> None:
    message = stale_reply(_query(edns=False), _missing(), 30, CLASSIC_PAYLOAD, Ede.STALE_NXDOMAIN)
    assert _ttls(message) == [30]
    assert dns.message.from_wire(message).edns == -1


def test_a_stale_answer_that_does_not_fit_still_says_what_it_is() -> None:
    message = stale_reply(_query(), _addresses(*[300] * 100), 30, 512, Ede.STALE_ANSWER)
    read = dns.message.from_wire(message)
    assert read.flags & TC
    assert 512 - 16 < len(message) <= 512
    assert set(_ttls(message)) == {30}
    assert _errors(read) == [(Ede.STALE_ANSWER, None)]


# Why not


def _errors(message: dns.message.Message) -> list[tuple[int, str | None]]:
    return [(option.code, option.text) for option in message.options if isinstance(option, dns.edns.EDEOption)]


def test_a_failure_says_why() -> None:
    read = dns.message.from_wire(failure(_query(), SERVFAIL, Ede.NO_REACHABLE_AUTHORITY, "10.0.0.53 timed out"))
    assert (read.id, read.flags, read.rcode()) == (0xBEEF, QR | RD | RA | SERVFAIL, SERVFAIL)
    assert read.question[0].to_text() == "WwW.corp.example. IN A"
    assert _errors(read) == [(Ede.NO_REACHABLE_AUTHORITY, "10.0.0.53 timed out")]


def test_a_failure_without_a_reason_has_no_option() -> None:
    assert dns.message.from_wire(failure(_query(), REFUSED)).options == ()


def test_a_client_without_edns_hears_no_reason() -> None:
    read = dns.message.from_wire(failure(_query(edns=False), SERVFAIL, Ede.OTHER, "because"))
    assert (read.edns, read.rcode()) == (-1, SERVFAIL)


def test_a_client_that_wants_dnssec_hears_reasons_too() -> None:
    read = dns.message.from_wire(failure(_query(variant=3), SERVFAIL, Ede.OTHER, "because"))
    assert (read.ednsflags, read.flags & CD) == (DO, CD)
    assert _errors(read) == [(Ede.OTHER, "because")]


@given(st.text(max_size=2000), st.sampled_from([0, 1, 512, 700, 65535]), st.integers(1, 4))
def test_a_reason_is_cut_to_what_the_client_takes(text: str, payload: int, labels: int) -> None:
    name = b"".join(b"\x3d" + b"a" * 61 for _ in range(labels)) + b"\0"
    message = bytearray(build_query(1, name, A, variant=0))
    message[-8:-6] = payload.to_bytes(2, "big")
    query = read_query(bytes(message))
    assert isinstance(query, Query)
    said = failure(query, SERVFAIL, Ede.OTHER, text)
    assert len(said) <= query.size
    ((_, words),) = _errors(dns.message.from_wire(said))
    shown = text.encode(errors="replace").decode()
    assert shown.rstrip("\0").startswith((words or "").rstrip("\0"))
    if shown.rstrip("\0") != (words or "").rstrip("\0"):
        assert len(said) > query.size - 4  # no whole character would have found room
