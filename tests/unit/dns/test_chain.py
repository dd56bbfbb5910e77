"""Answers that are pieced together, read by dnspython: what is in them, for how long, and that nothing stops them."""

import itertools
import struct
from collections.abc import Sequence
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dns.answer import NEVER, Answer
from gateway.dns.body import MAX_BODY
from gateway.dns.chain import ALIAS_TTL, MAX_SPLICED, alias, spliced
from gateway.dns.constants import (
    CNAME,
    HEADER_BYTES,
    MAX_MESSAGE,
    MAX_TTL,
    MX,
    NAPTR,
    NOERROR,
    NXDOMAIN,
    QR,
    SERVFAIL,
    TXT,
    A,
    parse_type,
)
from gateway.dns.edns import OPT_BYTES
from gateway.dns.names import is_below, wire_name
from gateway.dns.pursuit import Link
from gateway.dns.query import Query, build_query, read_query
from gateway.dns.reply import reply
from gateway.dns.response import MAX_RECORDS, read_response

NOW = 1000.0
FIRST, SECOND, THIRD = map(wire_name, ("a.first.example", "b.second.example", "c.third.example"))
OWN = b"\xc0\x0c"


def _read(name: bytes, kind: int, lines: Sequence[str], *, do: bool = False, age: int = 0, **options: Any) -> Link:
    """What is kept of a name server's message with these records, ``!`` before those of the authority section.

    It speaks for the names beside and below ``name`` and came ``age`` seconds ago.
    """
    sent = build_query(7, name, kind, variant=int(do), cases=options.get("cases", 0))
    message = dns.message.make_response(dns.message.from_wire(sent))
    message.set_rcode(options.get("rcode", NOERROR))
    for line in lines:
        section = message.authority if line.startswith("!") else message.answer
        owner, ttl, type, data = line.removeprefix("!").split(" ", 3)
        section.append(dns.rrset.from_text(owner, int(ttl), "IN", type, data))
    apex = name[name[0] + 1 :]
    reading = read_response(message.to_wire(max_size=MAX_MESSAGE), sent, lambda other: is_below(other, apex))
    return Link(name, _kept(reading.answer, reading.target, age), None)


def _kept(answer: Answer, target: bytes | None = None, age: int = 0) -> Answer:
    answer.target = target
    answer.stored = NOW - age
    answer.expires = answer.stored + answer.ttl if answer.ttl else NOW
    return answer


def _shown(answer: Answer, name: bytes, kind: int = A, *, age: int = 0) -> tuple[list[str], list[str]]:
    """The records of both sections as a client sees them, the owners in small letters."""
    head = struct.pack("!6H", 0, QR | answer.rcode, 1, answer.records, answer.authorities, 0)
    message = dns.message.from_wire(head + name + struct.pack("!HH", kind, 1) + answer.body, one_rr_per_rrset=True)
    for rrset in (*message.answer, *message.authority):
        rrset.name = rrset.name.canonicalize()
        rrset.ttl = max(0, rrset.ttl - age)
    return [rrset.to_text() for rrset in message.answer], [rrset.to_text() for rrset in message.authority]


def _spliced(*parts: Link, kind: int = A) -> Answer:
    """The parts, of which the last is the end."""
    *chain, (last_name, last, _) = parts
    return spliced(parts[0].name, kind, chain, last_name, last, NOW)


def _raw(name: bytes, *records: bytes, type: int, authorities: int = 0) -> Link:
    """Records of ``name``, by their data, and as the last of them those of the authority section."""
    whole = [OWN + struct.pack("!HHLH", type, 1, 300, len(data)) + data for data in records]
    places, at = [], 0
    for record in whole:
        places.append(at + 6)
        at += len(record)
    count = len(records) - authorities
    return Link(name, _kept(Answer(NOERROR, count, authorities, b"".join(whole), tuple(places), 300)), None)


ALIAS = _read(FIRST, A, ["a.first.example. 300 CNAME b.second.example."])
END = _read(SECOND, A, ["b.second.example. 200 A 192.0.2.1"])


