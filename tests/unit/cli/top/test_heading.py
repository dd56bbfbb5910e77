"""The lines above the table: what they say of the daemon, and which of them a small screen keeps."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.cli.top.heading import heading
from gateway.cli.top.state import Size, State
from gateway.cli.top.style import Style, text_of
from gateway.cli.top.update import failed
from gateway.control.protocol import Report, UplinkRow
from tests.support.fakesockd import REPORT
from tests.unit.cli.top.looks import SMALL, USUAL, WIDE, again, begun, typed

TROUBLES = ("wan2 is down: no answer to its probes", "/var/log/sockd.json is full", "worker 2 died 3 times", "four")


def texts(state: State) -> list[str]:
    return [text_of(line) for line in heading(state)]


def report(**changes: Any) -> Report:
    return msgspec.structs.replace(REPORT, **changes)


def totals(**changes: Any) -> Report:
    return report(totals=msgspec.structs.replace(REPORT.totals, **changes))


def style_of(state: State, text: str) -> Style:
    return next(span.style for line in heading(state) for span in line if span.text.startswith(text))


def test_everything_there_is_to_say() -> None:
    assert texts(begun(size=WIDE)) == [
        "sockd 0.9.0  up 3h14m  configuration 3f2a91bc0000  loaded 2026-11-22 11:30:05Z  every 1 s  pid 4711",
        "sessions 3/16000  connections 87/s  sent 12M/s  received 118M/s  in all 5.0G sent, 700G received",
        "refused 34 (-/s)  failed 3 (-/s)  timed out 2 (-/s)  errors 0 (-/s)  connected 118000 of 120345",
        "uplinks  wan2 down  wan1 up",
    ]


def test_a_usual_terminal_has_room_for_what_matters() -> None:
    assert texts(begun()) == [
        "sockd 0.9.0  up 3h14m  configuration 3f2a91bc0000  loaded 2026-11-22 11:30:05Z",
        "sessions 3/16000  connections 87/s  sent 12M/s  received 118M/s",
        "refused 34 (-/s)  failed 3 (-/s)  timed out 2 (-/s)  errors 0 (-/s)",
        "uplinks  wan2 down  wan1 up",
    ]


def test_refusals_a_second_come_from_two_looks() -> None:
    state = again(begun(), report=totals(refused=36, failed=4))
    assert "refused 36 (2.0/s)  failed 4 (1.0/s)  timed out 2 (0/s)" in texts(state)[2]


def test_no_rate_across_a_new_start_of_the_daemon() -> None:
    state = again(begun(), report=msgspec.structs.replace(totals(refused=0), started="2026-11-22T13:00:00Z"))
    assert "refused 0 (-/s)" in texts(state)[2]


def test_uplinks_by_their_standing_the_bad_ones_first() -> None:
    uplinks = [
        UplinkRow(name, name, standing, (), "")
        for name, standing in [("wan1", "up"), ("wan2", "settling"), ("wan3", "down")]
    ]
    state = begun(report=report(uplinks=tuple(uplinks)))
    assert texts(state)[3] == "uplinks  wan2 settling  wan3 down  wan1 up"
    assert [style_of(state, name) for name in ("wan1", "wan2", "wan3")] == [Style.GOOD, Style.WARNING, Style.BAD]


def test_a_single_homed_server_has_no_line_of_uplinks() -> None:
    assert not any("uplinks" in text for text in texts(begun(report=report(uplinks=()))))


def test_lost_log_lines_are_told_only_when_there_are_any() -> None:
    assert "lost" not in " ".join(texts(begun(size=WIDE)))
    state = begun(size=WIDE, report=totals(lost=12))
    assert "log lines lost 12 (-/s)" in texts(state)[2]
    assert style_of(state, "log lines lost") is Style.BAD


@pytest.mark.parametrize(("sessions", "style"), [(89, Style.PLAIN), (90, Style.WARNING)])
def test_little_room_for_sessions_is_a_warning(sessions: int, style: Style) -> None:
    assert style_of(begun(report=totals(sessions=sessions, room=100)), "sessions") is style


def test_draining_and_a_pause_stand_where_they_are_seen() -> None:
    state = typed(begun(size=SMALL, report=report(draining=True)), "p")
    assert texts(state)[0] == "sockd 0.9.0  DRAINING  PAUSED  up 3h14m"


def test_a_daemon_that_is_gone() -> None:
    state = failed(begun(), "no sockd answers on /run/sockd/control.sock: Connection refused; is it running?")
    assert texts(state)[0].startswith("sockd 0.9.0  NO ANSWER since 13:14:00Z  ")
    # Cut to the width, as any line.
    assert texts(state)[1] == "! no sockd answers on /run/sockd/control.sock: Connection refused; is it runnin~"
    assert style_of(state, "! no sockd") is Style.BAD
    assert not any("NO ANSWER" in text for text in texts(again(state)))


def test_the_pace_that_is_kept() -> None:
    state = begun(size=WIDE)
    slow = replace(state, table=state.table._replace(took=0.1))
    assert "every 3 s" in texts(slow)[0]


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        pytest.param(USUAL, TROUBLES, id="a line each"),
        pytest.param(Size(80, 20), (*TROUBLES[:2], "and 2 more: sockctl status"), id="more than there is room for"),
    ],
)
def test_troubles(size: Size, shown: tuple[str, ...]) -> None:
    found = texts(begun(size=size, report=report(troubles=TROUBLES)))[4:]
    assert found == [f"! {trouble}" for trouble in shown]


def test_a_small_screen_keeps_the_troubles_and_leaves_out_the_counts() -> None:
    assert texts(begun(size=SMALL, report=report(troubles=TROUBLES[:1]))) == [
        "sockd 0.9.0  up 3h14m",
        "sessions 3/16000  connections 87/s",
        "uplinks  wan2 down  wan1 up",
        "! wan2 is down: no answer to its probes",
    ]


def test_the_smallest_screen_keeps_the_title() -> None:
    assert texts(begun(size=Size(11, 3))) == ["sockd 0.9.0"]


def test_times_that_are_none_are_shown_as_they_are() -> None:
    assert "loaded ?" in texts(begun(report=report(started="?", loaded="?")))[0]
