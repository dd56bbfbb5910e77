"""The first process: children that are watched, other files by a signal, an orderly end."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.address import Address
from gateway.daemon.children import STOP_SECONDS
from gateway.daemon.messages import MAY_SAY, Applied, Apply, End, Found, Network, Networks, Opened, Orders
from tests.support import proc
from tests.support.daemon import PROGRAM, Sockd, sockd, write_files
from tests.support.peers import Peer
from tests.support.rawsocks import Wire, read_reply4, socks4
from tests.support.waiting import eventually


def echo(connection: socket.socket) -> bytes | None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    return None


# The real tree of processes

#: the kernel deals clients out to the workers by chance; of so many, each of two workers has some
CROWD = 40


@pytest.fixture
def target() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


def workers(daemon: Sockd) -> list[int]:
    return daemon.workers


def session(daemon: Sockd, target: Peer) -> Wire:
    wire = Wire(daemon.port)
    wire.send(socks4("127.0.0.1", target.port))
    assert read_reply4(wire).code == 90
    return wire


def is_served(wire: Wire) -> bool:
    wire.send(b"ping")
    return wire.read(4) == b"ping"


def test_a_worker_that_is_killed_is_replaced_and_costs_its_own_sessions_only(tmp_path: Path, target: Peer) -> None:
    with sockd(tmp_path, workers=2) as daemon:
        first, second = workers(daemon)
        wires = [session(daemon, target) for _ in range(CROWD)]
        os.kill(first, signal.SIGKILL)
        daemon.wait_log(rf"worker 1 \(process {first}\) was killed by SIGKILL; a new one starts in 0\.1 s")
        assert eventually(lambda: len(workers(daemon)) == 2)
        assert second in workers(daemon)
        kept = 0
        for wire in wires:
            with contextlib.suppress(ConnectionError):
                kept += is_served(wire)
            wire.socket.close()
        assert 0 < kept < CROWD
        for _ in range(CROWD):
            with session(daemon, target) as wire:
                assert is_served(wire)


def test_who_waits_in_the_queue_of_a_worker_that_dies_is_served_by_its_successor(tmp_path: Path, target: Peer) -> None:
    with sockd(tmp_path, workers=1) as daemon:
        (worker,) = workers(daemon)
        os.kill(worker, signal.SIGSTOP)
        with Wire(daemon.port) as wire:
            wire.send(socks4("127.0.0.1", target.port))
            os.kill(worker, signal.SIGKILL)
            assert read_reply4(wire).code == 90
            assert is_served(wire)


def test_a_worker_that_dies_again_and_again_is_started_less_and_less_often(tmp_path: Path) -> None:
    with sockd(tmp_path, workers=1) as daemon:
        for delay in ("0.1", "0.2", "0.4"):
            assert eventually(lambda: workers(daemon))
            (worker,) = workers(daemon)
            os.kill(worker, signal.SIGKILL)
            daemon.wait_log(rf"\(process {worker}\) was killed by SIGKILL; a new one starts in {delay} s")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_and_writes_the_records(tmp_path: Path, target: Peer, number: signal.Signals) -> None:
    with sockd(tmp_path, workers=2) as daemon:
        wires = [session(daemon, target) for _ in range(4)]
        started = time.monotonic()
        daemon.process.send_signal(number)
        assert daemon.process.wait(30) == 0
        assert time.monotonic() - started < STOP_SECONDS
        for wire in wires:
            assert wire.end_of_peer() in ("reset", "fin")
            wire.socket.close()
        assert [record["end"] for record in daemon.records()] == ["shutdown"] * 4
        assert daemon.log().rstrip().endswith("stopped")
        assert proc.session_members(daemon.pid) == []


def test_a_supervisor_that_is_killed_leaves_no_orphans(tmp_path: Path, target: Peer) -> None:
    with contextlib.suppress(AssertionError), sockd(tmp_path, workers=2) as daemon:
        wire = session(daemon, target)
        os.kill(daemon.pid, signal.SIGKILL)
        gone = eventually(lambda: not proc.session_members(daemon.pid))
        wire.socket.close()
        records = daemon.records()
        written = daemon.stderr() + daemon.log()
    assert gone
    assert [record["end"] for record in records] == ["shutdown"]
    assert "Traceback" not in written


def test_a_busy_worker_that_gets_two_signals_at_once_ends_in_order(tmp_path: Path, target: Peer) -> None:
    """Ctrl-C goes to the whole group: a worker hears it from the terminal and from its supervisor."""
    with sockd(tmp_path, workers=1) as daemon:
        (worker,) = workers(daemon)
        wire = session(daemon, target)
        os.kill(worker, signal.SIGSTOP)
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
        daemon.process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        os.kill(worker, signal.SIGCONT)
        assert daemon.process.wait(30) == 0
        wire.socket.close()
        written = daemon.stderr() + daemon.log()
        assert "Traceback" not in written
        assert "Exception" not in written
        assert [record["end"] for record in daemon.records()] == ["shutdown"]


def test_a_worker_that_hangs_is_ended_in_the_end(tmp_path: Path) -> None:
    with contextlib.suppress(AssertionError), sockd(tmp_path, workers=1) as daemon:
        (worker,) = workers(daemon)
        os.kill(worker, signal.SIGSTOP)
        # SIGTERM is not delivered to who is stopped; the rest takes seconds and is cut short here.
        daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert daemon.process.poll() is None
        os.kill(worker, signal.SIGCONT)
        status = daemon.process.wait(30)
    assert status == 0


def test_commands_of_the_rules_do_not_outlive_the_daemon(tmp_path: Path, target: Peer) -> None:
    """Whoever keeps their time limit is gone then."""
    mark = f"30.{os.getpid()}"

    def running() -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and (entry / "cmdline").read_bytes() == f"sleep\0{mark}\0".encode():
                    found.append(int(entry.name))
        return found

    with sockd(tmp_path, f"permit 127.0.0.0/8 127.0.0.0/8 : exec sleep {mark}\n", workers=1) as daemon:
        session(daemon, target).socket.close()
        assert eventually(running)
    left = running() if not eventually(lambda: not running()) else []
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def test_sighup_has_the_files_read_anew_and_cuts_nobody_off(tmp_path: Path, target: Peer) -> None:
    with sockd(tmp_path, workers=1) as daemon, session(daemon, target) as wire:
        (tmp_path / "sockd.conf").write_text("deny ALL ALL\ndeny ALL ALL\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_log("reloaded -- 2 rules")
        assert is_served(wire)
        with Wire(daemon.port) as other:
            other.send(socks4("127.0.0.1", target.port))
            assert read_reply4(other).code == 91


def test_every_process_is_called_by_its_work(tmp_path: Path) -> None:
    with sockd(tmp_path, workers=2) as daemon:
        names = {
            "sockd: gateway",
            "sockd: warden",
            "sockd: watcher",
            "sockd: helper",
            "sockd: worker 1",
            "sockd: worker 2",
        }
        assert eventually(lambda: set(map(proc.name, proc.tree(daemon.pid))) == names)


def test_who_serves_runs_commands_or_hears_strangers_is_nobody_and_workers_hold_no_socket_of_each_other(
    tmp_path: Path,
) -> None:
    with sockd(tmp_path, workers=2) as daemon:
        listening = [_listening(pid, daemon.port) for pid in workers(daemon)]
        assert [len(found) for found in listening] == [1, 1]
        assert listening[0] != listening[1]
        others = [pid for pid in proc.tree(daemon.pid)[1:] if pid not in workers(daemon)]
        assert [_listening(pid, daemon.port) for pid in others] == [set()] * len(others)
        if os.geteuid() == 0:
            for pid in (pid for pid in proc.tree(daemon.pid) if proc.name(pid) != "sockd: warden"):
                status = Path(f"/proc/{pid}/status").read_text()
                assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.MULTILINE)
                assert re.search(r"^Groups:\s*$", status, re.MULTILINE)
                assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)


def _listening(pid: int, port: int) -> set[str]:
    """The inodes of this process's sockets that listen on the port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {fields[9] for fields in lines if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}
    links = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    return {inode for inode in inodes if f"socket:[{inode}]" in links}


