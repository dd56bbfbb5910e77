"""The firewall of role hardening on the gateway of the lab, looked at from both sides, with sockets that really listen.

What must stay silent is asked in one go with what must answer, so that an answer shows that there was time for one.
"""

import contextlib
import errno
import re
import select
import shutil
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from tests.support.firewall import dropped, load, needs_nft, nft, rendered
from tests.support.lab.build import Lab
from tests.support.lab.build import lab as build_lab
from tests.support.lab.topology import (
    CLIENT,
    CLIENT6,
    GATEWAY,
    INSIDE,
    OUTSIDE,
    OUTSIDE2,
    PROXY,
    PROXY6,
    ROUTER1,
    ROUTER1_6,
    SECOND_CLIENT,
    SECOND_CLIENT6,
    TARGET_6,
    TARGET_A,
    WAN1,
    WAN1_6,
    WAN2,
    WAN2_6,
)
from tests.support.netns import Namespace
from tests.support.waiting import eventually

pytestmark = needs_nft

SSH, NAMES, PROXY_PORT = 22, 53, 1080
#: of the gateway, as if every program that there is ran on it
PORTS = (21, SSH, 25, NAMES, 80, 111, 113, 443, 631, PROXY_PORT, 3128, 5353, 8080, 9100)
UDP_PORTS = (NAMES, 68, 123, 161, 546, 5353)
#: seconds; what has no answer so long after all answers that are wanted are there has none
PATIENCE = 1.0
#: seconds; an answer on a machine that is busy
SOON = 20.0
OPEN, CLOSED, SILENT = "open", "closed", "silent"
#: asm-generic/socket.h; 8 bytes of data are sent in an echo request (RFC 792, RFC 4443)
ECHO, ECHO6 = 8, 128

RULES = {
    "hardening_inside_interface": "eth1",
    "hardening_uplinks": ["wan1", "wan2"],
    "hardening_ssh_networks": [f"{CLIENT}/32", f"{CLIENT6}/128"],
}


#: source address, address, port
Target: TypeAlias = tuple[str, str, int]


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@dataclass(frozen=True)
class Walled:
    """The lab with the firewall on its gateway; ``heard`` are the gateway's UDP sockets by port."""

    lab: Lab
    heard: dict[int, socket.socket]

    @property
    def gateway(self) -> Namespace:
        return self.lab.spaces[GATEWAY]


