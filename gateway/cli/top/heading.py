"""The lines above the table: which daemon this is, what it moves, what it refused, its uplinks, what is wrong; pure."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from gateway.cli.daemon import amount, short_hash, span
from gateway.cli.top.pace import pause
from gateway.cli.top.sample import Sample
from gateway.cli.top.state import State
from gateway.cli.top.style import Line, Span, Style, fitted, line
from gateway.cli.top.words import moment, per_second
from gateway.control.protocol import Totals

NEARLY_FULL = 0.9
"""The share of the room for sessions from which on their number is a warning."""


class _Ranked(NamedTuple):
    """A line, and its place in the order in which lines are left out where there is no room: the highest first."""

    rank: int
    line: Line


def heading(state: State) -> list[Line]:
    """As many of the lines as half the screen has room for, at least one."""
    room = max((state.size.lines - 2) // 2, 1)
    lines = list(_lines(state))
    kept = sorted(range(len(lines)), key=lambda at: (lines[at].rank, at))[:room]
    return [lines[at].line for at in sorted(kept)]


def _lines(state: State) -> Iterator[_Ranked]:
    width = state.size.columns
    yield _Ranked(0, fitted(list(_title(state)), width))
    if state.trouble:
        yield _Ranked(1, line(f"! {state.trouble}", Style.BAD, width=width))
    yield _Ranked(2, fitted(list(_traffic(state.sample.report.totals)), width))
    yield _Ranked(5, fitted(list(_outcomes(state)), width))
    if state.sample.report.uplinks:
        yield _Ranked(4, fitted(list(_uplinks(state)), width))
    yield from (_Ranked(3, trouble) for trouble in _troubles(state))


def _title(state: State) -> Iterator[Span]:
    sample = state.sample
    report = sample.report
    yield Span(f"sockd {report.version}", Style.TITLE)
    if state.trouble:
        yield Span(f"NO ANSWER since {sample.now:%H:%M:%S}Z", Style.BAD)
    if report.draining:
        yield Span("DRAINING", Style.WARNING)
    if state.paused:
        yield Span("PAUSED", Style.WARNING)
    started = moment(report.started)
    if started is not None:
        yield Span(f"up {span(max((sample.now - started).total_seconds(), 0))}")
    yield Span(f"configuration {short_hash(report.configuration)}")
    yield Span(f"loaded {_time(report.loaded)}")
    yield Span(f"every {pause(state.interval, state.table.took):.3g} s")
    yield Span(f"pid {report.pid}")


def _time(text: str) -> str:
    """A time of the daemon without the fraction of its second; UTC, as its log has it."""
    found = moment(text)
    return text if found is None else f"{found:%Y-%m-%d %H:%M:%S}Z"


def _traffic(totals: Totals) -> Iterator[Span]:
    full = totals.sessions >= NEARLY_FULL * totals.room
    yield Span(f"sessions {totals.sessions}/{totals.room}", Style.WARNING if full else Style.PLAIN)
    yield Span(f"connections {per_second(totals.accepted_per_second)}")
    yield Span(f"sent {amount(totals.sent_per_second)}/s")
    yield Span(f"received {amount(totals.received_per_second)}/s")
    yield Span(f"in all {amount(totals.sent)} sent, {amount(totals.received)} received", Style.FAINT)


class _Outcome(NamedTuple):
    word: str
    count: Callable[[Totals], int]
    style: Style = Style.PLAIN


_OUTCOMES = (
    _Outcome("refused", lambda totals: totals.refused),
    _Outcome("failed", lambda totals: totals.failed),
    _Outcome("timed out", lambda totals: totals.timed_out),
    _Outcome("errors", lambda totals: totals.error),
    _Outcome("log lines lost", lambda totals: totals.lost, Style.BAD),
)


def _outcomes(state: State) -> Iterator[Span]:
    """How many sessions came to nothing, and how many of them a second; what is bad only where it is not 0."""
    totals = state.sample.report.totals
    for outcome in _OUTCOMES:
        count = outcome.count(totals)
        if count or outcome.style is Style.PLAIN:
            pace = per_second(_speed(outcome, state.sample, state.before))
            yield Span(f"{outcome.word} {count} ({pace})", outcome.style)
    yield Span(f"connected {totals.connected} of {totals.accepted}", Style.FAINT)


def _speed(outcome: _Outcome, sample: Sample, before: Sample | None) -> float | None:
    """How fast a count grows; None when that can not be told, as after a new start of the daemon."""
    if before is None or before.report.started != sample.report.started or sample.at <= before.at:
        return None
    grown = outcome.count(sample.report.totals) - outcome.count(before.report.totals)
    return max(grown, 0) / (sample.at - before.at)


_STANDINGS = {"up": Style.GOOD, "down": Style.BAD}


def _uplinks(state: State) -> Iterator[Span]:
    """Those that are not up come first: a narrow screen must not hide them."""
    yield Span("uplinks", Style.FAINT)
    for uplink in sorted(state.sample.report.uplinks, key=lambda uplink: uplink.state == "up"):
        yield Span(f"{uplink.name} {uplink.state}", _STANDINGS.get(uplink.state, Style.WARNING))


def _troubles(state: State) -> Iterator[Line]:
    """A line each, on at most a sixth of the screen; where they are more, the last line tells how many."""
    troubles = state.sample.report.troubles
    room = max(state.size.lines // 6, 2)
    shown = troubles if len(troubles) <= room else troubles[: room - 1]
    for trouble in shown:
        yield line(f"! {trouble}", Style.BAD, width=state.size.columns)
    if len(shown) < len(troubles):
        rest = f"! and {len(troubles) - len(shown)} more: sockctl status"
        yield line(rest, Style.BAD, width=state.size.columns)
