"""The worker's clock of the week, and what its descriptors are for."""

import os
import time
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.daemon.worker import MAX_ATTEMPTS, MAX_PIPES, MAX_SESSIONS, RESERVED_DESCRIPTORS, minute_of_week, share
from gateway.net.lookup import THREADS


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The process's time zone; set back afterwards."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


MONDAY = datetime(2026, 1, 5, tzinfo=ZoneInfo("UTC")).timestamp()


@pytest.mark.parametrize("zone", ["UTC"], indirect=True)
@pytest.mark.parametrize(
    ("later", "minute"),
    [
        pytest.param(0, 0, id="Monday 00:00"),
        pytest.param(59.999, 0, id="the end of the first minute"),
        pytest.param(60, 1, id="the second minute"),
        pytest.param(-1, 7 * 1440 - 1, id="the last minute of Sunday"),
        pytest.param(86400, 1440, id="Tuesday 00:00"),
        pytest.param(4 * 86400 + 17 * 3600 + 59 * 60, 4 * 1440 + 1079, id="Friday 17:59"),
    ],
)
@pytest.mark.usefixtures("zone")
def test_the_minute_of_the_week(later: float, minute: int) -> None:
    assert minute_of_week(lambda: MONDAY + later)() == minute


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu", "America/New_York"], indirect=True)
def test_the_week_is_the_local_one_also_when_the_clock_is_put_forward_and_back(zone: str) -> None:
    where = ZoneInfo(zone)
    start = datetime(2026, 3, 7, tzinfo=where).timestamp()
    for hours in range(0, 24 * 260, 5):
        moment = start + hours * 3600 + 90
        local = datetime.fromtimestamp(moment, where)
        expected = (local.weekday() * 24 + local.hour) * 60 + local.minute
        assert minute_of_week(lambda moment=moment: moment)() == expected  # type: ignore[misc]


def test_the_time_zone_is_asked_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    localtime = time.localtime
    moments = [MONDAY]

    def counting(seconds: float) -> time.struct_time:
        asked.append(seconds)
        return localtime(seconds)

    minute = minute_of_week(lambda: moments[0])
    monkeypatch.setattr(time, "localtime", counting)
    for _ in range(100):
        minute()
    assert len(asked) == 1
    moments[0] += 60
    minute()
    moments[0] -= 60
    minute()
    assert len(asked) == 3


@given(st.integers(0, 1 << 20), st.integers(0, 1 << 20))
def test_what_descriptors_are_for_never_exceeds_them(descriptors: int, wanted: int) -> None:
    found = share(descriptors, wanted)
    assert found.sessions >= 1
    assert 0 <= found.pipes <= MAX_PIPES
    assert 0 <= found.lookups <= THREADS
    assert found.sessions <= (wanted or MAX_SESSIONS)
    if found.sessions > 1:
        assert RESERVED_DESCRIPTORS + 2 * (found.sessions + found.pipes) + found.lookups + found.attempts <= descriptors


@pytest.mark.parametrize("descriptors", [64, 128, 256, 1024])
def test_even_few_descriptors_leave_a_thread_for_look_ups(descriptors: int) -> None:
    """A pool of no threads is an error, and a worker that can not resolve is none."""
    assert share(descriptors, 0).lookups >= 1


def test_many_descriptors_are_used() -> None:
    found = share(1 << 20, 0)
    assert found == (MAX_SESSIONS, MAX_PIPES, THREADS, MAX_ATTEMPTS)
    assert share(1 << 20, 500).sessions == 500
