"""A program with rgethostbyname(3) on a host of its own, between Debian's nsd with the inside and dnsmasq for the rest.

Both know ``corp.example``: what the outside is to see differs from what the inside has.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.netns import Namespace, namespace, needs_namespaces
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
NSD = shutil.which("nsd") or shutil.which("nsd", path="/usr/sbin:/usr/local/sbin")
DNSMASQ = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin")

pytestmark = [
    needs_namespaces,
    pytest.mark.skipif(None in (NSD, DNSMASQ), reason="needs nsd and dnsmasq: apt-get install nsd dnsmasq-base"),
]

INSIDE, OUTSIDE, PUBLIC = "10.0.0.53", "192.0.2.53", "192.0.2.54"
SOA = "@ 300 SOA ns admin 1 3600 600 86400 300\n@ 300 NS ns\n"
INSIDE_ZONES = {
    "corp.example": SOA
    + "ns A 10.0.0.53\nwww A 10.0.0.80\nprinter A 10.0.0.9\nprinter AAAA fd00::9\nspooler CNAME printer\n"
    + "cdn CNAME edge.example.net.\n"
    + "".join(f"big 300 A 10.9.{n // 250}.{n % 250}\n" for n in range(500)),
    "10.in-addr.arpa": SOA.replace("ns", "ns.corp.example.") + "9.0.0 PTR printer.corp.example.\n",
}
OUTSIDE_ZONES = {
    "corp.example": SOA + "ns A 192.0.2.54\nwww A 192.0.2.80\n",
    "example.net": SOA + "ns A 192.0.2.54\nedge A 198.51.100.80\nedge AAAA 2001:db8::80\nwww CNAME edge\n",
    "100.51.198.in-addr.arpa": SOA.replace("ns", "ns.example.net.") + "80 PTR edge.example.net.\n",
}

_NSD_CONF = """\
server:
    server-count: 1
    ip-address: {address}
    username: ""
    chroot: ""
    database: ""
    rrl-ratelimit: 0
    zonesdir: "{folder}"
    logfile: "{folder}/nsd.log"
    pidfile: "{folder}/nsd.pid"
    zonelistfile: "{folder}/zone.list"
    xfrdfile: "{folder}/xfrd.state"
    xfrdir: "{folder}"
remote-control:
    control-enable: no
"""

_PROGRAM = """\
import asyncio, json, sys
from gateway.client import LookupFailed, Patience, Rgethostbyaddr, Rgethostbyname, aio
blocking = {"name": Rgethostbyname, "address": Rgethostbyaddr}
waiting = {"name": aio.Rgethostbyname, "address": aio.Rgethostbyaddr}
patience = Patience(float(sys.argv[2]), 1)
def look_up(way, kind, subject):
    try:
        if way == "blocking":
            entry = blocking[kind](subject, None, patience)
        else:
            entry = asyncio.run(waiting[kind](subject, None, patience))
    except LookupFailed as failure:
        return [type(failure).__name__, str(failure)]
    return [entry.name, list(entry.aliases), list(map(str, entry.addresses))]
