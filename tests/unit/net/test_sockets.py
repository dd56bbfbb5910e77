"""Socket names to our values and back, and the options that every socket of the data path has."""

import errno
import socket

import pytest

from gateway.address import Endpoint
from gateway.net import sockets
from gateway.net.sockets import (
    DATAGRAM_BUFFER,
    accepted,
    address_of,
    datagram_listening,
    endpoint_of,
    hurry,
    listening,
    outgoing,
    text_of,
)
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


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_socket_that_takes_datagrams(host: str) -> None:
    sock = datagram_listening(Endpoint(address(host), 0), shared=False)
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    with socket.socket(sock.family, socket.SOCK_DGRAM) as client:
        client.sendto(b"query", sock.getsockname())
        assert sock.recvfrom(100) == (b"query", (host, *client.getsockname()[1:]))
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 200_000
    sock.close()


@pytest.mark.parametrize(("host", "level", "option"), [("127.0.0.1", socket.IPPROTO_IP, 10), ("::1", 41, 23)])
def test_datagrams_are_not_cut_to_what_icmp_says_of_the_path(host: str, level: int, option: int) -> None:
    with datagram_listening(Endpoint(address(host), 0), shared=False) as sock:
        assert sock.getsockopt(level, option) == 5


def test_the_buffers_of_datagrams_are_large_for_who_may() -> None:
    with datagram_listening(endpoint("127.0.0.1:0"), shared=False) as sock:
        sizes = [sock.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
    # The kernel doubles what it is told (socket(7)); who may not gets what net.core.rmem_max allows.
    assert all(size == 2 * DATAGRAM_BUFFER or size < DATAGRAM_BUFFER for size in sizes)


def test_without_the_privilege_the_buffers_are_as_large_as_allowed() -> None:
    class Unprivileged(socket.socket):
        """As for a process without CAP_NET_ADMIN."""

        def setsockopt(self, *words: object) -> None:
            if words[:2] == (socket.SOL_SOCKET, 33):
                raise PermissionError(errno.EPERM, "Operation not permitted")
            super().setsockopt(*words)  # type: ignore[call-overload]

    with Unprivileged(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        sockets._enlarge(sock, *sockets._RCVBUF)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= before


def test_two_take_datagrams_at_one_port_only_when_it_is_shared() -> None:
    first = datagram_listening(endpoint("127.0.0.1:0"), shared=True)
    where = endpoint_of(first.getsockname())
    second = datagram_listening(where, shared=True)
    with pytest.raises(OSError, match="Address already in use"):
        datagram_listening(where, shared=False)
    for sock in (first, second):
        sock.close()


def test_datagrams_of_ipv6_do_not_take_the_port_of_ipv4() -> None:
    six = datagram_listening(Endpoint(address("::"), 0), shared=False)
    four = datagram_listening(Endpoint(address("0.0.0.0"), six.getsockname()[1]), shared=False)
    for sock in (six, four):
        sock.close()


def test_datagrams_are_taken_from_one_device_only() -> None:
    with datagram_listening(endpoint("127.0.0.1:0"), shared=False, device="lo") as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
    with pytest.raises(OSError, match="No such device"):
        datagram_listening(endpoint("127.0.0.1:0"), shared=False, device="nowhere0")


def test_an_address_that_is_not_ours_takes_no_datagrams() -> None:
    with pytest.raises(OSError, match="Cannot assign requested address"):
        datagram_listening(endpoint("192.0.2.77:0"), shared=False)
