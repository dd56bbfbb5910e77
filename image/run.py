"""Commands, the product's version, and where the repository is: what every step of the building needs."""

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway import __version__

ROOT: Final = Path(__file__).resolve().parents[1]
"""The repository."""

VERSION: Final = __version__
NAME: Final = "multihomed-gateway"

PACKAGES: Final = {
    "ansible-playbook": "ansible-core",
    "dh": "debhelper",
    "dpkg-buildpackage": "dpkg-dev",
    "grub-mkimage": "grub-common",
    "mcopy": "mtools",
    "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mmdebstrap": "mmdebstrap",
    "objcopy": "binutils",
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "ssh-keygen": "openssh-client",
}
"""The Debian package of each program that a build runs."""


class BuildError(Exception):
    """Something could not be built; one line says what, and why."""


def run(
    command: Sequence[str | Path],
    *,
    text: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end; ``text`` is its standard input, ``env`` its whole environment. Returns what it printed.

    Raises BuildError with the last line of its standard error when it fails.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=cwd,
            env=env,
        )
    except FileNotFoundError:
        raise BuildError(_lacking([words[0]])) from None
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise BuildError(f"{shlex.join(words[:3])} ...: status {done.returncode}: {said[-1] if said else 'no word'}")
    return done.stdout


def need(*programs: str) -> None:
    """See that these programs are there. Raises BuildError, which names their packages."""
    if lacking := [name for name in programs if shutil.which(name) is None]:
        raise BuildError(_lacking(lacking))


def _lacking(programs: Sequence[str]) -> str:
    packages = sorted({PACKAGES.get(name, name) for name in programs})
    return f"{', '.join(programs)} not found; as root: apt-get install {' '.join(packages)}"
