"""What operators are answered, by a daemon of which only the numbers and the files are real."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.control import protocol
from gateway.control.protocol import ControlError, Filter, Live, Report, Totals
from gateway.control.reply import Reply
from gateway.daemon.configuration import reproduce
from gateway.daemon.counters import UNMATCHED, Block, Slot, Slots
from gateway.daemon.gathering import Gathering, Gatherings
from gateway.daemon.host import Texts
from gateway.daemon.messages import Found, Inquire, Kill, Killed, Message, Network
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


def test_times_are_in_utc() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(86399.9) == "1970-01-01T23:59:59Z"
