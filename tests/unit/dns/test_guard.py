"""Which addresses a name of an outside zone must not have: both sides of every border, and every disguise."""

import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address, embedded_ipv4, parse_address
from gateway.config.rules import AddressPattern
from gateway.dns.guard import Guard, allowed
from gateway.dns.names import wire_name
from tests.support.rules import address, host
from tests.support.waiting import least


def pattern(text: str) -> AddressPattern:
    found = host(text)
    assert isinstance(found, AddressPattern)
    return found


OWN = frozenset(map(address, ("10.0.0.1", "198.51.100.1", "2001:db8::1", "127.0.0.1", "::1")))
GUARD = Guard([pattern("10.0.0.0/8"), pattern("203.0.113.0/24"), pattern("2001:db8:7::/48")], OWN)
NOTHING = Guard((), ())


def refused(text: str, by: Guard = GUARD) -> str | None:
    return by.refused(address(text).packed)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("10.0.0.9", "an inside address"),
        ("10.255.255.255", "an inside address"),
        ("203.0.113.7", "an inside address"),
        ("2001:db8:7::9", "an inside address"),
        ("10.0.0.1", "the gateway itself"),
        ("198.51.100.1", "the gateway itself"),
        ("2001:db8::1", "the gateway itself"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.251", "multicast"),
        ("ff02::fb", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
        ("192.168.1.1", "a private address"),
        ("fd12::1", "a private address"),
        ("100.64.0.1", "a shared address of a provider's inside"),
    ],
)
def test_why_an_address_is_refused(text: str, what: str) -> None:
    assert refused(text) == f"{text} is {what}"


EDGES = [
    # first and last address of what is refused everywhere, and their neighbours outside
    ("0.0.0.0", "0.255.255.255", None, "1.0.0.0"),
    ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
    ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
    ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
    ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
    ("224.0.0.0", "255.255.255.255", "223.255.255.255", None),
    ("::", "::1", None, None),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::"),
    ("fe80::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
]


@pytest.mark.parametrize(("first", "last", "before", "after"), EDGES)
def test_both_sides_of_every_border(first: str, last: str, before: str | None, after: str | None) -> None:
    assert refused(first, NOTHING) is not None
    assert refused(last, NOTHING) is not None
    assert before is None or refused(before, NOTHING) is None
    assert after is None or refused(after, NOTHING) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("203.0.113.0", True, id="the first of an inside network"),
        pytest.param("203.0.113.255", True, id="its last"),
        pytest.param("203.0.112.255", False, id="the one before"),
        pytest.param("203.0.114.0", False, id="the one after"),
        pytest.param("198.51.100.0", False, id="the one before an own address"),
        pytest.param("198.51.100.2", False, id="the one after it"),
        pytest.param("2001:db8:7:ffff:ffff:ffff:ffff:ffff", True, id="the last of an inside IPv6 network"),
        pytest.param("2001:db8:8::", False, id="the one after it"),
        pytest.param("2001:db8::2", False, id="the one after an own IPv6 address"),
        pytest.param("192.0.0.170", False, id="the answer to ipv4only.arpa (RFC 7050)"),
        pytest.param("2a00:1450::1", False, id="somebody's address outside"),
    ],
)
def test_the_borders_of_what_is_ours(text: str, wanted: bool) -> None:
    assert (refused(text) is not None) is wanted


@pytest.mark.parametrize("networks", [("::ffff:10.0.0.0/104",), ("10.0.0.0/8",)])
def test_inside_networks_and_own_addresses_may_be_written_as_mapped_ones(networks: tuple[str, ...]) -> None:
    made = Guard([pattern(text) for text in networks], [address("::ffff:198.51.100.1")])
    assert refused("10.1.2.3", made) == "10.1.2.3 is an inside address"
    assert refused("198.51.100.1", made) == "198.51.100.1 is the gateway itself"


def test_an_inside_network_whose_mask_has_holes() -> None:
    made = Guard([AddressPattern(4, 0x0B00_0100, 0xFF00_FF00)], ())
    assert refused("11.77.1.9", made) == "11.77.1.9 is an inside address"
    assert refused("11.77.2.9", made) is None


DISGUISES = {
    "mapped, RFC 4291 §2.5.5.2": "::ffff:0:0",
    "compatible, RFC 4291 §2.5.5.1": "::",
    "translated, RFC 2765": "::ffff:0:0:0",
    "NAT64, RFC 6052": "64:ff9b::",
    "NAT64 of local use, RFC 8215": "64:ff9b:1:abcd::",
    "ISATAP, RFC 5214": "2001:db8::5efe:0:0",
}


