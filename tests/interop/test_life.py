"""The daemon's own life: in the foreground and background, its signals, its worker processes, its privileges."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import proc
from tests.support.daemon import LOOPBACK, Sockd, Toml, run_sockd, sockd, write_files
from tests.support.peers import Peer, closed_port, echo, has_ipv6
from tests.support.rawsocks import Wire, connect5
from tests.support.waiting import eventually

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop; `sudo make test` runs it")


@pytest.fixture
def target() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


def serves(port: int, target: Peer) -> bool:
    """Whether a whole session works."""
    try:
        with Wire(port) as wire:
            return connect5(wire, "127.0.0.1", target.port).code == 0
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_sessions_open(tmp_path: Path, target: Peer, number: signal.Signals) -> None:
    """Status 0, no process left, every session recorded (`Sockd.stop` and the record say so)."""
    with sockd(tmp_path, workers=2) as daemon, Wire(daemon.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        os.kill(daemon.pid, number)
        assert daemon.process.wait(30) == 0
        assert wire.end_of_peer() in ("fin", "reset")
        assert [record["end"] for record in daemon.records()] == ["shutdown"]


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6; one with ::1 on its loopback runs it")
def test_both_families_and_several_addresses(tmp_path: Path, target: Peer) -> None:
    """One port on each address; an IPv6 client's address is written in brackets."""
    rules = LOOPBACK + "permit ::1/128 ::1/128\npermit ::1/128 127.0.0.0/8\n"
    with sockd(tmp_path, rules, addresses=("127.0.0.1", "127.0.0.3", "::1")) as daemon:
        assert [host for host, _ in daemon.endpoints] == ["127.0.0.1", "127.0.0.3", "::1"]
        assert len({port for _, port in daemon.endpoints}) == 1
        for host in ("127.0.0.1", "127.0.0.3", "::1"):
            with Wire(daemon.port, host=host) as wire:
                assert connect5(wire, "127.0.0.1", target.port).code == 0
        with Peer(echo, "::1") as six, Wire(daemon.port, host="::1") as wire:
            reply = connect5(wire, "::1", six.port)
            caller = eventually(lambda: six.callers and six.callers[0])
            assert (reply.code, reply.host, reply.port) == (0, *caller)
            client = "[{}]:{}".format(*wire.name)
        record = daemon.wait_record(client=client, port=six.port)
        assert (record["address"], record["egress"]) == ("::1", "[{}]:{}".format(*caller))


def workers_of(daemon: Sockd) -> set[int]:
    return set(daemon.workers)


def test_a_dead_worker_is_replaced_and_costs_only_its_own_sessions(tmp_path: Path, target: Peer) -> None:
    with sockd(tmp_path, workers=2) as daemon:
        before = workers_of(daemon)
        # The kernel deals them out to the workers by chance; of so many, each has some.
        wires = [Wire(daemon.port) for _ in range(40)]
        try:
            assert all(connect5(wire, "127.0.0.1", target.port).code == 0 for wire in wires)
            victim = min(before)
            os.kill(victim, signal.SIGKILL)
            assert eventually(lambda: len(workers_of(daemon) - before) == 1)
            alive = [wire for wire in wires if echoes(wire)]
            assert 0 < len(alive) < len(wires)
            assert all(serves(daemon.port, target) for _ in range(40))
            daemon.wait_log(rf"worker \d \(process {victim}\) was killed by SIGKILL")
        finally:
            for wire in wires:
                wire.socket.close()


def echoes(wire: Wire) -> bool:
    try:
        wire.send(b"ping")
        return wire.read(4) == b"ping"
    except OSError:
        return False


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """Nobody is left behind who holds the port, so that the next start works."""
    with sockd(tmp_path, workers=2) as daemon:
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.expected_status = -signal.SIGKILL
        daemon.process.wait(30)
        assert eventually(lambda: not proc.session_members(daemon.pid))
        socket.create_server(("127.0.0.1", daemon.port)).close()


@needs_root
def test_workers_have_no_privileges(tmp_path: Path) -> None:
    """``spec/field-cases.md`` S2: another user, no supplementary groups, no capabilities."""
    with sockd(tmp_path, workers=2, settings={"sockd": {"user": "nobody"}}) as daemon:
        for pid in workers_of(daemon):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            status = dict(line.split(":", 1) for line in lines)
            assert set(status["Uid"].split()) == {"65534"}
            assert set(status["Gid"].split()) == {"65534"}
            assert not status["Groups"].split()
            assert {int(status[f"Cap{kind}"], 16) for kind in ("Eff", "Prm", "Inh", "Amb")} == {0}


def test_in_the_background(tmp_path: Path, target: Peer) -> None:
    """The command ends with 0 when the ports are open; the pid file names the daemon, and nobody when it has gone."""
    with closed_port() as port:
        pass
    pidfile = tmp_path / "sockd.pid"
    settings: Toml = {"internal": {"port": port}, "sockd": {"pidfile": str(pidfile)}}
    path = str(write_files(tmp_path, LOOPBACK, settings=settings))
    done = run_sockd("-f", path)
    pid = int(eventually(lambda: pidfile.exists() and pidfile.read_text()) or 0)
    try:
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert pid > 1
        assert eventually(lambda: serves(port, target))
        assert os.getsid(pid) != os.getsid(0)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        again = run_sockd("-f", path)
        assert again.returncode > 0
        assert len(again.stderr.splitlines()) == 1
        os.kill(pid, signal.SIGTERM)
        assert eventually(lambda: not alive(pid))
        assert eventually(lambda: not pidfile.exists() or not pidfile.read_text()), "root's folder keeps it, empty"
    finally:
        if alive(pid):
            for member in proc.tree(pid):
                os.kill(member, signal.SIGKILL)


def alive(pid: int) -> bool:
    return pid > 1 and Path(f"/proc/{pid}").exists()