def test_the_alias_of_a_bare_name_leads_to_its_target() -> None:
    answer = alias(SECOND)
    assert answer.target == SECOND
    assert _shown(answer, FIRST) == ([f"a.first.example. {ALIAS_TTL} IN CNAME b.second.example."], [])
    assert answer.body[answer.ttls[0] :].startswith(ALIAS_TTL.to_bytes(4, "big"))
    assert (answer.ttl, answer.origin) == (0, "[resolver] domain")


def test_the_aliases_stand_before_what_they_lead_to() -> None:
    middle = _read(SECOND, A, ["b.second.example. 300 CNAME c.third.example."])
    end = _read(THIRD, A, ["c.third.example. 300 A 192.0.2.1", "c.third.example. 300 A 192.0.2.2"])
    answer = _spliced(ALIAS, middle, end)
    assert _shown(answer, FIRST) == (
        [
            "a.first.example. 300 IN CNAME b.second.example.",
            "b.second.example. 300 IN CNAME c.third.example.",
            "c.third.example. 300 IN A 192.0.2.1",
            "c.third.example. 300 IN A 192.0.2.2",
        ],
        [],
    )
    assert (answer.rcode, answer.target, answer.ad) == (NOERROR, None, False)


def test_the_client_sees_its_own_letters() -> None:
    head = struct.pack("!6H", 0, QR, 1, 2, 0, 0)
    body = _spliced(ALIAS, END).body
    message = dns.message.from_wire(head + FIRST.replace(b"first", b"fIRsT") + struct.pack("!HH", A, 1) + body)
    assert [rrset.name.to_text() for rrset in message.answer] == ["a.fIRsT.example.", "b.second.example."]


def test_an_alias_that_leads_through_itself_again_is_only_written_again() -> None:
    assert len(_shown(_spliced(ALIAS, ALIAS, END), FIRST)[0]) == 3


def test_each_part_has_its_age_and_the_whole_ends_with_the_first() -> None:
    old = _read(FIRST, A, ["a.first.example. 300 CNAME b.second.example."], age=250)
    new = _read(SECOND, A, ["b.second.example. 200 A 192.0.2.1"], age=20)
    answer = _spliced(old, new)
    assert _shown(answer, FIRST)[0] == [
        "a.first.example. 50 IN CNAME b.second.example.",
        "b.second.example. 180 IN A 192.0.2.1",
    ]
    assert (answer.stored, answer.expires, answer.ttl) == (NOW, NOW + 50, 50)
    new = _read(FIRST, A, ["a.first.example. 300 CNAME b.second.example."], age=20)
    old = _read(SECOND, A, ["b.second.example. 200 A 192.0.2.1"], age=150)
    assert (_spliced(new, old).expires, _spliced(new, old).ttl) == (NOW + 50, 50)


def test_its_ttls_can_be_found_and_grow_old() -> None:
    answer = _spliced(ALIAS, _read(SECOND, A, ["b.second.example. 200 A 192.0.2.1"] * 3))
    query = read_query(build_query(1, FIRST, A, variant=0))
    assert isinstance(query, Query)
    read = dns.message.from_wire(reply(query, answer, 30, 512))
    assert [rrset.ttl for rrset in read.answer] == [270, 170]


def test_no_ttl_goes_below_nought() -> None:
    old = _read(FIRST, A, ["a.first.example. 300 CNAME b.second.example.", "b.second.example. 1 A 192.0.2.1"], age=10)
    old.answer.expires = NOW + 50  # the zone keeps answers longer
    assert _shown(_spliced(old, END), FIRST)[0][0].split()[1] == "290"
    short = _read(SECOND, A, ["b.second.example. 5 A 192.0.2.1"], age=10)
    assert _shown(_spliced(ALIAS, short), FIRST)[0][1].split()[1] == "0"


def test_an_answer_that_nobody_may_keep_makes_a_whole_like_it() -> None:
    end = _read(SECOND, A, ["b.second.example. 0 A 192.0.2.1"])
    answer = _spliced(ALIAS, end)
    assert (answer.expires, answer.ttl) == (NOW, 0)


