"""What the real processes may still do, as the kernel says: user, groups, capabilities, filters; also after a restart.

What a process that breaks these rules meets is tested where they are made (tests/unit/system/test_sandbox.py).
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.control.protocol import Reload, Status
from tests.support import proc
from tests.support.daemon import Sockd, Toml, sockd
from tests.support.peers import Peer, echo
from tests.support.rawsocks import Wire, connect5
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="needs root and setpriv(1), to start daemons with more and with fewer privileges",
)

NOBODY = 65534
NET_ADMIN = 1 << 12
WARDENS = 1 << 1 | 1 << 10 | NET_ADMIN
"""cap_dac_override, cap_net_bind_service and cap_net_admin (linux/capability.h)."""

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def status_of(pid: int) -> Mapping[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def capabilities(pid: int) -> dict[str, int]:
    status = status_of(pid)
    return {name: int(status[name], 16) for name in SETS}


def is_warden(pid: int) -> bool:
    return proc.name(pid) == "sockd: warden"


def rows_of(daemon: Sockd) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = daemon.control(Status())[1]["processes"]
    return rows


def check(daemon: Sockd, warden_user: int, warden_sets: Mapping[str, int], bounding: int) -> None:
    """All processes of the daemon; ``bounding`` is what no process that is no warden can be rid of."""
    found = proc.tree(daemon.pid)
    assert sorted(found) == sorted(row["pid"] for row in rows_of(daemon))
    for pid in found:
        status, name = status_of(pid), proc.name(pid)
        user = warden_user if is_warden(pid) else NOBODY
        assert set(status["Uid"].split()) == {str(user)}, name
        assert set(status["Gid"].split()) == {str(user)}, name
        assert status["Groups"] == "", name
        assert status["NoNewPrivs"] == "1", name
        assert status["Seccomp"] == "2", name
        nothing = dict.fromkeys(SETS, 0) | {"CapBnd": bounding}
        assert capabilities(pid) == (warden_sets if is_warden(pid) else nothing), name


def check_report(daemon: Sockd, warden: Sequence[str]) -> None:
    """What it says of itself is what the kernel says of it."""
    rows = rows_of(daemon)
    for row in rows:
        status = status_of(row["pid"])
        assert row["user"] == int(status["Uid"].split()[1])
        assert row["groups"] == []
        assert row["no_new_privs"]
        assert row["seccomp"] == "on"
        assert row["landlock"].startswith(("ABI ", "off: "))
        assert sorted(row["capabilities"]) == sorted(warden if is_warden(row["pid"]) else ())
    assert len({row["landlock"] for row in rows}) == 1


def filters(daemon: Sockd) -> dict[str, int]:
    """How many seccomp filters each process is under, by its name."""
    return {proc.name(pid): int(status_of(pid)["Seccomp_filters"]) for pid in proc.tree(daemon.pid)}


WARDEN_SETS = {"CapInh": 0, "CapPrm": WARDENS, "CapEff": WARDENS, "CapBnd": WARDENS, "CapAmb": 0}
KEPT = ("cap_dac_override", "cap_net_admin", "cap_net_bind_service")


def test_of_a_daemon_that_root_started_only_the_wardens_have_capabilities(tmp_path: Path) -> None:
    with sockd(tmp_path, workers=2) as daemon:
        check(daemon, 0, WARDEN_SETS, 0)
        check_report(daemon, KEPT)
        assert sum(map(is_warden, proc.tree(daemon.pid))) == 2


def test_the_account_is_the_one_of_the_settings(tmp_path: Path) -> None:
    with sockd(tmp_path, settings={"sockd": {"user": "daemon"}}) as daemon:
        users = {status_of(pid)["Uid"].split()[0] for pid in proc.tree(daemon.pid) if not is_warden(pid)}
        assert users == {"1"}


def test_a_process_that_was_started_again_has_no_more_than_the_one_before(tmp_path: Path) -> None:
    with sockd(tmp_path, workers=2) as daemon:
        before = {row["name"]: row["pid"] for row in rows_of(daemon)}
        under = filters(daemon)
        for name in ("worker 1", "watcher", "helper", "warden"):
            os.kill(before[name], signal.SIGKILL)

        def are_new() -> bool:
            now = {row["name"]: row["pid"] for row in rows_of(daemon)}
            gone = {before[name] for name in ("worker 1", "watcher", "helper", "warden")}
            return now.keys() == before.keys() and all(now.values()) and not gone & {*now.values()}

        assert eventually(are_new)
        # A place that is taken by a process is confined a moment later.
        assert eventually(lambda: filters(daemon) == under), (under, filters(daemon))
        check(daemon, 0, WARDEN_SETS, 0)
        assert eventually(lambda: all(row["landlock"] != "unknown" for row in rows_of(daemon)))
        check_report(daemon, KEPT)


def test_a_worker_is_under_filters_of_its_own_beside_the_first_processs(tmp_path: Path) -> None:
    with sockd(tmp_path, workers=2) as daemon:
        under = filters(daemon)
        assert under["sockd: gateway"] > 0
        for name in ("sockd: worker 1", "sockd: worker 2", "sockd: watcher", "sockd: helper"):
            assert under[name] > under["sockd: gateway"], under
        assert under["sockd: warden"] > 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder of an ordinary user's."""
    with tempfile.TemporaryDirectory(prefix="sockd-") as name:
        folder = Path(name)
        os.chown(folder, NOBODY, NOBODY)
        yield folder


