"""What operators are answered, by a daemon of which only the numbers and the files are real."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.control import protocol
from gateway.control.protocol import CacheEntry, ControlError, Filter, Live, Report, Resolved, Totals
from gateway.control.reply import Reply
from gateway.daemon.configuration import reproduce
from gateway.daemon.counters import UNMATCHED, Block, Slot, Slots
from gateway.daemon.gathering import Gathering, Gatherings
from gateway.daemon.host import Texts
from gateway.daemon.messages import (
    Answered,
    Ask,
    Dump,
    Dumped,
    Flush,
    Flushed,
    Found,
    Inquire,
    Kill,
    Killed,
    Message,
    Network,
)
from gateway.daemon.operations import Operations, Ruling, rfc3339
from tests.support.waiting import least
from tests.unit.daemon.operators import Operator

RULES = "deny ALL 192.0.2.0/24\n# a comment\npermit 10.0.0.0/8 \\\nALL\n"


def ruling(rules: str = RULES) -> Ruling:
    files = {"/g.toml": "[files]\naccess = '/sockd.conf'\n", "/sockd.conf": rules}
    configuration = reproduce(Texts("/g.toml", files, ("/g.toml",)), print)
    return Ruling(configuration, Slots().assign(configuration.access, rules), 1, "2026-01-01T00:00:00Z")


@dataclass
class Daemon:
    """As `Gateway`: it keeps what it is asked for."""

    ruling: Ruling = field(default_factory=ruling)
    network: Network = field(default_factory=Network)
    board: tuple[Block, ...] = field(default_factory=lambda: (Block(), Block()))
    gatherings: Gatherings = field(default_factory=Gatherings)
    asked: list[Message] = field(default_factory=list)
    resolvers: tuple[str, ...] = ("resolver 1", "resolver 2")
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def report(self) -> Report:
        return Report(
            "1", 1, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "0" * 64, "/g.toml", False, False, (), Totals(), (),
            (),
        )  # fmt: skip

    def ask_workers(self, message: Callable[[int], Message], over: Callable[[Gathering], None]) -> None:
        number, gathering = self.gatherings.begin(["worker 1", "worker 2"], 1000.0, over)
        self.asked.append(message(number))
        gathering.settle()

    def ask_resolvers(
        self, message: Callable[[int], Message], over: Callable[[Gathering], None], *, any_one: bool = False
    ) -> None:
        number, gathering = self.gatherings.begin(self.resolvers[:1] if any_one else self.resolvers, 1000.0, over)
        self.asked.append(message(number))
        gathering.settle()

    def reload_soon(self, recheck: bool, reply: Reply) -> None:
        self.calls.append(("reload", recheck, reply))

    def drain(self, timeout: float, reply: Reply) -> None:
        self.calls.append(("drain", timeout, reply))

    def tail(self, request: protocol.Tail, reply: Reply) -> None:
        self.calls.append(("tail", request, reply))


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    yield made
    for block in made.board:
        block.close()


@pytest.fixture
def operator() -> Iterator[Operator]:
    made = Operator()
    yield made
    made.close()


def live(number: int, seconds: float, volume: int = 0) -> Live:
    return Live(
        f"s-{number}", 1, "relaying", "10.0.0.1:1", None, None, "", None, None, None, None, None, None, volume, 0,
        seconds,
    )  # fmt: skip


def test_status_is_the_daemons_report(daemon: Daemon, operator: Operator) -> None:
    Operations(daemon).handle(protocol.Status(), operator.reply)
    assert operator.told()[0]["done"]["path"] == "/g.toml"


def test_sessions_of_all_workers_come_sorted_and_no_more_than_were_asked_for(
    daemon: Daemon, operator: Operator
) -> None:
    Operations(daemon).handle(protocol.Sessions(sort="age", limit=3), operator.reply)
    (question,) = daemon.asked
    assert isinstance(question, Inquire)
    assert (question.sort, question.limit) == ("age", 3)
    add, number = daemon.gatherings.add, question.number
    add(number, "worker 1", Found(number, (live(1, 5), live(2, 1))), is_last=False)
    add(number, "worker 1", Found(number, (), 2))
    assert operator.told() == []
    add(number, "worker 2", Found(number, (live(3, 3), live(4, 9)), 40))
    *rows, done = operator.told()
    assert [line["row"]["session"] for line in rows] == ["s-4", "s-1", "s-3"]
    assert done["done"]["matched"] == 42


def test_who_does_not_answer_is_named_and_who_died_is_not_missed(daemon: Daemon, operator: Operator) -> None:
    Operations(daemon).handle(protocol.Sessions(), operator.reply)
    daemon.gatherings.gone("worker 1")
    (gathering,) = daemon.gatherings._open.values()
    gathering._until = time.monotonic()
    daemon.gatherings.tick()
    assert operator.told()[0]["error"] == "not all workers answered: worker 2: no answer in time"


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(protocol.Sessions(sort="name"), id="another order"),
        pytest.param(protocol.Sessions(limit=0), id="none at all"),
        pytest.param(protocol.Sessions(limit=-1), id="fewer than none"),
        pytest.param(protocol.Sessions(limit=protocol.MAX_ROWS + 1), id="too many"),
        pytest.param(protocol.Sessions(filter=Filter(source="nonsense")), id="a filter that says nothing"),
        pytest.param(protocol.Kill(), id="nobody in particular"),
        pytest.param(protocol.Kill(Filter(rule="x")), id="a line that is none"),
        pytest.param(protocol.Drain(-1), id="a time before now"),
        pytest.param(protocol.CacheFlush(zone="a..b"), id="a zone that is none"),
        pytest.param(protocol.CacheFlush(name="x" * 64), id="a name that is none"),
        pytest.param(protocol.CacheDump(name="a..b"), id="a name that is none, to be shown"),
        pytest.param(protocol.CacheDump(limit=0), id="no answers at all"),
        pytest.param(protocol.CacheDump(limit=protocol.MAX_ROWS + 1), id="too many answers"),
    ],
)
def test_what_can_not_be_done_is_refused_and_nobody_is_asked(
    daemon: Daemon, operator: Operator, request_: protocol.Request
) -> None:
    with pytest.raises(ControlError):
        Operations(daemon).handle(request_, operator.reply)
    assert daemon.asked == []
    assert daemon.calls == []


@pytest.mark.parametrize("limit", [1, protocol.MAX_ROWS])
def test_limits_that_are(daemon: Daemon, operator: Operator, limit: int) -> None:
    Operations(daemon).handle(protocol.Sessions(limit=limit), operator.reply)
    assert len(daemon.asked) == 1


@pytest.mark.parametrize("filter", [Filter(session="*"), Filter(user="fred"), Filter(session="s-1")])
def test_sessions_are_ended_by_all_workers_and_counted(daemon: Daemon, operator: Operator, filter: Filter) -> None:
    Operations(daemon).handle(protocol.Kill(filter), operator.reply)
    (question,) = daemon.asked
    assert isinstance(question, Kill)
    assert question.filter == filter
    for number, name in enumerate(("worker 1", "worker 2"), 1):
        daemon.gatherings.add(question.number, name, Killed(question.number, number))
    assert operator.told()[0]["done"] == {"killed": 3}


def test_each_line_is_shown_with_what_it_decided_and_last_what_no_line_did(daemon: Daemon, operator: Operator) -> None:
    first, second = daemon.ruling.slots
    daemon.board[0].set_slot(first, Slot(1, 10, 100, 86400))
    daemon.board[1].set_slot(first, Slot(2, 20, 200, 2 * 86400))
    daemon.board[1].set_slot(UNMATCHED, Slot(7, 0, 0, 0))
    Operations(daemon).handle(protocol.Rules(), operator.reply)
    *rows, done = operator.told()
    assert [tuple(line["row"].values()) for line in rows] == [
        ("sockd.conf:1", "deny ALL 192.0.2.0/24", 3, 30, 300, "1970-01-03T00:00:00Z"),
        ("sockd.conf:3", "permit 10.0.0.0/8 ALL", 0, 0, 0, None),
        ("", "(no line matches)", 7, 0, 0, None),
    ]
    assert done["done"] == {}
    assert second != first


def test_ten_thousand_lines_are_listed_in_less_than_a_moment(daemon: Daemon) -> None:
    """Every scrape of the metrics does that, and the supervisor does nothing else meanwhile."""
    daemon.ruling = ruling("".join(f"permit 10.{n // 250}.{n % 250}.0/24 ALL\n" for n in range(10_000)))
    operations = Operations(daemon)
    assert len(list(operations.rules())) == 10_001

    def measure() -> float:
        before = time.process_time()
        list(operations.rules())
        return time.process_time() - before

    assert least(measure, below=1.0) < 1.0  # a look at all lines for each of them would take several


def test_the_configuration_is_shown_without_its_secrets(daemon: Daemon, operator: Operator) -> None:
    Operations(daemon).handle(protocol.Loaded(), operator.reply)
    done = operator.told()[0]["done"]
    assert done["files"] == {"/sockd.conf": RULES}
    assert done["loaded"] == "2026-01-01T00:00:00Z"


def test_metrics_are_those_that_are_scraped(daemon: Daemon, operator: Operator) -> None:
    operations = Operations(daemon)
    operations.handle(protocol.Metrics(), operator.reply)
    text = operator.told()[0]["done"]["text"]
    assert text == operations.metrics().decode()
    assert 'rule="sockd.conf:3"' in text


def test_what_is_the_daemons_alone_is_handed_on(daemon: Daemon, operator: Operator) -> None:
    operations = Operations(daemon)
    tail = protocol.Tail(Filter(user="fred"))
    for request in (protocol.Reload(recheck=True), protocol.Drain(0.0), protocol.Drain(2.5), tail):
        operations.handle(request, operator.reply)
    assert [call[:2] for call in daemon.calls] == [("reload", True), ("drain", 0.0), ("drain", 2.5), ("tail", tail)]
    assert all(call[2] is operator.reply for call in daemon.calls)


# Names


def resolved(name: str = "www.corp.example.") -> Resolved:
    return Resolved(name, "A", "NOERROR", (), "corp.example", 0, "", "", "miss", "", "", 0.5, ("one", "two"))


def entry(number: int) -> CacheEntry:
    return CacheEntry("corp.example", 0, f"h{number}.", "A", "NOERROR", (), 60, "10.0.0.53")


def test_a_name_is_asked_for_at_one_resolver_and_its_steps_are_rows(daemon: Daemon, operator: Operator) -> None:
    Operations(daemon).handle(protocol.Resolve("www.corp.example", "MX", "10.0.0.9"), operator.reply)
    (question,) = daemon.asked
    assert isinstance(question, Ask)
    assert (question.name, question.kind, question.client) == ("www.corp.example", "MX", "10.0.0.9")
    assert operator.told() == []
    daemon.gatherings.add(question.number, "resolver 1", Answered(question.number, resolved()))
    *rows, done = operator.told()
    assert [line["row"] for line in rows] == [{"text": "one"}, {"text": "two"}]
    assert done["done"]["name"] == "www.corp.example."


def test_what_a_resolver_can_not_ask_is_an_error(daemon: Daemon, operator: Operator) -> None:
    Operations(daemon).handle(protocol.Resolve("a..b"), operator.reply)
    (question,) = daemon.asked
    assert isinstance(question, Ask)
    daemon.gatherings.add(question.number, "resolver 1", Answered(question.number, None, "an empty label"))
    assert operator.told()[0]["error"] == "an empty label"


@pytest.mark.parametrize(
    "request_",
    [protocol.Resolve("www.example"), protocol.CacheFlush(), protocol.CacheDump()],
    ids=["ask", "flush", "dump"],
)
def test_without_a_resolver_that_is_said(daemon: Daemon, operator: Operator, request_: protocol.Request) -> None:
    daemon.resolvers = ()
    Operations(daemon).handle(request_, operator.reply)
    assert operator.told()[0]["error"].startswith("no resolver runs; ")


@pytest.mark.parametrize(
    "request_",
    [protocol.Resolve("www.example"), protocol.CacheFlush(), protocol.CacheDump()],
    ids=["ask", "flush", "dump"],
)
def test_a_resolver_that_does_not_answer_is_named(
    daemon: Daemon, operator: Operator, request_: protocol.Request
) -> None:
    daemon.resolvers = ("resolver 1",)
    Operations(daemon).handle(request_, operator.reply)
    (gathering,) = daemon.gatherings._open.values()
    gathering._until = time.monotonic()
    daemon.gatherings.tick()
    assert operator.told()[0]["error"] == "not all resolvers answered: resolver 1: no answer in time"


def test_what_all_resolvers_have_forgotten_is_counted(daemon: Daemon, operator: Operator) -> None:
    Operations(daemon).handle(protocol.CacheFlush(zone="corp.example", name="www.corp.example"), operator.reply)
    (question,) = daemon.asked
    assert isinstance(question, Flush)
    assert (question.zone, question.name) == ("corp.example", "www.corp.example")
    for number, name in enumerate(daemon.resolvers, 1):
        daemon.gatherings.add(question.number, name, Flushed(question.number, number))
    assert operator.told()[0]["done"] == {"flushed": 3}


def test_what_all_resolvers_know_is_listed_and_no_more_than_was_asked_for(daemon: Daemon, operator: Operator) -> None:
    Operations(daemon).handle(protocol.CacheDump(limit=3), operator.reply)
    (question,) = daemon.asked
    assert isinstance(question, Dump)
    add, number = daemon.gatherings.add, question.number
    add(number, "resolver 1", Dumped(number, (entry(1), entry(2))), is_last=False)
    add(number, "resolver 1", Dumped(number, (), 7))
    add(number, "resolver 2", Dumped(number, (entry(3), entry(4)), 2))
    *rows, done = operator.told()
    assert [line["row"]["name"] for line in rows] == ["h1.", "h2.", "h3."]
    assert done["done"] == {"matched": 9}


def test_times_are_in_utc() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(86399.9) == "1970-01-01T23:59:59Z"
