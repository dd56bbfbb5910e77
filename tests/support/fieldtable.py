"""What SOCKS servers get wrong on the wire (``spec/field-cases.md`` §1): one check a trap, for any proxy on a port.

The checks know nothing of ``sockd``, so that the same ones can be run against other servers, which are known to fail
some of them: that is how tests/interop/test_harness.py shows that the checks can fail. A check raises AssertionError,
or an OSError when the proxy breaks the connection or hangs.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.support.peers import Peer, answer_after_fin, closed_port, echo, fin_then_listen, one_kib
from tests.support.rawsocks import (
    BIND,
    DIALECTS,
    UDP_ASSOCIATE,
    Dialect,
    Wire,
    connect5,
    greeting,
    read_reply4,
    read_reply5,
    socks4,
    socks5,
)
from tests.support.waiting import eventually


class Proxy(NamedTuple):
    """A proxy under test on 127.0.0.1, and how many seconds a check waits for one answer."""

    port: int
    patience: float = 5.0

    def connect(self, **options: str) -> Wire:
        """A new connection to it."""
        return Wire(self.port, timeout=self.patience, **options)


class Row(NamedTuple):
    """One trap: the right behaviour as a sentence, and its check."""

    sentence: str
    check: Callable[[Proxy], None]


# --- for every protocol --------------------------------------------------------------------------------------------


def byte_by_byte(proxy: Proxy, dialect: Dialect) -> None:
    """A message is what its length says, not what one recv() gives."""
    with Peer(echo) as target, proxy.connect() as wire:
        wire.send_slowly(dialect.opening(target.port))
        assert dialect.answer(wire) == dialect.granted
        wire.send(b"ping")
        assert wire.read(4) == b"ping"


def one_segment(proxy: Proxy, dialect: Dialect) -> None:
    """What follows the request in the same segment belongs to the target."""
    with Peer(echo) as target, proxy.connect() as wire:
        wire.send(dialect.opening(target.port) + b"early data")
        assert dialect.answer(wire) == dialect.granted
        assert wire.read(10) == b"early data"


def answer_after_client_fin(proxy: Proxy, dialect: Dialect) -> None:
    """The client's FIN reaches the target, and the answer that the target sends only then reaches the client."""
    with Peer(answer_after_fin) as target, proxy.connect() as wire:
        assert dialect.ask(wire, target.port) == dialect.granted
        wire.send(b"question")
        wire.finish()
        assert wire.read_to_end() == b"question"


def fin_with_the_opening(proxy: Proxy, dialect: Dialect) -> None:
    """A client that sends opening, data and FIN at once still gets its answer."""
    with Peer(answer_after_fin) as target, proxy.connect() as wire:
        wire.send(dialect.opening(target.port) + b"question")
        wire.finish()
        assert dialect.answer(wire) == dialect.granted
        assert wire.read_to_end() == b"question"


def data_after_target_fin(proxy: Proxy, dialect: Dialect) -> None:
    """The target's FIN reaches the client, and what the client sends after it still reaches the target."""
    with Peer(fin_then_listen) as target, proxy.connect() as wire:
        assert dialect.ask(wire, target.port) == dialect.granted
        assert wire.read_to_end() == b"hello"
        wire.send(b"late")
        wire.finish()
        assert target.result(proxy.patience) == b"late"


def server_speaks_first(proxy: Proxy, dialect: Dialect) -> None:
    """1 KiB that the target sends before it heard anything arrives whole, behind the reply, and then its FIN."""
    with Peer(one_kib) as target, proxy.connect() as wire:
        assert dialect.ask(wire, target.port) == dialect.granted
        assert wire.read_to_end() == b"k" * 1024


def refused_connect(proxy: Proxy, dialect: Dialect) -> None:
    """A target that refuses is reported as such, and success is never reported before the connection is there."""
    with closed_port() as port, proxy.connect() as wire:
        assert dialect.ask(wire, port) == dialect.refused
        wire.finish()
        wire.read_to_end()


# --- SOCKS5 --------------------------------------------------------------------------------------------------------


def name_with_nul(proxy: Proxy) -> None:
    """``localhost NUL .evil`` is no name; getaddrinfo() would stop at the NUL and connect to localhost."""
    with Peer(echo) as target, proxy.connect() as wire:
        assert connect5(wire, b"localhost\0.evil", target.port).code in (1, 4)
        assert not target.called()


def command_with_reply_7(proxy: Proxy, command: int) -> None:
    """A command that the server does not know, or does not serve, is answered by 7 (RFC 1928 §6)."""
    with proxy.connect() as wire:
        wire.send(greeting(0))
        assert wire.read(2) == b"\x05\x00"
        wire.send(socks5("127.0.0.1", 80, command))
        assert read_reply5(wire).code == 7
        assert wire.end_of_peer() == "fin"


