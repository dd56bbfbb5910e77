"""The start at boot under the real init systems: Debian with systemd, and Debian with sysvinit.

A machine is booted for each test, with the files of gateway/boot as they are; only times are shortened by what an
administrator would use for it, a drop-in and /etc/default/sockd.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.boot.machine import PACKAGE, PORT, Machine, machine, target
from tests.support.boot.trees import missing
from tests.support.peers import Peer
from tests.support.rawsocks import Wire, read_reply4, socks4
from tests.support.waiting import eventually

LACKING = missing()
pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is missing")
needs_nspawn = pytest.mark.skipif(
    shutil.which("systemd-nspawn") is None, reason="needs systemd-nspawn: apt-get install systemd-container"
)

SOON = 30.0
"""Seconds; what is waited for takes one or two, but a busy machine may be late."""

GRANTED, REFUSED = 90, 91
PERMITS = "permit 127.0.0.0/8 127.0.0.0/8\n"
DENIES = "deny ALL ALL\n"
BROKEN = "permit 127.0.0.0/8 127.0.0.0/8\npermitt ALL\n"
MISTAKE = r"/etc/sockd\.conf:2"
SETTINGS = f"""\
[internal]
addresses = ["127.0.0.1"]
port = {PORT}
[files]
access = "/etc/sockd.conf"
[sockd]
workers = 2
[log]
classic = "/var/log/sockd.log"
"""
FILES = {"/etc/gateway.toml": SETTINGS, "/etc/sockd.conf": PERMITS, "/etc/machine-id": "0123456789abcdef" * 2 + "\n"}
UNITS = "/etc/systemd/system"
#: what shortens the tests, and nothing else
DROP_IN = "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=2s\nRestartSec=100ms\n"
INITTAB = "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\n" + "".join(
    f"l{level}:{level}:wait:/etc/init.d/rc {level}\n" for level in range(7)
)
SCRIPT = "/etc/init.d/sockd"


def boot_file(name: str) -> str:
    return (PACKAGE / "boot" / name).read_text()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Machine]:
    """A machine with systemd, on which sockd was enabled before it was booted."""
    files = {f"{UNITS}/sockd.service": boot_file("sockd.service"), f"{UNITS}/sockd.service.d/times.conf": DROP_IN}
    with machine("systemd", tmp_path / "machine", {**FILES, **files}, "systemctl enable sockd") as made:
        yield made


@pytest.fixture
def sysvinit(tmp_path: Path) -> Iterator[Machine]:
    """A machine with sysvinit that runs no scripts but ours: those of Debian care for disks and clocks it has not."""
    files = {SCRIPT: boot_file("sockd.init"), "/etc/default/sockd": boot_file("sockd.default"), "/etc/inittab": INITTAB}
    prepare = "update-rc.d sockd defaults; find /etc/rc?.d -type l ! -name '*sockd' -delete"
    with machine("sysvinit", tmp_path / "machine", {**FILES, **files}, prepare) as made:
        yield made


def booted(machine: Machine) -> None:
    """Its boot script has done its work."""
    assert serves(machine), machine.console()
    assert eventually(lambda: not machine.processes("/etc/init.d/"), within=SOON), machine.console()


def answer(machine: Machine, peer: Peer) -> int:
    """The reply to a request for that server, whose connection then works if it was granted; 0: nobody serves.

    At its start the daemon tries its ports alone first: who comes at that moment is reset.
    """
    try:
        with machine.connect() as wire:
            wire.send(socks4(peer.host, peer.port))
            code = read_reply4(wire).code
            assert code != GRANTED or is_served(wire)
            return code
    except (ConnectionRefusedError, ConnectionResetError):
        return 0


def is_served(wire: Wire) -> bool:
    wire.send(b"hello")
    return wire.read(5) == b"hello"


def serves(machine: Machine, within: float = SOON) -> bool:
    with target(machine) as peer:
        return eventually(lambda: answer(machine, peer) == GRANTED, within=within, every=0.05)


def show(machine: Machine, name: str) -> str:
    return machine.run("systemctl", "show", "--value", "--property", name, "sockd").stdout.strip()


def state(machine: Machine) -> str:
    return show(machine, "ActiveState")


def until_state(machine: Machine, wanted: str) -> None:
    assert eventually(lambda: state(machine) == wanted, within=SOON, every=0.1), status_of(machine)


def status_of(machine: Machine) -> str:
    return machine.run("systemctl", "--no-pager", "--full", "status", "sockd").stdout + machine.console()


def journal(machine: Machine) -> str:
    return machine.run("journalctl", "--no-pager", "--quiet", "--unit", "sockd").stdout


def until_journal(machine: Machine, pattern: str) -> None:
    assert eventually(lambda: re.search(pattern, journal(machine)), within=SOON, every=0.1), journal(machine)


def daemon(machine: Machine) -> list[int]:
    """The numbers of the daemon's processes, the supervisor first, as seen from outside of the machine."""
    return machine.processes("sockd")


