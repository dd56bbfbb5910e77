"""The roles of ansible/ on plain Debian machines, one with systemd and one with sysvinit.

Ansible comes to each by ssh, from the inside of the lab; the machine stands where the lab has its gateway. A machine is
set up once, by the whole of site.yml, and then looked at, changed and started again by the tests that follow; a test
leaves what it has changed as it was, or says what is in effect now (`Gateway.rules`).
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import products
from tests.support.bastion.controller import LACKING as NO_ANSIBLE
from tests.support.bastion.controller import Controller
from tests.support.bastion.host import Bastion, bastion, missing
from tests.support.bastion.playing import Played
from tests.support.bastion.probes import OPEN, answering
from tests.support.boot.trees import ROOT
from tests.support.lab.build import Lab
from tests.support.lab.servers import needs_lab
from tests.support.lab.targets import ECHO
from tests.support.lab.topology import (
    CLIENT,
    GATEWAY,
    INSIDE,
    INSIDE_NAMES,
    INSIDE_WEB,
    OUTSIDE,
    OUTSIDE_NAMES,
    PROXY,
    PROXY6,
    TARGET_A,
    TARGET_B,
    WAN1,
    WAN1_6,
)
from tests.support.rawsocks import Wire, connect5
from tests.support.waiting import eventually

LACKING = missing() or NO_ANSIBLE
pytestmark = [needs_lab, pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is missing")]

SITE = ROOT / "ansible" / "site.yml"
SOON = 30.0
GRANTED, NOT_ALLOWED = 0, 2
PORT = 1080
CARDS = {"gateway_inside_interface": "eth1", "gateway_uplinks": ["wan1", "wan2"]}
ZONES = [
    {"name": "corp.example", "networks": ["10.0.0.0/8"], "servers": [INSIDE_NAMES]},
    {"name": ".", "servers": [OUTSIDE_NAMES]},
]
FREE = f"permit 10.1.0.0/24 {TARGET_B}/32"
"""The line that the tests change into its opposite."""
BARRED = f"deny 10.1.0.0/24 {TARGET_B}/32"
FILES = ("/etc/gateway.toml", "/etc/sockd.conf", "/etc/sockd.route", "/etc/ssh/sshd_config", "/etc/resolv.conf")
#: names under /proc/sys/net
FORWARDING = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
WELL_KNOWN = range(1, 1101)


def rules(line: str) -> str:
    return f"permit 10.1.0.0/24 {INSIDE_WEB}/32\n{line}\npermit 10.1.0.0/24 ALL\n"


class Gateway:
    """A machine that site.yml was applied to; ``first`` is how that went, with ``options``."""

    def __init__(self, host: Bastion, controller: Controller, source: Mapping[str, object], *options: str) -> None:
        self.host = host
        self.rules = rules(FREE)
        self._controller = controller
        self._source = source
        self.first = self.play(*options)

    @property
    def lab(self) -> Lab:
        return self.host.lab

    def play(self, *options: str, **variables: object) -> Played:
        """site.yml with the variables of the tests, and others beside or instead of them."""
        usual = {**CARDS, **self._source, "resolver_zones": ZONES, "resolver_domain": "corp.example"}
        return self._controller.play(SITE, {**usual, "gateway_rules": self.rules, **variables}, *options)

    def ask(self, target: str, port: int = 80) -> int:
        """What a client of the inside is answered by the proxy."""
        with self.session() as wire:
            return connect5(wire, target, port).code

    def session(self) -> Wire:
        """A connection of a client of the inside to the proxy."""
        with self.lab.spaces[INSIDE].inside():
            return Wire(PORT, host=PROXY)

    def digests(self) -> dict[str, str]:
        return {name: hashlib.sha256(self.host.path(name).read_bytes()).hexdigest() for name in FILES}

    def supervisor(self) -> int:
        """The daemon's first process, as it is seen from outside of the machine."""
        return self.host.machine.processes("sockd: ")[0]


