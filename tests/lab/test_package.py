"""The Debian package in Debian: installed, upgraded, removed and purged, under systemd and under sysvinit.

Each test has a machine of its own, a clean tree that has never seen the gateway. The version before is this one under
another number. Programs are compared with what dpkg(1) knows of them, and with the files that were there before.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from image.run import NAME, VERSION
from tests.support import products
from tests.support.boot.machine import Machine, boot, lay, target
from tests.support.boot.trees import missing, tree
from tests.support.netns import namespace
from tests.support.peers import Peer, echo
from tests.support.rawsocks import Wire, read_reply4, socks4
from tests.support.waiting import eventually

LACKING = missing() or products.missing()
pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is missing")
INITS = [
    pytest.param(
        "systemd",
        marks=pytest.mark.skipif(
            shutil.which("systemd-nspawn") is None, reason="needs systemd-nspawn: apt-get install systemd-container"
        ),
    ),
    "sysvinit",
]
both = pytest.mark.parametrize("init", INITS)

SOON = 60.0
"""Seconds; what is waited for takes one or two, but a busy machine may be late."""
LONG = 300.0
"""Seconds that dpkg may take."""

GRANTED, REFUSED = 90, 91
PERMITS = "# mine\npermit 127.0.0.0/8 127.0.0.0/8\n"
DENIES = "# mine\ndeny ALL ALL\n"
BROKEN = "# mine\npermitt ALL\n"
MISTAKE = "/etc/sockd.conf:2"
SETTINGS = "/etc/gateway.toml"
RULES = "/etc/sockd.conf"
BEFORE = "0.0.9"
HOME = "usr/lib/multihomed-gateway"

INITTAB = "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\n" + "".join(
    f"l{level}:{level}:wait:/etc/init.d/rc {level}\n" for level in range(7)
)
#: without what the tree leaves out of packages; and of sysvinit's scripts no other, which care for disks and clocks
PREPARE = "rm -f /etc/dpkg/dpkg.cfg.d/99mmdebstrap; find /etc/rc?.d -type l ! -name '*sockd' -delete"
#: as those do who build images: nothing is started meanwhile
INSTALLED = f"""\
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
dpkg -i /srv/{VERSION}.deb; rm /usr/sbin/policy-rc.d; {PREPARE}"""


@dataclass(frozen=True)
class Debs:
    """The package, and the same as version `BEFORE`."""

    new: Path
    old: Path


@pytest.fixture(scope="session")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Debs:
    new = products.deb()
    return Debs(new, _repacked(new, tmp_path_factory.mktemp("deb")))


def _repacked(deb: Path, folder: Path) -> Path:
    """The same with another version, which its programs say too."""
    whole, made = folder / "whole", folder / "old.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, whole], check=True)
    control = whole / "DEBIAN" / "control"
    control.write_text(control.read_text().replace(f"\nVersion: {VERSION}\n", f"\nVersion: {BEFORE}\n"))
    (module,) = whole.glob(f"{HOME}/lib/python3.*/site-packages/gateway/__init__.py")
    module.write_text(module.read_text().replace(f'"{VERSION}"', f'"{BEFORE}"'))
    compiler = ("-m", "compileall", "-f", "-q", "--invalidation-mode", "unchecked-hash")
    subprocess.run(["/usr/bin/python3", *compiler, module], check=True)
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "--build", whole, made], check=True, stdout=subprocess.DEVNULL)
    return made


@contextlib.contextmanager
def debian(init: str, debs: Debs, folder: Path, prepare: str = PREPARE) -> Iterator[Machine]:
    """A machine that has the packages in /srv, booted."""
    files = {"/etc/machine-id": "0123456789abcdef" * 2 + "\n"}
    lay(folder / "files", files | ({"/etc/inittab": INITTAB} if init == "sysvinit" else {}))
    (folder / "files" / "srv").mkdir()
    for version, deb in ((VERSION, debs.new), (BEFORE, debs.old)):
        shutil.copyfile(deb, folder / "files" / "srv" / f"{version}.deb")
    with namespace(label="deb") as space, boot(init, tree(init), folder, space, prepare) as made:
        assert eventually(lambda: is_up(made, init), within=SOON, every=0.05), made.console()
        yield made


def is_up(machine: Machine, init: str) -> bool:
    if init == "systemd":
        return machine.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")
    return machine.run("runlevel").stdout.split()[-1:] == ["2"] and not machine.processes("/etc/init.d/")


def dpkg(machine: Machine, *words: str, status: int = 0) -> str:
    """What it said."""
    done = machine.run("dpkg", *words, timeout=LONG)
    assert done.returncode == status, done.stdout
    return done.stdout


def install(machine: Machine, version: str = VERSION) -> str:
    return dpkg(machine, "--install", f"/srv/{version}.deb")


def service(machine: Machine, init: str, action: str) -> "subprocess.CompletedProcess[str]":
    return machine.run(*(("systemctl", action, "sockd") if init == "systemd" else ("service", "sockd", action)))


def status(machine: Machine) -> dict[str, object]:
    """What the daemon says of itself; empty if it does not run."""
    told = machine.run("sockctl", "status", "--json")
    answer: dict[str, object] = json.loads(told.stdout) if told.returncode == 0 else {}
    return answer


def daemon(machine: Machine) -> list[int]:
    return machine.processes("sockd: ")


def restart(machine: Machine, init: str) -> None:
    done = service(machine, init, "restart")
    assert done.returncode == 0, done.stdout


def ask(wire: Wire, peer: Peer) -> int:
    wire.send(socks4(peer.host, peer.port))
    return read_reply4(wire).code


def answer(machine: Machine, peer: Peer) -> int:
    with machine.connect() as wire:
        return ask(wire, peer)


def lives(wire: Wire) -> bool:
    wire.send(b"hello")
    return wire.read(5) == b"hello"


# The package alone


@pytest.mark.skipif(shutil.which("lintian") is None, reason="needs lintian: apt-get install lintian")
def test_lintian_finds_neither_error_nor_warning(debs: Debs) -> None:
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", str(debs.new)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout) == (0, "")


def test_the_package_has_every_manual_page_and_nothing_that_others_may_write(debs: Debs) -> None:
    listing = subprocess.run(["dpkg-deb", "--contents", debs.new], capture_output=True, text=True, check=True).stdout
    entries = [line.split(maxsplit=5) for line in listing.splitlines()]
    assert {owner for _, owner, *_ in entries} == {"root/root"}
    assert [line for line in entries if re.match(r"[^l].{4}w|[^l].{7}w|.*[st]", line[0])] == []
    names = {line[5].partition(" -> ")[0] for line in entries}
    pages = sorted(Path("gateway/man").glob("*.[1-9]"))
    assert len(pages) >= 8
    for page in pages:
        assert f"./usr/share/man/man{page.suffix[1:]}/{page.name}.gz" in names
    for program in ("sockd", "sockctl", "test_sockd_conf"):
        assert f"./usr/sbin/{program}" in names
    assert not [name for name in names if re.search(r"/(pip|setuptools)(/|-)|/bin/(activate|pip)", name)]
    strange = [name for name in names if not name.startswith(("./etc/", "./lib/systemd/", "./usr/"))]
    assert set(strange) <= {"./", "./lib/"}


def test_the_package_names_the_one_version_of_python_that_it_is_for(debs: Debs) -> None:
    told = subprocess.run(["dpkg-deb", "--field", debs.new, "Depends"], capture_output=True, text=True, check=True)
    minor = sys.version_info.minor
    assert f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1})" in told.stdout
    assert "libc6" in told.stdout


# Installed


@both
def test_it_serves_this_host_alone_from_the_start_and_refuses_every_request(
    init: str, debs: Debs, tmp_path: Path
) -> None:
    with debian(init, debs, tmp_path / "machine") as machine:
        install(machine)
        told = status(machine)
        assert told["version"] == VERSION
        assert told["listening"] == ["127.0.0.1:1080"]
        with target(machine) as peer:
            assert answer(machine, peer) == REFUSED
        number = int(machine.run("id", "--user", "sockd").stdout)
        assert {one["user"] for one in processes(machine) if "warden" not in str(one["name"])} == {number}
        assert machine.run("sockctl", "check", SETTINGS).returncode == 0
        assert owner_and_mode(machine, SETTINGS) == ("root", "root", 0o644)
        for name in (RULES, "/etc/sockd.route"):
            assert owner_and_mode(machine, name) == ("root", "sockd", 0o640)
        assert owner_and_mode(machine, "/run/sockd/control.sock")[1:] == ("sockd", 0o660)
        assert machine.run("getent", "passwd", "sockd").stdout.split(":")[5:] == ["/nonexistent", "/usr/sbin/nologin\n"]
        assert [link.name for link in machine.path("/etc/rc2.d").iterdir()] == ["S01sockd"]
        # It was used: nothing was compiled or written where only dpkg may write.
        restart(machine, init)
        assert dpkg(machine, "--verify", NAME) == ""
        listed = set(dpkg(machine, "--listfiles", NAME).splitlines())
        there = {f"/{path}" for path in below(machine, HOME)}
        assert there - listed == set()


def processes(machine: Machine) -> list[dict[str, object]]:
    found = status(machine)["processes"]
    assert isinstance(found, list)
    return found


def owner_and_mode(machine: Machine, name: str) -> tuple[str, str, int]:
    user, group, mode = machine.run("stat", "--format=%U %G %a", name).stdout.split()
    return user, group, int(mode, 8)


def below(machine: Machine, folder: str) -> list[str]:
    root = machine.path("/")
    return [
        os.path.relpath(os.path.join(place, name), root)
        for place, folders, files in os.walk(root / folder)
        for name in (*folders, *files)
    ]


def test_sysvinit_starts_it_in_runlevel_2_and_its_status_is_the_truth(debs: Debs, tmp_path: Path) -> None:
    with debian("sysvinit", debs, tmp_path / "machine", INSTALLED) as machine:
        assert [link.name for link in machine.path("/etc/rc2.d").iterdir()] == ["S01sockd"]
        assert eventually(lambda: status(machine), within=SOON, every=0.1), machine.console()
        assert machine.run("runlevel").stdout.split()[-1] == "2"
        number = machine.path("/run/sockd.pid").read_text().strip()
        running = (0, f"sockd is running, as process {number}\n")
        assert truth(machine) == running
        assert service(machine, "sysvinit", "stop").returncode == 0
        assert (truth(machine)[0], daemon(machine)) == (3, [])
        assert service(machine, "sysvinit", "start").returncode == 0
        assert truth(machine)[0] == 0
        number = machine.path("/run/sockd.pid").read_text().strip()
        assert machine.run("kill", "-s", "KILL", number).returncode == 0
        assert eventually(lambda: not daemon(machine), within=SOON)
        assert truth(machine)[0] == 1
        assert service(machine, "sysvinit", "start").returncode == 0
        assert truth(machine)[0] == 0


def truth(machine: Machine) -> tuple[int, str]:
    done = service(machine, "sysvinit", "status")
    return done.returncode, done.stdout


def test_systemd_starts_it_at_boot_when_it_was_installed_in_a_tree(debs: Debs, tmp_path: Path) -> None:
    if shutil.which("systemd-nspawn") is None:
        pytest.skip("needs systemd-nspawn: apt-get install systemd-container")
    with debian("systemd", debs, tmp_path / "machine", INSTALLED) as machine:
        assert eventually(lambda: status(machine), within=SOON, every=0.1), machine.console()
        assert machine.run("systemctl", "is-active", "sockd").stdout == "active\n"


@pytest.mark.full
@both
def test_a_port_in_use_fails_the_start_but_not_the_installation(init: str, debs: Debs, tmp_path: Path) -> None:
    with debian(init, debs, tmp_path / "machine") as machine:
        with machine.space.inside():
            taken = Peer(echo, port=1080)
        with taken:
            said = install(machine)
            assert "sockd" in said
        assert installed(machine) == "ii"
        assert service(machine, init, "start").returncode == 0
        assert status(machine)


def installed(machine: Machine) -> str:
    return machine.run("dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}", NAME).stdout.strip()


# The version before


@both
def test_an_upgrade_keeps_edited_files_and_sessions_and_reloads(init: str, debs: Debs, tmp_path: Path) -> None:
    with debian(init, debs, tmp_path / "machine") as machine, target(machine) as peer:
        install(machine, BEFORE)
        mine = machine.path(SETTINGS).read_text() + "\n[timeouts]\nidle = 77\n"
        options = machine.path("/etc/default/sockd").read_text() + "STOP_SECONDS=19\n"
        machine.path(SETTINGS).write_text(mine)
        machine.path("/etc/default/sockd").write_text(options)
        machine.path(RULES).write_text(PERMITS)
        assert machine.run("sockctl", "reload").returncode == 0
        before = status(machine)
        with machine.connect() as wire:
            assert ask(wire, peer) == GRANTED
            machine.path(RULES).write_text(DENIES)
            said = install(machine)
            assert f"goes on with the code of version {BEFORE}" in said
            assert lives(wire)
            assert answer(machine, peer) == REFUSED, said
            after = status(machine)
            assert (after["pid"], after["version"]) == (before["pid"], BEFORE)
            assert machine.path(SETTINGS).read_text() == mine
            assert machine.path("/etc/default/sockd").read_text() == options
            assert machine.path(RULES).read_text() == DENIES
        restart(machine, init)
        assert status(machine)["version"] == VERSION
        assert dpkg(machine, "--verify", NAME).split() == ["??5??????", "c", "/etc/default/sockd"]


@both
def test_an_upgrade_whose_files_are_refused_says_where_and_leaves_the_daemon_alone(
    init: str, debs: Debs, tmp_path: Path
) -> None:
    with debian(init, debs, tmp_path / "machine") as machine, target(machine) as peer:
        install(machine, BEFORE)
        machine.path(RULES).write_text(PERMITS)
        assert machine.run("sockctl", "reload").returncode == 0
        before = status(machine)
        with machine.connect() as wire:
            assert ask(wire, peer) == GRANTED
            machine.path(RULES).write_text(BROKEN)
            said = install(machine)
            assert MISTAKE in said
            assert "left alone" in said
            assert "goes on with the code" not in said
            assert installed(machine) == "ii"
            assert lives(wire)
            after = status(machine)
            assert [after[key] for key in ("pid", "loaded")] == [before[key] for key in ("pid", "loaded")]
            assert answer(machine, peer) == GRANTED
        machine.path(RULES).write_text(DENIES)
        restart(machine, init)
        assert status(machine)["version"] == VERSION


@pytest.mark.full
@both
def test_an_upgrade_starts_no_daemon_that_the_administrator_has_disabled(init: str, debs: Debs, tmp_path: Path) -> None:
    with debian(init, debs, tmp_path / "machine") as machine:
        install(machine, BEFORE)
        assert service(machine, init, "stop").returncode == 0
        disable = ("systemctl", "disable", "sockd") if init == "systemd" else ("update-rc.d", "sockd", "disable")
        assert machine.run(*disable).returncode == 0
        said = install(machine)
        assert daemon(machine) == [], said
        assert "goes on with the code" not in said


# Removed


@both
def test_removal_ends_it_purge_leaves_the_user_alone_and_it_can_be_installed_again(
    init: str, debs: Debs, tmp_path: Path
) -> None:
    with debian(init, debs, tmp_path / "machine") as machine:
        before = snapshot(machine)
        install(machine)
        log = machine.path("/var/log/sockd.json")
        machine.path(SETTINGS).write_text(machine.path(SETTINGS).read_text().replace("#json = ", "json = "))
        machine.path("/etc/sockd.route").write_text("# mine\n")
        restart(machine, init)
        with target(machine) as peer:
            assert answer(machine, peer) == REFUSED
        assert eventually(log.read_text, within=SOON)
        log.rename(log.with_suffix(".json.1"))
        assert machine.run("sh", "-euc", after_rotation(machine)).returncode == 0
        assert eventually(log.exists, within=SOON), "the log was turned over, and goes on under its old name"
        dpkg(machine, "--remove", NAME)
        assert machine.run("sh", "-euc", after_rotation(machine)).returncode == 0
        assert daemon(machine) == []
        assert machine.path("/etc/sockd.route").read_text() == "# mine\n"
        assert log.exists()
        dpkg(machine, "--purge", NAME)
        after = snapshot(machine)
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert changed - ACCOUNTS - ORDER == set()
        assert [name for name in below(machine, "run") if "sockd" in name] == []
        install(machine)
        assert status(machine)["listening"] == ["127.0.0.1:1080"]


def after_rotation(machine: Machine) -> str:
    """What logrotate(8) runs when it has moved a log away."""
    told = machine.path("/etc/logrotate.d/sockd").read_text()
    return told.partition("postrotate\n")[2].partition("endscript\n")[0]


ACCOUNTS = {f"etc/{name}{old}" for name in ("passwd", "group", "shadow", "gshadow") for old in ("", "-")}
"""What purge leaves changed: the user stays, as is Debian's custom, so that nobody else gets its number."""
ORDER = {f"etc/init.d/.depend.{when}" for when in ("boot", "start", "stop")}
"""The order of scripts as insserv(8) has worked it out; it was there before, and is written anew at each change."""
_VOLATILE = re.compile(
    r"(proc|sys|dev|run|tmp|srv)(/|$)"
    r"|var/(lib/dpkg|cache|log/(journal|wtmp|btmp|lastlog|dpkg\.log|alternatives\.log)|tmp|lib/systemd/(timers|random-seed))"
)


