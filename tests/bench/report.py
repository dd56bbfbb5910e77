"""The table and the JSON: medians, ranges and ratios of what was measured. Pure: records in, text out.

Ratios are taken round by round and then their median, because within a round the contestants ran within seconds of
each other: what slows the machine for a minute slows both sides of a ratio.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tests.bench import figures
from tests.bench.figures import FIGURES, SERIES_FIGURES, Figure
from tests.bench.machine import BUSY_LIMIT
from tests.bench.sample import Sample

NO_PROXY = "no-proxy"
OURS = "sockd"


class Record(NamedTuple):
    """One run of one measure."""

    round: int
    contestant: str
    measure: str
    sample: Sample


class Contestant(NamedTuple):
    """A column of the table."""

    name: str
    version: str
    settings: str


class Series(NamedTuple):
    """Variants of our own daemon against each other; ``names`` are the contestants of ``records``."""

    #: its name in the JSON
    key: str
    #: what is added to each name at the head of a column
    unit: str
    #: the one that the others are compared with comes first, the one that is of interest last
    names: tuple[str, ...]
    records: tuple[Record, ...]
    goals: tuple["Goal", ...]
    figures: tuple[Figure, ...] = SERIES_FIGURES

    def ratio(self, figure: Figure) -> "Spread | None":
        """The last variant to the first."""
        return ratio(self.records, figure, self.names[-1], self.names[0])


class Report(NamedTuple):
    """Everything that is printed of one subject."""

    machine: str
    warning: str
    conditions: str
    contestants: tuple[Contestant, ...]
    records: tuple[Record, ...]
    series: tuple[Series, ...]
    left_out: tuple[str, ...]
    figures: tuple[Figure, ...] = FIGURES
    goals: tuple["Goal", ...] = ()


class Spread(NamedTuple):
    """A median with the range it comes from."""

    median: float
    low: float
    high: float

    def range(self, form: str) -> str:
        """``low - high``, each by the format specification."""
        return f"{self.low:{form}} - {self.high:{form}}"

    def text(self, form: str) -> str:
        """``median (low - high)``."""
        return f"{self.median:{form}} ({self.range(form)})"


class Goal(NamedTuple):
    """What we want of a figure: ``bound`` for its value, or for its ratio to that of another contestant."""

    figure: Figure
    #: a contestant's name, ``BETTER_PEER`` or ``ITSELF``
    against: str
    bound: float


BETTER_PEER = "the better peer"
ITSELF = ""

GOALS = (
    Goal(figures.CONNECTIONS, BETTER_PEER, 1.15),
    Goal(figures.ROUND_TRIPS, BETTER_PEER, 1.1),
    Goal(figures.BULK, BETTER_PEER, 1.3),
    Goal(figures.BULK, NO_PROXY, 0.85),
    Goal(figures.BULK_MANY, BETTER_PEER, 1.3),
    Goal(figures.BULK_MANY, NO_PROXY, 0.85),
    Goal(figures.IDLE, ITSELF, 1.5),
)

DNS_GOALS = (
    Goal(figures.DNS_CORE, BETTER_PEER, 1.0),
    Goal(figures.DNS_LATENCY_P99, "dnsmasq", 1.0),
    Goal(figures.DNS_COLD, "dnsmasq", 0.7),
    Goal(figures.DNS_MEMORY, "unbound", 1.5),
)

#: for two processes against one
PROCESS_GOALS = (Goal(figures.DNS_CORE, ITSELF, 1.6),)

#: for the largest number of rules against the smallest
RULE_GOALS = (
    Goal(figures.CONNECTIONS, ITSELF, 0.95),
    Goal(figures.CONNECTION_CPU, ITSELF, 1.05),
)


def spread(values: Sequence[float]) -> Spread | None:
    """None without values."""
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def by_round(records: Iterable[Record], contestant: str, figure: Figure) -> dict[int, float]:
    """A contestant's values of a figure, by round."""
    return {
        record.round: record.sample.figures[figure]
        for record in records
        if record.contestant == contestant and figure in record.sample.figures
    }


def summary(records: Iterable[Record], contestant: str, figure: Figure) -> Spread | None:
    """A contestant's values of a figure, over all rounds."""
    return spread(list(by_round(records, contestant, figure).values()))