def workers(machine: Machine) -> list[int]:
    return machine.processes("sockd: worker")


# systemd


@needs_nspawn
def test_systemd_starts_it_at_boot_and_shows_its_status(systemd: Machine) -> None:
    until_state(systemd, "active")
    assert serves(systemd)
    assert re.search(r"^ *Status: \".*127\.0\.0\.1:1080.*\"$", status_of(systemd), re.MULTILINE), status_of(systemd)
    assert show(systemd, "NRestarts") == "0"


@needs_nspawn
def test_the_unit_is_well_written_and_leaves_it_little(systemd: Machine) -> None:
    until_state(systemd, "active")
    checked = systemd.run("systemd-analyze", "verify", "--man=no", "sockd.service")
    assert (checked.returncode, checked.stdout) == (0, "")
    judged = systemd.run("systemd-analyze", "--no-pager", "security", "sockd.service")
    exposure = re.search(r"Overall exposure level for sockd\.service: ([\d.]+)", judged.stdout)
    assert exposure, judged.stdout
    assert float(exposure[1]) < 3.0, judged.stdout


@needs_nspawn
def test_the_unit_leaves_each_process_what_it_needs_to_confine_itself(systemd: Machine) -> None:
    until_state(systemd, "active")
    told = systemd.run("sockctl", "status", "--json")
    assert told.returncode == 0, told.stdout
    processes = json.loads(told.stdout)["processes"]
    granted, at_start = re.findall(r"^CapabilityBoundingSet=(.+)$", boot_file("sockd.service"), re.MULTILINE)
    for_ever = set(granted.lower().split())
    assert "cap_setuid" in at_start.lower().split()
    assert len(processes) >= 5
    for process in processes:
        # A kernel without Landlock says something else.
        assert (process["seccomp"], "not permitted" in process["landlock"]) == ("on", False), process
        assert process["no_new_privs"], process
        kept = for_ever if "warden" in process["name"] else set()
        assert set(process["capabilities"]) == kept, process


@needs_nspawn
def test_systemd_refuses_a_reload_with_a_mistake_says_where_and_takes_a_good_one(systemd: Machine) -> None:
    until_state(systemd, "active")
    first = show(systemd, "MainPID")
    with target(systemd) as peer:
        assert eventually(lambda: answer(systemd, peer) == GRANTED, within=SOON)
        systemd.path("/etc/sockd.conf").write_text(BROKEN)
        assert systemd.run("systemctl", "reload", "sockd").returncode != 0
        until_journal(systemd, MISTAKE)
        assert state(systemd) == "active"
        assert answer(systemd, peer) == GRANTED
        systemd.path("/etc/sockd.conf").write_text(DENIES)
        done = systemd.run("systemctl", "reload", "sockd")
        assert done.returncode == 0, done.stdout + journal(systemd)
        assert answer(systemd, peer) == REFUSED
    assert state(systemd) == "active"
    assert show(systemd, "MainPID") == first


@needs_nspawn
def test_systemd_stops_it_in_order(systemd: Machine) -> None:
    until_state(systemd, "active")
    assert len(daemon(systemd)) >= 3
    assert systemd.run("systemctl", "stop", "sockd").returncode == 0
    assert show(systemd, "Result") == "success"
    assert show(systemd, "ExecMainStatus") == "0"
    assert daemon(systemd) == []
    assert not systemd.path("/run/sockd").exists()
    assert systemd.path("/var/log/sockd.log").read_text().rstrip().endswith("stopped")


