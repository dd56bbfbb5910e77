"""The header of a SOCKS5 UDP datagram, both directions (RFC 1928 §7).

One datagram is one message, so there is no state, and nobody to answer: what can not be understood is dropped.
"""

import struct

from gateway.address import Address
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.codec5 import encode_target, parse_target, target_end
from gateway.wire.constants import ATYP_AT, FRAG_AT
from gateway.wire.events import Datagram

_HEAD = struct.Struct("!xxB")


def parse(datagram: bytes) -> Datagram:
    """Header and payload; a payload may be empty, FRAG and port are passed up as they are.

    RSV is not looked at, as in a request. Raises RemoteProtocolError, without a reply, for a datagram that is cut
    short, an unknown ATYP, and an empty name.
    """
    end = target_end(datagram, ATYP_AT)
    if not end:
        raise RemoteProtocolError(f"unknown address type {datagram[ATYP_AT]} in a SOCKS5 datagram")
    if len(datagram) < end:
        raise RemoteProtocolError("a SOCKS5 datagram is shorter than its header")
    host, port = parse_target(datagram, ATYP_AT, end)
    if not host:
        raise RemoteProtocolError("the host name in a SOCKS5 datagram is empty")
    return Datagram(datagram[FRAG_AT], host, port, datagram[end:])


def build(host: Address | bytes, port: int, data: bytes, frag: int = 0) -> bytes:
    """A datagram. Raises LocalProtocolError for a name, a port or a FRAG that its field can not hold."""
    try:
        return _HEAD.pack(frag) + encode_target(host, port) + data
    except struct.error:
        raise LocalProtocolError(f"port {port} or FRAG {frag} is out of range") from None
