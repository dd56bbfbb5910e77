"""Outgoing connections: one endpoint, and the race between several (RFC 8305)."""

import asyncio
import errno
import socket
from collections.abc import Iterator

import pytest

from gateway.address import Address, Endpoint
from gateway.net import dialer
from gateway.net.dialer import ATTEMPT_DELAY, Spare, dial, dial_any, interleave, race
from gateway.net.loop import PathLoop, Poller
from gateway.net.sockets import Socket
from gateway.policy.egress import Egress, Hop
from tests.support.peers import has_ipv6
from tests.support.playbook import endpoint
from tests.support.rawsocks import LINGER_NONE
from tests.support.rules import address
from tests.unit.net.stage import Stage, descriptors, silent_target


class Client:
    """Who dialled, and what it was told."""

    def __init__(self) -> None:
        self.socks: list[Socket] = []
        self.remotes: list[Address] = []
        self.failures: list[tuple[int, str]] = []

    def dial_succeeded(self, sock: Socket, remote: Address, _events: int) -> None:
        """As `Dialled`."""
        self.socks.append(sock)
        self.remotes.append(remote)

    def dial_failed(self, number: int, call: str) -> None:
        """As `Dialled`."""
        self.failures.append((number, call))


class Targets:
    """Servers that answer, ports that refuse, and ports that never answer."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []

    def answering(self, host: str = "127.0.0.1", port: int = 0) -> Endpoint:
        """Somebody listens here."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = socket.create_server((host, port), family=family)
        self._open.append(server)
        return endpoint(f"[{host}]:{server.getsockname()[1]}")

    def refusing(self, host: str = "127.0.0.1") -> Endpoint:
        """Nobody listens here."""
        with socket.create_server((host, 0)) as probe:
            return endpoint(f"{host}:{probe.getsockname()[1]}")

    def silent(self) -> Endpoint:
        """A listener whose queue is full: nothing is ever answered."""
        return silent_target(self._open)

    def close(self) -> None:
        """Close them all."""
        for sock in self._open:
            sock.close()


def hops(*endpoints: Endpoint) -> list[Hop]:
    """By whatever way the kernel chooses."""
    return list(map(Hop, endpoints))


@pytest.fixture
def targets() -> Iterator[Targets]:
    made = Targets()
    yield made
    made.close()


# One endpoint


def test_one_endpoint_that_answers(stage: Stage, targets: Targets) -> None:
    client = Client()
    where = targets.answering()
    assert dial(stage.poller, client, Hop(where)) is not None
    assert stage.until(lambda: client.socks)
    (sock,) = client.socks
    assert sock.getpeername() == ("127.0.0.1", where.port)
    assert client.remotes == [where.address]
    assert stage.poller.handlers, "the poller watches it for whoever takes it over"
    stage.poller.close_later(sock.fileno(), sock)


def test_one_endpoint_that_refuses(stage: Stage, targets: Targets) -> None:
    before = descriptors()
    client = Client()
    dial(stage.poller, client, Hop(targets.refusing()))
    assert stage.until(lambda: client.failures) == [(errno.ECONNREFUSED, "connect()")]
    stage.rest(0.005)
    assert descriptors() == before
    assert client.socks == []


BROADCAST = endpoint("127.255.255.255:80")
"""No connection can go there; the kernel says so at once (connect(2), ENETUNREACH)."""


def test_one_endpoint_that_fails_at_once(stage: Stage) -> None:
    before = descriptors()
    client = Client()
    assert dial(stage.poller, client, Hop(BROADCAST)) is None, "None says that the client was told already"
    assert client.failures == [(errno.ENETUNREACH, "connect()")]
    assert descriptors() == before


def test_giving_an_attempt_up_tells_nobody_and_closes(stage: Stage, targets: Targets) -> None:
    before = descriptors()
    client = Client()
    attempt = dial(stage.poller, client, Hop(targets.silent()))
    open_now = descriptors()
    assert attempt is not None
    attempt.cancel()
    attempt.cancel()
    stage.rest(0.005)
    assert descriptors() == open_now - 1
    assert (client.socks, client.failures) == ([], [])
    assert descriptors() > before


# The order of several


def test_the_families_take_turns_and_the_first_one_leads() -> None:
    four = hops(*(endpoint(f"192.0.2.{n}:80") for n in (1, 2, 3)))
    six = hops(*(endpoint(f"[2001:db8::{n}]:80") for n in (1, 2)))
    assert interleave([*four, *six]) == [four[0], six[0], four[1], six[1], four[2]]
    assert interleave([six[0], *four, six[1]]) == [six[0], four[0], six[1], four[1], four[2]]
    assert interleave(four) == four
    assert interleave([]) == []


# The race


