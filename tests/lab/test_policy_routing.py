"""Tables and rules on a real kernel: they come, follow every change, go again, and packets keep to them."""

import asyncio
import contextlib
import errno
import os
import random
import select
import socket
import struct
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import pytest
from pyroute2.iproute.linux import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from gateway.netlink.desired import Bases, Strict, Wanted, desired
from gateway.netlink.diff import Step, steps
from gateway.netlink.facts import facts_of
from gateway.netlink.kernel import Kernel
from gateway.netlink.model import NULL_KINDS, KernelState, Prefix, is_link_local
from tests.support.lab.capture import Capture, capture
from tests.support.netns import Namespace, namespace, needs_namespaces
from tests.support.peers import Peer
from tests.support.rules import address
from tests.support.waiting import eventually
from tests.unit.netlink.states import prefix

pytestmark = needs_namespaces

BASES = Bases(10_000, 5_000)
Answer = TypeVar("Answer")


def strict(name: str, *gateways: str, inside: bool = False) -> Strict:
    return Strict(name, tuple(map(address, gateways)), inside)


CONFIGURED = (
    strict("wan1", "192.168.1.1"),
    strict("wan2", "192.168.1.1", "2001:db8:2::1"),
    strict("eth1", inside=True),
)


def ask(space: Namespace, question: Callable[[Kernel], Awaitable[Answer]]) -> Answer:
    """Have a conversation with the kernel of a namespace."""

    async def conversation() -> Answer:
        async with Kernel() as kernel:
            return await question(kernel)

    with space.inside():
        return asyncio.run(conversation())


def own(state: KernelState) -> Wanted:
    return Wanted(frozenset(state.own_routes), frozenset(state.own_rules))


async def settle(
    kernel: Kernel, interfaces: Sequence[Strict], bases: Bases = BASES, networks: Sequence[Prefix] = ()
) -> tuple[Step, ...]:
    """One whole run; the steps that it took."""
    state = await kernel.read()
    taken = steps(own(state), desired(interfaces, state, bases, networks))
    assert await kernel.apply(taken) == ()
    return taken


def apply(space: Namespace, interfaces: Sequence[Strict] = CONFIGURED) -> tuple[Step, ...]:
    return ask(space, lambda kernel: settle(kernel, interfaces))


def is_right(space: Namespace, interfaces: Sequence[Strict] = CONFIGURED) -> bool:
    """Whether the kernel has exactly what is wanted, and a run would take no step."""
    state = ask(space, Kernel.read)
    return own(state) == desired(interfaces, state, BASES)


def dump(space: Namespace) -> list[str]:
    """Every route and rule, as ip-route(8) and ip-rule(8) tell them; rules of the same priority are of no order."""
    found = []
    for family in ("-4", "-6"):
        for what in (("route", "show", "table", "all"), ("rule", "show")):
            command = ["ip", "-n", space.name, family, "-o", "-d", *what]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found += [f"{family} {line.strip()}" for line in text.splitlines()]
    return sorted(found)


def ours(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if "proto 108" in line]


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A gateway with three cards whose far ends are in the same namespace; both uplinks are on the same network."""
    with namespace() as space:
        for which in ("all", "default"):
            space.sysctl(f"ipv6/conf/{which}/accept_dad", "0")
        for name in ("wan1", "wan2", "eth1"):
            plug(space, name)
        populate(space)
        yield space


def plug(space: Namespace, name: str) -> None:
    space.ip("link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
    for end in (name, f"far-{name}"):
        space.ip("link", "set", end, "up")


ADDRESSES = {
    "wan1": ("192.168.1.2/24", "2001:db8:1::2/64"),
    "wan2": ("192.168.1.3/24", "2001:db8:2::2/64"),
    "eth1": ("10.0.0.1/24", "fd00::1/64"),
}
DEFAULTS = (
    ("default", "via", "192.168.1.1", "dev", "wan1", "metric", "100"),
    ("default", "via", "192.168.1.1", "dev", "wan2", "metric", "200"),
    ("default", "via", "2001:db8:1::1", "dev", "wan1", "metric", "100"),
    ("default", "via", "2001:db8:2::1", "dev", "wan2", "metric", "200"),
    ("10.7.0.0/16", "via", "10.0.0.254", "dev", "eth1"),
)


def populate(space: Namespace) -> None:
    for name, held in ADDRESSES.items():
        for text in held:
            space.ip("addr", "add", text, "dev", name)
    for words in DEFAULTS:
        space.ip("route", "add", *words)


# The state of the kernel


def test_the_first_run_makes_what_is_wanted_and_the_second_does_nothing(host: Namespace) -> None:
    assert apply(host)
    assert is_right(host)
    assert apply(host) == ()
    (line,) = [line for line in ours(dump(host)) if "from 192.168.1.2 lookup" in line]
    assert line.startswith("-4 5003:")


def test_the_table_of_an_uplink_has_its_networks_and_its_own_default_route(host: Namespace) -> None:
    apply(host)
    for name, wanted in (
        ("wan1", {"192.168.1.0/24", "default via 192.168.1.1"}),
        ("wan2", {"192.168.1.0/24", "default via 192.168.1.1"}),
        ("eth1", {"10.0.0.0/24", "10.7.0.0/16 via 10.0.0.254"}),
    ):
        state = ask(host, Kernel.read)
        (index,) = [link.index for link in state.links if link.name == name]
        command = ["ip", "-n", host.name, "route", "show", "table", str(BASES.table + index)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        assert {line.split(" dev ")[0] for line in lines} == wanted
        assert all(f"dev {name} " in line for line in lines)


@pytest.mark.parametrize(
    "gateways",
    [
        pytest.param(("198.51.100.1",), id="IPv4"),
        pytest.param(("2001:db8:99::1",), id="IPv6"),
        pytest.param(("fe80::1",), id="IPv6 and link-local"),
    ],
)
def test_a_gateway_that_no_network_holds_is_taken(host: Namespace, gateways: tuple[str, ...]) -> None:
    wishes = (strict("wan1", *gateways),)
    apply(host, wishes)
    assert is_right(host, wishes)
    apply(host, ())
    assert not ours(dump(host))


def test_a_gateway_that_only_another_interface_has_a_network_for_is_taken(host: Namespace) -> None:
    """As with an address of one cable's network used on the other as a single address."""
    host.ip("addr", "add", "2001:db8:1::9/128", "dev", "wan2")
    wishes = (strict("wan2", "2001:db8:1::1"),)
    apply(host, wishes)
    assert is_right(host, wishes)
    assert [line for line in ours(dump(host)) if "default via 2001:db8:1::1 dev wan2" in line]


def test_a_gateway_whose_network_has_gone_is_copied(host: Namespace) -> None:
    """The kernel keeps such routes in main as long as the interface has another address."""
    for held, net, via in (
        ("172.30.0.1/16", "172.31.0.0/16", "172.30.0.9"),
        ("2001:db8:30::1/64", "2001:db8:31::/64", "2001:db8:30::9"),
    ):
        host.ip("addr", "add", held, "dev", "wan1")
        host.ip("route", "add", net, "via", via, "dev", "wan1")
        host.ip("addr", "del", held, "dev", "wan1")
    assert "172.31.0.0/16 via 172.30.0.9" in "".join(dump(host))
    apply(host)
    assert is_right(host)
    assert [line for line in ours(dump(host)) if "172.31.0.0/16 via 172.30.0.9 dev wan1" in line]


def test_routes_of_every_kind_in_main_are_copied_and_removed_again(host: Namespace) -> None:
    host.ip("route", "add", "172.16.0.0/16", "via", "inet6", "fe80::1", "dev", "wan1")
    host.ip("route", "add", "172.17.0.0/16", "via", "198.51.100.1", "dev", "wan1", "onlink", "src", "192.168.1.2")
    hops = ("nexthop", "via", "192.168.1.7", "dev", "wan1", "nexthop", "via", "192.168.1.8", "dev", "wan2")
    host.ip("route", "add", "172.18.0.0/16", *hops)
    host.ip("route", "add", "172.19.0.5", "dev", "wan1", "metric", "7")
    host.ip("route", "add", "172.21.0.0/16", "via", "inet6", "2001:db8:1::5", "dev", "wan1")
    host.ip("route", "add", "2001:db8:77::/48", "via", "2001:db8:99::1", "dev", "wan1", "onlink")
    host.ip("route", "add", "2001:db8:78::/48", "via", "fe80::1", "dev", "wan1", "src", "2001:db8:1::2")
    before = dump(host)
    apply(host)
    assert is_right(host)
    copies = [line for line in ours(dump(host)) if " 172." in line or "2001:db8:7" in line]
    assert len(copies) == 8
    assert ask(host, Kernel.remove_all) == ()
    assert dump(host) == before


NULLS = ("172.20.0.0/16", "10.0.0.128/25", "2001:db8:b::/48", "2001:db8:1::/80")


@pytest.mark.parametrize("kind", NULL_KINDS)
def test_null_routes_are_copied_and_removed_again(host: Namespace, kind: str) -> None:
    before = dump(host)
    for net in NULLS:
        host.ip("route", "add", kind, net)
    apply(host)
    assert is_right(host)
    assert apply(host) == ()
    copies = [line for line in ours(dump(host)) if f"{kind} 172.20.0.0/16" in line or f"{kind} 2001:db8:b::/48" in line]
    assert len([line for line in copies if " table " in line]) == 2 * len(CONFIGURED)
    for net in NULLS:
        host.ip("route", "del", kind, net)
    apply(host)
    assert is_right(host)
    assert ask(host, Kernel.remove_all) == ()
    assert dump(host) == before


METRICS = {
    "-4": ("172.22.0.0/16 via 192.168.1.7", "mtu lock 1400 advmss 1300 initcwnd 20 congctl cubic fastopen_no_cookie 1"),
    "-6": ("2001:db8:79::/48 via 2001:db8:1::7", "mtu 1400 hoplimit 33 initrwnd 9 congctl cubic pref high"),
}


@pytest.mark.parametrize("family", METRICS)
def test_what_a_route_says_of_its_path_is_copied(host: Namespace, family: str) -> None:
    """An MTU that is lost is a connection that hangs."""
    way, path = METRICS[family]
    before = dump(host)
    host.ip(family, "route", "add", *way.split(), "dev", "wan1", *path.split())
    apply(host)
    assert is_right(host)
    assert apply(host) == ()
    assert said_of_path(ours(dump(host)), way) == said_of_path(dump(host), way)[:1] != [""]
    host.ip(family, "route", "change", *way.split(), "dev", "wan1", "mtu", "1300")
    apply(host)
    assert is_right(host)
    assert said_of_path(ours(dump(host)), way)[0].startswith("mtu 1300")
    host.ip(family, "route", "del", *way.split(), "dev", "wan1")
    apply(host)
    assert ask(host, Kernel.remove_all) == ()
    assert dump(host) == before


def said_of_path(lines: Sequence[str], way: str) -> list[str]:
    """From the first word that is a metric on, once for each way of saying it."""
    found = [" ".join(line.split("mtu ", 1)[1].split()) for line in lines if way in line]
    return list(dict.fromkeys(f"mtu {text}" for text in found))


def advertise(space: Namespace, device: str, router: str, preference: int) -> None:
    """A router's advertisement (RFC 4861 §4.2) with a preference (RFC 4191 §2.2)."""
    space.ip("addr", "add", f"{router}/64", "dev", device, "nodad")
    with space.inside():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        index = socket.if_nametoindex(device)
    with sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.bind((router, 0, 0, index))
        sock.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, preference << 3, 1800, 0, 0), ("ff02::1", 0, 0, index))


def listens(space: Namespace, device: str) -> bool:
    """Whether an interface is up and has its link-local address."""
    state = ask(space, Kernel.read)
    index = [link.index for link in state.links if link.name == device and link.running]
    return any(entry.usable and is_link_local(entry.address) for entry in state.addresses if entry.index in index)


def test_of_several_routers_that_advertise_themselves_the_preferred_one_counts(host: Namespace) -> None:
    with namespace() as far:
        host.ip("link", "add", "wan3", "type", "veth", "peer", "name", "far0", "netns", far.name)
        far.ip("link", "set", "far0", "up")
        host.ip("link", "set", "wan3", "up")
        host.ip("addr", "add", "2001:db8:3::2/64", "dev", "wan3")
        assert eventually(lambda: listens(host, "wan3")), "an advertisement before that is lost"
        for router, preference in (("fe80::11", 3), ("fe80::22", 1), ("fe80::33", 0)):
            advertise(far, "far0", router, preference)
        assert eventually(lambda: len([line for line in dump(host) if "default via fe80::" in line]) == 3)
        wishes = (strict("wan3"),)
        apply(host, wishes)
        assert is_right(host, wishes)
        (line,) = [line for line in ours(dump(host)) if "default via fe80::" in line]
        assert "via fe80::22 dev wan3" in line
        assert "hoplimit 64" in line
        assert "pref high" in line
        facts = facts_of(ask(host, Kernel.read), "wan3", ())
        assert [str(gateway) for gateway in facts.gateways] == ["fe80::22", "fe80::33", "fe80::11"]


def test_a_foreign_route_in_our_place_is_said(host: Namespace) -> None:
    (index,) = [link.index for link in ask(host, Kernel.read).links if link.name == "wan2"]
    table = BASES.table + index
    host.ip("route", "add", "default", "via", "192.168.1.77", "dev", "wan1", "table", str(table), "proto", "static")
    host.ip("route", "add", "default", "via", "2001:db8:2::77", "dev", "wan2", "table", str(table))

    async def run(kernel: Kernel) -> tuple[str, ...]:
        state = await kernel.read()
        return await kernel.apply(steps(own(state), desired(CONFIGURED, state, BASES)))

    wanted = {
        f"table {table} has a route to {net} that is not ours; choose another [external] table"
        for net in ("0.0.0.0/0", "::/0")
    }
    for _ in range(2):
        faults = ask(host, run)
        assert set(faults) == wanted
    for family in ("-4", "-6"):
        host.ip(family, "route", "del", "default", "table", str(table))
    apply(host)
    assert is_right(host)


def test_a_route_of_ours_in_the_place_of_another_is_a_fault_of_its_own(host: Namespace) -> None:
    """As after a list that was torn."""
    apply(host)
    state = ask(host, Kernel.read)
    (there,) = [route for route in state.own_routes if route.version == 6 and route.gateway == address("2001:db8:2::1")]
    other = replace(there, gateway=address("2001:db8:2::9"))
    (fault,) = ask(host, lambda kernel: _read_and_apply(kernel, [Step("add", other)]))
    assert fault == (
        f"cannot add the route ::/0 via 2001:db8:2::9 dev wan2 of table {there.table}: "
        "another one of ours is in its place"
    )


def test_what_the_administrator_has_is_never_touched(host: Namespace) -> None:
    """Also with our priorities, in our tables, and in words that we would use ourselves."""
    (index,) = [link.index for link in ask(host, Kernel.read).links if link.name == "wan1"]
    table = str(BASES.table + index)
    for family, net in (("-4", "172.30.0.0/16"), ("-6", "2001:db8:30::/48")):
        host.ip(family, "rule", "add", "pref", "5002", "to", net, "lookup", "77")
        host.ip(family, "rule", "add", "pref", "5002", "oif", "wan1", "lookup", table)
        host.ip(family, "rule", "add", "pref", "5008", "oif", "wan1", "unreachable")
        host.ip(family, "route", "add", net, "dev", "wan1", "table", "77")
        host.ip(family, "route", "add", net, "dev", "wan1", "table", table, "proto", "static")
    host.ip("rule", "add", "pref", "5003", "from", "192.168.1.2", "lookup", table, "proto", "static")
    before = dump(host)
    apply(host)
    assert set(before) < set(dump(host))
    apply(host, ())
    assert dump(host) == before
    apply(host)
    ask(host, Kernel.remove_all)
    assert dump(host) == before


def test_removing_all_leaves_the_kernel_as_it_was(host: Namespace) -> None:
    before = dump(host)
    apply(host)
    assert dump(host) != before
    assert ask(host, Kernel.remove_all) == ()
    assert dump(host) == before


