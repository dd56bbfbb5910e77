"""What the daemon answers on its control socket; each request of `gateway.control.protocol` has its method here.

What it looks at and what it can do is the supervisor's (`Gateway`); nothing here waits.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from gateway.control import protocol
from gateway.control.metrics import exposition
from gateway.control.protocol import ControlError, Live, Report, RuleUse
from gateway.control.selection import Selection
from gateway.control.server import Reply
from gateway.daemon import messages
from gateway.daemon.answers import EVERYBODY, ORDERS
from gateway.daemon.configuration import Configuration
from gateway.daemon.counters import UNMATCHED, Block, total_slot, written_lines
from gateway.daemon.gathering import Gathering
from gateway.dns.names import BadName, wire_name

ANSWER_SECONDS = 10.0
"""How long workers may take for an answer."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The files that rule now."""

    configuration: Configuration
    #: of the lines of sockd.conf
    slots: tuple[int, ...]
    #: grows with each loading
    number: int
    #: when they were loaded, RFC 3339 in UTC
    loaded: str


class Gateway(Protocol):
    """The daemon as a whole."""

    ruling: Ruling
    network: messages.Network
    board: tuple[Block, ...]

    def report(self) -> Report:
        """How all is."""

    def ask_workers(self, message: Callable[[int], messages.Message], over: Callable[[Gathering], None]) -> None:
        """Put a question to all workers; it is made with its number."""

    def ask_resolvers(
        self, message: Callable[[int], messages.Message], over: Callable[[Gathering], None], *, any_one: bool = False
    ) -> None:
        """Put a question to all resolvers, or to one of them."""

    def reload_soon(self, recheck: bool, reply: Reply) -> None:
        """Load the files anew, and answer then."""

    def drain(self, timeout: float, reply: Reply) -> None:
        """Accept nobody any more, and end when nobody is left."""

    def tail(self, request: protocol.Tail, reply: Reply) -> None:
        """Have the reader get the records."""


