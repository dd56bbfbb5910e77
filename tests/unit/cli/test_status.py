"""``sockctl status``: everything that the daemon reports, for reading and as it is."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli import status
from gateway.control.protocol import Report, ResolverTotals, ServerRow, Status, ZoneRow
from tests.unit.cli.fakecontrol import HASH, LOADED, FakeControl, Ran, done, report, run


class _Clock(datetime):
    """Two hours and a quarter after the files were loaded."""

    @classmethod
    def now(cls, tz: Any = None) -> "_Clock":
        return cls(2026, 1, 2, 5, 18, 6, tzinfo=tz)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "datetime", _Clock)


def ask(answer: Report, tmp_path: Path, capsys: Any, *words: str) -> Ran:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [done(answer)]) as fake:
        ran = run(status, capsys, "-s", str(path), *words)
    assert fake.asked == [Status()]
    assert (ran.status, ran.errors) == (0, "")
    return ran


def test_everything_there_is_to_say(tmp_path: Path, capsys: Any) -> None:
    assert ask(report(), tmp_path, capsys).lines == [
        f"sockd 9.9, multihomed, process 812, since {LOADED} (2h14m ago)",
        f"configuration 0123456789ab by /etc/gateway.toml, loaded {LOADED} (2h14m ago)",
        "listening on 10.1.0.1:1080, [fd00::1]:1080",
        "",
        "sessions 14, room for 131,072",
        "accepted 10,231, 3.2 a second",
        "of which 9,800 connected, 300 refused, 100 failed, 20 timed out, 11 error",
        "sent 1.5K, 2.0K a second",
        "received 1.0G, 0 a second",
        "",
        "PROCESS PID USER GROUPS CAPABILITIES NO_NEW_PRIVS SECCOMP LANDLOCK RESTARTS SESSIONS",
        "supervisor 812 nobody - - yes on ABI 2 0 0",
        "warden 813 root - net_admin,net_raw yes on off: kernel too old 1 0",
        "worker 1 - not running - - - - - 3 14",
        "",
        "UPLINK INTERFACE STATE ADDRESSES WHY",
        "wan1 eth0 up 192.0.2.10 link is up",
        "",
        "no troubles",
    ]


TOTALS = ResolverTotals(
    queries=1_234_567,
    hits=1_100_000,
    local=12,
    forwarded=90_000,
    coalesced=9_000,
    stale=1,
    nxdomain=77,
    servfail=5,
    refused=4,
    dropped=3,
    queries_per_second=1234.56,
    hit_rate=0.934,
    outstanding=1,
    entries=4211,
)
ZONES = (
    ZoneRow("corp.example", (0, 1), True, (ServerRow("10.0.0.53", "up", "", 1.5, 9, 0, "eth1"),), 5, 6, 7),
    ZoneRow(".", (0,), False, (ServerRow("192.0.2.53", "up", "", 12.0, 9, 0, "wan1"),), 5, 6, 7),
)
DOWN = ServerRow("10.0.0.54", "down", "timed out 40 s ago", None, 3, 3, "eth1")


def with_resolver(**changes: Any) -> Report:
    fields: dict[str, Any] = {"resolver": TOTALS, "zones": ZONES, "listening_dns": ("10.1.0.1:53", "[fd00::1]:53")}
    return report(**{**fields, **changes})


def test_a_resolver_is_told_of_behind_the_sessions(tmp_path: Path, capsys: Any) -> None:
    lines = ask(with_resolver(), tmp_path, capsys).lines
    start = lines.index("received 1.0G, 0 a second") + 1
    assert lines[start : start + 8] == [
        "",
        "names on 10.1.0.1:53, [fd00::1]:53",
        "queries 1,234,567, 1,234.6 a second, 93% by the cache",
        "of which 1,100,000 hits, 12 local, 90,000 forwarded, 9,000 coalesced, 1 stale, 77 nxdomain, 5 servfail, "
        "4 refused, 3 dropped",
        "cache 4,211 answers; 1 question outstanding",
        "zones 2, all servers up",
        "",
        "PROCESS PID USER GROUPS CAPABILITIES NO_NEW_PRIVS SECCOMP LANDLOCK RESTARTS SESSIONS",
    ]
    assert not any(line.startswith("ZONE ") for line in lines)


def test_name_servers_that_are_down_are_listed_with_the_cause(tmp_path: Path, capsys: Any) -> None:
    ill = msgspec.structs.replace(ZONES[0], servers=(*ZONES[0].servers, DOWN))
    lines = ask(with_resolver(zones=(ill, ZONES[1])), tmp_path, capsys).lines
    assert "zones 2, servers down in corp.example" in lines
    start = lines.index("ZONE SERVER STATE WHY")
    assert lines[start - 1 : start + 3] == [
        "",
        "ZONE SERVER STATE WHY",
        "corp.example 10.0.0.54 down timed out 40 s ago",
        "",
    ]


def test_what_is_rare_of_queries_is_told_when_it_has_happened(tmp_path: Path, capsys: Any) -> None:
    totals = msgspec.structs.replace(TOTALS, blocked=2, wrong_answers=6)
    (line,) = (line for line in ask(with_resolver(resolver=totals), tmp_path, capsys).lines if "dropped" in line)
    assert line.endswith("3 dropped, 2 blocked, 6 wrong answers")


def test_a_resolver_without_an_address_yet_says_so(tmp_path: Path, capsys: Any) -> None:
    assert "names on no address yet" in ask(with_resolver(listening_dns=()), tmp_path, capsys).lines


def test_troubles_stand_last_and_are_marked_and_the_status_stays_0(tmp_path: Path, capsys: Any) -> None:
    lines = ask(report(troubles=("no landlock", "disk full")), tmp_path, capsys).lines
    assert lines[-3:] == ["", "TROUBLE: no landlock", "TROUBLE: disk full"]


def test_a_daemon_that_drains_says_so(tmp_path: Path, capsys: Any) -> None:
    assert "DRAINING: nobody is accepted, 14 sessions left" in ask(report(draining=True), tmp_path, capsys).lines


def test_lost_lines_are_told_only_when_there_are_some(tmp_path: Path, capsys: Any) -> None:
    totals = msgspec.structs.replace(report().totals, lost=3)
    assert "lost 3 lines and records of the log" in ask(report(totals=totals), tmp_path, capsys).lines


def test_a_single_homed_daemon_without_an_address_yet(tmp_path: Path, capsys: Any) -> None:
    lines = ask(report(multihomed=False, uplinks=(), listening=()), tmp_path, capsys).lines
    assert lines[0].startswith("sockd 9.9, single-homed, ")
    assert lines[2] == "listening on no address yet"
    assert not any(line.startswith("UPLINK") for line in lines)


@pytest.mark.parametrize("started", ["2026-01-02T05:18:07Z", "yesterday", "2026-01-02T03:04:05"])
def test_a_time_that_can_not_be_ago_is_shown_alone(started: str, tmp_path: Path, capsys: Any) -> None:
    assert ask(report(started=started), tmp_path, capsys).lines[0].endswith(f"since {started}")


def test_the_real_clock_serves_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setattr(status, "datetime", datetime)
    now = datetime.now(UTC).isoformat()
    assert ask(report(started=now), tmp_path, capsys).lines[0].endswith("s ago)")


def test_json_is_what_the_daemon_answers(tmp_path: Path, capsys: Any) -> None:
    found = json.loads(ask(report(), tmp_path, capsys, "--json").output)
    assert found == json.loads(msgspec.json.encode(report()))
    assert found["configuration"] == HASH


def test_a_user_without_a_name_is_a_number(tmp_path: Path, capsys: Any) -> None:
    (process, *_) = report().processes
    nameless = msgspec.structs.replace(process, user=4_000_000_000, groups=(4, 5))
    lines = ask(report(processes=(nameless,)), tmp_path, capsys).lines
    assert "supervisor 812 4000000000 4,5 - yes on ABI 2 0 0" in lines
