"""What should be in the kernel for the interfaces that it has."""

from dataclasses import replace

import pytest

from gateway.netlink.desired import MOST_NETWORKS, Bases, Strict, desired
from gateway.netlink.model import (
    NULL_KINDS,
    InterfaceAddress,
    KernelRoute,
    KernelState,
    Link,
    NullKind,
    RoutingRule,
)
from tests.support.rules import address
from tests.unit.netlink.states import BASES, null, own, prefix, route, rule

WAN1, WAN2, ETH1, MGMT0 = (Link(index, name, True) for index, name in enumerate(("wan1", "wan2", "eth1", "mgmt0"), 2))


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


# Networks that are for no uplink

UPLINK_AND_INSIDE = (strict("wan1"), strict("eth1", inside=True))
TWO = world(WAN1, ETH1, MGMT0, *ONE.addresses, *ONE.routes, own("10.0.0.1/24", 4), route("10.0.0.0/24", 4))


def by_destination(*routes: KernelRoute, networks: tuple[str, ...] = ()) -> set[RoutingRule]:
    """The rules by destination; the inside is 10.0.0.0/24, the uplink on 192.0.2.0/24."""
    state = world(*TWO.links, *TWO.addresses, *TWO.routes, *routes)
    wanted = desired(UPLINK_AND_INSIDE, state, BASES, tuple(map(prefix, networks)))
    assert wanted.left_out == 0
    return {item for item in wanted.rules if item.destination}


GUARD = rules("5000 to 10.0.0.0/24 lookup 254 nodefault", "5001 to 10.0.0.0/24 unreachable")


@pytest.mark.parametrize(
    ("found", "more"),
    [
        pytest.param(route("172.16.9.0/24", 5), ["172.16.9.0/24"], id="of a management card"),
        pytest.param(route("10.5.0.0/16", 4, "10.0.0.2"), ["10.5.0.0/16"], id="behind a router of the inside"),
        pytest.param(route("172.16.9.7", 5, metric=7), ["172.16.9.7"], id="the far end of a tunnel"),
        pytest.param(route("2001:db8:9::/48", 5, "fe80::1"), ["2001:db8:9::/48"], id="of IPv6"),
        pytest.param(route("10.0.0.128/25", 5), [], id="within one that has a rule"),
        pytest.param(route("0.0.0.0/0", 5, "172.16.9.1"), [], id="not everything"),
        pytest.param(route("fe80::/64", 5, metric=256), [], id="not what is on every link"),
        pytest.param(route("::1", 1, metric=256), [], id="not this host"),
        pytest.param(route("198.51.100.0/24", 2, "192.0.2.1"), [], id="not by an uplink"),
        pytest.param(null("2001:db8:b::/48"), [], id="not what leads nowhere"),
    ],
)
def test_main_has_the_word_where_no_uplink_leads(found: KernelRoute, more: list[str]) -> None:
    wanted = by_destination(found)
    assert {item for item in wanted if item.oif is None} == GUARD | {
        rule(f"5000 to {net} lookup 254 nodefault") for net in more
    }


def test_a_network_within_a_broader_one_needs_no_way_of_its_own_and_keeps_its_end() -> None:
    assert by_destination(route("10.0.0.0/8", 4, "10.0.0.2")) == rules(
        "5000 to 10.0.0.0/8 lookup 254 nodefault", "5001 to 10.0.0.0/24 unreachable"
    )


def test_written_networks_are_ended_like_those_of_the_inside() -> None:
    assert by_destination(networks=("172.20.0.0/14", "fd00::/8")) == GUARD | rules(
        "5000 to 172.20.0.0/14 lookup 254 nodefault",
        "5001 to 172.20.0.0/14 unreachable",
        "5000 to fd00::/8 lookup 254 nodefault",
        "5001 to fd00::/8 unreachable",
    )
    assert by_destination(networks=("0.0.0.0/0", "::/0")) == GUARD, "everything is no network"


