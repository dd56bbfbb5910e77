"""When a daemon that accepts nobody any more ends, and what those who wait for that are told."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.daemon import draining as module
from gateway.daemon.draining import QUIET_SECONDS, Draining
from tests.unit.daemon.operators import Operator

BEGUN = "draining -- nobody is accepted any more"


class Daemon:
    """Its sessions, its clock and what it said."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sessions = 0
        self.lines: list[str] = []
        self.draining = Draining(lambda: self.sessions, self.lines.append)

    def pass_time(self, seconds: float, *, settled: bool = True) -> bool:
        """Whether it is over then."""
        self.now += seconds
        self.draining.tick(settled=settled)
        return self.draining.is_over()


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    made = Daemon()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


@pytest.fixture
def operators() -> Iterator[tuple[Operator, Operator]]:
    both = Operator(), Operator()
    yield both
    for one in both:
        one.close()


Operators = tuple[Operator, Operator]


def told(operator: Operator) -> list[dict[str, Any]]:
    """What came, without the version of the protocol."""
    return [{key: value for key, value in line.items() if key != "v"} for line in operator.told()]


def test_nothing_is_over_that_was_not_begun(daemon: Daemon) -> None:
    for _ in range(3):
        assert not daemon.pass_time(1000)
    assert not daemon.draining.is_on
    assert daemon.lines == []


def test_it_is_over_when_nobody_was_served_for_a_while_and_not_before(daemon: Daemon, operators: Operators) -> None:
    daemon.sessions = 1
    daemon.draining.begin(0, operators[0].reply)
    assert not daemon.pass_time(1000)
    daemon.sessions = 0
    assert not daemon.pass_time(1)
    assert not daemon.pass_time(QUIET_SECONDS - 0.1)
    assert daemon.pass_time(0.2)
    assert daemon.lines == [BEGUN, "drained -- the last session has ended"]


def test_a_session_that_shows_late_begins_the_while_anew(daemon: Daemon, operators: Operators) -> None:
    daemon.draining.begin(0, operators[0].reply)
    assert not daemon.pass_time(1)
    daemon.sessions = 1
    assert not daemon.pass_time(QUIET_SECONDS)
    daemon.sessions = 0
    assert not daemon.pass_time(1)
    assert not daemon.pass_time(QUIET_SECONDS - 0.1)
    assert daemon.pass_time(0.2)


def test_as_long_as_a_worker_has_not_heard_it_nothing_is_over_and_nothing_is_told(
    daemon: Daemon, operators: Operators
) -> None:
    daemon.draining.begin(0, operators[0].reply)
    for _ in range(3):
        assert not daemon.pass_time(QUIET_SECONDS * 2, settled=False)
    assert told(operators[0]) == []
    assert not daemon.pass_time(1)
    assert told(operators[0]) == [{"row": {"sessions": 0}}]


@pytest.mark.parametrize(
    ("sessions", "left"), [(0, "0 sessions are"), (1, "1 session is"), (2, "2 sessions are")], ids=str
)
def test_when_its_time_is_up_it_says_who_is_left(
    daemon: Daemon, operators: Operators, sessions: int, left: str
) -> None:
    daemon.sessions = sessions
    daemon.draining.begin(2, operators[0].reply)
    assert not daemon.pass_time(1.9)
    assert daemon.pass_time(0.1)
    assert daemon.lines == [BEGUN, f"drained -- time is up, {left} ended"]


@pytest.mark.parametrize(
    ("first", "second", "ends_after"),
    [
        pytest.param(100, 5, 5, id="a nearer one counts"),
        pytest.param(5, 100, 5, id="a farther one does not"),
        pytest.param(0, 5, 5, id="one that comes after none counts"),
        pytest.param(5, 0, 5, id="one stays when another has none"),
    ],
)
def test_of_two_times_the_nearer_one_counts(
    daemon: Daemon, operators: Operators, first: float, second: float, ends_after: float
) -> None:
    daemon.sessions = 1
    daemon.draining.begin(first, operators[0].reply)
    daemon.draining.begin(second, operators[1].reply)
    assert not daemon.pass_time(ends_after - 0.1)
    assert daemon.pass_time(0.2)
    assert daemon.lines[0] == BEGUN
    assert len(daemon.lines) == 2


def test_a_time_counts_from_when_it_was_asked_for(daemon: Daemon, operators: Operators) -> None:
    daemon.sessions = 1
    daemon.draining.begin(10, operators[0].reply)
    assert not daemon.pass_time(8)
    daemon.draining.begin(10, operators[1].reply)
    assert daemon.pass_time(2)


def test_all_who_wait_are_told_each_change_once(daemon: Daemon, operators: Operators) -> None:
    first, second = operators
    daemon.sessions = 2
    daemon.draining.begin(0, first.reply)
    for sessions in (2, 2, 1):
        daemon.sessions = sessions
        daemon.pass_time(1)
    assert told(first) == [{"row": {"sessions": 2}}, {"row": {"sessions": 1}}]
    daemon.draining.begin(0, second.reply)
    daemon.pass_time(1)
    assert told(second) == [{"row": {"sessions": 1}}]
    told(first)
    daemon.draining.end()
    for one in operators:
        assert told(one) == [{"done": {"sessions": 0}}]


def test_it_is_said_once_however_many_want_it(daemon: Daemon, operators: Operators) -> None:
    for one in operators:
        daemon.draining.begin(0, one.reply)
    assert daemon.draining.is_on
    assert daemon.lines == [BEGUN]
