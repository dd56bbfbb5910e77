"""Whoever is not inside gets no answer to a question (field-cases D14).

Neither by the outside card, to whatever address of the gateway and from whatever address of his own, nor by the inside
card from an address that is not the inside's.
"""

import contextlib
import socket
from collections.abc import Iterator
from typing import NamedTuple

import dns.message
import dns.query
import pytest

from tests.support.daemon import Sockd, sockd
from tests.support.dnsgateway import question, records, waiting
from tests.support.lyingserver import LyingServer
from tests.support.netns import Namespace, namespace, needs_namespaces

pytestmark = needs_namespaces

OURS, OURS6 = "10.1.0.1", "2001:db8:1::1"
CLIENT, CLIENT6 = "10.1.0.2", "2001:db8:1::2"
SERVER = "10.1.0.53"
OUTSIDE, OUTSIDE6 = "192.0.2.1", "2001:db8:2::1"
STRANGER, STRANGER6 = "192.0.2.2", "2001:db8:2::2"
#: addresses of the inside that an outside host has too, and one that is nobody's at the inside
FORGED, FORGED6, FOREIGN = "10.1.0.77", "2001:db8:1::77", "203.0.113.5"
PORT = 53
ANSWER = ["www.corp.example. A 10.1.0.80"]


class Town(NamedTuple):
    """A gateway between two cards, and a host at each; the outside one knows ways to all of the gateway's addresses."""

    daemon: Sockd
    inside: Namespace
    outside: Namespace


def _cable(gateway: Namespace, device: str, other: Namespace, ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    gateway.ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", other.name)
    for space, name, addresses in ((gateway, device, ours), (other, "eth0", theirs)):
        for one in addresses:
            space.ip("addr", "add", one, "dev", name, *(["nodad"] if ":" in one else []))
        space.ip("link", "set", name, "up")


def _roads(gateway: Namespace, inside: Namespace, outside: Namespace) -> None:
    outside.ip("route", "add", "10.1.0.0/24", "via", OUTSIDE)
    outside.ip("route", "add", "2001:db8:1::/64", "via", OUTSIDE6)
    for space, address in ((outside, f"{FORGED}/32"), (outside, f"{FORGED6}/128"), (inside, f"{FOREIGN}/32")):
        space.ip("addr", "add", address, "dev", "lo")
    gateway.ip("route", "add", f"{FOREIGN}/32", "via", CLIENT)
    # an answer to the forger would find its way
    gateway.ip("route", "add", f"{FORGED}/32", "via", STRANGER)
    gateway.ip("route", "add", f"{FORGED6}/128", "via", STRANGER6)
    for device in ("all", "in0", "wan0"):
        gateway.sysctl(f"ipv4/conf/{device}/rp_filter", "0")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with contextlib.ExitStack() as stack:
        gateway, inside, outside = (stack.enter_context(namespace(label=name)) for name in ("gw", "in", "out"))
        _cable(
            gateway,
            "in0",
            inside,
            (f"{OURS}/24", f"{OURS6}/64"),
            (f"{CLIENT}/24", f"{SERVER}/24", f"{CLIENT6}/64"),
        )
        _cable(gateway, "wan0", outside, (f"{OUTSIDE}/24", f"{OUTSIDE6}/64"), (f"{STRANGER}/24", f"{STRANGER6}/64"))
        _roads(gateway, inside, outside)
        zone = {"www.corp.example": {"A": ["10.1.0.80"]}}
        stack.enter_context(LyingServer(zone, addresses=(SERVER,), port=PORT, prefix=inside.prefix))
        daemon = stack.enter_context(
            sockd(
                tmp_path_factory.mktemp("town"),
                addresses=(),
                prefix=gateway.prefix,
                settings={
                    "internal": {"interface": "in0", "port": 1080},
                    "external": {"interface": "wan0"},
                    "resolver": {"port": PORT, "zone": [{"name": "corp.example", "servers": [SERVER]}]},
                },
            )
        )
        yield Town(daemon, inside, outside)


def _answered(town: Town, *, tcp: bool = False, to: str = OURS) -> list[str]:
    """What a client inside hears."""
    query = question("www.corp.example")
    with town.inside.inside():
        ask = dns.query.tcp if tcp else dns.query.udp
        return records(ask(query, to, 10, PORT))


def _heard(town: Town, space: Namespace, source: str, to: str) -> list[dns.message.Message]:
    """What somebody there hears to some questions by UDP, once the resolver has answered others after them."""
    with space.inside():
        sock = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.bind((source, 0))
        sock.connect((to, PORT))
        for text in ("www.corp.example", "www.corp.example", "localhost"):
            with contextlib.suppress(ConnectionRefusedError):
                sock.send(question(text).to_wire())
        for _ in range(3):
            assert _answered(town) == ANSWER
        with contextlib.suppress(ConnectionRefusedError):
            return waiting(sock)
        return waiting(sock)


def _is_served(space: Namespace, source: str, to: str) -> bool:
    """Whether somebody there is answered by TCP."""
    query = question("www.corp.example")
    with space.inside():
        sock = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        sock.settimeout(0.3)
        sock.bind((source, 0))
        try:
            sock.connect((to, PORT))
            dns.query.send_tcp(sock, query)
            return bool(sock.recv(2))
        except OSError:
            return False


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("to", [OURS, OURS6])
def test_the_inside_is_answered(town: Town, to: str, tcp: bool) -> None:
    for _ in range(2):
        assert _answered(town, tcp=tcp, to=to) == ANSWER


STRANGERS = [
    pytest.param(STRANGER, OUTSIDE, id="to the outside address"),
    pytest.param(STRANGER, OURS, id="to the inside address"),
    pytest.param(FORGED, OUTSIDE, id="to the outside address, as if from inside"),
    pytest.param(FORGED, OURS, id="to the inside address, as if from inside"),
    pytest.param(STRANGER6, OUTSIDE6, id="to the outside IPv6 address"),
    pytest.param(STRANGER6, OURS6, id="to the inside IPv6 address"),
    pytest.param(FORGED6, OURS6, id="to the inside IPv6 address, as if from inside"),
]


@pytest.mark.parametrize(("source", "to"), STRANGERS)
def test_nobody_is_answered_by_the_outside_card(town: Town, source: str, to: str) -> None:
    assert _answered(town) == ANSWER  # so that it is known
    assert _heard(town, town.outside, source, to) == []
    assert not _is_served(town.outside, source, to)


def test_nobody_is_answered_inside_who_has_no_address_there(town: Town) -> None:
    assert _heard(town, town.inside, FOREIGN, OURS) == []
    assert not _is_served(town.inside, FOREIGN, OURS)


def test_the_same_ways_lead_to_who_may_ask(town: Town) -> None:
    """So that the tests above could fail."""
    assert len(_heard(town, town.inside, CLIENT, OURS)) == 3
    assert _is_served(town.inside, CLIENT, OURS)


def test_the_outside_address_is_no_door_for_the_inside_either(town: Town) -> None:
    town.inside.ip("route", "replace", "192.0.2.0/24", "via", OURS)
    assert _heard(town, town.inside, CLIENT, OUTSIDE) == []
    assert not _is_served(town.inside, CLIENT, OUTSIDE)
