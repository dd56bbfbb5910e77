"""Resolvers under test, in a network namespace: whatever answers the same questions from the same name server.

A test that is right about all of them is right about names, and not about one program: the name server itself, asked
straight; dnsmasq, as others' forwarders are; and ``sockd``, which is ours.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.daemon import PROGRAM, Sockd, write_files
from tests.support.lab.servers import answers
from tests.support.netns import Namespace
from tests.support.waiting import eventually

DNSMASQ = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin")
ADDRESS = "127.0.0.1"
"""Where each of them listens, on port 53, but for the name server itself."""

Resolver = Callable[[Namespace, Path, str], contextlib.AbstractContextManager[str]]
"""Started in a namespace, with a folder for its files, and the address of the name server; yields whom to ask."""


@contextlib.contextmanager
def straight(_: Namespace, __: Path, server: str) -> Iterator[str]:
    """No resolver between."""
    yield server


@contextlib.contextmanager
def dnsmasq(space: Namespace, folder: Path, server: str) -> Iterator[str]:
    """Debian's dnsmasq with its cache."""
    command = [
        *(*space.prefix, str(DNSMASQ), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"),
        *("--user=root", f"--pid-file={folder / 'dnsmasq.pid'}", f"--listen-address={ADDRESS}", "--bind-interfaces"),
        *(f"--server={server}", "--edns-packet-max=1232", "--proxy-dnssec", "--cache-size=1000"),
    ]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        try:
            assert eventually(lambda: answers(space, ADDRESS), within=20), "dnsmasq does not answer"
            yield ADDRESS
        finally:
            process.terminate()


@contextlib.contextmanager
def ours(space: Namespace, folder: Path, server: str) -> Iterator[str]:
    """``sockd`` with the root zone only."""
    with sockd_resolver(space, folder, [f'name = "."\nservers = ["{server}"]']):
        yield ADDRESS


@contextlib.contextmanager
def sockd_resolver(
    space: Namespace, folder: Path, zones: Sequence[str], *, settings: str = "", address: str = ADDRESS
) -> Iterator[Sockd]:
    """``sockd`` with these zones, each the lines of one [[resolver.zone]]; ``settings`` are lines of [resolver]."""
    folder.mkdir(parents=True, exist_ok=True)
    path = write_files(folder, "permit ALL ALL\n", addresses=[address])
    tables = "".join(f"[[resolver.zone]]\n{zone}\n" for zone in zones)
    path.write_text(f'{path.read_text()}[resolver]\naddresses = ["{address}"]\n{settings}\n{tables}')
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [*space.prefix, PROGRAM, "-d", "-f", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    daemon = Sockd(folder, process)
    try:
        eventually(lambda: "sockd: ready" in daemon.stderr() or process.poll() is not None, within=30)
        assert "; names on" in daemon.stderr(), f"sockd answers no questions:\n{daemon.stderr()}"
        yield daemon
    except BaseException:
        daemon.kill()
        raise
    daemon.stop()


RESOLVERS: Mapping[str, Resolver] = {"straight": straight, "dnsmasq": dnsmasq, "sockd": ours}
