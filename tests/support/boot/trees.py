"""Debian trees for the machines: made once by mmdebstrap from the host's own package sources, and kept in build/trees.

A tree is named after what went into it, so that a change here makes another one. It has nothing of ours in it, and
nobody writes into it.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from image import sources
from image.run import BuildError

ROOT = Path(__file__).resolve().parents[3]
TREES = ROOT / "build" / "trees"

_COMMON = ("python3", "iproute2", "netbase", "procps")
_BASTION = ("ifupdown", "openssh-server", "sudo", *_COMMON)
PACKAGES = {
    "systemd": ("systemd-sysv", "systemd-resolved", *_COMMON),
    "sysvinit": ("sysvinit-core", "initscripts", *_COMMON),
    "bastion-systemd": ("systemd-sysv", "dbus", *_BASTION),
    "bastion-sysvinit": ("sysvinit-core", "initscripts", "orphan-sysvinit-scripts", *_BASTION),
}
"""What each kind of machine has beside what every Debian has."""

_OPTIONS = (
    "--mode=root",
    "--variant=minbase",
    "--quiet",
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
)
OFFERED = (
    *("chrony", "cron", "logrotate", "nftables", "python3-apt", "python3-venv", "rsyslog", "systemd-timesyncd"),
    "unattended-upgrades",
)
"""What a bastion can install without a network: it has these packages, and what they depend on, in /srv/debs."""
# One by one, as some of them exclude each other.
_FETCH = f"""\
set -e
mkdir "$1/srv/debs"
for name in {" ".join(OFFERED)}; do
    chroot "$1" apt-get --quiet --yes --download-only -o Dir::Cache::archives=/srv/debs install "$name" >&2
done
rm -rf "$1/srv/debs/partial" "$1/srv/debs/lock" "$1"/etc/apt/sources.list.d/*
(cd "$1/srv/debs" && dpkg-scanpackages --multiversion . >Packages)
echo "deb [trusted=yes] file:/srv/debs ./" >"$1/etc/apt/sources.list"
chroot "$1" apt-get --quiet update >&2
"""
_HOOKS = {
    "bastion-systemd": (f"--customize-hook={_FETCH}",),
    "bastion-sysvinit": (f"--customize-hook={_FETCH}",),
    "systemd": ('--customize-hook=chroot "$1" systemctl disable systemd-resolved; rm -f "$1/etc/resolv.conf"',),
}
"""What is changed in a new tree: what its packages have put in effect, and only few tests want."""


def missing(*programs: str) -> str:
    """Why no machine can be booted here, with the way out of it; empty when nothing is known to be missing."""
    if os.geteuid() != 0:
        return "needs root, for namespaces and trees of other machines; `sudo make test` runs it"
    if lacking := [name for name in ("mmdebstrap", "nsenter", "unshare", *programs) if shutil.which(name) is None]:
        return f"needs {', '.join(lacking)}: apt-get install mmdebstrap systemd-container util-linux"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "needs overlayfs in the kernel: modprobe overlay"
    if not Path("/etc/debian_version").exists() or platform.freedesktop_os_release().get("ID") != "debian":
        return "needs Debian's package sources; a Debian host runs it"
    if sys.base_prefix != "/usr":
        return f"the machines have Debian's Python, and this one is of {sys.base_prefix}; make PYTHON=/usr/bin/python3"
    return ""


def tree(kind: str) -> Path:
    """The folder of such a tree, made if it is not there yet. Skips the test where the mirror can not be reached."""
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    options = (*_OPTIONS, *_HOOKS.get(kind, ()), f"--include={','.join(PACKAGES[kind])}", *sources.settings())
    command = ["mmdebstrap", *options, suite]
    lines = _sources(suite)
    key = hashlib.sha256("\0".join([*command, *lines]).encode()).hexdigest()[:12]
    TREES.mkdir(parents=True, exist_ok=True)
    made = TREES / f"{kind}-{key}"
    with open(TREES / f"{kind}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be making it now
        if not made.exists():
            _make([*command, f"{made}.new", *lines], made)
    return made


def _make(command: Sequence[str], made: Path) -> None:
    new = Path(f"{made}.new")
    shutil.rmtree(new, ignore_errors=True)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(new, ignore_errors=True)
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        pytest.skip(f"mmdebstrap made no Debian tree ({' '.join(last)}); where a Debian mirror is at hand it does")
    new.rename(made)


def _sources(suite: str) -> list[str]:
    """The host's sources of this release; skips the test where there are none."""
    try:
        return sources.lines(suite)
    except BuildError as error:
        pytest.skip(f"no machine can be made here: {error}")
