"""What name servers answer: the vectors, the edges of what is written anew, and what dnspython says of any answer."""

import struct
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.address import Address
from gateway.dns.answer import Answer
from gateway.dns.body import MAX_BODY
from gateway.dns.constants import CNAME, HEADER_BYTES, MX, NXDOMAIN, QR, SOA, TXT, A, parse_type, rcode_text
from gateway.dns.edns import MAX_OPTIONS
from gateway.dns.message import MAX_ADDRESSES
from gateway.dns.names import is_below, text_name, wire_name
from gateway.dns.query import build_query
from gateway.dns.response import MAX_RECORDS, Malformed, Reading, read_response
from gateway.errors import RemoteProtocolError
from tests.support.feeding import octets

VECTORS = Path(__file__).parents[2] / "vectors" / "dns"
CASES = tomllib.loads((VECTORS / "response.toml").read_text())["case"]
BROKEN = tomllib.loads((VECTORS / "malformed.toml").read_text())["case"]

CORP = wire_name("corp.example")
WWW = wire_name("www.corp.example")
MIXED = 0b1010110111001010  # some letters in capitals
_FIXED = struct.Struct("!HHLH")


def _below(apex: bytes) -> Callable[[bytes], bool]:
    return lambda name: is_below(name, apex)


def _everywhere(_: bytes) -> bool:
    return True


def _lines(records: list[str]) -> list[dns.rrset.RRset]:
    found = []
    for text in records:
        name, ttl, klass, type, data = text.split(" ", 4)
        found.append(dns.rrset.from_text(name, int(ttl), klass, type, data))
    return found


def _texts(rrsets: list[dns.rrset.RRset]) -> list[str]:
    return [rrset.to_text().lower() for rrset in rrsets]


def _response(sent: bytes, case: dict[str, Any]) -> bytes:
    """As dnspython writes it, a record of each line."""
    message = dns.message.make_response(dns.message.from_wire(sent), recursion_available=True)
    message.set_rcode(dns.rcode.from_text(case.get("rcode", "NOERROR")))
    message.answer = _lines(case.get("answer", []))
    message.authority = _lines(case.get("authority", []))
    message.additional = _lines(case.get("additional", []))
    return message.to_wire(max_size=65535)


def _shown(sent: bytes, answer: Answer) -> dns.message.Message:
    """What a client would see of it, by dnspython."""
    end = len(sent) - 11 if sent[11] else len(sent)
    head = struct.pack("!6H", 0, QR | answer.rcode, 1, answer.records, answer.authorities, 0)
    return dns.message.from_wire(head + sent[HEADER_BYTES:end] + answer.body, one_rr_per_rrset=True)


def _ttls(answer: Answer) -> list[int]:
    return sorted(int.from_bytes(answer.body[at : at + 4], "big") for at in answer.ttls)


def _sent(case: dict[str, Any]) -> bytes:
    name, _, type = case.get("ask", "www.corp.example. A").partition(" ")
    number = parse_type(type)
    assert number is not None
    return build_query(1, wire_name(name), number, variant=int(case.get("do", False)), cases=MIXED)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES if "error" not in case])
def test_what_belongs_is_kept(case: dict[str, Any]) -> None:
    sent = _sent(case)
    reading = read_response(_response(sent, case), sent, _below(wire_name(case.get("zone", "corp.example."))))
    shown = _shown(sent, reading.answer)
    assert _texts(shown.answer) == _texts(_lines(case.get("answers", [])))
    assert _texts(shown.authority) == _texts(_lines(case.get("authorities", [])))
    assert rcode_text(reading.answer.rcode) == case.get("as", case.get("rcode", "NOERROR"))
    assert reading.answer.ttl == case["ttl"]
    assert _ttls(reading.answer) == sorted(rrset.ttl for rrset in (*shown.answer, *shown.authority))
    assert [str(Address.from_packed(packed)) for packed in reading.addresses] == case.get("addresses", [])
    assert (reading.target and text_name(reading.target)) == case.get("target")
    assert reading.referral is case.get("referral", False)
    assert reading.edns
    assert not reading.truncated


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES if "error" in case])
def test_what_can_not_be_right_is_refused(case: dict[str, Any]) -> None:
    sent = _sent(case)
    with pytest.raises(Malformed, match=case["error"]):
        read_response(_response(sent, case), sent, _below(CORP))


