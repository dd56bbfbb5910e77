"""The cables of a virtual gateway: the lab of two networks with a switch in the place of its gateway.

The switch is a namespace. Each of its cards leads to a host of the lab, and a bridge joins it to a tap device, which is
the far end of the virtual machine's card. It has no addresses and passes on whatever comes, so that what a capture sees
leave by such a card is what the machine has sent.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from tests.support.lab import topology as lab_topology
from tests.support.lab.build import Lab
from tests.support.lab.build import lab as build_lab
from tests.support.lab.topology import GATEWAY, SPLIT_DNS, Cable, End, Host, Topology
from tests.support.netns import Namespace
from tests.support.vm.machine import Card

NAMES: Final[Mapping[str, str]] = MappingProxyType({"eth1": "inside", "wan1": "outside", "wan2": "outside2"})
"""What the appliance calls the cards of the lab's gateway."""

ADDRESSES: Final[Mapping[str, str]] = MappingProxyType(
    {"inside": "52:54:00:00:00:01", "outside": "52:54:00:00:00:02", "outside2": "52:54:00:00:00:03"}
)
"""The cards' own addresses."""

_QUIET = tuple((f"ipv6/conf/{which}/disable_ipv6", "1") for which in ("all", "default"))


def switched(topology: Topology, names: Mapping[str, str]) -> Topology:
    """The same with a switch for a gateway, whose cards are renamed; what is behind others than these is left out."""
    kept = {End(GATEWAY, card): End(GATEWAY, name) for card, name in names.items()}
    cables = tuple(
        Cable(kept.get(cable.left, cable.left), kept.get(cable.right, cable.right))
        for cable in topology.cables
        if kept.keys() & {cable.left, cable.right}
    )
    reached = {end.host for cable in cables for end in cable}
    hosts = tuple(
        _switch(host, names) if host.name == GATEWAY else host for host in topology.hosts if host.name in reached
    )
    return Topology(hosts, cables)


def _switch(gateway: Host, names: Mapping[str, str]) -> Host:
    cards = tuple(lab_topology.Card(names[card.name], ()) for card in gateway.cards if card.name in names)
    return replace(gateway, cards=cards, sysctls=_QUIET, routes=(), names=None, targets=False)


def cards(topology: Topology) -> tuple[Card, ...]:
    """The virtual machine's cards in a topology with a switch."""
    return tuple(Card(card.name, ADDRESSES[card.name], _tap(card.name)) for card in topology.host(GATEWAY).cards)


def _tap(card: str) -> str:
    return f"tap-{card}"


@contextlib.contextmanager
def switched_lab(names: Mapping[str, str] = NAMES, topology: Topology = SPLIT_DNS) -> Iterator[Lab]:
    """The lab with a switch, whose tap devices wait for a virtual machine."""
    with build_lab(switched(topology, names)) as made:
        for card in made.topology.host(GATEWAY).cards:
            _bridge(made.spaces[GATEWAY], card.name)
        yield made


def _bridge(switch: Namespace, card: str) -> None:
    bridge, tap = f"br-{card}", _tap(card)
    # without snooping it passes on what is for many, neighbour discovery among it, from the first packet
    switch.ip("link", "add", "name", bridge, "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
    switch.ip("tuntap", "add", "dev", tap, "mode", "tap")
    for port in (card, tap):
        switch.ip("link", "set", "dev", port, "master", bridge)
    for device in (bridge, tap):
        switch.ip("link", "set", "dev", device, "up")
