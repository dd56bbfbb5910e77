"""The ways out of zones: their own, else the session's, else those of [external]; strictly, and as they are now."""

import pytest

from gateway.config.settings import Settings
from gateway.daemon.messages import ListenAddress, Network
from gateway.daemon.ways import INSIDE, ZoneWays, prefers_ipv6
from gateway.dns.written import Files
from gateway.dns.zones import Zone, Zones
from gateway.policy.egress import Egress, Standing
from tests.support.routes import uplink, words
from tests.support.rules import address
from tests.unit.daemon.hosts import addresses, settings

TEXT = """
[internal]
interface = "eth1"
[external]
interface = ["wan1", "wan2"]
[[resolver.zone]]
name = "corp.example"
servers = ["10.0.0.53"]
[[resolver.zone]]
name = "partner.example"
servers = ["198.51.100.53"]
private = false
interface = "wan2"
[[resolver.zone]]
name = "."
servers = ["192.0.2.53"]
"""
WAN1 = uplink("wan1", "192.0.2.10", "2001:db8:1::10")
WAN2 = uplink("wan2", "198.51.100.10")
LISTEN = (
    ListenAddress(address("10.1.0.1"), 7),
    ListenAddress(address("fd00::1"), 7),
    ListenAddress(address("fe80::1"), 7),
)
NETWORK = Network((WAN1, WAN2), listen=LISTEN)
SINGLE = TEXT.replace('[external]\ninterface = ["wan1", "wan2"]\n', "").replace('interface = "wan2"\n', "")


def zones(found: Settings) -> dict[str, Zone]:
    text = "gateway.toml"
    return {zone.text: zone for zone in Zones.compile(found, (), Files(text, "", {}, {})).zones}


def way(name: str, version: int = 4, by: str = "", *, text: str = TEXT, network: Network = NETWORK) -> str:
    """``wan1 from 192.0.2.10``, ``anyhow``, or why not at all."""
    found = settings(text)
    chosen = ZoneWays(found, network).way(zones(found)[name], version, words(by) if by else ())
    if chosen.blocked:
        assert chosen.egress is None
        return chosen.blocked
    return "anyhow" if chosen.egress is None else f"{chosen.egress.uplink} from {chosen.egress.source}"


@pytest.mark.parametrize("by", ["", "wan2"])
def test_a_zone_of_the_inside_leaves_by_the_inside_whoever_asks(by: str) -> None:
    assert way("corp.example", 4, by) == f"{INSIDE} from 10.1.0.1"
    assert way("corp.example", 6, by) == f"{INSIDE} from fd00::1"


def test_an_inside_without_an_address_of_that_kind_is_no_way() -> None:
    network = Network((WAN1, WAN2), listen=LISTEN[:1])
    assert way("corp.example", 6, network=network) == "eth1 has no IPv6 address now"
    assert way("corp.example", 4, network=Network((WAN1, WAN2))) == "eth1 has no IPv4 address now"


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        pytest.param("", "wan1 from 192.0.2.10", id="by [external]"),
        pytest.param("wan2", "wan2 from 198.51.100.10", id="by that of the session"),
        pytest.param("wan2,wan1", "wan2 from 198.51.100.10", id="by the first of the session's"),
    ],
)
def test_an_outside_zone_leaves_as_the_session_does_for_whose_sake_it_is_asked(by: str, expected: str) -> None:
    assert way(".", 4, by) == expected


@pytest.mark.parametrize("by", ["", "wan1"])
def test_a_zone_with_a_way_of_its_own_leaves_by_that(by: str) -> None:
    assert way("partner.example", 4, by) == "wan2 from 198.51.100.10"


def test_who_is_down_is_passed_over_and_the_last_one_is_the_end() -> None:
    down = uplink("wan1", "192.0.2.10", standing=Standing.DOWN, cause="link is down")
    assert way(".", network=Network((down, WAN2))) == "wan2 from 198.51.100.10"
    alone = way(".", by="wan1", network=Network((down, WAN2)))
    assert "wan1 is down: link is down" in alone
    assert "zone ." in alone
    assert way("partner.example", network=Network((WAN1,))).startswith("no usable way out by zone partner.example")
    assert "IPv6" in way("partner.example", 6)