def ratio(records: Sequence[Record], figure: Figure, ours: str, theirs: str) -> Spread | None:
    """Ratio of two contestants in the rounds that both have."""
    above, below = by_round(records, ours, figure), by_round(records, theirs, figure)
    return spread([above[key] / below[key] for key in above if below.get(key)])


def better_peer(records: Sequence[Record], figure: Figure, names: Iterable[str]) -> str | None:
    """The peer (neither ours nor "no proxy") with the better median."""
    medians = {
        name: found.median
        for name in names
        if name not in (OURS, NO_PROXY) and (found := summary(records, name, figure)) is not None
    }
    if not medians:
        return None
    return (max if figure.more_is_better else min)(medians, key=lambda name: medians[name])


def _ratio_to_better(report: Report, figure: Figure) -> Spread | None:
    names = [contestant.name for contestant in report.contestants]
    peer = better_peer(report.records, figure, names)
    return ratio(report.records, figure, OURS, peer) if peer else None


# --------------------------------------------------------------------------------------------------------------- table


def _failed(records: Iterable[Record], contestant: str, figure: Figure) -> bool:
    return any(
        record.sample.failures and figure in record.sample.figures
        for record in records
        if record.contestant == contestant
    )


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


class _Column(NamedTuple):
    """A column of values or ratios: for a figure, its spread, how it is written, and whether a run of it failed."""

    title: str
    spread: Callable[[Figure], Spread | None]
    is_ratio: bool = False
    failed: Callable[[Figure], bool] = lambda _: False

    def cell(self, figure: Figure, write: Callable[[Spread, str], str]) -> str:
        found = self.spread(figure)
        if found is None:
            return "-"
        mark = "! " if self.failed(figure) else ""
        return mark + write(found, ".2f" if self.is_ratio else figure.form)


def _value_column(records: Sequence[Record], name: str, title: str) -> _Column:
    return _Column(
        title,
        spread=lambda figure: summary(records, name, figure),
        failed=lambda figure: _failed(records, name, figure),
    )


def _ratio_column(title: str, found: Callable[[Figure], Spread | None]) -> _Column:
    return _Column(title, found, is_ratio=True)


def _main_columns(report: Report) -> list[_Column]:
    names = [contestant.name for contestant in report.contestants]
    columns = [_value_column(report.records, name, name) for name in names]
    if OURS in names:
        columns.append(_ratio_column(": better peer", lambda figure: _ratio_to_better(report, figure)))
    if OURS in names and NO_PROXY in names:
        columns.append(_ratio_column(f": {NO_PROXY}", lambda figure: ratio(report.records, figure, OURS, NO_PROXY)))
    return columns


def _series_columns(series: Series) -> list[_Column]:
    names = series.names
    return [
        *(_value_column(series.records, name, f"{name} {series.unit}") for name in names),
        _ratio_column(f"{names[-1]} : {names[0]}", series.ratio),
    ]


def _table(title: str, columns: Sequence[_Column], rows: Sequence[Figure]) -> list[str]:
    """Medians and, below, the ranges that they come from; rows without any value are left out."""
    shown = [figure for figure in rows if any(column.spread(figure) for column in columns)]

    def lines(head: str, write: Callable[[Spread, str], str]) -> list[str]:
        body = [[figure.title, *(column.cell(figure, write) for column in columns)] for figure in shown]
        return _grid([[head, *(column.title for column in columns)], *body])

    medians = lines(f"median{title}", lambda found, form: f"{found.median:{form}}")
    return [*medians, "", *lines(f"min - max{title}", Spread.range), ""]


# --------------------------------------------------------------------------------------------------------------- goals


def _verdict(goal: Goal, found: Spread, what: str, form: str) -> str:
    met = found.median >= goal.bound if goal.figure.more_is_better else found.median <= goal.bound
    relation = "at least" if goal.figure.more_is_better else "at most"
    label = "met" if met else "MISSED"
    return f"  {label:6} {goal.figure.title.strip()}{what}: {found.text(form)}, wanted {relation} {goal.bound:g}"


def _goal_value(report: Report, goal: Goal) -> Spread | None:
    if goal.against == BETTER_PEER:
        return _ratio_to_better(report, goal.figure)
    if goal.against:
        return ratio(report.records, goal.figure, OURS, goal.against)
    return summary(report.records, OURS, goal.figure)


