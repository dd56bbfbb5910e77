"""What the kernel says about a process and its children: descriptors, CPU time, memory, command lines (proc(5))."""

import os
from collections import Counter
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from "state" on; the command name before them may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _all() -> dict[int, list[str]]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                found[int(entry)] = _stat(int(entry))
            except _GONE:
                continue
    return found


def tree(root: int) -> list[int]:
    """The process and all that descend from it, the root first; without those that ended but were not waited for."""
    parents = {pid: int(fields[1]) for pid, fields in _all().items() if fields[0] != "Z"}
    family = [root] if root in parents else []
    for pid in family:
        family.extend(child for child, parent in parents.items() if parent == pid)
    return family


def name(pid: int) -> str:
    """What ps(1) shows under COMMAND; empty for a process that has gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except _GONE:
        return ""


def session_members(session: int) -> list[int]:
    """The live processes of a session (setsid(2)): who is left when its leader has gone."""
    return [pid for pid, fields in _all().items() if int(fields[3]) == session and fields[0] != "Z"]


def cpu_seconds(root: int) -> float:
    """User and system time of the whole tree so far."""
    return sum(int(ticks) for pid in tree(root) for ticks in _stat(pid)[11:13]) / _TICKS


def descriptors(root: int) -> Counter[str]:
    """How many descriptors of each kind the tree holds: ``socket``, ``pipe``, ``anon_inode``, ``file``."""
    kinds: Counter[str] = Counter()
    for pid in tree(root):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(link)
            except _GONE:
                continue
            kinds[target.partition(":")[0] if ":" in target else "file"] += 1
    return kinds


def anonymous_kib(root: int) -> int:
    """Resident memory of the tree that is not backed by files, KiB."""
    total = 0
    for pid in tree(root):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1])
    return total


def public_bytes(root: int) -> bytes:
    """What every user of the host can read about the tree: command lines and names, each process on its own line."""
    parts = []
    for pid in tree(root):
        parts += [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "comm")]
    return b"\n".join(parts)
