"""How the appliance's disk is divided: the partition table as data, and as the words of sfdisk(8).

Four partitions, and nothing else on the disk: where GRUB lies for a BIOS, the EFI system partition, the root, which is
read-only in use, and the state, which is the last one so that it can grow. This module reads and writes no file.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from image.run import BuildError

SECTOR: Final = 512
MIB: Final = 1 << 20
DISK: Final = 3072 * MIB
"""The size of a disk whose root leaves room for it, in bytes."""

STATE: Final = 512 * MIB
"""The least that is left for the state: package lists, a new kernel's package and the logs have room in it."""

EDGE: Final = MIB
"""Kept free at both ends, for the two copies of the table."""

SPACE: Final = uuid.UUID("5b0e6b3c-8f6f-5c0c-9a5c-0d6f7f1f2a11")
"""What the identifiers of one version are derived from, so that two builds of it are alike."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: name, GPT type, start and size in bytes, the label of its file system."""

    name: str
    kind: str
    start: int
    size: int
    label: str


BIOS: Final = "bios"
ESP: Final = "esp"
ROOT: Final = "root"
STATE_NAME: Final = "state"
ROOT_LABEL: Final = "gateway-root"
STATE_LABEL: Final = "gateway-state"
_KINDS: Final = (
    (BIOS, "21686148-6449-6E6F-744E-656564454649", ""),
    (ESP, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "GATEWAY-ESP"),
    (ROOT, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", ROOT_LABEL),
    (STATE_NAME, "0FC63DAF-8483-4772-8E79-3D69D8477DE4", STATE_LABEL),
)
"""In the order on the disk. The types are those of the UEFI and of the Discoverable Partitions Specification; the state
has the general one, so that no init system takes it for something else."""


def table(content: int, *, disk: int = DISK) -> tuple[Partition, ...]:
    """The partitions of a disk of at least ``disk`` bytes whose root holds ``content`` bytes of files.

    The root has room for its upgrades. Where the disk is too small for that the table is longer than it.
    """
    root = room(content)
    state = max(STATE, disk - 2 * EDGE - MIB - 64 * MIB - root)
    sizes = (MIB, 64 * MIB, root, state // MIB * MIB)
    starts = [EDGE + sum(sizes[:number]) for number in range(len(sizes))]
    return tuple(
        Partition(name, kind, start, size, label)
        for (name, kind, label), start, size in zip(_KINDS, starts, sizes, strict=True)
    )


def room(content: int) -> int:
    """Bytes of a root partition for ``content`` bytes of files.

    A kernel is about half of what is in it. apt keeps two, and unpacks a third beside them before the oldest goes: with
    less room the security updates would stop there.
    """
    return -(-(content * 5 // 2 + 64 * MIB) // MIB) * MIB


def length(partitions: Sequence[Partition]) -> int:
    """Bytes of the disk that this table divides."""
    return partitions[-1].start + partitions[-1].size + EDGE


def identifier(name: str, version: str) -> uuid.UUID:
    """The identifier of a partition, a file system or the disk of this version."""
    return uuid.uuid5(SPACE, f"{version} {name}")


def script(partitions: Sequence[Partition], version: str) -> str:
    """The table in the words that sfdisk(8) reads."""
    head = ["label: gpt", f"label-id: {identifier('disk', version)}", "unit: sectors"]
    return "\n".join([*head, *(_line(partition, version) for partition in partitions)]) + "\n"


def _line(partition: Partition, version: str) -> str:
    own = identifier(f"partition {partition.name}", version)
    start, size = partition.start // SECTOR, partition.size // SECTOR
    return f'start={start}, size={size}, type={partition.kind}, uuid={own}, name="{partition.name}"'


def check(partitions: Sequence[Partition], dump: str) -> None:
    """See that ``sfdisk --json`` tells of just these partitions: a file system longer than its partition never mounts.

    Raises BuildError.
    """
    written = json.loads(dump)["partitiontable"]["partitions"]
    found = [(entry["name"], entry["start"] * SECTOR, entry["size"] * SECTOR) for entry in written]
    if found != [(partition.name, partition.start, partition.size) for partition in partitions]:
        raise BuildError(f"sfdisk made another table than it was told: {found}")
