"""What wakes the watch on a real kernel, and what does not."""

import asyncio
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.netlink.desired import Bases, Strict, Wanted, desired
from gateway.netlink.diff import steps
from gateway.netlink.kernel import Kernel
from gateway.netlink.watch import Watch
from tests.support.netns import Namespace, namespace, needs_namespaces

pytestmark = needs_namespaces


@pytest.fixture
def host() -> Iterator[Namespace]:
    with namespace() as space:
        for which in ("all", "default"):
            space.sysctl(f"ipv6/conf/{which}/accept_dad", "0")
        space.ip("link", "add", "wan1", "type", "veth", "peer", "name", "far0")
        for name in ("wan1", "far0"):
            space.ip("link", "set", name, "up")
        space.ip("addr", "add", "192.0.2.2/24", "dev", "wan1")
        space.ip("addr", "add", "2001:db8::2/64", "dev", "wan1")
        yield space


@pytest.fixture
def watch(host: Namespace) -> Iterator[Watch]:
    with host.inside():
        made = Watch()
    with made:
        settle(made)
        yield made


def readable(watch: Watch, seconds: float = 1.0) -> bool:
    return bool(select.select([watch], [], [], seconds)[0])


def settle(watch: Watch) -> None:
    """Until the kernel has nothing more to say of what was done before."""
    while readable(watch, 0.15):
        watch.drain()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("link set wan1 down", id="a link goes down"),
        pytest.param("link del wan1", id="a link goes away"),
        pytest.param("link add wan2 type veth peer name far2", id="a link comes"),
        pytest.param("link set far0 down", id="a link loses its other end"),
        pytest.param("addr add 192.0.2.3/24 dev wan1", id="an IPv4 address comes"),
        pytest.param("addr del 192.0.2.2/24 dev wan1", id="an IPv4 address goes"),
        pytest.param("addr add 2001:db8::3/128 dev wan1", id="an IPv6 address comes"),
        pytest.param("addr del 2001:db8::2/64 dev wan1", id="an IPv6 address goes"),
        pytest.param("route add 10.0.0.0/8 via 192.0.2.1", id="an IPv4 route comes"),
        pytest.param("-6 route add 2001:db8:9::/48 via 2001:db8::1", id="an IPv6 route comes"),
        pytest.param("route add 10.0.0.0/8 via 192.0.2.1 table 10002", id="a route of another table comes"),
        pytest.param("rule add pref 5000 lookup 77", id="an IPv4 rule comes"),
        pytest.param("-6 rule add pref 5000 lookup 77", id="an IPv6 rule comes"),
        pytest.param("nexthop add id 7 via 192.0.2.1 dev wan1", id="a nexthop object comes"),
    ],
)
def test_every_change_wakes_it_once(host: Namespace, watch: Watch, words: str) -> None:
    assert watch.drain() is False
    host.ip(*words.split())
    assert readable(watch)
    assert watch.drain() is True
    settle(watch)
    assert watch.drain() is False


def test_what_is_none_of_its_business_does_not_wake_it(host: Namespace, watch: Watch) -> None:
    host.ip("neigh", "add", "192.0.2.9", "lladdr", "02:00:00:00:00:09", "dev", "wan1")
    subprocess.run(["ip", "-n", host.name, "route", "show"], capture_output=True, check=True)
    assert not readable(watch, 0.1)
    assert watch.drain() is False


def test_notices_that_were_lost_are_a_change(host: Namespace, watch: Watch) -> None:
    with socket.socket(fileno=os.dup(watch.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    lines = "".join(f"route add 10.{number}.0.0/16 via 192.0.2.1\n" for number in range(200))
    subprocess.run(["ip", "-n", host.name, "-batch", "-"], input=lines, text=True, check=True)
    assert lost(host, watch)
    assert watch.drain() is True
    assert watch.drain() is False
    host.ip("route", "del", "10.0.0.0/16")
    assert watch.drain() is True, "it still watches"


def lost(space: Namespace, watch: Watch) -> int:
    """How many notices found no room, as proc(5) tells."""
    inode = str(os.fstat(watch.fileno()).st_ino)
    with space.inside():
        text = Path("/proc/thread-self/net/netlink").read_text()
    title, *lines = (line.split() for line in text.splitlines())
    (drops,) = [line[title.index("Drops")] for line in lines if line[-1] == inode]
    return int(drops)


def test_our_own_changes_wake_it_and_then_it_is_quiet(host: Namespace, watch: Watch) -> None:
    async def follow() -> list[int]:
        """What a supervisor does: at each notice a whole run, until there is none."""
        taken: list[int] = []
        async with Kernel() as kernel:
            while not taken or watch.drain():
                state = await kernel.read()
                own = Wanted(frozenset(state.own_routes), frozenset(state.own_rules))
                changes = steps(own, desired([Strict("wan1", (), False)], state, Bases(10_000, 5_000)))
                assert await kernel.apply(changes) == ()
                taken.append(len(changes))
        return taken

    with host.inside():
        first, *others = asyncio.run(follow())
    assert first > 0
    assert others == [0]


def test_a_watch_that_is_closed_has_no_descriptor(host: Namespace) -> None:
    with host.inside(), Watch() as made:
        assert made.fileno() >= 0
    assert made.fileno() == -1


def test_a_host_whose_interfaces_have_had_no_address_yet_is_read() -> None:
    """As early in a boot: the kernel has no table main then, and says so as an error."""
    read = "from gateway.netlink.kernel import read_kernel; print(len(read_kernel().links))"
    command = ["unshare", "--net", sys.executable, "-c", read]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
