"""What the titles of supervisor, watcher and resolver say: the sums of the workers, the uplinks, the name servers."""

from collections.abc import Iterable

from gateway.control.protocol import ResolverTotals, Totals
from gateway.policy.egress import Uplink

_UNITS = ("B", "kB", "MB", "GB", "TB")


def gateway_words(totals: Totals, uplinks: Iterable[Uplink], *, draining: bool) -> str:
    """``14 sessions, 3.1 conn/s, 120 kB/s sent, 2.0 MB/s received; wan1 up, wan2 down``."""
    words = f"{totals.sessions} session{'' if totals.sessions == 1 else 's'}, {totals.accepted_per_second:.1f} conn/s, "
    words += f"{volume(totals.sent_per_second)}/s sent, {volume(totals.received_per_second)}/s received"
    ways = ", ".join(f"{uplink.name} {uplink.standing.value}" for uplink in uplinks)
    return "; ".join(filter(None, (words, ways, "draining" if draining else "")))


def watcher_words(uplinks: Iterable[Uplink]) -> str:
    """``2 uplinks, 1 up``."""
    found = tuple(uplinks)
    usable = sum(uplink.standing.value == "up" for uplink in found)
    return f"{len(found)} uplink{'' if len(found) == 1 else 's'}, {usable} up" if found else "single-homed"


def resolver_words(totals: ResolverTotals, servers_down: Iterable[str]) -> str:
    """``1,200 q/s, 93% hits, 4,211 names, down: 10.0.0.53 192.0.2.53``; a server of several zones is named once."""
    words = f"{totals.queries_per_second:,.0f} q/s, {totals.hit_rate:.0%} hits, {totals.entries:,} name"
    words += "" if totals.entries == 1 else "s"
    down = " ".join(dict.fromkeys(servers_down))
    return f"{words}, down: {down}" if down else words


def volume(count: float) -> str:
    """``1.5 MB``; of 1000 bytes, and never with more than three digits before the unit."""
    value, rank = float(count), 0
    while value >= 999.5 and rank < len(_UNITS) - 1:
        value, rank = value / 1000, rank + 1
    return f"{value:.0f} {_UNITS[rank]}" if not rank or value >= 99.5 else f"{value:.1f} {_UNITS[rank]}"