def _broken(case: dict[str, Any], sent: bytes) -> bytes:
    return b"".join(sent[HEADER_BYTES:-11] if piece == "Q" else octets(piece) for piece in case["in"])


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in BROKEN if "error" in case])
def test_what_is_no_answer_to_the_question_is_malformed(case: dict[str, Any]) -> None:
    sent = build_query(1, WWW, A, variant=0, cases=0b10000010010)
    assert sent[12:28] == b"\3wWw\4cOrp\7exaMpl"
    with pytest.raises(Malformed, match=case["error"]) as caught:
        read_response(_broken(case, sent), sent, _everywhere)
    assert isinstance(caught.value, RemoteProtocolError)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in BROKEN if "rcode" in case])
def test_what_a_server_reports_counts_although_little_can_be_read(case: dict[str, Any]) -> None:
    sent = build_query(1, WWW, A, variant=0, cases=0b10000010010)
    reading = read_response(_broken(case, sent), sent, _everywhere)
    assert rcode_text(reading.answer.rcode) == case["rcode"]
    assert (reading.answer.records, reading.answer.authorities, reading.answer.body) == (0, 0, b"")
    assert reading.answer.ttl == 0


# Truncation, flags, extended errors


def _option(code: int, data: bytes) -> dns.edns.Option:
    return dns.edns.GenericOption(dns.edns.OptionType.make(code), data)


def _of(sent: bytes, *answer: str, **kwargs: Any) -> dns.message.Message:
    message = dns.message.make_response(dns.message.from_wire(sent), recursion_available=True, **kwargs)
    message.answer = _lines(list(answer))
    return message


ONE = "www.corp.example. 300 IN A 10.0.0.1"
SENT = build_query(1, WWW, A, variant=0, cases=MIXED)


def test_a_truncated_answer_has_no_records_and_is_no_good_answer() -> None:
    message = _of(SENT, ONE)
    message.flags |= dns.flags.TC
    reading = read_response(message.to_wire()[:-3], SENT, _everywhere)
    assert reading.truncated
    assert (reading.answer.records, rcode_text(reading.answer.rcode)) == (0, "SERVFAIL")


@pytest.mark.parametrize("ad", [False, True])
def test_what_the_server_calls_authentic_is_noted(ad: bool) -> None:
    message = _of(SENT, ONE)
    message.flags |= dns.flags.AD if ad else 0
    assert read_response(message.to_wire(), SENT, _everywhere).answer.ad is ad


def test_an_answer_without_opt_is_from_a_server_without_edns() -> None:
    message = _of(SENT, ONE)
    message.use_edns(False)
    reading = read_response(message.to_wire(), SENT, _everywhere)
    assert not reading.edns
    assert reading.answer.records == 1


def test_an_answer_to_a_query_without_edns_is_read() -> None:
    sent = build_query(1, WWW, A, variant=1, edns=False)
    reading = read_response(
        _of(sent, ONE, "www.corp.example. 5 IN RRSIG A 13 3 5 1 1 1 . AAAA").to_wire(), sent, _everywhere
    )
    assert not reading.edns
    assert reading.answer.records == 1


@pytest.mark.parametrize("rcode", ["NOERROR", "SERVFAIL"])
def test_the_first_extended_error_is_read(rcode: str) -> None:
    message = _of(SENT)
    message.set_rcode(dns.rcode.from_text(rcode))
    options = [
        _option(3, b"ns1"),
        _option(15, b"\0\x16no one home \xc3\xa9\xff\0"),
        _option(15, b"\0\0second"),
    ]
    message.use_edns(0, 0, 1232, options=options)
    reading = read_response(message.to_wire(), SENT, _everywhere)
    assert reading.ede == (22, "no one home é\ufffd")


