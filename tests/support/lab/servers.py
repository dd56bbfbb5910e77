"""What runs on the hosts of the lab: their targets (`targets`), and real name servers, Debian's nsd.

The gateway is left alone: its ``sockd`` is the caller's to start.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab.build import Lab
from tests.support.lab.topology import Host, NameServer
from tests.support.netns import Namespace
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
NSD = shutil.which("nsd") or shutil.which("nsd", path="/usr/sbin:/usr/local/sbin")

needs_lab = pytest.mark.skipif(
    os.geteuid() != 0 or None in (NSD, shutil.which("ip"), shutil.which("curl")),
    reason="needs root, iproute2, nsd and curl for the lab; `sudo make test` on a host with Debian's packages runs it",
)

# One process, which never leaves its own folder; without limits a test would meet.
_NSD_CONF = """\
server:
    server-count: 1
    port: 53
    hide-version: yes
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
{addresses}
remote-control:
    control-enable: no
{zones}
"""

# A question for the SOA record of the root (RFC 1035 §4.1): a server that runs answers it, if only with a refusal.
_QUESTION = b"gw\0\0\0\1\0\0\0\0\0\0" + b"\0\0\6\0\1"


@contextlib.contextmanager
def serving(lab: Lab, folder: Path) -> Iterator[None]:
    """All servers of the lab, each of which answers; ``folder`` is for the files of the name servers."""
    with contextlib.ExitStack() as stack:
        hosts = lab.topology.hosts
        processes = [stack.enter_context(_targets(host, lab.spaces[host.name])) for host in hosts if host.targets]
        for host in hosts:
            if host.names is not None:
                stack.enter_context(name_server(host.names, lab.spaces[host.name], folder / host.name))
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n", f"{process.args!r} does not serve"
        yield


@contextlib.contextmanager
def _targets(host: Host, space: Namespace) -> Iterator["subprocess.Popen[bytes]"]:
    """The targets of a host, starting; they say when they are ready."""
    command = [*space.prefix, sys.executable, "-m", "tests.support.lab.targets", host.name]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def name_server(names: NameServer, space: Namespace, folder: Path) -> Iterator[None]:
    """An nsd that answers on all its addresses in a namespace; ``folder`` is for its files, and made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nsd.conf").write_text(_nsd_conf(names, folder))
    for zone, text in names.zones:
        (folder / _zone_file(zone)).write_text(text)
    command = [*space.prefix, str(NSD), "-d", "-c", str(folder / "nsd.conf")]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        try:
            answered = eventually(lambda: all(answers(space, address) for address in names.addresses), within=20)
            assert answered, f"nsd does not answer on all of {', '.join(names.addresses)}:\n{_log(folder)}"
            yield
        finally:
            process.terminate()


def _nsd_conf(names: NameServer, folder: Path) -> str:
    return _NSD_CONF.format(
        folder=folder,
        addresses="\n".join(f"    ip-address: {address}" for address in names.addresses),
        zones="\n".join(f'zone:\n    name: "{zone}"\n    zonefile: "{_zone_file(zone)}"' for zone, _ in names.zones),
    )


def _zone_file(zone: str) -> str:
    return f"{zone.strip('.') or 'root'}.zone"


def answers(space: Namespace, address: str) -> bool:
    """Whether a name server answers at this address, asked from its own host."""
    with space.inside(), socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as ask:
        ask.settimeout(0.3)
        with contextlib.suppress(OSError):
            ask.connect((address, 53))
            ask.send(_QUESTION)
            return ask.recv(512)[:2] == _QUESTION[:2]
    return False


def _log(folder: Path) -> str:
    log = folder / "nsd.log"
    return log.read_text(errors="replace") if os.path.exists(log) else "(it wrote no log)"
