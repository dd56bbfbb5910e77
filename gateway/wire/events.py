"""What the wire layer tells the session, and what the session tells it: frozen values."""

from typing import NamedTuple

from gateway.address import UNSPECIFIED, Address, Endpoint
from gateway.wire.constants import Command, Method, Protocol, Reply5


class NeedData:
    """The only value of this class is `NEED_DATA`: nothing whole has arrived yet."""

    def __repr__(self) -> str:
        return "NEED_DATA"


NEED_DATA = NeedData()


class MethodsOffered(NamedTuple):
    """In: a SOCKS5 greeting. Answer with `MethodChosen`."""

    methods: bytes


class MethodChosen(NamedTuple):
    """Out: the method selected from those that were offered; `Method.UNACCEPTABLE` ends the negotiation."""

    method: Method


class Credentials(NamedTuple):
    """In: a user and password, by RFC 1929. Answer with `CredentialsChecked`."""

    user: bytes
    password: bytes

    def __repr__(self) -> str:
        """Without the password, so that no traceback or log ever shows it."""
        return f"Credentials(user={self.user!r})"


class CredentialsChecked(NamedTuple):
    """Out: whether the credentials hold; False ends the negotiation (RFC 1929 §2)."""

    accepted: bool


class Request(NamedTuple):
    """In: what the client wants. Answer with `Reply`.

    ``host`` is an address, or the bytes of a name exactly as the client sent them; ``user`` is SOCKS4's USERID;
    ``credentials`` are those of an HTTP ``Proxy-Authorization: Basic`` header.
    """

    protocol: Protocol
    command: Command
    host: Address | bytes
    port: int
    user: bytes = b""
    credentials: Credentials | None = None


class Reply(NamedTuple):
    """Out: the answer to a `Request`, in whichever protocol it came.

    ``reply4`` replaces the SOCKS4 code that would follow from ``code`` (92 and 93 have no SOCKS5 counterpart).
    ``challenge`` makes an HTTP failure a 407 that asks for Basic credentials.
    """

    code: Reply5
    bound: Endpoint = UNSPECIFIED
    reply4: int | None = None
    challenge: bool = False
