"""A listening socket in the plain loop: everybody is accepted, and want of anything pauses instead of spinning."""

import socket
from collections.abc import Iterator

import pytest

from gateway.control.acceptor import ACCEPTS_A_TURN, PAUSE_SECONDS, Acceptor
from gateway.control.complaints import Complaints
from tests.unit.control.driver import Loop, in_child, without_descriptors


class Door:
    """An acceptor with as many places as a test says."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.places = 1000
        self.taken: list[socket.socket] = []
        self.clients: list[socket.socket] = []
        # A port that the kernel chose would be another one when the socket listens again.
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.listener = socket.create_server(("127.0.0.1", port))
        self.address = self.listener.getsockname()
        say = Complaints(self.loop.trouble, self.loop.clock)
        self.acceptor = Acceptor(
            self.listener, self.loop.selector, lambda: len(self.taken) < self.places, self.take, say, self.loop.clock
        )

    def take(self, sock: socket.socket) -> None:
        self.taken.append(sock)

    def client(self) -> socket.socket:
        sock = socket.create_connection(self.address)
        self.clients.append(sock)
        return sock

    def close(self) -> None:
        self.acceptor.close()
        for sock in (*self.taken, *self.clients):
            sock.close()
        self.loop.close()


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.close()


def test_everybody_who_waits_is_accepted_and_never_blocks(door: Door) -> None:
    for _ in range(2 * ACCEPTS_A_TURN + 1):
        door.client()
    assert door.loop.until(lambda: len(door.taken) == 2 * ACCEPTS_A_TURN + 1)
    assert not any(sock.getblocking() for sock in door.taken)


def test_without_room_clients_wait_without_a_spin_and_come_in_when_there_is_a_place(door: Door) -> None:
    door.places = 1
    door.client()
    door.client()
    assert door.loop.until(lambda: len(door.taken) == 1)
    door.loop.rest()
    door.loop.now += 10 * PAUSE_SECONDS
    door.acceptor.tick()
    assert door.loop.turn() == 0, "time alone makes no place"
    door.taken.pop().close()
    door.acceptor.resume()
    assert door.loop.until(lambda: len(door.taken) == 1)


def test_without_descriptors_it_pauses_says_so_and_goes_on_when_the_pause_is_over(door: Door) -> None:
    door.client()
    with without_descriptors():
        door.loop.rest()
        assert door.loop.lines == ["accepting pauses: Too many open files"]
        assert door.loop.turn() == 0
        door.acceptor.resume()
        assert door.loop.turn() == 0, "a free place is no descriptor"
    door.loop.now += PAUSE_SECONDS - 0.01
    door.acceptor.tick()
    assert door.loop.turn() == 0
    door.loop.now += 0.01
    door.acceptor.tick()
    assert door.loop.until(lambda: len(door.taken) == 1)


def test_a_client_that_can_not_be_taken_is_dropped_alone(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[socket.socket] = []

    def fail(sock: socket.socket) -> None:
        dropped.append(sock)
        raise ValueError("not today")

    door.client()
    monkeypatch.setattr(door.acceptor, "_take", fail)
    assert door.loop.until(lambda: len(dropped) == 1)
    assert dropped[0].fileno() == -1
    assert "not today" in door.loop.lines[0]
    monkeypatch.undo()
    door.client()
    assert door.loop.until(lambda: len(door.taken) == 1)


def test_a_closed_one_leaves_nothing_in_the_selector_and_refuses(door: Door) -> None:
    door.acceptor.close()
    door.acceptor.close()
    door.acceptor.resume()
    door.acceptor.tick()
    assert not door.loop.selector.get_map()
    with pytest.raises(ConnectionRefusedError):
        door.client()


def test_one_that_is_closed_during_a_pause_stays_closed(door: Door) -> None:
    door.places = 0
    door.client()
    door.loop.rest()
    door.acceptor.close()
    door.acceptor.resume()
    assert not door.loop.selector.get_map()


def test_a_child_that_forsakes_it_takes_nothing_from_its_parent(door: Door) -> None:
    assert in_child(door.acceptor.forsake) == 0
    door.client()
    assert door.loop.until(lambda: len(door.taken) == 1)


def test_a_socket_that_somebody_shut_down_does_not_spin_and_listens_again(door: Door) -> None:
    door.listener.shutdown(socket.SHUT_RDWR)
    door.loop.rest()
    assert door.loop.lines == ["a listening socket was shut down by somebody; it listens again"]
    door.loop.now += PAUSE_SECONDS
    door.acceptor.tick()
    client = door.client()
    assert door.loop.until(lambda: door.taken)
    door.taken[0].sendall(b"served")
    assert client.recv(6) == b"served"
