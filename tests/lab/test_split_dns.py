"""Split DNS between the two networks: no inside name ever leaves by an outside card, whoever is dead.

The same names mean other things inside and outside (`tests.support.lab.topology`), and the public servers deny what is
hidden: an answer from the wrong side would show.
"""

import contextlib
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import dns.edns
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from gateway.control.protocol import Resolve
from tests.support.daemon import Sockd, Toml, sockd
from tests.support.lab.build import Lab
from tests.support.lab.build import lab as build_lab
from tests.support.lab.capture import capture
from tests.support.lab.servers import needs_lab, serving
from tests.support.lab.topology import (
    GATEWAY,
    INSIDE,
    INSIDE_NAMES,
    INSIDE_NAMES6,
    INSIDE_WEB,
    OUTSIDE,
    OUTSIDE_NAMES,
    PROXY,
    SPLIT_DNS,
    TARGET_A,
    WAN1,
)
from tests.support.netns import Namespace
from tests.support.waiting import eventually

pytestmark = needs_lab

SOON = 20.0
ZONES = [
    {"name": "corp.example", "networks": ["10.0.0.0/8"], "servers": [INSIDE_NAMES, INSIDE_NAMES6]},
    {"name": "lan", "servers": [INSIDE_NAMES]},
    {"name": ".", "servers": [OUTSIDE_NAMES]},
]
SETTINGS: Toml = {
    "internal": {"interface": "eth1", "port": 1080},
    "external": {"interface": ["wan1", "wan2"], "failback": 0.5},
    "resolver": {"domain": "corp.example", "zone": ZONES},
}
#: everywhere is not the inside: that is named
RULES = f"permit ALL {INSIDE_WEB}/32\npermit ALL ALL\n"
ROUTES = f"wan2 *=ops ALL\neth1 {INSIDE_WEB}/32\n"
HIDDEN = ("www.corp.example", "no.corp.example", "printer.lan", "80.0.1.10.in-addr.arpa", "corp.example")
_EVERY_KIND = 0x0003


@pytest.fixture
def networks(tmp_path: Path) -> Iterator[Lab]:
    with build_lab(SPLIT_DNS) as made, serving(made, tmp_path / "servers"):
        yield made


@pytest.fixture
def gateway(networks: Lab, tmp_path: Path) -> Iterator[Sockd]:
    prefix = networks.spaces[GATEWAY].prefix
    with sockd(
        tmp_path / "gw", RULES, addresses=(), workers=2, settings=SETTINGS, routes=ROUTES, prefix=prefix
    ) as daemon:
        yield daemon


class Answer(NamedTuple):
    """What a client heard."""

    rcode: str
    addresses: tuple[str, ...]
    ede: str


@contextlib.contextmanager
def client(networks: Lab, host: str = INSIDE) -> Iterator[socket.socket]:
    """Somebody who asks the gateway by UDP."""
    with networks.spaces[host].inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.connect((PROXY, 53))
        yield sock


def ask(sock: socket.socket, name: str, kind: str = "A", within: float = 8.0) -> Answer | None:
    """None: nothing came in time."""
    query = dns.message.make_query(name, kind, use_edns=0, payload=1232)
    sock.settimeout(within)
    sock.send(query.to_wire())
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            message = dns.message.from_wire(sock.recv(4096))
        except OSError:
            return None
        if message.id == query.id:
            return _read(message)
    return None


def _read(message: dns.message.Message) -> Answer:
    types = (dns.rdatatype.A, dns.rdatatype.AAAA)
    found = tuple(str(rdata) for rrset in message.answer if rrset.rdtype in types for rdata in rrset)
    errors = (option for option in message.options if isinstance(option, dns.edns.EDEOption))
    ede = next((f"{int(option.code)} {option.text}" for option in errors), "")
    return Answer(dns.rcode.to_text(message.rcode()), found, ede)


