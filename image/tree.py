"""The appliance's root file system: Debian 12 by mmdebstrap(1), the roles applied in it, and the appliance laid over.

It is made from packages alone: Debian's, and the gateway's own. What only the build needed is taken out again, and with
it all that is this host's: package sources, keys, names, logs. The disk that it goes on is not known here.
"""

import json
import os
import platform
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from image import grub, sources
from image.epoch import epoch
from image.run import ROOT, BuildError, need, run

SUITE: Final = "bookworm"
KERNEL: Final = "linux-image-amd64"
"""The kernel's package. Debian's smaller one, linux-image-cloud-amd64, has neither the AHCI disks of real hardware and
of VirtualBox nor their network cards; where only virtio, Hyper-V or VMware's own devices are met, it does."""

_COMMON: Final = (
    *("initramfs-tools", "zstd", "udev", "kmod", "e2fsprogs", "fdisk", "dbus", "python3"),
    *("openssh-server", "sudo", "ifupdown", "isc-dhcp-client", "iproute2", "iputils-ping", "netbase", "nftables"),
    *("chrony", "unattended-upgrades", "logrotate", "cron"),
    *("less", "man-db", "procps", "tcpdump", "vim-tiny"),
)
INITS: Final = {
    "systemd": ("systemd-sysv", "libpam-systemd"),
    "sysvinit": ("sysvinit-core", "initscripts", "orphan-sysvinit-scripts", "rsyslog"),
}
"""What each way to start has beside the packages of both. With systemd the journal is the log, and keeps itself small,
which a syslog daemon's files do not. Some services have their init.d script in
orphan-sysvinit-scripts since they left it out of their own packages."""

_EXAMPLE: Final = "usr/share/doc/apt/examples/sources.list"
"""Debian's public sources, as apt's own package tells them."""

_WORK: Final = "var/tmp/image"

_EMPTIED: Final = (
    *("etc/ssh/ssh_host_*", "etc/.pwd.lock", "etc/*-", "root/.ansible", "root/.cache", "root/.wget-hsts"),
    *(
        "var/lib/apt/lists/*",
        "var/cache/apt/*",
        "var/cache/ldconfig/*",
        "var/cache/debconf/*-old",
        "var/lib/dpkg/*-old",
    ),
    *("var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/urandom/*", "var/log/journal/*"),
    *("var/lib/chrony/*", "var/lib/dhcp/*", "etc/apt/apt.conf.d/99mmdebstrap", "etc/apt/sources.list.d/*"),
    # It looks through volumes of LVM, of which there are none, and takes seconds of each start.
    "etc/systemd/system/*.wants/e2scrub_*",
    # The kernel before the last upgrade: there is none.
    *("vmlinuz.old", "initrd.img.old", "tmp/*", "var/tmp/*", "run/*"),
)
"""What a build leaves and no machine may have, or what each machine makes for itself."""

_FAULTS: Final = ("fatal:", "ERROR", "[ERROR]", "E:")
"""How a line begins that says why a build failed; Ansible says the reason in the lines behind it."""

_HOSTS: Final = "127.0.0.1\tlocalhost\n127.0.1.1\tgateway\n::1\tlocalhost ip6-localhost ip6-loopback\n"

_APT: Final = """\
// What is recommended is not installed: the appliance has what it needs.
APT::Install-Recommends "false";
Acquire::Languages "none";
"""


