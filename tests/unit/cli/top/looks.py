"""Looks at a daemon and states after them, for the tests of `sockctl top`."""

from datetime import UTC, datetime, timedelta

from gateway.cli.top.sample import Sample
from gateway.cli.top.scroll import first_look, wanted
from gateway.cli.top.sorting import Sort
from gateway.cli.top.state import Size, State
from gateway.cli.top.style import text_of
from gateway.cli.top.update import Turn, begin, looked, pressed
from gateway.cli.top.view import render
from gateway.control.protocol import Filter, Live, Report, Sessions
from tests.support.fakesockd import REPORT

SMALL, USUAL, WIDE = Size(40, 10), Size(80, 24), Size(200, 50)
START = datetime(2026, 11, 22, 13, 14, 0, tzinfo=UTC)


def sample(
    *sessions: Live, at: float = 0.0, report: Report = REPORT, asked: Sessions | None = None, matched: int | None = None
) -> Sample:
    """A look ``at`` seconds after 13:14 that lists these sessions."""
    asked = Sessions(sort="bytes", limit=100) if asked is None else asked
    number = len(sessions) if matched is None else matched
    return Sample(asked, report, sessions, number, at, START + timedelta(seconds=at), 0.001)


def begun(
    *sessions: Live, size: Size = USUAL, report: Report = REPORT, matched: int | None = None, sort: Sort = Sort.BYTES
) -> State:
    """After the first look."""
    asked = first_look(sort, Filter(), size)
    return begin(size, sample(*sessions, report=report, asked=asked, matched=matched), 1.0, sort, Filter())


def again(state: State, *sessions: Live, report: Report | None = None, matched: int | None = None) -> State:
    """After one more look, a second later, at what the state wants."""
    found = state.sample.report if report is None else report
    look = sample(*sessions, at=state.sample.at + 1, report=found, asked=wanted(state), matched=matched)
    return looked(state, look)


def typed(state: State, *keys: str) -> State:
    """After some keys that do nothing outside."""
    for key in keys:
        turn = pressed(state, key)
        assert turn.command is None
        state = turn.state
    return state


def asked(state: State, *keys: str) -> Turn:
    """After some keys of which the last one does something outside."""
    return pressed(typed(state, *keys[:-1]), keys[-1])


def shown(state: State) -> list[str]:
    """The screen as text; each line checked to fit it."""
    lines = [text_of(line) for line in render(state)]
    assert len(lines) == state.size.lines
    assert all(len(line) <= state.size.columns for line in lines)
    assert all(line.isascii() and (line.isprintable()) for line in lines)
    return [line.rstrip() for line in lines]


def ids(state: State) -> list[str]:
    """The last digits of the ids of the table's sessions, in its order."""
    return [row.live.session.rpartition("-")[2] for row in state.rows]
