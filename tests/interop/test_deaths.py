"""Processes of the daemon that die, are stopped, or are ended, one by one, together, and in every order.

Whoever dies costs what is his own at most, is named in the log, and is there again; whoever is left when the first
process was killed ends by himself.
"""

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.control.client import ControlClient
from gateway.control.protocol import ControlError, Drain, Reload, Sessions, Status
from tests.support import proc
from tests.support.crowd import Crowd
from tests.support.daemon import LOOPBACK, PROGRAM, Sockd, run_sockd, sockd, write_files
from tests.support.peers import Peer, closed_port, echo
from tests.support.rawsocks import Wire, connect5
from tests.support.waiting import eventually

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemon has a spare warden")

NAMES = ("worker 1", "warden", "warden (spare)", "watcher", "helper")
PAIRS = [pair for pair in itertools.combinations(NAMES, 2) if pair != ("warden", "warden (spare)")]


def report(daemon: Sockd) -> Any:
    return daemon.control(Status())[1]


def pids(daemon: Sockd) -> dict[str, int]:
    """The processes by their names; 0 for one that does not run."""
    return {row["name"]: row["pid"] for row in report(daemon)["processes"]}


def kill(daemon: Sockd, *names: str) -> dict[str, int]:
    """SIGKILL for all of these at once; who they were."""
    before = pids(daemon)
    for name in names:
        os.kill(before[name], signal.SIGKILL)
    return {name: before[name] for name in names}


def is_whole(daemon: Sockd, dead: dict[str, int]) -> bool:
    """Whether everybody runs, and none of the dead."""
    now = pids(daemon)
    return (
        now.keys() == {"gateway", "worker 2", *NAMES} and all(now.values()) and not {*dead.values()} & {*now.values()}
    )


def serves(port: int, target: Peer, host: str = "127.0.0.1") -> bool:
    try:
        with Wire(port, host=host) as wire:
            return connect5(wire, "127.0.0.1", target.port).code == 0
    except OSError:
        return False


def echoes(wire: Wire) -> bool:
    try:
        wire.send(b"ping")
        return wire.read(4) == b"ping"
    except OSError:
        return False


def workers_by_client(daemon: Sockd) -> dict[str, int]:
    rows, _ = daemon.control(Sessions())
    return {row["client"]: row["worker"] for row in rows}


@pytest.fixture
def target() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Sockd]:
    with sockd(tmp_path, workers=2) as running:
        yield running


def check_after(daemon: Sockd, dead: dict[str, int], target: Peer) -> None:
    """The log names each of the dead, all are there again, and all that needs them works."""
    for name, pid in dead.items():
        daemon.wait_log(rf"{name.split()[0]}\b.*\(process {pid}\)")
    assert eventually(lambda: is_whole(daemon, dead)), pids(daemon)
    assert all(serves(daemon.port, target) for _ in range(8))
    assert daemon.control(Reload())[1]["changed"] is False


@needs_root
@pytest.mark.parametrize(
    "names",
    [pytest.param((name,), id=name) for name in NAMES]
    + [pytest.param(pair, id=" and ".join(pair)) for pair in PAIRS]
    + [pytest.param(("worker 1", "warden", "watcher", "helper"), id="all but a warden and a worker")],
)
def test_who_is_killed_costs_only_his_own_sessions_and_is_there_again(
    daemon: Sockd, target: Peer, names: tuple[str, ...]
) -> None:
    with Crowd(daemon.port, 20, pace=0.05, newcomers=False) as crowd:
        holders = workers_by_client(daemon)
        lost = {number for number, client in crowd.clients.items() if holders[client] == 1 and "worker 1" in names}
        dead = kill(daemon, *names)
        check_after(daemon, dead, target)
        assert crowd.goes_on()
        assert crowd.lost == lost


@needs_root
def test_three_deaths_in_a_row_of_everybody_who_can_be_made_again(daemon: Sockd, target: Peer) -> None:
    for _ in range(3):
        dead = kill(daemon, "worker 1", "worker 2", "warden", "watcher", "helper")
        check_after(daemon, dead, target)
    restarts = {row["name"]: row["restarts"] for row in report(daemon)["processes"]}
    assert (restarts["worker 1"], restarts["watcher"], restarts["helper"], restarts["warden"]) == (3, 3, 3, 3)


@needs_root
def test_without_any_warden_all_goes_on_but_what_needs_one_and_that_is_said(daemon: Sockd, target: Peer) -> None:
    """Nobody else is allowed to make a privileged process: only a restart of the daemon can."""
    with Crowd(daemon.port, 20, pace=0.05) as crowd:
        holders = workers_by_client(daemon)
        lost = {number for number, client in crowd.clients.items() if holders[client] == 1}
        kill(daemon, "warden", "warden (spare)")
        daemon.wait_log("no other is left.*restart sockd")
        assert eventually(lambda: any("no warden is left" in line for line in report(daemon)["troubles"]))
        with pytest.raises(ControlError, match="restart sockd"):
            daemon.control(Reload())
        os.kill(pids(daemon)["worker 1"], signal.SIGKILL)
        assert eventually(lambda: pids(daemon)["worker 1"])
        assert serves(daemon.port, target)
        assert crowd.newcomer_served()
        assert crowd.goes_on()
        assert crowd.lost == lost