class Leaks:
    """Frames on an outside card that have a label of an inside name in them, in any letter case."""

    MARKS = (b"\x04corp\x07example", b"\x03lan\0", b"\x0210\x07in-addr", b"\x08intranet\0")

    def __init__(self, space: Namespace, cards: tuple[str, ...]) -> None:
        self.found: list[bytes] = []
        self.seen = 0
        self._ends = threading.Event()
        with space.inside():
            self._taps = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_KIND)) for _ in cards]
            for tap, card in zip(self._taps, cards, strict=True):
                tap.bind((card, _EVERY_KIND))
                tap.settimeout(0.1)
        self._threads = [threading.Thread(target=self._watch, args=(tap,)) for tap in self._taps]

    def __enter__(self) -> "Leaks":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        for tap in self._taps:
            tap.close()

    def _watch(self, tap: socket.socket) -> None:
        while not self._ends.is_set():
            try:
                frame = tap.recv(65535)
            except TimeoutError:
                continue
            self.seen += 1
            text = frame.lower()
            if any(mark in text for mark in self.MARKS):
                self.found.append(frame)


class Load:
    """Clients that go on asking, each name by some kind of question; what they heard is counted."""

    def __init__(self, networks: Lab, names: tuple[str, ...], clients: int = 4) -> None:
        self.heard: Counter[str] = Counter()
        self.ede: set[str] = set()
        self.wrong: list[Answer] = []
        self._ends = threading.Event()
        self._names = names
        self._threads = [threading.Thread(target=self._ask_on, args=(networks, number)) for number in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, networks: Lab, number: int) -> None:
        chance = random.Random(number)
        with client(networks) as sock:
            while not self._ends.is_set():
                name = chance.choice(self._names)
                # Names that no cache has yet are among them.
                asked = f"n{chance.randrange(10**9)}.{name}" if chance.random() < 0.5 else name
                answer = ask(sock, asked, chance.choice(("A", "AAAA", "MX", "PTR", "DS", "HTTPS")))
                self.heard[answer.rcode if answer else "nothing"] += 1
                if answer and answer.ede:
                    self.ede.add(answer.ede.partition(";")[0])
                if answer and any(not address.startswith(("10.1.", "fd00:1:")) for address in answer.addresses):
                    self.wrong.append(answer)
                time.sleep(0.005)


def inside_servers(networks: Lab, *, up: bool) -> None:
    """Their addresses vanish from the inside's card, or are back."""
    space = networks.spaces[INSIDE]
    for address in (f"{INSIDE_NAMES}/24", f"{INSIDE_NAMES6}/64"):
        more = ("nodad",) if up and ":" in address else ()
        space.ip("addr", "add" if up else "del", address, "dev", "eth0", *more)


def until_answered(sock: socket.socket, name: str, within: float) -> float:
    """Seconds until a name that was never asked before is answered again."""
    began = time.monotonic()
    number = 0

    def is_back() -> bool:
        nonlocal number
        number += 1
        answer = ask(sock, f"back{number}.{name}", within=1.0)
        return answer is not None and answer.rcode in ("NOERROR", "NXDOMAIN")

    assert eventually(is_back, within=within, every=0.02)
    return time.monotonic() - began


@pytest.mark.usefixtures("gateway")
def test_one_name_has_two_meanings(networks: Lab) -> None:
    with client(networks) as sock:
        assert ask(sock, "www.corp.example") == Answer("NOERROR", (INSIDE_WEB,), "")
        assert ask(sock, "corp.example") == Answer("NOERROR", (INSIDE_WEB,), "")
        assert ask(sock, "intranet") == Answer("NOERROR", (INSIDE_WEB,), "")
        assert ask(sock, "www.example") == Answer("NOERROR", (TARGET_A,), "")
        assert ask(sock, "shop.corp.example") == Answer("NXDOMAIN", (), "")
        refused = ask(sock, "inner.example")
        assert refused is not None
        assert refused.ede.startswith(f"15 inner.example. of zone . is not given: {INSIDE_WEB} is")


def test_a_session_sees_the_inside_names(networks: Lab, gateway: Sockd) -> None:
    for name, host in (("intranet.corp.example", INSIDE_WEB), ("www.example", TARGET_A)):
        done = networks.run(
            INSIDE, "curl", "-sS", "-m", "9", "--proxy", f"socks5h://{PROXY}:1080", f"http://{name}/", within=20
        )
        assert done.returncode == 0, done.stderr + gateway.log()
        assert json.loads(done.stdout)["target"] == host