def test_the_first_that_answers_wins_and_no_other_is_tried(stage: Stage, targets: Targets) -> None:
    before = descriptors()
    first = targets.answering()
    second = targets.answering()
    sock = stage.run(race(stage.loop, hops(first, second)))
    assert sock.getpeername()[1] == first.port
    assert descriptors() == before + 2 + 1
    sock.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """To wait before the next attempt takes so long that a busy machine does not look like it."""
    monkeypatch.setattr(dialer, "ATTEMPT_DELAY", 5.0)


@pytest.mark.usefixtures("patient")
def test_a_dead_first_address_costs_no_time_when_it_refuses(stage: Stage, targets: Targets) -> None:
    started = stage.loop.time()
    second = targets.answering("::1")
    sock = stage.run(race(stage.loop, hops(targets.refusing(), second)))
    assert sock.getpeername()[1] == second.port
    assert stage.loop.time() - started < 4
    sock.close()


def test_a_silent_first_address_costs_a_quarter_of_a_second(stage: Stage, targets: Targets) -> None:
    silent, second = targets.silent(), targets.answering()
    before = descriptors()
    started = stage.loop.time()
    sock = stage.run(race(stage.loop, hops(silent, second)))
    assert sock.getpeername()[1] == second.port
    assert ATTEMPT_DELAY * 0.9 < stage.loop.time() - started < ATTEMPT_DELAY + 5
    sock.close()
    stage.rest(0.005)
    assert descriptors() == before


def test_when_all_fail_the_last_failure_is_told(stage: Stage, targets: Targets) -> None:
    before = descriptors()
    with pytest.raises(OSError, match="Network is unreachable"):
        stage.run(race(stage.loop, hops(targets.refusing(), targets.refusing(), BROADCAST)))
    with pytest.raises(ConnectionRefusedError):
        stage.run(race(stage.loop, hops(BROADCAST, targets.refusing())))
    assert descriptors() == before


def test_without_an_address_the_host_is_unreachable(stage: Stage) -> None:
    with pytest.raises(OSError, match="No route to host"):
        stage.run(race(stage.loop, []))


@pytest.mark.parametrize("after", [0.0, 0.01, ATTEMPT_DELAY + 0.05])
def test_giving_the_race_up_closes_every_socket(stage: Stage, targets: Targets, after: float) -> None:
    silent = [targets.silent() for _ in range(3)]
    before = descriptors()
    task = stage.loop.create_task(race(stage.loop, hops(*silent)))
    stage.rest(after)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        stage.run(task)
    stage.rest(0.01)
    assert descriptors() == before


def test_giving_the_race_up_when_it_is_won_closes_the_winner(stage: Stage, targets: Targets) -> None:
    where = targets.answering()
    before = descriptors()
    for turns in range(8):
        task = stage.loop.create_task(race(stage.loop, hops(where)))
        stage.turns(turns)
        if task.done():
            task.result().close()
        else:
            task.cancel()
        stage.rest(0.01)
        assert descriptors() == before, f"given up after {turns} turns of the loop"


# The race, for a client


def test_several_endpoints_for_a_client(stage: Stage, targets: Targets) -> None:
    client = Client()
    where = targets.answering()
    stage.run(dial_any(stage.poller, client, hops(targets.refusing(), where), Spare(4)))
    (sock,) = client.socks
    assert client.remotes == [where.address]
    assert sock.getpeername()[1] == where.port
    assert stage.poller.handlers
    stage.poller.close_later(sock.fileno(), sock)


def test_several_endpoints_that_all_fail_for_a_client(stage: Stage, targets: Targets) -> None:
    client = Client()
    stage.run(dial_any(stage.poller, client, hops(targets.refusing(), targets.refusing()), Spare(4)))
    assert client.failures == [(errno.ECONNREFUSED, "connect()")]


# By a way out

LOW, HIGH = (Egress(f"wan{number}", "lo", address(f"127.0.0.{number}")) for number in (7, 8))
GONE = Egress("wan1", "nonesuch0", address("127.0.0.7"))
MOVED = Egress("wan1", "lo", address("192.0.2.77"))


def device_of(sock: Socket | socket.socket) -> str:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode()


def test_one_endpoint_is_dialled_from_the_address_and_by_the_device_of_its_way(stage: Stage, targets: Targets) -> None:
    client = Client()
    dial(stage.poller, client, Hop(targets.answering(), LOW))
    assert stage.until(lambda: client.socks)
    (sock,) = client.socks
    assert sock.getsockname()[0] == "127.0.0.7"
    assert device_of(sock) == "lo"
    stage.poller.close_later(sock.fileno(), sock)


