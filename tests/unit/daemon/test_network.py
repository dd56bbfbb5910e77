"""From interfaces and settings to what the processes need: own addresses, inside networks, listeners, uplinks."""

from dataclasses import replace

import pytest

from gateway.config.rules import AccessFile, AddressPattern, EgressWord, Options
from gateway.daemon.messages import ListenAddress
from gateway.daemon.network import network_of, uplinks_of, written_words
from gateway.netlink.model import KernelState, Link
from tests.support.routes import route_file, uplink, words
from tests.support.rules import PATH, address, host, rule
from tests.unit.daemon.hosts import ADDRESSES, HOST, INSIDE, WAN1, WAN2, addresses, settings
from tests.unit.netlink.states import own, route

BY_INTERFACE = '[internal]\ninterface = "eth1"\n'


def inside(text: str, state: KernelState = HOST) -> list[str]:
    """The inside networks, as prefixes."""
    return [shown(pattern) for pattern in network_of(settings(text), state, ()).inside]


def shown(pattern: AddressPattern) -> str:
    first = type(ADDRESSES[0].address)(pattern.version, pattern.number)
    return f"{first}/{pattern.mask.bit_count()}"


def listening(text: str, state: KernelState = HOST) -> list[tuple[str, int]]:
    return [(str(place.address), place.interface) for place in network_of(settings(text), state, ()).listen]


# Own addresses


def test_every_address_of_the_host_is_its_own_once() -> None:
    twice = replace(HOST, addresses=(*ADDRESSES, own("192.0.2.10/32", WAN2)))
    assert network_of(settings(), twice, ()).own == tuple(entry.address for entry in ADDRESSES)


def test_uplinks_are_passed_on_in_their_order() -> None:
    known = (uplink("wan2"), uplink("wan1", "192.0.2.10"))
    assert network_of(settings(), KernelState(), iter(known)).uplinks == known


# The inside


def test_the_networks_of_the_interface_are_the_inside_without_link_local_ones() -> None:
    assert inside(BY_INTERFACE) == ["10.1.0.0/24", "fd00::/64"]


def test_so_are_those_that_the_interface_leads_to_without_a_gateway() -> None:
    state = replace(HOST, routes=(route("10.9.0.0/16", INSIDE), route("10.8.0.0/16", INSIDE, "10.1.0.9")))
    assert inside(BY_INTERFACE, state) == ["10.1.0.0/24", "fd00::/64", "10.9.0.0/16"]


def test_an_interface_that_is_not_there_has_no_networks_and_nobody_listens() -> None:
    gone = replace(HOST, links=HOST.links[1:])
    assert inside(BY_INTERFACE, gone) == []
    assert listening(BY_INTERFACE, gone) == []


@pytest.mark.parametrize("how", [BY_INTERFACE, "[internal]\n"])
def test_networks_that_are_written_replace_all_others(how: str) -> None:
    assert inside(f'{how}networks = ["172.16.0.0/12"]\n') == ["172.16.0.0/12"]


@pytest.mark.parametrize(
    ("written", "networks"),
    [
        pytest.param('"10.1.0.1"', ["10.1.0.0/24"], id="the network of an address"),
        pytest.param('"10.1.0.1", "192.0.2.10"', ["10.1.0.0/24", "192.0.2.0/24"], id="of each address"),
        pytest.param('"10.1.0.2"', [], id="an address that this host has not"),
        pytest.param('"0.0.0.0"', ["10.1.0.0/24", "192.0.2.0/24", "198.51.100.0/24"], id="of all of IPv4"),
        pytest.param('"::"', ["fd00::/64", "fe80::/64", "2001:db8:1::/64"], id="of all of IPv6"),
    ],
)
def test_by_addresses_the_inside_is_the_networks_that_they_are_on(written: str, networks: list[str]) -> None:
    assert inside(f"[internal]\naddresses = [{written}]\n") == networks


def test_two_addresses_of_one_network_are_one_network() -> None:
    state = replace(HOST, addresses=(own("10.1.0.1/24", INSIDE), own("10.1.0.2/24", INSIDE)))
    assert inside('[internal]\naddresses = ["0.0.0.0"]\n', state) == ["10.1.0.0/24"]
    assert inside(BY_INTERFACE, state) == ["10.1.0.0/24"]


@pytest.mark.parametrize("how", [BY_INTERFACE, '[internal]\naddresses = ["10.1.0.1"]\n'])
@pytest.mark.parametrize(("length", "networks"), [(0, []), (1, ["0.0.0.0/1"])])
def test_everything_is_no_network_or_every_destination_would_be_inside(
    how: str, length: int, networks: list[str]
) -> None:
    state = replace(HOST, addresses=(own(f"10.1.0.1/{length}", INSIDE),))
    assert inside(how, state) == networks


# The listeners


def test_by_interface_every_usable_address_is_listened_on_with_its_interface() -> None:
    assert listening(BY_INTERFACE) == [("10.1.0.1", INSIDE), ("fd00::1", INSIDE), ("fe80::1", INSIDE)]
    tentative = replace(HOST, addresses=(replace(ADDRESSES[0], usable=False), *ADDRESSES[1:3]))
    assert listening(BY_INTERFACE, tentative) == [("fd00::1", INSIDE), ("fe80::1", INSIDE)]


