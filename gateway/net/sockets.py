"""Socket addresses to our values and back, and sockets as the data path wants them."""

import socket
from typing import Any

from gateway.address import Address, Endpoint, plain

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def endpoint_of(name: tuple[Any, ...]) -> Endpoint:
    """From what ``getsockname``, ``getpeername`` and ``accept`` give; an IPv4-mapped address becomes IPv4."""
    if len(name) == 2:
        return Endpoint(Address(4, int.from_bytes(socket.inet_aton(name[0]), "big")), name[1])
    packed = socket.inet_pton(socket.AF_INET6, name[0].partition("%")[0])
    return Endpoint(plain(Address(6, int.from_bytes(packed, "big"))), name[1])


def outgoing(endpoint: Endpoint) -> socket.socket:
    """A non-blocking TCP socket for this destination; raises OSError."""
    sock = socket.socket(FAMILY[endpoint.address.version], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def listening(endpoint: Endpoint, backlog: int, shared: bool) -> socket.socket:
    """A non-blocking listening TCP socket; ``shared`` lets several bind to one port (SO_REUSEPORT). Raises OSError.

    TCP_NODELAY and SO_KEEPALIVE are inherited by the accepted sockets (Linux), which saves their setting each time.
    """
    family = FAMILY[endpoint.address.version]
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((str(endpoint.address), endpoint.port))
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock
