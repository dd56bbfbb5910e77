"""Probes on real cables: two uplinks, by each of which the same targets can be reached, and one goes dead far away."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from gateway.config.settings import Probe
from gateway.net.probe import probe, probe_round
from gateway.policy.egress import Egress
from tests.support.nameserver import NameServer
from tests.support.netns import Namespace, namespace, needs_namespaces
from tests.support.peers import Peer, silent
from tests.support.rules import address

pytestmark = needs_namespaces

TARGET, TARGET6 = "203.0.113.1", "2001:db8:f::1"
#: nobody holds these, but the far end knows that there is no way to them
NOWHERE = "203.0.113.99"
WEB, NAMES = 443, 53
SECONDS = 0.3


class Side(NamedTuple):
    """An uplink: what is on the near end, and who is on the far end."""

    device: str
    near: str
    near6: str
    far: str
    far6: str

    def way(self, version: int = 4) -> Egress:
        """The way out by it."""
        return Egress(self.device, self.device, address(self.near if version == 4 else self.near6))


WAN1 = Side("wan1", "192.0.2.10", "2001:db8:1::10", "192.0.2.1", "2001:db8:1::1")
WAN2 = Side("wan2", "198.51.100.10", "2001:db8:2::10", "198.51.100.1", "2001:db8:2::1")
SIDES = (WAN1, WAN2)


class World(NamedTuple):
    """The gateway, and for each uplink the host at its far end with its targets."""

    gateway: Namespace
    outside: dict[str, Namespace]
    web: dict[str, tuple[Peer, Peer]]
    names: dict[str, "Recorder"]

    def probe(self, target: Probe, way: Egress, seconds: float = SECONDS) -> str | None:
        """One probe from the gateway."""
        with self.gateway.inside():
            return asyncio.run(probe(target, way, seconds))

    def callers(self, side: Side) -> list[str]:
        """The source addresses that the web servers on this side have seen since they were last asked about."""
        found = []
        for peer in self.web[side.device]:
            with self.outside[side.device].inside():
                peer.called()
            found += [host for host, _ in peer.callers]
            peer.callers.clear()
        return found

    @contextlib.contextmanager
    def dead(self, side: Side) -> Iterator[None]:
        """Whatever comes to this far end for the targets vanishes; the link stays."""
        outside = self.outside[side.device]
        for target in (f"{TARGET}/32", f"{TARGET6}/128"):
            outside.ip("addr", "del", target, "dev", "lo")
            outside.ip("route", "add", "blackhole", target)
        try:
            yield
        finally:
            for target in (f"{TARGET}/32", f"{TARGET6}/128"):
                outside.ip("route", "del", "blackhole", target)
                outside.ip("addr", "add", target, "dev", "lo")


class Recorder(NameServer):
    """A name server that keeps who asked."""

    def __init__(self, host: str) -> None:
        super().__init__({}, host, NAMES)
        self.callers: list[str] = []

    def _answer(self, query: bytes, client: tuple[str, int]) -> None:
        self.callers.append(client[0])
        super()._answer(query, client)


def tie(gateway: Namespace, outside: Namespace, side: Side, metric: int) -> None:
    """A cable, and a default route by it."""
    gateway.ip("link", "add", side.device, "type", "veth", "peer", "name", "out0", "netns", outside.name)
    ends = ((gateway, side.device, side.near, side.near6), (outside, "out0", side.far, side.far6))
    for space, device, four, six in ends:
        space.ip("addr", "add", f"{four}/24", "dev", device)
        space.ip("addr", "add", f"{six}/64", "dev", device, "nodad")
        space.ip("link", "set", device, "up")
    gateway.ip("route", "add", "default", "via", side.far, "dev", side.device, "metric", str(metric))
    gateway.ip("-6", "route", "add", "default", "via", side.far6, "dev", side.device, "metric", str(metric))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(namespace())
        outside = {side.device: stack.enter_context(namespace()) for side in SIDES}
        made = World(gateway, outside, {}, {})
        for metric, side in enumerate(SIDES, 100):
            space = outside[side.device]
            for which in ("all", "default"):  # new addresses serve at once, not after a second
                space.sysctl(f"ipv6/conf/{which}/accept_dad", "0")
                gateway.sysctl(f"ipv6/conf/{which}/accept_dad", "0")
            tie(gateway, space, side, metric)
            space.ip("addr", "add", f"{TARGET}/32", "dev", "lo")
            space.ip("addr", "add", f"{TARGET6}/128", "dev", "lo", "nodad")
            space.ip("route", "add", "unreachable", NOWHERE)
            space.sysctl("ipv4/ip_forward", "1")  # else it drops what is not for itself, and says nothing
            space.sysctl("ipv4/icmp_ratelimit", "0")  # it may say so twice in a second
            with space.inside():
                peers = (Peer(silent, TARGET, WEB), Peer(silent, TARGET6, WEB))
                made.names[side.device] = Recorder(TARGET)
            stack.enter_context(made.names[side.device])
            made.web[side.device] = (stack.enter_context(peers[0]), stack.enter_context(peers[1]))
            settle(gateway, side)
        yield made


def settle(gateway: Namespace, side: Side) -> None:
    """The first packet to a new neighbour can wait a second for the link; not in a test."""
    for host, family in ((side.far, socket.AF_INET), (side.far6, socket.AF_INET6)):
        with gateway.inside(), socket.socket(family) as sock:
            sock.settimeout(5)
            with contextlib.suppress(ConnectionRefusedError):
                sock.connect((host, 9))


def web(host: str = TARGET) -> Probe:
    return Probe("tcp", address(host), WEB)


DNS = Probe("dns", address(TARGET), NAMES)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.device)
def test_a_probe_leaves_by_its_uplink_with_its_address(world: World, side: Side, version: int) -> None:
    """By wan2 too, though the route by wan1 is preferred."""
    way = side.way(version)
    assert world.probe(web(TARGET if version == 4 else TARGET6), way, 2) is None
    seen = {one.device: world.callers(one) for one in SIDES}
    assert seen == {WAN1.device: [], WAN2.device: [], side.device: [str(way.source)]}


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.device)
def test_a_query_leaves_by_its_uplink_with_its_address(world: World, side: Side) -> None:
    before = {device: len(names.callers) for device, names in world.names.items()}
    assert world.probe(DNS, side.way(), 2) is None
    seen = {device: names.callers[before[device] :] for device, names in world.names.items()}
    assert seen == {WAN1.device: [], WAN2.device: [], side.device: [side.near]}


@pytest.mark.parametrize(
    ("target", "version"),
    [(web(), 4), (web(TARGET6), 6), (DNS, 4)],
    ids=["TCP by IPv4", "TCP by IPv6", "DNS"],
)
def test_a_probe_by_a_dead_uplink_does_not_take_the_one_that_works(world: World, target: Probe, version: int) -> None:
    asked = len(world.names[WAN2.device].callers)
    with world.dead(WAN1):
        assert world.probe(target, WAN1.way(version)) == f"{target.address} port {target.port}: timed out"
        assert world.callers(WAN2) == []
        assert len(world.names[WAN2.device].callers) == asked
        assert world.probe(target, WAN2.way(version), 2) is None, "by wan2 it is there"
    world.callers(WAN2)
    assert world.probe(target, WAN1.way(version), 2) is None, "the far end is back"
    world.callers(WAN1)


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.device)
def test_an_address_of_the_other_uplink_is_no_way_around(world: World, side: Side) -> None:
    """Device and source of different uplinks: nobody but this device's far end could hear it."""
    other = WAN2 if side is WAN1 else WAN1
    crossed = side.way()._replace(source=other.way().source)
    assert world.probe(web(), crossed) is not None
    assert world.callers(other) == []
    world.callers(side)


def test_a_router_that_knows_no_way_is_a_fault_at_once(world: World) -> None:
    began = time.monotonic()
    fault = world.probe(Probe("tcp", address(NOWHERE), WEB), WAN1.way(), 5)
    assert fault == f"{NOWHERE} port {WEB}: No route to host"
    assert time.monotonic() - began < 3


def test_a_round_is_answered_while_one_of_its_targets_is(world: World) -> None:
    ways = {4: WAN1.way(), 6: WAN1.way(6)}
    targets = (Probe("tcp", address(NOWHERE), WEB), web(TARGET6))
    with world.gateway.inside():
        assert asyncio.run(probe_round(targets, ways, 2)) == (True, "")
        del ways[6]
        assert asyncio.run(probe_round(targets, ways, 2)) == (
            False,
            f"{NOWHERE} port {WEB}: No route to host; {TARGET6} port {WEB}: no IPv6 address",
        )
    world.callers(WAN1)
