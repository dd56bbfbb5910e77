"""Records that are written anew: whole owners are compressed, data is not, and the end is known."""

import struct

import dns.message
import pytest

from gateway.dns.body import MAX_BODY, Body
from gateway.dns.constants import CNAME, HEADER_BYTES, MX, NAPTR, QR, TXT, A
from gateway.dns.message import Malformed, Names
from gateway.dns.names import wire_name
from gateway.dns.sections import read_records

WWW = wire_name("www.corp.example")
OWN = b"\xc0\x0c"
CORP = b"\xc0\x10"
RULE = b"\0\1\0\2\1u\7E2U+sip\1!"
BEHIND_QUESTION = HEADER_BYTES + len(WWW) + 4


def _record(owner: bytes, type: int, data: bytes, ttl: int = 300) -> bytes:
    return owner + struct.pack("!HHLH", type, 1, ttl, len(data)) + data


def _written(*records: bytes, question: bytes = WWW, age: int = 0) -> tuple[bytes, tuple[int, ...]]:
    """These records of a message about ``WWW``, for the question in another one."""
    data = b"".join((bytes(HEADER_BYTES), WWW, struct.pack("!HH", A, 1), *records))
    names = Names(data, WWW)
    found, end = read_records(data, BEHIND_QUESTION, len(records), names)
    assert end == len(data)
    body = Body(question)
    body.add(found, names, age)
    return body.written()


def _shown(body: bytes, records: int, question: bytes = WWW) -> list[str]:
    head = struct.pack("!6H", 0, QR, 1, records, 0, 0) + question + struct.pack("!HH", A, 1)
    message = dns.message.from_wire(head + body, one_rr_per_rrset=True)
    return [rrset.to_text() for rrset in message.answer]


def test_the_name_of_the_question_and_targets_of_aliases_are_pointed_to() -> None:
    records = _record(OWN, CNAME, b"\1A" + CORP), _record(b"\1a" + CORP, A, bytes(4)), _record(OWN, TXT, b"\1x")
    body, ttls = _written(*records)
    target = b"\1A\4corp\7example\0"
    place = BEHIND_QUESTION + 12
    assert body == b"".join((
        _record(OWN, CNAME, target),
        _record(struct.pack("!H", 0xC000 | place), A, bytes(4)),
        _record(OWN, TXT, b"\1x"),
    ))  # fmt: skip
    assert [body[at : at + 4] for at in ttls] == [(300).to_bytes(4, "big")] * 3


def test_another_question_is_not_pointed_to() -> None:
    asked = wire_name("a.b.example")
    body, _ = _written(_record(OWN, A, bytes(4)), _record(OWN, A, bytes(4)), question=asked)
    assert body.startswith(WWW)
    assert body.count(WWW) == 1
    assert _shown(body, 2, asked) == ["www.corp.example. 300 IN A 0.0.0.0"] * 2


@pytest.mark.parametrize(("place", "times"), [(0x3FFF, 1), (0x4000, 2)])
def test_an_owner_beyond_the_reach_of_pointers_is_written_in_full(place: int, times: int) -> None:
    other = _record(b"\1a" + CORP, A, bytes(4))
    body, _ = _written(_record(OWN, TXT, bytes(place - BEHIND_QUESTION - 12)), other, other)
    assert body.count(b"\1a\4corp") == times
    assert _shown(body, 3)[1:] == ["a.corp.example. 300 IN A 0.0.0.0"] * 2


@pytest.mark.parametrize(("age", "ttl"), [(0, 300), (1, 299), (300, 0), (301, 0)])
def test_ttls_lose_the_age_and_stop_at_nought(age: int, ttl: int) -> None:
    assert _shown(_written(_record(OWN, A, bytes(4)), age=age)[0], 1) == [f"www.corp.example. {ttl} IN A 0.0.0.0"]


@pytest.mark.parametrize("over", [0, 1])
def test_there_is_an_end(over: int) -> None:
    records = [_record(OWN, TXT, bytes(MAX_BODY // 2 - 12)), _record(OWN, TXT, bytes((MAX_BODY + 1) // 2 - 12 + over))]
    if over:
        with pytest.raises(Malformed, match="too long"):
            _written(*records)
    else:
        assert len(_written(*records)[0]) == MAX_BODY


def test_names_in_data_are_written_in_full() -> None:
    body, _ = _written(_record(OWN, MX, b"\0\5\1m" + CORP))
    assert body == _record(OWN, MX, b"\0\5\1m\4corp\7example\0")


def test_the_name_of_a_rule_is_written_in_full() -> None:
    body, _ = _written(_record(OWN, NAPTR, RULE + b"\1s" + CORP))
    assert body == _record(OWN, NAPTR, RULE + b"\1s\4corp\7example\0")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0\1\0\2", id="no text"),
        pytest.param(RULE[:-1], id="a text runs over the end"),
        pytest.param(RULE, id="no name"),
        pytest.param(RULE + b"\1s\0x", id="something behind the name"),
        pytest.param(RULE + b"\1s", id="a name that goes on behind the record"),
    ],
)
def test_a_broken_rule_stays_as_it_is(data: bytes) -> None:
    body, _ = _written(_record(OWN, NAPTR, data), _record(b"\0", A, bytes(4)))
    assert body == _record(OWN, NAPTR, data) + _record(b"\0", A, bytes(4))


def test_a_rule_whose_name_can_not_be_read_is_malformed() -> None:
    with pytest.raises(Malformed, match="pointer"):
        _written(_record(OWN, NAPTR, RULE + b"\xff\xff"))
