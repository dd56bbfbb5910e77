"""The guard: both sides of every border of every guarded class, and what lifts it."""

import pytest
from hypothesis import given, settings

from gateway.address import Address
from gateway.config.rules import AddressPattern
from gateway.policy.destination import Guard, GuardTable, Zone, find_zone
from tests.support.rules import GUARD, address, addresses, host

NOTHING = Guard()

CLASSES = [
    # class, first and last address inside, their neighbours outside, RFC
    ("unspecified", "0.0.0.0", "0.255.255.255", None, "1.0.0.0", "RFC 1122 §3.2.1.3"),
    ("loopback", "127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0", "RFC 1122 §3.2.1.3"),
    ("link-local", "169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0", "RFC 3927 §2.1"),
    ("multicast", "224.0.0.0", "239.255.255.255", "223.255.255.255", None, "RFC 5771 §3"),
    ("reserved", "240.0.0.0", "255.255.255.254", None, None, "RFC 1112 §4"),
    ("broadcast", "255.255.255.255", "255.255.255.255", None, None, "RFC 919 §7"),
    ("metadata", "100.100.100.200", "100.100.100.200", "100.100.100.199", "100.100.100.201", "Alibaba Cloud"),
    ("unspecified", "::", "::", None, None, "RFC 4291 §2.5.2"),
    ("loopback", "::1", "::1", None, "::2", "RFC 4291 §2.5.3"),
    (
        "link-local",
        "fe80::",
        "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fec0::",
        "RFC 4291 §2.5.6",
    ),
    (
        "multicast",
        "ff00::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        None,
        "RFC 4291 §2.7",
    ),
    ("metadata", "fd00:ec2::254", "fd00:ec2::254", "fd00:ec2::253", "fd00:ec2::255", "Amazon EC2"),
]
EDGES = [
    pytest.param(text, name, id=f"{text} is {name}, {source}")
    for name, first, last, _, _, source in CLASSES
    for text in dict.fromkeys((first, last))
] + [
    pytest.param(text, None, id=f"{text} is beside {name}, {source}")
    for name, _, _, before, after, source in CLASSES
    for text in (before, after)
    if text is not None
]


@pytest.mark.parametrize(("text", "name"), EDGES)
def test_the_fixed_classes(text: str, name: str | None) -> None:
    assert NOTHING.classify(address(text)) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("192.0.2.1", "the gateway itself", id="an own address"),
        pytest.param("192.0.2.0", None, id="the address before an own one"),
        pytest.param("192.0.2.2", None, id="the address after an own one"),
        pytest.param("::ffff:192.0.2.1", "the gateway itself", id="an own address, mapped"),
        pytest.param("198.51.100.1", "the gateway itself", id="an own address that was given as a mapped one"),
        pytest.param("2001:db8::5", "the gateway itself", id="an own IPv6 address within an inside network"),
        pytest.param("2001:db8::4", "the inside", id="an inside IPv6 network"),
        pytest.param("2001:db8:0:0:ffff:ffff:ffff:ffff", "the inside", id="its last address"),
        pytest.param("2001:db8:0:1::", None, id="the address after it"),
        pytest.param("10.0.0.255", "the inside", id="the last address of an inside network"),
        pytest.param("10.77.1.9", "the inside", id="an inside network whose mask has holes"),
        pytest.param("10.77.2.9", None, id="an address in the hole"),
        pytest.param("::ffff:127.0.0.1", "loopback", id="loopback, mapped"),
    ],
)
def test_the_hosts_own_classes(text: str, name: str | None) -> None:
    assert GUARD.classify(address(text)) == name


def test_a_fixed_class_keeps_its_name_when_the_address_is_ours_too() -> None:
    ours = Guard(frozenset({address("127.0.0.1")}), (AddressPattern(4, 0, 0),))
    assert ours.classify(address("127.0.0.1")) == "loopback"
    assert ours.classify(address("192.0.2.1")) == "the inside"


@given(addresses)
@settings(max_examples=300)
def test_the_compiled_guard_says_what_the_list_says(found: Address) -> None:
    zone = GuardTable(GUARD).at(found) if found.version == 4 or found.number >> 32 != 0xFFFF else None
    if zone is not None:
        assert zone == find_zone(GUARD.zones(), found)
    elif found.version == 4 or found.number >> 32 != 0xFFFF:
        assert find_zone(GUARD.zones(), found) is None


LOOPBACK = next(zone for zone in NOTHING.zones() if zone.name == "loopback")
MULTICAST = next(zone for zone in NOTHING.zones() if zone.name == "multicast")
METADATA6 = Zone("metadata", "metadata", AddressPattern(6, address("fd00:ec2::254").number, (1 << 128) - 1))


@pytest.mark.parametrize(
    ("zone", "destination", "lifted"),
    [
        pytest.param(LOOPBACK, "ALL", False, id="ALL names nothing"),
        pytest.param(LOOPBACK, "0.0.0.0/0", False, id="all of IPv4 names nothing"),
        pytest.param(LOOPBACK, "127.0.0.0/7", False, id="7 bits name nothing"),
        pytest.param(LOOPBACK, "127.0.0.0/8", True, id="8 bits name"),
        pytest.param(LOOPBACK, "127.0.0.1/32", True, id="a host is named"),
        pytest.param(LOOPBACK, "0.0.0.1/0.0.0.127", False, id="7 bits anywhere name nothing"),
        pytest.param(LOOPBACK, "0.0.0.1/0.0.0.255", True, id="8 bits anywhere name"),
        pytest.param(LOOPBACK, "::ffff:127.0.0.1", True, id="a mapped host is named as the IPv4 one"),
        pytest.param(LOOPBACK, "::ffff:0.0.0.0/96", False, id="all of IPv4 written as mapped names nothing"),
        pytest.param(LOOPBACK, "localhost", False, id="a name never lifts the guard"),
        pytest.param(LOOPBACK, ".localhost", False, id="nor does a name and all below"),
        pytest.param(MULTICAST, "224.0.0.0/4", True, id="the whole class is named, though it has 4 bits"),
        pytest.param(MULTICAST, "224.0.0.0/3", False, id="more than the class is not"),
        pytest.param(METADATA6, "fc00::/6", False, id="6 bits of IPv6 name nothing"),
        pytest.param(METADATA6, "fc00::/7", True, id="7 bits of IPv6 name"),
    ],
)
def test_what_lifts_the_guard(zone: Zone, destination: str, lifted: bool) -> None:
    assert zone.lifted_by(host(destination)) == lifted
