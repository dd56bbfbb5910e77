"""Two hosts on a cable: the gateway, which runs ``sockd``, and an outside with a name server and many addresses.

The outside holds public addresses, and beside them every private one that a hostile name could lead to, each with a
server on the same port. A name that gets past the rules would therefore really connect, and be seen.
"""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.daemon import Sockd, Toml, sockd
from tests.support.nameserver import NameServer, Zone, alternating
from tests.support.netns import Namespace, join, namespace
from tests.support.peers import Peer, echo
from tests.support.rawsocks import Reply5, Wire, connect5

PORT = 8080
GATEWAY, GATEWAY6 = "192.0.2.1", "2001:db8::1"
NAME_SERVER = "192.0.2.53"
GOOD, GOOD6 = "198.51.100.10", "2001:db8:1::10"
#: in the outside, but nobody listens
CLOSED = "198.51.100.11"
#: packets to these vanish without an answer
DROPPED, DROPPED6 = "198.51.100.66", "2001:db8:dead::66"
#: the gateway itself knows no way to these
NO_ROUTE, NO_ROUTE6 = "198.51.100.67", "2001:db8:dead::67"
PRIVATE = ("10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "169.254.169.254", "fd00::1", "192.168.7.7")

RULES = """\
deny   ALL 10.0.0.0/8
deny   ALL 192.168.0.0/16
deny   ALL fc00::/7
permit ALL ALL
"""

ZONE: Zone = {
    "good.example": {"A": [GOOD]},
    "six.example": {"AAAA": [GOOD6]},
    "both.example": {"AAAA": [GOOD6], "A": [GOOD]},
    "alias.example": {"CNAME": ["good.example"]},
    "empty.example": {"TXT": ["nothing of use"]},
    # what a hostile zone holds
    "rebinding.example": {"A": alternating([GOOD], ["10.0.0.1"])},
    "private.example": {"A": ["10.0.0.1"]},
    "private-first.example": {"A": ["10.0.0.1", GOOD]},
    "private-last.example": {"A": [GOOD, "10.0.0.1"]},
    "alias-to-private.example": {"CNAME": ["private.example"]},
    "aliases-to-private.example": {"CNAME": ["alias-to-private.example"]},
    "ula.example": {"AAAA": ["fd00::1"]},
    "mapped.example": {"AAAA": ["::ffff:10.0.0.1"]},
    "nat64.example": {"AAAA": ["64:ff9b::10.0.0.1"]},
    "6to4.example": {"AAAA": ["2002:a00:1::"]},
    "embedded-first.example": {"AAAA": ["64:ff9b::10.0.0.1", GOOD6]},
    "metadata.example": {"A": ["169.254.169.254"]},
    "loopback.example": {"A": ["127.0.0.1"], "AAAA": ["::1"]},
    "mapped-loopback.example": {"AAAA": ["::ffff:127.0.0.1"]},
    "unspecified.example": {"A": ["0.0.0.0"], "AAAA": ["::"]},
    "gateway.example": {"A": [GATEWAY], "AAAA": [GATEWAY6]},
    "link-local.example": {"AAAA": ["fe80::1"]},
    "multicast.example": {"A": ["224.0.0.1"]},
    # what is out of order at times
    "dropped-first.example": {"A": [DROPPED, GOOD]},
    "dropped-last.example": {"A": [GOOD, DROPPED]},
    "dropped-six.example": {"AAAA": [DROPPED6], "A": [GOOD]},
    "dropped-four.example": {"AAAA": [GOOD6], "A": [DROPPED]},
    "no-route-first.example": {"A": [NO_ROUTE, GOOD]},
    "no-route-six.example": {"AAAA": [NO_ROUTE6], "A": [GOOD]},
    "closed-first.example": {"A": [CLOSED, GOOD]},
    "closed-last.example": {"A": [GOOD, CLOSED]},
    "all-dropped.example": {"A": [DROPPED], "AAAA": [DROPPED6]},
    "all-closed.example": {"A": [CLOSED]},
    # what a search list would make of other names
    "www.example.net.corp.example": {"A": [GOOD]},
    "short.corp.example": {"A": [GOOD]},
    **{f"slow{number}.example": {"A": [GOOD]} for number in range(64)},
}
DELAYS = {f"slow{number}.example": 0.6 for number in range(64)}


class World(NamedTuple):
    """The two hosts and what runs on them."""

    gateway: Namespace
    outside: Namespace
    names: NameServer
    good: tuple[Peer, ...]
    private: tuple[Peer, ...]
    #: the same on the gateway's own addresses
    own: tuple[Peer, ...]
    folder: Path

    @contextlib.contextmanager
    def sockd(self, name: str, rules: str = RULES, settings: Toml | None = None) -> Iterator[Sockd]:
        """A daemon on the gateway's loopback."""
        with sockd(self.folder / name, rules, settings=settings, prefix=self.gateway.prefix) as daemon:
            yield daemon

    def wire(self, daemon: Sockd, timeout: float = 5.0) -> Wire:
        """A client on the gateway host."""
        with self.gateway.inside():
            return Wire(daemon.port, timeout=timeout)

    def ask(self, daemon: Sockd, host: str | bytes, port: int = PORT) -> Reply5:
        """One SOCKS5 CONNECT; text is an address, bytes are a name."""
        with self.wire(daemon) as wire:
            return connect5(wire, host, port)

    def reached(self) -> list[str]:
        """The addresses that the rules do not let through, and somebody has connected to since this was last asked."""
        found = []
        for space, peers in ((self.outside, self.private), (self.gateway, self.own)):
            with space.inside():
                found += [peer.host for peer in peers if peer.called()]
            for peer in peers:
                peer.callers.clear()
        return found


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    """Both namespaces, the cable, the addresses and every server; all gone on leaving."""
    files = {
        "resolv.conf": f"nameserver {NAME_SERVER}\nsearch corp.example\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "nsswitch.conf": "hosts: files dns\nservices: files\n",
    }
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(namespace(files))
        outside = stack.enter_context(namespace())
        _connect(gateway, outside)
        with outside.inside():
            names = NameServer(ZONE, NAME_SERVER, delays=DELAYS)
            good = tuple(Peer(echo, host, PORT) for host in (GOOD, GOOD6))
            private = tuple(Peer(echo, host, PORT) for host in PRIVATE)
        with gateway.inside():
            own = tuple(Peer(echo, host, PORT) for host in ("127.0.0.1", "::1", GATEWAY, GATEWAY6))
        stack.enter_context(names)
        for peer in (*good, *private, *own):
            stack.enter_context(peer)
        # The first packet to a new neighbour can wait a second for the link to settle; not in a test.
        with gateway.inside():
            socket.create_connection((GOOD6, PORT), 5).close()
        yield World(gateway, outside, names, good, private, own, folder)


def _connect(gateway: Namespace, outside: Namespace) -> None:
    for space in (gateway, outside):
        for which in ("all", "default"):  # new addresses serve at once, not after a second
            space.sysctl(f"ipv6/conf/{which}/accept_dad", "0")
    join(gateway, outside, (f"{GATEWAY}/24", f"{GATEWAY6}/64"), ("192.0.2.2/24", f"{NAME_SERVER}/24", "2001:db8::2/64"))
    for address in (GOOD, CLOSED, GOOD6, *PRIVATE):
        outside.ip("addr", "add", _host(address), "dev", "lo")
    for address in (DROPPED, DROPPED6):
        outside.ip("route", "add", "blackhole", _host(address))
    gateway.ip("route", "add", "default", "via", "192.0.2.2")
    gateway.ip("-6", "route", "add", "default", "via", "2001:db8::2")
    for address in (NO_ROUTE, NO_ROUTE6):
        gateway.ip("route", "add", "unreachable", _host(address))


def _host(address: str) -> str:
    return f"{address}/128" if ":" in address else f"{address}/32"
