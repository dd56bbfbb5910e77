"""The appliance's disk, made in a plain file from a tree: it boots by BIOS and by UEFI.

No loop device, no mount, no support for partitions or vfat in the kernel: every program writes at an offset of the
file. What is in the tree, and what happens when it boots, is not known here.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from image import grub, layout
from image.epoch import epoch
from image.layout import ESP, ROOT, SECTOR, STATE_NAME, Partition
from image.run import VERSION, BuildError, need, run

_FORMATS: Final = {
    ".qcow2": ("-O", "qcow2", "-c"),
    ".vmdk": ("-O", "vmdk", "-o", "subformat=streamOptimized"),
}
"""The options of qemu-img(1) by the name's ending."""

# Those that GRUB 2.06 or the e2fsck of Debian 12 do not know are off, whatever the build host's own defaults are.
_FEATURES: Final = "^metadata_csum_seed,^orphan_file"


def build(tree: Path, raw: Path) -> None:
    """Write the disk of a tree that ``image.tree.build`` made. Raises BuildError; then there is no file.

    Owners, modes, hard links and extended attributes are kept, so it needs to be root.
    """
    need("sfdisk", "mke2fs", "mkfs.vfat", "mmd", "mcopy", "grub-mkimage")
    if os.geteuid() != 0:
        raise BuildError("the files of a tree belong to several users: run this as root")
    partitions = layout.table(used(tree))
    by_name = {partition.name: partition for partition in partitions}
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.unlink(missing_ok=True)
    new = raw.with_name(f"{raw.name}.new")
    new.unlink(missing_ok=True)
    moment = epoch()
    try:
        with open(new, "xb") as file:
            file.truncate(layout.length(partitions))
        run(["sfdisk", "--quiet", new], text=layout.script(partitions, VERSION))
        layout.check(partitions, run(["sfdisk", "--json", new]))
        with tempfile.TemporaryDirectory(prefix="disk-", dir=raw.parent) as work:
            _efi(tree, new, by_name[ESP], Path(work), moment)
            _bios(tree, new, by_name[layout.BIOS], Path(work))
        _ext4(new, by_name[ROOT], moment, "-d", str(tree))
        _ext4(new, by_name[STATE_NAME], moment)
        new.rename(raw)
    finally:
        new.unlink(missing_ok=True)


def convert(raw: Path, target: Path) -> None:
    """Write a raw disk in another format, which the name's ending says: .qcow2, compressed, or .vmdk, streamOptimized.

    Raises BuildError.
    """
    if (options := _FORMATS.get(target.suffix)) is None:
        raise BuildError(f"{target.name}: the name must end in one of {' '.join(sorted(_FORMATS))}")
    new = target.with_name(f"{target.name}.new")
    try:
        run(["qemu-img", "convert", "-f", "raw", *options, raw, new])
        new.rename(target)
    finally:
        new.unlink(missing_ok=True)


def used(tree: Path) -> int:
    """Bytes that the files of a tree take on a disk of 4096-byte blocks, what has several names counted once."""
    seen: set[int] = set()
    total = 0
    for folder, _, names in os.walk(tree):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            status = os.lstat(path)
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += 4096 + -(-status.st_size // 4096) * 4096 * (not os.path.islink(path))
    return total


def _environment(moment: int) -> Mapping[str, str]:
    own = {"TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
    return {**os.environ, "SOURCE_DATE_EPOCH": str(moment), "E2FSPROGS_FAKE_TIME": str(moment), **own}


def _efi(tree: Path, disk: Path, esp: Partition, work: Path, moment: int) -> None:
    """The EFI system partition: Debian's shim by the name that a firmware looks for, and GRUB beside it."""
    serial = f"{layout.identifier('file system esp', VERSION).fields[0]:08x}"
    # FAT32 is what the UEFI wants of a fixed disk; of this size it has clusters of one sector.
    form = ["-F", "32", "-s", "1", "-n", esp.label, "-i", serial, "--invariant"]
    run(["mkfs.vfat", *form, "--offset", str(esp.start // SECTOR), disk, str(esp.size // 1024)])
    config = work / "grub.cfg"
    config.write_text(grub.first("hd0,gpt3"))
    files = {
        "EFI/BOOT/BOOTX64.EFI": tree / grub.LOADER / grub.SHIM,
        f"EFI/BOOT/{grub.EFI}": tree / grub.LOADER / grub.EFI,
        # The folder that is built into Debian's signed GRUB.
        "EFI/debian/grub.cfg": config,
    }
    at, environment = f"{disk}@@{esp.start}", _environment(moment)
    run(["mmd", "-i", at, "::/EFI", "::/EFI/BOOT", "::/EFI/debian"], env=environment)
    for name, source in files.items():
        run(["mcopy", "-i", at, source, f"::/{name}"], env=environment)


def _bios(tree: Path, disk: Path, place: Partition, work: Path) -> None:
    sector = place.start // SECTOR
    image = grub.placed(grub.core(tree, work), sector, place.size)
    code = (tree / grub.LOADER / grub.PC / "boot.img").read_bytes()
    with open(disk, "r+b") as file:
        table = file.read(SECTOR)
        file.seek(0)
        file.write(grub.boot_sector(code, table, sector))
        file.seek(place.start)
        file.write(image)


def _ext4(disk: Path, place: Partition, moment: int, *more: str) -> None:
    own = layout.identifier(f"file system {place.name}", VERSION)
    extended = f"offset={place.start},hash_seed={own},nodiscard"
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "1", "-O", _FEATURES]
    names = ["-L", place.label, "-U", str(own), "-E", extended]
    run([*command, *names, *more, disk, str(place.size // 4096)], env=_environment(moment))