@needs_root
@pytest.mark.parametrize("name", NAMES)
def test_a_process_that_is_stopped_holds_nobody_up(daemon: Sockd, name: str) -> None:
    """SIGSTOP: sessions of others go on, and who asks whether all is well has an answer."""
    victim = pids(daemon)[name]
    with Crowd(daemon.port, 20, pace=0.05, newcomers=False) as crowd:
        holders = workers_by_client(daemon)
        os.kill(victim, signal.SIGSTOP)
        try:
            assert report(daemon)["pid"] == daemon.pid
            others = {number for number, client in crowd.clients.items() if name != "worker 1" or holders[client] == 2}
            before = dict(crowd.rounds)
            assert eventually(lambda: all(crowd.rounds[number] > before[number] for number in others))
        finally:
            os.kill(victim, signal.SIGCONT)
        assert crowd.goes_on()
    assert crowd.faults == []


@needs_root
def test_a_warden_that_is_stopped_does_not_keep_other_files_from_being_loaded(daemon: Sockd, target: Peer) -> None:
    """Its spare takes its place and ends it; then there is another spare."""
    stopped = pids(daemon)["warden"]
    os.kill(stopped, signal.SIGSTOP)
    (daemon.folder / "sockd.conf").write_text(f"deny 127.0.0.0/8 127.0.0.9/32\n{LOOPBACK}")
    with ControlClient.connect(str(daemon.folder / "control.sock"), timeout=30) as client:
        _, done = client.ask(Reload())
    assert done["changed"]
    daemon.wait_log(rf"warden \(process {stopped}\) does not answer; its spare takes its place")
    assert eventually(lambda: is_whole(daemon, {"warden": stopped}))
    assert not Path(f"/proc/{stopped}").exists()
    with Wire(daemon.port) as wire:
        assert connect5(wire, "127.0.0.9", target.port).code == 2


# --- the first process is killed -----------------------------------------------------------------------------------


def test_nobody_is_left_when_the_first_process_is_killed_and_the_next_start_is_clean(
    tmp_path: Path, target: Peer
) -> None:
    """The control socket's file is stale then, and the port free."""
    with closed_port() as port:
        pass
    with ExitStack() as stack:
        daemon = stack.enter_context(sockd(tmp_path, workers=2, settings={"internal": {"port": port}}))
        wire = stack.enter_context(Wire(daemon.port))
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.expected_status = -signal.SIGKILL
        daemon.process.wait(30)
        assert eventually(lambda: not proc.session_members(daemon.pid), within=5)
        assert wire.end_of_peer() in ("fin", "reset")
    assert (tmp_path / "control.sock").is_socket()
    with sockd(tmp_path, workers=2, settings={"internal": {"port": port}}) as again:
        assert serves(port, target)
        assert report(again)["pid"] == again.pid


@needs_root
@pytest.mark.parametrize("name", [*NAMES, "worker 2"])
def test_nobody_is_left_of_a_killed_daemon_though_one_is_stopped(tmp_path: Path, name: str) -> None:
    """The kernel has the stopped ones of an orphaned process group go on (setpgid(2)), and then they see it."""
    with sockd(tmp_path, workers=2) as daemon:
        os.kill(pids(daemon)[name], signal.SIGSTOP)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.expected_status = -signal.SIGKILL
        daemon.process.wait(30)
        assert eventually(lambda: not proc.session_members(daemon.pid), within=5)


def test_a_killed_daemon_of_the_background_is_started_again_over_its_pid_file(tmp_path: Path, target: Peer) -> None:
    with closed_port() as port:
        pass
    pidfile = tmp_path / "sockd.pid"
    path = str(
        write_files(tmp_path, LOOPBACK, settings={"internal": {"port": port}, "sockd": {"pidfile": str(pidfile)}})
    )
    assert run_sockd("-f", path).returncode == 0
    first = int(pidfile.read_text())
    session = os.getsid(first)
    try:
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: not proc.session_members(session), within=5)
        assert pidfile.exists()
        assert run_sockd("-f", path).returncode == 0
        second = int(pidfile.read_text())
        session = os.getsid(second)
        assert second != first
        assert serves(port, target)
        os.kill(second, signal.SIGTERM)
        assert eventually(lambda: not proc.session_members(session))
        assert not pidfile.exists() or not pidfile.read_text(), "who is nobody can only empty it"
    finally:
        for pid in proc.session_members(session):
            os.kill(pid, signal.SIGKILL)


# --- the end ---------------------------------------------------------------------------------------------------


def to_the_first(daemon: Sockd) -> None:
    os.kill(daemon.pid, signal.SIGTERM)


