"""`gateway.dns.local`: records as they are written, and answers as dnspython reads them."""

import dns.flags
import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address
from gateway.dns.answer import NEVER, Answer
from gateway.dns.constants import AAAA, CNAME, MX, NOERROR, NXDOMAIN, PTR, QR, SOA, SRV, TXT, A, rcode_text
from gateway.dns.local import MAX_CHAIN, BadRecord, Local, Row, address_row, clashes, read_record
from gateway.dns.names import ROOT, is_below, parents, wire_name

ZONE = wire_name("corp.example")


def rows(*texts: str, zone: bytes = ZONE) -> list[Row]:
    return [read_record(text, zone, f"f:{number}") for number, text in enumerate(texts, 1)]


def local(*texts: str, closed: bool = False) -> Local:
    return Local((ZONE,), rows(*texts), closed=closed)


def message(name: bytes, kind: int, answer: Answer) -> dns.message.Message:
    """As a client gets it."""
    numbers = (0, QR | answer.rcode, 1, answer.records, answer.authorities, 0, kind, 1)
    words = [number.to_bytes(2, "big") for number in numbers]
    return dns.message.from_wire(b"".join(words[:6]) + name + b"".join(words[6:]) + answer.body)


def said(found: Local, text: str, kind: int) -> tuple[str, list[str], list[str]] | None:
    """The rcode, the records of the answer, and the owners of the SOA records."""
    name = wire_name(text)
    answer = found.find(name, kind)
    if answer is None:
        return None
    whole = message(name, kind, answer)
    records = [line for rrset in whole.answer for line in rrset.to_text().split("\n")]
    return rcode_text(whole.rcode()), records, [str(rrset.name) for rrset in whole.authority]


# Records


@pytest.mark.parametrize(
    ("text", "name", "kind", "ttl", "rdata"),
    [
        ("printer A 10.0.0.9", "printer.corp.example", A, 60, bytes((10, 0, 0, 9))),
        ("printer 300 A 10.0.0.9", "printer.corp.example", A, 300, bytes((10, 0, 0, 9))),
        ("printer 1h IN AAAA ::1", "printer.corp.example", AAAA, 3600, bytes(15) + b"\1"),
        ("PRINTER 0 in a 10.0.0.9", "printer.corp.example", A, 0, bytes((10, 0, 0, 9))),
        ("@ MX 10 mail", "corp.example", MX, 60, b"\0\x0a" + wire_name("mail.corp.example")),
        ("x.Corp.Example. A 10.0.0.9", "x.corp.example", A, 60, bytes((10, 0, 0, 9))),
        ("*.dev CNAME Host1", "*.dev.corp.example", CNAME, 60, wire_name("host1.corp.example")),
        ("www CNAME www.example.org.", "www.corp.example", CNAME, 60, wire_name("www.example.org")),
        ("a.b CNAME @", "a.b.corp.example", CNAME, 60, ZONE),
        ("_sip._tcp SRV 0 5 5060 sip", "_sip._tcp.corp.example", SRV, 60, bytes((0, 0, 0, 5, 0x13, 0xC4))
         + wire_name("sip.corp.example")),
        ('t TXT "a b" c', "t.corp.example", TXT, 60, b"\3a b\1c"),
        (r"a\.b TYPE65280 \# 2 0102", r"a\.b.corp.example", 65280, 60, b"\1\2"),
        ("out.example.org. A 10.0.0.1", "out.example.org", A, 60, bytes((10, 0, 0, 1))),
    ],
)  # fmt: skip
def test_records_are_lines_of_a_master_file(text: str, name: str, kind: int, ttl: int, rdata: bytes) -> None:
    assert read_record(text, ZONE, "f:1") == Row(wire_name(name), kind, ttl, rdata, "f:1")