def test_an_interface_that_goes_and_comes_back_is_followed(host: Namespace) -> None:
    apply(host)
    host.ip("link", "del", "wan1")
    apply(host)
    assert is_right(host)
    assert [line.split("oif ")[1].split()[:2] for line in ours(dump(host)) if "wan1" in line] == [
        ["wan1", "[detached]"]
    ]
    plug(host, "wan1")
    apply(host)
    assert is_right(host)
    populate_again(host, "wan1")
    apply(host)
    assert is_right(host)
    assert [line for line in ours(dump(host)) if "default via 192.168.1.1 dev wan1" in line]


def populate_again(space: Namespace, name: str) -> None:
    for text in ADDRESSES[name]:
        space.ip("addr", "add", text, "dev", name)


def test_an_interface_that_goes_down_and_up_is_followed(host: Namespace) -> None:
    apply(host)
    host.ip("link", "set", "wan1", "down")
    apply(host)
    assert is_right(host)
    assert not [line for line in ours(dump(host)) if "dev wan1" in line]
    host.ip("link", "set", "wan1", "up")
    apply(host)
    assert is_right(host)
    assert [line for line in ours(dump(host)) if "default via 192.168.1.1 dev wan1" in line]


def test_a_new_address_and_gateway_are_followed(host: Namespace) -> None:
    """As DHCP does it: the old ones go, and with the new address comes a default route at once.

    The kernel must take that route before any rule of ours has followed.
    """
    wishes = (strict("wan1"), strict("wan2"))
    apply(host, wishes)
    for text in ADDRESSES["wan1"]:
        host.ip("addr", "del", text, "dev", "wan1")
    apply(host, wishes)
    assert is_right(host, wishes)
    assert not [line for line in ours(dump(host)) if "192.168.1.2" in line]
    for held, via in (("198.51.100.7/24", "198.51.100.1"), ("2001:db8:3::7/64", "2001:db8:3::1")):
        host.ip("addr", "add", held, "dev", "wan1")
        host.ip("route", "add", "default", "via", via, "dev", "wan1", "metric", "50")
    apply(host, wishes)
    assert is_right(host, wishes)
    found = [line for line in ours(dump(host)) if "dev wan1" in line]
    for via in ("198.51.100.1", "2001:db8:3::1"):
        assert [line for line in found if f"default via {via} dev wan1" in line]


def test_a_new_gateway_in_a_null_network_is_taken(host: Namespace) -> None:
    """Main has its network from the moment that the address is there; our rules do not hide it."""
    for net in ("198.51.0.0/16", "2001:db8::/32"):
        host.ip("route", "add", "unreachable", net)
    apply(host)
    assert [line for line in ours(dump(host)) if "multicast" in line]
    for held, via in (("198.51.100.7/24", "198.51.100.1"), ("2001:db8:3::7/64", "2001:db8:3::1")):
        host.ip("addr", "add", held, "dev", "wan1")
        host.ip("route", "add", "default", "via", via, "dev", "wan1", "metric", "50")
    wishes = (strict("wan1"), *CONFIGURED[1:])
    apply(host, wishes)
    assert is_right(host, wishes)


def test_an_interface_gets_its_first_address_and_gateway_under_our_rules(host: Namespace) -> None:
    wishes = (strict("wan3"), strict("eth2", inside=True))
    apply(host, wishes)
    news = (("wan3", "198.51.100.7/24", "198.51.100.1", "7"), ("eth2", "172.16.0.1/24", "172.16.0.254", "8"))
    for name, held, via, metric in news:
        plug(host, name)
        apply(host, wishes)
        host.ip("addr", "add", held, "dev", name)
        host.ip("route", "add", "default", "via", via, "dev", name, "metric", metric)
        apply(host, wishes)
        host.ip("route", "add", "172.30.0.0/16", "via", via, "dev", name)
        apply(host, wishes)
        host.ip("route", "del", "172.30.0.0/16")
        assert is_right(host, wishes) is False
        apply(host, wishes)
        assert is_right(host, wishes)


def test_each_fault_is_one_clear_line_and_ends_nothing(host: Namespace) -> None:
    state = ask(host, Kernel.read)
    good = steps(own(state), desired(CONFIGURED, state, BASES))
    (index,) = [link.index for link in state.links if link.name == "wan1"]
    wrong = desired([strict("wan1", "192.168.9.1")], state, Bases(300, 400)).routes
    (bad,) = [item for item in wrong if item.on_link]
    near = Step("add", bad.__class__(4, 300, bad.destination, bad.gateway, index, False, 0, None, 0))
    faults = ask(host, lambda kernel: _read_and_apply(kernel, (near, *good)))
    assert faults == (
        "cannot add the route 0.0.0.0/0 via 192.168.9.1 dev wan1 of table 300: Nexthop has invalid gateway",
    )
    assert is_right(host)


async def _read_and_apply(kernel: Kernel, changes: Sequence[Step]) -> tuple[str, ...]:
    await kernel.read()
    return await kernel.apply(changes)


def test_steps_that_somebody_else_took_already_are_no_faults(host: Namespace) -> None:
    there = apply(host)
    before = dump(host)
    assert ask(host, lambda kernel: kernel.apply(there)) == ()
    assert dump(host) == before
    gone = apply(host, ())
    assert ask(host, lambda kernel: kernel.apply(gone)) == ()


@pytest.mark.parametrize("words", ["link del wan1", "link set wan1 down"])
def test_steps_that_came_too_late_for_their_interface_are_no_faults(host: Namespace, words: str) -> None:
    """Whoever watches hears of it, and takes other steps."""
    state = ask(host, Kernel.read)
    late = steps(own(state), desired(CONFIGURED[:1], state, BASES))
    host.ip(*words.split())
    assert ask(host, lambda kernel: kernel.apply(late)) == ()
    apply(host)
    assert is_right(host)