def test_without_d_it_leaves_the_terminal_and_its_number_behind(tmp_path: Path, target: Peer) -> None:
    pidfile, log = tmp_path / "sockd.pid", tmp_path / "sockd.log"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "other").mkdir()
    path = write_files(
        tmp_path,
        "permit 127.0.0.0/8 127.0.0.0/8\n",
        settings={"internal": {"port": port}, "sockd": {"pidfile": str(pidfile)}},
    )
    done = subprocess.run([PROGRAM, "-f", str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    try:
        assert eventually(lambda: log.exists() and "ready -- " in log.read_text())
        number = int(pidfile.read_text())
        with Wire(port) as wire:
            wire.send(socks4("127.0.0.1", target.port))
            assert read_reply4(wire).code == 90
            assert is_served(wire)
        assert refused(path) == f"sockd: {pidfile}: sockd is running already, as process {number}\n"
        other = write_files(
            tmp_path / "other",
            "permit 127.0.0.0/8 127.0.0.0/8\n",
            settings={"internal": {"port": port}, "sockd": {"pidfile": str(tmp_path / "other.pid")}},
        )
        assert refused(other) == f"sockd: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        assert eventually(lambda: len(proc.tree(number)) > 1)
    finally:
        number = int(pidfile.read_text())
        os.kill(number, signal.SIGTERM)
    assert eventually(lambda: not pidfile.exists() or not pidfile.read_text())
    assert eventually(lambda: not Path(f"/proc/{number}").exists() or not proc.tree(number))
    assert log.read_text().rstrip().endswith("stopped")


def refused(path: Path) -> str:
    """What a start says that comes to nothing."""
    done = subprocess.run([PROGRAM, "-f", str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


# Children that do not keep to the rules

SPEAKING = """
import os, select, socket, sys
import {module} as module
real, sign = module.{life}, os.open({sign!r}, os.O_RDONLY)
def life(*arguments):
    if not os.fstat(sign).st_size:
        return real(*arguments)
    channel = next(one for one in arguments if isinstance(one, socket.socket))
    channel.send({data!r})
    select.select([], [], [])
module.{life} = life
from gateway.cli.sockd import main
main(sys.argv[2:])
"""
"""Runs ``sockd`` with children that say something as soon as they are born, for as long as a sign is given."""

LIVES = {
    "watcher": ("gateway.daemon.supervisor", "run_watcher"),
    "helper": ("gateway.daemon.supervisor", "run_helper"),
    "worker 1": ("gateway.daemon.worker", "run_worker"),
    "resolver": ("gateway.daemon.resolver", "run_resolver"),
}
NAMES = {"resolver": {"port": 0, "zone": [{"name": "corp.example", "records": ["www A 10.0.0.9"]}]}}
NO_MESSAGE = b'{"type":"Shutdown"}'
NO_NUMBER = b'{"type":"Loaded","number":' + b"9" * 4300 + b"}"
NO_ADDRESS = msgspec.json.encode(Networks(Network(own=(Address(4, -5),))))


def _wrong() -> Iterator[Any]:
    """Everything that each child may not say."""
    for child in LIVES:
        may_say = MAY_SAY[child.partition(" ")[0]]
        for message in (Networks(Network()), Apply(()), Found(1, (), 0), Opened(), Applied(), Orders(Network()), End()):
            if not isinstance(message, may_say):
                words = msgspec.json.encode(message)
                yield pytest.param(child, words, "says what it may not say", id=f"{child}: {type(message).__name__}")
        yield pytest.param(child, NO_MESSAGE, "says what is no message", id=f"{child}: nothing that there is")
        yield pytest.param(child, NO_NUMBER, "says what is no message", id=f"{child}: a number of 4300 digits")
        yield pytest.param(child, b"\xff" * 70_000, "says what is no message", id=f"{child}: bytes")
    said = r"says what can not be \(ValueError: an address that is none\)"
    yield pytest.param("watcher", NO_ADDRESS, said, id="watcher: an address that is none")


@pytest.mark.parametrize(("child", "words", "said"), list(_wrong()))
def test_a_child_that_says_what_it_may_not_say_is_ended_and_another_one_is_heard(
    tmp_path: Path, target: Peer, child: str, words: bytes, said: str
) -> None:
    sign, program = tmp_path / "sign", tmp_path / "speaking.py"
    sign.touch()
    module, life = LIVES[child]
    program.write_text(SPEAKING.format(module=module, life=life, sign=str(sign), data=words))
    settings = NAMES if child == "resolver" else {}
    with sockd(tmp_path, workers=1, settings=settings, prefix=(sys.executable, str(program))) as daemon:
        sign.write_text("now")
        (victim,) = [pid for pid in proc.tree(daemon.pid) if proc.name(pid) == f"sockd: {child}"]
        os.kill(victim, signal.SIGKILL)
        daemon.wait_log(f"{child} {said}, and is ended")
        daemon.wait_log(rf"{child} \(process (?!{victim}\))\d+\) was killed by SIGKILL")
        sign.write_text("")
        assert eventually(lambda: is_whole(daemon, child))
        with session(daemon, target) as wire:
            assert is_served(wire)


def is_whole(daemon: Sockd, child: str) -> bool:
    """Whether a child does its work: only then it says in its title what that is."""
    titles = proc.public_bytes(daemon.pid)
    return f"sockd: {child}: ".encode() in titles
