"""CPU time and memory of a process with all its descendants, from /proc.

Servers fork (danted a process for some sessions, our daemon a worker a core), and some of the forked end while they are
measured; the functions here count a whole tree so that none of that is lost.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.bench.machine import TICKS


class _Process(NamedTuple):
    pid: int
    parent: int
    session: int
    #: own and waited-for children's, user and system, in ticks
    cpu: int


def _parse(text: str) -> _Process:
    """The text of /proc/PID/stat (proc(5)); the name, in brackets, may itself hold spaces and brackets."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return _Process(
        pid=int(head.split(" ", 1)[0]),
        parent=int(fields[1]),
        session=int(fields[3]),
        cpu=sum(int(field) for field in fields[11:15]),
    )


def _all_processes() -> Iterator[_Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield _parse((entry / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked


def _members(root: int) -> list[_Process]:
    """The tree below ``root``, and the session that it leads: an orphan has lost its parent, but not its session."""
    everyone = list(_all_processes())
    inside = {process.pid for process in everyone if root in (process.pid, process.session)}
    size = 0
    while size != len(inside):
        size = len(inside)
        inside |= {process.pid for process in everyone if process.parent in inside}
    return [process for process in everyone if process.pid in inside]


def cpu_seconds(root: int) -> float:
    """CPU time so far of the tree of ``root``, in seconds; never falls, as long as parents wait for their children.

    Ended threads are in their process's own time, ended children in the time of the parent that waited for them.
    """
    return sum(process.cpu for process in _members(root)) / TICKS


def process_seconds(root: int) -> dict[int, float]:
    """CPU time so far of each process of the tree of ``root``, by its number."""
    return {process.pid: process.cpu / TICKS for process in _members(root)}


def memory_kb(root: int) -> float:
    """User-space memory of the tree of ``root``: the sum of proportional set sizes, in kB of 1,000 bytes.

    Proportional, because forked processes share pages: each page counts once, however many map it. Memory in the
    kernel (socket buffers, pipes) is not in it. Raises PermissionError for a process that hides its memory.
    """
    return sum(_pss(process.pid) for process in _members(root)) * 1.024


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # ended, or a zombie, which has no memory
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
