"""The running playground as both its parts know it: its folder, its hosts, its daemon.

The folder holds the settings, the log, and what the ``lab`` command of the prompt has to find: the names of the
namespaces and the daemon's process.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.support import proc
from tests.support.daemon import PROGRAM, password_entry
from tests.support.lab.build import Lab
from tests.support.lab.topology import SPLIT_DNS
from tests.support.netns import Namespace
from tests.support.waiting import eventually

_FILES = ("gateway.toml", "sockd.conf", "sockd.route")
_USERS = ("fred", "ops")
_HERE = Path(__file__).resolve().parent


class Ground:
    """A playground in its folder."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        self.folder = folder
        self.lab = lab

    @property
    def log(self) -> Path:
        """Everything that the daemon said."""
        return self.folder / "sockd.log"

    def start_sockd(self) -> str:
        """Start the daemon and wait until it is ready or has given up; returns what it said."""
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            daemon = subprocess.Popen(
                [*self.lab.spaces["gateway"].prefix, PROGRAM, "-d", "-f", str(self.folder / "gateway.toml")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        (self.folder / "sockd.pid").write_text(str(daemon.pid))

        def said() -> str:
            return self.log.read_bytes()[before:].decode(errors="replace")

        eventually(lambda: "sockd: ready" in said() or daemon.poll() is not None, within=30)
        return said().strip()

    def stop_sockd(self) -> None:
        """End the daemon, whoever started it, with all that belongs to it."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pid = int((self.folder / "sockd.pid").read_text())
            (self.folder / "sockd.pid").unlink()
            os.kill(pid, signal.SIGTERM)
            if not eventually(lambda: not proc.session_members(pid), within=5):
                for left in proc.session_members(pid):
                    os.kill(left, signal.SIGKILL)


def lay_out(folder: Path, lab: Lab) -> Ground:
    """Put the files of a new playground into its folder, which is there and empty."""
    for name in _FILES:
        shutil.copyfile(_HERE / name, folder / name)
    passwords = folder / "passwords"
    passwords.write_text("".join(password_entry(user, user) for user in _USERS))
    passwords.chmod(0o600)
    names = {host: space.name for host, space in lab.spaces.items()}
    (folder / "hosts.json").write_text(json.dumps(names))
    return Ground(folder, lab)


def find(folder: Path) -> Ground:
    """The playground that runs in a folder. Raises FileNotFoundError."""
    names = json.loads((folder / "hosts.json").read_text())
    return Ground(folder, Lab(SPLIT_DNS, {host: Namespace(name) for host, name in names.items()}))
