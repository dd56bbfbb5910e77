"""A socket's way out, strictly: it leaves by the device and with the source address of an `Egress`, or fails.

Both are needed. The address alone would be sent by whatever device the routes prefer at the moment; the device alone
would send whatever address it has by then.
"""

import socket

from gateway.net.sockets import Socket
from gateway.policy.egress import Egress
from gateway.session.texts import TEXTS

_SOCKET, _BINDTODEVICE = int(socket.SOL_SOCKET), int(socket.SO_BINDTODEVICE)
_BINDTOIFINDEX = 62
"""asm-generic/socket.h, Linux 5.0; the socket module of Python 3.11 has no name for it, nor for the next."""

_IP, _BIND_ADDRESS_NO_PORT = int(socket.IPPROTO_IP), 24
"""linux/in.h."""


def bind_to(sock: Socket | socket.socket, egress: Egress) -> None:
    """Tie a new TCP or UDP socket of the family of ``egress.source`` to that device and address, before connect(2).

    The port is chosen at connect(2), among those that are free towards that destination (IP_BIND_ADDRESS_NO_PORT,
    ip(7); an IPv6 socket takes it too): else every connection in progress would use up one port of the source address.
    The device is told by its index, which it had when it had the address: names can be exchanged in between, and then
    the address would be sent by the other one. A process without privileges may do that once (Linux 5.7).

    Raises OSError for an address that this host does not have; a device that has gone makes connect(2) fail.
    """
    if egress.ifindex:
        sock.setsockopt(_SOCKET, _BINDTOIFINDEX, egress.ifindex)
    else:  # index 0 would mean any device
        sock.setsockopt(_SOCKET, _BINDTODEVICE, egress.device.encode())
    sock.setsockopt(_IP, _BIND_ADDRESS_NO_PORT, 1)
    sock.bind((TEXTS[egress.source], 0))
