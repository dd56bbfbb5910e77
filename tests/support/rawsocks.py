"""A client's side of SOCKS4, SOCKS4A, SOCKS5 and HTTP CONNECT, as bytes on a real socket.

It shares no code with gateway.wire on purpose: an error there must not hide the same error here. It checks nothing by
itself and can send anything, whole or in pieces; the tests say what must come back.
"""

import ipaddress
import socket
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

CONNECT, BIND, UDP_ASSOCIATE = 1, 2, 3
NO_AUTH, GSSAPI, PASSWORD = 0x00, 0x01, 0x02
METHOD_CHOSEN = b"\x05\x00"
LINGER_NONE = struct.pack("ii", 1, 0)


class Wire:
    """One TCP connection, read by counts; a context manager that closes it. Times in seconds."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", source: str = "", timeout: float = 15.0) -> None:
        self.socket = socket.create_connection((host, port), timeout, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def name(self) -> tuple[str, int]:
        """Our own address and port."""
        host, port = self.socket.getsockname()[:2]
        return host, port

    def send(self, data: bytes) -> None:
        """All of it, in one segment when it is small."""
        self.socket.sendall(data)

    def send_slowly(self, data: bytes, pause: float = 0.002) -> None:
        """Byte by byte, each in a segment of its own."""
        for value in data:
            self.socket.sendall(bytes([value]))
            time.sleep(pause)

    def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes, or fewer when the peer ended before. Raises TimeoutError, ConnectionResetError."""
        data = b""
        while len(data) < count and (piece := self.socket.recv(count - len(data))):
            data += piece
        return data

    def read_to_end(self) -> bytes:
        """Everything up to the peer's FIN."""
        data = b""
        while piece := self.socket.recv(1 << 16):
            data += piece
        return data

    def read_head(self) -> bytes:
        """Up to and with the empty line that ends an HTTP header, not one byte more."""
        data = b""
        while not data.endswith(b"\r\n\r\n") and (piece := self.socket.recv(1)):
            data += piece
        return data

    def end_of_peer(self) -> str:
        """How the peer ended without sending more: ``fin`` or ``reset``; ``data`` when it sent something instead."""
        try:
            return "data" if self.socket.recv(1) else "fin"
        except ConnectionResetError:
            return "reset"

    def finish(self) -> None:
        """Send our FIN; reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        self.socket.close()


# --- what a client sends -------------------------------------------------------------------------------------------


def socks4(host: str, port: int, user: bytes = b"", command: int = CONNECT) -> bytes:
    """A SOCKS4 request."""
    return bytes([4, command]) + port.to_bytes(2, "big") + socket.inet_aton(host) + user + b"\0"


def socks4a(name: bytes, port: int, user: bytes = b"", command: int = CONNECT) -> bytes:
    """A SOCKS4A request: address 0.0.0.1, the name after the user id."""
    return socks4("0.0.0.1", port, user, command) + name + b"\0"


def greeting(*methods: int) -> bytes:
    """A SOCKS5 greeting that offers these methods."""
    return bytes([5, len(methods), *methods])


def password(user: bytes, secret: bytes) -> bytes:
    """The message of RFC 1929."""
    return bytes([1, len(user)]) + user + bytes([len(secret)]) + secret


def socks5(host: str | bytes, port: int, command: int = CONNECT) -> bytes:
    """A SOCKS5 request; text is an address, bytes are a name."""
    return bytes([5, command, 0]) + _address(host) + port.to_bytes(2, "big")


def _address(host: str | bytes) -> bytes:
    if isinstance(host, bytes):
        return bytes([3, len(host)]) + host
    packed = ipaddress.ip_address(host).packed
    return bytes([1 if len(packed) == 4 else 4]) + packed


def http(authority: str | bytes, *fields: str) -> bytes:
    """A CONNECT request for this authority, with a Host field that repeats it unless ``fields`` has another."""
    target = authority.encode() if isinstance(authority, str) else authority
    given = [field.encode() for field in fields]
    if not any(field.lower().startswith("host:") for field in fields):
        given.insert(0, b"Host: " + target)
    return b"\r\n".join([b"CONNECT " + target + b" HTTP/1.1", *given, b"", b""])


# --- what comes back -----------------------------------------------------------------------------------------------


class Reply4(NamedTuple):
    """The eight bytes of SOCKS4."""

    version: int
    code: int
    port: int
    host: str


class Reply5(NamedTuple):
    """A SOCKS5 reply; ``code`` is -1 when the connection ended before it was whole."""

    version: int
    code: int
    host: str
    port: int


def read_reply4(wire: Wire) -> Reply4:
    """The next eight bytes; ``code`` is -1 when the connection ended before."""
    data = wire.read(8)
    if len(data) < 8:
        return Reply4(-1, -1, 0, "")
    return Reply4(data[0], data[1], int.from_bytes(data[2:4], "big"), socket.inet_ntoa(data[4:]))


def read_reply5(wire: Wire) -> Reply5:
    """The next whole reply, of whichever address type."""
    head = wire.read(4)
    size = {1: 4, 4: 16}.get(head[3], 0) if len(head) == 4 else 0
    rest = wire.read(size + 2) if size else b""
    if not size or len(rest) < size + 2:
        return Reply5(-1, -1, "", 0)
    return Reply5(head[0], head[1], str(ipaddress.ip_address(rest[:size])), int.from_bytes(rest[size:], "big"))


def read_status(wire: Wire) -> int:
    """The status of the next HTTP header, whose empty line was read too; -1 when there is none."""
    words = wire.read_head().split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/1.") else -1


# --- the four protocols, one interface -----------------------------------------------------------------------------


class Dialect(NamedTuple):
    """One way to ask for 127.0.0.1: the messages up to the reply, how to read it, and the codes of four outcomes."""

    title: str
    #: of the target's port: what the client sends, one message a step
    steps: Callable[[int], tuple[bytes, ...]]
    reply: Callable[[Wire], int]
    granted: int
    not_allowed: int
    refused: int
    unreachable: int

    def ask(self, wire: Wire, port: int) -> int:
        """Politely, each step after the answer to the one before; returns the reply's code, -1 when none came."""
        *before, request = self.steps(port)
        for step in before:
            wire.send(step)
            if wire.read(2) != METHOD_CHOSEN:
                return -1
        wire.send(request)
        return self.reply(wire)

    def opening(self, port: int) -> bytes:
        """All that the client sends up to the reply, for those who send it at once."""
        return b"".join(self.steps(port))

    def answer(self, wire: Wire) -> int:
        """The answers to a whole `opening`: the reply's code, -1 when one is missing."""
        expected = METHOD_CHOSEN * (len(self.steps(0)) - 1)
        return self.reply(wire) if wire.read(len(expected)) == expected else -1