def made(init: str, folder: Path, source: Mapping[str, object]) -> Iterator[Gateway]:
    with bastion(init, folder / "bastion") as host:
        forward(host.lab)
        gateway = Gateway(host, Controller(host, folder / "controller"), source)
        assert gateway.first.status == 0, gateway.first.output
        yield gateway


def forward(lab: Lab) -> None:
    """As a host is that somebody has made a router: so that the roles have something to switch off."""
    for name in FORWARDING:
        lab.spaces[GATEWAY].sysctl(name, "1")


def skip_without(init: str) -> None:
    if init == "systemd" and shutil.which("systemd-nspawn") is None:
        pytest.skip("needs systemd-nspawn: apt-get install systemd-container")


@pytest.fixture(scope="module", params=("systemd", "sysvinit"))
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of the Debian package, set up by site.yml."""
    skip_without(request.param)
    if lacking := products.missing():
        pytest.skip(lacking)
    folder = tmp_path_factory.mktemp(request.param)
    # a copy, as another run may build it anew meanwhile
    package = shutil.copy(products.deb(), folder)
    yield from made(request.param, folder, {"gateway_package": package})


ONE_WILL_DO = ["systemd", pytest.param("sysvinit", marks=pytest.mark.full)]
"""For tests of tasks that know no init system."""
one_will_do = pytest.mark.parametrize("gateway", ONE_WILL_DO, indirect=True)
systemd_only = pytest.mark.parametrize("gateway", ["systemd"], indirect=True)


def works(gateway: Gateway) -> None:
    """It is a gateway: for web pages by the proxy, for names of both sides, and for nothing else."""
    page = gateway.lab.run(INSIDE, *fetch("http://www.example/"), "--proxy", f"socks5h://{PROXY}:{PORT}")
    assert page.returncode == 0, page.stderr + status_of(gateway)
    assert json.loads(page.stdout) == {"host": OUTSIDE, "source": WAN1, "target": TARGET_A}
    assert {name: look_up(gateway, name) for name in ("www.corp.example", "www.example", "no.corp.example")} == {
        "www.corp.example": INSIDE_WEB,  # the world's servers say something else
        "www.example": TARGET_A,
        "no.corp.example": "",
    }
    with gateway.lab.spaces[GATEWAY].inside():
        found = [Path(f"/proc/sys/net/{name}").read_text().strip() for name in FORWARDING]
    assert found == ["0", "0"]


def fetch(url: str) -> tuple[str, ...]:
    return ("curl", "--silent", "--show-error", "--max-time", "20", url)


def look_up(gateway: Gateway, name: str) -> str:
    return gateway.lab.run(INSIDE, "dig", "+short", "+tries=2", f"@{PROXY}", name).stdout.strip()


def status_of(gateway: Gateway) -> str:
    return gateway.host.run("sh", "-c", "sockctl status; service sockd status; nft list ruleset").stdout


def test_the_roles_make_a_plain_machine_a_gateway(gateway: Gateway) -> None:
    assert gateway.first.counts["failed"] == 0
    works(gateway)
    # with a way through the gateway, and nobody who goes it for the client
    gateway.lab.spaces[INSIDE].ip("route", "replace", f"{TARGET_A}/32", "via", PROXY)
    direct = gateway.lab.run(INSIDE, "curl", "--silent", "--max-time", "1", f"http://{TARGET_A}/")
    assert direct.returncode != 0


def test_a_second_run_changes_nothing(gateway: Gateway) -> None:
    again = gateway.play("--diff")
    assert (again.status, again.changed, again.counts["changed"]) == (0, (), 0), again.output


def test_nothing_answers_outside_and_inside_only_what_is_offered(gateway: Gateway) -> None:
    outside, inside = gateway.lab.spaces[OUTSIDE], gateway.lab.spaces[INSIDE]
    for address in (WAN1, WAN1_6):
        assert answering(outside, address, WELL_KNOWN) == {}
    for address in (PROXY, PROXY6):
        assert answering(inside, address, WELL_KNOWN) == {22: OPEN, 53: OPEN, PORT: OPEN}
    asked = gateway.lab.run(OUTSIDE, "dig", "+tries=1", "+time=1", f"@{WAN1}", "www.example")
    assert asked.returncode != 0, asked.stdout


@one_will_do
def test_a_check_of_a_changed_rule_shows_that_line_and_changes_nothing(gateway: Gateway) -> None:
    before = gateway.digests()
    old, new = other_way_round(gateway)
    shown = gateway.play("--check", "--diff", gateway_rules=rules(new))
    assert shown.status == 0, shown.output
    assert shown.differences == (f"-{old}", f"+{new}"), shown.output
    assert len(shown.changed) == 1, shown.changed
    assert gateway.digests() == before
    assert gateway.ask(TARGET_B) == (GRANTED if old is FREE else NOT_ALLOWED)


@one_will_do
def test_a_broken_rule_is_refused_before_anything_is_touched(gateway: Gateway) -> None:
    before, supervisor = gateway.digests(), gateway.supervisor()
    # with another firewall beside it, which must not come either
    refused = gateway.play(gateway_rules=rules("permitt ALL ALL"), hardening_echo_rate=1)
    assert refused.status != 0
    assert "/etc/sockd.conf:2" in refused.plain, refused.output
    assert "permitt" in refused.plain, refused.output
    assert refused.changed == (), refused.output
    assert gateway.digests() == before
    assert (gateway.supervisor(), gateway.ask(TARGET_A)) == (supervisor, GRANTED)


def other_way_round(gateway: Gateway) -> tuple[str, str]:
    """The line as it is now, and its opposite."""
    return (FREE, BARRED) if FREE in gateway.rules else (BARRED, FREE)


def read_line(wire: Wire) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (piece := wire.read(1)):
        line += piece
    return line


def test_a_changed_rule_takes_effect_and_no_session_ends(gateway: Gateway) -> None:
    supervisor = gateway.supervisor()
    with gateway.session() as wire:
        assert connect5(wire, TARGET_B, ECHO).code == GRANTED
        assert json.loads(read_line(wire))["host"] == OUTSIDE
        gateway.rules = rules(BARRED)
        changed = gateway.play()
        assert changed.status == 0, changed.output
        assert gateway.ask(TARGET_B) == NOT_ALLOWED
        wire.send(b"still here")
        assert wire.read(10) == b"still here"
    assert gateway.ask(TARGET_A) == GRANTED
    assert gateway.supervisor() == supervisor


@one_will_do
def test_what_a_run_that_was_cut_off_has_written_is_loaded_by_the_next(gateway: Gateway) -> None:
    old, new = other_way_round(gateway)
    written = gateway.host.path("/etc/sockd.conf")
    written.write_text(written.read_text().replace(old, new))
    gateway.rules = rules(new)
    assert gateway.ask(TARGET_B) == (GRANTED if old is FREE else NOT_ALLOWED)
    done = gateway.play()
    assert done.status == 0, done.output
    assert "gateway : Write settings, rules and routes" not in done.changed
    assert gateway.ask(TARGET_B) == (GRANTED if new is FREE else NOT_ALLOWED)


def status(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gateway.host.run("sockctl", "status", "--json").stdout)
    return found


def give_version(gateway: Gateway, old: str, new: str) -> None:
    """What is installed says another version of itself; what runs is as it was."""
    home = gateway.host.path("/usr/lib/multihomed-gateway/lib")
    (module,) = home.glob("python3.*/site-packages/gateway/__init__.py")
    module.write_text(module.read_text().replace(f'"{old}"', f'"{new}"'))
    inside = f"/usr/lib/multihomed-gateway/lib/{module.relative_to(home)}"
    command = ("/usr/bin/python3", "-m", "compileall", "-f", "-q", "--invalidation-mode", "unchecked-hash", inside)
    compiled = gateway.host.run(*command)
    assert compiled.returncode == 0, compiled.stdout


@pytest.mark.full
@systemd_only
def test_new_code_waits_for_the_last_session_and_then_runs(gateway: Gateway) -> None:
    before = status(gateway)["version"]
    give_version(gateway, before, "9.9.9")
    try:
        with gateway.session() as wire:
            assert connect5(wire, TARGET_A, ECHO).code == GRANTED
            read_line(wire)
            waiting = gateway.play()
            assert (waiting.status, waiting.changed) == (0, ()), waiting.output
            assert f"sockd goes on with version {before}" in waiting.plain, waiting.output
            assert status(gateway)["version"] == before
        assert eventually(lambda: status(gateway)["totals"]["sessions"] == 0, within=SOON, every=0.2)
        renewed = gateway.play()
        assert (renewed.status, renewed.changed) == (0, ("gateway : Start sockd anew with the new code",)), (
            renewed.output
        )
        assert status(gateway)["version"] == "9.9.9"
        works(gateway)
    finally:
        give_version(gateway, "9.9.9", before)
    assert gateway.play().status == 0
    assert status(gateway)["version"] == before


@one_will_do
def test_forwarding_that_somebody_turned_on_is_off_after_the_next_run(gateway: Gateway) -> None:
    forward(gateway.lab)
    done = gateway.play()
    assert done.status == 0, done.output
    assert done.changed == ("hardening : Read what the kernel does now", "hardening : Load the kernel settings"), (
        done.output
    )
    works(gateway)


UNNEEDED = """\
[Service]
ExecStart=/bin/sleep infinity
"""


@pytest.mark.full
@systemd_only
def test_a_service_that_a_run_cut_off_has_masked_and_not_stopped_is_stopped(gateway: Gateway) -> None:
    unit = gateway.host.path("/lib/systemd/system/rsync.service")
    mask = gateway.host.path("/etc/systemd/system/rsync.service")
    unit.write_text(UNNEEDED)
    assert gateway.host.run("systemctl", "daemon-reload").returncode == 0
    assert gateway.host.run("systemctl", "start", "rsync").returncode == 0
    mask.symlink_to("/dev/null")
    try:
        done = gateway.play()
        assert (done.status, done.changed) == (0, ("hardening : Stop those",)), done.output
        assert gateway.host.run("systemctl", "is-active", "rsync").stdout.strip() != "active"
        again = gateway.play()
        assert (again.status, again.changed) == (0, ()), again.output
    finally:
        unit.unlink()
        mask.unlink()
        gateway.host.run("systemctl", "daemon-reload")


def host_looks_up(gateway: Gateway, name: str) -> list[str]:
    """The IPv4 addresses that the host's own programs get for a name."""
    return gateway.host.run("sh", "-c", f"getent ahostsv4 {name} | cut -d' ' -f1 | sort -u").stdout.split()


