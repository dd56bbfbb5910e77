"""Where a seed comes from: a small disk with the label SEED, or the arguments of the kernel.

A disk is somebody else's file system: it is mounted read-only for as long as it takes to read a few small files.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance import kernelargs, seed
from appliance.programs import ProgramFailed, found, run

LABEL: Final = "SEED"
SEED: Final = "seed.toml"
GATEWAY_FILES: Final = ("gateway.toml", "sockd.conf", "sockd.route")
KINDS: Final = ("iso9660", "vfat", "ext4", "ext3", "ext2")
MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A seed that is there, not understood yet; ``files`` are texts by their names, of the seed and the gateway."""

    name: str
    files: Mapping[str, str]

    def digest(self) -> str:
        """Another one as soon as anything in it is."""
        whole = hashlib.sha256()
        for name, text in sorted(self.files.items()):
            for part in (name.encode(), text.encode()):
                whole.update(len(part).to_bytes(8, "big") + part)
        return whole.hexdigest()

    def seed(self) -> seed.Seed:
        """Raises SeedError."""
        if SEED in self.files:
            return seed.parse(self.files[SEED], SEED)
        return kernelargs.parse(kernelargs.settings(self.files[CMDLINE]))


CMDLINE: Final = "kernel arguments"


def by_kernel(cmdline: str) -> Source | None:
    """The seed that is in the arguments of the kernel, if there is one."""
    words = kernelargs.settings(cmdline)
    return Source(CMDLINE, {CMDLINE: " ".join(words)}) if words else None


def by_disk(folder: Path) -> Source | None:
    """The seed on the disk with the label, mounted at ``folder`` meanwhile.

    Raises SeedError if it can not be read, and if there are several.
    """
    devices = labelled()
    if not devices:
        return None
    if len(devices) > 1:
        raise seed.SeedError([f"{' and '.join(devices)} all have the label {LABEL}: leave one, and start again"])
    device = devices[0]
    kind = found("blkid", "-o", "value", "-s", "TYPE", device)
    if kind not in KINDS:
        raise seed.SeedError(
            [f"{device} has the label {LABEL}, and {kind or 'no file system'}: not {', '.join(KINDS)}"]
        )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run("mount", "-t", kind, "-o", "ro,nosuid,nodev,noexec", device, str(folder))
    except ProgramFailed as error:
        raise seed.SeedError([f"{device}, the seed, can not be mounted: {error}"]) from None
    try:
        return Source(device, read_folder(folder))
    finally:
        run("umount", str(folder))


def labelled() -> tuple[str, ...]:
    """All devices with the label; the second question is for a drive of CDs, which the first may pass over."""
    listed = found("blkid", "-c", "/dev/null", "-t", f"LABEL={LABEL}", "-o", "device").splitlines()
    return tuple(sorted({*listed, *found("blkid", "-L", LABEL).splitlines()}))


def read_folder(folder: Path) -> Mapping[str, str]:
    """The texts of a seed's files. Raises SeedError, also when the seed itself is not among them."""
    files = {}
    problems = []
    for name in (SEED, *GATEWAY_FILES):
        try:
            files[name] = _text(folder / name)
        except FileNotFoundError:
            if name == SEED:
                problems.append(f"the disk with the label {LABEL} has no file {SEED}")
        except (OSError, ValueError) as error:
            problems.append(f"{name}: {getattr(error, 'strerror', None) or error}")
    if problems:
        raise seed.SeedError(problems)
    return files


def _text(path: Path) -> str:
    """A regular file of a moderate size, in UTF-8. Raises OSError or ValueError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no regular file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8") from None