def test_the_look_up_of_a_session_leaves_by_the_way_of_the_session(networks: Lab, gateway: Sockd) -> None:
    space = networks.spaces[GATEWAY]
    for user, way, name in (("ops", "wan2", "b.example"), ("fred", "wan1", "both.example")):
        with capture(space, "wan1") as first, capture(space, "wan2") as second:
            proxy = f"socks4a://{user}@{PROXY}:1080"
            done = networks.run(INSIDE, "curl", "-sS", "-m", "9", "--proxy", proxy, f"http://{name}/", within=20)
            assert done.returncode == 0, done.stderr + gateway.log()
            asked = {
                card: len(seen.packets(destination=OUTSIDE_NAMES, port=53, outgoing=True))
                for card, seen in (("wan1", first), ("wan2", second))
            }
        assert asked.pop(way) >= 1
        assert set(asked.values()) == {0}


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.full)])
@pytest.mark.usefixtures("gateway")
def test_while_the_inside_servers_are_dead_nothing_leaks_and_they_are_missed_no_longer_than_they_are_away(
    networks: Lab, seconds: float
) -> None:
    with (
        Leaks(networks.spaces[GATEWAY], ("wan1", "wan2")) as leaks,
        Load(networks, HIDDEN) as load,
        client(networks) as sock,
    ):
        assert eventually(lambda: load.heard["NOERROR"] > 20, within=SOON)
        inside_servers(networks, up=False)
        assert eventually(lambda: load.heard["SERVFAIL"] > 20, within=SOON)
        before = load.heard["SERVFAIL"]
        time.sleep(seconds)
        assert load.heard["SERVFAIL"] > before
        dead = ask(sock, "dead.corp.example")
        assert ask(sock, "www.example") == Answer("NOERROR", (TARGET_A,), "")
        inside_servers(networks, up=True)
        took = until_answered(sock, "corp.example", SOON)
    assert dead is not None
    assert dead.rcode == "SERVFAIL"
    assert dead.ede.startswith(f"22 zone corp.example: {INSIDE_NAMES}: ")
    assert took < 2.0
    assert leaks.seen  # the one outside name, at least
    assert leaks.found == []
    assert load.wrong == []
    assert load.heard["nothing"] == 0
    assert {ede.split()[0] for ede in load.ede} == {"22"}


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.full)])
@pytest.mark.usefixtures("gateway")
def test_while_the_outside_is_dead_inside_names_are_answered(networks: Lab, seconds: float) -> None:
    with Leaks(networks.spaces[GATEWAY], ("wan1", "wan2")) as leaks, client(networks) as sock:
        networks.mute("wan1")
        networks.mute("wan2")
        with Load(networks, ("example", "net", "8.8.8.8.in-addr.arpa"), 2) as outer, Load(networks, HIDDEN) as load:
            assert eventually(lambda: outer.heard["SERVFAIL"] > 20, within=SOON)
            before = load.heard.copy()
            time.sleep(seconds)
            after = load.heard - before
        assert set(after) <= {"NOERROR", "NXDOMAIN"}
        assert after.total() > 20
        for card in ("wan1", "wan2"):
            networks.unmute(card)
        assert until_answered(sock, "www.example", SOON) < 2.0
    assert leaks.found == []
    assert load.wrong == []


def test_with_the_inside_card_gone_names_of_the_inside_are_dead_and_nothing_leaks(
    networks: Lab, gateway: Sockd
) -> None:
    """Asked by the daemon itself, since no client can: a session to an inside name."""
    with Leaks(networks.spaces[GATEWAY], ("wan1", "wan2")) as leaks:
        networks.pull("eth1")
        for name in ("secret.corp.example", "printer.lan", "9.0.1.10.in-addr.arpa"):
            _, done = gateway.control(Resolve(name))
            assert done["rcode"] == "SERVFAIL", done
        networks.restore("eth1")
    assert leaks.found == []


@pytest.mark.usefixtures("gateway")
def test_nobody_outside_is_answered(networks: Lab) -> None:
    """D14: not at the gateway's outside addresses, nor at the inside one that somebody outside routes to it."""
    networks.run(OUTSIDE, "ip", "route", "add", f"{PROXY}/32", "via", WAN1, within=5)
    with networks.spaces[OUTSIDE].inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with sock, stream:
        for target in (WAN1, PROXY):
            sock.connect((target, 53))
            assert ask(sock, "www.corp.example", within=0.5) is None
        stream.settimeout(0.5)
        with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
            stream.connect((WAN1, 53))
