"""Domain names on the wire and as text, and the names of addresses."""

import ipaddress

import dns.name
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.address import Address, parse_address
from gateway.config.rules import AddressPattern
from gateway.dns.names import (
    ROOT,
    BadName,
    is_below,
    label_count,
    parents,
    reverse_name,
    reverse_zones,
    text_name,
    wire_name,
)

LABELS = st.binary(min_size=1, max_size=63)
LISTS = st.lists(LABELS, max_size=8).filter(lambda labels: sum(len(label) + 1 for label in labels) < 255)
CORP = b"\4corp\7example\0"


def _wire(labels: list[bytes]) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels).lower() + ROOT


def _pattern(text: str) -> AddressPattern:
    network = ipaddress.ip_network(text)
    return AddressPattern(network.version, int(network.network_address), int(network.netmask))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("Corp.Example", CORP, id="capitals become small"),
        pytest.param("corp.example.", CORP, id="with a dot at the end"),
        pytest.param(".", ROOT, id="the root"),
        pytest.param("_sip._tcp.x", b"\4_sip\4_tcp\1x\0", id="underscores"),
        pytest.param("a\\.b.c", b"\3a.b\1c\0", id="a dot within a label"),
        pytest.param("a\\046b.c", b"\3a.b\1c\0", id="a dot by its number"),
        pytest.param("\\255\\000.\\\\", b"\2\xff\0\1\\\0", id="octets that can not be printed, and a backslash"),
        pytest.param("\\065.c", b"\1a\1c\0", id="a capital by its number becomes small"),
        pytest.param("a\\.", b"\2a.\0", id="an escaped dot at the end is part of the label"),
        pytest.param("*.dev", b"\1*\3dev\0", id="a wildcard"),
        pytest.param("a" * 63, b"\x3f" + b"a" * 63 + b"\0", id="a label of 63 octets"),
        pytest.param(
            ".".join(["a" * 63] * 3 + ["a" * 61]),
            (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0",
            id="255 octets",
        ),
    ],
)
def test_text_becomes_a_wire_name(text: str, name: bytes) -> None:
    assert wire_name(text) == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "the name is empty", id="nothing"),
        pytest.param("..", "has an empty label", id="two dots"),
        pytest.param("a..b", "'a..b' has an empty label", id="an empty label"),
        pytest.param(".a", "'.a' has an empty label", id="a dot at the start"),
        pytest.param("a" * 64, "longer than 63 octets", id="a label of 64 octets"),
        pytest.param(".".join(["a" * 63] * 3 + ["a" * 62]), "longer than 255 octets", id="256 octets"),
        pytest.param("bücher.example", "write such names as they are in DNS: xn--", id="a letter that is not ASCII"),
        pytest.param("a\\", "backslash without", id="a backslash at the end"),
        pytest.param("a\\25", "backslash without", id="two digits"),
        pytest.param("a\\256", "more than an octet holds", id="256"),
    ],
)
def test_what_is_no_name_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(BadName, match=why.replace("\\", "\\\\")) as caught:
        wire_name(text)
    assert isinstance(caught.value, errors.BadName)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).isascii()
    assert "\n" not in str(caught.value)


def test_the_reason_escapes_what_is_not_printable() -> None:
    with pytest.raises(BadName) as caught:
        wire_name("a\n\x1b..b")
    assert str(caught.value) == "'a\\n\\x1b..b' has an empty label"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ROOT, "."),
        (CORP, "corp.example."),
        (b"\3a.b\2\0\xff\0", "a\\.b.\\000\\255."),
        (b'\x08"();@$\\ \0', '\\"\\(\\)\\;\\@\\$\\\\\\032.'),
    ],
)
def test_a_wire_name_is_shown_so_that_it_can_be_read_again(name: bytes, text: str) -> None:
    assert text_name(name) == text
    assert wire_name(text) == name


@given(LISTS)
def test_any_wire_name_is_shown_as_others_show_it_and_read_back(labels: list[bytes]) -> None:
    name = _wire(labels)
    text = text_name(name)
    assert wire_name(text) == name
    assert text.isprintable()
    assert dns.name.from_text(text) == dns.name.from_wire(name, 0)[0]
    assert label_count(name) == len(labels)


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_a_bad_one(text: str) -> None:
    try:
        name = wire_name(text)
    except BadName:
        return
    assert wire_name(text_name(name)) == name
    assert name == name.lower()