def test_what_never_ends_is_for_ever_only_where_all_parts_are() -> None:
    own = Link(FIRST, alias(SECOND), None)
    for_ever = Link(SECOND, Answer(NOERROR, 0, 0, b"", (), 60), None)
    assert (_spliced(own, for_ever).expires, _spliced(own, for_ever).ttl) == (NEVER, MAX_TTL)
    assert _spliced(own, END).expires == NOW + 200
    assert _shown(_spliced(own, END), FIRST)[0][0].split()[1] == str(ALIAS_TTL)


def test_the_whole_is_not_called_authentic() -> None:
    first, last = (Link(link.name, Answer(*_facts(link.answer), ad=True), None) for link in (ALIAS, END))
    assert not _spliced(first, last).ad


def _facts(answer: Answer) -> tuple[int, int, int, bytes, tuple[int, ...], int]:
    return answer.rcode, answer.records, answer.authorities, answer.body, answer.ttls, answer.ttl


def test_what_the_last_one_denies_is_denied() -> None:
    soa = "second.example. 60 IN SOA ns.second.example. root.second.example. 1 2 3 4 60"
    end = _read(SECOND, A, ["!" + soa.replace(" IN", "")], rcode=NXDOMAIN)
    answer = _spliced(ALIAS, end)
    assert answer.rcode == NXDOMAIN
    assert (answer.records, answer.authorities) == (1, 1)
    assert _shown(answer, FIRST) == (["a.first.example. 300 IN CNAME b.second.example."], [soa])
    assert answer.ttl == 60


def test_proofs_of_aliases_stay_and_stand_behind_all_answers() -> None:
    proof = "x.first.example. 300 NSEC z.first.example. A RRSIG NSEC"
    first = _read(FIRST, A, ["a.first.example. 300 CNAME b.second.example.", "!" + proof], do=True)
    answer = _spliced(first, END)
    assert (answer.records, answer.authorities) == (2, 1)
    assert _shown(answer, FIRST)[1] == [proof.replace("300", "300 IN")]


def test_what_an_alias_says_to_be_missing_does_not_stay() -> None:
    soa = b"\0\0" + struct.pack("!5L", 1, 2, 3, 4, 60)
    cname = OWN + struct.pack("!HHLH", CNAME, 1, 300, len(SECOND)) + SECOND
    body = cname + OWN + struct.pack("!HHLH", 6, 1, 300, len(soa)) + soa
    first = Link(FIRST, _kept(Answer(NOERROR, 1, 1, body, (6, len(cname) + 6), 300)), None)
    answer = _spliced(first, END)
    assert (answer.records, answer.authorities) == (2, 0)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param(TXT, b"\xffabc", id="TXT whose text runs over the end"),
        pytest.param(NAPTR, b"\0", id="NAPTR without anything"),
        pytest.param(257, b"\0", id="CAA without a tag"),
        pytest.param(44, b"", id="SSHFP of nothing"),
        pytest.param(29, b"", id="LOC of nothing"),
        pytest.param(65280, b"abc", id="a type that nobody knows"),
        pytest.param(46, b"\0\1\xc0\x0c", id="RRSIG that is too short"),
    ],
)
def test_data_that_has_no_meaning_is_passed_on(kind: int, data: bytes) -> None:
    """Whoever asked may know better; it was not looked into without an alias either."""
    answer = _spliced(ALIAS, _raw(SECOND, data, type=kind), kind=kind)
    assert answer.rcode == NOERROR
    assert answer.body.endswith(struct.pack("!HHLH", kind, 1, 300, len(data)) + data)


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(Answer(NOERROR, 2, 0, END.answer.body, (6,), 300), id="fewer records than are counted"),
        pytest.param(Answer(NOERROR, 1, 0, b"\xc0", (6,), 300), id="half a pointer"),
        pytest.param(Answer(NOERROR, 1, 0, b"\xff\xff" + END.answer.body[2:], (6,), 300), id="a pointer that leads on"),
        pytest.param(Answer(NOERROR, 1, 0, END.answer.body[:-1], (6,), 300), id="data that ends too early"),
        pytest.param(_raw(SECOND, b"\0\1\xc0\x0cx", type=MX).answer, id="data with something behind its name"),
    ],
)
def test_what_can_not_be_read_is_a_failure_for_this_client_only(last: Answer) -> None:
    answer = _spliced(ALIAS, Link(SECOND, last, None))
    assert _facts(answer) == (SERVFAIL, 0, 0, b"", (), 0)
    assert (answer.stored, answer.expires) == (NOW, NOW)