print(json.dumps([look_up(way, *question) for question in json.loads(sys.argv[1]) for way in ("blocking", "asyncio")]))
"""


class World(NamedTuple):
    """The host, the name server of its inside, and where the outside one writes what it was asked."""

    host: Namespace
    inside: "subprocess.Popen[bytes]"
    log: Path

    def look_up(self, *questions: tuple[str, str], seconds: float = 10.0, ns: str = OUTSIDE) -> list[Any]:
        """What a program finds that has SOCKS_NS in its environment; it must be the same in both ways."""
        command = [*self.host.prefix, "env", f"SOCKS_NS={ns}", sys.executable, "-c", _PROGRAM]
        done = subprocess.run(
            [*command, json.dumps(questions), str(seconds)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found[::2] == found[1::2]
        return list(found[::2])

    def heard_outside(self) -> str:
        """All that the outside server wrote; questions come in random letter case."""
        return self.log.read_text().lower()

    def answers(self) -> bool:
        """Whether all of its servers do."""
        found = self.look_up(("name", "www"), ("name", "www.example.net"), seconds=0.5)
        return [entry[0] for entry in found] == ["www.corp.example", "edge.example.net"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    resolv_conf = f"nameserver {INSIDE}\nsearch corp.example\n"
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(namespace({"resolv.conf": resolv_conf}))
        for address in (INSIDE, OUTSIDE, PUBLIC):
            host.ip("addr", "add", f"{address}/32", "dev", "lo")
        inside = stack.enter_context(_nsd(host, tmp_path / "inside", INSIDE, INSIDE_ZONES))
        stack.enter_context(_nsd(host, tmp_path / "outside", PUBLIC, OUTSIDE_ZONES))
        log = stack.enter_context(_dnsmasq(host, tmp_path))
        made = World(host, inside, log)
        assert eventually(made.answers)
        log.write_text("")
        yield made


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextlib.contextmanager
def _nsd(host: Namespace, folder: Path, address: str, zones: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    folder.mkdir()
    conf = _NSD_CONF.format(folder=folder, address=address)
    for name, text in zones.items():
        (folder / name).write_text(text)
        conf += f'zone:\n    name: "{name}"\n    zonefile: "{name}"\n'
    (folder / "nsd.conf").write_text(conf)
    with _running([*host.prefix, str(NSD), "-d", "-c", str(folder / "nsd.conf")]) as process:
        yield process


@contextlib.contextmanager
def _dnsmasq(host: Namespace, folder: Path) -> Iterator[Path]:
    """A resolver that asks the public nsd; where it writes its questions."""
    log = folder / "dnsmasq.log"
    options = [
        "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces",
        "--user=root", f"--pid-file={folder / 'dnsmasq.pid'}", f"--listen-address={OUTSIDE}", "--cache-size=0",
        f"--server={PUBLIC}", "--log-queries", f"--log-facility={log}",
    ]  # fmt: skip
    with _running([*host.prefix, str(DNSMASQ), *options]):
        assert eventually(log.exists)
        yield log


def test_each_name_is_asked_where_it_belongs(world: World) -> None:
    found = world.look_up(
        ("name", "www.corp.example"),
        ("name", "spooler"),
        ("name", "www.example.net"),
        ("name", "cdn.corp.example"),
        ("address", "10.0.0.9"),
        ("address", "198.51.100.80"),
        ("name", "nobody.corp.example"),
    )
    edge = ["198.51.100.80", "2001:db8::80"]
    assert found == [
        ["www.corp.example", [], ["10.0.0.80"]],
        ["printer.corp.example", ["spooler.corp.example"], ["10.0.0.9", "fd00::9"]],
        ["edge.example.net", ["www.example.net"], edge],
        ["edge.example.net", ["cdn.corp.example"], edge],
        ["printer.corp.example", [], ["10.0.0.9"]],
        ["edge.example.net", [], ["198.51.100.80"]],
        ["HostNotFound", f"nobody.corp.example: {INSIDE} says that there is no such name"],
    ]
    assert "www.example.net" in world.heard_outside()
    assert "corp.example" not in world.heard_outside()


def test_an_answer_that_udp_does_not_hold_comes_by_tcp(world: World) -> None:
    ((name, _, addresses),) = world.look_up(("name", "big"))
    assert (name, len(set(addresses))) == ("big.corp.example", 500)


def test_no_inside_name_gets_out_while_the_inside_server_is_dead(world: World) -> None:
    world.inside.terminate()
    world.inside.wait()
    inside, private, outside = world.look_up(
        ("name", "www.corp.example"), ("address", "10.0.0.9"), ("name", "www.example.net")
    )
    assert inside == ["TryAgain", f"www.corp.example: {INSIDE} can not be asked: Connection refused"]
    assert private == ["TryAgain", f"10.0.0.9: {INSIDE} can not be asked: Connection refused"]
    assert outside[0] == "edge.example.net"
    assert "www.example.net" in world.heard_outside()
    assert "corp.example" not in world.heard_outside()
    assert "10.0.0.9" not in world.heard_outside()


def test_inside_names_are_found_while_the_outside_is_dead(world: World) -> None:
    inside, outside = world.look_up(("name", "printer"), ("name", "www.example.net"), ns="192.0.2.55")
    assert inside[0] == "printer.corp.example"
    assert outside[0] == "TryAgain"
    assert f"{INSIDE} says REFUSED" in outside[1]
