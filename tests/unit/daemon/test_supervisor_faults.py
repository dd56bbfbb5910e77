"""The first process when something goes wrong around it: strange deaths, no process or descriptor to be had, a full
descriptor table; and what workers and commands do not get from it.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.address import Address
from gateway.config.rules import AddressPattern
from gateway.daemon import host as daemon_host
from gateway.daemon.configuration import load
from gateway.netlink.model import InterfaceAddress, KernelState
from gateway.policy.decision import Result
from gateway.system.pidfile import PidFile
from tests.support import proc
from tests.support.daemon import PROGRAM, Sockd, sockd, write_files
from tests.support.peers import Peer
from tests.support.rawsocks import Wire, read_reply4, socks4
from tests.support.rules import address, host, question
from tests.support.waiting import eventually


def echo(connection: socket.socket) -> bytes | None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    return None


@pytest.fixture
def target() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


def workers(daemon: Sockd) -> list[int]:
    return daemon.workers


def is_served(port: int, target: Peer) -> bool:
    with Wire(port) as wire:
        wire.send(socks4("127.0.0.1", target.port))
        if read_reply4(wire).code != 90:
            return False
        wire.send(b"ping")
        return wire.read(4) == b"ping"


# Deaths


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(40, id="a real-time signal, which has no name"),
        pytest.param(int(signal.SIGRTMAX), id="the last real-time signal"),
    ],
)
def test_a_worker_is_replaced_whatever_signal_it_died_of(tmp_path: Path, target: Peer, number: int) -> None:
    with sockd(tmp_path, workers=1) as daemon:
        (worker,) = workers(daemon)
        os.kill(worker, number)
        daemon.wait_log(rf"worker 1 \(process {worker}\) was killed by .*; a new one starts in 0\.1 s")
        assert eventually(lambda: workers(daemon) not in ([], [worker]))
        assert is_served(daemon.port, target)
        assert daemon.process.poll() is None


# Nothing to be had

REFUSING = """
import errno, os, socket, sys
first, last = {calls}
count, real, me, sign = 0, {name}, os.getpid(), os.open({sign!r}, os.O_RDONLY)
def refuse(*arguments):
    global count
    if os.getpid() == me and os.fstat(sign).st_size:
        count += 1
        if first <= count <= last:
            raise OSError({number}, os.strerror({number}))
    return real(*arguments)
{name} = refuse
from gateway.cli.sockd import main
main(sys.argv[2:])
"""
"""Runs ``sockd`` with one system call that fails in its first process, at some calls after a sign was given."""


class Refusing:
    """What is refused, and from when on."""

    def __init__(self, folder: Path, name: str, number: str, calls: tuple[int, int]) -> None:
        sign = self._sign = folder / "refuse"
        sign.touch()
        program = folder / "refusing.py"
        program.write_text(REFUSING.format(name=name, number=f"errno.{number}", calls=calls, sign=str(sign)))
        #: a command before ``sockd``
        self.prefix = (sys.executable, str(program))

    def begin(self) -> None:
        """From the next call on they are counted."""
        self._sign.write_text("now")


@pytest.mark.parametrize(
    ("name", "number", "words"),
    [
        pytest.param("os.fork", "EAGAIN", "Resource temporarily unavailable", id="no process"),
        pytest.param("socket.socketpair", "EMFILE", "Too many open files", id="no descriptor"),
    ],
)
@pytest.mark.parametrize("child", ["worker 1", "watcher", "helper"])
def test_a_child_that_can_not_be_started_is_tried_again_later(
    tmp_path: Path, target: Peer, name: str, number: str, words: str, child: str
) -> None:
    # Another way to the helper is wanted before a worker is; without one its successor has the old way.
    ways = 1 if (child, name) == ("worker 1", "socket.socketpair") else 0
    refusing = Refusing(tmp_path, name, number, (1, 2 + ways))
    with sockd(tmp_path, workers=1, prefix=refusing.prefix) as daemon:
        before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        refusing.begin()
        (victim,) = called(daemon, f"sockd: {child}")
        os.kill(victim, signal.SIGKILL)
        for delay in ("0.2", "0.4"):
            daemon.wait_log(rf"{child} .*{words}; a new one starts in {delay} s")
        assert eventually(lambda: called(daemon, f"sockd: {child}"))
        assert is_served(daemon.port, target)
        assert eventually(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) == before)


def called(daemon: Sockd, name: str) -> list[int]:
    """The processes of this name that run."""
    return [pid for pid in proc.tree(daemon.pid)[1:] if proc.name(pid) == name]


def test_while_one_worker_can_not_be_started_the_other_serves(tmp_path: Path, target: Peer) -> None:
    refusing = Refusing(tmp_path, "os.fork", "ENOMEM", (1, 1000))
    with sockd(tmp_path, workers=2, prefix=refusing.prefix) as daemon:
        refusing.begin()
        first, second = workers(daemon)
        with contextlib.ExitStack() as stack:
            # The kernel deals them out to the workers by chance; of so many, each has some.
            wires = [stack.enter_context(Wire(daemon.port)) for _ in range(40)]
            for wire in wires:
                wire.send(socks4("127.0.0.1", target.port))
                assert read_reply4(wire).code == 90
            os.kill(first, signal.SIGKILL)
            daemon.wait_log("worker 1 .*Cannot allocate memory; a new one starts in 0.2 s")
            assert workers(daemon) == [second]
            served = 0
            for wire in wires:
                with contextlib.suppress(ConnectionError):
                    wire.send(b"ping")
                    served += wire.read(4) == b"ping"
            assert 0 < served < len(wires)


@pytest.mark.parametrize("which", [1, 2, 3, 4], ids=lambda which: f"process {which}")
def test_the_first_start_without_a_process_is_one_clear_line(tmp_path: Path, which: int) -> None:
    """Whoever runs already ends, and says nothing of it."""
    path = write_files(tmp_path, "permit 127.0.0.0/8 127.0.0.0/8\n", workers=2)
    refusing = Refusing(tmp_path, "os.fork", "EAGAIN", (which, which))
    refusing.begin()
    command = [*refusing.prefix, PROGRAM, "-d", "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"sockd: (the warden|watcher|helper|worker \d) can not be started: Resource temporarily unavailable\n",
        done.stderr,
    )


# A full table

CROWDED = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
null = os.open("/dev/null", os.O_RDONLY)
while os.dup(null) < 1100:
    pass
from gateway.cli.sockd import main
main(sys.argv[2:])
"""


