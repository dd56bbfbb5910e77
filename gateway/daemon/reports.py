"""How the daemon is, gathered for the operator: `gateway.control.protocol.Report`."""

from collections.abc import Iterable

import msgspec

from gateway.control.protocol import Process, ServerRow, UplinkRow, ZoneRow
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


def zone_rows(found: Iterable[tuple[ZoneRow, ...]]) -> tuple[ZoneRow, ...]:
    """The zones as all resolvers together see them; a server is down if it is for any of them."""
    zones: dict[tuple[str, tuple[int, ...]], ZoneRow] = {}
    for rows in found:
        for row in rows:
            key = row.zone, row.views
            zones[key] = _joined(zones[key], row) if key in zones else row
    return tuple(zones.values())


def _joined(one: ZoneRow, other: ZoneRow) -> ZoneRow:
    servers = {row.server: row for row in one.servers}
    for row in other.servers:
        servers[row.server] = _worse(servers[row.server], row) if row.server in servers else row
    return ZoneRow(
        one.zone,
        one.views,
        one.private,
        tuple(servers.values()),
        one.entries + other.entries,
        one.queries + other.queries,
        one.hits + other.hits,
    )


def _worse(one: ServerRow, other: ServerRow) -> ServerRow:
    worse = other if other.state == "down" else one
    queries, failures = one.queries + other.queries, one.failures + other.failures
    return msgspec.structs.replace(worse, queries=queries, failures=failures)


def server_troubles(zones: Iterable[ZoneRow]) -> Iterable[str]:
    """The name servers that do not answer."""
    for zone in zones:
        for server in zone.servers:
            if server.state == "down":
                yield f"zone {zone.zone}: name server {server.server} is down: {server.why}"


def confinement_troubles(name: str, confinement: Confinement | None) -> Iterable[str]:
    """What this kernel does not have of what holds a process back."""
    if confinement is not None:
        for what, state in (("seccomp", confinement.seccomp), ("landlock", confinement.landlock)):
            if state.startswith("off"):
                yield f"{name}: {what} is {state}"