def test_in_the_root_a_name_is_whole() -> None:
    assert read_record("a.example A 10.0.0.1", ROOT, "").name == wire_name("a.example")
    assert read_record("a CNAME b.example", ROOT, "").rdata == wire_name("b.example")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("printer B 10.0.0.9", "'B' is no type of a record; a record is written 'NAME [TTL] TYPE DATA'"),
        ("printer A 10.0.0.256", "'10.0.0.256' is no data of type A"),
        ("printer A", "'' is no data of type A"),
        ("printer", "'' is no type of a record"),
        ("printer A 10.0.0.1 10.0.0.2", "'10.0.0.1 10.0.0.2' is no data of type A"),
        ("printer 5 5 A 10.0.0.1", "'5' is no type of a record"),
        ("printer 2147483648 A 10.0.0.1", "'2147483648' is no TTL"),
        ("printer 1x A 10.0.0.1", "'1x' is no TTL"),
        ("@ NS ns", "a record of type NS can not be written here"),
        ("@ SOA a b 1 2 3 4 5", "a record of type SOA can not be written here"),
        ("a DNAME b", "a record of type DNAME can not be written here"),
        ("a ANY b", "a record of type ANY can not be written here"),
        (r"a TYPE250 \# 0", "a record of type TSIG can not be written here"),
        ("@ CNAME www", "the zone itself can not be an alias"),
        ("corp.example. CNAME www", "the zone itself can not be an alias"),
        ("a..b A 10.0.0.1", "'a..b' has an empty label"),
        ("ä A 10.0.0.1", "is not ASCII"),
        (
            "www.corp.example A 10.0.0.1",
            "www.corp.example is taken as relative to the zone; with a dot at its end, www.corp.example., it is whole",
        ),
        ("a CNAME b.corp.example", "b.corp.example is taken as relative to the zone"),
        ("@ MX 10 Mail.Corp.Example", "mail.corp.example is taken as relative to the zone"),
        ("a CNAME b..c", "'b..c' has an empty label"),
    ],
)
def test_records_that_are_refused(text: str, fault: str) -> None:
    with pytest.raises(BadRecord) as caught:
        read_record(text, ZONE, "")
    assert fault in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.text('abc.*@\\"() ;0159:ACNMXTRV_-#é\0\n', min_size=1, max_size=30).filter(str.strip))
def test_any_text_is_a_record_or_refused(text: str) -> None:
    try:
        row = read_record(text, ZONE, "")
    except BadRecord:
        return
    assert row.name[-1] == 0


# Answers


def test_a_name_that_is_written_has_its_records_and_no_others() -> None:
    found = local("printer A 10.0.0.9", "printer 30 A 10.0.0.8", "printer AAAA fd00::9")
    assert said(found, "printer.corp.example", A) == (
        "NOERROR",
        ["printer.corp.example. 30 IN A 10.0.0.9", "printer.corp.example. 30 IN A 10.0.0.8"],
        [],
    )
    assert said(found, "printer.corp.example", AAAA) == ("NOERROR", ["printer.corp.example. 60 IN AAAA fd00::9"], [])
    assert said(found, "printer.corp.example", TXT) == ("NOERROR", [], ["corp.example."])
    assert said(found, "other.corp.example", A) is None
    assert said(found, "a.printer.corp.example", A) is None


def test_an_answer_says_where_it_is_written_and_does_not_grow_old() -> None:
    answer = local("a 300 A 10.0.0.9", "b A 10.0.0.8").find(wire_name("b.corp.example"), A)
    assert answer is not None
    assert (answer.origin, answer.ttl, answer.expires, answer.target) == ("f:2", 60, NEVER, None)
    assert [answer.body[place : place + 4] for place in answer.ttls] == [(60).to_bytes(4, "big")]


def test_the_same_bytes_serve_any_letter_case_of_the_question() -> None:
    answer = local("a A 10.0.0.9").find(wire_name("a.corp.example"), A)
    assert answer is not None
    assert [str(rrset.name) for rrset in message(b"\1A\4CORP\7example\0", A, answer).answer] == ["A.CORP.example."]


def test_a_record_that_is_written_twice_is_one() -> None:
    assert said(local("a A 10.0.0.9", "a A 10.0.0.9"), "a.corp.example", A) == (
        "NOERROR",
        ["a.corp.example. 60 IN A 10.0.0.9"],
        [],
    )


def test_an_alias_is_followed_to_what_is_written() -> None:
    found = local("a CNAME b", "b CNAME c", "c A 10.0.0.9", "out CNAME www.example.org.", "far CNAME out")
    chain = ["a.corp.example. 60 IN CNAME b.corp.example.", "b.corp.example. 60 IN CNAME c.corp.example."]
    assert said(found, "a.corp.example", A) == ("NOERROR", [*chain, "c.corp.example. 60 IN A 10.0.0.9"], [])
    assert said(found, "a.corp.example", AAAA) == ("NOERROR", chain, ["corp.example."])
    assert said(found, "a.corp.example", CNAME) == ("NOERROR", chain[:1], [])
    answer = found.find(wire_name("far.corp.example"), A)
    assert answer is not None
    assert (answer.records, answer.authorities, answer.target) == (2, 0, wire_name("www.example.org"))


def test_an_alias_to_a_name_that_only_a_wildcard_covers_is_left_to_whoever_knows_whose_it_is() -> None:
    answer = local("a CNAME x.dev", "*.dev A 10.0.0.9").find(wire_name("a.corp.example"), A)
    assert answer is not None
    assert (answer.records, answer.target) == (1, wire_name("x.dev.corp.example"))