def test_more_descriptors_than_select_can_count_are_no_problem(tmp_path: Path, target: Peer) -> None:
    path = tmp_path / "crowded.py"
    path.write_text(CROWDED)
    with sockd(tmp_path, workers=2, prefix=(sys.executable, str(path))) as daemon:
        assert is_served(daemon.port, target)
        first, _ = workers(daemon)
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: len(workers(daemon)) == 2 and first not in workers(daemon))
        for _ in range(6):
            assert is_served(daemon.port, target)


# The pid file


def links(pid: int) -> set[str]:
    """What a process has open."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(entry))
    return found


def holders(root: int, path: Path) -> list[int]:
    """Who of a family has a file open."""
    return [pid for pid in proc.tree(root) if str(path) in links(pid)]


def settled(root: int) -> list[int]:
    """A family with nobody in it who is only there to make another one."""
    found: list[list[int]] = [proc.tree(root)]

    def is_steady() -> bool:
        found.append(proc.tree(root))
        return found[-1] == found[-2] and all(map(proc.name, found[-1]))

    assert eventually(is_steady)
    return found[-1]


def test_nobody_but_the_first_process_holds_the_pid_file(tmp_path: Path) -> None:
    pidfile, log = tmp_path / "sockd.pid", tmp_path / "sockd.log"
    rules = "permit 127.0.0.0/8 127.0.0.0/8\n"
    path = write_files(tmp_path, rules, workers=2, settings={"sockd": {"pidfile": str(pidfile)}})
    subprocess.run([PROGRAM, "-f", str(path)], timeout=60, check=True)
    assert eventually(lambda: pidfile.exists() and pidfile.read_text().endswith("\n"))
    number = int(pidfile.read_text())
    try:
        assert eventually(lambda: log.exists() and "ready -- " in log.read_text())
        family = settled(number)
        assert holders(number, pidfile) == [number]
        for member in family[1:]:
            os.kill(member, signal.SIGKILL)
            assert eventually(lambda gone=member: gone not in proc.tree(number))  # type: ignore[misc]
            assert eventually(lambda: len(proc.tree(number)) == len(family))
            assert eventually(lambda: holders(number, pidfile) == [number])
    finally:
        os.kill(number, signal.SIGTERM)
        assert eventually(lambda: not proc.tree(number))
    assert not pidfile.exists() or pidfile.read_text() == "", "who gave up root can not remove it from root's folder"


def test_a_pid_file_by_a_relative_path_is_removed_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = PidFile("sockd.pid")
    mine.write()
    assert (tmp_path / "sockd.pid").exists()
    monkeypatch.chdir("/")
    mine.remove()
    assert not (tmp_path / "sockd.pid").exists()


# Commands


def test_commands_get_neither_the_daemons_environment_nor_its_folder(
    tmp_path: Path, target: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_ADMINISTRATOR", "geheim")
    monkeypatch.chdir(tmp_path)
    said = tmp_path / "said"
    said.touch()
    said.chmod(0o666)
    tmp_path.chmod(0o755)
    command = f"(env; pwd; echo end) > {said}"
    with open_to_all(tmp_path), sockd(tmp_path, f"permit 127.0.0.0/8 127.0.0.0/8 : {command}\n") as daemon:
        assert is_served(daemon.port, target)
        assert eventually(lambda: said.read_text().endswith("end\n")), daemon.log()
    lines = said.read_text().splitlines()
    names = {line.partition("=")[0] for line in lines if "=" in line}
    # The shell itself adds where it is, and how deep.
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH"}
    assert lines[-2] == "/"


@contextlib.contextmanager
def open_to_all(folder: Path) -> Iterator[None]:
    """Let the account of the workers come to this folder, which only its owner may enter otherwise."""
    closed = [parent for parent in folder.parents if parent.stat().st_uid == os.geteuid() and parent != Path("/")]
    modes = {parent: parent.stat().st_mode & 0o7777 for parent in closed}
    for parent, mode in modes.items():
        if not mode & 0o001:
            parent.chmod(mode | 0o001)
    try:
        yield
    finally:
        for parent, mode in modes.items():
            if not mode & 0o001:
                parent.chmod(mode)


# A gateway that listens everywhere

OWN = (
    InterfaceAddress(address("10.1.2.3"), 24),
    InterfaceAddress(address("192.168.7.1"), 16),
    InterfaceAddress(address("203.0.113.5"), 30),
    InterfaceAddress(address("fd00::1"), 64),
    InterfaceAddress(address("2001:db8::1"), 48),
)
FOUR = ("10.1.2.0/24", "192.168.0.0/16", "203.0.113.4/30")
SIX = ("fd00::/64", "2001:db8::/48")


def pattern(text: str) -> AddressPattern:
    found = host(text)
    assert isinstance(found, AddressPattern)
    return found


@pytest.mark.parametrize(
    ("addresses", "inside"),
    [
        pytest.param("'0.0.0.0'", FOUR, id="every IPv4 address: its networks"),
        pytest.param("'::'", SIX, id="every IPv6 address: its networks"),
        pytest.param("'0.0.0.0', '::'", FOUR + SIX, id="both"),
        pytest.param("'10.1.2.3'", FOUR[:1], id="one address: its network"),
        pytest.param("'10.1.2.3', '::'", FOUR[:1] + SIX, id="one, and all of the other family"),
    ],
)
def test_the_inside_of_a_gateway_that_listens_everywhere_is_every_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addresses: str, inside: tuple[str, ...]
) -> None:
    monkeypatch.setattr(daemon_host, "read_kernel", lambda: KernelState(addresses=OWN))
    found = load(settings(tmp_path, f"addresses = [{addresses}]\n"), print).policy
    assert sorted(map(str, found.guard.inside)) == sorted(map(str, map(pattern, inside)))
    for network in FOUR + SIX:
        result = found.decide(question("10.1.2.9", str(neighbour(network)))).result
        assert result is (Result.DENY if network in inside else Result.PERMIT), network
    assert found.decide(question("10.1.2.9", "198.51.100.1")).result is Result.PERMIT


def test_networks_that_are_written_replace_those_of_a_wildcard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_host, "read_kernel", lambda: KernelState(addresses=OWN))
    found = load(settings(tmp_path, "addresses = ['0.0.0.0']\nnetworks = ['10.1.2.0/24']\n"), print)
    assert found.policy.guard.inside == (pattern("10.1.2.0/24"),)


def neighbour(network: str) -> Address:
    """An address of a network that is none of the host's own."""
    one = pattern(network)
    return Address(one.version, one.number + 2)


def settings(folder: Path, internal: str) -> str:
    (folder / "sockd.conf").write_text("permit ALL ALL\n")
    (folder / "gateway.toml").write_text(f"[files]\naccess = 'sockd.conf'\n[internal]\n{internal}")
    return str(folder / "gateway.toml")
