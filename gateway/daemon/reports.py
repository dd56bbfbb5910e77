"""How the daemon is, gathered for the operator: `gateway.control.protocol.Report`."""

from collections.abc import Iterable

from gateway.control.protocol import Process, UplinkRow
from gateway.policy.egress import Uplink
from gateway.system.privileges import privileges_of
from gateway.system.sandbox import Confinement

_UNKNOWN = "unknown"


def process_row(name: str, pid: int, confinement: Confinement | None, restarts: int = 0, sessions: int = 0) -> Process:
    """One process; what it may do as the kernel says, and how it is confined as it said itself."""
    landlock = _UNKNOWN if confinement is None else confinement.landlock
    why = _UNKNOWN if confinement is None else confinement.seccomp
    try:
        found = privileges_of(pid) if pid else None
    except (OSError, ValueError):
        found = None  # it has just ended
    if found is None:
        return Process(name, 0, 0, (), (), False, why, landlock, restarts, sessions)
    seccomp = "on" if found.seccomp == "filter" else why
    return Process(
        name=name,
        pid=pid,
        user=found.user,
        groups=found.groups,
        capabilities=found.capabilities,
        no_new_privs=found.no_new_privs,
        seccomp=seccomp,
        landlock=landlock,
        restarts=restarts,
        sessions=sessions,
    )


def uplink_rows(uplinks: Iterable[Uplink]) -> tuple[UplinkRow, ...]:
    """The uplinks as they stand."""
    return tuple(
        UplinkRow(uplink.name, uplink.device, uplink.standing.value, tuple(map(str, uplink.sources)), uplink.cause)
        for uplink in uplinks
    )


def confinement_troubles(name: str, confinement: Confinement | None) -> Iterable[str]:
    """What this kernel does not have of what holds a process back."""
    if confinement is not None:
        for what, state in (("seccomp", confinement.seccomp), ("landlock", confinement.landlock)):
            if state.startswith("off"):
                yield f"{name}: {what} is {state}"