def test_main_is_read_by_interface(host: Namespace) -> None:
    hops = ("nexthop", "via", "192.168.1.7", "dev", "wan1", "nexthop", "via", "192.168.1.8", "dev", "wan2")
    host.ip("route", "add", "172.18.0.0/16", *hops)
    host.ip("route", "add", "172.19.0.0/16", "proto", "bird", *hops)
    host.ip("route", "add", "unreachable", "172.20.0.0/16", "proto", "bird")

    async def read(kernel: Kernel) -> tuple[KernelState, KernelState]:
        return await kernel.read(), await kernel.read(lambda _: ("wan1", "gone0"))

    whole, part = ask(host, read)
    (index,) = [link.index for link in whole.links if link.name == "wan1"]
    routing_daemons = {route for route in whole.routes if route.destination == prefix("172.19.0.0/16")}
    assert {route.index for route in routing_daemons} > {index}
    assert set(part.routes) == {route for route in whole.routes if route.index == index or route not in routing_daemons}
    assert len(set(part.routes)) == len(part.routes) < len(whole.routes)
    assert part.links == whole.links


# A thousand jumps

POOL = (
    "192.168.1.2/24",
    "192.168.1.3/24",
    "10.0.0.1/8",
    "203.0.113.5/32",
    "2001:db8:1::2/64",
    "2001:db8:1::3/64",
    "2001:db8:2::2/48",
)
GATEWAYS = ("192.168.1.1", "10.0.0.254", "198.51.100.1", "2001:db8:1::1", "fe80::1", "2001:db8:ff::1")
CARDS = ("wan1", "wan2", "eth1", "mgmt0")
STRICT = CARDS[:3]
NETWORKS = ("10.0.0.0/9", "172.16.0.0/14", "2001:db8::/40")
NULLS_IN_WEATHER = ("172.20.0.0/16", "10.128.0.0/9", "203.0.113.0/24", "2001:db8:77::/56", "2001:db8:4000::/34")
PATHS: tuple[dict[str, object], ...] = ({}, {}, {"metrics": {"mtu": 1400}}, {"metrics": {"mtu": 1300, "advmss": 1200}})


class Weather:
    """What befalls a host's interfaces: a random change at a time."""

    def __init__(self, netlink: AsyncIPRoute, chance: random.Random) -> None:
        self._netlink = netlink
        self._chance = chance

    async def change(self) -> None:
        """One change; the kernel may refuse it."""
        kinds = (self._switch, self._number, self._route, self._null, self._replace)
        what = self._chance.choices(kinds, (3, 5, 5, 2, 1))[0]
        with contextlib.suppress(NetlinkError):
            await what(self._chance.choice(CARDS))

    async def _index(self, name: str) -> int:
        return (await self._netlink.link_lookup(ifname=name) or (0,))[0]

    async def _switch(self, name: str) -> None:
        await self._netlink.link("set", index=await self._index(name), state=self._chance.choice(("up", "up", "down")))

    async def _number(self, name: str) -> None:
        head, _, length = self._chance.choice(POOL).partition("/")
        verb = self._chance.choice(("add", "add", "del"))
        await self._netlink.addr(verb, index=await self._index(name), address=head, prefixlen=int(length))

    async def _null(self, _: str) -> None:
        net = self._chance.choice(NULLS_IN_WEATHER)
        await self._netlink.route(
            self._chance.choice(("add", "add", "del")),
            family=socket.AF_INET6 if ":" in net else socket.AF_INET,
            dst=net,
            type=self._chance.choice(NULL_KINDS),
        )

    async def _route(self, name: str) -> None:
        gateway = self._chance.choice(GATEWAYS)
        nearer = "2001:db8:77:1::/64" if ":" in gateway else "10.5.0.0/16"
        await self._netlink.route(
            self._chance.choice(("add", "add", "del")),
            family=socket.AF_INET6 if ":" in gateway else socket.AF_INET,
            dst=self._chance.choice(("default", "2001:db8:77::/48" if ":" in gateway else "172.16.0.0/12", nearer)),
            gateway=gateway,
            oif=await self._index(name),
            priority=self._chance.choice((100, 200)),
            flags=self._chance.choice(((), ("onlink",))),
            **self._chance.choice(PATHS),
        )

    async def _replace(self, name: str) -> None:
        index = await self._index(name)
        if index and self._chance.random() < 0.3:
            await self._netlink.link("del", index=index)
        elif not index:
            await self._netlink.link("add", ifname=name, kind="veth", peer=f"far-{name}")
            for end in (name, f"far-{name}"):
                await self._netlink.link("set", index=await self._index(end), state="up")


class Wish(NamedTuple):
    """What a configuration asks for."""

    interfaces: list[Strict]
    bases: Bases
    networks: list[Prefix]


def random_wish(chance: random.Random) -> Wish:
    names = chance.sample(STRICT, chance.randint(0, len(STRICT)))
    wishes = [
        strict(name, *chance.sample(GATEWAYS, chance.randint(0, 2)), inside=name == "eth1" or chance.random() < 0.1)
        for name in names
    ]
    bases = chance.choice((BASES, BASES, Bases(20_000, 5_000), Bases(10_000, 6_000)))
    return Wish(wishes, bases, list(map(prefix, chance.sample(NETWORKS, chance.randint(0, 2)))))


