"""The daemon at the end of its means: no descriptor left, no room for its logs. It refuses, says so once, recovers."""

import os
import re
import shutil
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gateway.control.client import ControlClient
from gateway.control.protocol import ControlError, Reload, Sessions, Status
from tests.support import proc
from tests.support.crowd import Crowd
from tests.support.daemon import LOOPBACK, Sockd, sockd
from tests.support.peers import Peer, echo, one_kib
from tests.support.rawsocks import Wire, connect5, socks4
from tests.support.waiting import eventually, least

FEW = 100
SPIN = 0.05
"""Of a processor, for a daemon that is full and has nothing to do but wait."""


def busy(daemon: Sockd, seconds: float = 1.0) -> float:
    """The share of a processor that it takes."""
    before, since = proc.cpu_seconds(daemon.pid), time.monotonic()
    time.sleep(seconds)
    return (proc.cpu_seconds(daemon.pid) - before) / (time.monotonic() - since)


def limit_of(pid: int) -> str:
    """Its descriptors, soft and hard (proc_pid_limits(5))."""
    found = re.search(r"^Max open files +(\d+) +(\d+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    assert found
    return " ".join(found.groups())


def fill(daemon: Sockd, port: int, stack: ExitStack) -> list[Wire]:
    """Open sessions until several in a row are not answered; those that run."""
    running: list[Wire] = []
    misses = 0
    while misses < 6 and len(running) < FEW:
        wire = stack.enter_context(Wire(daemon.port, timeout=0.4))
        try:
            served = connect5(wire, "127.0.0.1", port).code == 0
        except TimeoutError:
            served = False
        if served:
            running.append(wire)
            misses = 0
        else:
            misses += 1
            wire.socket.close()
    return running


def test_with_a_hundred_descriptors_it_refuses_does_not_spin_and_recovers(tmp_path: Path) -> None:
    with (
        sockd(tmp_path, workers=2, descriptors=FEW) as daemon,
        Peer(echo) as target,
        Peer(one_kib) as short,
        ExitStack() as stack,
    ):
        rest = daemon.sockets_at_rest()
        assert {limit_of(pid) for pid in proc.tree(daemon.pid)} == {f"{FEW} {FEW}"}
        running = fill(daemon, target.port, stack)
        assert 2 <= len(running) < FEW
        waiting = [stack.enter_context(Wire(daemon.port, timeout=30)) for _ in range(40)]
        for wire in waiting:
            wire.send(socks4("127.0.0.1", short.port))
        assert least(lambda: busy(daemon), below=SPIN) < SPIN
        # Full is full for clients, not for the administrator.
        rows, done = daemon.control(Sessions())
        assert len(rows) == done["matched"] >= len(running)
        (tmp_path / "sockd.conf").write_text(LOOPBACK + "# another\n")
        assert daemon.control(Reload())[1]["changed"]
        for wire in running:
            wire.send(b"still here")
            assert wire.read(10) == b"still here"
        for wire in running:
            wire.socket.close()
        for wire in waiting:
            assert len(wire.read_to_end()) == 8 + 1024
            wire.socket.close()
        assert eventually(lambda: proc.descriptors(daemon.pid)["socket"] <= rest)
        with Wire(daemon.port) as wire:
            assert connect5(wire, "127.0.0.1", target.port).code == 0


def test_operators_who_take_all_that_is_left_do_not_make_it_spin(tmp_path: Path) -> None:
    """More of them than connections are allowed, each looking on; then they go."""
    with sockd(tmp_path, workers=2, descriptors=FEW) as daemon, Peer(echo) as target, ExitStack() as stack:
        path = str(tmp_path / "control.sock")
        for _ in range(60):
            stack.enter_context(ControlClient.connect(path))
        assert least(lambda: busy(daemon), below=SPIN) < SPIN
        with Wire(daemon.port) as wire:
            assert connect5(wire, "127.0.0.1", target.port).code == 0
        stack.close()

        def answers() -> bool:
            try:
                return bool(daemon.control(Status())[1]["pid"] == daemon.pid)
            except ControlError:
                return False

        assert eventually(answers)


# --- no room for the logs ------------------------------------------------------------------------------------------

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="needs root and unshare(1) for a mount namespace; `sudo make test` runs it",
)
LOST = r"can be written again; (\d+) lines were lost meanwhile"


def lost_in(told: str) -> int:
    (number,) = re.findall(LOST, told)
    return int(number)


@needs_mounts
def test_a_full_disk_under_both_logs_costs_no_session_and_is_said_once(tmp_path: Path) -> None:
    """Standard error is where it can be seen. With room again lines are written, and the loss is said."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64k none "$0" && exec "$@"', str(small))
    logs = {"classic": str(small / "classic"), "json": str(small / "json")}
    with (
        sockd(tmp_path, workers=2, settings={"log": logs}, prefix=mount) as daemon,
        Crowd(daemon.port, 20, pace=0.05) as crowd,
    ):
        inside = Path(f"/proc/{daemon.pid}/root{small}")
        ballast = inside / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        line = f"{small}/classic: No space left on device; what can not be written is lost and counted"
        assert eventually(lambda: line in daemon.stderr(), within=30), daemon.stderr()
        for _ in range(3):
            assert crowd.newcomer_served()
        assert crowd.goes_on()
        assert daemon.stderr().count("No space left") == daemon.stderr().count(line) + daemon.stderr().count(
            "/json: No"
        )
        assert daemon.stderr().count(line) == 1
        assert daemon.stderr().count("/json: No") <= 1
        assert eventually(lambda: any("were lost" in line for line in daemon.control(Status())[1]["troubles"]))
        ballast.unlink()
        assert eventually(lambda: crowd.newcomer_served() and "can be written again" in daemon.stderr(), within=30)
        classic, records = inside / "classic", inside / "json"
        assert eventually(lambda: "lines were lost" in classic.read_text(errors="replace"), within=30)
        assert eventually(lambda: '{"lost":' in records.read_text(), within=30)
        size = classic.stat().st_size
        assert crowd.newcomer_served()
        assert eventually(lambda: classic.stat().st_size > size)
    assert crowd.faults == []


def test_a_log_that_may_not_grow_is_said_once_and_goes_on_in_a_new_file(tmp_path: Path) -> None:
    """RLIMIT_FSIZE is met in the middle of a line; the administrator moves the file away and says SIGUSR1."""
    limit = 24 * 1024
    with (
        sockd(tmp_path, workers=2, prefix=("prlimit", f"--fsize={limit}:{limit}")) as daemon,
        Crowd(daemon.port, 20, pace=0.05) as crowd,
    ):
        json = tmp_path / "sockd.json"
        words = f"{json}: File too large; what can not be written is lost and counted"
        assert eventually(lambda: words in daemon.log(), within=30)
        for _ in range(3):
            assert crowd.newcomer_served()
        assert crowd.goes_on()
        assert daemon.log().count(words) == 1
        for name in ("sockd.json", "sockd.log"):
            (tmp_path / name).rename(tmp_path / f"{name}.1")
        os.kill(daemon.pid, signal.SIGUSR1)
        assert eventually(lambda: '{"lost":' in (json.read_text() if json.exists() else ""), within=30)
        daemon.wait_log(LOST, within=30)
        assert lost_in(daemon.log()) > 0
        assert crowd.newcomer_served()
    assert crowd.faults == []
