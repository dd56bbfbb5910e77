"""One interface, as uplinks, the guard and the listeners see it."""

from dataclasses import replace

import pytest

from gateway.address import Address
from gateway.netlink.facts import facts_of, inside_networks, interface_addresses
from gateway.netlink.model import InterfaceAddress, KernelRoute, KernelState, Link
from gateway.uplink.facts import Facts
from tests.support.rules import address
from tests.unit.netlink.states import null, own, route

WAN, OTHER = Link(2, "wan1", True), Link(3, "wan2", True)


def sources(*addresses: InterfaceAddress) -> list[str]:
    return [str(source) for source in facts_of(KernelState((WAN, OTHER), addresses), "wan1", ()).sources]


def gateways(configured: tuple[str, ...], *routes: KernelRoute) -> list[str]:
    given = tuple(map(address, configured))
    return [str(gateway) for gateway in facts_of(KernelState((WAN, OTHER), (), routes), "wan1", given).gateways]


def test_an_interface_that_does_not_exist_has_nothing() -> None:
    state = KernelState((OTHER,), (own("192.0.2.2/24", 3),))
    assert facts_of(state, "wan1", (address("192.0.2.1"),)) == Facts("wan1")
    assert inside_networks(state, "wan1") == ()
    assert interface_addresses(state, "wan1") == ()


@pytest.mark.parametrize("running", [True, False])
def test_an_interface_runs_as_its_link_does(running: bool) -> None:
    assert facts_of(KernelState((Link(2, "wan1", running),)), "wan1", ()) == Facts("wan1", True, running, index=2)


FIRST, SECOND = own("192.0.2.2/24", 2), own("192.0.2.3/24", 2)


@pytest.mark.parametrize(
    ("addresses", "wanted"),
    [
        pytest.param([FIRST, SECOND], ["192.0.2.2", "192.0.2.3"], id="the kernel's order stands"),
        pytest.param([SECOND, FIRST], ["192.0.2.3", "192.0.2.2"], id="the kernel's order stands, turned round"),
        pytest.param([replace(FIRST, secondary=True), SECOND], ["192.0.2.3", "192.0.2.2"], id="secondary ones later"),
        pytest.param([replace(FIRST, deprecated=True), SECOND], ["192.0.2.3", "192.0.2.2"], id="deprecated ones last"),
        pytest.param(
            [replace(FIRST, deprecated=True), replace(SECOND, scope="host")],
            ["192.0.2.3", "192.0.2.2"],
            id="deprecated ones after narrow ones",
        ),
        pytest.param([replace(FIRST, scope="link"), SECOND], ["192.0.2.3", "192.0.2.2"], id="global ones first"),
        pytest.param([replace(FIRST, usable=False), SECOND], ["192.0.2.3"], id="none that is still checked"),
        pytest.param([own("fe80::2/64", 2), own("2001:db8::2/64", 2)], ["2001:db8::2"], id="no link-local IPv6"),
        pytest.param([own("169.254.0.2/16", 2)], ["169.254.0.2"], id="link-local IPv4"),
        pytest.param([replace(FIRST, index=3), SECOND], ["192.0.2.3"], id="none of another interface"),
        pytest.param([FIRST, FIRST], ["192.0.2.2"], id="one with two prefixes once"),
    ],
)
def test_sources_are_in_order_of_preference(addresses: list[InterfaceAddress], wanted: list[str]) -> None:
    assert sources(*addresses) == wanted


LEARNT = route("0.0.0.0/0", 2, "192.0.2.1", metric=100)
LEARNT6 = route("::/0", 2, "fe80::1")