async def jump(kernel: Kernel, weather: Weather, chance: random.Random) -> None:
    """Something changes; a run is killed somewhere, perhaps before its first step or after its last."""
    for _ in range(chance.randint(0, 3)):
        await weather.change()
    state = await kernel.read()
    wish = random_wish(chance)
    for _ in range(chance.randint(0, 1)):
        await weather.change()  # what was read is not true any more
    changes = steps(own(state), desired(wish.interfaces, state, wish.bases, wish.networks))
    await kernel.apply(changes[: chance.randint(0, len(changes))])


async def at_rest(kernel: Kernel) -> None:
    """Wait for what the kernel does in its own time: carriers, link-local addresses."""
    before = await kernel.read()
    for _ in range(100):
        await asyncio.sleep(0.02)
        now = await kernel.read()
        if now == before:
            return
        before = now


def test_after_a_thousand_jumps_one_run_ends_as_a_fresh_start_does(host: Namespace) -> None:
    chance = random.Random(1000)

    async def journey(kernel: Kernel) -> None:
        async with AsyncIPRoute() as netlink:
            weather = Weather(netlink, chance)
            for number in range(1, 1001):
                await jump(kernel, weather, chance)
                if number % 50 == 0:
                    await compare(kernel)

    async def compare(kernel: Kernel) -> None:
        await at_rest(kernel)
        wish = random_wish(chance)
        await settle(kernel, *wish)
        assert await settle(kernel, *wish) == ()
        after_jumps = dump(host)
        assert await kernel.remove_all() == ()
        assert not ours(dump(host))
        await settle(kernel, *wish)
        assert dump(host) == after_jumps

    ask(host, journey)


# Packets

TARGET = {4: "203.0.113.9", 6: "2001:db8:9::9"}
NOBODY = {4: "203.0.113.99", 6: "2001:db8:9::99"}
SOURCES = {"wan1": {4: "192.168.1.2", 6: "2001:db8:1::2"}, "wan2": {4: "192.168.1.3", 6: "2001:db8:1::3"}}
ROUTER = {4: "192.168.1.1", 6: "2001:db8:1::1"}
INSIDE = {4: "10.0.0.1", 6: "fd00::1"}
BEHIND = {4: "10.5.0.9", 6: "fd05::9"}
PORT, CLOSED, LISTENING = 8080, 81, 1080
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
UPLINKS = (strict("wan1", *ROUTER.values()), strict("wan2", *ROUTER.values()), strict("eth1", inside=True))
"""Both on one network, with the same gateway address, but on two cables."""

both_families = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


class Net(NamedTuple):
    """A gateway, two outsides that look alike, an inside host that is a router too, and an administrator's host."""

    gateway: Namespace
    outsides: dict[str, Namespace]
    inside: Namespace
    management: Namespace

    def connect(self, version: int, device: str = "", source: str = "", to: str = "") -> int | str:
        """What the server at the other end says, or the error's number; EINPROGRESS: nobody answered in time."""
        with self.gateway.inside():
            sock = socket.socket(FAMILIES[version], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with sock:
            if device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            if source:
                sock.bind((source, 0))
            return outcome(sock, (to or TARGET[version], PORT))


def outcome(sock: socket.socket, endpoint: tuple[str, int]) -> int | str:
    code = sock.connect_ex(endpoint)
    if code != errno.EINPROGRESS:
        return code
    if not select.select([], [sock], [], 0.4)[1]:
        return errno.EINPROGRESS
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        return code
    sock.settimeout(2)
    return sock.recv(100).decode()


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with contextlib.ExitStack() as stack:
        gateway, one, two, inside, management = (stack.enter_context(namespace()) for _ in range(5))
        made = Net(gateway, {"wan1": one, "wan2": two}, inside, management)
        for space in (gateway, one, two, inside, management):
            for which in ("all", "default"):
                space.sysctl(f"ipv6/conf/{which}/accept_dad", "0")
        for name, space in (*made.outsides.items(), ("eth1", inside), ("mgmt0", management)):
            gateway.ip("link", "add", name, "type", "veth", "peer", "name", "far0", "netns", space.name)
            gateway.ip("link", "set", name, "up")
            space.ip("link", "set", "far0", "up")
            # nobody waits three seconds for an address that does not answer
            gateway.sysctl(f"ipv4/neigh/{name}/retrans_time_ms", "50")
        for name, space in made.outsides.items():
            furnish_outside(stack, space, name)
        for space, device, texts in (
            (gateway, "eth1", ("10.0.0.1/24", "fd00::1/64")),
            (inside, "far0", ("10.0.0.9/24", "fd00::9/64")),
            (inside, "lo", tuple(BEHIND.values())),
            (gateway, "mgmt0", ("172.16.9.1/24", "fd09::1/64")),
            (management, "far0", ("172.16.9.9/24", "fd09::9/64")),
        ):
            for text in texts:
                space.ip("addr", "add", text, "dev", device)
        for via in ("172.16.9.1", "fd09::1"):
            management.ip("route", "add", "default", "via", via)
        yield made


def furnish_outside(stack: contextlib.ExitStack, space: Namespace, name: str) -> None:
    """A router, and behind it a target that says by which cable it was reached."""
    for text in (f"{ROUTER[4]}/24", f"{ROUTER[6]}/64"):
        space.ip("addr", "add", text, "dev", "far0")
    for version, via in ((4, SOURCES[name][4]), (6, SOURCES[name][6])):
        space.ip("addr", "add", f"{TARGET[version]}/{32 if version == 4 else 128}", "dev", "lo")
        space.ip("route", "add", INSIDE[version], "via", via)
    with space.inside():
        peers = [Peer(lambda sock: sock.sendall(name.encode()), host, PORT) for host in TARGET.values()]
    for peer in peers:
        stack.enter_context(peer)


@pytest.fixture
def gateway(net: Net) -> Iterator[Namespace]:
    """The uplinks' addresses and main's routes are new in each test; no rule of ours is there yet."""
    space = net.gateway
    for metric, (name, held) in enumerate(SOURCES.items(), 1):
        space.ip("addr", "add", f"{held[4]}/24", "dev", name)
        space.ip("addr", "add", f"{held[6]}/64", "dev", name)
        for version in (4, 6):
            space.ip("route", "add", "default", "via", ROUTER[version], "dev", name, "metric", str(metric * 100))
    yield space
    ask(space, Kernel.remove_all)
    for name in SOURCES:
        space.sysctl(f"ipv4/conf/{name}/rp_filter", "0")
        space.ip("link", "set", name, "down")
        space.ip("addr", "flush", "dev", name)
        space.ip("link", "set", name, "up")


def other(device: str) -> str:
    return "wan2" if device == "wan1" else "wan1"


def sent_to(seen: Capture, target: str) -> int:
    return len(seen.packets(destination=target, outgoing=True))


@both_families
@pytest.mark.parametrize("device", ["wan1", "wan2"])
def test_a_connection_leaves_by_its_own_device_only(net: Net, gateway: Namespace, device: str, version: int) -> None:
    apply(gateway, UPLINKS)
    with capture(gateway, other(device)) as wrong, capture(gateway, device) as right:
        assert net.connect(version, device, SOURCES[device][version]) == device
        assert net.connect(version, "", SOURCES[device][version]) == device, "the source address alone decides as well"
        assert sent_to(right, TARGET[version])
        assert not sent_to(wrong, TARGET[version])


@both_families
def test_without_a_route_nothing_leaves_by_the_other_device(net: Net, gateway: Namespace, version: int) -> None:
    """The only default route is the other uplink's: what is bound to the source alone would take it."""
    gateway.ip(f"-{version}", "route", "del", "default", "dev", "wan1")
    source, target = SOURCES["wan1"][version], NOBODY[version]
    with capture(gateway, "wan2") as leak:
        net.connect(version, "", source, target)
        assert sent_to(leak, target), "without our rules it does"
    apply(gateway, (strict("wan1"), strict("wan2")))
    with capture(gateway, "wan2") as leak, capture(gateway, "wan1") as right:
        assert net.connect(version, "", source, target) == errno.ENETUNREACH
        for bound_source in (source, ""):
            # of IPv4 the kernel takes it to be on the link, and asks there
            refused = {4: errno.EHOSTUNREACH, 6: errno.ENETUNREACH}[version]
            assert net.connect(version, "wan1", bound_source, target) == refused
        assert not sent_to(leak, target)
        assert not sent_to(right, target)
    assert neighbours(gateway, target) == {4: {"wan1"}, 6: set()}[version]


def neighbours(space: Namespace, target: str) -> set[str]:
    """The devices on which somebody has asked for an address."""
    command = ["ip", "-n", space.name, "neigh", "show", "to", target]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split(" dev ")[1].split()[0] for line in lines}


