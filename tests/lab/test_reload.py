"""A gateway that becomes multihomed and single-homed again while it runs: the kernel has our rules only meanwhile."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.control.protocol import Reload, Status
from tests.support import proc
from tests.support.daemon import Sockd, Toml, sockd, write_files
from tests.support.lab.build import Lab
from tests.support.lab.machines import Spaces
from tests.support.lab.scenario import play
from tests.support.lab.servers import needs_lab
from tests.support.lab.steps import Curl
from tests.support.lab.topology import GATEWAY, INSIDE, OUTSIDE2, PROXY, TARGET_A, WAN2
from tests.support.waiting import eventually

pytestmark = needs_lab

PORT = 1080
RULES = "permit ALL ALL\n"
SINGLE: Toml = {"internal": {"interface": "eth1", "port": PORT}}
MULTI: Toml = {**SINGLE, "external": {"failback": 0.5}}
ROUTES = "wan2 ALL\n"
#: seconds; what is to come takes tenths of one, but a busy machine may be late
SOON = 15.0
BY_WAN2 = Curl(
    INSIDE, f"http://{TARGET_A}/", f"socks5h://{PROXY}:{PORT}", {"host": OUTSIDE2, "source": WAN2}, within=SOON
)


def kept(networks: Lab) -> str:
    """Every rule and every route of the gateway."""
    both = [networks.run(GATEWAY, "ip", family, "rule").stdout for family in ("-4", "-6")]
    both += [networks.run(GATEWAY, "ip", family, "route", "show", "table", "all").stdout for family in ("-4", "-6")]
    return "".join(sorted(line for text in both for line in text.splitlines(keepends=True) if " cache " not in line))


def reload(daemon: Sockd, settings: Toml, routes: str | None) -> None:
    write_files(daemon.folder, RULES, addresses=(), workers=2, settings=settings, routes=routes)
    assert daemon.control(Reload())[1]["changed"]


@pytest.mark.parametrize("remove_at_exit", [False, True], ids=["kept at exit", "removed at exit"])
def test_after_a_reload_to_single_homed_nothing_of_ours_is_in_the_kernel(
    own_networks: Lab, tmp_path: Path, remove_at_exit: bool
) -> None:
    multi = {**MULTI, "external": {**MULTI["external"], "remove_at_exit": remove_at_exit}}
    before = kept(own_networks)
    prefix = own_networks.spaces[GATEWAY].prefix
    with sockd(tmp_path / "gw", RULES, addresses=(), workers=2, settings=multi, routes=ROUTES, prefix=prefix) as daemon:
        stage = Spaces(own_networks, daemon.log)
        play(stage, [BY_WAN2])
        wanted = kept(own_networks)
        assert wanted != before
        for _ in range(2):
            reload(daemon, SINGLE, None)
            assert kept(own_networks) == before
            assert daemon.control(Status())[1]["multihomed"] is False
            reload(daemon, multi, ROUTES)
            assert eventually(lambda: kept(own_networks) == wanted, within=SOON), kept(own_networks)
            play(stage, [BY_WAN2])
        reload(daemon, SINGLE, None)
        assert eventually(lambda: watcher(daemon) != 0, within=SOON)
        assert kept(own_networks) == before
    assert kept(own_networks) == before


def watcher(daemon: Sockd) -> int:
    """Its process, once it does its work: then it says so in its title; 0 before."""
    found = [pid for pid in proc.tree(daemon.pid) if proc.name(pid) == "sockd: watcher"]
    titles = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found)
    return found[0] if b"single-homed" in titles else 0


def test_an_uplink_that_goes_down_while_a_reload_waits_is_down_after_it(own_networks: Lab, tmp_path: Path) -> None:
    prefix = own_networks.spaces[GATEWAY].prefix
    with (
        sockd(tmp_path / "gw", RULES, addresses=(), workers=2, settings=MULTI, routes=ROUTES, prefix=prefix) as daemon,
        ThreadPoolExecutor(1) as pool,
    ):
        assert eventually(lambda: standing(daemon, "wan2") == "up", within=SOON)
        slow = daemon.workers[1]
        os.kill(slow, signal.SIGSTOP)
        try:
            (daemon.folder / "sockd.conf").write_text(f"# new\n{RULES}")
            future = pool.submit(daemon.control, Reload())
            own_networks.pull("wan2")
            assert eventually(lambda: standing(daemon, "wan2") == "down", within=SOON)
            assert not future.done()
        finally:
            os.kill(slow, signal.SIGCONT)
        assert future.result(SOON)[1]["changed"]
        assert standing(daemon, "wan2") == "down"
        assert daemon.control(Status())[1]["troubles"] != []
        own_networks.restore("wan2")
        assert eventually(lambda: standing(daemon, "wan2") == "up", within=SOON)


def standing(daemon: Sockd, name: str) -> str:
    """Of an uplink, as the daemon reports it; empty when there is none."""
    return next((one["state"] for one in daemon.control(Status())[1]["uplinks"] if one["name"] == name), "")
