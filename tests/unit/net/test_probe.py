"""Probes against honest, dead and hostile targets, on loopback as if it were an uplink."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from gateway.config.settings import Probe
from gateway.net.probe import probe, probe_round
from gateway.policy.egress import Egress
from tests.support.peers import Peer, closed_port, full_backlog, has_ipv6, silent
from tests.support.rules import address
from tests.unit.net.stage import Stage, descriptors

SECONDS = 0.1
LO = Egress("wan1", "lo", address("127.0.0.2"))
LO6 = Egress("wan1", "lo", address("::1"))
WAYS = {4: LO, 6: LO6}

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs ::1 on the loopback interface")


def tcp(port: int, host: str = "127.0.0.1") -> Probe:
    return Probe("tcp", address(host), port)


def dns(port: int, host: str = "127.0.0.1") -> Probe:
    return Probe("dns", address(host), port)


def ask(stage: Stage, target: Probe, egress: Egress = LO, seconds: float = SECONDS) -> str | None:
    return stage.run(probe(target, egress, seconds))


# TCP


@pytest.mark.parametrize(
    ("host", "egress"), [("127.0.0.1", LO), pytest.param("::1", LO6, marks=needs_ipv6)], ids=["IPv4", "IPv6"]
)
def test_a_target_that_accepts_answers_and_sees_the_source(stage: Stage, host: str, egress: Egress) -> None:
    with Peer(silent, host) as target:
        assert ask(stage, tcp(target.port, host), egress, 2) is None
        assert target.called()
    assert [caller[0] for caller in target.callers] == [str(egress.source)]


def test_a_target_that_refuses_answers(stage: Stage) -> None:
    with closed_port() as port:
        assert ask(stage, tcp(port)) is None


def test_a_target_that_drops_every_packet_costs_the_time_limit(stage: Stage) -> None:
    with full_backlog() as port:
        started = time.monotonic()
        assert ask(stage, tcp(port)) == f"127.0.0.1 port {port}: timed out"
        assert SECONDS <= time.monotonic() - started < SECONDS + 3


@pytest.mark.parametrize("kind", ["tcp", "dns"])
@pytest.mark.parametrize(
    ("egress", "target", "words"),
    [
        pytest.param(LO._replace(device="nonesuch0"), "127.0.0.1", "No such device", id="no such device"),
        pytest.param(
            LO._replace(source=address("192.0.2.77")), "127.0.0.1", "Cannot assign requested address", id="no address"
        ),
        pytest.param(LO, "255.255.255.255", "", id="a target that no connection can be made to"),
        pytest.param(LO6, "127.0.0.1", "Address family for hostname not supported", id="an address of another family"),
    ],
)
def test_what_the_kernel_refuses_is_a_fault_at_once(
    stage: Stage, kind: str, egress: Egress, target: str, words: str
) -> None:
    fault = ask(stage, Probe(kind, address(target), 9), egress, 5)
    assert fault is not None
    assert fault.startswith(f"{target} port 9: {words}")
    assert not fault.endswith(": ")


# DNS

Answer = Callable[[bytes], Sequence[bytes]]


class NameServer:
    """Answers each query with these datagrams, as the loop goes on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, answer: Answer) -> None:
        self.asked: list[tuple[bytes, Any]] = []
        self.port: int = sock.getsockname()[1]
        self._sock = sock
        self._answer = answer
        loop.add_reader(sock, self._serve)

    def _serve(self) -> None:
        query, caller = self._sock.recvfrom(512)
        self.asked.append((query, caller))
        for answer in self._answer(query):
            self.say(answer)

    def say(self, answer: bytes) -> None:
        """Send this to the last one who asked."""
        self._sock.sendto(answer, self.asked[-1][1])


