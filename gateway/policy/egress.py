"""Ways out: what is known of each uplink, and the one that a connection takes; values only.

A connection with an `Egress` leaves by that device with that source address, or fails.
"""

import enum
from dataclasses import dataclass
from typing import NamedTuple

from gateway.address import Address, Endpoint
from gateway.config.rules import EgressWord, RouteRule


class Standing(enum.Enum):
    """Whether an uplink can be used."""

    UP = "up"
    #: it works again, but its failback delay is not over: used where nothing better is
    SETTLING = "settling"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Uplink:
    """An uplink now."""

    #: as ``sockd.route``, ``via=`` and the log call it
    name: str
    #: the kernel's name of its interface
    device: str
    standing: Standing
    #: why it stands so, in words that end the sentence "wan1 is down: ..."
    cause: str
    #: its addresses; of each family the preferred one first
    sources: tuple[Address, ...] = ()
    #: the interface's index when it had these: names can move from one interface to another meanwhile
    index: int = 0


class Egress(NamedTuple):
    """The way out of one connection, strictly."""

    #: the uplink's name
    uplink: str
    device: str
    source: Address
    #: the index of the device when it had the source, as a name can move to another one; 0: not known
    ifindex: int = 0


class Route(NamedTuple):
    """The line, or setting, that names the ways out for a destination."""

    egress: tuple[EgressWord, ...]
    #: ``sockd.route:3``, ``via= of sockd.conf:17`` or ``[external]``
    origin: str
    rule: RouteRule | None = None


class Choice(NamedTuple):
    """What became of a `Route` at this moment: the way out, or None, and why in words."""

    egress: Egress | None
    reason: str


class Hop(NamedTuple):
    """A checked endpoint, and the way out to it: None leaves that to the kernel's own routes."""

    endpoint: Endpoint
    egress: Egress | None = None
    #: the reason of the `Choice`
    way: str = ""