def test_a_name_that_lies_in_a_ttl_can_break_and_no_more() -> None:
    """Pointers may lead anywhere back, and what is there changes when the cache brings TTLs within its bounds."""
    end = _raw(SECOND, b"\0\1\1m\0", b"\0\1" + struct.pack("!H", 0xC000 | HEADER_BYTES + len(SECOND) + 4 + 6), type=MX)
    good = Answer(*_facts(end.answer))
    good.body = end.answer.body.replace((300).to_bytes(4, "big"), (0x01610000).to_bytes(4, "big"))
    assert _spliced(ALIAS, Link(SECOND, good, None), kind=MX).rcode == NOERROR
    good.body = end.answer.body.replace((300).to_bytes(4, "big"), (0x40610000).to_bytes(4, "big"))
    assert _spliced(ALIAS, Link(SECOND, good, None), kind=MX).rcode == SERVFAIL


@pytest.mark.parametrize("over", [0, 1])
def test_the_whole_has_room_in_a_message(over: int) -> None:
    aliases = len(_spliced(ALIAS, _raw(SECOND, type=TXT)).body)
    end = _raw(SECOND, bytes(MAX_BODY - aliases - 12 + over), type=TXT)
    answer = _spliced(ALIAS, end, kind=TXT)
    assert (answer.rcode, len(answer.body)) == ((SERVFAIL, 0) if over else (NOERROR, MAX_BODY))


