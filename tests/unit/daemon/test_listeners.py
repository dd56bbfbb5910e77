"""The listening sockets: those at the start, all or none of them; and those that come and go with the addresses."""

import contextlib
import os
import select
import socket
from collections.abc import Iterator

import pytest

from gateway.daemon.listeners import Listeners
from gateway.daemon.messages import ListenAddress
from gateway.errors import StartError
from tests.support.rules import address

HERE, THERE, HERE6 = (ListenAddress(address(text)) for text in ("127.0.0.1", "127.0.0.9", "::1"))
NOT_OURS = ListenAddress(address("192.0.2.77"))


class House:
    """Listeners and what they complained of."""

    def __init__(self, port: int = 0) -> None:
        self.troubles: list[str] = []
        self.listeners = Listeners(2, port, "", self.troubles.append)

    def names(self) -> list[tuple[str, int]]:
        """Where they listen."""
        return [sock.getsockname()[:2] for sock in self.listeners.of_worker(0)]


@contextlib.contextmanager
def opened(*wanted: ListenAddress, port: int = 0) -> Iterator[House]:
    house = House(port)
    house.listeners.open_first(wanted)
    try:
        yield house
    finally:
        house.listeners.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_all_addresses_have_one_port() -> None:
    with opened(HERE, HERE6) as house:
        port = house.names()[0][1]
        assert port
        for worker in (0, 1):
            names = [sock.getsockname()[:2] for sock in house.listeners.of_worker(worker)]
            assert names == [("127.0.0.1", port), ("::1", port)]
        assert len({sock.fileno() for sock in house.listeners.sockets}) == 4
        for sock in house.listeners.sockets:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            assert not sock.get_inheritable()
            assert not sock.getblocking()


@pytest.mark.parametrize("shared", [False, True], ids=["a program as most are", "a program that shares its port"])
def test_a_port_that_somebody_else_has_is_one_clear_line(shared: bool) -> None:
    with socket.socket() as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StartError) as caught, opened(HERE, port=port):
            pass
    assert str(caught.value) == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_another_daemon_of_ours_has_the_port() -> None:
    with opened(HERE) as house:
        port = house.names()[0][1]
        with (
            pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"),
            opened(HERE, port=port),
        ):
            pass


def test_a_port_of_connections_that_were_just_closed_is_free() -> None:
    with opened(HERE) as house:
        (where,) = house.names()
        with socket.create_connection(where):
            listening, _, _ = select.select(house.listeners.sockets, [], [], 2)
            listening[0].accept()[0].close()
    with opened(HERE, port=where[1]):
        pass


def test_an_address_that_is_not_ours_is_one_clear_line() -> None:
    with pytest.raises(StartError) as caught, opened(NOT_OURS, port=1080):
        pass
    assert str(caught.value) == "cannot listen on 192.0.2.77:1080: Cannot assign requested address"


def test_the_second_address_may_be_the_wrong_one_and_nothing_stays_open() -> None:
    before = descriptors()
    with pytest.raises(StartError, match=r"cannot listen on 192.0.2.77:\d+: "), opened(HERE, NOT_OURS):
        pass
    assert descriptors() == before


def test_an_address_that_comes_is_listened_on_at_the_same_port_and_the_others_stay_as_they_are() -> None:
    with opened(HERE) as house:
        (first,), (before,) = house.listeners.of_worker(0), house.listeners.numbers
        assert house.listeners.adjust((HERE, THERE))
        port = house.names()[0][1]
        assert house.names() == [("127.0.0.1", port), ("127.0.0.9", port)]
        assert house.listeners.of_worker(0)[0] is first
        assert house.listeners.numbers[0] == before
        assert not house.listeners.adjust((HERE, THERE)), "nothing changed"


def test_an_address_that_goes_is_closed_and_its_number_is_not_used_again() -> None:
    with opened(HERE, THERE) as house:
        gone = house.listeners.numbers[1]
        before = descriptors()
        assert house.listeners.adjust((HERE,))
        assert descriptors() == before - 2
        assert house.listeners.adjust((HERE, THERE))
        assert gone not in house.listeners.numbers


def test_an_interface_that_was_made_anew_gets_a_new_socket_for_the_same_address() -> None:
    with opened(ListenAddress(HERE.address, 7)) as house:
        (before,) = house.listeners.numbers
        assert house.listeners.adjust((ListenAddress(HERE.address, 8),))
        assert house.listeners.numbers != (before,)
        assert [host for host, _ in house.names()] == ["127.0.0.1"]


def test_what_can_not_be_opened_is_said_once_and_tried_again() -> None:
    with opened(HERE) as house, socket.socket() as other:
        port = house.names()[0][1]
        other.bind(("127.0.0.9", port))
        other.listen()
        for _ in range(3):
            assert not house.listeners.adjust((HERE, THERE))
            assert house.listeners.incomplete
        assert house.troubles == [f"cannot listen on 127.0.0.9:{port}: Address already in use; it is tried again"]
        other.close()
        assert house.listeners.adjust((HERE, THERE))
        assert not house.listeners.incomplete


def test_what_is_not_wanted_any_more_is_not_waited_for() -> None:
    with opened(HERE) as house:
        house.listeners.adjust((HERE, NOT_OURS))
        assert house.listeners.incomplete
        house.listeners.adjust((HERE,))
        assert not house.listeners.incomplete