@needs_nspawn
def test_systemd_replaces_a_supervisor_that_hangs(systemd: Machine) -> None:
    until_state(systemd, "active")
    first = daemon(systemd)[0]
    systemd.run("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "sockd")
    assert eventually(lambda: show(systemd, "NRestarts") not in ("", "0"), within=SOON, every=0.1), status_of(systemd)
    until_state(systemd, "active")
    assert serves(systemd)
    assert first not in daemon(systemd)
    until_journal(systemd, "[Ww]atchdog timeout")


@needs_nspawn
def test_systemd_starts_it_anew_when_its_supervisor_was_killed(systemd: Machine) -> None:
    until_state(systemd, "active")
    before = daemon(systemd)
    systemd.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "sockd")
    assert eventually(lambda: show(systemd, "NRestarts") == "1", within=SOON, every=0.1), status_of(systemd)
    until_state(systemd, "active")
    assert serves(systemd)
    assert not set(before) & set(daemon(systemd)), "an orphan goes on"


@needs_nspawn
def test_a_worker_that_was_killed_is_not_the_business_of_systemd(systemd: Machine) -> None:
    until_state(systemd, "active")
    first = show(systemd, "MainPID")
    victim = eventually(lambda: workers(systemd), within=SOON)[0]
    number = inner(victim)
    assert systemd.run("kill", "-s", "KILL", str(number)).returncode == 0
    assert eventually(lambda: victim not in workers(systemd) and len(workers(systemd)) == 2, within=SOON)
    assert serves(systemd)
    assert (show(systemd, "NRestarts"), show(systemd, "MainPID")) == ("0", first)


@needs_nspawn
def test_a_start_with_a_mistake_fails_says_where_and_comes_back_by_itself_when_it_is_mended(systemd: Machine) -> None:
    until_state(systemd, "active")
    systemd.run("systemctl", "stop", "sockd")
    systemd.path("/etc/sockd.conf").write_text(BROKEN)
    assert systemd.run("systemctl", "start", "sockd").returncode != 0
    until_journal(systemd, MISTAKE)
    systemd.path("/etc/sockd.conf").write_text(PERMITS)
    until_state(systemd, "active")
    assert serves(systemd)


SOCKET = boot_file("sockd.socket").replace("192.0.2.1:1080", f"127.0.0.1:{PORT}").replace("BindToDevice=eth1\n", "")


@needs_nspawn
def test_with_a_socket_of_systemds_a_client_starts_it_and_waits_for_it(tmp_path: Path) -> None:
    files = {f"{UNITS}/sockd.service": boot_file("sockd.service"), f"{UNITS}/sockd.socket": SOCKET}
    with machine("systemd", tmp_path / "machine", {**FILES, **files}, "systemctl enable sockd.socket") as made:
        listens = ("systemctl", "is-active", "--quiet", "sockd.socket")
        assert eventually(lambda: made.run(*listens).returncode == 0, within=SOON, every=0.1), status_of(made)
        with target(made) as peer:
            for _ in range(2):
                assert state(made) == "inactive"
                assert answer(made, peer) == GRANTED, status_of(made)
                until_state(made, "active")
                made.run("systemctl", "stop", "sockd.service")