def test_wildcards_are_below_the_closest_name_that_exists() -> None:
    """The example of RFC 4592 §2.2.1."""
    found = local(
        '*.example TXT "this is a wildcard"',
        "*.example MX 10 host1.example",
        'sub.*.example TXT "this is not a wildcard"',
        "host1.example A 192.0.2.1",
        "_ssh._tcp.host1.example SRV 0 0 22 host1.example",
        closed=True,
    )
    answers = {
        ("host3.example", MX): ("NOERROR", ["host3.example.corp.example. 60 IN MX 10 host1.example.corp.example."], []),
        ("host3.example", A): ("NOERROR", [], ["corp.example."]),
        ("foo.bar.example", TXT): ("NOERROR", ['foo.bar.example.corp.example. 60 IN TXT "this is a wildcard"'], []),
        ("host1.example", MX): ("NOERROR", [], ["corp.example."]),
        ("sub.*.example", MX): ("NOERROR", [], ["corp.example."]),
        ("_telnet._tcp.host1.example", SRV): ("NXDOMAIN", [], ["corp.example."]),
        ("_tcp.host1.example", SRV): ("NOERROR", [], ["corp.example."]),
        ("host.sub.*.example", TXT): ("NXDOMAIN", [], ["corp.example."]),
        ("ghost.*.example", MX): ("NXDOMAIN", [], ["corp.example."]),
        ("example", TXT): ("NOERROR", [], ["corp.example."]),
        ("other", TXT): ("NXDOMAIN", [], ["corp.example."]),
    }
    assert {key: said(found, f"{key[0]}.corp.example", key[1]) for key in answers} == answers


def test_in_an_open_zone_a_name_that_exists_only_by_others_is_asked_for() -> None:
    found = local("*.example A 10.0.0.1", "a.b.example A 10.0.0.2")
    assert said(found, "b.example.corp.example", A) is None
    assert said(found, "x.b.example.corp.example", A) is None
    assert said(found, "example.corp.example", A) is None
    assert said(found, "corp.example", A) is None
    answer = said(found, "x.example.corp.example", A)
    assert answer is not None
    assert answer[1] == ["x.example.corp.example. 60 IN A 10.0.0.1"]


def test_the_wildcard_of_the_whole_zone_is_not_the_zone() -> None:
    found = local("* A 10.0.0.1")
    assert said(found, "corp.example", A) is None
    assert said(found, "a.b.corp.example", A) is not None


def test_in_a_closed_zone_nothing_else_exists() -> None:
    found = local("a A 10.0.0.1", closed=True)
    assert said(found, "b.corp.example", A) == ("NXDOMAIN", [], ["corp.example."])
    assert said(found, "corp.example", A) == ("NOERROR", [], ["corp.example."])
    soa = said(found, "corp.example", SOA)
    assert soa is not None
    assert soa[1] == ["corp.example. 60 IN SOA corp.example. nobody.invalid. 1 3600 1200 604800 60"]
    negative = found.find(wire_name("b.corp.example"), A)
    assert negative is not None
    assert (negative.rcode, negative.ttl, negative.authorities) == (NXDOMAIN, 60, 1)


def test_in_a_closed_root_a_host_of_one_label_may_still_get_a_domain() -> None:
    found = Local((ROOT,), rows("lan.example A 10.0.0.1", "known A 10.0.0.2", zone=ROOT), closed=True)
    assert said(found, "printer", A) is None
    assert said(found, "printer", AAAA) is None
    assert said(found, "printer", MX) == ("NXDOMAIN", [], ["."])
    assert said(found, "a.b", A) == ("NXDOMAIN", [], ["."])
    assert said(found, "known", AAAA) == ("NOERROR", [], ["."])
    assert said(found, "example", A) == ("NOERROR", [], ["."])
    assert said(found, ".", A) == ("NOERROR", [], ["."])


def test_each_apex_of_a_zone_has_its_own_soa_record() -> None:
    reverse = wire_name("10.in-addr.arpa")
    row = Row(wire_name("9.0.0.10.in-addr.arpa"), PTR, 60, wire_name("a.corp.example"), "")
    found = Local((ZONE, reverse), [row], closed=True)
    assert said(found, "8.0.0.10.in-addr.arpa", PTR) == ("NXDOMAIN", [], ["10.in-addr.arpa."])
    assert said(found, "x.corp.example", PTR) == ("NXDOMAIN", [], ["corp.example."])