def address_type_with_reply_8(proxy: Proxy, kind: int) -> None:
    """An address type that does not exist is answered by 8 (RFC 1928 §6)."""
    with proxy.connect() as wire:
        wire.send(greeting(0))
        assert wire.read(2) == b"\x05\x00"
        wire.send(bytes([5, 1, 0, kind, 127, 0, 0, 1, 0, 80]))
        assert read_reply5(wire).code == 8


def only_methods(proxy: Proxy, *methods: int) -> None:
    """When none of the offered methods will do, the answer is X'FF' (RFC 1928 §3), then the connection ends."""
    with proxy.connect() as wire:
        wire.send(greeting(*methods))
        assert wire.read(2) == b"\x05\xff"
        assert wire.end_of_peer() == "fin"


def real_bound_address(proxy: Proxy) -> None:
    """BND.ADDR and BND.PORT are the address and port from which the target sees the connection come."""
    with Peer(echo) as target, proxy.connect() as wire:
        reply = connect5(wire, "127.0.0.1", target.port)
        assert (reply.version, reply.code) == (5, 0)
        assert eventually(lambda: target.callers) == [(reply.host, reply.port)]


# --- SOCKS4 --------------------------------------------------------------------------------------------------------


def reply4_layout(proxy: Proxy) -> None:
    """The SOCKS4 reply is eight bytes, its version 0, its code 90."""
    with Peer(echo) as target, proxy.connect() as wire:
        wire.send(socks4("127.0.0.1", target.port, b"fred"))
        reply = read_reply4(wire)
        assert (reply.version, reply.code) == (0, 90)
        wire.send(b"ping")
        assert wire.read(4) == b"ping"


def user_id(proxy: Proxy, size: int, accepted: bool) -> None:
    """A USERID of 255 bytes is served; a longer one ends the connection before a target is reached."""
    with Peer(echo) as target, proxy.connect() as wire:
        try:
            wire.send(socks4("127.0.0.1", target.port, b"u" * size))
            code = read_reply4(wire).code
        except ConnectionError:
            code = -1
        assert (code == 90) is accepted
        assert target.called() is accepted


def bind4(proxy: Proxy) -> None:
    """BIND is refused by 91 while the server does not serve it."""
    with proxy.connect() as wire:
        wire.send(socks4("127.0.0.1", 21, command=BIND))
        assert read_reply4(wire).code == 91
        assert wire.end_of_peer() == "fin"


# --- the table -----------------------------------------------------------------------------------------------------

_FOR_EVERY_PROTOCOL: tuple[tuple[str, Callable[[Proxy, Dialect], None]], ...] = (
    ("an opening sent byte by byte is understood", byte_by_byte),
    ("early data in the segment of the request reaches the target", one_segment),
    ("an answer after the client's FIN arrives", answer_after_client_fin),
    ("an answer arrives though the FIN came with the opening", fin_with_the_opening),
    ("data after the target's FIN arrives", data_after_target_fin),
    ("a target that speaks first is heard whole", server_speaks_first),
    ("a refused connection is reported as refused", refused_connect),
)


def _with(check: Callable[[Proxy, Dialect], None], dialect: Dialect) -> Callable[[Proxy], None]:
    return lambda proxy: check(proxy, dialect)


def _protocol_rows() -> Iterator[Row]:
    for dialect in DIALECTS:
        for sentence, check in _FOR_EVERY_PROTOCOL:
            yield Row(f"{dialect.title}: {sentence}", _with(check, dialect))


def _command_rows() -> Iterator[Row]:
    for command, title in ((BIND, "BIND"), (UDP_ASSOCIATE, "UDP ASSOCIATE"), (0, "0"), (4, "4"), (255, "255")):
        yield Row(f"SOCKS5: command {title} gets reply 7", functools.partial(command_with_reply_7, command=command))
    for kind in (0, 2, 5, 255):
        check = functools.partial(address_type_with_reply_8, kind=kind)
        yield Row(f"SOCKS5: address type {kind} gets reply 8", check)


def _user_id_rows() -> Iterator[Row]:
    for size, accepted in ((0, True), (255, True), (256, False), (4000, False), (100_000, False)):
        title = "is served" if accepted else "is refused"
        check = functools.partial(user_id, size=size, accepted=accepted)
        yield Row(f"SOCKS4: a user id of {size} bytes {title}", check)


ROWS = (
    *_protocol_rows(),
    *_command_rows(),
    *_user_id_rows(),
    Row("SOCKS5: a NUL in a name is refused", name_with_nul),
    Row("SOCKS5: only method X'80' offered gets X'FF'", lambda proxy: only_methods(proxy, 0x80)),
    Row("SOCKS5: an empty list of methods gets X'FF'", only_methods),
    Row("SOCKS5: GSSAPI alone gets X'FF'", lambda proxy: only_methods(proxy, 1)),
    Row("SOCKS5: the bound address is the one that the target sees", real_bound_address),
    Row("SOCKS4: the reply has eight bytes and version 0", reply4_layout),
    Row("SOCKS4: BIND gets reply 91", bind4),
)
