"""The doors together: one port for names by UDP and TCP, all or nothing, and each set by its own addresses."""

import random
import socket
from collections.abc import Callable, Iterator

import pytest

from gateway.address import Endpoint
from gateway.config.settings import Settings
from gateway.daemon.doors import ATTEMPTS, Doors, dns_device, dns_places
from gateway.daemon.listeners import Listeners
from gateway.daemon.messages import ListenAddress, Network
from gateway.errors import StartError
from gateway.net.sockets import listening
from tests.support.rules import address
from tests.unit.daemon.hosts import settings
from tests.unit.net.stage import descriptors

ZONE = "[[resolver.zone]]\nname = '.'\nservers = ['192.0.2.53']\n"
HERE = ListenAddress(address("127.0.0.1"))
NETWORK = Network(listen=(HERE,))


def written(resolver: str = "port = 0\n", internal: str = "addresses = ['127.0.0.1']\nport = 0\n") -> Settings:
    return settings(f"[internal]\n{internal}[resolver]\n{resolver}{ZONE}")


def ports(listeners: Listeners) -> list[int]:
    return [int(sock.getsockname()[1]) for sock in listeners.of_worker(0)]


Make = Callable[..., Doors]


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def opened(troubles: list[str]) -> Iterator[Make]:
    """Doors that are open, and closed at the end; nothing is left behind."""
    before = descriptors()
    made: list[Doors] = []

    def make(found: Settings, resolvers: int = 1, network: Network = NETWORK) -> Doors:
        made.append(Doors(found, 1, resolvers, troubles.append))
        made[-1].open_first(network)
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert descriptors() == before


# Where


def test_names_are_asked_for_where_clients_connect_unless_it_is_written() -> None:
    network = Network(listen=(HERE, ListenAddress(address("10.1.0.1"), 1)))
    assert dns_places(written(), network) == network.listen
    assert dns_places(written("addresses = ['127.0.0.9', '::1']\n"), network) == (
        ListenAddress(address("127.0.0.9")),
        ListenAddress(address("::1")),
    )
    assert dns_places(settings(), network) == ()


@pytest.mark.parametrize(
    ("resolver", "internal", "device"),
    [
        pytest.param("", "interface = 'eth1'\n", "eth1", id="the interface of the inside"),
        pytest.param("addresses = ['10.1.0.1']\n", "interface = 'eth1'\n", "", id="written addresses"),
        pytest.param("", "addresses = ['10.1.0.1']\n", "", id="no interface at all"),
    ],
)
def test_questions_come_in_by_the_inside_only(resolver: str, internal: str, device: str) -> None:
    assert dns_device(written(resolver, internal)) == device


# The start


def test_a_free_port_is_the_same_for_udp_and_tcp(opened: Make) -> None:
    doors = opened(written())
    (port,) = ports(doors.datagrams)
    assert port
    assert ports(doors.streams) == [port]
    assert ports(doors.sessions) != [port]


class Unlucky:
    """Opens sockets, but not the first so many at a port that is given."""

    def __init__(self, refusals: int) -> None:
        self.left = refusals

    def __call__(self, endpoint: Endpoint, backlog: int, shared: bool, device: str, scope: int) -> socket.socket:
        if self.left:
            self.left -= 1
            raise OSError(98, "Address already in use")
        return listening(endpoint, backlog, shared, device, scope)


class UnluckyDoors(Doors):
    """Somebody else has the first so many free ports by TCP."""

    def __init__(self, found: Settings, refusals: int) -> None:
        self.unlucky = Unlucky(refusals)
        super().__init__(found, 1, 1, print)

    def _dns_listeners(self) -> tuple[Listeners, Listeners]:
        datagrams, streams = super()._dns_listeners()
        streams.opener = self.unlucky
        return datagrams, streams


@pytest.mark.parametrize("refusals", [1, ATTEMPTS - 1])
def test_a_free_port_that_somebody_has_by_tcp_is_not_the_only_one(refusals: int) -> None:
    before = descriptors()
    doors = UnluckyDoors(written(), refusals)
    doors.open_first(NETWORK)
    assert ports(doors.streams) == ports(doors.datagrams)
    doors.close()
    assert descriptors() == before


