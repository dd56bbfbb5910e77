"""What a resolver writes down of questions: those that the administrator wants to know of, and what is wrong with them.

Clients and name servers can have both said as often as they like. Of each kind so many lines are written in a second,
and then how many more there were. What the administrator asked for (``log = "all"``) is written all the same, and so is
what becomes of the name servers.
"""

from collections.abc import Callable

from gateway.config.settings import QueryLog
from gateway.dns.constants import rcode_text, type_text
from gateway.dns.forwarder import Record
from gateway.dns.names import text_name
from gateway.dns.pursuit import Pursuit
from gateway.dns.record import QueryRecord
from gateway.system.journal import Journal, Schedule

LINES = 20
"""Of one kind, in `SECONDS`."""

SECONDS = 1.0


class Budget:
    """How much of one kind may be written; a second begins with the first line that comes after the one before."""

    def __init__(self, schedule: Schedule, tell: Callable[[int], None]) -> None:
        """``tell`` hears, once a second is over, of how many lines were too many, if any were."""
        self._schedule = schedule
        self._tell = tell
        self._count = 0

    def admits(self) -> bool:
        """Whether one more line may be written."""
        if not self._count:
            self._schedule(SECONDS, self.settle)
        self._count += 1
        return self._count <= LINES

    def settle(self) -> None:
        """The second is over, or everything is."""
        count, self._count = self._count, 0
        if count > LINES:
            self._tell(count - LINES)


class QueryLogger:
    """Questions in the log: one line and one record each, if the administrator wants them (``[resolver] log``)."""

    def __init__(self, journal: Journal, schedule: Schedule) -> None:
        self._journal = journal
        self._failures = Budget(schedule, self._tell)

    def recorder(self, log: QueryLog) -> Record | None:
        """What writes down as much as that; None: nothing is."""
        return {QueryLog.NONE: None, QueryLog.FAILURES: self.failure, QueryLog.ALL: self.record}[log]

    def failure(self, pursuit: Pursuit, rcode: int, why: str, now: float) -> None:
        """A question got no good answer; as `gateway.dns.forwarder.Record`. Not every one of many is written."""
        if self._failures.admits():
            self.record(pursuit, rcode, why, now)

    def record(self, pursuit: Pursuit, rcode: int, why: str, now: float) -> None:
        """A question was answered; as `gateway.dns.forwarder.Record`."""
        query, client = pursuit.query, pursuit.client
        record = QueryRecord(
            time=self._journal.timestamp(),
            client="sockd" if client is None else str(client.address),
            name=text_name(query.name),
            type=type_text(query.type),
            rcode=rcode_text(rcode),
            zone=None if pursuit.zone is None else pursuit.zone.text,
            cache=pursuit.cache or "none",
            server=pursuit.server or None,
            egress=pursuit.way or None,
            ede=why or None,
            milliseconds=round((now - pursuit.began) * 1000, 3),
        )
        self._journal.line(record.line())
        self._journal.record(record)

    def _tell(self, more: int) -> None:
        self._journal.line(f"{_questions(more)} failed within {SECONDS:g} s")

    def settle(self) -> None:
        """Say what is left to be said: this is the end."""
        self._failures.settle()


def _questions(more: int) -> str:
    return "1 more question" if more == 1 else f"{more:,} more questions"


class QueryEvents:
    """What the forwarder has to say, in the log; `gateway.dns.outside.Events`."""

    def __init__(self, journal: Journal, schedule: Schedule) -> None:
        self._journal = journal
        self._schedule = schedule
        self._budgets: dict[str, Budget] = {}

    def line(self, text: str) -> None:
        """Something has changed."""
        self._journal.line(text)

    def trouble(self, text: str) -> None:
        """Something is wrong."""
        self._journal.trouble(text)

    def provoked(self, kind: str, text: str) -> None:
        """Something is wrong that others can cause as often as they like; not every one of many is written."""
        budget = self._budgets.get(kind)
        if budget is None:
            budget = self._budgets[kind] = Budget(self._schedule, lambda more: self._tell(kind, more))
        if budget.admits():
            self._journal.trouble(text)

    def _tell(self, kind: str, more: int) -> None:
        lines = "line" if more == 1 else "lines"
        self._journal.trouble(f"{more:,} more {lines} about {kind} within {SECONDS:g} s")

    def settle(self) -> None:
        """Say what is left to be said: this is the end."""
        for budget in self._budgets.values():
            budget.settle()
