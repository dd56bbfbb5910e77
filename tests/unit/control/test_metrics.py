"""The exposition: what Prometheus' own parser reads out of it, its bounds, and what must never be in it."""

import shutil
import subprocess
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.control.metrics import bounded, exposition
from gateway.control.protocol import Process, Report, ResolverTotals, RuleUse, ServerRow, Totals, UplinkRow, ZoneRow

SHA = "ab" * 32
TOTALS = Totals(3, 100, 20, 11, 4, 2, 1, 5, 1 << 40, 77, 6)
PROCESSES = (
    Process("warden", 11, 0, (), ("CAP_NET_ADMIN",), True, "on", "ABI 7", 0, 0),
    Process("worker 1", 0, 65534, (), (), True, "on", "off: no landlock", 2, 3),
)
UPLINKS = (UplinkRow("wan1", "eth0", "up", ("192.0.2.1",), ""), UplinkRow("wan2", "eth1", "settling", (), "no address"))


RESOLVER = msgspec.structs.replace(
    ResolverTotals(*range(2001, 2016)), queries_per_second=87.5, hit_rate=0.93, outstanding=2016, entries=2017
)
ZONES = (
    ZoneRow(
        "corp.example",
        (0, 2),
        True,
        (
            ServerRow("10.0.0.53", "up", "", 12.5, 40, 3, "eth1"),
            ServerRow("10.0.0.54", "down", "timed out 40 s ago", None, 9, 8, "eth1"),
        ),
        30,
        50,
        20,
    ),
    ZoneRow("corp.example", (1,), True, (), 1, 2, 3),
    ZoneRow(".", (0, 1, 2), False, (ServerRow("9.9.9.9:853 (dns.quad9.net)", "up", "", 8, 7, 0, "wan1"),), 4, 5, 6),
)
INSIDE, GUESTS, ALL = ({"zone": "corp.example", "views": "0 2"}, {"zone": "corp.example", "views": "1"},
                       {"zone": ".", "views": "0 1 2"})  # fmt: skip


def report(**changes: Any) -> Report:
    fields: dict[str, Any] = {
        "version": "1.2.3",
        "pid": 10,
        "started": "2025-01-02T03:04:05.678Z",
        "loaded": "2025-01-02T03:04:06Z",
        "configuration": SHA,
        "path": "/etc/gateway.toml",
        "multihomed": True,
        "draining": False,
        "listening": ("10.0.0.1:1080",),
        "totals": TOTALS,
        "processes": PROCESSES,
        "uplinks": UPLINKS,
        "troubles": ("wan2 settles",),
        "resolver": RESOLVER,
        "zones": ZONES,
    }
    return Report(**{**fields, **changes})


def use(line: int, hits: int, sent: int = 0, received: int = 0, last: str | None = None) -> RuleUse:
    return RuleUse(f"sockd.conf:{line}", f"permit *=secretuser {line}", hits, sent, received, last)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Name and labels to value, each once."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(text: bytes, name: str, **labels: str) -> float | None:
    return samples(text).get((name, tuple(sorted(labels.items()))))


VALUES = [
    pytest.param("gateway_build_info", {"version": "1.2.3"}, 1, id="the version"),
    pytest.param("gateway_configuration_info", {"sha256": SHA}, 1, id="the hash"),
    pytest.param("gateway_start_time_seconds", {}, 1735787045.678, id="the start"),
    pytest.param("gateway_configuration_load_time_seconds", {}, 1735787046, id="the load"),
    pytest.param("gateway_multihomed", {}, 1, id="multihomed"),
    pytest.param("gateway_draining", {}, 0, id="draining"),
    pytest.param("gateway_troubles", {}, 1, id="troubles"),
    pytest.param("gateway_sessions", {}, 3, id="sessions"),
    pytest.param("gateway_sessions_room", {}, 100, id="room"),
    pytest.param("gateway_clients_accepted_total", {}, 20, id="accepted"),
    pytest.param("gateway_log_lines_lost_total", {}, 6, id="lost"),
    pytest.param("gateway_session_results_total", {"result": "connected"}, 11, id="connected"),
    pytest.param("gateway_session_results_total", {"result": "refused"}, 4, id="refused"),
    pytest.param("gateway_session_results_total", {"result": "failed"}, 2, id="failed"),
    pytest.param("gateway_session_results_total", {"result": "timed-out"}, 1, id="timed out"),
    pytest.param("gateway_session_results_total", {"result": "error"}, 5, id="errors"),
    pytest.param("gateway_relayed_bytes_total", {"direction": "sent"}, 1 << 40, id="sent"),
    pytest.param("gateway_relayed_bytes_total", {"direction": "received"}, 77, id="received"),
    pytest.param("gateway_process_up", {"process": "warden"}, 1, id="a process that runs"),
    pytest.param("gateway_process_up", {"process": "worker 1"}, 0, id="a process that does not"),
    pytest.param("gateway_process_restarts_total", {"process": "worker 1"}, 2, id="restarts"),
    pytest.param("gateway_process_sessions", {"process": "worker 1"}, 3, id="sessions of a process"),
    pytest.param("gateway_uplink_state", {"uplink": "wan1", "state": "up"}, 1, id="up"),
    pytest.param("gateway_uplink_state", {"uplink": "wan1", "state": "down"}, 0, id="not down"),
    pytest.param("gateway_uplink_state", {"uplink": "wan2", "state": "settling"}, 1, id="settling"),
    pytest.param("gateway_uplink_state", {"uplink": "wan2", "state": "up"}, 0, id="not up"),
    pytest.param("gateway_rule_hits_total", {"rule": "sockd.conf:17"}, 9, id="hits of a line"),
    pytest.param("gateway_rule_hits_total", {"rule": "none"}, 8, id="hits of no line"),
    pytest.param("gateway_rule_relayed_bytes_total", {"rule": "sockd.conf:17", "direction": "sent"}, 1, id="its sent"),
    pytest.param(
        "gateway_rule_relayed_bytes_total", {"rule": "sockd.conf:17", "direction": "received"}, 2, id="its received"
    ),
    pytest.param("gateway_rule_last_hit_timestamp_seconds", {"rule": "sockd.conf:17"}, 1735787047, id="its last use"),
    pytest.param("gateway_rule_last_hit_timestamp_seconds", {"rule": "none"}, None, id="never used"),
    pytest.param("gateway_dns_queries_total", {}, 2001, id="queries"),
    pytest.param("gateway_dns_hits_total", {}, 2002, id="hits"),
    pytest.param("gateway_dns_local_total", {}, 2003, id="local names"),
    pytest.param("gateway_dns_forwarded_total", {}, 2004, id="forwarded"),
    pytest.param("gateway_dns_coalesced_total", {}, 2005, id="coalesced"),
    pytest.param("gateway_dns_stale_total", {}, 2006, id="stale"),
    pytest.param("gateway_dns_nxdomain_total", {}, 2007, id="no such name"),
    pytest.param("gateway_dns_servfail_total", {}, 2008, id="no answer"),
    pytest.param("gateway_dns_refused_total", {}, 2009, id="refused queries"),
    pytest.param("gateway_dns_dropped_total", {}, 2010, id="dropped"),
    pytest.param("gateway_dns_limited_total", {}, 2011, id="limited"),
    pytest.param("gateway_dns_blocked_total", {}, 2012, id="blocked"),
    pytest.param("gateway_dns_upstream_queries_total", {}, 2013, id="upstream"),
    pytest.param("gateway_dns_upstream_timeouts_total", {}, 2014, id="upstream, in vain"),
    pytest.param("gateway_dns_wrong_answers_total", {}, 2015, id="wrong answers"),
    pytest.param("gateway_dns_outstanding", {}, 2016, id="outstanding"),
    pytest.param("gateway_dns_cache_entries", {}, 2017, id="entries"),
    pytest.param("gateway_dns_zone_queries_total", INSIDE, 50, id="queries of a zone"),
    pytest.param("gateway_dns_zone_queries_total", GUESTS, 2, id="of another one with the same name"),
    pytest.param("gateway_dns_zone_hits_total", ALL, 6, id="hits of a zone"),
    pytest.param("gateway_dns_zone_cache_entries", INSIDE, 30, id="entries of a zone"),
    pytest.param("gateway_dns_server_up", {**INSIDE, "server": "10.0.0.53"}, 1, id="a server that is up"),
    pytest.param("gateway_dns_server_up", {**INSIDE, "server": "10.0.0.54"}, 0, id="a server that is down"),
    pytest.param(
        "gateway_dns_server_round_trip_seconds", {**INSIDE, "server": "10.0.0.53"}, 0.0125, id="its time in seconds"
    ),
    pytest.param(
        "gateway_dns_server_round_trip_seconds", {**INSIDE, "server": "10.0.0.54"}, None, id="it never answered"
    ),
    pytest.param("gateway_dns_server_queries_total", {**INSIDE, "server": "10.0.0.53"}, 40, id="it was asked"),
    pytest.param("gateway_dns_server_failures_total", {**INSIDE, "server": "10.0.0.54"}, 8, id="it failed"),
]
RULES = (use(17, 9, 1, 2, "2025-01-02T03:04:07Z"), RuleUse("", "", 8, 0, 0, None))


@pytest.mark.parametrize(("name", "labels", "expected"), VALUES)
def test_value(name: str, labels: dict[str, str], expected: float | None) -> None:
    assert value(exposition(report(), RULES), name, **labels) == expected


def test_every_number_of_the_totals_but_the_rates_is_shown() -> None:
    distinct = Totals(*range(1001, 1012))
    shown = set(samples(exposition(report(totals=distinct), ())).values())
    assert set(range(1001, 1012)) <= shown


def test_every_number_of_the_resolver_but_the_rates_is_shown() -> None:
    shown = set(samples(exposition(report(), ())).values())
    assert set(range(2001, 2018)) <= shown


def test_without_a_resolver_there_are_no_metrics_of_one() -> None:
    assert b"gateway_dns" not in exposition(report(resolver=None, zones=()), RULES)


def test_a_zone_or_a_server_that_is_reported_twice_is_one_series() -> None:
    twice = msgspec.structs.replace(ZONES[0], servers=ZONES[0].servers * 2)
    text = exposition(report(zones=(twice, twice)), ())
    assert value(text, "gateway_dns_zone_queries_total", **INSIDE) == 50
    assert value(text, "gateway_dns_server_queries_total", **INSIDE, server="10.0.0.53") == 40


def test_every_metric_has_help_and_a_type_that_fits_its_name() -> None:
    for family in text_string_to_metric_families(exposition(report(), RULES).decode()):
        assert family.documentation.endswith("."), family.name
        for sample in family.samples:
            assert sample.name.startswith("gateway_")
            assert sample.name.endswith("_total") is (family.type == "counter"), sample.name


def test_a_state_that_this_version_does_not_know_is_shown_beside_the_others() -> None:
    text = exposition(report(uplinks=(UplinkRow("wan1", "eth0", "asleep", (), ""),)), ())
    assert value(text, "gateway_uplink_state", uplink="wan1", state="asleep") == 1
    assert value(text, "gateway_uplink_state", uplink="wan1", state="up") == 0


def test_labels_with_any_character_are_read_back_as_they_were() -> None:
    name = 'w"a\\n\n1 {}ö'
    text = exposition(report(uplinks=(UplinkRow(name, "eth0", "up", (), ""),)), ())
    assert value(text, "gateway_uplink_state", uplink=name, state="up") == 1


def test_the_busiest_lines_have_labels_and_the_rest_is_summed_up() -> None:
    rules = [use(1, 5, 10, 100, "2025-01-02T04:30:00Z"), use(2, 50), use(3, 7, 20, 200, "2025-01-02T05:04:07+01:00")]
    text = exposition(report(), [*rules, use(4, 60), RuleUse("", "", 1, 0, 0, None)], 2)
    labels = {dict(labels)["rule"] for name, labels in samples(text) if name == "gateway_rule_hits_total"}
    assert labels == {"sockd.conf:2", "sockd.conf:4", "none", "other"}
    assert value(text, "gateway_rule_hits_total", rule="other") == 12
    assert value(text, "gateway_rule_relayed_bytes_total", rule="other", direction="sent") == 30
    assert value(text, "gateway_rule_relayed_bytes_total", rule="other", direction="received") == 300
    assert value(text, "gateway_rule_last_hit_timestamp_seconds", rule="other") == 1735792200


@pytest.mark.parametrize(("room", "other"), [(2, True), (3, False), (4, False)])
def test_there_is_another_label_only_where_the_room_is_too_small(room: int, other: bool) -> None:
    kept = [use.rule for use in bounded([use(1, 1), use(2, 2), use(3, 3)], room)]
    assert ("other" in kept) is other
    assert len(kept) == min(room, 3) + other


def test_of_lines_with_as_many_hits_the_first_ones_stay_in_the_order_of_the_file() -> None:
    assert [u.rule for u in bounded([use(n, 0) for n in range(1, 9)], 3)] == [
        "sockd.conf:1", "sockd.conf:2", "sockd.conf:3", "other",
    ]  # fmt: skip


def test_a_line_that_is_reported_twice_is_one_series() -> None:
    text = exposition(report(), [use(1, 2, 3, 4), use(1, 20, 30, 40, "2025-01-02T03:04:07Z")])
    assert value(text, "gateway_rule_hits_total", rule="sockd.conf:1") == 22
    assert value(text, "gateway_rule_last_hit_timestamp_seconds", rule="sockd.conf:1") == 1735787047


def test_no_user_no_client_and_no_text_of_a_rule_is_in_it() -> None:
    text = exposition(report(troubles=("fred@10.1.2.3 is odd",)), RULES).decode()
    for word in ("secretuser", "permit", "fred", "10.1.2.3", "eth0"):
        assert word not in text


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9), st.integers(0, 9)), max_size=40), st.integers(0, 12))
def test_sums_over_all_labels_stay_whatever_the_room(lines: list[tuple[int, int, int]], room: int) -> None:
    rules = [use(line, hits, sent) for line, hits, sent in lines]
    text = exposition(report(), rules, room)
    found = samples(text)
    hits = [value for (name, _), value in found.items() if name == "gateway_rule_hits_total"]
    assert sum(hits) == sum(rule.hits for rule in rules)
    assert len(hits) <= room + 1


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus")
def test_prometheus_own_checker_finds_nothing() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition(report(), RULES), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
