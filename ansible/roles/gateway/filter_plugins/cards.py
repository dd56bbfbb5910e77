"""What a host says of its network cards, for the tasks that look before anything is touched.

Filters of Ansible over the answer of ``ip -json address`` (ip-address(8)), which asks the kernel itself; the gathered
facts come from /sys, which in some containers shows the cards of another host. The filters run on the controller, with
its Python, and must not need anything beside the standard library. Link-local networks are on every card and say
nothing, so they are left out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Cards = Sequence[Mapping[str, Any]]


def card_names(cards: Cards) -> list[str]:
    """The names of all cards."""
    return [card["ifname"] for card in cards if "ifname" in card]


def missing_cards(cards: Cards, names: Iterable[str]) -> list[str]:
    """Those of these names that no card of the host has."""
    there = card_names(cards)
    return [name for name in names if name not in there]


def card_addresses(cards: Cards, name: str) -> list[str]:
    """The addresses of a card, such as ``10.1.0.1`` and ``fd00:1::1``."""
    return [str(interface.ip) for interface in _interfaces(cards, name)]


def card_networks(cards: Cards, name: str) -> list[str]:
    """The networks that a card is on, each once, such as ``10.1.0.0/24``."""
    return list(dict.fromkeys(str(interface.network) for interface in _interfaces(cards, name)))


def overlapping_cards(cards: Cards, inside: str, uplinks: Iterable[str]) -> list[str]:
    """Each network of the inside that shares addresses with one of an uplink, in words."""
    return [
        f"{mine.network} of {inside} and {theirs.network} of {uplink}"
        for uplink in uplinks
        for mine in _interfaces(cards, inside)
        for theirs in _interfaces(cards, uplink)
        if mine.version == theirs.version and mine.network.overlaps(theirs.network)
    ]


def _interfaces(cards: Cards, name: str) -> list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
    """The addresses of a card, with the lengths of their networks."""
    entries = [entry for card in cards if card.get("ifname") == name for entry in card.get("addr_info", ())]
    found = [ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}") for entry in entries if "local" in entry]
    return [interface for interface in found if not interface.is_link_local]


class FilterModule:
    """How Ansible finds them."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """By the names that templates use."""
        return {
            "gateway_card_names": card_names,
            "gateway_missing_cards": missing_cards,
            "gateway_card_addresses": card_addresses,
            "gateway_card_networks": card_networks,
            "gateway_overlapping_cards": overlapping_cards,
        }