@pytest.mark.full
@systemd_only
def test_the_host_itself_asks_the_resolver_and_then_others_again(gateway: Gateway) -> None:
    file = gateway.host.path("/etc/resolv.conf")
    before = file.read_bytes()
    zones = [ZONES[0], {"name": ".", "servers": ["/etc/resolv.conf"]}]

    def play(itself: object) -> Played:
        return gateway.play(resolver_host=itself, resolver_zones=zones)

    def twice(itself: object) -> None:
        done = play(itself)
        assert done.status == 0, done.output
        works(gateway)
        assert host_looks_up(gateway, "www.example") == [TARGET_A]
        again = play(itself)
        assert (again.status, again.changed) == (0, ()), again.output

    dhcpcd = gateway.host.path("/usr/sbin/dhcpcd")
    dhcpcd.touch()
    refused = play(True)
    dhcpcd.unlink()
    assert (refused.status != 0, refused.changed) == (True, ()), refused.output
    assert "dhcpcd is installed" in refused.plain, refused.output

    checked = gateway.play("--check", "--diff", resolver_host=True, resolver_zones=zones)
    assert checked.status == 0, checked.output
    assert file.read_bytes() == before

    twice(True)
    assert host_looks_up(gateway, "www.corp.example") == [INSIDE_WEB]
    assert b"nameserver 127.0.0.1\n" in file.read_bytes()
    ours = file.read_bytes()
    broken = gateway.play(resolver_host=False, resolver_zones=zones, gateway_rules=rules("permitt ALL ALL"))
    assert (broken.status != 0, broken.changed) == (True, ()), broken.output
    assert file.read_bytes() == ours
    # a text, as -e gives it
    twice("false")
    assert file.read_bytes() == before
    assert host_looks_up(gateway, "www.corp.example") != [INSIDE_WEB]
    assert gateway.play().status == 0


