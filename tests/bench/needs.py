"""Foreign programs that the benchmark needs, and how they come onto a Debian machine.

Knows packages and paths; knows nothing of what the programs are used for.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable

from tests.bench.errors import BenchError

#: program -> the Debian packages that bring it; libc6-dev is the headers that gcc only recommends
PACKAGES = {
    "cc": ("gcc", "libc6-dev"),
    "microsocks": ("microsocks",),
    "danted": ("dante-server",),
    "dnsperf": ("dnsperf",),
    "dnsmasq": ("dnsmasq-base",),
    "unbound": ("unbound",),
    "nsd": ("nsd",),
}

#: daemons live in sbin, which is not in the PATH of an ordinary user
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))

_APT = ("apt-get", "--yes", "--quiet=2", "--no-install-recommends", "install")


def find(program: str) -> str | None:
    """Path of an installed program, or None."""
    return shutil.which(program, path=_PATH)


def ensure(programs: Iterable[str]) -> None:
    """Install what is missing, as root; BenchError names the packages when that is not possible."""
    missing = [program for program in programs if find(program) is None]
    if not missing:
        return
    packages = [package for program in missing for package in PACKAGES[program]]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchError(f"{', '.join(missing)} not found; install the Debian packages: {' '.join(packages)}")
    print(f"installing {' '.join(packages)}", flush=True)
    _install(packages)


def _install(packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run([*_APT, *packages], env=environment, capture_output=True).returncode == 0:
        return
    # a fresh machine has no package lists yet
    subprocess.run(["apt-get", "--quiet=2", "update"], env=environment, capture_output=True)
    done = subprocess.run([*_APT, *packages], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise BenchError(f"cannot install {' '.join(packages)}: {reason}")
