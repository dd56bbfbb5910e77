"""What is opened at the start: all of it, or a reason; and nothing stays open when the daemon does not start."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.daemon.configuration import Configuration, load
from gateway.daemon.opening import Opening, open_all
from gateway.errors import StartError
from gateway.system.sinks import FileSink
from tests.unit.net.stage import descriptors

BASE = "[internal]\naddresses = ['127.0.0.1']\nport = 0\n[files]\naccess = 'sockd.conf'\n[log]\nclassic = 'none'\n"
NO_CONTROL = "[control]\nsocket = ''\n"
NAMES = "[resolver]\nport = 0\n[[resolver.zone]]\nname = '.'\nservers = ['192.0.2.53']\n"


def silent(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Place:
    """A folder with the files of a daemon."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def configured(self, text: str) -> Configuration:
        (self.folder / "gateway.toml").write_text(BASE.replace("port = 0", f"port = {self.port}") + text)
        (self.folder / "sockd.conf").write_text("permit ALL ALL\n")
        return load(str(self.folder / "gateway.toml"), silent)

    def opened(self, text: str, workers: int = 2, resolvers: int = 0) -> Opening:
        return open_all(self.configured(text), workers, resolvers, (), silent)


@pytest.fixture
def place(tmp_path: Path, free_port: int) -> Iterator[Place]:
    before = descriptors()
    yield Place(tmp_path, free_port)
    assert descriptors() == before


def test_a_daemon_without_operators_has_its_ports_alone(place: Place) -> None:
    opening = place.opened(NO_CONTROL)
    assert (opening.control, opening.gate, opening.classic, opening.records) == (None,) * 4
    assert opening.metrics == ()
    assert len(opening.doors.sessions.of_worker(0)) == len(opening.doors.sessions.of_worker(1)) == 1
    assert sorted(opening.descriptors) == sorted(sock.fileno() for sock in opening.doors.sockets)
    opening.close()


def test_names_are_asked_for_by_udp_and_tcp_and_all_of_it_outlives_the_terminal(place: Place) -> None:
    opening = place.opened(NO_CONTROL + NAMES, resolvers=2)
    doors = opening.doors
    assert [len(doors.of_resolver(index)) for index in (0, 1)] == [2, 2]
    assert {sock.type for sock in doors.of_resolver(0)} == {socket.SOCK_DGRAM, socket.SOCK_STREAM}
    assert len({sock.getsockname() for sock in doors.of_resolver(0)}) == 1
    assert {sock.fileno() for sock in doors.of_resolver(1)} < set(opening.descriptors)
    opening.close()


def test_operators_have_a_socket_that_nobody_else_may_use(place: Place) -> None:
    opening = place.opened("[control]\nsocket = 'control.sock'\n")
    assert opening.control is not None
    assert opening.gate is not None
    mode = (place.folder / "control.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) & 0o007 == 0
    assert opening.control.fileno() in opening.descriptors
    opening.close()


def test_metrics_have_a_port_for_each_address(place: Place, free_port: int) -> None:
    del free_port
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", 0))
        port = sock.getsockname()[1]
    opening = place.opened(f"{NO_CONTROL}[metrics]\naddresses = ['127.0.0.2', '127.0.0.3']\nport = {port}\n")
    assert [sock.getsockname() for sock in opening.metrics] == [("127.0.0.2", port), ("127.0.0.3", port)]
    assert {sock.fileno() for sock in opening.metrics} < set(opening.descriptors)
    opening.close()


def test_logs_that_are_files_stay_open(place: Place) -> None:
    found = place.configured(f"json = '{place.folder}/records'\n{NO_CONTROL}")
    opening = open_all(found, 1, 0, (), silent)
    assert isinstance(opening.records, FileSink)
    assert opening.records.fd in opening.descriptors
    assert (place.folder / "records").exists()
    opening.close()
    os.close(opening.records.fd)


def test_given_sockets_count_in_place_of_the_settings(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        opening = open_all(place.configured(NO_CONTROL), 2, 0, (given,), silent)
        assert opening.doors.sessions.of_worker(0) == opening.doors.sessions.of_worker(1) == [given]
        opening.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            "[control]\nsocket = 'c.sock'\ngroup = 'no-such-group'\n", "no-such-group", id="a group that is not there"
        ),
        pytest.param("[control]\nsocket = 'sockd.conf/control.sock'\n", "control.sock", id="a folder that is none"),
        pytest.param(
            f"{NO_CONTROL}[metrics]\naddresses = ['127.0.0.1', '192.0.2.77']\nport = 0\n",
            "[metrics] cannot listen on 192.0.2.77",
            id="an address of somebody else",
        ),
        pytest.param("json = '/no/such/folder/x'\n[control]\nsocket = ''\n", "cannot open the log", id="a log"),
    ],
)
def test_what_can_not_be_opened_is_said_and_nothing_stays_open(place: Place, text: str, words: str) -> None:
    with pytest.raises(StartError, match=words.replace("[", r"\[")):
        place.opened(text)


def test_a_port_that_is_taken_is_said(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.port)), pytest.raises(StartError, match="cannot listen on"):
        place.opened(NO_CONTROL)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [pytest.param(socket.SOCK_DGRAM, "/udp", id="UDP"), pytest.param(socket.SOCK_STREAM, "", id="TCP")],
)
def test_a_port_for_names_that_is_taken_is_said_and_nothing_stays_open(
    place: Place, kind: socket.SocketKind, suffix: str
) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        text = NO_CONTROL + NAMES.replace("port = 0", f"port = {port}")
        with pytest.raises(StartError, match=f"^cannot listen on 127.0.0.1:{port}{suffix}: Address already in use$"):
            place.opened(text, resolvers=1)
