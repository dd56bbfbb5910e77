"""A plain Debian machine that stands where the lab has its gateway, with a card in the inside and two outside.

It has sshd, an administrator with a key and sudo, and packages in a folder of its own instead of a mirror; nothing of
ours. What it writes stays over a restart. The lab gives its cards their addresses and routes.
"""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.boot import trees
from tests.support.boot.machine import Machine, boot, lay
from tests.support.lab.build import Lab
from tests.support.lab.build import lab as build_lab
from tests.support.lab.servers import serving
from tests.support.lab.topology import GATEWAY, INSIDE, OUTSIDE_NAMES, PROXY, SPLIT_DNS
from tests.support.waiting import eventually

ADMIN = "admin"
"""Who logs in: with the key alone, and sudo without a password."""
_PROGRAMS = {"dpkg-scanpackages": "dpkg-dev", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
"""What this host must have for it, beside what the lab and its trees want, and the packages that bring it."""

_PATIENCE = 90.0
_FILES = {
    "/etc/hostname": "gateway\n",
    "/etc/hosts": "127.0.0.1 localhost\n127.0.1.1 gateway\n::1 localhost\n",
    "/etc/machine-id": "0123456789abcdef" * 2 + "\n",
    "/etc/network/interfaces": "auto lo\niface lo inet loopback\n",
    "/etc/resolv.conf": f"nameserver {OUTSIDE_NAMES}\n",
    "/etc/dpkg/dpkg.cfg.d/speed": "force-unsafe-io\n",
    f"/etc/sudoers.d/{ADMIN}": f"{ADMIN} ALL=(ALL) NOPASSWD: ALL\n",
}
_KEYS = f"/home/{ADMIN}/.ssh/authorized_keys"
_COMMON = f"""\
useradd --shell /bin/bash {ADMIN}
chown -R {ADMIN}: /home/{ADMIN}
"""
_PREPARE = {
    "systemd": _COMMON,
    # No terminals, and no scripts that care for disks and clocks, which it has not. The cards are the lab's to switch.
    "sysvinit": f"""{_COMMON}\
sed -i /getty/d /etc/inittab
sed -i s/^NETDOWN=.*/NETDOWN=no/ /etc/default/halt
find /etc/rcS.d -type l ! -name '*hostname.sh' ! -name '*networking' ! -name '*procps' -delete
find /etc/rc[06].d -type l '(' -name '*hwclock*' -o -name '*urandom' -o -name '*brightness' ')' -delete
""",
}
_ENDS = {"systemd": ("systemctl", "poweroff"), "sysvinit": ("telinit", "0")}


def missing() -> str:
    """Why there can be no bastion here, with the way out of it; empty when nothing is known to be missing."""
    if lacking := [name for name in _PROGRAMS if shutil.which(name) is None]:
        packages = sorted({_PROGRAMS[name] for name in lacking})
        return f"needs {', '.join(lacking)}: apt-get install {' '.join(packages)}"
    return trees.missing()


class Bastion:
    """Such a machine; ``key`` is the administrator's. ``machine`` is another object after a restart."""

    def __init__(self, init: str, lab: Lab, folder: Path, base: Path, key: Path) -> None:
        self.init = init
        self.lab = lab
        self.key = key
        self._folder = folder
        self._base = base
        self._stack = contextlib.ExitStack()
        self.machine = self._boot(_PREPARE[init])

    def run(self, *command: str, timeout: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """A command as root in the machine; what it printed is in ``stdout``, standard error included."""
        return self.machine.run(*command, timeout=timeout)

    def path(self, name: str) -> Path:
        """A file of the machine, seen from here."""
        return self.machine.path(name)

    def host_key(self) -> str:
        """The public key of its sshd, one line."""
        return self.path("/etc/ssh/ssh_host_ed25519_key.pub").read_text()

    def restart(self) -> None:
        """End it in order, boot it again with the files that it has, and wait until one can log in."""
        self.run(*_ENDS[self.init])
        ended = eventually(lambda: self.machine.process.poll() is not None, within=_PATIENCE, every=0.1)
        assert ended, f"the machine does not end:\n{self.machine.console()}"
        self._stack.close()
        shutil.rmtree(self._folder / "files")
        (self._folder / "files").mkdir()
        self.machine = self._boot("true")

    def close(self) -> None:
        """End it at once."""
        self._stack.close()

    def _boot(self, prepare: str) -> Machine:
        space = self.lab.spaces[GATEWAY]
        made = self._stack.enter_context(boot(self.init, self._base, self._folder, space, prepare))
        ready = eventually(self._answers, within=_PATIENCE, every=0.1)
        if not ready:
            self._stack.close()
        assert ready, f"no sshd answers on {PROXY}:\n{made.console()}"
        return made

    def _answers(self) -> bool:
        """Whether its sshd greets a client of the inside."""
        inside = self.lab.spaces[INSIDE].inside()
        with contextlib.suppress(OSError), inside, socket.create_connection((PROXY, 22), 5) as wire:
            return wire.recv(4) == b"SSH-"
        return False


@contextlib.contextmanager
def bastion(init: str, folder: Path) -> Iterator[Bastion]:
    """The lab with its servers, and such a machine in it, booted with ``init``: ``systemd`` or ``sysvinit``.

    ``folder`` is made. The clients of the inside ask the gateway for names. Skips where there are no Debian packages.
    """
    base = trees.tree(f"bastion-{init}")
    (folder / "machine" / "kept").mkdir(parents=True)
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", ADMIN, "-f", str(key)], check=True)
    lay(folder / "machine" / "files", {**_FILES, _KEYS: key.with_suffix(".pub").read_text()})
    with build_lab(SPLIT_DNS) as lab, serving(lab, folder / "servers"):
        made = Bastion(init, lab, folder / "machine", base, key)
        try:
            yield made
        finally:
            made.close()
