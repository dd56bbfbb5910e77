"""Forwarders that ask one another in a circle (field-cases D5), and questions that use up all sockets (D8)."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import dns.message

from gateway.control.protocol import Status
from tests.support.dnsgateway import LISTENS, DnsGateway, dns_gateway, extended_error, question, rcode, records
from tests.support.lying.habits import Delay, Drop
from tests.support.lying.sending import on
from tests.support.splitworld import INSIDE_HOST, OUTSIDE_HOST, split_world
from tests.support.waiting import eventually

QUESTIONS = 20


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has, for UDP and TCP: two daemons must know each other's before they start."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            stream = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            stream.bind((LISTENS, 0))
            datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            datagrams.bind(stream.getsockname())
            found.append(int(stream.getsockname()[1]))
        return found


@contextlib.contextmanager
def _asking(folder: Path, port: int, other: int) -> Iterator[DnsGateway]:
    """A daemon that asks what listens on the other port."""
    with dns_gateway(folder, [{"name": ".", "servers": [f"{LISTENS} {other}"]}], resolver={"port": port}) as gateway:
        yield gateway


def _sent(gateway: DnsGateway) -> int:
    _, report = gateway.daemon.control(Status())
    return int(report["resolver"]["upstream_queries"])


def _check(gateway: DnsGateway, gateways: list[DnsGateway]) -> None:
    """Questions fail, somebody says why, and few messages have gone round."""
    with gateway.datagrams() as sock:
        for number in range(QUESTIONS):
            sock.send(question(f"round{number}.example").to_wire())
        for _ in range(QUESTIONS):
            assert rcode(dns.message.from_wire(sock.recv(4096))) == "SERVFAIL"
    assert eventually(lambda: any("a loop of forwarders: round" in one.daemon.log() for one in gateways))
    for one in gateways:
        # their counts come now and then
        assert eventually(lambda one=one: _sent(one) >= QUESTIONS), one  # type: ignore[misc]
        assert _sent(one) <= 5 * QUESTIONS


def test_a_gateway_that_asks_itself_stops(tmp_path: Path) -> None:
    (port,) = _free_ports(1)
    with _asking(tmp_path / "self", port, port) as gateway:
        _check(gateway, [gateway])


def test_two_gateways_that_ask_each_other_stop(tmp_path: Path) -> None:
    one, other = _free_ports(2)
    with _asking(tmp_path / "one", one, other) as first, _asking(tmp_path / "other", other, one) as second:
        _check(first, [first, second])


def test_a_name_servers_own_questions_are_no_loop(tmp_path: Path) -> None:
    """Its host is a client like others, for names that it is not asked for just now."""
    with split_world(tmp_path / "world") as world:
        for host in (INSIDE_HOST, OUTSIDE_HOST):
            for name in ("www.example", "www.corp.example"):
                for _ in range(3):
                    assert rcode(world.gateway.ask(name, client=host)) == "NOERROR"
        assert "loop" not in world.gateway.daemon.log()


def test_who_pretends_to_be_a_loop_hurts_himself_only(tmp_path: Path) -> None:
    """A query as if from the name server, while that is asked for the same: the others get their answer."""
    with split_world(tmp_path / "world") as world:
        world.outside.obey(on(Delay(0.1), name="slow.many.example"))
        with world.gateway.datagrams() as client, world.gateway.datagrams(OUTSIDE_HOST) as pretender:
            client.send(question("slow.many.example").to_wire())
            assert eventually(lambda: world.outside.heard("slow.many.example"))
            for _ in range(5):
                pretender.send(question("slow.many.example").to_wire())
            assert records(dns.message.from_wire(client.recv(4096))) == ["slow.many.example. A 198.51.100.7"]


def test_the_inside_answers_while_the_outside_has_taken_all_sockets(tmp_path: Path) -> None:
    """Clients ask for names whose servers outside never answer, as many as they like; nobody inside is to blame."""
    with split_world(tmp_path / "world", descriptors=512) as world:
        assert records(world.gateway.ask("www.example")) == ["www.example. A 198.51.100.1"]
        world.outside.obey(on(Drop(), name="*.many.example"))
        with contextlib.ExitStack() as stack:
            for client in range(10, 20):
                sock = stack.enter_context(world.gateway.datagrams(f"127.0.0.{client}"))
                for number in range(100):
                    sock.send(question(f"x{client}-{number}.many.example").to_wire())
            for number in range(10):
                answer = world.gateway.ask(f"x{number}.many.corp.example")
                assert (rcode(answer), extended_error(answer)) == ("NOERROR", None)
        assert f"name server {INSIDE_HOST}:{world.inside.port} is down" not in world.gateway.daemon.log()