def to_all(daemon: Sockd) -> None:
    os.killpg(daemon.pid, signal.SIGTERM)


def twice(daemon: Sockd) -> None:
    os.kill(daemon.pid, signal.SIGTERM)
    os.kill(daemon.pid, signal.SIGTERM)


def interrupted(daemon: Sockd) -> None:
    os.killpg(daemon.pid, signal.SIGINT)


def during_reloads(daemon: Sockd) -> None:
    for _ in range(5):
        os.kill(daemon.pid, signal.SIGHUP)
    os.kill(daemon.pid, signal.SIGTERM)


def during_a_reload_by_the_socket(daemon: Sockd) -> None:
    """A worker is stopped, so that the reload is under way for long."""
    victim = daemon.workers[0]
    os.kill(victim, signal.SIGSTOP)
    os.kill(daemon.pid, signal.SIGHUP)
    assert eventually(lambda: report(daemon))
    os.kill(daemon.pid, signal.SIGTERM)


def while_a_worker_is_stopped(daemon: Sockd) -> None:
    os.kill(daemon.workers[0], signal.SIGSTOP)
    os.kill(daemon.pid, signal.SIGTERM)


def while_the_watcher_is_stopped(daemon: Sockd) -> None:
    os.kill(pids(daemon)["watcher"], signal.SIGSTOP)
    os.kill(daemon.pid, signal.SIGTERM)


def while_the_warden_is_stopped(daemon: Sockd) -> None:
    os.kill(pids(daemon)["warden"], signal.SIGSTOP)
    os.kill(daemon.pid, signal.SIGTERM)


def with_a_dead_worker(daemon: Sockd) -> None:
    os.kill(daemon.workers[0], signal.SIGKILL)
    os.kill(daemon.pid, signal.SIGTERM)


def logs_too(daemon: Sockd) -> None:
    os.kill(daemon.pid, signal.SIGUSR1)
    os.killpg(daemon.pid, signal.SIGHUP)
    os.killpg(daemon.pid, signal.SIGTERM)


ENDS: tuple[Callable[[Sockd], None], ...] = (
    to_the_first, to_all, twice, interrupted, during_reloads, during_a_reload_by_the_socket, while_a_worker_is_stopped,
    while_the_watcher_is_stopped, while_the_warden_is_stopped, with_a_dead_worker, logs_too,
)  # fmt: skip


@pytest.mark.parametrize("end", [pytest.param(end, id=end.__name__.replace("_", " ")) for end in ENDS])
def test_it_ends_in_order_whenever_it_is_told_to(tmp_path: Path, target: Peer, end: Callable[[Sockd], None]) -> None:
    """Status 0, nobody is left, the log has its last line, and nobody is missed (the rest `Sockd.stop` checks)."""
    with sockd(tmp_path, workers=2) as daemon, Wire(daemon.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        end(daemon)
        assert daemon.process.wait(20) == 0
        assert eventually(lambda: not proc.session_members(daemon.pid), within=5)
        assert daemon.log().rstrip().endswith(": stopped")
        assert "a new one starts" not in daemon.log()
        assert wire.end_of_peer() in ("fin", "reset")


def test_it_ends_in_order_while_it_is_drained(daemon: Sockd, target: Peer) -> None:
    with Wire(daemon.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        assert echoes(wire)
        with draining(daemon):
            os.kill(daemon.pid, signal.SIGTERM)
            assert daemon.process.wait(20) == 0


@contextmanager
def draining(daemon: Sockd) -> Iterator[None]:
    """An operator waits for the end of a drain that has begun."""
    with ControlClient.connect(str(daemon.folder / "control.sock")) as client:
        rows = client.rows(Drain())
        assert any(row == {"sessions": 1} for row in rows)
        yield
        list(rows)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("after", [0.0, 0.1, 0.2, 0.3])
def test_a_signal_right_after_the_start_leaves_nobody(tmp_path: Path, number: signal.Signals, after: float) -> None:
    """Before it listens to signals it dies of them as every program does; never does half of it stay."""
    path = write_files(tmp_path, LOOPBACK, workers=2)
    with (tmp_path / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [PROGRAM, "-d", "-f", str(path)], stdin=subprocess.DEVNULL, stderr=stderr, start_new_session=True
        )
    try:
        time.sleep(after)
        os.killpg(process.pid, number)
        if number in (signal.SIGHUP, signal.SIGUSR1) and process.poll() is None:
            eventually(lambda: "ready" in (tmp_path / "stderr").read_text() or process.poll() is not None)
            process.terminate()
        assert process.wait(20) in (0, 1, -number, -signal.SIGTERM, 128 + number)
        assert eventually(lambda: not proc.session_members(process.pid), within=5)
        told = (tmp_path / "stderr").read_text()
        # What ^C meets while modules are imported is Python's own affair.
        assert "Traceback" not in told or told.rstrip().endswith("KeyboardInterrupt")
    finally:
        for pid in proc.session_members(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()