def inner(pid: int) -> int:
    """The number of a process as it is in its own machine."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1])


# sysvinit


def act(machine: Machine, action: str, *others: str) -> tuple[int, str]:
    done = machine.run(SCRIPT, *([action] if action else []), *others)
    return done.returncode, done.stdout


def test_sysvinit_starts_it_at_boot_and_stops_it_at_the_end(sysvinit: Machine) -> None:
    assert [link.name for link in sysvinit.path("/etc/rc2.d").iterdir() if link.is_symlink()] == ["S01sockd"]
    booted(sysvinit)
    assert sysvinit.run("runlevel").stdout.split()[-1] == "2"
    log = sysvinit.path("/var/log/sockd.log")
    first = daemon(sysvinit)
    sysvinit.run("telinit", "3")
    assert eventually(lambda: sysvinit.run("runlevel").stdout.split()[-1] == "3", within=SOON, every=0.1)
    assert daemon(sysvinit) == first
    sysvinit.run("telinit", "0")
    assert eventually(lambda: daemon(sysvinit) == [], within=SOON)
    assert log.read_text().rstrip().endswith("stopped")


def test_each_action_has_the_status_of_the_standard(sysvinit: Machine) -> None:
    booted(sysvinit)
    running, stopped, dead = (0, "is running, as process"), (3, "is not running"), (1, "is dead")
    steps: list[tuple[str, tuple[int, str]]] = [
        ("status", running),
        ("start", (0, "sockd is running already, as process")),
        ("reload", (0, "sockd reloads... ")),
        ("force-reload", (0, "sockd reloads... ")),
        ("try-restart", (0, "sockd stops... stopped\n")),
        ("restart", (0, "sockd... ready\n")),
        ("stop", (0, "sockd stops... stopped\n")),
        ("stop", (0, "sockd is not running\n")),
        ("status", stopped),
        ("reload", (7, "sockd: not running\n")),
        ("force-reload", (7, "sockd: not running\n")),
        ("try-restart", (0, "")),
        ("status", stopped),
        ("start", (0, "sockd... ready\n")),
        ("kill", (0, "")),
        ("status", dead),
        ("reload", (7, "sockd: not running\n")),
        ("start", (0, "sockd... ready\n")),
        ("kill", (0, "")),
        ("stop", (0, "sockd is dead already\n")),
        ("status", stopped),
        ("restart", (0, "sockd... ready\n")),
        ("status", running),
        ("dance", (2, "Usage: sockd {start|stop|")),
        ("", (2, "Usage: sockd {start|stop|")),
    ]
    for number, (action, (code, words)) in enumerate(steps):
        if action == "kill":
            kill_supervisor(sysvinit)
            continue
        found, said = act(sysvinit, action)
        assert (found, words in said) == (code, True), f"step {number}: {action}: status {found}, {said!r}"
    assert act(sysvinit, "start", "twice")[0] == 2
    assert serves(sysvinit)


def kill_supervisor(machine: Machine) -> None:
    number = machine.path("/run/sockd.pid").read_text().strip()
    assert machine.run("kill", "-s", "KILL", number).returncode == 0
    assert eventually(lambda: daemon(machine) == [], within=SOON), "an orphan goes on"


def kill_all(machine: Machine) -> None:
    for pid in daemon(machine):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: daemon(machine) == [], within=SOON)


def test_the_number_of_another_process_is_not_taken_for_it(sysvinit: Machine) -> None:
    booted(sysvinit)
    kill_supervisor(sysvinit)
    sysvinit.path("/run/sockd.pid").write_text("1\n")
    assert act(sysvinit, "status")[0] == 1
    assert act(sysvinit, "stop") == (0, "sockd is dead already\n")
    assert sysvinit.run("runlevel").returncode == 0, "the first process was ended in its place"
    sysvinit.path("/run/sockd.pid").write_text("rm -rf /\n")
    assert act(sysvinit, "status")[0] == 3


def test_a_mistake_refuses_reload_and_restart_and_is_shown(sysvinit: Machine) -> None:
    booted(sysvinit)
    first = daemon(sysvinit)
    sysvinit.path("/etc/sockd.conf").write_text(BROKEN)
    for action in ("reload", "restart", "try-restart", "force-reload"):
        status, said = act(sysvinit, action)
        assert status == 1
        assert re.search(MISTAKE, said), said
    assert daemon(sysvinit) == first
    with target(sysvinit) as peer:
        assert answer(sysvinit, peer) == GRANTED
        sysvinit.path("/etc/sockd.conf").write_text(DENIES)
        assert act(sysvinit, "reload")[0] == 0
        assert eventually(lambda: answer(sysvinit, peer) == REFUSED, within=SOON)
    assert daemon(sysvinit) == first


def test_without_the_control_socket_a_reload_is_a_signal_after_a_check(sysvinit: Machine) -> None:
    booted(sysvinit)
    sysvinit.path("/usr/sbin/sockctl").unlink()
    sysvinit.path("/etc/sockd.conf").write_text(BROKEN)
    status, said = act(sysvinit, "reload")
    assert status == 1
    assert re.search(MISTAKE, said), said
    sysvinit.path("/etc/sockd.conf").write_text(DENIES)
    assert act(sysvinit, "reload") == (0, "sockd reloads... done\n")
    with target(sysvinit) as peer:
        assert eventually(lambda: answer(sysvinit, peer) == REFUSED, within=SOON)


TROUBLES: list[tuple[str, Callable[[Machine], object], tuple[int, str]]] = [
    ("no program", lambda it: it.path("/usr/sbin/sockd").unlink(), (5, "sockd: /usr/sbin/sockd is not there\n")),
    ("no settings", lambda it: it.path("/etc/gateway.toml").unlink(), (6, "sockd: /etc/gateway.toml is not there")),
    ("a mistake", lambda it: it.path("/etc/sockd.conf").write_text(BROKEN), (1, "/etc/sockd.conf:2")),
    (
        "a user that is missing",
        lambda it: it.path("/etc/gateway.toml").write_text(SETTINGS.replace("[sockd]", '[sockd]\nuser = "mallory"')),
        (1, "mallory"),
    ),
]


def test_a_start_that_can_not_be_has_its_status_and_its_reason(sysvinit: Machine) -> None:
    booted(sysvinit)
    assert act(sysvinit, "stop")[0] == 0
    for name, make, (status, words) in TROUBLES:
        kept = {path: sysvinit.path(path).read_text() for path in ("/usr/sbin/sockd", *FILES)}
        make(sysvinit)
        found, said = act(sysvinit, "start")
        assert (found, words in said) == (status, True), f"{name}: status {found}, {said!r}"
        assert daemon(sysvinit) == []
        for path, text in kept.items():
            sysvinit.path(path).write_text(text)
            sysvinit.path(path).chmod(0o755)
    status, said = act(sysvinit, "start")
    assert (status, said.endswith("sockd... ready\n")) == (0, True), said


def test_who_is_not_root_may_ask_only(sysvinit: Machine) -> None:
    booted(sysvinit)

    def as_nobody(action: str) -> int:
        return sysvinit.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", SCRIPT, action).returncode

    actions = ("start", "stop", "restart", "try-restart", "reload", "force-reload")
    assert [as_nobody(action) for action in actions] == [4] * 6
    assert as_nobody("status") == 0
    sysvinit.path("/run/sockd.pid").chmod(0o600)
    assert as_nobody("status") == 4
    sysvinit.path("/run/sockd.pid").write_text("1\n")
    sysvinit.path("/run/sockd.pid").chmod(0o644)
    assert as_nobody("status") == 1
    kill_all(sysvinit)
    sysvinit.path("/run/sockd.pid").unlink()
    assert as_nobody("status") == 3


def test_the_options_and_limits_of_the_default_file_count(sysvinit: Machine) -> None:
    booted(sysvinit)
    assert act(sysvinit, "stop")[0] == 0
    with open(sysvinit.path("/etc/default/sockd"), "a") as default:
        default.write("SOCKD_OPTIONS=-I\nDESCRIPTORS=999\n")
    assert act(sysvinit, "start") == (0, "sockd... ready\n")
    number = int(sysvinit.path("/run/sockd.pid").read_text())
    limits = sysvinit.path(f"/proc/{number}/limits").read_text()
    assert re.search(r"^Max open files +999 +999 ", limits, re.MULTILINE), limits
    with target(sysvinit) as peer:
        assert answer(sysvinit, peer) == 92, "no identd answers here, and -I wants one"


def test_a_daemon_that_does_not_end_is_killed_after_a_while(sysvinit: Machine) -> None:
    booted(sysvinit)
    with open(sysvinit.path("/etc/default/sockd"), "a") as default:
        default.write("STOP_SECONDS=1\n")
    number = sysvinit.path("/run/sockd.pid").read_text().strip()
    sysvinit.run("kill", "-s", signal.Signals.SIGSTOP.name.removeprefix("SIG"), number)
    began = time.monotonic()
    assert act(sysvinit, "stop") == (0, "sockd stops... killed after 1 seconds, stopped\n")
    assert time.monotonic() - began >= 1.0
    assert eventually(lambda: daemon(sysvinit) == [], within=SOON), "an orphan goes on"
    assert act(sysvinit, "status")[0] == 3
