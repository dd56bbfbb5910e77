"""Sockets tied to a device and an address, on loopback; that the packets obey is seen in the lab."""

import socket

import pytest

from gateway.net.egress import bind_to
from gateway.net.sockets import Socket
from gateway.policy.egress import Egress
from tests.support.peers import has_ipv6
from tests.support.rules import address

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs ::1 on the loopback interface")


def by(device: str, source: str) -> Egress:
    return Egress("wan1", device, address(source))


def test_a_device_is_told_by_its_index_whatever_its_name_has_become() -> None:
    with socket.socket() as sock:
        bind_to(sock, Egress("wan1", "renamed0", address("127.0.0.1"), socket.if_nametoindex("lo")))
        assert device_of(sock) == "lo"


def test_an_index_that_is_gone_can_not_be_used() -> None:
    with socket.socket() as sock:
        bind_to(sock, Egress("wan1", "lo", address("127.0.0.1"), 1 << 30))
        with pytest.raises(OSError, match="No such device"):
            sock.connect(("127.0.0.1", 9))


def device_of(sock: Socket | socket.socket) -> str:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode()


@pytest.mark.parametrize("make", [Socket, socket.socket], ids=["of the data path", "of the library"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
@pytest.mark.parametrize("source", ["127.0.0.2", pytest.param("::1", marks=needs_ipv6)])
def test_a_socket_has_the_device_and_the_source_and_gets_its_port_when_it_connects(
    make: type[Socket], kind: socket.SocketKind, source: str
) -> None:
    egress = by("lo", source)
    family = FAMILY[egress.source.version]
    target = socket.socket(family, kind)
    target.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    if kind is socket.SOCK_STREAM:
        target.listen()
    sock = make(family, kind)
    bind_to(sock, egress)
    assert device_of(sock) == "lo"
    assert sock.getsockname()[:2] == (source, 0)
    sock.connect(target.getsockname())
    assert sock.getsockname()[0] == source
    assert sock.getsockname()[1] != 0
    sock.close()
    target.close()


@pytest.mark.parametrize(
    ("egress", "words"),
    [
        pytest.param(by("nonesuch0", "127.0.0.1"), "No such device", id="no such device"),
        pytest.param(by("lo", "192.0.2.77"), "Cannot assign requested address", id="no address of this host"),
    ],
)
def test_what_is_not_there_can_not_be_used(egress: Egress, words: str) -> None:
    with socket.socket() as sock, pytest.raises(OSError, match=words):
        bind_to(sock, egress)


def test_a_source_of_the_other_family_can_not_be_used() -> None:
    with socket.socket() as sock, pytest.raises(OSError, match="family"):
        bind_to(sock, by("lo", "::1"))