def test_rcode_and_ttl_of_what_does_not_exist_can_be_others() -> None:
    answer = Local((ZONE,), (), closed=True, rcode=NOERROR, ttl=10800).find(wire_name("a.corp.example"), A)
    assert answer is not None
    assert (answer.rcode, answer.ttl, answer.records, answer.authorities) == (NOERROR, 10800, 0, 1)


def test_the_digest_is_another_one_with_every_answer_and_no_other_one_with_the_place() -> None:
    texts = [
        ("a A 10.0.0.1",),
        ("a A 10.0.0.2",),
        ("a 61 A 10.0.0.1",),
        ("b A 10.0.0.1",),
        ("a A 10.0.0.1", "b A 10.0.0.1"),
    ]
    found = [local(*text) for text in texts] + [local(*texts[0], closed=True), local()]
    assert len({one.digest for one in found}) == len(found)
    assert local("x A 10.0.0.3", "a A 10.0.0.1").digest != local("a A 10.0.0.1").digest
    moved = Local((ZONE,), [row._replace(origin="elsewhere:9") for row in rows("a A 10.0.0.1")])
    assert moved.digest == local("a A 10.0.0.1").digest


def test_what_is_written_can_be_listed() -> None:
    found = local("a A 10.0.0.1", "a AAAA ::1", "b A 10.0.0.1")
    assert (len(found), sorted(found.names())) == (2, [wire_name("a.corp.example"), wire_name("b.corp.example")])
    assert [row.origin for row in found.rows(wire_name("a.corp.example"))] == ["f:1", "f:2"]
    assert found.rows(wire_name("c.corp.example")) == ()


# What can not stand together


@pytest.mark.parametrize(
    ("texts", "faults"),
    [
        (("a CNAME b",), []),
        (("a CNAME b", "a CNAME b"), []),
        (("a CNAME b", "a A 10.0.0.1"), ["a.corp.example. is an alias, and has another record of type A (f:2) too"]),
        (
            ("a CNAME b", "a CNAME c"),
            [
                "a.corp.example. is an alias, and has another record of type CNAME (f:2) too",
                "a.corp.example. is an alias, and has another record of type CNAME (f:1) too",
            ],
        ),
        (
            ("a CNAME a",),
            ["a.corp.example. is an alias that leads through more than 8 others, or in a circle"],
        ),
        (
            ("*.dev CNAME x.dev",),
            ["*.dev.corp.example. is an alias that leads through more than 8 others, or in a circle"],
        ),
        (("*.dev CNAME x.dev", "x.dev A 10.0.0.1"), []),
        (("*.dev CNAME host",), []),
    ],
)
def test_what_an_alias_can_not_stand_beside(texts: tuple[str, ...], faults: list[str]) -> None:
    assert [fault for _, fault in clashes(rows(*texts))] == faults


def test_as_many_aliases_as_are_followed_may_follow_one_another() -> None:
    def chain(count: int) -> list[Row]:
        return rows(*(f"a{number} CNAME a{number + 1}" for number in range(count)), f"a{count} A 10.0.0.1")

    assert list(clashes(chain(MAX_CHAIN))) == []
    assert len(list(clashes(chain(MAX_CHAIN + 1)))) == 1


def test_a_circle_of_aliases_has_an_end_all_the_same() -> None:
    answer = local("a CNAME b", "b CNAME a").find(wire_name("a.corp.example"), A)
    assert answer is not None
    assert answer.records == MAX_CHAIN
    assert answer.target is not None


_labels = st.sampled_from(["a", "b", "*", "c"])
_names = st.lists(_labels, max_size=3).map(lambda labels: wire_name(".".join([*labels, "corp", "example"])))


@settings(max_examples=200, deadline=None)
@given(st.lists(_names, max_size=5), _names, st.booleans())
def test_wildcards_are_those_of_the_rfc(names: list[bytes], asked: bytes, closed: bool) -> None:
    """Against the definition of RFC 4592 §3.3.1, put down the slow way."""
    found = Local((ZONE,), [address_row(name, Address(4, 1), "") for name in names], closed=closed)
    exists = {parent for name in (*names, ZONE) for parent in parents(name) if is_below(parent, ZONE)}
    source = None
    if asked in names:
        source = asked
    elif asked not in exists:
        source = b"\1*" + next(parent for parent in parents(asked) if parent in exists)
    answer = found.find(asked, A)
    if source in names:
        assert answer is not None
        assert answer.records == 1
    elif not closed:
        assert answer is None
    else:
        assert answer is not None
        assert answer.rcode == (NOERROR if asked in exists else NXDOMAIN)
        assert answer.records == 0
