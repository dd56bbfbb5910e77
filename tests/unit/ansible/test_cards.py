"""The filters of role gateway over what ip-address(8) says of a host."""

from typing import Any

import pytest

from tests.support.roles import _filters

FILTERS = _filters()


def card(name: str, *addresses: str) -> dict[str, Any]:
    """As ip-address(8) has it in JSON."""
    parts = [text.split("/") for text in addresses]
    entries = [{"local": address, "prefixlen": int(length)} for address, length in parts]
    return {"ifindex": 2, "ifname": name, "flags": ["UP"], "addr_info": [{"family": "inet", **one} for one in entries]}


def overlaps(inside: dict[str, Any], *uplinks: dict[str, Any]) -> list[str]:
    names = [one["ifname"] for one in uplinks]
    found: list[str] = FILTERS["gateway_overlapping_cards"]([inside, *uplinks], inside["ifname"], names)
    return found


def test_cards_are_known_by_their_own_names() -> None:
    host = [card("eth1"), card("eth0.100"), card("wg-out"), {}]
    assert FILTERS["gateway_missing_cards"](host, ["eth1", "eth0.100", "wg-out"]) == []
    assert FILTERS["gateway_missing_cards"](host, ["eth1", "wan9", "eth2"]) == ["wan9", "eth2"]


def test_addresses_and_networks_leave_link_local_ones_out() -> None:
    host = [card("eth1", "10.1.0.1/24", "10.1.0.2/24", "10.2.0.1/16", "fd00:1::1/64", "fe80::1/64"), card("eth2")]
    assert FILTERS["gateway_card_addresses"](host, "eth1") == ["10.1.0.1", "10.1.0.2", "10.2.0.1", "fd00:1::1"]
    assert FILTERS["gateway_card_networks"](host, "eth1") == ["10.1.0.0/24", "10.2.0.0/16", "fd00:1::/64"]


@pytest.mark.parametrize(
    ("inside", "outside", "said"),
    [
        ("10.1.0.1/24", "10.1.0.2/24", ["10.1.0.0/24 of eth1 and 10.1.0.0/24 of wan1"]),
        ("10.1.0.1/24", "10.9.9.9/8", ["10.1.0.0/24 of eth1 and 10.0.0.0/8 of wan1"]),
        ("10.1.0.1/8", "10.9.9.9/32", ["10.0.0.0/8 of eth1 and 10.9.9.9/32 of wan1"]),
        ("fd00:1::1/48", "fd00:1:0:7::1/64", ["fd00:1::/48 of eth1 and fd00:1:0:7::/64 of wan1"]),
        ("10.1.0.1/24", "10.1.1.1/24", []),
        ("10.1.0.1/24", "fd00:1::1/64", []),
        ("fe80::1/64", "fe80::2/64", []),
    ],
)
def test_networks_on_both_sides_are_found(inside: str, outside: str, said: list[str]) -> None:
    assert overlaps(card("eth1", inside), card("wan1", outside)) == said


def test_uplinks_may_share_a_network() -> None:
    assert overlaps(card("eth1", "10.1.0.1/24"), card("wan1", "192.0.2.1/24"), card("wan2", "192.0.2.2/24")) == []


def test_every_pair_is_named() -> None:
    inside = card("eth1", "10.1.0.1/24", "fd00:1::1/64")
    assert len(overlaps(inside, card("wan1", "10.1.0.9/24"), card("wan2", "10.1.0.8/25", "fd00:1::9/64"))) == 3