@pytest.mark.full
@systemd_only
def test_passwords_go_with_the_last_of_them(gateway: Gateway) -> None:
    line = gateway.host.run("sh", "-c", "echo secret | sockctl password fred").stdout
    file = gateway.host.path("/etc/sockd.passwords")
    assert gateway.play(gateway_passwords=line).status == 0
    assert line.strip() in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert gateway.play().status == 0
    assert not file.exists()
    assert gateway.ask(TARGET_A) == GRANTED
    # one of the administrator's is left alone
    file.write_text(line)
    again = gateway.play()
    assert (again.status, file.read_text()) == (0, line), again.output
    file.unlink()


def no_card(gateway: Gateway) -> Played:
    return gateway.play(gateway_uplinks=["wan9"])


def way_out_by_the_inside(gateway: Gateway) -> Played:
    route = ("default", "via", INSIDE_WEB, "dev", "eth1", "metric", "900")
    gateway.lab.spaces[GATEWAY].ip("route", "add", *route)
    try:
        return gateway.play()
    finally:
        gateway.lab.spaces[GATEWAY].ip("route", "del", *route)


def both_sides_in_one_network(gateway: Gateway) -> Played:
    gateway.lab.spaces[GATEWAY].ip("address", "add", "10.1.0.200/24", "dev", "wan2")
    try:
        return gateway.play()
    finally:
        gateway.lab.spaces[GATEWAY].ip("address", "del", "10.1.0.200/24", "dev", "wan2")


