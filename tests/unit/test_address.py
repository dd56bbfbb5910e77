"""Addresses and names in their one form; every Python trap of `spec/field-cases.md` §1 is a case here."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import (
    UNSPECIFIED,
    Address,
    Endpoint,
    canonical_host,
    canonical_name,
    embedded_ipv4,
    parse_address,
    parse_ipv4,
    plain,
)
from gateway.errors import BadName


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("0.0.0.0", 0, id="the first address"),
        pytest.param("255.255.255.255", 0xFFFFFFFF, id="the last address"),
        pytest.param("10.1.2.3", 0x0A010203, id="an address"),
        pytest.param("256.0.0.1", None, id="a part over 255"),
        pytest.param("010.0.0.1", None, id="a leading zero, which is octal to some"),
        pytest.param("0.00.0.0", None, id="two zeros"),
        pytest.param("10.0.1", None, id="three parts"),
        pytest.param("10.0.0.0.1", None, id="five parts"),
        pytest.param("10.0.0.", None, id="an empty part"),
        pytest.param("10.0.0.1.", None, id="a dot at the end"),
        pytest.param(" 10.0.0.1", None, id="a blank before"),
        pytest.param("10.0.0.1\n", None, id="a newline behind"),
        pytest.param("0x7f.0.0.1", None, id="a hexadecimal part"),
        pytest.param("+1.0.0.1", None, id="a sign"),
        pytest.param("\u0661.0.0.1", None, id="a digit of another alphabet"),
        pytest.param("1234.0.0.1", None, id="a part of four digits"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_dotted_quad_is_strict(text: str, number: int | None) -> None:
    assert parse_ipv4(text) == (None if number is None else Address(4, number))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("::", 0, id="unspecified"),
        pytest.param("2001:DB8::1", 0x20010DB8 << 96 | 1, id="letter case does not matter"),
        pytest.param("::ffff:10.0.0.1", 0xFFFF0A000001, id="a mapped address"),
        pytest.param("fe80::1%eth0", None, id="a zone"),
        pytest.param("[::1]", None, id="brackets"),
        pytest.param("::1/128", None, id="a prefix"),
        pytest.param("1::2::3", None, id="two gaps"),
        pytest.param("::ffff:010.0.0.1", None, id="a leading zero in the IPv4 part"),
        pytest.param(":", None, id="a colon"),
        pytest.param("\u0661::", None, id="a digit of another alphabet"),
    ],
)
def test_ipv6_text(text: str, number: int | None) -> None:
    assert parse_address(text) == (None if number is None else Address(6, number))


@given(st.integers(0, (1 << 32) - 1))
def test_ipv4_is_written_as_it_is_read(number: int) -> None:
    written = str(Address(4, number))
    assert written == str(ipaddress.IPv4Address(number))
    assert parse_address(written) == Address(4, number)


@given(st.integers(0, (1 << 128) - 1))
def test_ipv6_is_written_as_it_is_read(number: int) -> None:
    assert parse_address(str(Address(6, number))) == Address(6, number)


@given(st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)))
def test_octets_go_both_ways(packed: bytes) -> None:
    found = Address.from_packed(packed)
    assert found.version == {4: 4, 16: 6}[len(packed)]
    assert found.packed == packed


def test_an_endpoint_puts_ipv6_into_brackets() -> None:
    assert str(Endpoint(Address(4, 0x7F000001), 80)) == "127.0.0.1:80"
    assert str(Endpoint(Address(6, 1), 443)) == "[::1]:443"
    assert str(UNSPECIFIED) == "0.0.0.0:0"


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        pytest.param("::ffff:0:0", "0.0.0.0", id="the first mapped address"),
        pytest.param("::ffff:ffff:ffff", "255.255.255.255", id="the last mapped address"),
        pytest.param("::fffe:ffff:ffff", "::fffe:ffff:ffff", id="the address before them"),
        pytest.param("::1:0:0:0", "::1:0:0:0", id="the address after them"),
        pytest.param("10.0.0.1", "10.0.0.1", id="an IPv4 address"),
        pytest.param("::10.0.0.1", "::10.0.0.1", id="a compatible address is another host"),
    ],
)
def test_plain_unwraps_mapped_addresses_only(text: str, same_as: str) -> None:
    found = parse_address(text)
    assert found is not None
    assert plain(found) == parse_address(same_as)


EMBEDDINGS = [
    ("compatible, RFC 4291 §2.5.5.1", "::2", "0.0.0.2"),
    ("compatible", "::ffff:ffff", "255.255.255.255"),
    ("mapped, RFC 4291 §2.5.5.2", "::ffff:10.0.0.1", "10.0.0.1"),
    ("translated, RFC 2765", "::ffff:0:10.0.0.1", "10.0.0.1"),
    ("translated", "::ffff:0:ffff:ffff", "255.255.255.255"),
    ("NAT64, RFC 6052", "64:ff9b::", "0.0.0.0"),
    ("NAT64", "64:ff9b::ffff:ffff", "255.255.255.255"),
    ("local NAT64, RFC 8215", "64:ff9b:1::10.0.0.1", "10.0.0.1"),
    ("local NAT64", "64:ff9b:1:ffff:ffff:ffff:10.0.0.1", "10.0.0.1"),
    ("6to4, RFC 3056", "2002::", "0.0.0.0"),
    ("6to4", "2002:a00:1:ffff:ffff:ffff:ffff:ffff", "10.0.0.1"),
    ("Teredo, RFC 4380 §4, inverted", "2001::f5ff:fffe", "10.0.0.1"),
    ("Teredo", "2001:0:ffff:ffff:ffff:ffff:f5ff:fffe", "10.0.0.1"),
    ("ISATAP, RFC 5214 §6.1", "2001:db8::5efe:10.0.0.1", "10.0.0.1"),
    ("ISATAP with the universal bit", "2001:db8::200:5efe:10.0.0.1", "10.0.0.1"),
]
BESIDE = [
    ("unspecified is not compatible", "::"),
    ("loopback is not compatible", "::1"),
    ("after the compatible ones", "::1:0:0"),
    ("before the translated ones", "::fffe:ffff:ffff:ffff"),
    ("after the translated ones", "::ffff:1:0:0"),
    ("before NAT64", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("after NAT64", "64:ff9b::1:0:0"),
    ("before local NAT64", "64:ff9b:0:ffff:ffff:ffff:ffff:ffff"),
    ("after local NAT64", "64:ff9b:2::"),
    ("before 6to4", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("after 6to4", "2003::"),
    ("before Teredo", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("after Teredo", "2001:1::"),
    ("an interface id beside ISATAP", "2001:db8::5eff:10.0.0.1"),
    ("the group bit is not ISATAP", "2001:db8::100:5efe:10.0.0.1"),
    ("documentation", "2001:db8::1"),
]


@pytest.mark.parametrize(("text", "inner"), [pytest.param(t, i, id=f"{t}: {n}") for n, t, i in EMBEDDINGS])
def test_the_ipv4_host_within_an_ipv6_address(text: str, inner: str) -> None:
    found = parse_address(text)
    assert found is not None
    assert embedded_ipv4(found) == parse_address(inner)


@pytest.mark.parametrize("text", [pytest.param(t, id=f"{t}: {n}") for n, t in BESIDE])
def test_addresses_beside_the_embeddings_hold_none(text: str) -> None:
    found = parse_address(text)
    assert found is not None
    assert embedded_ipv4(found) is None


def test_an_ipv4_address_embeds_nothing() -> None:
    assert embedded_ipv4(Address(4, 1)) is None


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        pytest.param(b"example.com", "example.com", id="a name"),
        pytest.param(b"EXAMPLE.Com", "example.com", id="letter case, CVE-2022-24825"),
        pytest.param(b"example.com.", "example.com", id="one dot at the end, CVE-2022-24825"),
        pytest.param(b"localhost", "localhost", id="a single label"),
        pytest.param(b"_dmarc.example.com", "_dmarc.example.com", id="an underscore"),
        pytest.param(b"a--b.xn--mnchen-3ya.de", "a--b.xn--mnchen-3ya.de", id="hyphens within, and a Punycode label"),
        pytest.param(b"1.example", "1.example", id="a number that is not last"),
        pytest.param(b"127.0.0.1.example", "127.0.0.1.example", id="a quad that is not last"),
        pytest.param(b"3com.3com", "3com.3com", id="labels that begin with a digit"),
        pytest.param(b"0xg.0xg", "0xg.0xg", id="0x and no hexadecimal number"),
        pytest.param(b"a" * 63 + b".com", "a" * 63 + ".com", id="a label of 63 octets"),
        pytest.param(b".".join([b"a" * 49] * 5) + b".com", ".".join(["a" * 49] * 5) + ".com", id="a long name"),
    ],
)
def test_a_name_in_canonical_form(raw: bytes, canonical: str) -> None:
    assert canonical_host(raw) == canonical


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param(b"127.0.0.1", "127.0.0.1", id="a dotted quad is an address"),
        pytest.param(b"::1", "::1", id="IPv6 is an address"),
        pytest.param(b"2001:DB8::A", "2001:db8::a", id="IPv6 in capitals"),
        pytest.param(b"::FFFF:127.0.0.1", "::ffff:7f00:1", id="a mapped address stays one; plain() is for later"),
    ],
)
def test_an_address_as_text_is_an_address(raw: bytes, text: str) -> None:
    found = canonical_host(raw)
    assert isinstance(found, Address)
    assert str(found) == text


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        # what getaddrinfo() was seen to make of them: `spec/field-cases.md` §1
        pytest.param(b"localhost\0.evil.com", "a character other than", id="127.0.0.1: NUL cuts"),
        pytest.param(b"127.1", "ends in a number", id="127.0.0.1: two parts"),
        pytest.param(b"0x7f000001", "ends in a number", id="127.0.0.1: hexadecimal"),
        pytest.param(b"0X7F000001", "ends in a number", id="127.0.0.1: hexadecimal in capitals"),
        pytest.param(b"2130706433", "ends in a number", id="127.0.0.1: one number"),
        pytest.param(b"0177.0.0.1", "ends in a number", id="127.0.0.1: octal"),
        pytest.param(b"127.0.0.0x1", "ends in a number", id="127.0.0.1: a hexadecimal part"),
        pytest.param(b"0", "ends in a number", id="0.0.0.0: zero"),
        pytest.param("①②⑦.0.0.1".encode(), "not ASCII", id="127.0.0.1: digits in circles"),
        pytest.param("ⓛocalhost".encode(), "not ASCII", id="127.0.0.1: a letter in a circle"),
        pytest.param("localhos\u212a".encode(), "not ASCII", id="KELVIN SIGN becomes k"),
        pytest.param("example。com".encode(), "not ASCII", id="an ideographic full stop becomes a dot"),
        # and others that have opened doors elsewhere
        pytest.param(b"[::1]", "a character other than", id="brackets, CVE-2022-29188"),
        pytest.param(b"[example.com]", "a character other than", id="a name in brackets, CVE-2022-29188"),
        pytest.param(b"localhost%00", "a character other than", id="an escaped NUL"),
        pytest.param(b"::1%lo", "a character other than", id="a zone"),
        pytest.param(b"fe80::1%25eth0", "a character other than", id="an escaped zone"),
        pytest.param(b"127.0.0.1.", "ends in a number", id="a quad with a dot at the end"),
        pytest.param(b"256.1.1.1", "ends in a number", id="a part over 255"),
        pytest.param(b"1.2.3.4.5", "ends in a number", id="five parts"),
        pytest.param(b"evil.0x", "ends in a number", id="an empty hexadecimal number is 0 to some"),
        pytest.param(b"example.com..", "an empty label", id="two dots at the end"),
        pytest.param(b"a..b", "an empty label", id="two dots within"),
        pytest.param(b".example.com", "an empty label", id="a dot before"),
        pytest.param(b".", "empty", id="a dot alone"),
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b"exa mple.com", "a character other than", id="a blank"),
        pytest.param(b" example.com", "a character other than", id="a blank before"),
        pytest.param(b"example.com\n", "a character other than", id="a newline behind"),
        pytest.param(b"example.com\r\nHost: x", "a character other than", id="an injected header"),
        pytest.param(b"user@example.com", "a character other than", id="a user before the host"),
        pytest.param(b"example.com:80", "a character other than", id="a port behind the host"),
        pytest.param(b"example.com/x", "a character other than", id="a path behind the host"),
        pytest.param(b"*.example.com", "a character other than", id="a wildcard"),
        pytest.param(b"\x1b[2Jexample.com", "a character other than", id="a control sequence"),
        pytest.param(b"-a.com", "hyphen", id="a hyphen first"),
        pytest.param(b"a-.com", "hyphen", id="a hyphen last"),
        pytest.param(b"a" * 64 + b".com", "63", id="a label of 64 octets"),
        pytest.param(b".".join([b"a" * 49] * 5) + b".comm1", "253", id="a name of 255 characters"),
        pytest.param(b"\xff\xfe", "not ASCII", id="stray octets"),
    ],
)
def test_what_no_rule_and_no_resolver_shall_see(raw: bytes, fault: str) -> None:
    with pytest.raises(BadName, match=fault):
        canonical_host(raw)


def test_the_longest_name_has_253_characters() -> None:
    longest = ".".join(["a" * 49] * 5) + ".com"
    assert len(longest) == 253
    assert canonical_name(longest) == longest
    assert canonical_name(longest + ".") == longest
    with pytest.raises(BadName):
        canonical_name("a" + longest)


@given(st.one_of(st.binary(max_size=40), st.text("a1.-_xX0f:%[]\0é", max_size=20).map(str.encode)))
@settings(max_examples=300)
def test_whatever_is_accepted_is_in_canonical_form(raw: bytes) -> None:
    try:
        found = canonical_host(raw)
    except BadName:
        return
    if isinstance(found, Address):
        assert canonical_host(str(found).encode()) == found
    else:
        assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
        assert not found.endswith(".")
        assert canonical_host(found.encode()) == found
        with pytest.raises(ValueError, match="does not appear"):
            ipaddress.ip_address(found)
