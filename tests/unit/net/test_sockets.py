"""Socket names to our values and back, and the options that every socket of the data path has."""

import errno
import socket

import pytest

from gateway.address import Endpoint
from gateway.net.sockets import accepted, address_of, endpoint_of, hurry, listening, outgoing, text_of
from tests.support.playbook import endpoint
from tests.support.rules import address


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        pytest.param("10.0.0.1", "10.0.0.1", id="IPv4"),
        pytest.param("0.0.0.0", "0.0.0.0", id="the lowest IPv4 address"),
        pytest.param("255.255.255.255", "255.255.255.255", id="the highest IPv4 address"),
        pytest.param("2001:db8::1", "2001:db8::1", id="IPv6"),
        pytest.param("::1", "::1", id="IPv6 loopback"),
        pytest.param("::ffff:10.0.0.1", "10.0.0.1", id="a mapped address is the IPv4 host"),
        pytest.param("fe80::1%eth0", "fe80::1", id="a zone is dropped"),
    ],
)
def test_addresses_of_socket_names(text: str, meant: str) -> None:
    assert address_of(text) == address(meant)
    name = (text, 1080, 0, 0) if ":" in text else (text, 1080)
    assert endpoint_of(name) == Endpoint(address(meant), 1080)
    assert text_of(name) == str(Endpoint(address(meant), 1080))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_listening_socket_and_what_it_accepts(host: str) -> None:
    listener = listening(Endpoint(address(host), 0), 16, shared=False)
    family = int(listener.family)
    with pytest.raises(BlockingIOError):
        accepted(listener, family)
    client = outgoing(endpoint_of(listener.getsockname()))
    assert client.connect_ex(listener.getsockname()[:2]) in (0, errno.EINPROGRESS)
    sock, name = accepted(listener, family)
    assert endpoint_of(name) == endpoint_of(client.getsockname())
    assert sock.family == family
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    for one in (sock, client):
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)
    assert not client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    hurry(client)
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for one in (sock, client, listener):
        assert one.fileno() >= 0
        one.close()


def test_two_of_one_port_only_when_it_is_shared() -> None:
    first = listening(endpoint("127.0.0.1:0"), 1, shared=True)
    where = endpoint_of(first.getsockname())
    second = listening(where, 1, shared=True)
    with pytest.raises(OSError, match="Address already in use"):
        listening(where, 1, shared=False)
    for sock in (first, second):
        sock.close()


def test_ipv6_does_not_take_the_port_of_ipv4() -> None:
    six = listening(Endpoint(address("::"), 0), 1, shared=False)
    four = listening(Endpoint(address("0.0.0.0"), six.getsockname()[1]), 1, shared=False)
    for sock in (six, four):
        sock.close()


def test_an_address_that_is_not_ours_can_not_be_listened_on() -> None:
    with pytest.raises(OSError, match="Cannot assign requested address"):
        listening(endpoint("192.0.2.77:0"), 1, shared=False)