def snapshot(machine: Machine) -> dict[str, tuple[object, ...]]:
    """Every file of the machine with its owner, its mode and, where it may be edited, what is in it."""
    root = machine.path("/")
    found: dict[str, tuple[object, ...]] = {}
    for top in sorted(os.listdir(root)):
        for name in () if _VOLATILE.match(top) else below(machine, top):
            if not _VOLATILE.match(name):
                found[name] = _facts(root / name, name)
    return found


def _facts(path: Path, name: str) -> tuple[object, ...]:
    about = path.lstat()
    content = ""
    if stat.S_ISLNK(about.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(about.st_mode) and name.startswith(("etc/", "var/")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return about.st_mode, about.st_uid, about.st_gid, content


def test_the_name_of_the_port_is_added_where_it_is_missing_and_taken_away_again(debs: Debs, tmp_path: Path) -> None:
    without = "sed -i '/1080/d' /etc/services; echo 'mine 4711/tcp # mine' >>/etc/services"
    with debian("sysvinit", debs, tmp_path / "machine", f"{PREPARE}; {without}") as machine:
        services = machine.path("/etc/services")
        before = services.read_text()
        install(machine)
        assert machine.run("getent", "services", "socks").stdout.split() == ["socks", "1080/tcp"]
        assert services.read_text().startswith(before)
        install(machine)
        assert len(services.read_text().splitlines()) == len(before.splitlines()) + 1
        dpkg(machine, "--purge", NAME)
        assert services.read_text() == before


@pytest.mark.full
def test_what_can_not_be_stopped_is_not_removed_and_goes_on(debs: Debs, tmp_path: Path) -> None:
    with debian("sysvinit", debs, tmp_path / "machine") as machine:
        install(machine)
        number = status(machine)["pid"]
        script = machine.path("/etc/init.d/sockd")
        good = script.read_text()
        script.write_text(good.replace("stop() {\n", "stop() {\n    return 1\n"))
        said = dpkg(machine, "--remove", NAME, status=1)
        assert "sockd does not stop" in said
        assert (installed(machine), status(machine)["pid"]) == ("ri", number)
        script.write_text(good)
        dpkg(machine, "--remove", NAME)
        assert daemon(machine) == []
