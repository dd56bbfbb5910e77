"""The listening sockets: those at the start, all or none of them; and those that come and go with the addresses."""

import contextlib
import errno
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


# Those that somebody has shut down


def shut_down(sock: socket.socket, times: int = 1) -> None:
    """For all who have it; from the second time on its end is in force also while it listens again."""
    sock.shutdown(socket.SHUT_RDWR)
    for _ in range(times - 1):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def echoes(listener: socket.socket) -> bool:
    """Whether who connects there is served both ways."""
    with socket.create_connection(listener.getsockname()[:2], timeout=5) as client:
        assert select.select([listener], [], [], 5)[0]
        served, _ = listener.accept()
        with served:
            client.sendall(b"ping")
            served.settimeout(5)
            served.sendall(served.recv(4).upper())
            return client.recv(4) == b"PING"


def test_what_listens_is_left_as_it_is() -> None:
    with opened(HERE, HERE6) as house:
        before = house.listeners.numbers, house.listeners.sockets
        assert not house.listeners.revive()
        assert (house.listeners.numbers, house.listeners.sockets) == before
        assert house.troubles == []


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_a_socket_that_was_shut_down_is_replaced_alone_and_has_another_number(times: int) -> None:
    with opened(HERE, THERE) as house:
        (number, other_number), (name, _) = house.listeners.numbers, house.names()
        (mine, other), (theirs, others) = house.listeners.of_worker(0), house.listeners.of_worker(1)
        before = descriptors()
        shut_down(mine, times)
        assert house.listeners.revive()
        revived = house.listeners.of_worker(0)
        assert revived[1] is other
        assert house.listeners.of_worker(1) == [theirs, others]
        assert all(map(listens, house.listeners.sockets))
        assert house.names()[0] == name
        assert house.listeners.numbers[0] > max(number, other_number)
        assert house.listeners.numbers[1] == other_number
        assert mine.fileno() == -1
        assert descriptors() == before
        assert house.troubles == [f"127.0.0.1:{name[1]} was shut down by somebody; it is opened again"]
        assert not house.listeners.revive(), "once is enough"
        theirs.close()
        assert echoes(revived[0])


def test_sockets_of_all_workers_are_replaced_at_once_and_told_of_once() -> None:
    with opened(HERE) as house:
        before = house.listeners.sockets
        for sock in before:
            shut_down(sock)
        assert house.listeners.revive()
        assert set(before).isdisjoint(house.listeners.sockets)
        assert all(map(listens, house.listeners.sockets))
        assert len(house.troubles) == 1


def test_what_can_not_be_replaced_is_said_once_tried_again_and_costs_nobody_else_his_socket() -> None:
    with opened(HERE) as house:
        ours, other = house.listeners.sockets
        (number,), (name,), works = house.listeners.numbers, house.names(), house.listeners.opener
        reasons = [errno.EMFILE, errno.EMFILE, errno.ESRCH]

        def broken(*_: object) -> socket.socket:
            raise OSError(reasons[0], os.strerror(reasons[0]))

        house.listeners.opener = broken
        shut_down(ours)
        while reasons:
            assert not house.listeners.revive()
            fault = f"127.0.0.1:{name[1]} was shut down by somebody, and can not be opened again: "
            assert house.listeners.failures == (fault + os.strerror(reasons.pop(0)),)
        assert [line.removeprefix(fault) for line in house.troubles] == [
            "Too many open files; it is tried again",
            "No such process; it is tried again",
        ]
        assert house.listeners.sockets == [ours, other]
        assert house.listeners.numbers == (number,)
        house.listeners.opener = works
        assert house.listeners.revive()
        assert house.listeners.failures == ()
        assert house.listeners.of_worker(1) == [other]


def test_of_several_that_can_not_all_be_replaced_none_is_and_nothing_stays_open() -> None:
    with opened(HERE) as house:
        before, works, calls = descriptors(), house.listeners.opener, iter((True, False))

        def once(*arguments: object) -> socket.socket:
            if next(calls):
                return works(*arguments)  # type: ignore[arg-type]
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        for sock in house.listeners.sockets:
            shut_down(sock)
        house.listeners.opener = once
        assert not house.listeners.revive()
        assert descriptors() == before


def test_what_could_not_be_replaced_and_is_not_wanted_any_more_is_forgotten() -> None:
    with opened(HERE, THERE) as house:

        def broken(*_: object) -> socket.socket:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        house.listeners.opener = broken
        shut_down(house.listeners.of_worker(0)[1])
        assert not house.listeners.revive()
        house.listeners.adjust((HERE,))
        assert not house.listeners.revive()
        assert house.listeners.failures == ()


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_a_socket_that_was_given_listens_again_itself(times: int) -> None:
    house = House()
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        port = finder.getsockname()[1]
    given = socket.create_server(("127.0.0.1", port))
    given.setblocking(False)
    house.listeners.take([given])
    try:
        (number,) = house.listeners.numbers
        shut_down(given, times)
        assert house.listeners.revive()
        assert house.listeners.of_worker(0) == house.listeners.of_worker(1) == [given]
        assert house.listeners.numbers != (number,)
        assert house.troubles == [f"127.0.0.1:{port} was shut down by somebody; it is opened again"]
        assert echoes(given)
    finally:
        house.listeners.close()
