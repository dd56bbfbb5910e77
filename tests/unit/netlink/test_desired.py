"""What should be in the kernel for the interfaces that it has."""

import pytest

from gateway.netlink.desired import Bases, Strict, desired
from gateway.netlink.model import InterfaceAddress, KernelRoute, KernelState, Link, RoutingRule
from tests.support.rules import address
from tests.unit.netlink.states import BASES, own, route, rule

WAN1, WAN2, ETH1 = Link(2, "wan1", True), Link(3, "wan2", True), Link(4, "eth1", True)


def strict(name: str, *gateways: str, inside: bool = False) -> Strict:
    return Strict(name, tuple(map(address, gateways)), inside)


def world(*parts: Link | InterfaceAddress | KernelRoute) -> KernelState:
    return KernelState(
        tuple(part for part in parts if isinstance(part, Link)),
        tuple(part for part in parts if isinstance(part, InterfaceAddress)),
        tuple(part for part in parts if isinstance(part, KernelRoute)),
    )


def rules(*texts: str) -> set[RoutingRule]:
    return set(map(rule, texts))


def routes(state: KernelState, *interfaces: Strict) -> frozenset[KernelRoute]:
    return desired(interfaces, state, BASES).routes


ONE = world(WAN1, own("192.0.2.2/24", 2), route("192.0.2.0/24", 2, source="192.0.2.2"))
NETWORK = route("192.0.2.0/24", 2, source="192.0.2.2", table=10_002)


def test_nothing_is_wanted_for_no_interface() -> None:
    wanted = desired((), ONE, BASES)
    assert not wanted.routes
    assert not wanted.rules


def test_an_interface_that_does_not_exist_is_unreachable_already() -> None:
    wanted = desired([strict("wan1", "192.0.2.1")], world(), BASES)
    assert wanted.rules == rules("-6 5008 oif wan1 unreachable")
    assert not wanted.routes


def test_an_interface_with_an_address_has_ways_and_ends() -> None:
    assert desired([strict("wan1")], ONE, BASES).rules == rules(
        "-4 5002 oif wan1 lookup 10002",
        "-6 5002 oif wan1 lookup 10002",
        "5003 from 192.0.2.2 lookup 10002",
        "-6 5008 oif wan1 unreachable",
        "5009 from 192.0.2.2 unreachable",
    )


def test_numbers_begin_where_they_are_told() -> None:
    wanted = desired([strict("wan1")], ONE, Bases(700, 100))
    assert rules("-4 102 oif wan1 lookup 702", "109 from 192.0.2.2 unreachable") < wanted.rules
    assert {item.priority // 10 for item in wanted.rules} == {10}
    assert {item.table for item in wanted.routes} == {702}


def test_link_local_addresses_have_no_rules() -> None:
    state = world(WAN1, own("fe80::2/64", 2), own("febf::2/64", 2), own("fec0::2/64", 2))
    sources = {item.source for item in desired([strict("wan1")], state, BASES).rules if item.source}
    assert [str(source) for source in sources] == ["fec0::2/128"]


def test_what_is_meant_for_inside_hosts_goes_inside_or_nowhere() -> None:
    state = world(ETH1, own("10.0.0.1/24", 4), own("fd00::1/64", 4), own("fe80::1/64", 4), WAN1)
    wanted = desired([strict("wan1"), strict("eth1", inside=True)], state, BASES)
    assert {item for item in wanted.rules if item.destination} == rules(
        "5000 to 10.0.0.0/24 lookup 254 nodefault",
        "5001 to 10.0.0.0/24 unreachable",
        "5000 to fd00::/64 lookup 254 nodefault",
        "5001 to fd00::/64 unreachable",
    )


def test_networks_of_uplinks_are_no_inside_networks() -> None:
    assert not [item for item in desired([strict("wan1")], ONE, BASES).rules if item.destination]


def test_an_address_of_two_interfaces_is_the_first_ones() -> None:
    state = world(WAN1, WAN2, own("192.0.2.2/24", 2), own("192.0.2.2/24", 3))
    wanted = desired([strict("wan2"), strict("wan1")], state, BASES)
    assert {item for item in wanted.rules if item.source} == rules(
        "5003 from 192.0.2.2 lookup 10003", "5009 from 192.0.2.2 unreachable"
    )


def test_an_interface_that_is_named_twice_counts_once() -> None:
    both = [strict("wan1", "192.0.2.9"), strict("wan1", "192.0.2.1", inside=True)]
    assert desired(both, ONE, BASES) == desired([strict("wan1", "192.0.2.9", inside=True)], ONE, BASES)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        pytest.param(
            [route("172.16.0.0/12", 2, "192.0.2.7", metric=50)],
            [route("172.16.0.0/12", 2, "192.0.2.7", metric=50, table=10_002)],
            id="a static route",
        ),
        pytest.param(
            [route("0.0.0.0/0", 2, "192.0.2.1", metric=100)],
            [route("0.0.0.0/0", 2, "192.0.2.1", metric=100, table=10_002)],
            id="a default route that DHCP made",
        ),
        pytest.param(
            [route("0.0.0.0/0", 2, "198.51.100.1", on_link=True)],
            [route("0.0.0.0/0", 2, "198.51.100.1", on_link=True, table=10_002)],
            id="a gateway that is on the link by decree",
        ),
        pytest.param(
            [route("172.16.0.0/12", 2, "198.51.100.1")],
            [route("172.16.0.0/12", 2, "198.51.100.1", on_link=True, table=10_002)],
            id="a gateway whose network has gone since",
        ),
        pytest.param(
            [route("2001:db8:9::/48", 2, "2001:db8:1::1", on_link=True), route("2001:db8:8::/48", 2, "2001:db8:1::1")],
            [
                route("2001:db8:1::1", 2, table=10_002),
                route("2001:db8:9::/48", 2, "2001:db8:1::1", table=10_002),
                route("2001:db8:8::/48", 2, "2001:db8:1::1", table=10_002),
            ],
            id="an IPv6 gateway that no network holds",
        ),
        pytest.param(
            [route("0.0.0.0/0", 2, "fe80::1")],
            [route("0.0.0.0/0", 2, "fe80::1", table=10_002)],
            id="an IPv6 gateway for IPv4",
        ),
        pytest.param(
            [route("::/0", 2, "fe80::1"), route("fe80::/64", 2, metric=256)],
            [route("::/0", 2, "fe80::1", table=10_002), route("fe80::/64", 2, metric=256, table=10_002)],
            id="an IPv6 router",
        ),
        pytest.param(
            [route("0.0.0.0/0", 2, "192.0.2.8"), route("0.0.0.0/0", 2, "192.0.2.7")],
            [route("0.0.0.0/0", 2, "192.0.2.7", table=10_002)],
            id="of two next hops by the same interface the lowest",
        ),
        pytest.param(
            [route("0.0.0.0/0", 2, "192.0.2.8"), route("0.0.0.0/0", 2, "192.0.2.7", metric=1)],
            [
                route("0.0.0.0/0", 2, "192.0.2.8", table=10_002),
                route("0.0.0.0/0", 2, "192.0.2.7", metric=1, table=10_002),
            ],
            id="two default routes with metrics of their own",
        ),
        pytest.param([route("172.16.0.0/12", 3, "192.0.2.7")], [], id="no route by another interface"),
    ],
)
def test_the_table_copies_what_main_has_by_the_interface(found: list[KernelRoute], wanted: list[KernelRoute]) -> None:
    assert routes(world(*ONE.links, *ONE.addresses, *ONE.routes, *found), strict("wan1")) == {NETWORK, *wanted}


