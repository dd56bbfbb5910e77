"""The two messages that most connections consist of, recognised whole: SOCKS5 without authentication, CONNECT by IPv4.

`ServerNegotiation` reads these too, and everything else; this spares the common connection its machinery, which costs
about a tenth of what such a connection may cost altogether. What is not recognised here is not judged here.
"""

import struct
from functools import lru_cache

from gateway.address import Address, Endpoint
from gateway.wire.codec5 import METHOD_ANSWERS, encode_reply
from gateway.wire.constants import SOCKS5_VERSION, AddressType, Command, Method, Protocol, Reply5
from gateway.wire.events import MethodChosen, Reply, Request
from gateway.wire.server import ServerNegotiation

__all__ = ["ANSWER", "GREETING", "connect_request", "encode_reply", "granted", "greeted"]

GREETING = bytes((SOCKS5_VERSION, 1, Method.NONE))
"""A greeting that offers "no authentication" alone (RFC 1928 §3)."""

ANSWER = METHOD_ANSWERS[Method.NONE]
"""What `GREETING` is answered with."""

_HEAD = bytes((SOCKS5_VERSION, Command.CONNECT, 0, AddressType.IPV4))
_REQUEST = struct.Struct("!4s4sH")
_LENGTH, _unpack = _REQUEST.size, _REQUEST.unpack
_GRANTED = bytes((SOCKS5_VERSION, Reply5.SUCCEEDED, 0, AddressType.IPV4))
_pack = struct.Struct("!4sIH").pack
_CONNECT = Command.CONNECT
_SOCKS5 = Protocol.SOCKS5


def connect_request(message: bytes) -> Request | None:
    """The request, if the message is exactly a CONNECT to an IPv4 address (RFC 1928 §4)."""
    if len(message) != _LENGTH:
        return None
    head, packed, port = _unpack(message)
    if head != _HEAD:
        return None
    return Request(_SOCKS5, _CONNECT, _address(packed), port)


def granted(bound: Endpoint) -> bytes:
    """The answer to a request that was carried out by a socket that is bound so (RFC 1928 §6)."""
    (version, number), port = bound
    return _pack(_GRANTED, number, port) if version == 4 else encode_reply(Reply(Reply5.SUCCEEDED, bound))


@lru_cache(maxsize=1024)
def _address(packed: bytes) -> Address:
    return Address.from_packed(packed)


def greeted() -> ServerNegotiation:
    """A negotiation that has had `GREETING` and given `ANSWER`, for whoever goes on with another message."""
    negotiation = ServerNegotiation()
    negotiation.receive_data(GREETING)
    negotiation.next_event()
    negotiation.send(MethodChosen(Method.NONE))
    return negotiation