@pytest.mark.parametrize("data", [b"", b"\0"])
def test_an_extended_error_without_a_code_is_none(data: bytes) -> None:
    message = _of(SENT)
    message.use_edns(0, 0, 1232, options=[_option(15, data)])
    assert read_response(message.to_wire(), SENT, _everywhere).ede is None


@pytest.mark.parametrize("count", [MAX_OPTIONS, MAX_OPTIONS + 1])
def test_so_many_options_are_read(count: int) -> None:
    message = _of(SENT)
    message.use_edns(0, 0, 1232, options=[_option(65001, b"")] * count)
    if count == MAX_OPTIONS:
        assert read_response(message.to_wire(), SENT, _everywhere).edns
        return
    with pytest.raises(Malformed, match="OPT"):
        read_response(message.to_wire(), SENT, _everywhere)


def test_opt_may_stand_before_other_additional_records() -> None:
    data = _of(SENT).to_wire()
    data = data[:10] + b"\0\2" + data[12:] + bytes.fromhex("c00c 0001 0001 00000001 0004 01020304")
    assert read_response(data, SENT, _everywhere).edns


@pytest.mark.parametrize(
    "owner", ["3f 61*63 3f 61*63 3f 61*63 2c 61*44 c00c", "3f 61*63 3f 61*63 3f 61*63 3d 61*61 00"]
)
def test_an_owner_of_255_octets_is_a_name(owner: str) -> None:
    answer = read_response(_raw(SENT, _record(octets(owner), A, b"\x0a\0\0\1"), 1), SENT, _everywhere).answer
    assert answer.records == 0  # though not the one that was asked for


def test_octets_behind_the_last_record_are_passed_over() -> None:
    assert read_response(_of(SENT, ONE).to_wire() + b"padding", SENT, _everywhere).answer.records == 1


# What stays as it is, and what is written anew


def _raw(sent: bytes, answers: bytes, count: int, authorities: bytes = b"", others: int = 0, rcode: int = 0) -> bytes:
    head = struct.pack("!2s5H", sent[:2], 0x8180 | rcode, 1, count, others, 0)
    return head + sent[HEADER_BYTES:-11] + answers + authorities


def _record(owner: bytes, type: int, data: bytes, ttl: int = 300) -> bytes:
    return owner + _FIXED.pack(type, 1, ttl, len(data)) + data


OWN = b"\xc0\x0c"


def test_records_that_are_all_kept_stay_as_they_came() -> None:
    body = _record(OWN, A, b"\x0a\0\0\1") + _record(OWN, A, b"\x0a\0\0\2")
    answer = read_response(_raw(SENT, body, 2), SENT, _everywhere).answer
    assert answer.body == body
    assert answer.ttls == (6, 22)


def test_what_is_written_anew_points_to_the_question_and_to_aliases() -> None:
    foreign = _record(b"\1x\0", A, b"\x0a\6\6\6")
    alias = _record(OWN, CNAME, b"\1a\xc0\x10")
    at = HEADER_BYTES + len(WWW) + 4 + len(foreign) + 12  # where the alias's data begins
    last = _record(bytes((0xC0, at)), A, b"\x0a\0\0\1")
    answer = read_response(_raw(SENT, foreign + alias + last, 3), SENT, _everywhere).answer
    target = wire_name("a.corp.example")
    place = HEADER_BYTES + len(WWW) + 4 + 12
    assert answer.body.lower() == _record(OWN, CNAME, target) + _record(bytes((0xC0, place)), A, b"\x0a\0\0\1")


