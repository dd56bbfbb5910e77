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


DATAGRAM_BUFFER = 1 << 20
"""Bytes, as the kernel counts them: more than a thousand small datagrams wait, or are on their way."""

_RCVBUF = int(socket.SO_RCVBUF), 33
_SNDBUF = int(socket.SO_SNDBUF), 32
"""With ``SO_RCVBUFFORCE`` and ``SO_SNDBUFFORCE`` of asm-generic/socket.h."""

_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_OMIT = 5
"""linux/in.h and linux/in6.h."""


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


def datagram_listening(endpoint: Endpoint, shared: bool, device: str = "", scope: int = 0) -> socket.socket:
    """A non-blocking UDP socket that takes queries; the arguments are those of `listening`. Raises OSError."""
    family = _FAMILY[endpoint.address.version]
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _ignore_path_mtu(sock)
        for option in (_RCVBUF, _SNDBUF):
            _enlarge(sock, *option)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        where = (str(endpoint.address), endpoint.port)
        sock.bind((*where, 0, scope) if scope else where)
    except OSError:
        sock.close()
        raise
    return sock


def _ignore_path_mtu(sock: socket.socket) -> None:
    """Never believe what ICMP says of the path's MTU.

    Who forges such a message makes us send fragments, and can then put another second fragment in the place of ours:
    the first one has all that a stub checks. Replies are small enough for any path (RFC 9715).
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_OMIT)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_OMIT)


def _enlarge(sock: socket.socket, option: int, forced: int) -> None:
    """Make a buffer large enough for a burst; beyond net.core.rmem_max and wmem_max it takes CAP_NET_ADMIN."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, forced, DATAGRAM_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, option, DATAGRAM_BUFFER)
