"""HTTP CONNECT as clients send it, and as nobody should: the request line alone says where to go (RFC 9110 §9.3.6)."""

from collections.abc import Iterator

import pytest

from tests.support.daemon import Sockd
from tests.support.peers import Peer, echo
from tests.support.rawsocks import Wire, http, read_status


@pytest.fixture
def target() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", id="as RFC 9110 shows it"),
        pytest.param(b"CONNECT 127.0.0.1:PORT HTTP/1.0\r\n\r\n", id="HTTP/1.0 without a Host field"),
        pytest.param(b"CONNECT localhost:PORT HTTP/1.1\r\nHost: localhost\r\n\r\n", id="a Host field without the port"),
        pytest.param(b"CONNECT LOCALHOST:PORT HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", id="a name in capitals"),
        pytest.param(
            b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nUser-Agent: x\r\nX-Y: "
            + b"z" * 4000
            + b"\r\n\r\n",
            id="a header of 4 KB",
        ),
        pytest.param(
            b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nProxy-Connection: keep-alive\r\n\r\n",
            id="an old Proxy-Connection field",
        ),
    ],
)
def test_connect_is_served(gateway: Sockd, target: Peer, message: bytes) -> None:
    with Wire(gateway.port) as wire:
        wire.send(message.replace(b"PORT", str(target.port).encode()))
        head = wire.read_head()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"content-length" not in head.lower()
        assert b"transfer-encoding" not in head.lower()
        wire.send(b"ping")
        assert wire.read(4) == b"ping"


def test_the_host_field_does_not_choose_the_target(gateway: Sockd, target: Peer) -> None:
    with Peer(echo) as other, Wire(gateway.port) as wire:
        wire.send(http(f"127.0.0.1:{target.port}", f"Host: 127.0.0.1:{other.port}"))
        answered = read_status(wire)
        assert answered in (200, 400)
        assert target.called() is (answered == 200)
        assert not other.callers


@pytest.mark.parametrize(
    ("message", "statuses"),
    [
        pytest.param(b"CONNECT 127.0.0.1 HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="no port"),
        pytest.param(b"CONNECT 127.0.0.1: HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="an empty port"),
        pytest.param(b"CONNECT :PORT HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="an empty host"),
        pytest.param(b"CONNECT 127.0.0.1:65536 HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="a port above 65535"),
        pytest.param(b"CONNECT 127.0.0.1:+PORT HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="a port with a sign"),
        pytest.param(b"CONNECT 127.0.0.1:0xPORT HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="a hexadecimal port"),
        pytest.param(b"CONNECT 127.0.0.1:http HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="a service name as port"),
        pytest.param("CONNECT 127.0.0.1:①② HTTP/1.1\r\nHost: x\r\n\r\n".encode(), {400}, id="circled digits as port"),
        pytest.param(b"CONNECT me@127.0.0.1:PORT HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="a user in the target"),
        pytest.param(b"CONNECT http://127.0.0.1:PORT/ HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="an absolute URI"),
        pytest.param(b"CONNECT /127.0.0.1:PORT HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="a path"),
        pytest.param(b"CONNECT 127.0.0.1:PORT/x HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="a path behind the port"),
        pytest.param(b"CONNECT 127.0.0.1:PORT:80 HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="two ports"),
        pytest.param(b"CONNECT ::1:PORT HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="an IPv6 address without brackets"),
        pytest.param(b"CONNECT [127.0.0.1]:PORT HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="a quad in brackets"),
        pytest.param(b"CONNECT [localhost]:PORT HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="a name in brackets"),
        pytest.param(b"CONNECT 127.0.0.1:PORT\r\n\r\n", {400}, id="no version"),
        pytest.param(b"CONNECT 127.0.0.1:PORT HTTP/2.0\r\n\r\n", {400, 505}, id="another version"),
        pytest.param(b"CONNECT  127.0.0.1:PORT HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="two blanks"),
        pytest.param(b"CONNECT\t127.0.0.1:PORT HTTP/1.1\r\nHost: x\r\n\r\n", {400, 501}, id="a tab"),
        pytest.param(b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost : x\r\n\r\n", {400}, id="a blank before the colon"),
        pytest.param(b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", {400}, id="a folded line"),
        pytest.param(b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost: x\0y\r\n\r\n", {400}, id="a NUL in a field"),
        pytest.param(b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nno colon\r\n\r\n", {400}, id="a line without a colon"),
        pytest.param(
            b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n", {400, 431}, id="1000 header lines"
        ),
        pytest.param(
            b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nX: " + b"y" * 20_000, {400, 431}, id="a header without an end"
        ),
        pytest.param(b"GET http://127.0.0.1:PORT/ HTTP/1.1\r\nHost: x\r\n\r\n", {400, 405, 501}, id="GET for a proxy"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", {400, 405, 501}, id="GET for a server"),
        pytest.param(b"CONNECTX 127.0.0.1:PORT HTTP/1.1\r\nHost: x\r\n\r\n", {400, 405, 501}, id="another method"),
    ],
)
def test_what_is_no_connect_is_refused(gateway: Sockd, target: Peer, message: bytes, statuses: set[int]) -> None:
    with Wire(gateway.port) as wire:
        wire.send(message.replace(b"PORT", str(target.port).encode()))
        assert read_status(wire) in statuses
        assert b"\r\n\r\nHTTP" not in wire.read_to_end()
    assert not target.called()


def test_failures_say_what_is_wrong_in_words(gateway: Sockd) -> None:
    """The body is for the person before the browser; it repeats nothing that the client sent."""
    with Wire(gateway.port) as wire:
        wire.send(http("<script>.example:80"))
        text = wire.read_to_end()
    assert text.startswith(b"HTTP/1.1 ")
    assert b"<script>" not in text
    head, _, body = text.partition(b"\r\n\r\n")
    assert body
    assert b"content-length: %d" % len(body) in head.lower()
    assert b"connection: close" in head.lower()