@both_families
def test_with_the_device_down_nothing_leaves_by_the_other(net: Net, gateway: Namespace, version: int) -> None:
    apply(gateway, UPLINKS)
    gateway.ip("link", "set", "wan1", "down")
    with capture(gateway, "wan2") as leak:
        for _ in range(2):  # before the change is followed, and after
            outcomes = {net.connect(version, "wan1")}
            if version == 4:  # IPv6 addresses go with the link
                outcomes |= {net.connect(version, device, SOURCES["wan1"][version]) for device in ("wan1", "")}
            assert outcomes <= {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENODEV}
            apply(gateway, UPLINKS)
        assert not sent_to(leak, TARGET[version])


def test_the_reverse_path_filter_lets_answers_in(net: Net, gateway: Namespace) -> None:
    gateway.sysctl("ipv4/conf/wan2/rp_filter", "1")
    assert net.connect(4, "wan2", SOURCES["wan2"][4]) == errno.EINPROGRESS, "without our rules it does not"
    apply(gateway, UPLINKS)
    assert net.connect(4, "wan2", SOURCES["wan2"][4]) == "wan2"


def knock(space: Namespace, host: str, port: int, source: str = "") -> int | str:
    """What becomes of a connection to the gateway; 0 when somebody accepts."""
    with space.inside():
        sock = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        )
    with sock:
        if source:
            sock.bind((source, 0))
        code = sock.connect_ex((host, port))
        if code == errno.EINPROGRESS and select.select([], [sock], [], 0.3)[1]:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return code


@both_families
def test_the_inside_address_does_not_answer_on_the_outside_card(net: Net, gateway: Namespace, version: int) -> None:
    host, outside = INSIDE[version], net.outsides["wan1"]
    with gateway.inside():
        listener = socket.socket(FAMILIES[version])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth1")
        listener.bind((host, LISTENING))
        listener.listen()
    with listener:
        assert knock(outside, host, LISTENING) == errno.ECONNREFUSED, "without our rules it resets"
        apply(gateway, UPLINKS)
        with capture(gateway, "wan1") as seen, capture(gateway, "wan2") as elsewhere:
            for port in (LISTENING, CLOSED):
                assert knock(outside, host, port) == errno.EINPROGRESS
            assert {packet.flags for packet in seen.packets(destination=host, outgoing=False)} == {"S"}
            for card in (seen, elsewhere):
                assert not card.packets(source=host, outgoing=True)
        assert knock(net.inside, host, LISTENING) == 0
        assert knock(net.inside, host, CLOSED) == errno.ECONNREFUSED


