"""Log in to a virtual machine by ssh(1) from a host of the lab, with a key that is made for it."""

import contextlib
import os
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.lab.machines import Outcome
from tests.support.netns import Namespace

#: of ssh itself, as distinct from what the command there ended with
LOST = 255
_PORT = 22


class Shell:
    """Commands as root on a machine; the first one connects, those after it take the same connection.

    A connection whose machine has gone without a word is noticed in seconds, and the next command makes a new one.
    """

    def __init__(self, space: Namespace, user: str, address: str, key: Path, folder: Path) -> None:
        self._where = f"{user}@{address}"
        self._user, self._space, self._address = user, space, address
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "60",
            "ControlMaster": "auto",
            "ControlPath": f"{folder}/%C",
            "ControlPersist": "yes",
            "IdentitiesOnly": "yes",
            "IdentityFile": str(key),
            "LogLevel": "ERROR",
            "ServerAliveCountMax": "4",
            "ServerAliveInterval": "5",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        written = (word for name, value in options.items() for word in ("-o", f"{name}={value}"))
        self._ssh = (*space.prefix, "ssh", "-F", "none", *written)

    def run(self, *command: str, within: float = 600.0, text: str = "") -> Outcome:
        """Run a command to its end; ``text`` is its standard input. Its status is `LOST` when there is no connection.

        Raises subprocess.TimeoutExpired.
        """
        words = command if self._user == "root" else ("sudo", "-n", "--", *command)
        done = subprocess.run(
            [*self._ssh, self._where, shlex.join(words)],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def sh(self, script: str, within: float = 600.0) -> Outcome:
        """Run a line of shell."""
        return self.run("sh", "-c", script, within=within)

    def greets(self, within: float = 3.0) -> bool:
        """Whether somebody at its port greets as ssh does (RFC 4253 §4.2), in so many seconds.

        Asked before the machine is up, ssh itself could wait for long between two of its attempts.
        """
        with contextlib.suppress(OSError):
            with self._space.inside():
                line = socket.create_connection((self._address, _PORT), within)
            with line:
                line.settimeout(within)
                return line.recv(4) == b"SSH-"
        return False

    def forget(self) -> None:
        """Leave the connection, as the machine at its far end is about to go or has gone."""
        subprocess.run([*self._ssh, "-O", "exit", self._where], capture_output=True, timeout=60, check=False)


@contextlib.contextmanager
def shell(space: Namespace, user: str, address: str, key: Path) -> Iterator[Shell]:
    """A shell whose connection, if it has one, ends with the block."""
    with tempfile.TemporaryDirectory(prefix="ssh-") as folder:
        made = Shell(space, user, address, key, Path(folder))
        try:
            yield made
        finally:
            made.forget()


def new_key(folder: Path) -> tuple[Path, str]:
    """A new key: its secret half's file, and its public half as a line of authorized_keys."""
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "key"
    made: Sequence[str] = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", os.fspath(secret))
    subprocess.run(made, check=True, stdin=subprocess.DEVNULL)
    return secret, secret.with_suffix(".pub").read_text().strip()