def _code4(wire: Wire) -> int:
    return read_reply4(wire).code


def _code5(wire: Wire) -> int:
    return read_reply5(wire).code


DIALECTS = (
    Dialect("SOCKS4", lambda port: (socks4("127.0.0.1", port, b"fred"),), _code4, 90, 91, 91, 91),
    Dialect("SOCKS4A", lambda port: (socks4a(b"localhost", port, b"fred"),), _code4, 90, 91, 91, 91),
    Dialect("SOCKS5 by address", lambda port: (greeting(NO_AUTH), socks5("127.0.0.1", port)), _code5, 0, 2, 5, 4),
    Dialect("SOCKS5 by name", lambda port: (greeting(NO_AUTH), socks5(b"localhost", port)), _code5, 0, 2, 5, 4),
    Dialect("HTTP CONNECT", lambda port: (http(f"localhost:{port}"),), read_status, 200, 403, 502, 502),
)
"""Every protocol of the port; ``unreachable`` is the code when the target did not answer in time."""


def connect5(wire: Wire, host: str | bytes, port: int, user: bytes = b"", secret: bytes = b"") -> Reply5:
    """A whole polite SOCKS5 CONNECT, step by step; with a user, by RFC 1929. -1 when a step before fails."""
    wire.send(greeting(PASSWORD) if user else greeting(NO_AUTH))
    if wire.read(2) != bytes([5, PASSWORD if user else NO_AUTH]):
        return Reply5(-1, -1, "", 0)
    if user:
        wire.send(password(user, secret))
        if wire.read(2) != b"\x01\x00":
            return Reply5(-1, -1, "", 0)
    wire.send(socks5(host, port))
    return read_reply5(wire)
