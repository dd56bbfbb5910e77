"""GRUB, the boot loader for both firmwares: its menu on the root, and what a disk begins with.

By BIOS it is an image made here with the few modules that it needs, written where the table has a partition for it.
By UEFI it is Debian's own, signed, with Debian's shim before it, so that it starts with Secure Boot too. Both only look
for the root and read the menu there, which names the kernel by Debian's links: a new kernel needs nothing to be written
outside the root.

Sources: "GNU GRUB Manual 2.06", chapter 2 and 16; the fields of boot.img and diskboot.img are those of GRUB's
include/grub/i386/pc/boot.h.
"""

import struct
from pathlib import Path
from typing import Final

from image.layout import ROOT_LABEL, SECTOR
from image.run import BuildError, run

LOADER: Final = Path("usr/lib/gateway-loader")
"""Where in a tree the parts of the boot loader lie, with the names and versions of their packages in ``packages``."""

PACKAGES: Final = ("grub-pc-bin", "grub-efi-amd64-signed", "shim-signed")
"""Fetched and unpacked, never installed: their scripts are for a disk on which grub-install works."""

SHIM: Final = "shimx64.efi"
EFI: Final = "grubx64.efi"
PC: Final = "i386-pc"
MENU: Final = Path("boot/grub/grub.cfg")

ARGUMENTS: Final = f"root=LABEL={ROOT_LABEL} ro gpt console=tty0 console=ttyS0,115200 net.ifnames=0"
"""The kernel's. With ``gpt`` it takes the second copy of a table whose first one a power cut has damaged. The last
console has the words of the init system."""

_MODULES: Final = (
    *("biosdisk", "part_gpt", "ext2", "search", "search_label", "configfile", "normal", "linux", "boot"),
    *("serial", "terminal", "echo", "test", "sleep", "keystatus", "ls", "cat", "minicmd", "reboot", "halt"),
)

_ENTRIES: Final = (
    ("Gateway", "/vmlinuz", "/initrd.img", ""),
    ("Gateway, the kernel before the last upgrade", "/vmlinuz.old", "/initrd.img.old", ""),
    ("Factory reset: forget configuration, state and logs", "/vmlinuz", "/initrd.img", " appliance.reset"),
)
"""Title, the links that Debian keeps in the root, and what is said to the kernel beside the usual arguments."""


def menu(arguments: str = ARGUMENTS) -> str:
    """The text of grub.cfg: the first entry starts after two seconds, and a key shows the others before that."""
    head = (
        "# The boot menu of the appliance. Hold Shift or press Esc at the start to see it.",
        "# A serial console is used where there is one.",
        "if serial --unit=0 --speed=115200; then",
        "  terminal_input console serial",
        "  terminal_output console serial",
        "fi",
        "set default=0",
        "set timeout_style=hidden",
        "set timeout=2",
    )
    return "\n".join([*head, *(_entry(*entry, arguments) for entry in _ENTRIES)]) + "\n"


def _entry(title: str, kernel: str, initrd: str, more: str, arguments: str) -> str:
    entry = f'menuentry "{title}" {{\n  linux {kernel} {arguments}{more}\n  initrd {initrd}\n}}'
    if kernel.endswith(".old"):
        return f"if [ -e {kernel} ]; then\n{entry}\nfi"
    return entry


def first(hint: str) -> str:
    """What GRUB does before there is a menu: look for the root, first at ``hint``, and read the menu there."""
    return (
        f"search --no-floppy --label {ROOT_LABEL} --set=root --hint {hint}\n"
        "set prefix=($root)/boot/grub\n"
        f"configfile ($root)/{MENU}\n"
    )


def core(tree: Path, work: Path) -> bytes:
    """The image that a BIOS starts, without its first sector's block list. ``work`` is a folder for its parts."""
    early, made = work / "early.cfg", work / "core.img"
    early.write_text(first("hd0,gpt3"))
    modules = tree / LOADER / PC
    run(["grub-mkimage", "-O", PC, "-d", modules, "-p", "/boot/grub", "-c", early, "-o", made, *_MODULES])
    return made.read_bytes()


def placed(image: bytes, sector: int, room: int) -> bytes:
    """The image with the block list of diskboot.img in it: the rest of it lies behind its first sector.

    ``sector`` is where it will lie on the disk, ``room`` how many bytes there are. Raises BuildError when it is too
    long.
    """
    if len(image) > room:
        raise BuildError(f"GRUB's image has {len(image)} bytes, and its partition {room}")
    whole = bytearray(image.ljust(-(-len(image) // SECTOR) * SECTOR, b"\0"))
    struct.pack_into("<QHH", whole, SECTOR - 12, sector + 1, len(whole) // SECTOR - 1, 0x820)
    return bytes(whole)


def boot_sector(boot: bytes, table: bytes, sector: int) -> bytes:
    """The disk's first sector: the code of boot.img, which loads ``sector``, and the table that sfdisk left in it."""
    code = bytearray(boot[:440])
    struct.pack_into("<Q", code, 0x5C, sector)
    # The jump over GRUB's mending of the drive's number is taken out, as grub-install does for a disk: some BIOSes give
    # a wrong one.
    code[0x66:0x68] = b"\x90\x90"
    return bytes(code) + table[440:SECTOR]
