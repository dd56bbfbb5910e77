"""A listener of one interface: who comes in by another one does not find it, although the host has the address."""

import contextlib
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from gateway.address import Endpoint
from gateway.net.sockets import listening
from tests.support.netns import Namespace, namespace, needs_namespaces
from tests.support.rules import address

pytestmark = needs_namespaces

INSIDE, INSIDE6, LINK_LOCAL = "10.1.0.1", "2001:db8:1::1", "fe80::1"


class Town(NamedTuple):
    """A host with two cards, ``in0`` and ``wan0``, and at the other end of each a host whose card is ``eth0``."""

    gateway: Namespace
    inside: Namespace
    outside: Namespace


def _cable(gateway: Namespace, device: str, other: Namespace, ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    gateway.ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", other.name)
    for space, name, addresses in ((gateway, device, ours), (other, "eth0", theirs)):
        for one in addresses:
            space.ip("addr", "add", one, "dev", name, *(["nodad"] if ":" in one else []))
        space.ip("link", "set", name, "up")


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with namespace() as gateway, namespace() as inside, namespace() as outside:
        _cable(
            gateway,
            "in0",
            inside,
            (f"{INSIDE}/24", f"{INSIDE6}/64", f"{LINK_LOCAL}/64"),
            ("10.1.0.2/24", "2001:db8:1::2/64", "fe80::2/64"),
        )
        _cable(gateway, "wan0", outside, ("192.0.2.1/24", "2001:db8:2::1/64"), ("192.0.2.2/24", "2001:db8:2::2/64"))
        outside.ip("route", "add", "10.1.0.0/24", "via", "192.0.2.1")
        outside.ip("route", "add", "2001:db8:1::/64", "via", "2001:db8:2::1")
        yield Town(gateway, inside, outside)


@contextlib.contextmanager
def opened(space: Namespace, host: str, device: str = "", scope: int = 0) -> Iterator[socket.socket]:
    """A listener in this namespace."""
    with space.inside():
        sock = listening(Endpoint(address(host), 0), 8, False, device, scope)
    with sock:
        yield sock


def comes(space: Namespace, listener: socket.socket, host: str) -> bool:
    """Whether a client in this namespace is accepted; a refusal, or two tenths of silence, is none."""
    with space.inside():
        client = socket.socket(listener.family)
    with client:
        client.settimeout(0.2)
        name = socket.getaddrinfo(host, listener.getsockname()[1], listener.family, flags=socket.AI_NUMERICHOST)[0][4]
        try:
            client.connect(name)
        except OSError:
            return False
        sock, _ = listener.accept()
        sock.close()
        return True


def number_of(space: Namespace, device: str) -> int:
    """The interface's index there."""
    with space.inside():
        return socket.if_nametoindex(device)


@pytest.mark.parametrize("host", [INSIDE, INSIDE6])
def test_the_inside_address_is_found_by_the_inside_card_only(town: Town, host: str) -> None:
    with opened(town.gateway, host, device="in0") as listener:
        assert comes(town.inside, listener, host)
        assert not comes(town.outside, listener, host)
        assert comes(town.inside, listener, host), "and what was refused has not shut it"


@pytest.mark.parametrize("host", [INSIDE, INSIDE6])
def test_without_a_device_the_outside_card_leads_to_the_inside_address_too(town: Town, host: str) -> None:
    """What the device is for; if this fails, the test before proves nothing."""
    with opened(town.gateway, host) as listener:
        assert comes(town.inside, listener, host)
        assert comes(town.outside, listener, host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_nor_is_a_wildcard_found_by_another_card(town: Town, host: str) -> None:
    where, elsewhere = (INSIDE, "192.0.2.1") if host == "0.0.0.0" else (INSIDE6, "2001:db8:2::1")
    with opened(town.gateway, host, device="in0") as listener:
        assert comes(town.inside, listener, where)
        assert not comes(town.outside, listener, where)
        assert not comes(town.outside, listener, elsewhere)


@pytest.mark.parametrize("device", ["", "in0"])
def test_a_link_local_address_is_listened_on_with_its_interface(town: Town, device: str) -> None:
    there = number_of(town.inside, "eth0")
    with opened(town.gateway, LINK_LOCAL, device, number_of(town.gateway, "in0")) as listener:
        assert comes(town.inside, listener, f"{LINK_LOCAL}%{there}")


def test_a_link_local_address_of_another_interface_can_not_be_listened_on(town: Town) -> None:
    with (
        pytest.raises(OSError, match="Cannot assign requested address"),
        opened(town.gateway, LINK_LOCAL, scope=number_of(town.gateway, "wan0")),
    ):
        pass
    with pytest.raises(OSError, match="Invalid argument"), opened(town.gateway, LINK_LOCAL):
        pass
