"""The real daemon when somebody shuts down a socket that it listens on: from outside, or who has it."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.system.landlock import syscall
from tests.support import proc
from tests.support.daemon import Sockd, sockd
from tests.support.peers import Peer
from tests.support.rawsocks import Wire, read_reply4, socks4
from tests.support.waiting import eventually, least

PIDFD_GETFD = 438
"""pidfd_getfd(2)."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may take another process's descriptors")


def echo(connection: socket.socket) -> bytes | None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    return None


@pytest.fixture
def target() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


def ping(wire: Wire) -> bool:
    wire.send(b"ping")
    return wire.read(4) == b"ping"


def is_served(port: int, target: Peer) -> bool:
    """Whether a new client is; not so one that came before its socket was opened again."""
    with contextlib.suppress(ConnectionError, EOFError), Wire(port) as wire:
        wire.send(socks4("127.0.0.1", target.port))
        return read_reply4(wire).code == 90 and ping(wire)
    return False


def taken(pid: int, descriptor: int) -> int:
    """A descriptor of another process as one of this one."""
    process = os.pidfd_open(pid)
    try:
        return syscall(PIDFD_GETFD, process, descriptor, 0)
    finally:
        os.close(process)


def sockets_of(pid: int) -> Iterator[socket.socket]:
    """The sockets of a process, each of them for a moment."""
    for entry in sorted(Path(f"/proc/{pid}/fd").iterdir()):
        if os.readlink(entry).startswith("socket:"):
            with socket.socket(fileno=taken(pid, int(entry.name))) as sock:
                yield sock


def shut_down_by_who_has_it(daemon: Sockd) -> None:
    """As its worker could."""
    (worker,) = daemon.workers
    done = 0
    for sock in sockets_of(worker):
        if sock.family == socket.AF_INET and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.shutdown(socket.SHUT_RDWR)
            done += 1
    assert done == 1


def shut_down_from_outside(daemon: Sockd) -> None:
    """As an administrator can."""
    if shutil.which("ss") is None:
        pytest.skip("needs ss(8): apt-get install iproute2")
    command = ["ss", "-K", "-Htln", "state", "listening", "sport", "=", f":{daemon.port}"]
    if not subprocess.run(command, capture_output=True, text=True, check=True).stdout:
        pytest.skip("this kernel ends nobody's sockets (CONFIG_INET_DIAG_DESTROY)")


@pytest.mark.parametrize(
    "shut_down",
    [
        pytest.param(shut_down_by_who_has_it, id="by who has it"),
        pytest.param(shut_down_from_outside, id="from outside"),
    ],
)
def test_a_socket_that_was_shut_down_is_opened_again_and_nobody_spins(
    tmp_path: Path, target: Peer, shut_down: Callable[[Sockd], None]
) -> None:
    with sockd(tmp_path) as daemon, Wire(daemon.port) as wire:
        wire.send(socks4("127.0.0.1", target.port))
        assert read_reply4(wire).code == 90
        worker, held = daemon.workers, daemon.sockets_at_rest()
        shut_down(daemon)
        for pattern in ("nobody is accepted by it", "it is opened again"):
            daemon.wait_log(rf"127\.0\.0\.1:{daemon.port} was shut down by somebody; {pattern}")
        assert eventually(lambda: is_served(daemon.port, target))
        assert daemon.workers == worker
        assert ping(wire), "who was served before is served on"
        assert eventually(lambda: daemon.sockets_at_rest() == held)
        assert daemon.log().count("was shut down") == 2
        assert least(lambda: work_of(daemon, 0.3), below=0.1) < 0.1


def work_of(daemon: Sockd, seconds: float) -> float:
    """Seconds of processor time that the daemon takes while nobody wants anything."""
    before = proc.cpu_seconds(daemon.pid)
    time.sleep(seconds)
    return proc.cpu_seconds(daemon.pid) - before
