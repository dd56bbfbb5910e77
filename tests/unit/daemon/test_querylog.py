"""Questions in both logs: who asked, who was asked, what was told and why."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import QueryLog
from gateway.daemon.querylog import LINES, SECONDS, QueryEvents, QueryLogger
from gateway.dns.constants import NOERROR, NXDOMAIN, SERVFAIL, A
from gateway.dns.names import wire_name
from gateway.dns.pursuit import Pursuit
from gateway.dns.query import Query, build_query, read_query
from gateway.system.journal import FileSink, Journal
from gateway.system.sinks import LOG_FLAGS
from tests.unit.dns.world import Asker, World, here

TEXT = """
[[resolver.zone]]
name = "corp.example"
servers = ["10.0.0.53"]
"""


class Place:
    """A logger, and what it has written."""

    def __init__(self, folder: Path) -> None:
        self.world = World(TEXT)
        self.paths = folder / "log", folder / "json"
        classic, records = (FileSink(os.open(path, LOG_FLAGS, 0o600)) for path in self.paths)
        self.sinks = classic, records
        self.journal = Journal(classic, records, wall=lambda: 1_764_000_000.25)
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.logger = QueryLogger(self.journal, self.schedule)
        self.events = QueryEvents(self.journal, self.schedule)

    def schedule(self, seconds: float, call: Callable[[], None]) -> None:
        self.timers.append((seconds, call))

    def second(self) -> None:
        """One goes by."""
        timers, self.timers = self.timers, []
        for seconds, call in timers:
            assert seconds == SECONDS
            call()

    def lines(self) -> list[str]:
        """Without the time and the process."""
        return [line.split("]: ", 1)[-1] for line in self.line().splitlines()]

    def pursuit(self, name: str, client: str = "10.0.0.9") -> Pursuit:
        query = read_query(build_query(1, wire_name(name), A, variant=0))
        assert isinstance(query, Query)
        who = self.world.clients.of(here(client).packed, 1000.0) if client else None
        view = self.world.forwarder.zones.views[0]
        return Pursuit(b"", query, view, who, Asker(), 1000.0)

    def line(self) -> str:
        return self.paths[0].read_text()

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.paths[1].read_text())
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for sink in made.sinks:
        os.close(sink.fd)


def test_an_answer_is_written_with_client_and_upstream_in_both_logs(place: Place) -> None:
    pursuit = place.pursuit("www.corp.example")
    pursuit.zone = place.world.forwarder.zones.zones[0]
    pursuit.cache, pursuit.server, pursuit.way = "miss", "10.0.0.53", "eth1"
    place.logger.record(pursuit, NOERROR, "", 1000.0123)
    assert place.line().endswith(
        ": query 10.0.0.9 www.corp.example. A: NOERROR (corp.example, miss, 10.0.0.53 by eth1, 12.3 ms)\n"
    )
    assert place.record() == {
        "time": "2025-11-24T16:00:00.250Z",
        "client": "10.0.0.9",
        "name": "www.corp.example.",
        "type": "A",
        "rcode": "NOERROR",
        "zone": "corp.example",
        "cache": "miss",
        "server": "10.0.0.53",
        "egress": "eth1",
        "ede": None,
        "milliseconds": 12.3,
    }


def test_what_nobody_was_asked_for_is_written_without(place: Place) -> None:
    place.logger.record(place.pursuit("www.corp.example"), NXDOMAIN, "", 1000.0)
    assert "NXDOMAIN (no zone, none, 0.0 ms)" in place.line()
    found = place.record()
    assert (found["zone"], found["cache"], found["server"], found["egress"]) == (None, "none", None, None)


def test_a_failure_is_written_with_its_reason_and_on_one_line(place: Place) -> None:
    pursuit = place.pursuit("www.corp.example")
    place.logger.record(pursuit, SERVFAIL, "zone corp.example: 10.0.0.53\nsays REFUSED", 1000.0)
    assert len(place.line().splitlines()) == 1
    assert place.line().endswith(r": zone corp.example: 10.0.0.53\010says REFUSED" + "\n")
    assert place.record()["ede"] == "zone corp.example: 10.0.0.53\nsays REFUSED"


def test_the_daemons_own_questions_are_written_as_its_own(place: Place) -> None:
    place.logger.record(place.pursuit("www.corp.example", client=""), NOERROR, "", 1000.0)
    assert ": query sockd www.corp.example. A: " in place.line()
    assert place.record()["client"] == "sockd"


def test_a_name_can_not_pass_itself_off_as_more_of_the_line(place: Place) -> None:
    place.logger.record(place.pursuit(r"a\010sockd\032stopped.example"), NOERROR, "", 1000.0)
    assert len(place.line().splitlines()) == 1
    assert r" a\010sockd\032stopped.example. A: " in place.line()


# Many of them


@pytest.mark.parametrize(
    ("failed", "last"),
    [
        pytest.param(LINES, "query 10.0.0.9 www.corp.example. A: SERVFAIL (no zone, none, 0.0 ms)", id="just enough"),
        pytest.param(LINES + 1, "1 more question failed within 1 s", id="one too many"),
        pytest.param(LINES + 5000, "5,000 more questions failed within 1 s", id="a flood"),
    ],
)
def test_of_many_failures_in_a_second_some_are_written_and_the_others_counted(
    place: Place, failed: int, last: str
) -> None:
    pursuit = place.pursuit("www.corp.example")
    for _ in range(failed):
        place.logger.failure(pursuit, SERVFAIL, "", 1000.0)
    assert len(place.lines()) == LINES
    assert len(place.timers) == 1
    place.second()
    assert place.lines()[-1] == last
    assert place.paths[1].read_text().count("\n") == LINES
    place.second()
    assert place.lines()[-1] == last, "that is said once"
    place.logger.failure(pursuit, SERVFAIL, "", 1000.0)
    assert place.lines()[-1].startswith("query "), "and then there is room again"


def test_what_the_administrator_asked_for_is_written_whatever_it_is(place: Place) -> None:
    assert place.logger.recorder(QueryLog.NONE) is None
    pursuit = place.pursuit("www.corp.example")
    written = []
    for log in (QueryLog.FAILURES, QueryLog.ALL):
        record = place.logger.recorder(log)
        assert record is not None
        before = len(place.lines())
        for _ in range(LINES + 3):
            record(pursuit, SERVFAIL, "", 1000.0)
        written.append(len(place.lines()) - before)
    assert written == [LINES, LINES + 3]


def test_troubles_that_others_can_cause_are_counted_each_kind_by_itself(place: Place) -> None:
    for number in range(LINES + 2):
        place.events.provoked("wrong answers", f"wrong {number}")
    place.events.provoked("blocked names", "blocked")
    for number in range(LINES + 2):
        place.events.trouble(f"name server {number} is down")
        place.events.line(f"name server {number} is up")
    assert sum(line.startswith("wrong ") for line in place.lines()) == LINES
    assert sum(line.endswith((" is down", " is up")) for line in place.lines()) == 2 * (LINES + 2), "these always are"
    assert "blocked" in place.lines()
    place.second()
    assert place.lines()[-1] == "2 more lines about wrong answers within 1 s"
    assert not any("about blocked" in line for line in place.lines())


def test_at_the_end_nothing_is_left_unsaid(place: Place) -> None:
    pursuit = place.pursuit("www.corp.example")
    for _ in range(LINES + 1):
        place.logger.failure(pursuit, SERVFAIL, "", 1000.0)
        place.events.provoked("wrong answers", "wrong")
    place.logger.settle()
    place.events.settle()
    expected = ["1 more question failed within 1 s", "1 more line about wrong answers within 1 s"]
    assert place.lines()[-2:] == expected
    place.second()
    assert place.lines()[-2:] == expected
