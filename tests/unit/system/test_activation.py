"""Sockets that were passed on: what is taken, and what is refused in one line."""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.errors import StartError
from gateway.system.activation import listening_sockets
from tests.support.waiting import eventually

PID = 4711


class Passed:
    """Descriptors in a row, as a service manager passes them."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.first = 300

    def add(self, descriptor: int) -> None:
        made = fcntl.fcntl(descriptor, fcntl.F_DUPFD, self.first + len(self.numbers))
        os.set_inheritable(made, True)
        assert made == self.first + len(self.numbers), "somebody else has that number"
        self.numbers.append(made)

    def environ(self, **others: str) -> dict[str, str]:
        return {"HOME": "/", "LISTEN_PID": str(PID), "LISTEN_FDS": str(len(self.numbers)), **others}

    def taken(self, **others: str) -> list[socket.socket]:
        environ = self.environ(**others)
        try:
            return listening_sockets(environ, PID, self.first)
        finally:
            assert environ == {"HOME": "/"}

    def close(self) -> None:
        for number in self.numbers:
            try:
                os.close(number)
            except OSError:
                pass  # taken, and closed by the taker


@pytest.fixture
def passed() -> Iterator[Passed]:
    made = Passed()
    yield made
    made.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def tcp(stack: ExitStack, address: str = "127.0.0.1", listens: bool = True) -> socket.socket:
    sock = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET))
    sock.bind((address, 0))
    if listens:
        sock.listen(5)
    return sock


def test_each_socket_is_taken_as_it_is(passed: Passed, stack: ExitStack) -> None:
    given = [tcp(stack), tcp(stack, "::1")]
    for sock in given:
        passed.add(sock.fileno())
    taken = [stack.enter_context(sock) for sock in passed.taken(LISTEN_FDNAMES="inside:inside6")]
    assert [sock.getsockname() for sock in taken] == [sock.getsockname() for sock in given]
    assert [sock.family for sock in taken] == [socket.AF_INET, socket.AF_INET6]
    assert [sock.fileno() for sock in taken] == passed.numbers
    assert not any(sock.get_inheritable() or sock.getblocking() for sock in taken)


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"LISTEN_PID": str(PID + 1)}, id="they are for another process"),
        pytest.param({"LISTEN_PID": ""}, id="they are for nobody in particular"),
        pytest.param({"LISTEN_FDS": ""}, id="there are none"),
        pytest.param({"LISTEN_FDS": "0"}, id="there are zero"),
    ],
)
def test_nothing_is_taken_when(passed: Passed, stack: ExitStack, variables: dict[str, str]) -> None:
    passed.add(tcp(stack).fileno())
    assert passed.taken(**variables) == []
    assert os.fstat(passed.numbers[0])


def test_an_environment_without_them_is_left_alone() -> None:
    assert listening_sockets({}, PID) == []


@pytest.mark.parametrize("count", ["-1", "two", "1 ", "٣", "99999999999"])
def test_a_number_that_is_none_is_refused(passed: Passed, count: str) -> None:
    with pytest.raises(StartError, match="is no number of sockets"):
        passed.taken(LISTEN_FDS=count)


def refusal(passed: Passed, **variables: str) -> str:
    with pytest.raises(StartError) as caught:
        passed.taken(**variables)
    return str(caught.value)


def test_a_file_is_refused_with_its_name(passed: Passed) -> None:
    with open(os.devnull) as nothing:
        passed.add(nothing.fileno())
    assert refusal(passed, LISTEN_FDNAMES="inside") == (
        "descriptor 300 ('inside') of LISTEN_FDS is no socket; the unit may hold ListenStream= only"
    )


def test_a_datagram_socket_is_refused(passed: Passed, stack: ExitStack) -> None:
    passed.add(stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)).fileno())
    assert refusal(passed) == "descriptor 300 of LISTEN_FDS is not TCP; write ListenStream=ADDRESS:PORT"


def test_a_unix_socket_is_refused(passed: Passed, stack: ExitStack) -> None:
    passed.add(stack.enter_context(socket.socket(socket.AF_UNIX)).fileno())
    assert "is neither IPv4 nor IPv6" in refusal(passed)


def test_a_socket_that_does_not_listen_is_refused_and_the_one_before_is_closed(
    passed: Passed, stack: ExitStack
) -> None:
    passed.add(tcp(stack).fileno())
    passed.add(tcp(stack, listens=False).fileno())
    assert refusal(passed, LISTEN_FDNAMES="inside") == (
        "descriptor 301 of LISTEN_FDS does not listen; the unit must not say Accept=yes"
    )
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(passed.numbers[0])


def test_a_number_behind_the_last_one_is_refused(passed: Passed) -> None:
    assert refusal(passed, LISTEN_FDS="1") == "descriptor 300 of LISTEN_FDS can not be used: Bad file descriptor"


TELLS = """
import os
from gateway.system.activation import listening_sockets
(sock,) = listening_sockets(os.environ, os.getpid())
with sock:
    sock.setblocking(True)
    client, _ = sock.accept()
    with client:
        client.sendall(f"{sock.fileno()} {'LISTEN_FDS' in os.environ}".encode())
"""


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="needs systemd-socket-activate of systemd")
def test_the_socket_of_a_real_service_manager_is_served() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    listens = ["systemd-socket-activate", "-l", f"127.0.0.1:{address[1]}", sys.executable, "-c", TELLS]
    with subprocess.Popen(listens, stderr=subprocess.PIPE) as manager:
        try:
            client = eventually(lambda: connection(address))
            assert client is not None
            with client:
                assert client.recv(100) == b"3 False"
            assert manager.wait(10) == 0
        finally:
            manager.kill()


def connection(address: tuple[str, int]) -> socket.socket | None:
    try:
        return socket.create_connection(address, 10)
    except ConnectionRefusedError:
        return None
