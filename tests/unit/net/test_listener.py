"""Accepting clients: pauses when places or descriptors run out, never spins, and goes on by itself."""

import os
import resource
import socket
from collections.abc import Iterator

import pytest

from gateway.net import listener as module
from tests.support.rawsocks import socks4
from tests.support.waiting import least
from tests.unit.net.stage import House, closed_after


@pytest.fixture
def limit() -> Iterator[None]:
    """The soft limit of descriptors is set back afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def no_more_descriptors() -> None:
    """The next descriptor would be one too many."""
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def more_descriptors() -> None:
    """There are enough again."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def test_waiting_clients_are_all_accepted(house: House) -> None:
    for _ in range(3 * module.ACCEPTS_A_TURN):
        house.client()
    assert house.until(lambda: house.runner.open == 3 * module.ACCEPTS_A_TURN)


@pytest.mark.usefixtures("limit")
def test_without_descriptors_accepting_pauses_says_so_once_and_does_not_spin(house: House) -> None:
    clients = [house.client() for _ in range(3)]
    no_more_descriptors()
    house.rest(0.02)
    assert least(house.work_at_rest, below=0.05) < 0.05
    assert house.log.troubles == ["accepting pauses: Too many open files"]
    assert house.runner.open == 0
    more_descriptors()
    house.listener.resume()
    assert house.until(lambda: house.runner.open == len(clients))


@pytest.mark.usefixtures("limit")
def test_after_a_pause_accepting_goes_on_by_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.5)
    house.client()
    no_more_descriptors()
    house.rest(0.03)
    more_descriptors()
    house.rest(0.02)
    assert house.runner.open == 0
    assert house.until(lambda: house.runner.open == 1)


@pytest.mark.usefixtures("limit")
def test_a_descriptor_that_is_given_back_is_used_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 60.0)
    first = house.client()
    assert house.until(lambda: house.runner.open == 1)
    second = house.client(socks4("192.0.2.1", 80))
    no_more_descriptors()
    house.rest(0.03)
    assert house.runner.open == 1
    first.close()
    assert house.read(second, 2) == b"\0\x5b", "the pause was not ended by the client that left"


def test_with_all_places_taken_by_relays_new_clients_wait_and_get_the_next_place() -> None:
    house = House(sessions=2)
    with closed_after(house):
        server = house.server()
        port = server.getsockname()[1]
        first, first_target = house.relayed(server)
        house.relayed(server)
        waiting = house.client(socks4("127.0.0.1", port))
        house.rest(0.03)
        assert house.runner.open == 2
        assert house.notebook.records == []
        assert least(house.work_at_rest, below=0.05) < 0.05
        first.close()
        first_target.close()
        assert house.read(waiting, 2) == b"\0\x5a"


def test_a_full_worker_does_not_say_so_for_each_client() -> None:
    house = House(sessions=1)
    with closed_after(house):
        server = house.server()
        port = server.getsockname()[1]
        clients = [house.client(socks4("127.0.0.1", port)) for _ in range(12)]
        for client in clients:
            target = house.called(server)
            assert house.read(client, 2) == b"\0\x5a"
            client.close()
            target.close()
        assert len(house.ended(12)) == 12
        assert len(house.log.troubles) <= 2


def test_a_closed_listener_leaves_its_clients_to_whoever_holds_the_socket(house: House) -> None:
    house.listener.close()
    house.listener.close()
    client = house.client()
    house.rest(0.02)
    assert house.runner.open == 0
    taken, _ = house.listening.accept()
    assert taken.getpeername() == client.getsockname()
    taken.close()


@pytest.mark.usefixtures("limit")
def test_a_listener_that_is_closed_while_it_pauses_stays_closed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    house.client()
    no_more_descriptors()
    house.rest(0.02)
    house.listener.close()
    more_descriptors()
    house.listener.resume()
    house.rest(0.1)
    assert house.runner.open == 0


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_a_socket_that_was_shut_down_is_left_alone_and_that_is_said_once(house: House, times: int) -> None:
    host, port = house.listening.getsockname()
    served = house.client()
    assert house.until(lambda: house.runner.open == 1)
    shut_down(house.listening, times)
    assert house.until(lambda: house.log.troubles)
    assert least(house.work_at_rest, below=0.05) < 0.05
    assert house.log.troubles == [f"{host}:{port} was shut down by somebody; nobody is accepted by it"]
    assert house.runner.open == 1
    served.close()
    house.listener.finish()
    house.listener.close()
    assert house.until(lambda: house.runner.open == 0)
    assert len(house.log.troubles) == 1


def shut_down(sock: socket.socket, times: int = 1) -> None:
    """For all who have it."""
    sock.shutdown(socket.SHUT_RDWR)
    for _ in range(times - 1):
        with pytest.raises(OSError, match="not connected"):
            sock.shutdown(socket.SHUT_RDWR)


def test_a_successor_that_gets_a_socket_that_was_shut_down_leaves_it_alone_too(house: House) -> None:
    house.listener.close()
    shut_down(house.listening)
    successor = module.Listener(house.poller, house.runner, house.listening)
    assert house.until(lambda: house.log.troubles)
    assert least(house.work_at_rest, below=0.05) < 0.05
    successor.resume()
    assert least(house.work_at_rest, below=0.05) < 0.05
    assert len(house.log.troubles) == 1


@pytest.mark.usefixtures("limit")
def test_a_socket_that_was_shut_down_in_a_pause_is_left_alone_after_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    house.client()
    no_more_descriptors()
    assert house.until(lambda: house.log.troubles)
    more_descriptors()
    shut_down(house.listening)
    assert house.until(lambda: len(house.log.troubles) == 2)
    assert house.log.troubles[1].endswith("was shut down by somebody; nobody is accepted by it")
    assert least(house.work_at_rest, below=0.05) < 0.05


def test_a_client_that_is_gone_before_it_is_accepted_costs_nothing(house: House) -> None:
    for _ in range(3):
        house.client().close()
    assert house.until(lambda: len(house.notebook.records) == 3)
    assert house.until(lambda: house.runner.open == 0)
    assert house.log.troubles == []