def test_when_no_port_is_free_for_both_that_is_said() -> None:
    before = descriptors()
    with pytest.raises(StartError, match="Address already in use"):
        UnluckyDoors(written(), ATTEMPTS).open_first(NETWORK)
    assert descriptors() == before


def test_a_written_port_is_tried_once_and_nothing_stays_open(opened: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=f"^cannot listen on 127.0.0.1:{port}: Address already in use$"):
            opened(written(f"port = {port}\n"))


def test_without_zones_or_without_resolvers_nobody_is_asked(opened: Make) -> None:
    for doors in (opened(settings("[internal]\nport = 0\n")), opened(written(), resolvers=0)):
        assert ports(doors.sessions)
        assert doors.of_resolver(0) == []
        assert (doors.dns_numbers, doors.incomplete, doors.failures) == ((), False, ())


def test_each_resolver_has_sockets_of_its_own_whose_numbers_are_those_of_all(opened: Make) -> None:
    doors = opened(written("port = 0\naddresses = ['127.0.0.1', '127.0.0.9']\n"), resolvers=2)
    first, second = doors.of_resolver(0), doors.of_resolver(1)
    assert [sock.type for sock in first] == [socket.SOCK_DGRAM] * 2 + [socket.SOCK_STREAM] * 2
    assert [sock.getsockname() for sock in first] == [sock.getsockname() for sock in second]
    assert not {sock.fileno() for sock in first} & {sock.fileno() for sock in second}
    assert len(set(doors.dns_numbers)) == len(first)
    assert len(doors.sockets) == 1 + 8


# Other settings


def free_port() -> int:
    """Free for both protocols, and not one of those that the kernel gives to whoever connects somewhere just then."""
    for port in random.sample(range(20000, 30000), 100):
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket() as streams:
            try:
                for sock in (datagrams, streams):
                    sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def change(doors: Doors, new: Settings, *, accepts: bool = True) -> None:
    moves = doors.move(new, NETWORK, accepts=accepts)
    doors.complete(moves, new, NETWORK, accepts=accepts)


def test_the_same_settings_keep_every_socket(opened: Make) -> None:
    doors = opened(written())
    before = doors.sockets
    change(doors, written())
    assert doors.sockets == before


def test_from_a_written_port_to_any_free_one_udp_and_tcp_go_together(opened: Make) -> None:
    before = free_port()
    doors = opened(written(f"port = {before}\n"))
    change(doors, written())
    (port,) = ports(doors.datagrams)
    assert port not in (0, before)
    assert ports(doors.streams) == [port]
    change(doors, written(f"port = {before}\n"))
    assert ports(doors.datagrams) == ports(doors.streams) == [before]


def test_settings_that_can_not_be_opened_leave_all_as_it_was(opened: Make) -> None:
    doors = opened(written())
    before = doors.sockets
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: "):
            doors.move(written(f"port = {port}\n"), NETWORK, accepts=True)
    assert doors.sockets == before


def test_moves_that_are_not_wanted_leave_nothing_open(opened: Make) -> None:
    doors = opened(written())
    before = descriptors()
    doors.move(written(f"port = {free_port()}\n"), NETWORK, accepts=True).close()
    assert descriptors() == before


def test_addresses_that_are_written_come_and_go_alone(opened: Make) -> None:
    doors = opened(written("port = 0\naddresses = ['127.0.0.1']\n"))
    (kept,) = doors.datagrams.sockets
    change(doors, written("port = 0\naddresses = ['127.0.0.1', '127.0.0.9']\n"))
    assert kept in doors.datagrams.sockets
    assert [str(one.address) for one in doors.streams.endpoints] == ["127.0.0.1", "127.0.0.9"]
    change(doors, written("port = 0\naddresses = ['127.0.0.9']\n"))
    assert [str(one.address) for one in doors.datagrams.endpoints] == ["127.0.0.9"]
    assert kept.fileno() < 0