def test_an_uplinks_network_within_a_near_one_is_left_to_the_source_address() -> None:
    """Else main would send out an answer from an inside address."""
    found = by_destination(route("10.0.4.0/22", 4, "10.0.0.2"), route("10.0.5.0/24", 2))
    assert found == GUARD | rules(
        "5000 to 10.0.4.0/24 lookup 254 nodefault", "5000 to 10.0.6.0/23 lookup 254 nodefault"
    )
    assert by_destination(route("10.0.0.0/24", 2, metric=9)) == set(), "not even when they are the same"


def test_written_networks_leave_an_uplinks_networks_reachable() -> None:
    assert by_destination(networks=("192.0.2.0/23",)) == GUARD | rules(
        "5000 to 192.0.3.0/24 lookup 254 nodefault", "5001 to 192.0.3.0/24 unreachable"
    )


def test_an_uplink_that_is_the_inside_too_has_near_networks() -> None:
    state = world(WAN1, own("10.0.0.1/24", 2), route("10.0.0.0/24", 2), route("10.5.0.0/16", 2, "10.0.0.2"))
    wanted = desired([strict("wan1"), strict("wan1", inside=True)], state, BASES)
    assert {item for item in wanted.rules if item.destination} == GUARD | rules(
        "5000 to 10.5.0.0/16 lookup 254 nodefault"
    )


def many(count: int) -> list[KernelRoute]:
    """Networks that can not be told as fewer."""
    return [route(f"172.{16 + number // 100}.{number % 100 * 2}.0/24", 5) for number in range(count)]


@pytest.mark.parametrize("over", [-1, 0, 1, 50])
def test_of_too_many_networks_the_broadest_have_rules(over: int) -> None:
    broad = [route("198.18.0.0/15", 5), route("10.5.0.0/16", 4, "10.0.0.2")]
    state = world(*TWO.links, *TWO.addresses, *TWO.routes, *many(MOST_NETWORKS + over - 3), *broad)
    wanted = desired(UPLINK_AND_INSIDE, state, BASES)
    assert desired(UPLINK_AND_INSIDE, replace(state, routes=state.routes[::-1]), BASES) == wanted
    kept = {item.destination for item in wanted.rules if item.destination and item.action == "lookup"}
    assert len(kept) == MOST_NETWORKS + min(over, 0)
    assert {prefix("10.0.0.0/24"), prefix("198.18.0.0/15"), prefix("10.5.0.0/16")} <= kept
    assert wanted.rules >= GUARD
    assert wanted.left_out == max(over, 0)


def test_no_network_is_ended_that_has_no_way() -> None:
    networks = tuple(found.destination for found in many(MOST_NETWORKS + 10))
    wanted = desired(UPLINK_AND_INSIDE, TWO, BASES, networks)
    ways, ends = ({item.destination for item in wanted.rules if item.priority == number} for number in (5000, 5001))
    assert ends == ways
    assert len(ends) == MOST_NETWORKS
    assert wanted.left_out == 11


# Null routes


@pytest.mark.parametrize("kind", NULL_KINDS)
def test_null_routes_are_in_every_table(kind: NullKind) -> None:
    found = (null("203.0.113.20", kind), null("2001:db8:b::/48", kind, metric=7))
    state = world(*TWO.links, *TWO.addresses, *TWO.routes, *found)
    wanted = desired(UPLINK_AND_INSIDE, state, BASES)
    assert {item for item in wanted.routes if item.kind in NULL_KINDS} == {
        replace(item, table=table) for item in found for table in (10_002, 10_004)
    }


def test_a_null_default_route_is_in_no_table() -> None:
    assert routes(world(*ONE.links, *ONE.addresses, *ONE.routes, null("::/0"), null("0.0.0.0/0", metric=9))) == set()


def test_an_interface_that_is_down_has_no_null_routes() -> None:
    state = world(Link(2, "wan1", False, up=False), null("203.0.113.20"), null("2001:db8:b::/48"))
    wanted = desired([strict("wan1")], state, BASES)
    assert not wanted.routes
    assert not {item for item in wanted.rules if item.destination}


