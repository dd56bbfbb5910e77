"""`gateway.dns.special`: the built-in zones, by the documents that ask for them."""

import pytest

from gateway.address import parse_address
from gateway.dns.constants import NOERROR
from gateway.dns.names import ROOT, is_below, reverse_name, text_name, wire_name
from gateway.dns.special import Special, specials


def special_of(name: bytes) -> Special | None:
    return next((special for special in specials() if is_below(name, special.name)), None)


def test_no_zone_is_in_the_list_twice_or_within_another_and_the_root_is_none() -> None:
    names = [special.name for special in specials()]
    assert len(set(names)) == len(names)
    assert ROOT not in names
    assert [(one, other) for one in names for other in names if one != other and is_below(one, other)] == []


@pytest.mark.parametrize("name", ["localhost", "invalid", "onion", "alt", "test", "local", "home.arpa", "internal"])
def test_names_that_are_never_looked_up(name: str) -> None:
    found = special_of(wire_name(f"x.{name}"))
    assert found is not None
    assert found.name == wire_name(name)


@pytest.mark.parametrize(
    "name", ["example", "example.com", "arpa", "in-addr.arpa", "lan", "xlocalhost", "ipv4only.arpa"]
)
def test_names_that_are_looked_up(name: str) -> None:
    assert special_of(wire_name(name)) is None


@pytest.mark.parametrize(
    ("address", "held"),
    [
        ("9.255.255.255", False), ("10.0.0.0", True), ("10.255.255.255", True), ("11.0.0.0", False),
        ("172.15.255.255", False), ("172.16.0.0", True), ("172.31.255.255", True), ("172.32.0.0", False),
        ("192.167.255.255", False), ("192.168.0.0", True), ("192.168.255.255", True), ("192.169.0.0", False),
        ("100.63.255.255", False), ("100.64.0.0", True), ("100.127.255.255", True), ("100.128.0.0", False),
        ("169.253.255.255", False), ("169.254.1.1", True), ("169.255.0.0", False),
        ("127.0.0.1", True), ("127.255.255.255", True), ("126.0.0.1", False), ("128.0.0.1", False),
        ("0.0.0.0", True), ("0.255.0.0", True), ("1.0.0.0", False),
        ("192.0.2.1", True), ("192.0.3.1", False), ("198.51.100.1", True), ("203.0.113.1", True),
        ("255.255.255.255", True), ("255.255.255.254", False), ("8.8.8.8", False),
        ("::", True), ("::1", True), ("::2", False), ("fc00::1", True), ("fdff::1", True), ("fbff::1", False),
        ("fe80::1", True), ("febf::1", True), ("fec0::", True), ("feff:ffff::1", True), ("ff00::1", False),
        ("2001:db8::1", True), ("2001:db9::1", False),
        ("2606:4700::1", False),
    ],
)  # fmt: skip
def test_reverse_names_of_private_networks(address: str, held: bool) -> None:
    parsed = parse_address(address)
    assert parsed is not None
    assert (special_of(reverse_name(parsed)) is not None) == held


def test_localhost_has_the_loopback_addresses_and_these_have_its_name() -> None:
    found = {text_name(row.name): row.rdata for special in specials() for row in special.rows}
    assert set(found) == {"localhost.", "*.localhost.", "1.0.0.127.in-addr.arpa.", f"1.{'0.' * 31}ip6.arpa."}
    assert found["1.0.0.127.in-addr.arpa."] == wire_name("localhost")


def test_what_means_something_on_every_host_alone_gives_way_to_no_larger_zone() -> None:
    fixed = {text_name(special.name) for special in specials() if special.fixed}
    assert fixed == {
        "localhost.", "invalid.", "onion.", "alt.", "resolver.arpa.", "127.in-addr.arpa.", f"1.{'0.' * 31}ip6.arpa.",
    }  # fmt: skip
    assert [special.name for special in specials() if special.rcode == NOERROR] == [wire_name("resolver.arpa")]