def test_when_the_last_zone_goes_no_door_for_names_stays_open_and_it_can_come_back(opened: Make) -> None:
    port = free_port()
    found = written(f"port = {port}\n")
    doors = opened(found)
    sessions = doors.sessions.sockets
    change(doors, settings("[internal]\naddresses = ['127.0.0.1']\nport = 0\n"))
    assert doors.dns_numbers == ()
    assert doors.sessions.sockets == sessions
    change(doors, found)
    assert ports(doors.datagrams) == ports(doors.streams) == [port]


def test_a_gateway_that_drains_still_changes_its_doors_for_names(opened: Make) -> None:
    doors = opened(written())
    doors.sessions.close()
    port = free_port()
    change(doors, written(f"port = {port}\n", "addresses = ['127.0.0.1']\nport = 0\n"), accepts=False)
    assert doors.sessions.sockets == []
    assert ports(doors.datagrams) == [port]


# Addresses that come and go


INSIDE = "interface = 'lo'\nport = 0\n"
LO = ListenAddress(address("127.0.0.1"), 1)
LO9 = ListenAddress(address("127.0.0.9"), 1)


def test_doors_follow_the_addresses_of_the_inside(opened: Make) -> None:
    doors = opened(written(internal=INSIDE), network=Network(listen=(LO,)))
    assert doors.adjust(Network(listen=(LO, LO9)), accepts=True)
    for listeners in doors.all:
        assert [str(one.address) for one in listeners.endpoints] == ["127.0.0.1", "127.0.0.9"]
    assert not doors.adjust(Network(listen=(LO, LO9)), accepts=True)
    assert doors.adjust(Network(listen=(LO9,)), accepts=True)
    assert [str(one.address) for one in doors.streams.endpoints] == ["127.0.0.9"]


def test_written_addresses_do_not_follow_the_interface(opened: Make) -> None:
    doors = opened(written("port = 0\naddresses = ['127.0.0.7']\n", INSIDE), network=Network(listen=(LO,)))
    before = doors.dns_numbers
    assert doors.adjust(Network(listen=(LO9,)), accepts=True)
    assert doors.dns_numbers == before
    assert [str(one.address) for one in doors.sessions.endpoints] == ["127.0.0.9"]


def test_an_address_that_can_not_be_opened_yet_is_a_failure_by_both_protocols(
    opened: Make, troubles: list[str]
) -> None:
    doors = opened(written(internal=INSIDE), network=Network(listen=(LO,)))
    doors.adjust(Network(listen=(LO, ListenAddress(address("192.0.2.77"), 1))), accepts=True)
    port = doors.datagrams.port
    assert doors.incomplete
    for words in (f"192.0.2.77:{port}/udp of lo", f"192.0.2.77:{port} of lo"):
        assert any(f"cannot listen on {words}: " in fault for fault in doors.failures)
        assert any(f"cannot listen on {words}: " in fault for fault in troubles)
    doors.adjust(Network(listen=(LO,)), accepts=True)
    assert (doors.incomplete, doors.failures) == (False, ())


@pytest.mark.parametrize("which", ["datagrams", "streams", "sessions"])
def test_what_somebody_has_shut_down_is_opened_again(opened: Make, troubles: list[str], which: str) -> None:
    """A resolver has its sockets from here; if somebody takes it over, he can shut them down for its successors too."""
    doors = opened(written())
    assert not doors.revive()
    (sock,) = getattr(doors, which).sockets
    where, numbers = sock.getsockname(), doors.numbers
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        assert which == "datagrams", "shutdown(2) says so of a socket that is not connected, and does it all the same"
    assert doors.revive()
    (new,) = getattr(doors, which).sockets
    assert new is not sock
    assert new.getsockname() == where
    assert doors.numbers != numbers
    assert len(troubles) == 1
    assert "was shut down by somebody; it is opened again" in troubles[0]
    assert not doors.revive()