@pytest.mark.parametrize(
    ("configured", "routes", "wanted"),
    [
        pytest.param((), (), [], id="none"),
        pytest.param((), (LEARNT, LEARNT6), ["192.0.2.1", "fe80::1"], id="learnt"),
        pytest.param(("192.0.2.9",), (LEARNT, LEARNT6), ["192.0.2.9", "fe80::1"], id="configured for one family"),
        pytest.param(("fe80::9",), (LEARNT, LEARNT6), ["fe80::9", "192.0.2.1"], id="configured for the other family"),
        pytest.param((), (route("0.0.0.0/0", 3, "192.0.2.1"),), [], id="none by another interface"),
        pytest.param((), (route("10.0.0.0/8", 2, "192.0.2.1"),), [], id="none of a network"),
        pytest.param((), (route("0.0.0.0/0", 2),), [], id="a default route without gateway"),
        pytest.param(
            (), (LEARNT, route("0.0.0.0/0", 2, "192.0.2.7", metric=5)), ["192.0.2.7", "192.0.2.1"], id="by metric"
        ),
        pytest.param(
            (),
            (
                route("::/0", 2, "fe80::1", preference="low"),
                route("::/0", 2, "fe80::3", preference="high"),
                route("::/0", 2, "fe80::2"),
            ),
            ["fe80::3", "fe80::2", "fe80::1"],
            id="by the routers' preference",
        ),
        pytest.param(
            (),
            (route("::/0", 2, "fe80::1", preference="high"), route("::/0", 2, "fe80::2", metric=1)),
            ["fe80::2", "fe80::1"],
            id="by metric before preference",
        ),
    ],
)
def test_gateways_are_configured_or_learnt(
    configured: tuple[str, ...], routes: tuple[KernelRoute, ...], wanted: list[str]
) -> None:
    assert gateways(configured, *routes) == wanted


@pytest.mark.parametrize(
    ("configured", "routes", "versions"),
    [
        pytest.param((), (), set(), id="none"),
        pytest.param((), (LEARNT,), {4}, id="learnt"),
        pytest.param((), (LEARNT, LEARNT6), {4, 6}, id="learnt for both"),
        pytest.param((), (route("0.0.0.0/0", 2),), {4}, id="without a next hop"),
        pytest.param(("192.0.2.9",), (), {4}, id="configured"),
        pytest.param(("fe80::9",), (LEARNT,), {4, 6}, id="configured and learnt"),
        pytest.param((), (route("0.0.0.0/0", 3, "192.0.2.1"),), set(), id="by another interface"),
        pytest.param((), (route("0.0.0.0/1", 2, "192.0.2.1"),), set(), id="for half of all"),
        pytest.param((), (null("::/0"),), set(), id="to nowhere"),
    ],
)
def test_an_interface_has_a_default_route_or_none(
    configured: tuple[str, ...], routes: tuple[KernelRoute, ...], versions: set[int]
) -> None:
    found = facts_of(KernelState((WAN, OTHER), (), routes), "wan1", tuple(map(address, configured)))
    assert found.defaults == versions


def test_inside_networks_are_those_of_addresses_and_those_without_gateway() -> None:
    state = KernelState(
        (WAN, OTHER),
        (
            own("10.0.0.1/24", 2),
            own("10.0.0.2/24", 2),
            own("fd00::1/64", 2),
            own("fe80::1/64", 2),
            own("10.9.0.1/24", 3),
        ),
        (
            route("10.0.0.0/24", 2),
            route("10.7.0.2/32", 2),
            route("fe80::/64", 2),
            route("10.8.0.0/16", 2, "10.0.0.254"),
            route("0.0.0.0/0", 2),
            route("10.9.0.0/24", 3),
        ),
    )
    assert [str(net) for net in inside_networks(state, "wan1")] == ["10.0.0.0/24", "fd00::/64", "10.7.0.2/32"]


def test_everything_is_no_inside_network() -> None:
    assert inside_networks(KernelState((WAN,), (own("10.0.0.1/0", 2),)), "wan1") == ()
    assert len(inside_networks(KernelState((WAN,), (own("10.0.0.1/1", 2),)), "wan1")) == 1


def test_listeners_get_every_address_that_can_be_bound() -> None:
    held = (
        own("10.0.0.1/24", 2),
        own("fe80::1/64", 2),
        replace(own("fd00::1/64", 2), usable=False),
        own("10.9.0.1/24", 3),
    )
    listed = interface_addresses(KernelState((WAN, OTHER), held), "wan1")
    assert [entry.address for entry in listed] == [address("10.0.0.1"), address("fe80::1")]
    assert {entry.index for entry in listed} == {2}
    assert all(isinstance(entry.address, Address) for entry in listed)
