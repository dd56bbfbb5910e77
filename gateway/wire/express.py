"""The two messages that most connections consist of, recognised whole: SOCKS5 without authentication, CONNECT by IPv4.

`ServerNegotiation` reads these too, and everything else; this spares the common connection its machinery, which costs
about a tenth of what such a connection may cost altogether. What is not recognised here is not judged here.
"""

import struct

from gateway.address import Address
from gateway.wire.codec5 import METHOD_ANSWERS, encode_reply
from gateway.wire.constants import SOCKS5_VERSION, AddressType, Command, Method, Protocol
from gateway.wire.events import MethodChosen, Request
from gateway.wire.server import ServerNegotiation

__all__ = ["ANSWER", "GREETING", "connect_request", "encode_reply", "greeted"]

GREETING = bytes((SOCKS5_VERSION, 1, Method.NONE))
"""A greeting that offers "no authentication" alone (RFC 1928 §3)."""

ANSWER = METHOD_ANSWERS[Method.NONE]
"""What `GREETING` is answered with."""

_HEAD = bytes((SOCKS5_VERSION, Command.CONNECT, 0, AddressType.IPV4))
_unpack = struct.Struct("!IH").unpack_from
_LENGTH = len(_HEAD) + struct.calcsize("!IH")
_CONNECT = Command.CONNECT
_SOCKS5 = Protocol.SOCKS5
_new = tuple.__new__


def connect_request(message: bytes) -> Request | None:
    """The request, if the message is exactly a CONNECT to an IPv4 address (RFC 1928 §4)."""
    if len(message) != _LENGTH or not message.startswith(_HEAD):
        return None
    number, port = _unpack(message, len(_HEAD))
    # What Address(...) and Request(...) do, less a Python call each.
    return _new(Request, (_SOCKS5, _CONNECT, _new(Address, (4, number)), port, b"", None))


def greeted() -> ServerNegotiation:
    """A negotiation that has had `GREETING` and given `ANSWER`, for whoever goes on with another message."""
    negotiation = ServerNegotiation()
    negotiation.receive_data(GREETING)
    negotiation.next_event()
    negotiation.send(MethodChosen(Method.NONE))
    return negotiation