@pytest.mark.parametrize("prefix", DISGUISES.values(), ids=DISGUISES)
@pytest.mark.parametrize(
    ("inner", "what"),
    [
        ("10.0.0.9", "an inside address"),
        ("127.0.0.1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("198.51.100.1", "the gateway itself"),
        ("8.8.8.8", None),
    ],
)
def test_an_ipv4_address_within_an_ipv6_one(prefix: str, inner: str, what: str | None) -> None:
    disguised = Address(6, address(prefix).number | address(inner).number)
    text = refused(str(disguised))
    assert text == (None if what is None else f"{disguised} leads to {inner}, which is {what}")


@pytest.mark.parametrize(("inner", "wanted"), [("10.0.0.9", True), ("0.0.0.0", True), ("8.8.8.8", False)])
def test_6to4_and_teredo(inner: str, wanted: bool) -> None:
    number = address(inner).number
    for disguised in (
        Address(6, 0x2002 << 112 | number << 80 | 1),  # RFC 3056 §2
        Address(6, 0x2001_0000 << 96 | 0xC000_0201 << 64 | number ^ 0xFFFF_FFFF),  # RFC 4380 §4
    ):
        assert embedded_ipv4(disguised) == address(inner)
        assert (GUARD.refused(disguised.packed) is not None) is wanted


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)))
def test_it_says_of_any_address_what_the_patterns_say(packed: bytes) -> None:
    plainly = Address.from_packed(packed)
    inner = embedded_ipv4(plainly) or plainly
    wanted = any(
        given_pattern.covers(*number)
        for given_pattern in [*map(pattern, REFUSED), *(pattern(str(own)) for own in OWN)]
        for number in (plainly, inner)
    )
    text = GUARD.refused(packed)
    assert (text is not None) is wanted
    assert text is None or parse_address(text.split()[0]) == plainly


REFUSED = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "203.0.113.0/24", "224.0.0.0/3", "::/127", "fc00::/7", "fe80::/9", "ff00::/8", "2001:db8:7::/48",
)  # fmt: skip


def test_two_of_the_same_networks_are_equal() -> None:
    one = Guard([pattern("10.0.0.0/8"), pattern("203.0.113.0/24")], [address("10.0.0.1"), address("::1")])
    same = Guard([pattern("203.0.113.0/24"), pattern("10.0.0.0/8")], [address("::1"), address("10.0.0.1")])
    assert one == same
    assert hash(one) == hash(same)
    assert one != Guard([pattern("10.0.0.0/8")], [address("10.0.0.1"), address("::1")])
    assert one != Guard([pattern("10.0.0.0/8"), pattern("203.0.113.0/24")], [address("10.0.0.1")])
    assert one != "10.0.0.0/8"


class TestExceptions:
    EXCEPTIONS = frozenset(map(wire_name, ("plex.example", "vpn.corp.example")))

    @pytest.mark.parametrize(
        ("name", "wanted"),
        [
            pytest.param("plex.example", True, id="one of them"),
            pytest.param("a.b.plex.example", True, id="below one"),
            pytest.param("xplex.example", False, id="one that only ends like it"),
            pytest.param("example", False, id="above one"),
            pytest.param("corp.example", False, id="above another"),
            pytest.param("vpn.corp.example", True, id="another"),
            pytest.param(".", False, id="the root"),
        ],
    )
    def test_they_and_what_is_below(self, name: str, wanted: bool) -> None:
        assert allowed(wire_name(name), self.EXCEPTIONS) is wanted
        assert allowed(wire_name(name), tuple(self.EXCEPTIONS)) is wanted

    def test_a_label_that_ends_in_the_bytes_of_one_is_none(self) -> None:
        assert not allowed(b"\x09abcd\x04plex\x07example\0", self.EXCEPTIONS)

    def test_the_root_is_every_name(self) -> None:
        assert allowed(wire_name("www.example"), {wire_name(".")})

    def test_without_any_no_name_is_one(self) -> None:
        assert not allowed(wire_name("plex.example"), ())


def test_a_public_address_costs_next_to_nothing() -> None:
    """Each address of each answer of an outside zone is looked at; one in a busy first octet costs no more."""
    many = Guard([pattern(f"10.{number}.0.0/16") for number in range(256)], OWN)
    packed = address("172.217.1.1").packed

    def microseconds() -> float:
        return timeit.timeit(lambda: many.refused(packed), number=5000) / 5000 * 1e6

    assert least(microseconds, below=5.0) < 5.0