def of_nobody(folder: Path) -> Toml:
    """The logs of a daemon in a folder of its user's."""
    return {"log": {"classic": str(folder / "sockd.log"), "json": str(folder / "sockd.json")}}


def bounding() -> int:
    """What nobody without CAP_SETPCAP can give up, and what is worth nothing under no_new_privs."""
    return capabilities(os.getpid())["CapBnd"]


def test_of_a_daemon_that_an_ordinary_user_started_nobody_has_any(open_folder: Path) -> None:
    with (
        sockd(open_folder, workers=2, prefix=AS_NOBODY, settings=of_nobody(open_folder)) as daemon,
        Peer(echo) as target,
    ):
        nothing = dict.fromkeys(SETS, 0) | {"CapBnd": bounding()}
        check(daemon, NOBODY, nothing, bounding())
        check_report(daemon, ())
        assert sum(map(is_warden, proc.tree(daemon.pid))) == 1
        assert daemon.control(Reload())[1]["changed"] is False
        # It may make another warden, which has no more than itself.
        old = next(filter(is_warden, proc.tree(daemon.pid)))
        os.kill(old, signal.SIGKILL)
        assert eventually(lambda: {row["pid"] for row in rows_of(daemon) if row["name"] == "warden"} - {old, 0})
        assert daemon.control(Reload())[1]["changed"] is False
        check(daemon, NOBODY, nothing, bounding())
        with Wire(daemon.port) as wire:
            assert connect5(wire, "127.0.0.1", target.port).code == 0


def test_an_ordinary_user_with_cap_net_admin_leaves_it_to_the_wardens_alone(open_folder: Path) -> None:
    prefix = (*AS_NOBODY, "--inh-caps=+net_admin", "--ambient-caps=+net_admin")
    with sockd(open_folder, workers=2, prefix=prefix, settings=of_nobody(open_folder)) as daemon:
        only = dict.fromkeys(SETS, 0) | {"CapPrm": NET_ADMIN, "CapEff": NET_ADMIN, "CapBnd": bounding()}
        check(daemon, NOBODY, only, bounding())
        check_report(daemon, ("cap_net_admin",))
        assert sum(map(is_warden, proc.tree(daemon.pid))) == 2


def test_nothing_of_the_supervisors_is_open_in_a_worker(tmp_path: Path) -> None:
    """No socket of operators, no pid file, no configuration: what a worker holds, whoever takes it over holds."""
    with sockd(tmp_path, workers=2, passwords={"fred": "sesame"}) as daemon:
        listening = {row.split()[6] for row in Path("/proc/net/unix").read_text().splitlines() if "control.sock" in row}
        assert listening
        for pid in proc.tree(daemon.pid)[1:]:
            links = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
            assert not {f"socket:[{inode}]" for inode in listening} & links, proc.name(pid)
            files = {link for link in links if link.startswith(str(tmp_path))}
            assert files <= {str(tmp_path / name) for name in ("sockd.log", "sockd.json", "stderr")}, proc.name(pid)
