"""Socket addresses to our values and back, and sockets as the data path wants them."""

import os
import socket
from functools import lru_cache
from typing import Any

from gateway.address import Address, Endpoint, plain

_STREAM = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
_FAMILY = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
_SOCKET, _OOBINLINE = int(socket.SOL_SOCKET), int(socket.SO_OOBINLINE)
_TCP, _NODELAY = int(socket.IPPROTO_TCP), int(socket.TCP_NODELAY)


Socket = socket.SocketType
"""The C socket type itself: the data path needs none of what ``socket.socket`` adds, and makes two a session."""

_inet_aton = socket.inet_aton
_number = int.from_bytes
_new = tuple.__new__
"""``_new(Kind, (...))`` is ``Kind(...)`` for a named tuple, less a Python call."""

REMEMBERED = 1024
"""How many addresses are kept beside their texts: the clients come again, and so do the ways out."""


@lru_cache(maxsize=REMEMBERED)
def address_of(text: str) -> Address:
    """From the text of a socket name; an IPv4-mapped address becomes IPv4, a zone is dropped."""
    try:
        return _new(Address, (4, _number(_inet_aton(text), "big")))
    except OSError:
        packed = socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
        return plain(Address(6, _number(packed, "big")))


def endpoint_of(name: tuple[Any, ...]) -> Endpoint:
    """From what ``getsockname``, ``getpeername`` and ``accept`` give."""
    return _new(Endpoint, (address_of(name[0]), name[1]))


def text_of(name: tuple[Any, ...]) -> str:
    """The same as `Endpoint` writes it, without a detour for IPv4."""
    return f"{name[0]}:{name[1]}" if len(name) == 2 else str(endpoint_of(name))


def outgoing(endpoint: Endpoint) -> Socket:
    """A non-blocking TCP socket for this destination; raises OSError. `hurry` is left to who sends more than once.

    Urgent bytes stay in their place in the stream on both sides (SO_OOBINLINE, `spec/socks4.md` §1.6).
    """
    sock = Socket(_FAMILY[endpoint.address.version], _STREAM)
    sock.setsockopt(_SOCKET, _OOBINLINE, 1)
    return sock


def hurry(sock: Socket) -> None:
    """From now on small segments do not wait for the acknowledgement of others (TCP_NODELAY, tcp(7))."""
    sock.setsockopt(_TCP, _NODELAY, 1)


def accepted(listener: socket.socket, family: int) -> tuple[Socket, Any]:
    """A client's non-blocking socket and its name. Raises BlockingIOError when nobody waits, and other OSErrors."""
    # What socket.accept() does first; the rest of it makes a socket.socket.
    fd, name = listener._accept()  # type: ignore[attr-defined]
    sock = Socket(family, _STREAM, 0, fd)
    os.set_blocking(fd, False)  # as sock.setblocking does, at half the cost
    return sock, name


def inherited(listener: socket.socket) -> None:
    """Set what the accepted sockets inherit (Linux), which saves their setting. Raises OSError."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def listening(endpoint: Endpoint, backlog: int, shared: bool, device: str = "", scope: int = 0) -> socket.socket:
    """A non-blocking listening TCP socket; ``shared`` lets several bind to one port (SO_REUSEPORT). Raises OSError.

    With a backlog of 0 it is bound only, and nobody can connect yet. With ``device`` only what comes in by that
    interface finds it (SO_BINDTODEVICE, socket(7)); ``scope`` is the interface's index for a link-local address.
    """
    family = _FAMILY[endpoint.address.version]
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        inherited(sock)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        where = (str(endpoint.address), endpoint.port)
        sock.bind((*where, 0, scope) if scope else where)
        if backlog:
            sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock
