"""What the daemon counts, as Prometheus reads it: the text exposition format, version 0.0.4.

Names follow Prometheus' practice: base units, ``_total`` on what only grows. Labels are few and bounded, and hold
names from the configuration only: no client, no user, no destination, no text of a rule.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from gateway.control.protocol import Report, ResolverTotals, RuleUse, ServerRow, Totals, ZoneRow
from gateway.policy.egress import Standing
from gateway.session.record import Result

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What an answer with an `exposition` is labelled as."""

NO_RULE = "none"
"""The label of what no line of sockd.conf matched."""

OTHER_RULES = "other"
"""The label of all lines together that have none of their own; a line's always has a colon."""

_STATES = tuple(standing.value for standing in Standing)

_GAUGES: tuple[tuple[str, str, Callable[[Report], float]], ...] = (
    ("start_time_seconds", "When the daemon started, in seconds since the epoch.", lambda r: _seconds(r.started)),
    (
        "configuration_load_time_seconds",
        "When the configuration files were loaded last, in seconds since the epoch.",
        lambda r: _seconds(r.loaded),
    ),
    ("multihomed", "1 if connections leave by uplinks that sockd.route chooses, 0 if not.", lambda r: r.multihomed),
    (
        "draining",
        "1 if no client is accepted any more and the daemon ends with its last session.",
        lambda r: r.draining,
    ),
    ("troubles", "How many things sockctl status asks the administrator to look at.", lambda r: len(r.troubles)),
    ("sessions", "Sessions open now.", lambda r: r.totals.sessions),
    ("sessions_room", "Sessions that can be open at the same time.", lambda r: r.totals.room),
)

_COUNTERS: tuple[tuple[str, str, Callable[[Totals], int]], ...] = (
    ("clients_accepted", "Clients whose connection was accepted.", lambda t: t.accepted),
    ("log_lines_lost", "Log lines and records that were dropped because no log target took them.", lambda t: t.lost),
)

_RESULTS: tuple[tuple[Result, Callable[[Totals], int]], ...] = (
    (Result.CONNECTED, lambda t: t.connected),
    (Result.REFUSED, lambda t: t.refused),
    (Result.FAILED, lambda t: t.failed),
    (Result.TIMED_OUT, lambda t: t.timed_out),
    (Result.ERROR, lambda t: t.error),
)


_DNS_GAUGES: tuple[tuple[str, str, Callable[[ResolverTotals], float]], ...] = (
    ("outstanding", "Questions that name servers have not answered yet.", lambda t: t.outstanding),
    ("cache_entries", "Answers in the caches of the resolver.", lambda t: t.entries),
)

_DNS_COUNTERS: tuple[tuple[str, str, Callable[[ResolverTotals], int]], ...] = (
    ("queries", "Queries of clients that may ask.", lambda t: t.queries),
    ("hits", "Queries that a cache answered.", lambda t: t.hits),
    ("local", "Queries that local names answered.", lambda t: t.local),
    ("forwarded", "Queries for which a name server was asked.", lambda t: t.forwarded),
    ("coalesced", "Queries that waited for the answer to the same question of somebody else.", lambda t: t.coalesced),
    ("stale", "Answers that had expired, given since no name server answered.", lambda t: t.stale),
    ("nxdomain", "Answers that the name does not exist.", lambda t: t.nxdomain),
    ("servfail", "Answers that there is none, for no name server gave one.", lambda t: t.servfail),
    ("refused", "Queries that were refused.", lambda t: t.refused),
    ("dropped", "Queries that got no answer at all.", lambda t: t.dropped),
    ("limited", "Queries that were not looked for, since their client asks too much.", lambda t: t.limited),
    ("blocked", "Answers that were not given, since they lead an outside name to the inside.", lambda t: t.blocked),
    ("upstream_queries", "Messages to name servers.", lambda t: t.upstream_queries),
    ("upstream_timeouts", "Messages to name servers without an answer in time.", lambda t: t.upstream_timeouts),
    ("wrong_answers", "Messages to the resolver that were no answer to what it had asked.", lambda t: t.wrong_answers),
)

_BY_ZONE: tuple[tuple[str, str, Callable[[ZoneRow], int]], ...] = (
    ("queries", "Queries for names of the zone.", lambda z: z.queries),
    ("hits", "Queries for names of the zone that its cache answered.", lambda z: z.hits),
)

_BY_SERVER: tuple[tuple[str, str, Callable[[ServerRow], int]], ...] = (
    ("queries", "Questions that the name server was asked.", lambda s: s.queries),
    ("failures", "Questions that the name server did not answer.", lambda s: s.failures),
)


def exposition(report: Report, rules: Sequence[RuleUse], room_of_labels: int = 200) -> bytes:
    """The metrics of this moment as text, to be sent as `CONTENT_TYPE`.

    Of the lines of sockd.conf the ``room_of_labels`` with the most hits have a label of their own; the others are
    summed up. Where a line comes in or falls out, that sum can shrink, which Prometheus takes for a restart.
    """
    registry = CollectorRegistry()
    registry.register(_Snapshot(report, bounded(rules, room_of_labels)))
    return generate_latest(registry)


class _Snapshot:
    """What the library asks for its metrics (``prometheus_client.registry.Collector``)."""

    def __init__(self, report: Report, rules: Sequence[RuleUse]) -> None:
        self._report = report
        self._rules = rules

    def collect(self) -> Iterator[Metric]:
        """Every metric with its samples."""
        report = self._report
        yield InfoMetricFamily("gateway_build", "The version of the daemon.", {"version": report.version})
        yield InfoMetricFamily(
            "gateway_configuration",
            "The SHA-256 of the texts of all configuration files as loaded.",
            {"sha256": report.configuration},
        )
        yield from (GaugeMetricFamily(f"gateway_{name}", help, get(report)) for name, help, get in _GAUGES)
        yield from (CounterMetricFamily(f"gateway_{name}", help, get(report.totals)) for name, help, get in _COUNTERS)
        yield from _by_result(report.totals)
        yield from _by_process(report)
        yield from _by_uplink(report)
        yield from _by_rule(self._rules)
        if report.resolver is not None:
            yield from _of_resolver(report.resolver)
            yield from _by_zone(report.zones)
            yield from _by_server(report.zones)


def _by_result(totals: Totals) -> Iterator[Metric]:
    results = CounterMetricFamily(
        "gateway_session_results", "Sessions by what became of them, as the log's records say it.", labels=["result"]
    )
    for result, get in _RESULTS:
        results.add_metric([result.value], get(totals))
    yield results
    relayed = CounterMetricFamily(
        "gateway_relayed_bytes",
        "Bytes relayed: sent from clients to targets, received by clients from targets.",
        labels=["direction"],
    )
    relayed.add_metric(["sent"], totals.sent)
    relayed.add_metric(["received"], totals.received)
    yield relayed


def _by_process(report: Report) -> Iterator[Metric]:
    running = GaugeMetricFamily("gateway_process_up", "1 if the process runs, 0 if not.", labels=["process"])
    restarts = CounterMetricFamily(
        "gateway_process_restarts", "How often the process was started again after it died.", labels=["process"]
    )
    sessions = GaugeMetricFamily("gateway_process_sessions", "Sessions open now, by process.", labels=["process"])
    for process in report.processes:
        running.add_metric([process.name], process.pid != 0)
        restarts.add_metric([process.name], process.restarts)
        sessions.add_metric([process.name], process.sessions)
    yield from (running, restarts, sessions)


def _by_uplink(report: Report) -> Iterator[Metric]:
    """Every state of each uplink, so that a state that is left goes to 0 instead of away."""
    states = GaugeMetricFamily(
        "gateway_uplink_state", "1 for the state that the uplink is in, 0 for the others.", labels=["uplink", "state"]
    )
    for uplink in report.uplinks:
        for state in dict.fromkeys((*_STATES, uplink.state)):
            states.add_metric([uplink.name, state], state == uplink.state)
    yield states


def _by_rule(rules: Iterable[RuleUse]) -> Iterator[Metric]:
    hits = CounterMetricFamily(
        "gateway_rule_hits", "Requests that the line of sockd.conf decided; none: no line matched.", labels=["rule"]
    )
    relayed = CounterMetricFamily(
        "gateway_rule_relayed_bytes", "Bytes relayed by permission of the line.", labels=["rule", "direction"]
    )
    last = GaugeMetricFamily(
        "gateway_rule_last_hit_timestamp_seconds",
        "When the line decided last, in seconds since the epoch; missing if it never did.",
        labels=["rule"],
    )
    for rule in rules:
        hits.add_metric([rule.rule], rule.hits)
        relayed.add_metric([rule.rule, "sent"], rule.sent)
        relayed.add_metric([rule.rule, "received"], rule.received)
        if rule.last is not None:
            last.add_metric([rule.rule], _seconds(rule.last))
    yield from (hits, relayed, last)


def _of_resolver(totals: ResolverTotals) -> Iterator[Metric]:
    yield from (GaugeMetricFamily(f"gateway_dns_{name}", help, get(totals)) for name, help, get in _DNS_GAUGES)
    yield from (CounterMetricFamily(f"gateway_dns_{name}", help, get(totals)) for name, help, get in _DNS_COUNTERS)


def _by_zone(zones: Iterable[ZoneRow]) -> Iterator[Metric]:
    rows = {_zone_labels(zone): zone for zone in zones}
    labels = ["zone", "views"]
    entries = GaugeMetricFamily("gateway_dns_zone_cache_entries", "Answers in the cache of the zone.", labels=labels)
    for at, zone in rows.items():
        entries.add_metric(at, zone.entries)
    yield entries
    for name, help, get in _BY_ZONE:
        counted = CounterMetricFamily(f"gateway_dns_zone_{name}", help, labels=labels)
        for at, zone in rows.items():
            counted.add_metric(at, get(zone))
        yield counted


def _by_server(zones: Iterable[ZoneRow]) -> Iterator[Metric]:
    rows = {(*_zone_labels(zone), server.server): server for zone in zones for server in zone.servers}
    labels = ["zone", "views", "server"]
    up = GaugeMetricFamily("gateway_dns_server_up", "1 if the name server answers, 0 if it is down.", labels=labels)
    took = GaugeMetricFamily(
        "gateway_dns_server_round_trip_seconds",
        "The smoothed time of an answer of the name server; missing before the first one.",
        labels=labels,
    )
    for at, server in rows.items():
        up.add_metric(at, server.state == "up")
        if server.milliseconds is not None:
            took.add_metric(at, server.milliseconds / 1000)
    yield from (up, took)
    for name, help, get in _BY_SERVER:
        counted = CounterMetricFamily(f"gateway_dns_server_{name}", help, labels=labels)
        for at, server in rows.items():
            counted.add_metric(at, get(server))
        yield counted


def _zone_labels(zone: ZoneRow) -> tuple[str, str]:
    """No two rows have the same: where zones of one name differ by the client, each view has one of them."""
    return zone.zone, " ".join(map(str, zone.views))


def bounded(rules: Iterable[RuleUse], room: int) -> list[RuleUse]:
    """One use a label, in the order of the file: of the ``room`` lines with the most hits, of no line, of the rest."""
    by_label: dict[str, RuleUse] = {}
    for use in rules:
        label = use.rule or NO_RULE
        # A series that is there twice would make Prometheus refuse all of them.
        by_label[label] = _sum(label, (by_label[label], use)) if label in by_label else _sum(label, (use,))
    unmatched = by_label.pop(NO_RULE, None)
    lines = list(by_label.values())
    busiest = {use.rule for use in sorted(lines, key=lambda use: -use.hits)[:room]}
    kept = [use for use in lines if use.rule in busiest]
    rest = [use for use in lines if use.rule not in busiest]
    return [*kept, *([unmatched] if unmatched else []), *([_sum(OTHER_RULES, rest)] if rest else [])]


def _sum(label: str, uses: Sequence[RuleUse]) -> RuleUse:
    last = max((use.last for use in uses if use.last is not None), key=_seconds, default=None)
    return RuleUse(label, "", sum(u.hits for u in uses), sum(u.sent for u in uses), sum(u.received for u in uses), last)


def _seconds(time: str) -> float:
    """RFC 3339 to seconds since the epoch."""
    return datetime.fromisoformat(time).timestamp()
