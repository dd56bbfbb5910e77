"""A zone at work: what is known of its names, how its name servers are, and what they were asked for."""

from collections.abc import Callable

from gateway.dns.cache import Cache
from gateway.dns.constants import A
from gateway.dns.servers import Servers
from gateway.dns.zones import View, Zone


class Serving:
    """One zone; it outlives a reload that does not change the zone."""

    __slots__ = ("cache", "flying", "forwarded", "hits", "inside", "servers", "zone")

    def __init__(self, zone: Zone, cache: Cache, servers: Servers, views: tuple[View, ...]) -> None:
        self.cache = cache
        self.servers = servers
        #: questions that the cache answered, and that went to a name server
        self.hits = self.forwarded = 0
        #: those that are on their way just now
        self.flying = 0
        self.adopt(zone, views)

    def adopt(self, zone: Zone, views: tuple[View, ...]) -> None:
        """The same zone as it was loaded anew."""
        self.zone = zone
        self.inside = _speaks_for(zone, views)


def _speaks_for(zone: Zone, views: tuple[View, ...]) -> Callable[[bytes], bool]:
    """Whether a name is the zone's servers' to answer, in each view that has the zone: its cache serves them all
    (field-cases D2, D11). What is written in the zone's local names is not.
    """
    having = tuple(view for view in views if zone in view.zones)

    def inside(name: bytes) -> bool:
        return all(view.zone_of(name) is zone for view in having) and zone.local.find(name, A) is None

    return inside