def test_a_host_with_one_way_asks_by_its_routes() -> None:
    assert way(".", text=SINGLE, network=Network(listen=LISTEN)) == "anyhow"
    assert way("partner.example", text=SINGLE, network=Network(listen=LISTEN)) == "anyhow"
    assert way("corp.example", text=SINGLE, network=Network(listen=LISTEN)) == f"{INSIDE} from 10.1.0.1"


def test_on_a_host_that_names_no_card_of_the_inside_its_zones_go_by_the_routes_too() -> None:
    text = SINGLE.replace('interface = "eth1"', 'addresses = ["10.1.0.1"]')
    network = Network(listen=(ListenAddress(address("10.1.0.1")),))
    assert way("corp.example", text=text, network=network) == "anyhow"


def test_on_a_gateway_with_several_ways_a_zone_without_any_does_not_leave() -> None:
    """The settings refuse such a zone; should one come here all the same, the kernel's routes are not asked."""
    zone = zones(settings(SINGLE))["."]
    ways = ZoneWays(settings(TEXT), NETWORK)
    chosen = ways.way(zone, 4, ())
    assert chosen.egress is None
    assert chosen.blocked == "no way out is named: write its interface, or [external] interface"
    by_session = ways.way(zone, 4, words("wan1")).egress
    assert by_session is not None
    assert by_session.uplink == "wan1"


# Whether a way out is still there


@pytest.mark.parametrize(
    ("network", "is_usable"),
    [
        pytest.param(NETWORK, True, id="as it was"),
        pytest.param(Network((WAN2,), listen=LISTEN), False, id="gone"),
        pytest.param(Network((uplink("wan1", "192.0.2.10", standing=Standing.DOWN),)), False, id="down"),
        pytest.param(Network((uplink("wan1", "192.0.2.11"),)), False, id="with another address"),
    ],
)
def test_connections_by_an_uplink_stay_while_it_has_their_address(network: Network, is_usable: bool) -> None:
    egress = Egress("wan1", "wan1", address("192.0.2.10"), WAN1.index)
    assert ZoneWays(settings(TEXT), network).is_usable(egress) is is_usable


def test_another_interface_of_the_same_name_is_another_way() -> None:
    egress = Egress("wan1", "wan1", address("192.0.2.10"), WAN1.index + 1)
    assert not ZoneWays(settings(TEXT), NETWORK).is_usable(egress)


def test_connections_by_the_inside_stay_while_it_has_their_address() -> None:
    ways = ZoneWays(settings(TEXT), NETWORK)
    egress = Egress(INSIDE, "eth1", address("10.1.0.1"), 7)
    assert ways.is_usable(egress)
    assert not ways.is_usable(egress._replace(ifindex=8))
    assert not ways.is_usable(egress._replace(source=address("10.1.0.2")))
    assert not ZoneWays(settings(TEXT), Network()).is_usable(egress)


def test_an_uplink_may_have_the_name_that_the_inside_goes_by_here() -> None:
    named = uplink(INSIDE, "192.0.2.10", device="wan1")
    egress = Egress(INSIDE, "wan1", address("192.0.2.10"), named.index)
    assert ZoneWays(settings(TEXT), Network((named,), listen=LISTEN)).is_usable(egress)
    assert not ZoneWays(settings(TEXT), Network(listen=LISTEN)).is_usable(egress)
    inside = Egress(INSIDE, "eth1", address("10.1.0.1"), 7)
    assert ZoneWays(settings(TEXT), Network((named,), listen=LISTEN)).is_usable(inside)
    assert not ZoneWays(settings(TEXT), Network((named,))).is_usable(inside)


@pytest.mark.parametrize(
    ("own", "prefers"),
    [
        pytest.param((), False, id="none"),
        pytest.param(("192.0.2.10", "::1", "fe80::1", "fd00::1"), False, id="none that is global"),
        pytest.param(("192.0.2.10", "2001:db8::1"), True, id="one"),
        pytest.param(("1fff:ffff::",), False, id="just below 2000::/3"),
        pytest.param(("2000::",), True, id="its first"),
        pytest.param(("3fff:ffff::",), True, id="nearly its last"),
        pytest.param(("4000::",), False, id="just above"),
        pytest.param(("32.0.0.1",), False, id="IPv4 with the same bits"),
    ],
)
def test_ipv6_is_tried_first_where_the_host_has_a_global_address(own: tuple[str, ...], prefers: bool) -> None:
    assert prefers_ipv6(addresses(*own)) is prefers
