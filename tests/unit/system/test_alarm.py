"""What processes that share a target know of its state: one of them says it, all of them count."""

import errno
import os

import pytest

from gateway.system.alarm import CALM_SECONDS, Alarm, Losses

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

FULL = OSError(errno.ENOSPC, "No space left on device")


class Watched:
    """An alarm, its clock, and what it said."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.said: list[tuple[str, bool]] = []
        self.alarm = Alarm("/var/log/x", lambda text, is_error: self.said.append((text, is_error)), lambda: self.now)


def test_a_failure_is_said_once_and_the_end_of_it_once() -> None:
    watched = Watched()
    for _ in range(3):
        watched.alarm.failed(FULL)
        watched.alarm.lose(2)
    watched.now += CALM_SECONDS
    for _ in range(3):
        watched.alarm.works()
    assert not watched.alarm.is_on
    assert watched.said == [
        ("/var/log/x: No space left on device; what can not be written is lost and counted", True),
        ("/var/log/x: can be written again; 6 lines were lost meanwhile", False),
    ]


def test_what_was_lost_before_is_not_counted_to_it() -> None:
    watched = Watched()
    watched.alarm.lose(100)
    watched.alarm.failed(FULL)
    watched.alarm.lose(3)
    watched.now += CALM_SECONDS
    watched.alarm.works()
    assert "; 3 lines" in watched.said[-1][0]
    assert (watched.alarm.lost, watched.alarm.lost_by_all) == (103, 103)


@pytest.mark.parametrize(
    ("after", "is_on"),
    [
        pytest.param(0.0, True, id="at once"),
        pytest.param(CALM_SECONDS - 0.01, True, id="a little before"),
        pytest.param(CALM_SECONDS, False, id="at the limit"),
        pytest.param(-3600.0, False, id="after the clock was set back"),
    ],
)
def test_the_end_is_believed_after_a_while(after: float, is_on: bool) -> None:
    watched = Watched()
    watched.now = 10_000.0
    watched.alarm.failed(FULL)
    watched.now += after
    watched.alarm.works()
    assert watched.alarm.is_on is is_on


def test_a_target_that_always_worked_is_no_news() -> None:
    watched = Watched()
    watched.alarm.works()
    assert watched.said == []


def test_a_child_knows_what_its_parent_said_and_the_parent_what_a_dead_child_lost() -> None:
    watched = Watched()
    watched.alarm.failed(FULL)
    child = os.fork()
    if not child:
        watched.said.clear()
        watched.alarm.settle()
        watched.alarm.failed(FULL)
        watched.alarm.lose(5)
        os._exit(len(watched.said) * 10 + watched.alarm.lost)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    assert (watched.alarm.lost, watched.alarm.lost_by_all) == (0, 5)


def test_what_only_counts_says_nothing() -> None:
    losses = Losses()
    losses.failed(FULL)
    losses.lose(2)
    losses.works()
    assert losses.lost == 2
