"""What the machine is and how busy it is, from /proc: a table without this line cannot be compared with another."""

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
"""Clock ticks a second, the unit of /proc/stat and /proc/*/stat."""

BUSY_LIMIT = 0.15
"""Share of the machine that others may use before a figure counts as disturbed. What the kernel's own threads do for
many forks or connections (up to 0.10 was seen with danted on a quiet machine) stays below it."""


class Ticks(NamedTuple):
    """Seconds of all cores together since boot."""

    busy: float
    total: float


def ticks() -> Ticks:
    """Time that the cores spent working (that stolen by a hypervisor included: it was not ours), and all time."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, idle, iowait, irq, softirq, steal = (int(field) / TICKS for field in fields[:8])
    busy = user + nice + system + irq + softirq + steal
    return Ticks(busy, busy + idle + iowait)


def busy_share(seconds: float) -> float:
    """Share (0..1) of all cores that is busy while we wait ``seconds``."""
    before = ticks()
    time.sleep(seconds)
    after = ticks()
    return (after.busy - before.busy) / max(after.total - before.total, 1 / TICKS)


def cores() -> list[int]:
    """The numbers of the cores that we may use."""
    return sorted(os.sched_getaffinity(0))


def on_cores(numbers: Iterable[int], command: list[str]) -> list[str]:
    """The command that runs this one on these cores only (taskset(1)); it becomes it, with the same process id."""
    return ["taskset", "--cpu-list", ",".join(map(str, numbers)), *command]


class Machine(NamedTuple):
    """The machine before the first measure."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    load_average: float
    busy: float

    def __str__(self) -> str:
        """One line for the head of the report."""
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gib:.0f} GiB, Linux {self.kernel}, "
            f"load average {self.load_average:.2f}, {self.busy:.0%} busy before the start"
        )

    @property
    def is_busy(self) -> bool:
        """Whether someone else works here, so that the figures will be lower and wider than the truth."""
        return self.busy > BUSY_LIMIT or self.load_average > 0.5 * self.cores


def look() -> Machine:
    """Look at the machine; takes half a second."""
    return Machine(
        processor=_field("/proc/cpuinfo", "model name") or platform.machine(),
        cores=len(cores()),
        memory_gib=int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]) / 2**20,
        kernel=platform.release(),
        load_average=os.getloadavg()[0],
        busy=busy_share(0.5),
    )


def _field(path: str, name: str) -> str | None:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