@contextlib.contextmanager
def listening(space: Namespace, ports: Sequence[int]) -> Iterator[None]:
    """TCP sockets for both families at all addresses of a host."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            with space.inside():
                server = stack.enter_context(
                    socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
                )
            server.listen(64)
        yield


@contextlib.contextmanager
def hearing(space: Namespace, ports: Sequence[int], at: str = "::") -> Iterator[dict[int, socket.socket]]:
    """The same for UDP; at one address its answers come from that."""
    with contextlib.ExitStack() as stack:
        heard = {}
        for port in ports:
            with space.inside():
                sock = stack.enter_context(socket.socket(family(at), socket.SOCK_DGRAM))
            if at == "::":
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind((at, port))
            sock.setblocking(False)
            heard[port] = sock
        yield heard


@pytest.fixture
def walled() -> Iterator[Walled]:
    with build_lab() as lab:
        gateway = lab.spaces[GATEWAY]
        load(gateway, rendered("gateway-filter.nft.j2", **RULES))
        for name in (INSIDE, OUTSIDE):
            lab.spaces[name].sysctl("ipv4/ping_group_range", "0 0")
        with listening(gateway, PORTS), hearing(gateway, UDP_PORTS) as heard:
            yield Walled(lab, heard)


def connects(space: Namespace, targets: Sequence[Target], wanted: int) -> dict[Target, str]:
    """How each target answers to an attempt to connect from a host, all at a time; so many answers are waited for."""
    with contextlib.ExitStack() as stack:
        waiting: dict[socket.socket, Target] = {}
        for target in targets:
            source, address, port = target
            with space.inside():
                sock = stack.enter_context(socket.socket(family(address), socket.SOCK_STREAM))
            sock.setblocking(False)
            sock.bind((source, 0))
            assert sock.connect_ex((address, port)) == errno.EINPROGRESS, target
            waiting[sock] = target
        found = dict.fromkeys(targets, SILENT)

        def answered(within: float) -> int:
            for sock in select.select([], list(waiting), [], within)[1]:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                found[waiting.pop(sock)] = CLOSED if code else OPEN
            return len(targets) - len(waiting)

        eventually(lambda: answered(0.1) >= wanted, within=SOON)
        while waiting and answered(PATIENCE) > wanted:  # another one: let it be seen which
            wanted += 1
        return found


def opened(space: Namespace, source: str, address: str, ports: Sequence[int], *, wanted: int) -> set[int]:
    """The ports of an address that let a host in; fails the test when another one answers at all."""
    found = connects(space, [(source, address, port) for port in ports], wanted)
    assert CLOSED not in found.values(), f"{address} answers with a reset: {found}"
    return {port for (_, _, port), answer in found.items() if answer == OPEN}


def tell(space: Namespace, source: str, address: str, ports: Sequence[int], source_port: int = 0) -> bool:
    """Send a datagram to each port; whether any of them was answered, if only by an ICMP error."""
    with contextlib.ExitStack() as stack:
        asked = []
        for port in ports:
            with space.inside():
                sock = stack.enter_context(socket.socket(family(address), socket.SOCK_DGRAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((source, source_port))
            sock.connect((address, port))
            sock.send(b"anybody there?")
            asked.append(sock)
        return bool(select.select(asked, [], [], PATIENCE)[0])


def said(heard: dict[int, socket.socket]) -> set[int]:
    """The ports at which something was heard since the last look."""
    ports = set()
    for port, sock in heard.items():
        with contextlib.suppress(BlockingIOError):
            while sock.recv(100):
                ports.add(port)
    return ports


def pings(space: Namespace, address: str, number: int = 1) -> int:
    """How many of so many echo requests, sent at once, are answered."""
    six = ":" in address
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    with space.inside():
        sock = socket.socket(family(address), socket.SOCK_DGRAM, protocol)
    with sock:
        sock.connect((address, 0))
        for sequence in range(number):
            sock.send(struct.pack("!BBHHH", ECHO6 if six else ECHO, 0, 0, 0, sequence) + bytes(8))
        answered = 0
        while select.select([sock], [], [], PATIENCE)[0]:
            sock.recv(100)
            answered += 1
        return answered


# --- from inside


@pytest.mark.parametrize(
    ("address", "client", "other"),
    [(PROXY, CLIENT, SECOND_CLIENT), (PROXY6, CLIENT6, SECOND_CLIENT6)],
    ids=["IPv4", "IPv6"],
)
def test_the_inside_reaches_the_proxy_and_names_and_ssh_from_named_networks(
    walled: Walled, address: str, client: str, other: str
) -> None:
    inside = walled.lab.spaces[INSIDE]
    assert opened(inside, client, address, PORTS, wanted=3) == {PROXY_PORT, NAMES, SSH}
    assert opened(inside, other, address, PORTS, wanted=2) == {PROXY_PORT, NAMES}
    assert dropped(walled.gateway, "from_inside_refused") >= len(PORTS) - 3


def test_without_named_networks_all_the_inside_may_use_ssh(walled: Walled) -> None:
    rules = {**RULES, "hardening_ssh_networks": [], "hardening_dns": False}
    load(walled.gateway, rendered("gateway-filter.nft.j2", **rules))
    assert opened(walled.lab.spaces[INSIDE], SECOND_CLIENT, PROXY, PORTS, wanted=2) == {PROXY_PORT, SSH}


def test_the_inside_reaches_no_address_of_an_uplink(walled: Walled) -> None:
    inside = walled.lab.spaces[INSIDE]
    inside.ip("route", "add", WAN1, "via", PROXY)
    found = connects(inside, [(CLIENT, PROXY, PROXY_PORT), *((CLIENT, WAN1, port) for port in PORTS)], 1)
    assert [target for target, answer in found.items() if answer != SILENT] == [(CLIENT, PROXY, PROXY_PORT)]


@pytest.mark.parametrize(("address", "client"), [(PROXY, CLIENT), (PROXY6, CLIENT6)], ids=["IPv4", "IPv6"])
def test_of_datagrams_the_inside_has_only_questions_for_names_let_in(walled: Walled, address: str, client: str) -> None:
    assert not tell(walled.lab.spaces[INSIDE], client, address, (*UDP_PORTS, 4711))
    assert said(walled.heard) == {NAMES}


def test_a_question_for_a_name_is_answered_though_it_is_not_kept_in_mind(walled: Walled) -> None:
    with walled.lab.spaces[INSIDE].inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.connect((PROXY, NAMES))
        client.send(b"question")
        server = walled.heard[NAMES]
        assert eventually(lambda: select.select([server], [], [], 0.1)[0], within=SOON)
        question, sender = server.recvfrom(100)
        server.sendto(b"answer", sender)
        client.settimeout(SOON)
        assert (question, client.recv(100)) == (b"question", b"answer")


@pytest.mark.parametrize("address", [PROXY, PROXY6], ids=["IPv4", "IPv6"])
def test_a_ping_of_the_inside_is_answered_and_a_flood_of_them_is_not(walled: Walled, address: str) -> None:
    inside = walled.lab.spaces[INSIDE]
    assert pings(inside, address) == 1
    assert 1 <= pings(inside, address, 500) < 200
    assert dropped(walled.gateway, "pings_refused") >= 300


# --- from outside


@pytest.mark.parametrize(
    ("address", "stranger"), [(WAN1, ROUTER1), (WAN1_6, ROUTER1_6), (PROXY, ROUTER1), (PROXY6, ROUTER1_6)]
)
def test_the_outside_hears_nothing_at_any_address(walled: Walled, address: str, stranger: str) -> None:
    outside = walled.lab.spaces[OUTSIDE]
    if address in (PROXY, PROXY6):
        outside.ip("route", "add", address, "via", WAN1_6 if ":" in address else WAN1)
    before = dropped(walled.gateway, "from_outside_refused")
    assert opened(outside, stranger, address, (*PORTS, 4711), wanted=0) == set()
    assert not tell(outside, stranger, address, (*UDP_PORTS, 4711))
    assert said(walled.heard) == set()
    assert pings(outside, address) == 0
    assert dropped(walled.gateway, "from_outside_refused") >= before + len(PORTS) + len(UDP_PORTS)


def test_the_outside_would_hear_much_without_the_firewall(walled: Walled) -> None:
    assert nft(walled.gateway, "delete", "table", "inet", "gateway_filter").returncode == 0
    outside = walled.lab.spaces[OUTSIDE]
    assert opened(outside, ROUTER1, WAN1, PORTS, wanted=len(PORTS)) == set(PORTS)
    assert tell(outside, ROUTER1, WAN1, (4711,))
    assert said(walled.heard) == set()
    assert pings(outside, WAN1) == 1


@pytest.mark.parametrize(
    ("address", "stranger", "source_port", "port"),
    [(WAN1, ROUTER1, 67, 68), (WAN1_6, "fe80::1%{}", 547, 546)],
    ids=["IPv4", "IPv6"],
)
def test_answers_of_a_dhcp_server_are_let_in(
    walled: Walled, address: str, stranger: str, source_port: int, port: int
) -> None:
    outside = walled.lab.spaces[OUTSIDE]
    if ":" in address:
        # it writes from the link's own address
        outside.ip("addr", "add", "fe80::1/64", "dev", "eth0", "nodad")
        with outside.inside():
            stranger = stranger.format(socket.if_nametoindex("eth0"))
    sent = socket.getaddrinfo(stranger, source_port, type=socket.SOCK_DGRAM)[0][4]
    with outside.inside():
        sock = socket.socket(family(address), socket.SOCK_DGRAM)
    with sock:
        sock.bind(sent)
        sock.sendto(b"lease", (address, port))
        assert eventually(lambda: said(walled.heard), within=SOON) == {port}


def test_who_pretends_to_be_a_dhcp_server_does_not_learn_that_nobody_waits_for_one(walled: Walled) -> None:
    walled.heard[68].close()
    assert not tell(walled.lab.spaces[OUTSIDE], ROUTER1, WAN1, (68,), source_port=67)


@pytest.mark.parametrize(
    ("address", "forged", "own"), [(WAN1, "10.1.0.77", PROXY), (WAN1_6, "fd00:1::77", PROXY6)], ids=["IPv4", "IPv6"]
)
def test_who_comes_from_outside_with_an_inside_address_is_dropped(
    walled: Walled, address: str, forged: str, own: str
) -> None:
    outside = walled.lab.spaces[OUTSIDE]
    for sender, counter in ((forged, "spoofed_inside"), (own, "spoofed_own")):
        outside.ip("addr", "add", sender, "dev", "lo", *(["nodad"] if ":" in sender else []))
        before = dropped(walled.gateway, counter)
        assert opened(outside, sender, address, (PROXY_PORT, SSH), wanted=0) == set()
        assert not tell(outside, sender, address, UDP_PORTS)
        assert said(walled.heard) == set()
        if ":" in sender or counter == "spoofed_inside":  # of IPv4 the kernel itself drops its own before
            assert dropped(walled.gateway, counter) >= before + len(UDP_PORTS)


@pytest.mark.skipif(shutil.which("nmap") is None, reason="needs nmap: apt-get install nmap")
def test_a_scan_finds_three_ports_from_inside_and_none_from_outside(walled: Walled) -> None:
    assert _scanned(walled.lab, INSIDE, "eth0", CLIENT, PROXY) == {PROXY_PORT, NAMES, SSH}
    assert _scanned(walled.lab, OUTSIDE, "eth0", ROUTER1, WAN1) == set()


def _scanned(lab: Lab, host: str, card: str, source: str, address: str) -> set[int]:
    options = ("-n", "-Pn", "-sS", "--max-retries", "1", "--min-rate", "1000", "-e", card, "-S", source, "-oG", "-")
    ports = ",".join(map(str, sorted({*PORTS, *range(1, 1200)})))
    done = lab.run(host, "nmap", *options, "-p", ports, address, within=300)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"/closed/|Ignored State: closed", done.stdout), done.stdout
    return {int(port) for port in re.findall(r"(\d+)/open/", done.stdout)}


# --- the gateway's own


@pytest.mark.parametrize(
    ("card", "source", "host", "target"),
    [
        ("wan1", WAN1, OUTSIDE, TARGET_A),
        ("wan1", WAN1_6, OUTSIDE, TARGET_6),
        ("wan2", WAN2, OUTSIDE2, TARGET_A),
        ("wan2", WAN2_6, OUTSIDE2, TARGET_6),
    ],
)
def test_what_the_gateway_begins_is_answered_by_either_uplink(
    walled: Walled, card: str, source: str, host: str, target: str
) -> None:
    far = walled.lab.spaces[host]
    with listening(far, (8000,)), hearing(far, (8000,), target) as heard, walled.gateway.inside():
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(family(target), kind) as sock:
                sock.settimeout(SOON)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.encode())
                sock.bind((source, 0))
                sock.connect((target, 8000))
                if kind == socket.SOCK_DGRAM:
                    sock.send(b"question")
                    assert eventually(lambda: select.select([heard[8000]], [], [], 0.1)[0], within=SOON)
                    _, sender = heard[8000].recvfrom(100)
                    heard[8000].sendto(b"answer", sender)
                    assert sock.recv(100) == b"answer"


def test_the_gateway_asks_the_identd_of_a_client(walled: Walled) -> None:
    with listening(walled.lab.spaces[INSIDE], (113,)):
        assert opened(walled.gateway, PROXY, CLIENT, (113,), wanted=1) == {113}


@pytest.mark.parametrize(
    ("card", "source", "target"),
    [
        ("wan1", PROXY, TARGET_A),
        ("wan1", PROXY6, TARGET_6),
        ("wan2", WAN1, TARGET_A),
        ("wan2", WAN1_6, TARGET_6),
    ],
    ids=["inside address", "inside address of IPv6", "other uplink's", "other uplink's of IPv6"],
)
def test_nothing_leaves_by_an_uplink_with_an_address_that_is_not_its_own(
    walled: Walled, card: str, source: str, target: str
) -> None:
    with walled.gateway.inside(), socket.socket(family(target), socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.encode())
        sock.bind((source, 0))
        before = dropped(walled.gateway, "wrong_source")
        with pytest.raises(PermissionError):
            sock.sendto(b"x", (target, 8000))
        assert dropped(walled.gateway, "wrong_source") == before + 1


@pytest.mark.parametrize(
    ("source", "target", "via", "back", "forwarding"),
    [
        (CLIENT, TARGET_A, PROXY, WAN1, "ipv4/ip_forward"),
        (CLIENT6, TARGET_6, PROXY6, WAN1_6, "ipv6/conf/all/forwarding"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_nothing_passes_through_even_when_somebody_turned_forwarding_on(
    walled: Walled, source: str, target: str, via: str, back: str, forwarding: str
) -> None:
    inside, outside = walled.lab.spaces[INSIDE], walled.lab.spaces[OUTSIDE]
    inside.ip("route", "add", target, "via", via)
    outside.ip("route", "add", source, "via", back)
    walled.gateway.sysctl(forwarding, "1")
    with listening(outside, (8000,)):
        assert opened(inside, source, target, (8000,), wanted=0) == set()
        assert dropped(walled.gateway, "forwarded") >= 1
        # and the way is there, but for the firewall
        assert nft(walled.gateway, "delete", "table", "inet", "gateway_filter").returncode == 0
        assert opened(inside, source, target, (8000,), wanted=1) == {8000}


def test_a_connection_outlives_the_loading_of_other_rules(walled: Walled) -> None:
    server_space, client_space = walled.lab.spaces[OUTSIDE], walled.gateway
    with server_space.inside():
        server = socket.create_server((TARGET_A, 8000))
    with server, contextlib.ExitStack() as stack:
        with client_space.inside():
            client = stack.enter_context(socket.create_connection((TARGET_A, 8000), SOON, (WAN1, 0)))
        far = stack.enter_context(server.accept()[0])
        load(walled.gateway, rendered("gateway-filter.nft.j2", **{**RULES, "hardening_port": 8888}))
        far.sendall(b"still here")
        assert client.recv(100) == b"still here"


def test_a_card_that_comes_later_is_filtered_like_before(walled: Walled) -> None:
    walled.lab.remove_card("wan1")
    load(walled.gateway, rendered("gateway-filter.nft.j2", **RULES))
    walled.lab.insert_card("wan1")
    assert opened(walled.lab.spaces[OUTSIDE], ROUTER1, WAN1, PORTS, wanted=0) == set()
    assert dropped(walled.gateway, "from_outside_refused") >= len(PORTS)


def test_a_wrong_value_is_named_by_the_check_of_the_role() -> None:
    """`nft -c` is what the role validates with; here it says what is wrong, with the line."""
    with build_lab() as lab:
        broken = rendered("gateway-filter.nft.j2", **{**RULES, "hardening_port": "proxy-port"})
        done = nft(lab.spaces[GATEWAY], "-c", "-f", "-", text=broken)
    assert done.returncode != 0
    assert "proxy-port" in done.stderr