@contextlib.contextmanager
def serving(stage: Stage, answer: Answer, host: str = "127.0.0.1") -> Iterator[NameServer]:
    """A name server with this habit."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        try:
            yield NameServer(stage.loop, sock, answer)
        finally:
            stage.loop.remove_reader(sock)


def header(query: bytes, flags: bytes = b"\x81\x80") -> bytes:
    """The header of an answer without records."""
    return query[:2] + flags + bytes(8)


def another_id(query: bytes) -> bytes:
    return bytes((query[0] ^ 1, *query[1:2]))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda q: [header(q) + q[12:]], id="an answer"),
        pytest.param(lambda q: [header(q)], id="a header"),
        pytest.param(lambda q: [header(q, b"\x81\x82")], id="a server that failed"),
        pytest.param(lambda q: [header(q, b"\x81\x85")], id="a server that refuses the query"),
        pytest.param(lambda q: [header(q, b"\x80\x00") + bytes(4000)], id="a very long answer"),
        pytest.param(lambda q: [b"", b"noise", q, header(another_id(q)), header(q)], id="an answer behind noise"),
    ],
)
def test_any_answer_of_a_name_server_answers(stage: Stage, answer: Answer) -> None:
    with serving(stage, answer) as server:
        assert ask(stage, dns(server.port), seconds=2) is None


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda _: [], id="nothing"),
        pytest.param(lambda q: [q], id="the query itself"),
        pytest.param(lambda q: [header(q)[:11]], id="a header less its last byte"),
        pytest.param(lambda q: [header(another_id(q))], id="an answer to another query"),
        pytest.param(lambda q: [header(q, b"\x7f\xff")], id="a message that is no answer"),
        pytest.param(lambda _: [b""], id="an empty datagram"),
        pytest.param(lambda _: [b"\xff" * 11] * 20, id="noise"),
    ],
)
def test_all_else_is_waited_through(stage: Stage, answer: Answer) -> None:
    with serving(stage, answer) as server:
        started = time.monotonic()
        assert ask(stage, dns(server.port)) == f"127.0.0.1 port {server.port}: timed out"
        assert SECONDS <= time.monotonic() - started < SECONDS + 3
    assert len(server.asked) == 1


def test_the_query_asks_for_the_name_servers_of_the_root_each_time_by_another_number(stage: Stage) -> None:
    """RFC 1035 §4.1: RD, one question, the empty name, type 2, class 1."""
    with serving(stage, lambda q: [header(q)]) as server:
        for _ in range(5):
            assert ask(stage, dns(server.port), seconds=2) is None
    assert {query[2:] for query, _ in server.asked} == {bytes.fromhex("0100 0001 0000 0000 0000 00 0002 0001")}
    assert len({query[:2] for query, _ in server.asked}) > 1
    assert {caller[0] for _, caller in server.asked} == {"127.0.0.2"}


@needs_ipv6
def test_a_name_server_that_has_an_ipv6_address(stage: Stage) -> None:
    with serving(stage, lambda q: [header(q)], "::1") as server:
        assert ask(stage, dns(server.port, "::1"), LO6, 2) is None
    assert [caller[0] for _, caller in server.asked] == ["::1"]


def test_an_answer_from_elsewhere_is_not_heard(stage: Stage) -> None:
    with serving(stage, lambda _: []) as server, socket.socket(type=socket.SOCK_DGRAM) as elsewhere:
        task = stage.loop.create_task(probe(dns(server.port), LO, SECONDS))
        ((query, caller),) = stage.until(lambda: server.asked)
        elsewhere.sendto(header(query), caller)
        assert stage.run(task) == f"127.0.0.1 port {server.port}: timed out"


def test_a_port_without_a_name_server_is_a_fault_at_once(stage: Stage) -> None:
    """ICMP port unreachable: somebody is there, but not who was asked."""
    with closed_port() as port:
        assert ask(stage, dns(port), seconds=5) == f"127.0.0.1 port {port}: Connection refused"


def test_a_flood_of_noise_does_not_stop_the_loop(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Datagrams that are there already make every receive return without a turn of the loop."""
    received = 0

    async def noise(*_: object) -> bytes:
        nonlocal received
        received += 1
        assert received < 1_000_000, "the time limit never comes"
        return b"noise"

    monkeypatch.setattr(stage.loop, "sock_recv", noise)
    with serving(stage, lambda _: []) as server:
        assert ask(stage, dns(server.port), seconds=0.03) == f"127.0.0.1 port {server.port}: timed out"


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_nothing_is_looked_up_in_a_thread(stage: Stage, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A thread could hang in a name server, and would be outlived by the probe."""
    looked_up: list[object] = []
    monkeypatch.setattr(stage.loop, "getaddrinfo", lambda *_, **__: looked_up.append(host))
    with closed_port(host) as port, serving(stage, lambda q: [header(q)], host) as server:
        egress = LO if host == "127.0.0.1" else LO6
        assert ask(stage, tcp(port, host), egress) is None
        assert ask(stage, dns(server.port, host), egress) is None
    assert looked_up == []


# Ends


@contextlib.contextmanager
def dead(stage: Stage, kind: str) -> Iterator[Probe]:
    """A target that never answers."""
    with contextlib.ExitStack() as stack:
        if kind == "tcp":
            yield tcp(stack.enter_context(full_backlog()))
        else:
            yield dns(stack.enter_context(serving(stage, lambda _: [])).port)


@pytest.mark.parametrize("kind", ["tcp", "dns"])
def test_a_probe_that_is_cancelled_leaves_no_descriptor(stage: Stage, kind: str) -> None:
    with dead(stage, kind) as target:
        before = descriptors()
        task = stage.loop.create_task(probe(target, LO, 5))
        assert stage.until(lambda: descriptors() > before)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            stage.run(task)
        assert descriptors() == before


@pytest.mark.parametrize("kind", ["tcp", "dns"])
def test_a_probe_that_is_over_leaves_no_descriptor(stage: Stage, kind: str) -> None:
    with dead(stage, kind) as target:
        before = descriptors()
        assert ask(stage, target, seconds=0.02) is not None
        assert descriptors() == before


# Rounds


def ask_all(
    stage: Stage, *targets: Probe, ways: dict[int, Egress] = WAYS, seconds: float = SECONDS
) -> tuple[bool, str]:
    return stage.run(probe_round(targets, ways, seconds))


def test_a_round_is_over_with_the_first_answer(stage: Stage) -> None:
    with dead(stage, "tcp") as first, dead(stage, "dns") as last, closed_port() as port:
        before = descriptors()

        async def run() -> tuple[tuple[bool, str], int]:
            return await probe_round((first, tcp(port), last), WAYS, 5), descriptors()

        started = time.monotonic()
        assert stage.run(run()) == ((True, ""), before)
        assert time.monotonic() - started < 3


def test_a_fault_that_comes_first_does_not_end_a_round(stage: Stage) -> None:
    with serving(stage, lambda _: []) as server, closed_port() as unserved:
        task = stage.loop.create_task(probe_round((dns(unserved), dns(server.port)), WAYS, 2))
        ((query, _),) = stage.until(lambda: server.asked)
        stage.rest()
        assert not task.done()
        server.say(header(query))
        assert stage.run(task) == (True, "")


def test_a_round_without_an_answer_says_why_in_the_order_of_its_targets(stage: Stage) -> None:
    with dead(stage, "tcp") as first, closed_port() as port:
        started = time.monotonic()
        answered, detail = ask_all(stage, first, dns(port))
        assert time.monotonic() - started < SECONDS + 0.3, "all at once"
    assert not answered
    assert detail == f"127.0.0.1 port {first.port}: timed out; 127.0.0.1 port {port}: Connection refused"


@pytest.mark.parametrize(
    ("count", "end"),
    [pytest.param(3, "; 127.0.0.1 port {}: {}", id="three"), pytest.param(5, "; and 2 more", id="five")],
)
def test_a_round_names_three_faults_at_most(stage: Stage, count: int, end: str) -> None:
    with closed_port() as port:
        one = f"127.0.0.1 port {port}: Connection refused"
        tail = end.format(port, "Connection refused") if count == 3 else f"; {one}{end}"
        assert ask_all(stage, *[dns(port)] * count) == (False, f"{one}; {one}{tail}")


def test_a_target_of_a_family_without_an_address_has_failed(stage: Stage) -> None:
    six, four = tcp(443, "2001:db8::1"), tcp(443, "198.51.100.1")
    assert ask_all(stage, six, ways={4: LO}) == (False, "2001:db8::1 port 443: no IPv6 address")
    assert ask_all(stage, four, six, ways={}) == (
        False,
        "198.51.100.1 port 443: no IPv4 address; 2001:db8::1 port 443: no IPv6 address",
    )
    with closed_port() as port:
        assert ask_all(stage, six, tcp(port), ways={4: LO}) == (True, "")


def test_a_round_without_targets_has_no_answer(stage: Stage) -> None:
    assert ask_all(stage) == (False, "")


def test_a_round_that_is_cancelled_leaves_no_descriptor(stage: Stage) -> None:
    with dead(stage, "tcp") as first, dead(stage, "dns") as second:
        before = descriptors()
        task = stage.loop.create_task(probe_round((first, second), WAYS, 5))
        assert stage.until(lambda: descriptors() >= before + 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            stage.run(task)
        assert descriptors() == before
