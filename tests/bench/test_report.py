"""What the table says of given records: medians, ratios by round, marks, goals."""

import json

import pytest

from tests.bench import figures, report
from tests.bench.figures import FIGURES, Figure
from tests.bench.report import NO_PROXY, OURS, RULE_GOALS, Contestant, Record, Report, Series, Spread
from tests.bench.sample import Sample


def records(name: str, figure: Figure, *values: float) -> tuple[Record, ...]:
    return tuple(Record(number, name, "conn", Sample({figure: value})) for number, value in enumerate(values, 1))


def whole(*parts: tuple[Record, ...], rules: tuple[Record, ...] = ()) -> Report:
    names = (NO_PROXY, "microsocks", "danted", OURS)
    return Report(
        machine="a machine",
        warning="",
        conditions="conditions",
        contestants=tuple(Contestant(name, f"{name} 1.0", "as it comes") for name in names),
        records=sum(parts, ()),
        series=(Series("rules", "rules", ("10", "1,000", "10,000"), rules, RULE_GOALS),),
        left_out=(),
        goals=report.GOALS,
    )


def line_with(text: str, words: str) -> str:
    return next(line for line in text.splitlines() if words in line)


def test_figures_have_different_keys() -> None:
    assert len({figure.key for figure in FIGURES}) == len(FIGURES)


def test_a_summary_is_the_median_with_its_range() -> None:
    found = report.summary(records("danted", figures.CONNECTIONS, 10.0, 50.0, 20.0), "danted", figures.CONNECTIONS)
    assert found == Spread(20.0, 10.0, 50.0)


def test_a_ratio_pairs_values_of_the_same_round() -> None:
    # the medians' ratio would be 20/20; by round it is 2 in every one, as the machine slowed down for both
    ours = records(OURS, figures.CONNECTIONS, 80.0, 20.0, 10.0)
    theirs = records("danted", figures.CONNECTIONS, 40.0, 10.0, 5.0)
    assert report.ratio(ours + theirs, figures.CONNECTIONS, OURS, "danted") == Spread(2.0, 2.0, 2.0)


def test_a_ratio_leaves_out_rounds_that_one_side_lacks() -> None:
    ours = records(OURS, figures.CONNECTIONS, 80.0, 20.0)
    theirs = records("danted", figures.CONNECTIONS, 40.0)
    assert report.ratio(ours + theirs, figures.CONNECTIONS, OURS, "danted") == Spread(2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("figure", "better"),
    [
        pytest.param(figures.CONNECTIONS, "danted", id="of a rate the greater is better"),
        pytest.param(figures.IDLE, "microsocks", id="of memory the smaller is better"),
    ],
)
def test_the_better_peer_depends_on_the_figure_and_is_never_ourselves(figure: Figure, better: str) -> None:
    everything = (
        records("microsocks", figure, 10.0)
        + records("danted", figure, 20.0)
        + records(OURS, figure, 99.0 if figure.more_is_better else 1.0)
        + records(NO_PROXY, figure, 500.0)
    )
    assert report.better_peer(everything, figure, [NO_PROXY, "microsocks", "danted", OURS]) == better


def test_a_run_with_failures_marks_its_cell_and_is_told() -> None:
    bad = (Record(1, "danted", "conn", Sample({figures.CONNECTIONS: 9.0}, 3, "answer ended")),)
    text = report.table(whole(bad, records("microsocks", figures.CONNECTIONS, 8.0)))
    assert "! 9" in line_with(text, "new connections/s")
    assert "! 8" not in text
    assert "round 1, conn, danted: 3 failed, the first: answer ended" in text


def test_a_failure_without_any_figure_is_told_too() -> None:
    found = whole((Record(2, "danted", "idle", Sample({}, 1, "not allowed")),))
    assert "round 2, idle, danted: 1 failed, the first: not allowed" in report.table(found)
    assert len(report.failing(found)) == 1


def test_disturbed_runs_are_counted() -> None:
    quiet = Record(1, "danted", "conn", Sample({}, foreign=0.15))
    loud = Record(2, "danted", "conn", Sample({}, foreign=0.42))
    assert "1 of 2 runs were disturbed" in report.table(whole((quiet, loud)))
    assert "disturbed" not in report.table(whole((quiet,)))


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        pytest.param(115.0, "met", id="exactly the bound"),
        pytest.param(114.9, "MISSED", id="just below the bound"),
    ],
)
def test_a_goal_is_met_at_its_bound(ours: float, verdict: str) -> None:
    parts = records("danted", figures.CONNECTIONS, 100.0), records(OURS, figures.CONNECTIONS, ours)
    assert line_with(report.table(whole(*parts)), "wanted at least 1.15").split()[0] == verdict


@pytest.mark.parametrize(
    ("kilobytes", "verdict"),
    [
        pytest.param(1.5, "met", id="exactly the bound"),
        pytest.param(1.51, "MISSED", id="just above the bound"),
    ],
)
def test_of_memory_less_is_wanted(kilobytes: float, verdict: str) -> None:
    text = report.table(whole(records(OURS, figures.IDLE, kilobytes)))
    assert line_with(text, "wanted at most 1.5").split()[0] == verdict


def test_many_rules_are_compared_with_few() -> None:
    rules = records("10", figures.CONNECTIONS, 100.0) + records("10,000", figures.CONNECTIONS, 90.0)
    text = report.table(whole(rules=rules))
    assert line_with(text, "wanted at least 0.95").split()[0] == "MISSED"
    assert line_with(text, "new connections/s").split()[-1] == "0.90"


def test_the_json_can_be_written_and_holds_every_run() -> None:
    parts = records("danted", figures.CONNECTIONS, 100.0, 110.0), records(OURS, figures.CONNECTIONS, 200.0, 220.0)
    rules = records("10", figures.CONNECTIONS, 100.0) + records("10,000", figures.CONNECTIONS, 90.0)
    value = json.loads(json.dumps(report.as_json(whole(*parts, rules=rules))))
    assert len(value["runs"]) == 4
    assert len(value["series"]["rules"]["runs"]) == 2
    assert value["series"]["rules"]["ratios"]["conn_per_s"]["median"] == 0.9
    assert value["medians"]["danted"]["conn_per_s"] == {"median": 105.0, "low": 100.0, "high": 110.0}
    assert value["ratios"]["conn_per_s"]["better_peer"]["median"] == 2.0
