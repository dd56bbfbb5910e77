"""What the wire layer tells the session, and what the session tells it: frozen values."""

from typing import NamedTuple

import msgspec

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


class Request(msgspec.Struct, frozen=True):
    """In: what the client wants. Answer with `Reply`. For our own client role it says what to ask a server for.

    ``host`` is an address, or the bytes of a name exactly as the client sent them; ``user`` is SOCKS4's USERID;
    ``credentials`` are those of an HTTP ``Proxy-Authorization: Basic`` header. The server role gives those of SOCKS5
    as `Credentials` before the request; the client role takes them here for both.

    A Struct: the data path makes one a connection and asks it much, which costs half of what it does of a named tuple.
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


class Outgoing(NamedTuple):
    """Client role, in: these bytes are to be sent to the server now."""

    data: bytes

    def __repr__(self) -> str:
        """Without the bytes: they may hold a password."""
        return f"Outgoing({len(self.data)} bytes)"


class Listening(NamedTuple):
    """Client role, in: the first reply to a BIND; the server listens at ``bound``, `Established` or `Refused` follows.

    The address 0.0.0.0 stands for that of the server itself (``spec/socks4.md`` §1.4).
    """

    bound: Endpoint


class Established(NamedTuple):
    """Client role, in: the request was granted; whatever follows belongs to the two ends.

    ``bound`` is what the server said: for CONNECT its outgoing socket, for BIND the caller, for UDP ASSOCIATE where
    datagrams go to. It is `UNSPECIFIED` where the protocol says nothing (HTTP).
    """

    bound: Endpoint


class Refused(NamedTuple):
    """Client role, in: the server refused; ``code`` in the terms of SOCKS5, ``fact`` what the server said."""

    code: Reply5
    fact: str


class Datagram(NamedTuple):
    """A datagram between a client and the relay (RFC 1928 §7).

    ``host`` is an address, or the bytes of a name exactly as they came; ``frag`` is 0 for a whole datagram.
    """

    frag: int
    host: Address | bytes
    port: int
    data: bytes
