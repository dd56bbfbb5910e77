"""What is read from an answer: aliases, addresses and names; and that nothing but Malformed comes of broken ones."""

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.client.reading import Said, read
from gateway.dns.constants import AAAA, NOERROR, NXDOMAIN, PTR, SERVFAIL, A
from gateway.dns.message import Malformed
from gateway.dns.names import is_below, wire_name
from gateway.dns.query import build_query
from tests.unit.client.servers import Zone, answer

ZONE: Zone = {
    "host.example.net": ["A 198.51.100.7", "A 198.51.100.8", "AAAA 2001:db8::7"],
    "one.example.net": ["CNAME two.example.net"],
    "two.example.net": ["CNAME host.example.net"],
    "into.example.net": ["CNAME printer.corp.example"],
    "printer.corp.example": ["A 10.0.0.9"],
    "odd.example.net": ["CNAME a\\.b\\000c.example.net"],
    "7.100.51.198.in-addr.arpa": ["PTR host.example.net.", "PTR other.example.net."],
}
TYPES = {"A": A, "AAAA": AAAA, "PTR": PTR}
CORP = wire_name("corp.example")


def everything(_: bytes) -> bool:
    return True


def but_corp(name: bytes) -> bool:
    return not is_below(name, CORP)


def asked(name: str, kind: str) -> tuple[bytes, bytes]:
    """A query, and the honest answer to it."""
    sent = build_query(7, wire_name(name), TYPES[kind], variant=0, cases=0x5A5A5A)
    return sent, answer(dns.message.from_wire(sent), ZONE).to_wire()


def said(name: str, kind: str) -> Said:
    sent, data = asked(name, kind)
    return read(data, sent, everything)


def addresses(found: Said) -> list[str]:
    return list(map(str, found.addresses))


def test_addresses_come_in_their_order() -> None:
    assert addresses(said("host.example.net", "A")) == ["198.51.100.7", "198.51.100.8"]
    assert addresses(said("host.example.net", "AAAA")) == ["2001:db8::7"]


def test_aliases_come_in_their_order_with_the_addresses_at_their_end() -> None:
    found = said("one.example.net", "A")
    assert found.chain == (wire_name("two.example.net"), wire_name("host.example.net"))
    assert addresses(found) == ["198.51.100.7", "198.51.100.8"]
    assert found.target is None


def test_aliases_may_stand_in_any_order() -> None:
    sent, data = asked("one.example.net", "A")
    message = dns.message.from_wire(data)
    message.answer.reverse()
    found = read(message.to_wire(), sent, everything)
    assert found.chain == (wire_name("two.example.net"), wire_name("host.example.net"))
    assert len(found.addresses) == 2


def test_what_the_server_may_not_speak_for_is_not_heard() -> None:
    sent, data = asked("into.example.net", "A")
    found = read(data, sent, but_corp)
    assert (found.target, found.addresses) == (wire_name("printer.corp.example"), ())
    assert addresses(read(data, sent, everything)) == ["10.0.0.9"]


def test_the_names_of_an_address_come_in_their_order() -> None:
    assert said("7.100.51.198.in-addr.arpa", "PTR").names == (
        wire_name("host.example.net"), wire_name("other.example.net")
    )  # fmt: skip


def test_an_alias_may_be_any_name() -> None:
    found = said("odd.example.net", "A")
    assert found.chain == (wire_name("a\\.b\\000c.example.net"),)
    assert found.target == found.chain[0]


@pytest.mark.parametrize(("name", "rcode"), [("nobody.example.net", NXDOMAIN), ("into.example.net", NOERROR)])
def test_nothing_is_told_from_no_such_name(name: str, rcode: int) -> None:
    found = said(name, "AAAA")
    assert (found.rcode, found.addresses, found.why) == (rcode, (), "")


def test_a_failure_says_what_the_server_says() -> None:
    sent, _ = asked("host.example.net", "A")
    response = dns.message.make_response(dns.message.from_wire(sent))
    response.set_rcode(dns.rcode.SERVFAIL)
    found = read(response.to_wire(), sent, everything)
    assert (found.rcode, found.why) == (SERVFAIL, "says SERVFAIL")


def test_an_answer_to_another_question_is_none() -> None:
    sent, _ = asked("host.example.net", "A")
    _, data = asked("one.example.net", "A")
    with pytest.raises(Malformed):
        read(data, sent, everything)


CORPUS = [asked(name, kind) for name in ZONE for kind in TYPES]
CHANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6)


@settings(max_examples=400)
@given(st.sampled_from(CORPUS), CHANGES, st.integers(0, 40), st.binary(max_size=12))
def test_broken_answers_are_malformed_or_read(
    pair: tuple[bytes, bytes], changes: list[tuple[int, int]], cut: int, tail: bytes
) -> None:
    sent, data = pair
    broken = bytearray(data[: len(data) - cut] + tail)
    for at, octet in changes:
        # The head and the question are left alone mostly: beyond them is what is read here.
        broken[(len(sent) - 11 + at) % len(broken) if at % 8 else at % len(broken)] = octet
    try:
        found = read(bytes(broken), sent, but_corp)
    except Malformed:
        return
    assert all(len(name) <= 255 and name.endswith(b"\0") for name in (*found.chain, *found.names))
    assert found.why.isprintable()
    assert not (found.addresses and found.chain) or but_corp(found.chain[-1])


@given(st.sampled_from(CORPUS), st.binary(max_size=200))
def test_any_bytes_behind_the_question_are_malformed_or_read(pair: tuple[bytes, bytes], tail: bytes) -> None:
    sent, data = pair
    end = len(sent) - 11
    try:
        read(data[:end] + tail, sent, everything)
    except Malformed:
        return
