"""appliance-grow: the state partition, which is the last one, takes what its disk has, and its file system takes that.

Each boot looks, so a disk that was made larger needs nobody to do anything. Units are sectors of 512 bytes, as in /sys.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.programs import ProgramFailed, found, run

LABEL: Final = "gateway-state"
SYS: Final = Path("/sys/class/block")
ALIGNED: Final = 2048
BACKUP: Final = 33
"""What a GPT keeps at the end of the disk: its copy."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition lies on its disk; ``last`` is whether no other one begins behind it."""

    disk: str
    number: int
    start: int
    size: int
    disk_size: int
    last: bool


def gain(place: Place) -> int:
    """How many sectors the partition can take behind its end; 0 if that is less than what partitions are aligned to."""
    if not place.last:
        return 0
    room = place.disk_size - BACKUP - (place.start + place.size)
    return room if room >= ALIGNED else 0


def locate(partition: str, sys: Path = SYS) -> Place | None:
    """By its kernel name, such as vda4; None if it is no partition. Raises OSError."""
    own = (sys / partition).resolve()
    if not (own / "partition").exists():
        return None
    disk = own.parent
    start = _number(own / "start")
    starts = [_number(file) for file in disk.glob("*/start")]
    number = _number(own / "partition")
    return Place(disk.name, number, start, _number(own / "size"), _number(disk / "size"), start == max(starts))


def _number(file: Path) -> int:
    return int(file.read_text())


def grow(place: Place) -> None:
    """Move the copy of the table to the end of the disk, and the end of the partition there. Raises ProgramFailed."""
    disk = f"/dev/{place.disk}"
    run("sfdisk", "--relocate", "gpt-bak-std", disk)
    run("sfdisk", "--no-reread", "--no-tell-kernel", "--force", "-N", str(place.number), disk, text=", +\n")
    run("partx", "--update", "--nr", str(place.number), disk)


def main() -> int:
    """0, or 1 if it could not be done; without anything to do it is silent."""
    device = found("blkid", "-L", LABEL)
    if not device:
        return 0  # the initramfs has said that
    name = Path(device).resolve().name
    try:
        place = locate(name)
        if place and gain(place):
            grow(place)
            print(f"appliance-grow: {device} has {gain(place) >> 11} MiB more now", flush=True)
        # Its own step: a power cut may have come between the two.
        run("resize2fs", device, seconds=3600)
    except (ProgramFailed, OSError) as error:
        print(f"appliance-grow: {device} stays as it is: {error}", flush=True)
        return 1
    return 0
