"""Cards, addresses, routes and rules of one namespace, changed over netlink; the lab's own words for what it needs."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator

from pyroute2.iproute.linux import IPRoute

from tests.support.lab.topology import Card, Route
from tests.support.netns import Namespace

#: if.h
_LOWER_UP = 1 << 16
#: fib_rules.h: what matches vanishes without an answer
_BLACKHOLE = 6
_FIRST = 1
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Kernel:
    """One namespace's netlink; every method raises NetlinkError when the kernel does not do it."""

    def __init__(self, netlink: IPRoute) -> None:
        self._netlink = netlink

    def plug(self, card: str, far: Namespace, far_card: str) -> None:
        """Make a new card here and its far end in another namespace, and lay the cable between them (veth(4))."""
        with open(f"/run/netns/{far.name}") as there:
            self._netlink.link("add", ifname=card, kind="veth", peer={"ifname": far_card, "net_ns_fd": there.fileno()})

    def remove(self, card: str) -> None:
        """Take the card out; the one at the other end of its cable goes with it."""
        self._netlink.link("del", index=self._index(card))

    def switch(self, card: str, state: str) -> None:
        """Set a card ``up`` or ``down``."""
        self._netlink.link("set", index=self._index(card), state=state)

    def linked(self, card: str) -> bool:
        """Whether the card is up and its cable leads to another that is."""
        (link,) = self._netlink.get_links(self._index(card))
        return bool(link["flags"] & _LOWER_UP)

    def set_up(self, card: Card) -> None:
        """Give a card its addresses, and set it up."""
        four = [address for address in card.addresses if ":" not in address]
        six = [address for address in card.addresses if ":" in address]
        # of equals the kernel prefers the oldest IPv4 address, but the newest IPv6 one
        for address in (*four, *reversed(six)):
            self.add_address(card.name, address)
        self.switch(card.name, "up")

    def add_address(self, card: str, address: str) -> None:
        """Add an address, written with the length of its prefix."""
        self._change_address("add", card, address)

    def remove_address(self, card: str, address: str) -> None:
        """Remove an address."""
        self._change_address("del", card, address)

    def _change_address(self, change: str, card: str, address: str) -> None:
        interface = ipaddress.ip_interface(address)
        prefix = interface.network.prefixlen
        self._netlink.addr(change, index=self._index(card), address=str(interface.ip), prefixlen=prefix)

    def set_route(self, route: Route) -> None:
        """Add a route of the main table, or put it in the place of the same one."""
        self._netlink.route(
            "replace",
            family=_FAMILIES[":" in route.destination],
            dst=route.destination,
            gateway=route.via,
            oif=self._index(route.card),
            priority=route.metric,
        )

    def mute(self) -> None:
        """Let every packet that this host would send vanish, but for ARP and neighbour discovery; its links stay."""
        for family in _FAMILIES:
            self._netlink.rule("add", family=family, priority=_FIRST, action=_BLACKHOLE)

    def unmute(self) -> None:
        """Let it speak again."""
        for family in _FAMILIES:
            self._netlink.rule("del", family=family, priority=_FIRST, action=_BLACKHOLE)

    def _index(self, card: str) -> int:
        found = self._netlink.link_lookup(ifname=card)
        if not found:
            raise LookupError(f"there is no card {card}")
        return int(found[0])


@contextlib.contextmanager
def kernel(space: Namespace) -> Iterator[Kernel]:
    """The netlink of a namespace."""
    with space.inside():
        netlink = IPRoute()
    with netlink:
        yield Kernel(netlink)