def no_ssh_from_here(gateway: Gateway) -> Played:
    return gateway.play(hardening_ssh_networks=["10.9.0.0/24"])


def port_in_the_options(gateway: Gateway) -> Played:
    return gateway.play(gateway_options={"internal": {"port": 1081}})


@one_will_do
@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (no_card, ("no card wan9", "eth1")),
        (way_out_by_the_inside, ("eth1 is the inside, and has a default route", INSIDE_WEB)),
        (both_sides_in_one_network, ("networks overlap", "eth1", "wan2")),
        (port_in_the_options, ("gateway_options.internal.port is set", "gateway_port")),
        (no_ssh_from_here, (CLIENT, "none of 10.9.0.0/24", "would shut out")),
    ],
)
def test_what_can_not_work_is_refused_before_anything_is_touched(
    gateway: Gateway, mistake: Callable[[Gateway], Played], words: tuple[str, ...]
) -> None:
    refused = mistake(gateway)
    assert refused.status != 0, refused.output
    assert refused.changed == ()
    assert [word for word in words if word not in refused.plain] == [], refused.output


def test_it_is_a_gateway_again_when_the_machine_has_started_anew(gateway: Gateway) -> None:
    forward(gateway.lab)
    gateway.host.restart()
    assert eventually(lambda: look_up(gateway, "www.example") == TARGET_A, within=SOON, every=0.2), status_of(gateway)
    works(gateway)
    assert answering(gateway.lab.spaces[OUTSIDE], WAN1, (22, 53, PORT)) == {}
    status = gateway.host.run("service", "sockd", "status")
    assert status.returncode == 0, status.stdout
    if gateway.host.init == "systemd":
        assert gateway.host.run("systemctl", "is-enabled", "sockd").stdout.strip() == "enabled"
    else:
        assert gateway.host.run("runlevel").stdout.split()[-1] == "2"
        assert list(gateway.host.path("/etc/rc2.d").glob("S*sockd"))


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Bastion]:
    """A machine with systemd that no role has seen, where our package could be installed."""
    skip_without("systemd")
    if lacking := products.missing():
        pytest.skip(lacking)
    with bastion("systemd", tmp_path / "bastion") as host:
        yield host


