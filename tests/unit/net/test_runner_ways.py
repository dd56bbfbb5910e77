"""Clients of a worker with two uplinks, played on loopback: by which they leave, and what happens when one is lost."""

import dataclasses
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from gateway.policy.egress import Egress, Standing, Uplink
from gateway.policy.router import Router
from gateway.policy.routetable import RouteTable
from gateway.session.record import Result
from tests.support.rawsocks import socks4, socks4a
from tests.support.routes import route_file, uplink
from tests.support.rules import Users
from tests.unit.net.stage import House, closed_after, descriptors

GRANTED, REJECTED = b"\0\x5a", b"\0\x5b"
WAN1, WAN2 = uplink("wan1", "127.0.0.7", device="lo"), uplink("wan2", "127.0.0.8", device="lo")


def down(up: Uplink) -> Uplink:
    """The same uplink, which can not be used."""
    return dataclasses.replace(up, standing=Standing.DOWN, cause="link is down")


class Gateway(House):
    """A house with a router whose uplinks are all on loopback."""

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self.router = Router(RouteTable.compile(route_file(*lines), Users()), ())
        self.router.update((WAN1, WAN2))
        self.runner.context = dataclasses.replace(self.runner.context, router=self.router)

    def change(self, *uplinks: Uplink, cut: tuple[str, ...] = ()) -> None:
        """These are the uplinks now."""
        self.router.update(uplinks)
        self.runner.ways_changed(self.is_usable, cut.__contains__)

    def is_usable(self, egress: Egress) -> bool:
        """As the worker judges it."""
        found = self.router.uplink_of(egress.uplink)
        return found is not None and found.standing is not Standing.DOWN and egress.source in found.sources

    def silent(self) -> tuple[socket.socket, Callable[[], None]]:
        """A target at every loopback address that does not answer, and what makes it answer from then on."""
        full = socket.socket()
        full.bind(("0.0.0.0", 0))
        full.listen(0)
        plugs = []
        for _ in range(2):
            plug = socket.socket()
            plug.setblocking(False)
            plug.connect_ex(("127.0.0.1", full.getsockname()[1]))
            plugs.append(plug)
        self.far += [full, *plugs]

        def answer() -> None:
            for _ in plugs[:1]:
                self.far.append(full.accept()[0])
            full.setblocking(False)
            full.listen(16)

        return full, answer

    def dialling(self, request: bytes) -> socket.socket:
        """A client whose connection is under way."""
        client = self.client(request)
        assert self.until(lambda: any(front._waiting for front in self.runner.busy))
        self.rest(0.01)
        return client

    def reached(self, full: socket.socket) -> str:
        """Where the next connection that gets through comes from; the plugs' own are passed over."""
        while True:
            sock = self.called(full)
            if sock.getpeername()[0] != "127.0.0.1":
                return str(sock.getpeername()[0])