@pytest.mark.parametrize("over", [0, 1])
def test_the_whole_has_no_more_records_than_can_be_read_in_time(over: int) -> None:
    first = _raw(FIRST, *[b""] * (MAX_RECORDS + over), type=46, authorities=MAX_RECORDS // 2)
    end = _raw(SECOND, *[bytes(4)] * MAX_RECORDS, type=A)
    assert MAX_SPLICED == 2 * MAX_RECORDS
    answer = _spliced(first, end)
    assert answer.rcode == (SERVFAIL if over else NOERROR)
    assert answer.records + answer.authorities == (0 if over else MAX_SPLICED)


# Any chain

ENDS = {
    "A": ["A 192.0.2.1", "A 192.0.2.2"],
    "AAAA": ["AAAA 2001:db8::1"],
    "MX": ["MX 5 mail.{zone}", "MX 10 MAIL.{zone}", "MX 20 mx.other.example."],
    "SRV": ["SRV 1 2 443 srv.{zone}", "SRV 1 2 443 b.{zone}"],
    "TXT": ['TXT "some words" "and more"'],
    "NS": ["NS ns.{zone}", "NS ns.other.example."],
    "PTR": ["PTR a.{zone}"],
    "RP": ["RP box.{zone} txt.{zone}"],
    "PX": ["PX 10 a.{zone} b.{zone}"],
    "NAPTR": ['NAPTR 1 2 "u" "E2U+sip" "!^.*$!sip:x@example!" .', 'NAPTR 1 2 "s" "SIP+D2U" "" _sip._udp.{zone}'],
    "HTTPS": ["HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1", "HTTPS 0 svc.{zone}"],
    "CAA": ['CAA 0 issue "ca.example"'],
    "SOA": ["SOA ns.{zone} root.{zone} 1 2 3 4 60"],
    "TYPE65280": [r"TYPE65280 \# 4 c00c0102"],
}
"""Data of the last name, by type."""

SIGNED = "13 3 300 20380101000000 20200101000000 7 {zone} AAAA"
TTLS = st.integers(1, 100_000)
LETTERS = st.sampled_from([str.lower, str.upper, str.title])


@st.composite
def _aliases(draw: st.DrawFn, number: int, kind: int, do: bool) -> Link:
    """Aliases within one zone, of which the last leads to the next one."""
    zone = f"z{number}.example."
    names = [f"{label}.{zone}" for label in "abcd"[: draw(st.integers(1, 4))]] + [f"a.z{number + 1}.example."]
    lines = []
    for name, target in itertools.pairwise(names):
        lines.append(f"{name} {draw(TTLS)} CNAME {draw(LETTERS)(target)}")
        if do:
            lines.append(f"{name} {draw(TTLS)} RRSIG CNAME {SIGNED}".format(zone=zone))
    if draw(st.booleans()):
        lines.append("stray.example. 5 A 192.0.2.99")  # is left out, so that the rest is written anew
    if do and draw(st.booleans()):
        lines += [f"!n.{zone} {draw(TTLS)} NSEC x.{zone} CNAME", f"!n.{zone} 9 RRSIG NSEC {SIGNED}".format(zone=zone)]
    age = draw(st.integers(0, 400))
    return _read(wire_name(f"a.{zone}"), kind, lines, do=do, age=age, cases=draw(st.integers(0, 255)))


@st.composite
def _ends(draw: st.DrawFn, number: int, type: str, do: bool) -> Link:
    """What the name has, perhaps behind an alias in its zone; or that it has nothing."""
    zone = f"z{number}.example."
    kind = parse_type(type)
    assert kind is not None
    lines, owner, rcode = [], f"a.{zone}", NOERROR
    if draw(st.booleans()):
        lines, owner = [f"{owner} {draw(TTLS)} CNAME b.{zone}"], f"b.{zone}"
    if draw(st.booleans()):
        ttl = draw(TTLS)
        lines += [f"{owner} {ttl} {data}".format(zone=zone) for data in ENDS[type]]
    else:
        rcode = draw(st.sampled_from([NOERROR, NXDOMAIN]))
        lines.append(f"!{zone} {draw(TTLS)} SOA ns.{zone} root.{zone} 1 2 3 4 60")
        if do:
            lines.append(f"!{zone} 60 RRSIG SOA {SIGNED}".format(zone=zone))
    age = draw(st.integers(0, 400))
    return _read(wire_name(f"a.{zone}"), kind, lines, do=do, age=age, rcode=rcode, cases=draw(st.integers(0, 255)))


@st.composite
def _chains(draw: st.DrawFn) -> tuple[int, list[Link]]:
    type, do = draw(st.sampled_from(sorted(ENDS))), draw(st.booleans())
    kind = parse_type(type)
    assert kind is not None
    count = draw(st.integers(1, 8))
    links = [draw(_aliases(number, kind, do)) for number in range(count)]
    return kind, [*links, draw(_ends(count, type, do))]


@given(_chains())
def test_any_chain_reads_as_its_parts_one_after_the_other(found: tuple[int, list[Link]]) -> None:
    kind, parts = found
    assert [link.answer.target for link in parts] == [*(link.name for link in parts[1:]), None]
    answers, authorities = [], []
    for link in parts:
        shown = _shown(link.answer, link.name, kind, age=link.answer.age(NOW))
        answers += shown[0]
        authorities += shown[1]
    whole = _spliced(*parts, kind=kind)
    assert _shown(whole, parts[0].name, kind) == (answers, authorities)
    assert whole.rcode == parts[-1].answer.rcode
    assert whole.expires == min(link.answer.expires for link in parts)
    assert len(whole.ttls) == whole.records + whole.authorities
    sizes = [int.from_bytes(whole.body[at + 4 : at + 6], "big") for at in whole.ttls]
    assert whole.ttls[-1] + 6 + sizes[-1] == len(whole.body)


@given(st.binary(max_size=300), st.integers(0, 20), st.integers(0, 20), st.sampled_from([A, MX, NAPTR, CNAME]))
def test_any_octets_are_pieced_together_or_a_failure(octets: bytes, records: int, authorities: int, kind: int) -> None:
    broken = Link(SECOND, Answer(NOERROR, records, authorities, octets, (), 300), None)
    for parts in ((ALIAS, broken), (broken._replace(name=FIRST), END), (ALIAS, broken, END)):
        answer = _spliced(*parts, kind=kind)
        assert answer.rcode in (NOERROR, SERVFAIL)
        assert len(answer.ttls) == answer.records + answer.authorities


def test_opt_has_room_beside_the_longest() -> None:
    longest = wire_name(".".join(["x" * 63] * 3 + ["y" * 61]))
    assert HEADER_BYTES + len(longest) + 4 + MAX_BODY + OPT_BYTES <= MAX_MESSAGE