def test_names_in_data_keep_their_letter_case_when_written_anew() -> None:
    sent = build_query(1, CORP, MX, variant=0)
    body = _record(b"\1x\0", A, b"\x0a\6\6\6") + _record(OWN, MX, b"\0\1\2Mx\4Corp\0")
    assert read_response(_raw(sent, body, 2), sent, _everywhere).answer.body == _record(OWN, MX, b"\0\1\2Mx\4Corp\0")


def test_an_owner_may_be_a_pointer_to_a_pointer() -> None:
    # The data of the first record begins with a pointer to the question.
    first = _record(OWN, CNAME, b"\1a\xc0\x0c")
    place = HEADER_BYTES + len(WWW) + 4 + 12 + 2
    second = _record(b"\1a" + bytes((0xC0, place)), A, b"\x0a\0\0\1")
    reading = read_response(_raw(SENT, first + second, 2), SENT, _everywhere)
    assert reading.answer.records == 2
    assert reading.target is None


@pytest.mark.parametrize("count", [MAX_RECORDS, MAX_RECORDS + 1])
def test_a_thousand_records_are_read(count: int) -> None:
    message = _raw(SENT, _record(OWN, A, b"\x0a\0\0\1") * count, count)
    if count == MAX_RECORDS:
        assert len(read_response(message, SENT, _everywhere).addresses) == count
        return
    with pytest.raises(Malformed, match="records"):
        read_response(message, SENT, _everywhere)


@pytest.mark.parametrize("over", [0, 1])
def test_what_is_kept_leaves_room_for_header_and_question(over: int) -> None:
    sent = build_query(1, WWW, TXT, variant=0)
    body = _record(OWN, TXT, bytes(MAX_BODY - 12 + over))
    if not over:
        assert read_response(_raw(sent, body, 1), sent, _everywhere).answer.body == body
        return
    with pytest.raises(Malformed, match="too long"):
        read_response(_raw(sent, body, 1), sent, _everywhere)


def test_what_grows_too_long_when_it_is_written_anew_is_refused() -> None:
    name = b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63 + b"\0"
    sent = build_query(1, name, MX, variant=0)
    body = _record(b"\1x\0", A, b"\x0a\6\6\6") + _record(OWN, MX, b"\0\1" + OWN) * 400
    with pytest.raises(Malformed, match="too long"):
        read_response(_raw(sent, body, 401), sent, _everywhere)


def test_names_that_are_folded_too_often_are_refused() -> None:
    name = b"\1a" * 120 + b"\0"
    sent = build_query(1, name, MX, variant=0)
    body = b"".join(_record(OWN, MX, b"\0\1\1b\xc0" + bytes((12 + 2 * (number % 100),))) for number in range(200))
    with pytest.raises(Malformed, match="too many labels and pointers"):
        read_response(_raw(sent, body, 200), sent, _everywhere)


# Services (RFC 9460)

HTTPS = 65


def _service(data: str) -> Reading:
    sent = build_query(1, WWW, HTTPS, variant=0)
    return read_response(_raw(sent, _record(OWN, HTTPS, octets(data)), 1), sent, _everywhere)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param("0001 00 0004 0003 0a0000", "parameters of a service are broken", id="a hint of three octets"),
        pytest.param("0001 00 0004 0008 0a000001", "parameters of a service are broken", id="a hint that is cut short"),
        pytest.param("0001 00 0006 0004 0a000001", "parameters of a service are broken", id="a short IPv6 hint"),
        pytest.param("0001 00 0006 0000 0004 0000", "parameters of a service are broken", id="parameters in disorder"),
        pytest.param("0001 00 0004 0000 0004 0000", "parameters of a service are broken", id="a parameter twice"),
        pytest.param("0001 00 0001 00", "do not end with their record", id="half a parameter"),
        pytest.param("0001 c00c", "name of a service is none", id="a compressed name"),
        pytest.param("0001 05 61", "ends too early", id="a name that is cut short"),
        pytest.param("00", "do not end with their record", id="half a priority"),
        pytest.param("", "do not end with their record", id="nothing"),
    ],
)
def test_a_broken_service_is_refused(data: str, why: str) -> None:
    with pytest.raises(Malformed, match=f"{why}|ends too early"):
        _service(data)