Make = Callable[..., Gateway]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes one gateway; afterwards no handler may have failed and no descriptor be left."""
    before = descriptors()
    made: list[Gateway] = []

    def start(*lines: str) -> Gateway:
        made.append(Gateway(*lines))
        return made[0]

    yield start
    with closed_after(made[0]):
        pass
    assert descriptors() <= before


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def to(sock: socket.socket) -> bytes:
    return socks4("127.0.0.1", port_of(sock))


# Leaving


def test_the_target_sees_the_address_of_the_line_for_it(make: Make) -> None:
    gateway = make("wan2 127.0.0.1/32", "wan1 ALL")
    server = gateway.server()
    client = gateway.client(to(server))
    assert gateway.called(server).getpeername()[0] == "127.0.0.8"
    assert gateway.read(client, 2) == GRANTED
    client.close()
    (record,) = gateway.ended()
    assert (record.uplink, record.way) == ("wan2", "wan2 by sockd.route:1")
    assert record.egress is not None
    assert record.egress.startswith("127.0.0.8:")


def test_of_a_names_addresses_each_is_dialled_by_its_own_line(make: Make) -> None:
    gateway = make("wan2 127.0.0.3/32", "wan1 ALL")
    server = gateway.server("127.0.0.3")
    gateway.names["localhost"] = lambda: ("127.0.0.1", "127.0.0.3")
    client = gateway.client(socks4a(b"localhost", port_of(server)))
    assert gateway.called(server).getpeername()[0] == "127.0.0.8"
    assert gateway.read(client, 2) == GRANTED
    client.close()
    assert gateway.ended()[0].uplink == "wan2"


def test_a_device_that_goes_between_the_choice_and_the_dial_is_a_failure_and_no_other_way_is_taken(make: Make) -> None:
    gateway = make("wan1,wan2 ALL")
    gateway.router.update((uplink("wan1", "127.0.0.7", device="nonesuch0"), WAN2))
    server = gateway.server()
    client = gateway.client(to(server))
    assert gateway.read(client, 2) == REJECTED
    (record,) = gateway.ended()
    assert (record.result, record.end) == (Result.FAILED, "bind() to 127.0.0.7 on nonesuch0 No such device")
    with pytest.raises(TimeoutError):
        gateway.called(server, within=0.05)


# What is being dialled


@pytest.mark.parametrize("several", [False, True], ids=["one address", "several addresses"])
def test_what_is_dialled_by_a_lost_way_is_dialled_by_the_next_one_and_the_old_attempt_is_over(
    make: Make, several: bool
) -> None:
    gateway = make("wan1,wan2 ALL")
    full, answer = gateway.silent()
    gateway.names["localhost"] = lambda: ("127.0.0.1", "127.0.0.2")
    client = gateway.dialling(socks4a(b"localhost", port_of(full)) if several else to(full))
    answer()
    gateway.change(down(WAN1), WAN2)
    assert gateway.reached(full) == "127.0.0.8"
    assert gateway.read(client, 2) == GRANTED
    client.close()
    (record,) = gateway.ended()
    assert (record.uplink, record.way) == ("wan2", "wan2 by sockd.route:1, because wan1 is down: link is down")
    with pytest.raises(TimeoutError):
        gateway.called(full, within=0.05)


def test_a_new_address_of_the_same_uplink_is_another_way(make: Make) -> None:
    gateway = make("wan1 ALL")
    full, answer = gateway.silent()
    gateway.dialling(to(full))
    answer()
    gateway.change(uplink("wan1", "127.0.0.9", device="lo"))
    assert gateway.reached(full) == "127.0.0.9"


def test_without_another_way_the_client_is_told_at_once(make: Make) -> None:
    gateway = make("wan1 ALL")
    full, _ = gateway.silent()
    client = gateway.dialling(to(full))
    before = descriptors()
    gateway.change(down(WAN1), WAN2)
    assert gateway.read(client, 2) == REJECTED
    (record,) = gateway.ended()
    assert (record.result, record.end) == (
        Result.REFUSED,
        "no usable way out by sockd.route:1: wan1 is down: link is down",
    )
    assert record.uplink is None
    client.close()
    assert gateway.until(lambda: gateway.runner.open == 0)
    assert gateway.until(lambda: descriptors() == before - 3), "the client's two ends, and the attempt"


def test_another_way_that_fails_at_once_is_told_at_once(make: Make) -> None:
    gateway = make("wan1,wan2 ALL")
    full, _ = gateway.silent()
    client = gateway.dialling(to(full))
    gateway.change(down(WAN1), uplink("wan2", "127.0.0.8", device="nonesuch0"))
    assert gateway.read(client, 2) == REJECTED
    assert gateway.ended()[0].end == "bind() to 127.0.0.8 on nonesuch0 No such device"


@pytest.mark.parametrize(
    "uplinks",
    [
        pytest.param((WAN1, down(WAN2)), id="another one is lost"),
        pytest.param((WAN1, WAN2), id="nothing is lost"),
        pytest.param((dataclasses.replace(WAN1, standing=Standing.SETTLING), WAN2), id="it is preferred no more"),
        pytest.param((uplink("wan1", "127.0.0.9", "127.0.0.7", device="lo"), WAN2), id="it has one more address"),
    ],
)
def test_a_dial_by_a_way_that_is_still_there_goes_on(make: Make, uplinks: tuple[Uplink, ...]) -> None:
    gateway = make("wan1,wan2 ALL")
    full, _ = gateway.silent()
    gateway.dialling(to(full))
    (front,) = gateway.runner.busy
    before = front._waiting
    gateway.change(*uplinks)
    assert front._waiting is before
    assert front in gateway.runner.busy


def test_the_time_of_a_connection_does_not_begin_anew_with_another_way(make: Make) -> None:
    gateway = make("wan1,wan2 ALL")
    full, _ = gateway.silent()
    client = gateway.dialling(to(full))
    gateway.now += 0.3
    gateway.change(down(WAN1), WAN2)
    gateway.now += 0.15
    assert gateway.read(client, 2) == REJECTED
    assert gateway.ended()[0].end == "timed out waiting for the connection"


def test_who_still_looks_a_name_up_leaves_by_what_is_there_then(make: Make) -> None:
    gateway = make("wan1,wan2 ALL")
    release = threading.Event()

    def slow() -> tuple[str, ...]:
        release.wait(30)
        return ("127.0.0.1",)

    gateway.names["localhost"] = slow
    server = gateway.server()
    client = gateway.dialling(socks4a(b"localhost", port_of(server)))
    gateway.change(down(WAN1), WAN2)
    assert gateway.notebook.records == []
    release.set()
    assert gateway.called(server).getpeername()[0] == "127.0.0.8"
    assert gateway.read(client, 2) == GRANTED


def test_who_has_not_asked_yet_or_lingers_is_left_alone(make: Make) -> None:
    gateway = make("wan1 ALL")
    refused = gateway.client(socks4("192.0.2.1", 80))
    assert gateway.read(refused, 2) == REJECTED
    silent = gateway.client(b"\4")
    assert gateway.until(lambda: gateway.runner.open == 2)
    gateway.change(down(WAN1), cut=("wan1", "wan2"))
    assert gateway.end_of(silent, within=0.03) == "open"
    assert len(gateway.notebook.records) == 1


def test_a_bug_in_one_session_keeps_no_other_from_another_way(make: Make) -> None:
    gateway = make("wan1,wan2 ALL")
    full, answer = gateway.silent()
    first, second = gateway.dialling(to(full)), gateway.dialling(to(full))
    assert gateway.until(lambda: len(gateway.runner.busy) == 2)
    answer()
    calls: list[Egress] = []

    def broken_once(egress: Egress) -> bool:
        calls.append(egress)
        if len(calls) == 1:
            raise ZeroDivisionError("injected")
        return gateway.is_usable(egress)

    gateway.router.update((down(WAN1), WAN2))
    gateway.runner.ways_changed(broken_once, lambda _: False)
    assert gateway.reached(full) == "127.0.0.8"
    assert gateway.read(second, 2) == GRANTED
    assert gateway.end_of(first) in ("fin", "reset")
    assert gateway.log.troubles[0].startswith("internal error in a session: ZeroDivisionError")
    gateway.log.troubles.clear()


# What is live


def test_live_sessions_of_a_lost_uplink_end_if_that_is_what_the_settings_want(make: Make) -> None:
    gateway = make("wan1 127.0.0.1/32", "wan2 ALL")
    first = gateway.relayed(gateway.server())
    server = gateway.server("127.0.0.2")
    client = gateway.client(socks4("127.0.0.2", port_of(server)))
    second = client, gateway.called(server)
    assert gateway.read(client, 8)[:2] == GRANTED
    gateway.change(down(WAN1), WAN2, cut=("wan1", "wan2"))
    for sock in first:
        assert gateway.end_of(sock) == "reset"
    for sock in second:
        assert gateway.end_of(sock, within=0.03) == "open"
    (record,) = gateway.ended()
    assert (record.uplink, record.end, record.result) == ("wan1", "the way out by wan1 is lost", Result.CONNECTED)


@pytest.mark.parametrize(
    ("uplinks", "cut"),
    [
        pytest.param((down(WAN1), WAN2), (), id="it is lost, and they are kept"),
        pytest.param((down(WAN1), WAN2), ("wan2",), id="it is lost, and those of the other one are cut"),
        pytest.param((WAN1, down(WAN2)), ("wan1", "wan2"), id="the other one is lost"),
        pytest.param((dataclasses.replace(WAN1, standing=Standing.SETTLING),), ("wan1",), id="it works again"),
    ],
)
def test_all_other_live_sessions_stay(make: Make, uplinks: tuple[Uplink, ...], cut: tuple[str, ...]) -> None:
    gateway = make("wan1 ALL")
    client, target = gateway.relayed(gateway.server())
    gateway.change(*uplinks, cut=cut)
    gateway.write(client, b"x")
    assert gateway.read(target, 1) == b"x"
    assert gateway.notebook.records == []


@pytest.mark.parametrize(
    "uplinks",
    [
        pytest.param((WAN2,), id="nothing is known of it any more"),
        pytest.param((uplink("wan1", "127.0.0.9", device="lo"), WAN2), id="it has another address now"),
    ],
)
def test_an_uplink_that_has_lost_the_address_of_a_session_is_lost_to_it(
    make: Make, uplinks: tuple[Uplink, ...]
) -> None:
    gateway = make("wan1 ALL")
    client, target = gateway.relayed(gateway.server())
    gateway.change(*uplinks, cut=("wan1",))
    assert gateway.end_of(client) == "reset"
    assert gateway.end_of(target) == "reset"
    assert gateway.ended()[0].end == "the way out by wan1 is lost"


def test_sessions_of_a_single_homed_server_know_no_uplink(house: House) -> None:
    client, target = house.relayed(house.server())
    house.runner.ways_changed(lambda egress: pytest.fail(f"asked about {egress}"), lambda _: True)
    house.write(client, b"x")
    assert house.read(target, 1) == b"x"
