"""``sockctl status``: how the running daemon is, its processes and what each of them may do, and what is wrong."""

import argparse
import pwd
from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.cli.daemon import (
    DONE,
    add_json,
    add_socket,
    amount,
    columns,
    counted,
    print_object,
    short_hash,
    span,
    understood,
    visible,
    with_daemon,
)
from gateway.control.client import ControlClient
from gateway.control.protocol import Process, Report, ResolverTotals, Status, Totals, UplinkRow, ZoneRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl status``."""
    add_socket(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print it; 0, also if there are troubles, or 1 when no daemon answers."""

    def work(client: ControlClient) -> int:
        _, done = client.ask(Status())
        if arguments.json:
            print_object(done)
        else:
            print("\n".join(_as_text(understood(done, Report), datetime.now(UTC))))
        return DONE

    return with_daemon("status", arguments, work)


def _as_text(report: Report, now: datetime) -> Iterator[str]:
    yield from _daemon(report, now)
    yield ""
    yield from _totals(report.totals)
    if report.resolver is not None:
        yield ""
        yield from _resolver(report, report.resolver)
    yield ""
    yield from columns([_PROCESS_HEAD, *map(_process, report.processes)], right=(1, 8, 9))
    if report.uplinks:
        yield ""
        yield from columns([_UPLINK_HEAD, *map(_uplink, report.uplinks)])
    down = [row for zone in report.zones for row in _servers_down(zone)]
    if down:
        yield ""
        yield from columns([_SERVER_HEAD, *down])
    yield ""
    yield from (f"TROUBLE: {visible(trouble)}" for trouble in report.troubles)
    if not report.troubles:
        yield "no troubles"


def _daemon(report: Report, now: datetime) -> Iterator[str]:
    homes = "multihomed" if report.multihomed else "single-homed"
    yield f"sockd {report.version}, {homes}, process {report.pid}, since {report.started}{_ago(report.started, now)}"
    yield (
        f"configuration {short_hash(report.configuration)} by {visible(report.path)}, "
        f"loaded {report.loaded}{_ago(report.loaded, now)}"
    )
    nowhere = "nothing: it is draining" if report.draining else "no address yet"
    yield f"listening on {', '.join(report.listening) or nowhere}"
    if report.draining:
        yield f"DRAINING: nobody is accepted, {counted(report.totals.sessions, 'session')} left"


def _ago(time: str, now: datetime) -> str:
    """How long that is ago; nothing when the time is none or the clock was set back."""
    try:
        seconds = (now - datetime.fromisoformat(time)).total_seconds()
    except (ValueError, TypeError):
        return ""
    return f" ({span(seconds)} ago)" if seconds >= 0 else ""


def _totals(totals: Totals) -> Iterator[str]:
    yield f"sessions  {totals.sessions:,}, room for {totals.room:,}"
    yield f"accepted  {totals.accepted:,}, {totals.accepted_per_second:.1f} a second"
    ends = ("connected", "refused", "failed", "timed_out", "error")
    yield "of which  " + ", ".join(f"{getattr(totals, end):,} {end.replace('_', ' ')}" for end in ends)
    yield f"sent      {amount(totals.sent)}, {amount(totals.sent_per_second)} a second"
    yield f"received  {amount(totals.received)}, {amount(totals.received_per_second)} a second"
    if totals.lost:
        yield f"lost      {totals.lost:,} lines and records of the log"


def _resolver(report: Report, totals: ResolverTotals) -> Iterator[str]:
    yield f"names on  {', '.join(report.listening_dns) or 'no address yet'}"
    yield f"queries   {totals.queries:,}, {totals.queries_per_second:,.1f} a second, {totals.hit_rate:.0%} by the cache"
    kinds = ("hits", "local", "forwarded", "coalesced", "stale", "nxdomain", "servfail", "refused", "dropped")
    rare = ("limited", "blocked", "wrong_answers")
    shown = (*kinds, *(kind for kind in rare if getattr(totals, kind)))
    yield "of which  " + ", ".join(f"{getattr(totals, kind):,} {kind.replace('_', ' ')}" for kind in shown)
    yield f"cache     {counted(totals.entries, 'answer')}; {counted(totals.outstanding, 'question')} outstanding"
    ill = [zone.zone for zone in report.zones if any(server.state == "down" for server in zone.servers)]
    state = f"servers down in {visible(' '.join(ill))}" if ill else "all servers up"
    yield f"zones     {len(report.zones):,}, {state}"


_PROCESS_HEAD = (
    "PROCESS", "PID", "USER", "GROUPS", "CAPABILITIES", "NO_NEW_PRIVS", "SECCOMP", "LANDLOCK", "RESTARTS", "SESSIONS",
)  # fmt: skip


def _process(process: Process) -> tuple[str, ...]:
    name, pid = process.name, str(process.pid)
    rest = (str(process.restarts), str(process.sessions))
    if not process.pid:
        return (name, "-", "not running", "-", "-", "-", "-", "-", *rest)
    return (
        name,
        pid,
        _user(process.user),
        ",".join(map(str, process.groups)) or "-",
        ",".join(capability.lower().removeprefix("cap_") for capability in process.capabilities) or "-",
        "yes" if process.no_new_privs else "no",
        process.seccomp,
        process.landlock,
        *rest,
    )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


_UPLINK_HEAD = ("UPLINK", "INTERFACE", "STATE", "ADDRESSES", "WHY")


def _uplink(row: UplinkRow) -> tuple[str, ...]:
    return row.name, row.interface, row.state, " ".join(row.addresses) or "-", row.why


_SERVER_HEAD = ("ZONE", "SERVER", "STATE", "WHY")


def _servers_down(zone: ZoneRow) -> Iterator[tuple[str, ...]]:
    for server in zone.servers:
        if server.state == "down":
            yield zone.zone, server.server, server.state, server.why
