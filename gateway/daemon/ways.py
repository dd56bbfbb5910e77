"""How questions to name servers leave: by their zone's ways out, strictly, as sessions do; by nothing else.

An inside zone leaves by the inside's interface, with an address of it. A zone that names no way of its own leaves by
that of the session for whose sake it is asked, else by those of ``[external]``.
"""

from collections.abc import Sequence

from gateway.address import Address
from gateway.config.rules import EgressWord
from gateway.config.settings import Settings
from gateway.daemon.messages import Network
from gateway.dns.outside import Way
from gateway.dns.zones import Zone
from gateway.policy.egress import Egress, Route, Standing
from gateway.policy.router import Router

INSIDE = "inside"


class ZoneWays:
    """The ways out at this moment; `gateway.dns.outside.Ways`."""

    def __init__(self, settings: Settings, network: Network) -> None:
        self._internal = settings.internal.interface
        self._multihomed = settings.multihomed
        self._router = Router(None, ())
        self._router.update(network.uplinks)
        self._inside: dict[int, Egress] = {}
        #: what was found out already: most questions leave as the one before
        self._found: dict[tuple[Zone, int, tuple[EgressWord, ...]], Way] = {}
        for address, index in reversed(network.listen):
            if index:
                self._inside[address.version] = Egress(INSIDE, self._internal, address, index)

    def way(self, zone: Zone, version: int, words: Sequence[EgressWord]) -> Way:
        """See `gateway.dns.outside.Ways`."""
        key = (zone, version, tuple(words))
        way = self._found.get(key)
        if way is None:
            way = self._found[key] = self._way(zone, version, words)
        return way

    def _way(self, zone: Zone, version: int, words: Sequence[EgressWord]) -> Way:
        ways = zone.ways if zone.keeps_way or not words else tuple(words)
        if not ways:
            return self._unnamed(zone)
        if self._internal and ways == (self._internal,):
            return self._by_inside(version)
        choice = self._router.choose(Route(ways, f"zone {zone.text}"), version)
        return Way(choice.egress, "" if choice.egress is not None else choice.reason)

    def _unnamed(self, zone: Zone) -> Way:
        """Where nothing says how, a gateway with several ways has none, and another host has its routes."""
        if self._multihomed and not zone.private:
            return Way(None, "no way out is named: write its interface, or [external] interface")
        return Way(None)

    def _by_inside(self, version: int) -> Way:
        egress = self._inside.get(version)
        return Way(egress, "" if egress is not None else f"{self._internal} has no IPv{version} address now")

    def is_usable(self, egress: Egress) -> bool:
        """Whether this way out is still there: the same interface, with the same address."""
        if egress == self._inside.get(egress.source.version):
            return True  # told by all of it, as an uplink may have any name
        uplink = self._router.uplink_of(egress.uplink)
        if uplink is None or uplink.standing is Standing.DOWN:
            return False
        return uplink.index == egress.ifindex and egress.source in uplink.sources


def prefers_ipv6(own: Sequence[Address]) -> bool:
    """Whether this host has a global IPv6 address (2000::/3, RFC 4291 §2.4), so that such destinations may be tried."""
    return any(address.version == 6 and address.number >> 125 == 1 for address in own)