DHCP = route("0.0.0.0/0", 2, "192.0.2.1", metric=100)
DHCP6 = route("::/0", 2, "fe80::1")
COPIED = route("0.0.0.0/0", 2, "192.0.2.1", metric=100, table=10_002)
COPIED6 = route("::/0", 2, "fe80::1", table=10_002)


@pytest.mark.parametrize(
    ("gateways", "wanted"),
    [
        pytest.param(["192.0.2.9"], [route("0.0.0.0/0", 2, "192.0.2.9", table=10_002), COPIED6], id="of its family"),
        pytest.param(
            ["192.0.2.9", "192.0.2.8"],
            [route("0.0.0.0/0", 2, "192.0.2.9", table=10_002), COPIED6],
            id="the first of its family",
        ),
        pytest.param(["2001:db8::9"], [COPIED, route("::/0", 2, "2001:db8::9", table=10_002)], id="of IPv6"),
        pytest.param(["fe80::9"], [COPIED, route("::/0", 2, "fe80::9", table=10_002)], id="of IPv6, link-local"),
        pytest.param(
            ["192.0.3.1"],
            [route("0.0.0.0/0", 2, "192.0.3.1", on_link=True, table=10_002), COPIED6],
            id="by decree on the link where no network of the interface holds it",
        ),
        pytest.param(
            ["2001:db9::1"],
            [COPIED, route("::/0", 2, "2001:db9::1", table=10_002), route("2001:db9::1", 2, table=10_002)],
            id="of IPv6, with a route of its own where no network of the interface holds it",
        ),
    ],
)
def test_a_configured_gateway_replaces_the_default_route(gateways: list[str], wanted: list[KernelRoute]) -> None:
    network6 = route("2001:db8::/64", 2, metric=256)
    state = world(*ONE.links, *ONE.addresses, own("2001:db8::2/64", 2), *ONE.routes, network6, DHCP, DHCP6)
    copied = {NETWORK, route("2001:db8::/64", 2, metric=256, table=10_002)}
    assert routes(state, strict("wan1", *gateways)) == {*copied, *wanted}


def test_a_gateway_of_a_family_without_address_makes_no_route() -> None:
    state = world(*ONE.links, *ONE.addresses, own("fe80::2/64", 2), *ONE.routes)
    assert routes(state, strict("wan1", "fe80::1")) == {NETWORK}


def test_an_interface_that_is_down_keeps_its_rules_and_has_no_routes() -> None:
    state = world(Link(2, "wan1", False, up=False), *ONE.addresses, *ONE.routes)
    wanted = desired([strict("wan1", "192.0.2.1")], state, BASES)
    assert not wanted.routes
    assert wanted.rules == desired([strict("wan1")], ONE, BASES).rules


def test_an_interface_without_link_keeps_its_routes() -> None:
    """It is the uplink's health that says so; the table would only flap."""
    state = world(Link(2, "wan1", False, up=True), *ONE.addresses, *ONE.routes)
    assert routes(state, strict("wan1")) == {NETWORK}


def test_two_uplinks_on_the_same_network_with_the_same_gateway() -> None:
    state = world(
        WAN1,
        WAN2,
        own("192.168.1.2/24", 2),
        own("192.168.1.3/24", 3),
        route("192.168.1.0/24", 2),
        route("192.168.1.0/24", 3),
        route("0.0.0.0/0", 2, "192.168.1.1"),
        route("0.0.0.0/0", 3, "192.168.1.1", metric=200),
    )
    assert routes(state, strict("wan1"), strict("wan2", "192.168.1.1")) == {
        route("192.168.1.0/24", 2, table=10_002),
        route("0.0.0.0/0", 2, "192.168.1.1", table=10_002),
        route("192.168.1.0/24", 3, table=10_003),
        route("0.0.0.0/0", 3, "192.168.1.1", table=10_003),
    }