def test_the_parents_of_a_name_begin_with_itself_and_end_with_the_root() -> None:
    assert list(parents(CORP)) == [CORP, b"\7example\0", ROOT]
    assert list(parents(ROOT)) == [ROOT]


@pytest.mark.parametrize(
    ("name", "apex", "is_so"),
    [
        pytest.param(CORP, CORP, True, id="itself"),
        pytest.param(b"\3www" + CORP, CORP, True, id="one label more"),
        pytest.param(CORP, ROOT, True, id="everything is below the root"),
        pytest.param(ROOT, ROOT, True, id="the root is the root"),
        pytest.param(ROOT, CORP, False, id="the root is below nothing else"),
        pytest.param(b"\7example\0", CORP, False, id="a parent is not below"),
        pytest.param(b"\x08evilcorp\7example\0", CORP, False, id="a longer label"),
        pytest.param(b"\x0f\1\2\4corp\7example\0", CORP, False, id="a label whose end looks like it"),
        pytest.param(b"\x0ex" + CORP[:-1] + b"\0", CORP, False, id="a label that holds all of it"),
    ],
)
def test_a_name_is_below_another_by_whole_labels(name: bytes, apex: bytes, is_so: bool) -> None:
    assert is_below(name, apex) is is_so


@given(LISTS, LISTS)
def test_a_name_is_below_exactly_its_parents(labels: list[bytes], others: list[bytes]) -> None:
    name, other = _wire(labels), _wire(others)
    assert is_below(name, other) is (other in list(parents(name)))
    assert all(is_below(name, parent) for parent in parents(name))


@pytest.mark.parametrize("text", ["10.1.2.3", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "fe80::a:b"])
def test_the_reverse_name_of_an_address_is_the_one_that_others_ask_for(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert text_name(reverse_name(address)) == dns.reversename.from_address(text).to_text()


@pytest.mark.parametrize(
    ("network", "zones"),
    [
        ("10.0.0.0/8", ["10.in-addr.arpa."]),
        ("192.168.0.0/16", ["168.192.in-addr.arpa."]),
        ("0.0.0.0/0", ["in-addr.arpa."]),
        ("192.0.2.1/32", ["1.2.0.192.in-addr.arpa."]),
        ("10.0.0.0/7", ["10.in-addr.arpa.", "11.in-addr.arpa."]),
        ("172.16.0.0/12", [f"{octet}.172.in-addr.arpa." for octet in range(16, 32)]),
        ("192.0.2.64/26", [f"{octet}.2.0.192.in-addr.arpa." for octet in range(64, 128)]),
        ("fd00::/8", ["d.f.ip6.arpa."]),
        ("fe80::/10", [f"{nibble}.e.f.ip6.arpa." for nibble in "89ab"]),
        ("::/0", ["ip6.arpa."]),
        ("2001:db8::/32", ["8.b.d.0.1.0.0.2.ip6.arpa."]),
    ],
)
def test_a_network_has_whole_reverse_zones(network: str, zones: list[str]) -> None:
    assert [text_name(zone) for zone in reverse_zones(_pattern(network))] == zones


@pytest.mark.parametrize("length", range(33))
def test_the_reverse_zones_of_any_length_hold_the_network_and_nothing_else(length: int) -> None:
    network = ipaddress.ip_network((0xC0A8_5A69 & ~((1 << 32 - length) - 1), length))
    zones = reverse_zones(_pattern(str(network)))
    assert len(set(zones)) == len(zones) <= 128
    edges = {int(network.network_address), int(network.broadcast_address)}
    for number in {0, 0xFFFF_FFFF, *edges, max(0, min(edges) - 1), min(0xFFFF_FFFF, max(edges) + 1)}:
        name = reverse_name(Address(4, number))
        assert sum(is_below(name, zone) for zone in zones) == (ipaddress.ip_address(number) in network)


def test_what_is_written_outside_the_mask_does_not_count() -> None:
    assert reverse_zones(AddressPattern(4, 0x0A01_0203, 0xFF00_0000)) == (wire_name("10.in-addr.arpa"),)


def test_a_mask_with_holes_has_no_reverse_zones() -> None:
    with pytest.raises(BadName, match="holes"):
        reverse_zones(AddressPattern(4, 0x0A00_0001, 0xFF00_00FF))
