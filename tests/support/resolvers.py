"""Resolvers under test, in a network namespace: whatever answers the same questions from the same name server.

A test that is right about all of them is right about names, and not about one program: the name server itself, asked
straight; dnsmasq, as others' forwarders are; and ``sockd``, which is ours.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.support.daemon import sockd
from tests.support.lab.servers import answers
from tests.support.netns import Namespace
from tests.support.waiting import eventually

DNSMASQ = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin")
LOOPBACK = "127.0.0.1"
CLIENTS = ("127.0.0.0/8", "192.168.0.0/16")
"""Who may ask ours."""

Resolver = Callable[[Namespace, Path, str, str], contextlib.AbstractContextManager[str]]
"""Started in a namespace, with a folder for its files, the address of the name server, and its own, where it listens on
port 53; yields whom to ask.
"""


@contextlib.contextmanager
def straight(_: Namespace, __: Path, server: str, ___: str) -> Iterator[str]:
    """No resolver between."""
    yield server


@contextlib.contextmanager
def dnsmasq(space: Namespace, folder: Path, server: str, address: str) -> Iterator[str]:
    """Debian's dnsmasq with its cache."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        *(*space.prefix, str(DNSMASQ), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"),
        *("--user=root", f"--pid-file={folder / 'dnsmasq.pid'}", f"--listen-address={address}", "--bind-interfaces"),
        *(f"--server={server}", "--edns-packet-max=1232", "--proxy-dnssec", "--cache-size=1000"),
    ]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        try:
            assert eventually(lambda: answers(space, address), within=20), "dnsmasq does not answer"
            yield address
        finally:
            process.terminate()


@contextlib.contextmanager
def ours(space: Namespace, folder: Path, server: str, address: str) -> Iterator[str]:
    """``sockd`` with the root zone only."""
    zone = {"name": ".", "servers": [server]}
    resolver = {"addresses": [address], "clients": list(CLIENTS), "zone": [zone]}
    with sockd(folder, addresses=[address], settings={"resolver": resolver}, prefix=space.prefix):
        yield address


RESOLVERS: Mapping[str, Resolver] = {"straight": straight, "dnsmasq": dnsmasq, "sockd": ours}