@pytest.mark.full
def test_on_a_fresh_host_a_broken_rule_leaves_every_setting_as_it_was(fresh: Bastion, tmp_path: Path) -> None:
    package = shutil.copy(products.deb(), tmp_path)
    gateway = Gateway(fresh, Controller(fresh, tmp_path / "controller"), {"gateway_package": package}, "--check")
    assert gateway.first.status == 0, gateway.first.output
    assert "sockd is not on this host yet" in gateway.first.plain, gateway.first.output
    assert not fresh.path("/usr/sbin/sockd").exists()
    before = fresh.path("/etc/ssh/sshd_config").read_bytes()
    refused = gateway.play(gateway_rules=rules("permitt ALL ALL"))
    assert refused.status != 0
    assert "/etc/sockd.conf:2" in refused.plain, refused.output
    assert "sockd is installed, and nothing else was changed" in refused.plain, refused.output
    assert {name.partition(" : ")[0] for name in refused.changed} == {"gateway"}, refused.output
    assert fresh.path("/etc/ssh/sshd_config").read_bytes() == before
    assert not fresh.path("/etc/gateway-filter.nft").exists()
    assert "127.0.0.1" in fresh.path("/etc/gateway.toml").read_text()
    mended = gateway.play()
    assert mended.status == 0, mended.output


@pytest.mark.full
def test_a_package_by_its_name_on_a_host_without_the_module_for_packages(fresh: Bastion, tmp_path: Path) -> None:
    forward(fresh.lab)
    assert not fresh.path("/usr/lib/python3/dist-packages/apt").exists()
    gateway = Gateway(fresh, Controller(fresh, tmp_path / "controller"), {}, "--check", "--diff")
    assert gateway.first.status == 0, gateway.first.output
    shutil.copy(products.deb(), fresh.path("/srv/gateway.deb"))
    installed = fresh.run("apt-get", "install", "--yes", "--quiet", "/srv/gateway.deb")
    assert installed.returncode == 0, installed.stdout
    # as on a machine of its own, where the firewall is loaded before the kernel's settings are written; those are
    # not to be set here
    alone = gateway.play("-e", json.dumps({"hardening_container_types": []}))
    assert "cannot open" not in alone.plain, alone.output
    assert fresh.path("/etc/modprobe.d/gateway-hardening.conf").exists(), alone.output
    mended = gateway.play(hardening_kernel=False)
    assert mended.status == 0, mended.output
    works(gateway)


WHEELS = "/srv/wheels"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our wheel and those that it needs."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "-w",
        str(folder),
        str(ROOT),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(
            f"pip builds no wheel here ({built.stderr.strip()[-200:]}); where a Python index is at hand it does"
        )
    return folder


@pytest.mark.full
@pytest.mark.parametrize("init", ["systemd", "sysvinit"])
def test_a_wheel_does_as_well_without_a_network(init: str, wheels: Path, tmp_path: Path) -> None:
    skip_without(init)
    (ours,) = wheels.glob("multihomed_gateway-*.whl")
    source = {
        "gateway_wheel": str(ours),
        "gateway_wheel_arguments": f"--no-index --find-links={WHEELS}",
    }
    with bastion(init, tmp_path / "bastion") as host:
        forward(host.lab)
        shutil.copytree(wheels, host.path(WHEELS))
        gateway = Gateway(host, Controller(host, tmp_path / "controller"), source, "--check", "--diff")
        assert gateway.first.status == 0, gateway.first.output
        done = gateway.play()
        assert done.status == 0, done.output
        works(gateway)
        again = gateway.play("--diff")
        assert (again.status, again.changed) == (0, ()), again.output
        # as a run leaves it that was cut off while it installed the wheel
        host.path("/opt/multihomed-gateway/wheel.sha1").unlink()
        done = gateway.play()
        assert done.status == 0, done.output
        assert "gateway : Put it in the place of the old one" in done.changed, done.output
        assert "gateway : Start sockd anew with the new code" in done.changed, done.output
        host.restart()
        assert eventually(lambda: look_up(gateway, "www.example") == TARGET_A, within=SOON, every=0.2)
        works(gateway)
