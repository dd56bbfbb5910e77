"""Vagrant and a libvirt of its own, in namespaces that take everything of theirs along when they end.

Machines, bridges, packet filters, sockets, images, boxes and Vagrant's own notes all lie in one folder or in those
namespaces, so a libvirt of the host is neither used nor disturbed.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support import proc
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = Path(__file__).with_name("ground.sh")
_PROGRAMS = ("unshare", "nsenter", "vagrant", "libvirtd", "virtlogd", "virsh", "dnsmasq", "dbus-daemon", "script")
_INSTALL = (
    "apt-get install vagrant vagrant-libvirt libvirt-daemon-system libvirt-clients qemu-system-x86 dnsmasq-base dbus"
)


def missing() -> str:
    """Why Vagrant can bring nothing up here, with the way out of it; empty when nothing is known to be missing."""
    if os.geteuid() != 0:
        return "needs root, for a libvirt in namespaces of its own; `sudo make test-full` runs it"
    if lacking := [name for name in _PROGRAMS if shutil.which(name) is None]:
        return f"needs {', '.join(lacking)}: {_INSTALL}"
    plugins = subprocess.run(
        ["vagrant", "plugin", "list"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return "" if "vagrant-libvirt" in plugins.stdout else f"needs Vagrant's plugin for libvirt: {_INSTALL}"


class Ground:
    """Where libvirt runs; ``first`` is the number of the namespaces' first process here, outside."""

    def __init__(self, first: int, folder: Path) -> None:
        self.first = first
        self.log = folder / "ground.log"
        self._environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "TERM": "xterm",
            "VAGRANT_HOME": str(folder / "home"),
            "VAGRANT_DOTFILE_PATH": str(folder / "machines"),
            "VAGRANT_CWD": str(ROOT),
            "VAGRANT_NO_COLOR": "1",
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
            "GATEWAY_DRIVER": "qemu",
        }

    def popen(self, *command: str) -> "subprocess.Popen[str]":
        """Start a command there; what it prints, standard error included, is in its pipe."""
        return subprocess.Popen(
            ["nsenter", "--target", str(self.first), "--net", "--mount", "--pid", "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            text=True,
            errors="replace",
        )

    def run(self, *command: str, timeout: float, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command there to its end; what it printed is in ``stdout``, each state of a progress line in a line.

        Raises subprocess.TimeoutExpired, with what it had printed, which is shown too.
        """
        with self.popen(*command) as process:
            try:
                said, _ = process.communicate(text, timeout)
            except subprocess.TimeoutExpired as late:
                end(process)
                said, _ = process.communicate()
                print(f"{shlex.join(command)} did not end in {timeout:.0f} s; it had said:\n{said}")
                raise subprocess.TimeoutExpired(command, timeout, said) from late
        return subprocess.CompletedProcess(command, process.returncode, said.replace("\r", "\n"))

    def vagrant(self, *words: str, timeout: float = 600.0) -> str:
        """Run vagrant; what it printed. The caller's assert shows it: see ``succeeded`` for one that must go well."""
        return self.run("vagrant", *words, timeout=timeout).stdout

    def succeeded(self, *words: str, timeout: float = 600.0) -> str:
        """Run vagrant; what it printed, but for progress. Asserts that its status was 0."""
        done = self.run("vagrant", *words, timeout=timeout)
        said = "\n".join(line for line in done.stdout.splitlines() if "Progress: " not in line)
        assert done.returncode == 0, said
        return said


def end(process: "subprocess.Popen[str]") -> None:
    """Kill a command and all that it has started: what is left over would keep its pipe open."""
    for pid in proc.tree(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """A libvirt that answers. With the context, all its machines end, however they are."""
    folder.mkdir(parents=True)
    command: Sequence[str | Path] = (
        *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"),
        *("sh", _SCRIPT, folder),
    )
    with open(folder / "ground.log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        family = eventually(lambda: proc.tree(process.pid)[1:2], within=30.0)
        assert family, "unshare has started nothing"
        made = Ground(family[0], folder)

        def answers() -> bool:
            return made.run("virsh", "-c", "qemu:///system", "list", timeout=60.0).returncode == 0

        assert eventually(answers, within=120.0, every=0.5), (folder / "ground.log").read_text()
        yield made
        gone = Path(f"/proc/{made.first}")
    finally:
        # with it goes the first process of the namespaces, and with that all others
        process.kill()
        process.wait()
    assert eventually(lambda: not gone.exists(), within=60.0), f"process {made.first} outlives its namespaces"
