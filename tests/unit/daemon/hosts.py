"""A gateway's settings from the text of its file, and a host that has three cards."""

from gateway.address import Address
from gateway.config.settings import Settings, parse_settings
from gateway.netlink.model import KernelState, Link
from tests.support.rules import address
from tests.unit.netlink.states import own, route

INSIDE, WAN1, WAN2 = 1, 2, 3
LINKS = (Link(INSIDE, "eth1", True), Link(WAN1, "wan1", True), Link(WAN2, "wan2", True))
ADDRESSES = (
    own("10.1.0.1/24", INSIDE),
    own("fd00::1/64", INSIDE),
    own("fe80::1/64", INSIDE),
    own("192.0.2.10/24", WAN1),
    own("2001:db8:1::10/64", WAN1),
    own("198.51.100.10/24", WAN2),
)
HOST = KernelState(LINKS, ADDRESSES, (route("0.0.0.0/0", WAN1, "192.0.2.1"),))
"""Inside behind eth1, two uplinks of which the first has IPv6 too."""


def settings(text: str = "") -> Settings:
    """From TOML, as the daemon reads it."""
    return parse_settings(text, "gateway.toml")


def addresses(*texts: str) -> tuple[Address, ...]:
    """From their texts."""
    return tuple(map(address, texts))