def test_a_service_without_hints_has_no_addresses() -> None:
    assert _service("0000 01 61 00").addresses == ()
    assert _service("0001 00 0001 0003 026832 0004 0000 ff00 0001 61").addresses == ()


@pytest.mark.parametrize("count", [MAX_ADDRESSES, MAX_ADDRESSES + 1])
def test_so_many_addresses_are_read(count: int) -> None:
    data = f"0001 00 0004 {count * 4:04x} 0a000001*{count}"
    if count == MAX_ADDRESSES:
        assert len(_service(data).addresses) == count
        return
    with pytest.raises(Malformed, match="too many addresses"):
        _service(data)


# Any answer

_SOA = b"\2ns\xc0\x10\4host\xc0\x10" + struct.pack("!5L", 1, 2, 3, 4, 60)


@given(st.data(), st.booleans())
def test_a_negative_answer_lasts_as_long_as_the_smaller_one_of_two_numbers(data: st.DataObject, exists: bool) -> None:
    ttl, minimum = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(0, 2**32 - 1))
    soa = _record(b"\xc0\x10", SOA, _SOA[:-4] + struct.pack("!L", minimum), ttl)
    rcode = 0 if exists else NXDOMAIN
    answer = read_response(_raw(SENT, b"", 0, soa, 1, rcode), SENT, _below(CORP)).answer
    wanted = min(number if number < 2**31 else 0 for number in (ttl, minimum))
    assert (answer.rcode, answer.ttl, _ttls(answer)) == (rcode, wanted, [wanted])


_HOSTS = st.sampled_from(
    ["www.corp.example.", "a.corp.example.", "b.corp.example.", "x.bank.example.", "example.", "."]
)
_DATA = st.one_of(
    st.tuples(st.just("A"), st.sampled_from(["10.0.0.1", "192.0.2.1"])),
    st.tuples(st.just("CNAME"), _HOSTS),
    st.tuples(st.just("MX"), _HOSTS.map("1 {}".format)),
    st.tuples(st.just("NS"), _HOSTS),
    st.tuples(st.just("SOA"), st.just("ns.corp.example. host.corp.example. 1 2 3 4 60")),
)
_RECORDS = st.lists(
    st.builds(lambda owner, ttl, data: f"{owner} {ttl} IN {data[0]} {data[1]}", _HOSTS, st.integers(0, 600), _DATA),
    max_size=8,
)


@given(_RECORDS, _RECORDS, st.sampled_from(["NOERROR", "NXDOMAIN"]), st.sampled_from(["A", "MX", "CNAME"]))
def test_of_any_records_none_is_kept_that_does_not_belong(
    answer: list[str], authority: list[str], rcode: str, type: str
) -> None:
    case = {"ask": f"www.corp.example. {type}", "answer": answer, "authority": authority, "rcode": rcode}
    sent = _sent(case)
    try:
        reading = read_response(_response(sent, case), sent, _below(CORP))
    except Malformed:
        return
    shown = _shown(sent, reading.answer)
    sent_texts = set(_texts(_lines(answer)))
    assert {text for text in _texts(shown.answer) if text not in sent_texts} == set()
    names = {"www.corp.example."}
    for rrset in shown.answer:
        assert rrset.name.to_text().lower() in names
        assert dns.rdatatype.to_text(rrset.rdtype) in (type, "CNAME")
        names |= {rdata.target.to_text().lower() for rdata in rrset if rrset.rdtype == CNAME}
    assert [rrset for rrset in shown.authority if rrset.rdtype != SOA] == []
    assert len(shown.authority) <= 1
    assert _ttls(reading.answer) == sorted(rrset.ttl for rrset in (*shown.answer, *shown.authority))
    assert reading.answer.ttl in (0, min([rrset.ttl for rrset in (*shown.answer, *shown.authority)], default=0))
