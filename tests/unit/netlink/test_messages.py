"""Messages and values: what we send, we understand; what we have no use for is nothing."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg, rtmsg_base

from gateway.netlink.desired import Wanted
from gateway.netlink.messages import (
    PROTOCOL,
    Message,
    address_of,
    is_ours,
    link_of,
    route_message,
    routes_of,
    rule_message,
    rule_of,
)
from gateway.netlink.model import InterfaceAddress, KernelRoute, Link, RoutingRule
from tests.support.rules import address
from tests.unit.netlink.states import null, route, rule, wishes


def sent(message: Message) -> Message:
    """As it comes out of bytes."""
    message.reset()
    message.encode()
    read = (rtmsg if isinstance(message, rtmsg_base) else type(message))(message.data)
    read.decode()
    return read


def made(kind: type[Any], attributes: Mapping[str, object], **fields: int) -> Message:
    message = kind()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes.items())
    return sent(message)


@given(wishes())
def test_what_is_sent_is_understood(wanted: Wanted) -> None:
    for item in wanted.routes:
        assert list(routes_of(sent(route_message(item)))) == [item]
    for one in wanted.rules:
        assert rule_of(sent(rule_message(one))) == one


METRICS = bytes.fromhex("08000100040000000800020078050000" + "0a00100063756269630000000800110001000000")
"""A locked MTU, an algorithm by name, and one (17) that pyroute2 has no name for."""


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(route("0.0.0.0/0", 2, "fe80::1", table=10_002), id="an IPv6 gateway for IPv4"),
        pytest.param(route("0.0.0.0/0", 2, "192.0.2.1", table=200, on_link=True), id="a small table number"),
        pytest.param(route("::/0", 2, "fe80::1", table=1 << 31, metric=7), id="a large table number"),
        pytest.param(route("10.0.0.0/8", 70_000, source="10.0.0.1", table=255), id="a source address"),
        pytest.param(null("203.0.113.20", "blackhole"), id="a black hole"),
        pytest.param(null("2001:db8:b::/48", "unreachable"), id="unreachable"),
        pytest.param(null("10.0.0.0/8", "prohibit", metric=9), id="prohibited"),
        pytest.param(route("::/0", 2, "fe80::1", preference="high"), id="a router that recommends itself"),
        pytest.param(route("::/0", 2, "fe80::1", preference="low"), id="a router that does not"),
        pytest.param(route("0.0.0.0/0", 2, "192.0.2.1", metrics=METRICS), id="metrics"),
    ],
)
def test_routes_of_every_kind_are_understood(item: KernelRoute) -> None:
    message = sent(route_message(item))
    assert list(routes_of(message)) == [item]
    assert is_ours(message)


@pytest.mark.parametrize(
    "text",
    [
        "-4 5001 oif wan1 lookup 10002",
        "-6 5008 oif wan1 unreachable",
        "5002 from 2001:db8::1 lookup 10002",
        "5000 to 10.0.0.0/8 lookup 254 nodefault",
        "5000 to 10.0.0.0/8 lookup 254",
        "5001 to 2001:db8:b::/48 oif wan1 blackhole",
        "5001 to 2001:db8:b::/48 oif wan1 prohibit",
    ],
)
def test_rules_of_every_kind_are_understood(text: str) -> None:
    message = sent(rule_message(rule(text)))
    assert rule_of(message) == rule(text)
    assert is_ours(message)


HOPS = [
    {"oif": 2, "flags": 0, "hops": 0, "attrs": [("RTA_GATEWAY", "192.0.2.1")]},
    {"oif": 3, "flags": 4, "hops": 0, "attrs": [("RTA_GATEWAY", "198.51.100.1")]},
    {"oif": 4, "flags": 1, "hops": 0, "attrs": [("RTA_GATEWAY", "203.0.113.1")]},
    {"oif": 5, "flags": 0, "hops": 0, "attrs": [("RTA_VIA", {"family": 10, "addr": "fe80::1"})]},
]


def test_a_route_with_several_next_hops_is_several_routes_without_the_dead_ones() -> None:
    message = made(rtmsg, {"RTA_TABLE": 254, "RTA_MULTIPATH": HOPS}, family=2, type=1)
    assert list(routes_of(message)) == [
        route("0.0.0.0/0", 2, "192.0.2.1"),
        route("0.0.0.0/0", 3, "198.51.100.1", on_link=True),
        route("0.0.0.0/0", 5, "fe80::1"),
    ]


def test_what_leads_nowhere_is_by_no_interface() -> None:
    """IPv6 has it by the loopback interface."""
    attributes = {"RTA_TABLE": 254, "RTA_OIF": 1, "RTA_DST": "2001:db8:b::", "RTA_PRIORITY": 1024}
    message = made(rtmsg, attributes, family=10, type=6, dst_len=48)
    assert list(routes_of(message)) == [null("2001:db8:b::/48")]


def test_a_reserved_preference_is_the_medium_one() -> None:
    attributes = {"RTA_TABLE": 254, "RTA_OIF": 2, "RTA_GATEWAY": "fe80::1", "RTA_PRIORITY": 1024, "RTA_PREF": 2}
    assert list(routes_of(made(rtmsg, attributes, family=10, type=1))) == [route("::/0", 2, "fe80::1")]


BY_WAN = {"RTA_TABLE": 254, "RTA_OIF": 2}


@pytest.mark.parametrize(
    ("attributes", "fields"),
    [
        pytest.param(BY_WAN, {"family": 2, "type": 2}, id="a local address"),
        pytest.param({"RTA_TABLE": 254}, {"family": 2, "type": 9}, id="to be looked for elsewhere"),
        pytest.param({"RTA_TABLE": 254}, {"family": 2, "type": 1}, id="by no interface"),
        pytest.param(BY_WAN, {"family": 2, "type": 1, "tos": 16}, id="for a type of service"),
        pytest.param(BY_WAN, {"family": 10, "type": 1, "src_len": 56}, id="for a source network"),
        pytest.param(BY_WAN, {"family": 2, "type": 1, "flags": 1}, id="dead"),
        pytest.param(BY_WAN, {"family": 128, "type": 1}, id="of another family"),
    ],
)
def test_other_routes_are_nothing(attributes: Mapping[str, object], fields: dict[str, int]) -> None:
    assert not list(routes_of(made(rtmsg, attributes, **fields)))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"family": 2, "action": 2}, id="a jump"),
        pytest.param({"family": 128, "action": 1}, id="of multicast routing"),
    ],
)
def test_other_rules_are_nothing(fields: dict[str, int]) -> None:
    assert rule_of(made(fibmsg, {"FRA_PRIORITY": 5000}, **fields)) is None


def test_what_carries_another_number_is_not_ours() -> None:
    assert not is_ours(made(rtmsg, BY_WAN, family=2, type=1, proto=PROTOCOL - 1))
    assert not is_ours(made(fibmsg, {"FRA_PROTOCOL": PROTOCOL + 1}, family=2, action=1))
    assert not is_ours(made(fibmsg, {}, family=2, action=1))


def test_a_rule_without_selectors_is_for_all() -> None:
    message = made(
        fibmsg, {"FRA_TABLE": 254, "FRA_PRIORITY": 32766, "FRA_SUPPRESS_PREFIXLEN": 0xFFFF_FFFF}, family=2, action=1
    )
    assert rule_of(message) == RoutingRule(4, 32766, "lookup", 254)


@pytest.mark.parametrize(
    ("flags", "running", "up"),
    [
        pytest.param(0x41, True, True, id="up with a link"),
        pytest.param(0x01, False, True, id="up without a link"),
        pytest.param(0x40, False, False, id="down"),
        pytest.param(0, False, False, id="down without a link"),
    ],
)
def test_a_link_runs_when_it_is_up_and_there(flags: int, running: bool, up: bool) -> None:
    assert link_of(made(ifinfmsg, {"IFLA_IFNAME": "wan1"}, index=2, flags=flags)) == Link(2, "wan1", running, up)


def of_interface(flags: int, scope: int = 0) -> InterfaceAddress | None:
    fields = {"family": 10, "prefixlen": 64, "index": 2, "scope": scope}
    return address_of(made(ifaddrmsg, {"IFA_ADDRESS": "2001:db8::2", "IFA_FLAGS": flags}, **fields))


@pytest.mark.parametrize(
    ("flags", "usable"),
    [
        pytest.param(0x80, True, id="permanent"),
        pytest.param(0x40, False, id="tentative"),
        pytest.param(0x44, True, id="optimistic"),
        pytest.param(0xC8, False, id="a duplicate"),
        pytest.param(0x4C, False, id="a duplicate that was optimistic"),
        pytest.param(0x20, True, id="deprecated"),
    ],
)
def test_an_address_is_usable_when_no_duplicate_is_feared(flags: int, usable: bool) -> None:
    found = of_interface(flags)
    assert found is not None
    assert found.usable is usable
    assert found.deprecated is bool(flags & 0x20)


@pytest.mark.parametrize(
    ("number", "scope"),
    [(0, "global"), (200, "global"), (252, "global"), (253, "link"), (254, "host"), (255, "host")],
)
def test_scopes_have_three_names(number: int, scope: str) -> None:
    found = of_interface(0, number)
    assert found is not None
    assert found.scope == scope


def test_the_near_end_of_a_point_to_point_link_is_ours() -> None:
    ends = {"IFA_ADDRESS": "10.0.0.2", "IFA_LOCAL": "10.0.0.1"}
    found = address_of(made(ifaddrmsg, ends, family=2, prefixlen=32, index=3, flags=1))
    assert found == InterfaceAddress(address("10.0.0.1"), 32, 3, secondary=True)


def test_an_address_of_another_family_is_nothing() -> None:
    assert address_of(made(ifaddrmsg, {}, family=28, prefixlen=8, index=2)) is None