def _goals(report: Report) -> list[str]:
    lines = []
    for goal in report.goals:
        found = _goal_value(report, goal)
        if found is not None:
            what, form = (f" : {goal.against}", ".2f") if goal.against else ("", goal.figure.form)
            lines.append(_verdict(goal, found, what, form))
    for series in report.series:
        for goal in series.goals:
            found = series.ratio(goal.figure)
            if found is not None:
                what = f", {series.names[-1]} : {series.names[0]} {series.unit}"
                lines.append(_verdict(goal, found, what, ".3f"))
    return [f"goals for {OURS}", *lines, ""] if lines else []


# --------------------------------------------------------------------------------------------------------------- notes


def _runs(report: Report) -> list[Record]:
    return [*report.records, *(record for series in report.series for record in series.records)]


def failing(report: Report) -> list[Record]:
    """The runs in which something went wrong."""
    return [record for record in _runs(report) if record.sample.failures]


def _failures(report: Report) -> list[str]:
    return [
        f"! round {record.round}, {record.measure}, {record.contestant}: {record.sample.failures:,} failed, "
        f"the first: {record.sample.first_failure}"
        for record in failing(report)
    ]


def _disturbance(report: Report) -> list[str]:
    shares = [record.sample.foreign for record in _runs(report)]
    disturbed = sum(share > BUSY_LIMIT for share in shares)
    if not disturbed:
        return []
    return [
        f"{disturbed} of {len(shares)} runs were disturbed: something else used more than {BUSY_LIMIT:.0%} "
        f"of the machine (at worst {max(shares):.0%})"
    ]


def _head(report: Report) -> list[str]:
    lines = [f"machine: {report.machine}"]
    if report.warning:
        lines.append(f"WARNING: {report.warning}")
    lines.append(report.conditions)
    lines += [f"{entry.name}: {entry.version}; {entry.settings}" for entry in report.contestants if entry.version]
    return [*lines, ""]


def table(report: Report) -> str:
    """The whole report as text."""
    notes = [*_failures(report), *_disturbance(report), *(f"left out: {text}" for text in report.left_out)]
    return "\n".join(
        [
            *_head(report),
            *(_table("", _main_columns(report), report.figures) if report.records else []),
            *(
                line
                for series in report.series
                if series.records
                for line in _table(f" of {OURS}", _series_columns(series), series.figures)
            ),
            *_goals(report),
            *notes,
        ]
    )


# ---------------------------------------------------------------------------------------------------------------- JSON


def _run_value(record: Record) -> dict[str, Any]:
    sample = record.sample
    return {
        "round": record.round,
        "contestant": record.contestant,
        "measure": record.measure,
        "figures": {figure.key: value for figure, value in sample.figures.items()},
        "failures": sample.failures,
        "first_failure": sample.first_failure,
        "foreign_share": sample.foreign,
    }


def _medians(records: Sequence[Record], names: Iterable[str], rows: Sequence[Figure]) -> dict[str, Any]:
    return {
        name: {figure.key: found._asdict() for figure in rows if (found := summary(records, name, figure)) is not None}
        for name in names
    }


def _ratios(report: Report) -> dict[str, Any]:
    pairs = {
        figure.key: {
            "better_peer": _ratio_to_better(report, figure),
            "no_proxy": ratio(report.records, figure, OURS, NO_PROXY),
        }
        for figure in report.figures
    }
    return {
        key: {against: found._asdict() for against, found in pair.items() if found}
        for key, pair in pairs.items()
        if any(pair.values())
    }


def _series_value(series: Series) -> dict[str, Any]:
    ratios = {figure.key: found._asdict() for figure in series.figures if (found := series.ratio(figure)) is not None}
    return {
        "medians": _medians(series.records, series.names, series.figures),
        "ratios": ratios,
        "runs": [_run_value(record) for record in series.records],
    }


def as_json(report: Report) -> dict[str, Any]:
    """The whole report as a value for ``json.dump``: the summary, and every single run."""
    return {
        "machine": report.machine,
        "warning": report.warning,
        "conditions": report.conditions,
        "contestants": [contestant._asdict() for contestant in report.contestants],
        "medians": _medians(report.records, [entry.name for entry in report.contestants], report.figures),
        "ratios": _ratios(report),
        "runs": [_run_value(record) for record in report.records],
        "series": {series.key: _series_value(series) for series in report.series},
        "left_out": list(report.left_out),
    }