@both_families
def test_an_uplinks_address_answers_inside_hosts_on_the_inside(net: Net, gateway: Namespace, version: int) -> None:
    """The rule for inside networks stands before those for source addresses."""
    net.inside.ip("route", "replace", SOURCES["wan1"][version], "via", INSIDE[version])
    apply(gateway, UPLINKS)
    assert knock(net.inside, SOURCES["wan1"][version], CLOSED) == errno.ECONNREFUSED


@both_families
def test_a_host_by_a_card_that_is_no_uplink_gets_answers_from_every_address(
    net: Net, gateway: Namespace, version: int
) -> None:
    apply(gateway, UPLINKS)
    for host in (INSIDE[version], SOURCES["wan1"][version], SOURCES["wan2"][version]):
        assert knock(net.management, host, CLOSED) == errno.ECONNREFUSED


@contextlib.contextmanager
def routed(space: Namespace, *words: str) -> Iterator[None]:
    """Main has a route for so long."""
    space.ip("route", "add", *words)
    try:
        yield
    finally:
        space.ip("route", "del", *words)


@both_families
def test_a_host_behind_a_router_of_the_inside_gets_answers_from_every_address(
    net: Net, gateway: Namespace, version: int
) -> None:
    for host in (SOURCES["wan1"][version], SOURCES["wan2"][version]):
        net.inside.ip("route", "replace", host, "via", INSIDE[version])
    network, via = {4: ("10.5.0.0/16", "10.0.0.9"), 6: ("fd05::/16", "fd00::9")}[version]
    with routed(gateway, network, "via", via, "dev", "eth1"):
        apply(gateway, UPLINKS)
        for host in (INSIDE[version], SOURCES["wan1"][version], SOURCES["wan2"][version]):
            assert knock(net.inside, host, CLOSED, BEHIND[version]) == errno.ECONNREFUSED


@both_families
def test_the_inside_address_does_not_answer_an_uplinks_network_within_a_near_one(
    net: Net, gateway: Namespace, version: int
) -> None:
    """Main alone would send the answer out, as it has the longer prefix there."""
    host, outside = INSIDE[version], net.outsides["wan1"]
    network, via = {4: ("192.168.0.0/16", "10.0.0.9"), 6: ("2001:db8::/32", "fd00::9")}[version]
    with routed(gateway, network, "via", via, "dev", "eth1"):
        apply(gateway, UPLINKS)
        with capture(gateway, "wan1") as seen, capture(gateway, "wan2") as elsewhere:
            assert knock(outside, host, CLOSED) == errno.EINPROGRESS
            assert seen.packets(destination=host, outgoing=False)
            for card in (seen, elsewhere):
                assert not card.packets(source=host, outgoing=True)
        assert knock(outside, SOURCES["wan1"][version], CLOSED) == errno.ECONNREFUSED, "the uplink's own does"
        assert net.connect(version, "wan1", SOURCES["wan1"][version]) == "wan1"


@both_families
@pytest.mark.parametrize("kind", NULL_KINDS)
def test_a_null_route_holds_for_what_is_bound_to_an_uplink(
    net: Net, gateway: Namespace, version: int, kind: str
) -> None:
    source, target = SOURCES["wan1"][version], TARGET[version]
    apply(gateway, UPLINKS)
    assert net.connect(version, "wan1", source) == "wan1", "without one it is reached"
    gateway.ip("neigh", "flush", "dev", "wan1")
    with routed(gateway, kind, target):
        apply(gateway, UPLINKS)
        with capture(gateway, "wan1") as one, capture(gateway, "wan2") as two:
            for device, bound in (("wan1", source), ("wan1", ""), ("", source), ("wan2", "")):
                assert net.connect(version, device, bound) in {
                    errno.ENETUNREACH,
                    errno.EINVAL,
                    errno.EACCES,
                    errno.EHOSTUNREACH,
                }
            assert not sent_to(one, target) + sent_to(two, target)
        assert not neighbours(gateway, target), "nobody is asked for it either"


@both_families
def test_an_uplinks_own_way_within_a_null_network_is_taken(net: Net, gateway: Namespace, version: int) -> None:
    target = Prefix.host(address(TARGET[version]))
    around = Prefix.around(target.address, target.length - 8)
    with (
        routed(gateway, "unreachable", str(around)),
        routed(gateway, str(target), "via", ROUTER[version], "dev", "wan1"),
    ):
        apply(gateway, UPLINKS)
        assert net.connect(version, "wan1", SOURCES["wan1"][version]) == "wan1"
        assert net.connect(version, "wan2", SOURCES["wan2"][version]) == errno.ENETUNREACH


@both_families
def test_what_is_meant_for_the_inside_does_not_leave_when_the_inside_is_down(
    net: Net, gateway: Namespace, version: int
) -> None:
    """Neither main's default route nor an uplink's is a way to an inside network."""
    host, network = {4: ("10.0.0.9", "10.0.0.0/24"), 6: ("fd00::9", "fd00::/64")}[version]
    apply(gateway, UPLINKS)
    gateway.ip("route", "del", network, "dev", "eth1")
    apply(gateway, UPLINKS)
    try:
        with capture(gateway, "wan1") as one, capture(gateway, "wan2") as two:
            for source in ("", INSIDE[version], SOURCES["wan1"][version]):
                assert net.connect(version, "", source, host) == errno.ENETUNREACH
            assert not sent_to(one, host) + sent_to(two, host)
    finally:
        gateway.ip("route", "add", network, "dev", "eth1")


def test_a_conversation_leaves_no_descriptor(host: Namespace) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        ask(host, Kernel.read)
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
