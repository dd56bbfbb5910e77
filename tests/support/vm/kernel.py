"""The kernel of an appliance's disk, taken out of it: started as by a network, without a boot loader.

Read by debugfs(8) at the place of the root partition; nothing is mounted.
"""

import json
import subprocess
from pathlib import Path

from image.grub import ARGUMENTS
from image.layout import ROOT, SECTOR
from tests.support.vm.machine import Kernel


def kernel(raw: Path, folder: Path, *arguments: str) -> Kernel:
    """The kernel of a raw disk and its initramfs, copied into a folder; these arguments come after the boot menu's."""
    table = json.loads(_run("/usr/sbin/sfdisk", "--json", str(raw)))["partitiontable"]["partitions"]
    (start,) = (entry["start"] * SECTOR for entry in table if entry["name"] == ROOT)
    disk = f"{raw}?offset={start}"
    # /inode/mode/user/group/name/size/
    names = [line.split("/")[5] for line in _run(_DEBUGFS, "-R", "ls -p /boot", disk).splitlines() if line]
    image, initrd = (_copied(disk, name, names, folder) for name in ("vmlinuz-", "initrd.img-"))
    return Kernel(image, initrd, " ".join((ARGUMENTS, *arguments)))


_DEBUGFS = "/usr/sbin/debugfs"


def _copied(disk: str, start: str, names: list[str], folder: Path) -> Path:
    (name,) = (name for name in names if name.startswith(start))
    copy = folder / name
    _run(_DEBUGFS, "-R", f'dump /boot/{name} "{copy}"', disk)
    assert copy.stat().st_size, f"{name} is not on the disk {disk}"
    return copy


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