def build(
    folder: Path,
    deb: Path,
    *,
    init: str = "systemd",
    extra: Sequence[str] = (),
    playbook_vars: Mapping[str, object] | None = None,
    kernel: str = KERNEL,
    source: Path = ROOT,
) -> Path:
    """Make ``folder``/root, and return it: the tree of an appliance that has never started.

    ``deb`` is the gateway's package, ``extra`` names more packages of Debian, ``playbook_vars`` are variables for
    ansible/image.yml; that and image/appliance are those of the repository ``source``. ansible-core is in the tree
    only if ``extra`` names it. Raises BuildError. Needs root and Debian's package sources.
    """
    need("mmdebstrap", "apt-get")
    _see(deb, init, source)
    folder.mkdir(parents=True, exist_ok=True)
    made, work, log = folder / "root", folder / "work", folder / "build.log"
    for old in (made, work):
        shutil.rmtree(old, ignore_errors=True)
    _fill(work, deb, source, playbook_vars or {})
    moment = epoch()
    packages = (*INITS[init], *_COMMON, kernel, *extra)
    options = [*_options(packages, manuals(source)), *_hooks(work, log)]
    command: list[str | Path] = ["mmdebstrap", *options, SUITE, made, *sources.lines(SUITE)]
    try:
        run(command, env={**os.environ, "SOURCE_DATE_EPOCH": str(moment), "DEBIAN_FRONTEND": "noninteractive"})
    except BuildError as error:
        raise BuildError(f"{error}{_reason(log)}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    clean(made)
    _clamp(made, moment)
    return made


def manuals(source: Path) -> tuple[str, ...]:
    """The file names of our own man pages, which stay although Debian's are left out."""
    return tuple(sorted(page.name for page in (source / "gateway" / "man").glob("*.[1-9]")))


def clean(tree: Path) -> None:
    """Take out of a tree what the build left, and write what each machine begins with.

    Raises BuildError when apt's package has no example of sources.
    """
    public = public_sources(tree)
    for pattern in _EMPTIED:
        for path in tree.glob(pattern):
            _remove(path)
    for path in (tree / "var/log").rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.truncate(path, 0)
    kept = tree / "etc/dpkg/dpkg.cfg.d"
    if (kept / "99mmdebstrap").exists():
        (kept / "99mmdebstrap").rename(kept / "appliance")
    texts = {
        "etc/apt/sources.list": public,
        "etc/apt/apt.conf.d/10appliance-packages": _APT,
        "etc/hostname": "gateway\n",
        "etc/machine-id": "",
        # resolv.conf(5): with no name server said it is this host; sockd wants it said.
        "etc/resolv.conf": "nameserver 127.0.0.1\n",
        str(grub.MENU): grub.menu(),
    }
    if not (tree / "etc/hosts").exists():
        texts["etc/hosts"] = _HOSTS
    for name, text in texts.items():
        _put(tree / name, text)
    (tree / "state").mkdir(exist_ok=True)


def public_sources(tree: Path) -> str:
    """The text of a sources.list(5) with Debian's public mirrors, its free packages only. Raises BuildError."""
    example = tree / _EXAMPLE
    words = [line.split() for line in example.read_text().splitlines()] if example.exists() else []
    found = [f"deb {line[1]} {line[2]} main" for line in words if line[:1] == ["deb"] and "main" in line[3:]]
    if not found:
        raise BuildError(f"/{_EXAMPLE} of the tree names no sources to give to the appliance")
    return "\n".join(found) + "\n"


def _see(deb: Path, init: str, source: Path) -> None:
    if os.geteuid() != 0:
        raise BuildError("a tree has files of several users: run this as root")
    if platform.machine() != "x86_64":
        raise BuildError(f"the appliance is for amd64, and this host is {platform.machine()}")
    if init not in INITS:
        raise BuildError(f"no init system {init}; there are {' and '.join(INITS)}")
    for needed in (deb, source / "ansible" / "image.yml", source / "image" / "appliance" / "install.sh"):
        if not needed.is_file():
            raise BuildError(f"{needed} is not there, and the appliance is built from it")


def _fill(work: Path, deb: Path, source: Path, more: Mapping[str, object]) -> None:
    """The folder that goes into the tree for the time of the build."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".ansible")
    shutil.copytree(source / "ansible", work / "ansible", ignore=ignored)
    shutil.copytree(source / "image" / "appliance", work / "appliance", symlinks=True, ignore=ignored)
    shutil.copy(deb, work / deb.name)
    shutil.copy(Path(__file__).with_suffix(".sh"), work / "tree.sh")
    variables = {"gateway_package": f"/{_WORK}/{deb.name}", "gateway_running": False, **more}
    _put(work / "variables.json", json.dumps(variables))
    # Others may be in the variables' file what no other user should read.
    work.chmod(0o755)
    (work / "variables.json").chmod(0o600)


def _options(packages: Sequence[str], pages: Sequence[str]) -> list[str]:
    """Of mmdebstrap; what dpkg leaves out it leaves out in the upgrades of the appliance too."""
    kept = ["/usr/share/doc/*/copyright", f"/{_EXAMPLE}", *(f"/usr/share/man/man*/{page}.gz" for page in pages)]
    left_out = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*"]
    return [
        *("--mode=root", "--variant=minbase", "--quiet", "--format=directory"),
        *('--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"', *sources.settings()),
        *(f"--dpkgopt=path-exclude={path}" for path in left_out),
        *(f"--dpkgopt=path-include={path}" for path in kept),
        f"--include={','.join(packages)}",
    ]


def _hooks(work: Path, log: Path) -> list[str]:
    inside = shlex.join(["sh", f"/{_WORK}/tree.sh", f"/{_WORK}", f"/{grub.LOADER}", *grub.PACKAGES])
    return [
        f'--customize-hook=cp -a {shlex.quote(str(work))} "$1/{_WORK}"',
        f'--customize-hook=chroot "$1" {inside} >{shlex.quote(str(log))} 2>&1',
    ]


def _reason(log: Path) -> str:
    """What the log says of the failure, or nothing."""
    text = log.read_text(errors="replace") if log.exists() else ""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [number for number, line in enumerate(said) if line.startswith(_FAULTS)]
    return "".join(f"; {' '.join(said[number : number + 4])[:600]}" for number in (telling or [len(said) - 1])[-1:])


def _put(path: Path, text: str) -> None:
    """Write a file of a tree; a link there, which may point out of the tree, is not followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()
    path.write_text(text)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _clamp(tree: Path, moment: int) -> None:
    """Nothing is younger than the source: times of the build itself would make every build another one.

    What Python has compiled stays good: where SOURCE_DATE_EPOCH is set, as it is here, it goes by a sum, not by a time.
    """
    for folder, folders, names in os.walk(tree, topdown=False):
        for path in (*(os.path.join(folder, name) for name in (*folders, *names)), folder):
            if os.lstat(path).st_mtime > moment:
                os.utime(path, (moment, moment), follow_symlinks=False)
