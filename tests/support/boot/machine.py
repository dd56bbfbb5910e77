"""One booted machine: its files, its processes, its network, and commands that are run in it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support import proc
from tests.support.boot.trees import ROOT, tree
from tests.support.netns import Namespace, namespace
from tests.support.peers import Peer, echo
from tests.support.rawsocks import Wire
from tests.support.waiting import eventually

PACKAGE = ROOT / "gateway"
_SCRIPT = Path(__file__).with_name("boot.sh")
_PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_BOOTS = {
    "systemd": ("unshare", "--mount", "--propagation", "private"),
    "sysvinit": (
        *("nsenter", "--net=/run/netns/{space}", "unshare", "--mount", "--propagation", "private"),
        *("--pid", "--fork", "--kill-child", "--ipc", "--uts"),
    ),
}
"""How boot.sh is called; systemd-nspawn makes most of the namespaces itself."""

PORT = 1080

_PROGRAM = """\
#!/usr/local/lib/sockd/venv/bin/python
import sys
sys.path.insert(0, "/usr/local/lib/sockd")
from gateway.cli.{name} import main
main()
"""


class Machine:
    """A machine whose init runs; ``first`` is the number of that process here, outside."""

    def __init__(self, space: Namespace, process: "subprocess.Popen[bytes]", first: int, console: Path) -> None:
        self.space = space
        self.process = process
        self.first = first
        self._console = console

    def run(self, *command: str, timeout: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """A command as root in the machine; what it printed is in ``stdout``, standard error included."""
        return subprocess.run(
            ["nsenter", "--target", str(self.first), "--all", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_PATH,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
        )

    def path(self, name: str) -> Path:
        """A file of the machine, seen from here."""
        return Path(f"/proc/{self.first}/root") / name.removeprefix("/")

    def console(self) -> str:
        """What was printed on its console."""
        return self._console.read_text(errors="replace")

    def processes(self, word: str) -> list[int]:
        """Its live processes, by their numbers here, whose names or command lines hold this word."""
        found = []
        for pid in proc.tree(self.first):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if word in f"{proc.name(pid)} {line}":
                    found.append(pid)
        return found

    def connect(self) -> Wire:
        """A connection to its proxy port, from its own loopback. Raises ConnectionRefusedError."""
        with self.space.inside():
            return Wire(PORT)

    def end(self) -> None:
        """At once, with all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.first, signal.SIGKILL)
        self.process.wait(30)


@contextlib.contextmanager
def machine(init: str, folder: Path, files: Mapping[str, str], prepare: str) -> Iterator[Machine]:
    """Boot one; ``files`` are laid over the tree, path -> text, executable if it begins as a script does.

    ``prepare`` is a shell command that runs in the tree before. The programs ``sockd`` and ``sockctl`` are this tree's.
    """
    programs = {f"/usr/sbin/{name}": _PROGRAM.format(name=name) for name in ("sockd", "sockctl")}
    lay(folder / "files", {**programs, **files})
    shown = (str(PACKAGE), sys.prefix)
    with namespace(label="boot") as space, boot(init, tree(init), folder, space, prepare, shown) as made:
        yield made


@contextlib.contextmanager
def boot(
    init: str, base: Path, folder: Path, space: Namespace, prepare: str, shown: tuple[str, str] = ("", "")
) -> Iterator[Machine]:
    """Boot the tree ``base`` in a network namespace, with what `lay` put into the sub-folder files laid over it.

    What it writes is gone at its end, unless ``folder`` has a sub-folder kept: then the next boot finds it there.
    ``shown`` are this tree's package and the virtual environment for it; empty: the machine has none of ours.
    """
    with open(folder / "console", "ab") as console:
        process = subprocess.Popen(
            [
                *(word.format(space=space.name) for word in _BOOTS[init]),
                *("sh", str(_SCRIPT), init, str(base), str(folder), *shown, space.name, prepare),
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_PATH},
        )
        try:
            first = eventually(lambda: _first(process), within=60)
            assert first, f"the machine does not boot:\n{(folder / 'console').read_text(errors='replace')}"
            made = Machine(space, process, first, folder / "console")
            yield made
            made.end()
        finally:
            process.kill()
            process.wait(30)


def lay(folder: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder that stands for the root of a machine; executable if they begin as a script does."""
    folder.mkdir(parents=True, mode=0o755)
    for name, text in files.items():
        path = folder / name.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)


def _first(process: "subprocess.Popen[bytes]") -> int:
    """The process that is the first in its pid namespace, once it is an init; 0 until then."""
    assert process.poll() is None, "the boot failed; its console says why"
    for pid in proc.tree(process.pid):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and numbers[-1] == "1" and proc.name(pid) in ("systemd", "init"):
                return pid
    return 0


@contextlib.contextmanager
def target(machine: Machine) -> Iterator[Peer]:
    """A server on the machine's own loopback, which answers with what it is sent."""
    with machine.space.inside():
        peer = Peer(echo)
    with peer:
        yield peer