def test_an_ipv4_null_route_is_a_way_to_a_table_of_what_tcp_can_not_use() -> None:
    state = world(WAN1, WAN2, route("10.0.1.0/24", 2), null("10.0.0.0/23"), null("10.0.0.0/24", "prohibit"))
    wanted = desired([strict("wan1"), strict("wan2")], state, BASES)
    assert {item for item in wanted.rules if item.destination} == rules(
        "5001 to 10.0.0.0/24 oif wan1 lookup 10000",
        "5001 to 10.0.0.0/24 oif wan2 lookup 10000",
        "5001 to 10.0.1.0/24 oif wan2 lookup 10000",
    )
    assert {(item.index, item.metric, item.scope) for item in wanted.routes if item.table == 10_000} == {
        (2, 2, 0),
        (3, 3, 0),
    }


def test_a_null_network_within_a_near_one_is_not_asked_for_in_main() -> None:
    """Main's answer would be an error, and that is no answer for a socket that is bound to a device."""
    found = by_destination(route("10.4.0.0/15", 4, "10.0.0.2"), null("10.5.0.0/16"))
    assert {item for item in found if item.oif is None} == GUARD | rules("5000 to 10.4.0.0/16 lookup 254 nodefault")


def test_an_ipv6_null_route_is_a_rule_too_but_where_the_interface_has_a_longer_way() -> None:
    state = world(
        WAN1,
        WAN2,
        route("2001:db8:0::/64", 2),
        route("2001:db8:2::/64", 3),
        null("2001:db8::/46", "unreachable"),
        null("2001:db8:1::/48", "prohibit"),
    )
    wanted = desired([strict("wan1"), strict("wan2")], state, BASES)
    found = {item for item in wanted.rules if item.destination}
    assert (
        rules(
            "5001 to 2001:db8:1::/48 oif wan1 prohibit",
            "5001 to 2001:db8:1::/48 oif wan2 prohibit",
            "5001 to 2001:db8:2::/47 oif wan1 unreachable",
            "5001 to 2001:db8::/48 oif wan2 unreachable",
            "5001 to 2001:db8:3::/48 oif wan2 unreachable",
        )
        < found
    )
    for name, near in (("wan1", "2001:db8::2"), ("wan2", "2001:db8:2::2")):
        held = [item.destination for item in found if item.oif == name and item.destination]
        assert not [net for net in held if net.holds(address(near))]


def test_of_a_null_route_and_a_way_to_the_same_network_the_lower_metric_counts() -> None:
    for metric, wanted in ((1023, rules("5001 to 2001:db8:b::/48 oif wan1 blackhole")), (1025, set())):
        state = world(WAN1, route("2001:db8:b::/48", 2, "fe80::1"), null("2001:db8:b::/48", metric=metric))
        assert {item for item in desired([strict("wan1")], state, BASES).rules if item.destination} == wanted


def test_too_many_null_networks_are_told() -> None:
    nulls = [null(f"2001:db8:{2 * number:x}::/48") for number in range(MOST_NETWORKS + 2)]
    wanted = desired([strict("wan1")], world(WAN1, *nulls), BASES)
    assert len([item for item in wanted.rules if item.destination]) == MOST_NETWORKS
    assert wanted.left_out == 2
    assert len(wanted.routes) == MOST_NETWORKS + 2


# Addresses and tables


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
        pytest.param(
            [route("0.0.0.0/0", 2, "192.0.2.1", metrics=b"mtu 1492")],
            [route("0.0.0.0/0", 2, "192.0.2.1", metrics=b"mtu 1492", table=10_002)],
            id="with its metrics",
        ),
        pytest.param(
            [
                route("::/0", 2, "fe80::1", preference="low"),
                route("::/0", 2, "fe80::3", preference="high"),
                route("::/0", 2, "fe80::2"),
            ],
            [route("::/0", 2, "fe80::3", preference="high", table=10_002)],
            id="of several routers the preferred one",
        ),
        pytest.param(
            [route("172.16.0.0/12", 2, "192.0.2.7"), null("172.16.0.0/12")],
            [route("172.16.0.0/12", 2, "192.0.2.7", table=10_002)],
            id="a way before a null route in the same place",
        ),
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
