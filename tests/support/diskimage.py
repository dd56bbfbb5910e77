"""The appliance's disk, built once for all tests by each way to start.

It is made when it is missing, or when what it is made of has changed, and kept in build/tests beside its list of
packages and signed checksums. Building takes minutes.
"""

import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from image import package, release, run, sources, tree
from image.run import NAME, ROOT, VERSION, BuildError
from tests.support import products

IMAGES = ROOT / "build" / "tests"
_PROGRAMS = ("mmdebstrap", "sfdisk", "mke2fs", "mkfs.vfat", "mcopy", "grub-mkimage", "qemu-img", "ssh-keygen")
_MADE_OF = ("image", "ansible")


def missing() -> str:
    """Why no disk can be built here, with the way out of it; empty when nothing is known to be missing."""
    if os.geteuid() != 0:
        return "needs root, for a tree with files of several users; `sudo make test` runs it"
    try:
        run.need(*_PROGRAMS)
        sources.lines(tree.SUITE)
    except BuildError as error:
        return f"needs what an appliance is built with: {error}"
    return products.missing()


def image(init: str = "systemd") -> Path:
    """The compressed qcow2 of the appliance as the repository has it now; its list and checksums lie beside it.

    Skips the test where it cannot be built; raises BuildError when the building fails.
    """
    if reason := missing():
        pytest.skip(reason)
    folder = IMAGES / f"image-{init}"
    made = folder / f"{NAME}-{VERSION}.qcow2"
    folder.mkdir(parents=True, exist_ok=True)
    with open(IMAGES / f"image-{init}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be making it now
        note, wanted = folder / "made-of", content()
        if not made.exists() or not note.exists() or note.read_text() != wanted:
            note.unlink(missing_ok=True)
            release.build(folder, products.deb(), init=init)
            note.write_text(wanted)
    return made


def content() -> str:
    """A sum of all files that an image is made of."""
    whole = hashlib.sha256()
    ours = [path for name in _MADE_OF for path in (ROOT / name).rglob("*") if "__pycache__" not in path.parts]
    for path in sorted({*ours, *package.inputs()}):
        if path.is_file():
            told = path.read_bytes()
            whole.update(f"{path.relative_to(ROOT)} {path.stat().st_mode:o} {len(told)}\n".encode() + told)
    return whole.hexdigest()