@pytest.mark.skipif(not has_ipv6(), reason="needs ::1 on the loopback interface")
def test_so_it_is_by_ipv6(stage: Stage, targets: Targets) -> None:
    client = Client()
    dial(stage.poller, client, Hop(targets.answering("::1"), Egress("wan1", "lo", address("::1"))))
    assert stage.until(lambda: client.socks)
    (sock,) = client.socks
    assert (sock.getsockname()[0], device_of(sock)) == ("::1", "lo")
    stage.poller.close_later(sock.fileno(), sock)


UNUSABLE = [
    pytest.param(GONE, errno.ENODEV, "bind() to 127.0.0.7 on nonesuch0", id="its device has gone"),
    pytest.param(MOVED, errno.EADDRNOTAVAIL, "bind() to 192.0.2.77 on lo", id="its address has gone"),
]


@pytest.mark.parametrize(("egress", "number", "call"), UNUSABLE)
def test_a_way_that_has_just_gone_is_told_at_once_and_no_other_is_taken(
    stage: Stage, targets: Targets, egress: Egress, number: int, call: str
) -> None:
    where = targets.answering()
    before = descriptors()
    client = Client()
    assert dial(stage.poller, client, Hop(where, egress)) is None
    assert client.failures == [(number, call)]
    assert client.socks == []
    assert descriptors() == before


def test_a_source_of_the_other_family_is_a_failed_dial(stage: Stage, targets: Targets) -> None:
    client = Client()
    before = descriptors()
    assert dial(stage.poller, client, Hop(targets.answering(), Egress("wan1", "lo", address("::1")))) is None
    ((number, call),) = client.failures
    assert number
    assert call == "bind() to ::1 on lo"
    assert descriptors() == before + 1


def test_in_a_race_each_endpoint_is_dialled_by_its_own_way(stage: Stage, targets: Targets) -> None:
    sock = stage.run(race(stage.loop, [Hop(targets.refusing(), LOW), Hop(targets.answering(), HIGH)]))
    assert (sock.getsockname()[0], device_of(sock)) == ("127.0.0.8", "lo")
    sock.close()
    sock = stage.run(race(stage.loop, [Hop(targets.answering(), LOW), Hop(targets.answering(), HIGH)]))
    assert sock.getsockname()[0] == "127.0.0.7"
    sock.close()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("egress", "number", "call"), UNUSABLE)
def test_in_a_race_a_way_that_has_just_gone_costs_no_time_and_no_descriptor(
    stage: Stage, targets: Targets, egress: Egress, number: int, call: str
) -> None:
    second = targets.answering()
    before = descriptors()
    started = stage.loop.time()
    sock = stage.run(race(stage.loop, [Hop(targets.answering(), egress), Hop(second, HIGH)]))
    assert sock.getpeername()[1] == second.port
    assert stage.loop.time() - started < 4
    sock.close()
    assert descriptors() == before + 1, "the first target's own"
    client = Client()
    stage.run(dial_any(stage.poller, client, [Hop(second, egress), Hop(second, egress)], Spare(4)))
    assert [fault for fault, _ in client.failures] == [number], call


def test_giving_up_what_goes_by_a_way_closes_it(stage: Stage, targets: Targets) -> None:
    silent = targets.silent()
    before = descriptors()
    client = Client()
    attempt = dial(stage.poller, client, Hop(silent, LOW))
    task = stage.loop.create_task(race(stage.loop, [Hop(silent, LOW), Hop(silent, HIGH)]))
    stage.rest(0.01)
    assert descriptors() == before + 2
    assert attempt is not None
    attempt.cancel()
    task.cancel()
    stage.rest(0.01)
    assert descriptors() == before
    assert (client.socks, client.failures) == ([], [])


# Resets


class Hasty(PathLoop):
    """A loop whose connections are reset by the peer before anybody has looked at them."""

    server: socket.socket

    async def sock_connect(self, sock: socket.socket, address: object) -> None:
        """Connect, and be reset."""
        await super().sock_connect(sock, address)  # type: ignore[arg-type]
        peer, _ = self.server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        peer.close()


def test_a_winner_that_is_reset_at_once_is_no_internal_error() -> None:
    """A target that accepts and resets has no peer name any more; that is a failed dial, or a short relay."""
    poller = Poller()
    loop = Hasty(poller)
    client = Client()
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            loop.server = server
            where = endpoint(f"127.0.0.1:{server.getsockname()[1]}")
            before = descriptors()
            loop.run_until_complete(dial_any(poller, client, hops(where, where), Spare(4)))
            assert len(client.failures) + len(client.socks) == 1
            for sock in client.socks:
                poller.close_later(sock.fileno(), sock)
            loop.run_until_complete(asyncio.sleep(0.005))
            assert descriptors() == before
    finally:
        loop.close()