def test_by_addresses_those_are_listened_on_whatever_the_host_has() -> None:
    text = '[internal]\naddresses = ["10.1.0.77", "::"]\n'
    assert listening(text) == listening(text, KernelState()) == [("10.1.0.77", 0), ("::", 0)]
    assert network_of(settings(), HOST, ()).listen == (ListenAddress(address("127.0.0.1")),)


# The words

NOBODY = AccessFile(PATH, ())


def access(*vias: str) -> AccessFile:
    return AccessFile(PATH, tuple(rule("permit ALL", options=Options(via=words(via))) for via in vias))


def test_every_way_out_is_named_once_whoever_names_it_the_tables_first() -> None:
    text = '[external]\ninterface = ["wan2", "wan1"]\n[uplinks.slow]\ninterface = "ppp0"\n[uplinks.wan1]\n'
    routes = route_file("wan3,192.0.2.10 10.0.0.0/8", "wan1 ALL")
    named = written_words(settings(text), routes, access("slow,wan4", "192.0.2.10"))
    assert named == ("slow", "wan1", "wan2", "wan3", address("192.0.2.10"), "wan4")


def test_without_routes_and_rules_only_the_settings_name_some() -> None:
    text = '[external]\ninterface = "192.0.2.10"\n'
    assert written_words(settings(text), None, NOBODY) == (address("192.0.2.10"),)
    assert written_words(settings(), None, NOBODY) == ()
    rule_without = AccessFile(PATH, (rule("permit ALL"),))
    assert written_words(settings(), route_file(), rule_without) == ()


# The uplinks


def found(words: tuple[EgressWord, ...], text: str = "", state: KernelState = HOST) -> dict[str, str]:
    """The uplinks' names, and the interface of each."""
    return {name: taken.interface for name, taken in uplinks_of(settings(text), words, state).items()}


def test_a_name_is_an_uplink_whether_or_not_its_interface_is_there() -> None:
    assert found(words("wan1,wan9")) == {"wan1": "wan1", "wan9": "wan9"}
    assert found(words("wan1"), state=KernelState()) == {"wan1": "wan1"}


def test_a_name_with_a_table_has_the_interface_and_the_rest_of_its_table() -> None:
    text = '[external]\nprobes = ["dns 192.0.2.53"]\n[uplinks.slow]\ninterface = "wan2"\ngateways = ["198.51.100.1"]\n'
    (taken,) = uplinks_of(settings(text), ("slow",), HOST).values()
    assert (taken.interface, taken.gateways) == ("wan2", addresses("198.51.100.1"))
    assert [str(probe) for probe in taken.probes or ()] == ["dns 192.0.2.53 53"]


def test_an_address_is_the_uplink_of_the_interface_that_has_it() -> None:
    assert found(words("198.51.100.10")) == {"wan2": "wan2"}
    assert found(words("2001:db8:1::10,192.0.2.10")) == {"wan1": "wan1"}
    assert found(words("198.51.100.11")) == {}, "no interface has it now"


def test_an_address_that_two_interfaces_have_belongs_to_the_first_as_in_the_rules_of_the_kernel() -> None:
    state = replace(HOST, addresses=(own("192.0.2.10/24", WAN1), own("192.0.2.10/24", WAN2)))
    assert found(words("192.0.2.10"), state=state) == {"wan1": "wan1"}


def test_an_address_of_an_interface_that_has_just_gone_is_nobodys() -> None:
    assert found(words("192.0.2.10"), state=replace(HOST, links=HOST.links[:1])) == {}


TABLE = '[uplinks.slow]\ninterface = "wan2"\n'


@pytest.mark.parametrize("names", ["slow", "slow,wan2", "wan2,slow", "wan2", "198.51.100.10", "198.51.100.10,slow"])
def test_an_interface_that_a_table_has_is_that_uplink_by_whatever_it_is_called(names: str) -> None:
    assert found(words(names), TABLE) == {"slow": "wan2"}


def test_tables_that_swap_names_with_interfaces_are_what_they_say() -> None:
    text = '[uplinks.wan1]\ninterface = "wan2"\n[uplinks.wan2]\ninterface = "wan1"\n'
    assert found(words("wan1,wan2"), text) == {"wan1": "wan2", "wan2": "wan1"}
    assert found(words("192.0.2.10"), text) == {"wan2": "wan1"}


def test_the_inside_interface_may_be_an_uplink_too() -> None:
    assert found(words("10.1.0.1,eth1"), BY_INTERFACE) == {"eth1": "eth1"}


def test_uplinks_are_in_the_order_of_the_words() -> None:
    assert list(found(words("wan2,192.0.2.10"))) == ["wan2", "wan1"]


def test_an_interface_without_a_name_of_ours_is_nothing_to_an_address_elsewhere() -> None:
    state = KernelState((Link(7, "lo", True),), (own("127.0.0.1/8", 7),))
    assert found(words("127.0.0.1"), state=state) == {"lo": "lo"}


def test_the_pattern_of_a_network_is_what_a_rule_would_have() -> None:
    assert network_of(settings(BY_INTERFACE), HOST, ()).inside[0] == host("10.1.0.0/24")
