"""What the forwarder needs of the world: sockets, ways out, somebody who waits, and a log."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from gateway.config.rules import EgressWord
from gateway.dns.constants import Ede
from gateway.dns.servers import Server
from gateway.dns.zones import Zone
from gateway.policy.egress import Egress


class Token(Protocol):
    """An exchange with a name server; ``link`` is the outside's own, None at first."""

    link: Any


class Outside(Protocol):
    """Who sends to name servers. It calls back `Exchanges.heard` and `Exchanges.failed`."""

    def datagram(self, token: Token, server: Server, egress: Egress | None, message: bytes) -> None:
        """From a port that can not be guessed, by this way out only. Raises OSError."""

    def stream(self, token: Token, server: Server, egress: Egress | None, message: bytes) -> None:
        """By TCP, or by TLS if the server has a name for it."""

    def release(self, token: Token) -> None:
        """Hear no more for it."""


class Way(NamedTuple):
    """How a question leaves: by this way out; by the kernel's routes; or, if ``blocked`` says why, not at all."""

    egress: Egress | None
    blocked: str = ""


class Ways(Protocol):
    """Who knows the ways out of this host now."""

    def way(self, zone: Zone, version: int, words: Sequence[EgressWord]) -> Way:
        """For servers of a zone with addresses of this version (4, 6).

        ``words`` are the ways of the session for whose sake it is asked; they count where the zone has none of its own.
        """


class Asker(Protocol):
    """Somebody who waits for an answer; one who has gone meanwhile takes it silently."""

    is_stream: bool

    def reply(self, data: bytes) -> None:
        """The whole message."""


class Ours(str):
    """Why an exchange failed, where it is a limit of this host and no fault of a name server."""

    __slots__ = ()


class Moved(str):
    """Why an exchange is to be begun anew: its way, or its socket, is lost, which says nothing about the server."""

    __slots__ = ()


class Failure(NamedTuple):
    """Why there is no answer, or not the one that a name server gave."""

    rcode: int
    ede: Ede | int
    text: str


class Events(Protocol):
    """Who is told what an administrator may want to know."""

    def trouble(self, text: str) -> None:
        """Something is wrong."""

    def provoked(self, kind: str, text: str) -> None:
        """Something is wrong that clients or name servers can cause as often as they like.

        ``kind`` says what such lines are about, in a few words; there are few kinds.
        """

    def line(self, text: str) -> None:
        """Something has changed."""
