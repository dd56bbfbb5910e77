"""Network namespaces (ip-netns(8)) for tests that need networks of their own: named, with a resolv.conf, then gone.

A test's threads stay where they are: a socket belongs for ever to the namespace in which it was made, so `inside` only
has to hold while a socket is made. Processes are started through `Namespace.prefix`.
"""

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

_FILES = Path("/etc/netns")
_MARK = "gwtest"
_CLONE_NEWNET = 0x4000_0000
_counter = itertools.count()

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="needs root and iproute2 for network namespaces; `sudo make test` on a host with iproute2 runs it",
)


class Namespace:
    """A namespace that exists; ``prefix`` runs a command in it, with its own files under /etc."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = ("ip", "netns", "exec", name)

    def ip(self, *arguments: str) -> None:
        """``ip -n NAME ...``; raises CalledProcessError with what ip said."""
        _run("ip", "-n", self.name, *arguments)

    def sysctl(self, name: str, value: str) -> None:
        """Set a value under /proc/sys/net of this namespace; ``name`` with slashes."""
        with self.inside():
            Path(f"/proc/sys/net/{name}").write_text(value)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread makes its sockets in this namespace (setns(2))."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())


def _setns(descriptor: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@contextlib.contextmanager
def namespace(files: Mapping[str, str] | None = None, label: str = "") -> Iterator[Namespace]:
    """A new namespace with its loopback up; ``files`` are names and texts that stand in for those of /etc.

    ``label`` ends its name, for people who look at a list of them. Whatever happens inside, the namespace, its files
    and the processes still in it are removed.
    """
    _sweep()
    space = Namespace("-".join(filter(None, (_MARK, str(os.getpid()), str(next(_counter)), label))))
    try:
        _add(space.name)
        space.ip("link", "set", "lo", "up")
        folder = _FILES / space.name
        folder.mkdir(parents=True)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        yield space
    finally:
        _remove(space.name)


def _add(name: str) -> None:
    try:
        _run("ip", "netns", "add", name)
    except RuntimeError as refusal:
        pytest.skip(f"this host lets not even root make network namespaces ({refusal}); a virtual machine runs it")


def _remove(name: str) -> None:
    """Processes first, so that nothing holds the namespace; each step runs even if the one before had nothing to do."""
    held = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in held.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    shutil.rmtree(_FILES / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        _FILES.rmdir()


def _sweep() -> None:
    """Remove what a test run left that was killed: namespaces of ours whose process is no more."""
    for left in {*_names(Path("/run/netns")), *_names(_FILES)}:
        owner = left.split("-")[1]
        if not Path(f"/proc/{owner}").exists():
            _remove(left)


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.glob(f"{_MARK}-*")] if folder.is_dir() else []


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def join(left: Namespace, right: Namespace, left_addresses: tuple[str, ...], right_addresses: tuple[str, ...]) -> None:
    """A cable between two namespaces: device ``out0`` on the left, ``wan0`` on the right, with addresses CIDR."""
    _run("ip", "-n", left.name, "link", "add", "out0", "type", "veth", "peer", "name", "wan0", "netns", right.name)
    for space, device, addresses in ((left, "out0", left_addresses), (right, "wan0", right_addresses)):
        for address in addresses:
            space.ip("addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        space.ip("link", "set", device, "up")