class Operations:
    """The operator's requests."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._methods: Mapping[type, Callable[[Any, Reply], None]] = {
            protocol.Status: self._status,
            protocol.Sessions: self._sessions,
            protocol.Kill: self._kill,
            protocol.Rules: self._rules,
            protocol.Loaded: self._configuration,
            protocol.Reload: lambda request, reply: gateway.reload_soon(request.recheck, reply),
            protocol.Drain: self._drain,
            protocol.Tail: gateway.tail,
            protocol.Metrics: self._metrics,
            protocol.Resolve: self._resolve,
            protocol.CacheFlush: self._flush,
            protocol.CacheDump: self._dump,
        }

    def handle(self, request: protocol.Request, reply: Reply) -> None:
        """Answer a request, now or later. Raises ControlError for what can not be done."""
        self._methods[type(request)](request, reply)

    def _status(self, _request: protocol.Status, reply: Reply) -> None:
        reply.done(self._gateway.report())

    def _sessions(self, request: protocol.Sessions, reply: Reply) -> None:
        if request.sort not in ORDERS:
            raise ControlError(f"sessions are sorted by {' or '.join(ORDERS)}, not by {request.sort!r}")
        if not 0 < request.limit <= protocol.MAX_ROWS:
            raise ControlError(f"the limit is a number from 1 to {protocol.MAX_ROWS}")
        Selection.of(request.filter)

        def over(gathering: Gathering) -> None:
            rows: list[Live] = [row for found in gathering.answers for row in found.rows]
            rows.sort(key=ORDERS[request.sort], reverse=True)
            if _is_complete(gathering, reply):
                reply.rows(rows[: request.limit])
                reply.done(protocol.Listed(sum(found.matched or 0 for found in gathering.answers)))

        self._gateway.ask_workers(
            lambda number: messages.Inquire(number, request.filter, request.sort, request.limit), over
        )

    def _kill(self, request: protocol.Kill, reply: Reply) -> None:
        if request.filter != EVERYBODY and Selection.of(request.filter).is_empty:
            raise ControlError("say which sessions are meant; session '*' means all of them")

        def over(gathering: Gathering) -> None:
            if _is_complete(gathering, reply):
                reply.done({"killed": sum(killed.count for killed in gathering.answers)})

        self._gateway.ask_workers(lambda number: messages.Kill(number, request.filter), over)

    def _rules(self, _request: protocol.Rules, reply: Reply) -> None:
        reply.rows(self.rules())
        reply.done({})

    def rules(self) -> Iterator[RuleUse]:
        """What each line was used for, and last what no line matched."""
        board = self._gateway.board
        ruling = self._gateway.ruling
        access = ruling.configuration.access
        lines = written_lines(access, ruling.configuration.texts.files[access.path])
        for rule, line, slot in zip(access.rules, lines, ruling.slots, strict=True):
            yield _use(rule.label, line, board, slot)
        yield _use("", "(no line matches)", board, UNMATCHED)

    def _configuration(self, _request: protocol.Loaded, reply: Reply) -> None:
        ruling = self._gateway.ruling
        texts = ruling.configuration.texts
        files = {path: text for path, text in texts.files.items() if path not in texts.secret}
        network = msgspec.to_builtins(self._gateway.network)
        reply.done(protocol.Configured(texts.path, texts.digest, ruling.loaded, files, network, texts.groups))

    def _drain(self, request: protocol.Drain, reply: Reply) -> None:
        if request.timeout < 0:
            raise ControlError("a timeout is a number of seconds from 0 on")
        self._gateway.drain(request.timeout, reply)

    # The resolver

    def _resolve(self, request: protocol.Resolve, reply: Reply) -> None:
        def over(gathering: Gathering) -> None:
            if not _is_answered(gathering, reply):
                return
            answered = gathering.answers[0]
            if answered.resolved is None:
                reply.error(answered.fault)
            else:
                reply.rows(protocol.Step(step) for step in answered.resolved.steps)
                reply.done(answered.resolved)

        def ask(number: int) -> messages.Message:
            return messages.Ask(number, request.name, request.type, request.client)

        self._gateway.ask_resolvers(ask, over, any_one=True)

    def _flush(self, request: protocol.CacheFlush, reply: Reply) -> None:
        _check_names(request.zone, request.name)

        def over(gathering: Gathering) -> None:
            if _is_answered(gathering, reply):
                reply.done({"flushed": sum(flushed.count for flushed in gathering.answers)})

        self._gateway.ask_resolvers(lambda number: messages.Flush(number, request.zone, request.name), over)

    def _dump(self, request: protocol.CacheDump, reply: Reply) -> None:
        _check_names(request.zone, request.name)
        if not 0 < request.limit <= protocol.MAX_ROWS:
            raise ControlError(f"the limit is a number from 1 to {protocol.MAX_ROWS}")

        def over(gathering: Gathering) -> None:
            if _is_answered(gathering, reply):
                rows = [row for dumped in gathering.answers for row in dumped.rows]
                reply.rows(rows[: request.limit])
                reply.done(protocol.Listed(sum(dumped.matched or 0 for dumped in gathering.answers)))

        def ask(number: int) -> messages.Message:
            return messages.Dump(number, request.zone, request.name, request.limit)

        self._gateway.ask_resolvers(ask, over)

    def _metrics(self, _request: protocol.Metrics, reply: Reply) -> None:
        reply.done({"text": self.metrics().decode()})

    def metrics(self) -> bytes:
        """For Prometheus."""
        return exposition(self._gateway.report(), list(self.rules()))


def _is_complete(gathering: Gathering, reply: Reply) -> bool:
    """Whether all workers have answered; else the reader is told who has not."""
    if gathering.failures:
        reply.error(f"not all workers answered: {gathering.failures}")
    return not gathering.failures


def _is_answered(gathering: Gathering, reply: Reply) -> bool:
    """Whether all resolvers have answered, and there is one; else the reader is told."""
    if not gathering.failures and not gathering.answers:
        reply.error("no resolver runs; is there a [[resolver.zone]] in the settings that sockd was started with?")
        return False
    if gathering.failures:
        reply.error(f"not all resolvers answered: {gathering.failures}")
    return not gathering.failures


def _check_names(*names: str) -> None:
    for name in filter(None, names):
        try:
            wire_name(name)
        except BadName as error:
            raise ControlError(f"{name!r}: {error}") from None


def _use(label: str, text: str, board: tuple[Block, ...], slot: int) -> RuleUse:
    hits, sent, received, last = total_slot(board, slot)
    return RuleUse(label, text, hits, sent, received, rfc3339(last) if last else None)


_LAST_SECOND = 253_402_300_799
"""Of the year 9999, the last one that RFC 3339 can write."""


def rfc3339(seconds: float) -> str:
    """A time since the epoch, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(seconds, _LAST_SECOND)))
