"""What a resolver answers when the operator asks: how a name is resolved, and what the caches hold."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from functools import partial

from gateway.address import Address, parse_address
from gateway.control.protocol import CacheEntry, Resolved
from gateway.daemon.answering import Answering
from gateway.daemon.messages import Answered, Ask, Dump, Dumped, Flush, Flushed
from gateway.dns.answer import Answer
from gateway.dns.constants import parse_type, rcode_text, type_text
from gateway.dns.forwarder import Forwarder
from gateway.dns.names import ROOT, BadName, is_below, text_name, wire_name
from gateway.dns.pursuit import Pursuit
from gateway.dns.query import build_query
from gateway.dns.serving import Serving
from gateway.dns.show import Shown, answer_lines, cache_words, question_of, seconds_left, shown
from gateway.dns.trace import Trace
from gateway.dns.zones import View, Zones

ROWS = 50
"""In one message."""

TURN = 1024
"""How much is done, in microseconds more or less, before clients have their turn: a look at an answer is one."""

ROW = 16
"""What it is to put an answer into words, and as much again for each of its octets as for a look."""


class Asking:
    """Those of one resolver."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        forwarder: Forwarder,
        view_of: Callable[[Address], View],
        channel: socket.socket,
    ) -> None:
        """``view_of`` gives the view of a client, whoever it is."""
        self._loop = loop
        self._forwarder = forwarder
        self._view_of = view_of
        self._answering = Answering(channel, loop)

    # A name

    def ask(self, message: Ask) -> None:
        """Resolve a name, and tell how."""
        client = parse_address(message.client or "127.0.0.1")
        kind = parse_type(message.kind)
        try:
            name = wire_name(message.name)
        except BadName as error:
            self._refuse(message, f"{error}")
            return
        if client is None or kind is None:
            self._refuse(message, "no such type of records" if kind is None else "no address of a client")
            return
        query = build_query(0, name, kind, variant=0)
        trace = Trace(self._loop.time)
        view = self._view_of(client)
        trace.append(f"client {client} has view {view.number}")
        answer = _Asked(self, message, view, trace, self._loop.time())
        answer.pursuit = self._forwarder.resolve(query, view, answer, self._loop.time(), (), trace)
        answer.is_begun()

    def _refuse(self, message: Ask, why: str) -> None:
        self._answering.begin(self._answering.send(Answered(message.number, None, why)))

    def answered(
        self, message: Ask, pursuit: Pursuit | None, view: View, data: bytes, trace: Trace, began: float
    ) -> None:
        """The forwarder has replied."""
        seen = shown(data)
        zone = pursuit.zone.text if pursuit is not None and pursuit.zone is not None else ""
        known = None if pursuit is None else self._known(pursuit)
        resolved = Resolved(
            name=text_name(wire_name(message.name) if pursuit is None else _full_name(pursuit)),
            type=type_text(parse_type(message.kind) or 0),
            rcode=seen.rcode,
            records=seen.records,
            zone=zone,
            view=view.number,
            server=known.origin if known is not None else "" if pursuit is None else pursuit.server,
            egress="" if pursuit is None else pursuit.way,
            cache="" if pursuit is None else self._cache_words(pursuit, known),
            why=_why(pursuit, zone, seen),
            ede=seen.ede,
            seconds=round(self._loop.time() - began, 6),
            steps=tuple(trace),
        )
        self._answering.begin(self._answering.send(Answered(message.number, resolved)))

    def _known(self, pursuit: Pursuit) -> Answer | None:
        """What was known without asking anybody, if its last answer was."""
        zone, now = pursuit.zone, self._loop.time()
        serving = next((one for one in self._forwarder.servings if one.zone is zone), None)
        if zone is None or serving is None:
            return None
        match pursuit.cache:
            case "local":
                return zone.local.find(pursuit.name, pursuit.query.type)
            case "hit":
                return serving.cache.get(pursuit.key, now)
            case "stale":
                return serving.cache.stale(pursuit.key, now)
        return None

    def _cache_words(self, pursuit: Pursuit, known: Answer | None) -> str:
        return pursuit.cache if known is None else cache_words(known, self._loop.time())

    # The caches

    def flush(self, message: Flush) -> None:
        """Forget answers, a part of them after the other."""
        self._answering.begin(self._flush(message))

    async def _flush(self, message: Flush) -> None:
        count = 0
        name = wire_name(message.name) if message.name else ROOT
        for serving in self._meant(message.zone):
            is_long = len(serving.cache) > TURN
            for removed in serving.cache.removing(name, below=True):
                count += removed
                if is_long:
                    await asyncio.sleep(0)
        self._forwarder.cool()
        await self._answering.send(Flushed(message.number, count))

    def _meant(self, zone: str) -> Iterator[Serving]:
        wanted = wire_name(zone) if zone else None
        return (one for one in self._forwarder.servings if wanted is None or one.zone.name == wanted)

    def dump(self, message: Dump) -> None:
        """List answers, a part of them after the other; meanwhile they may change."""
        self._answering.begin(self._dump(message))

    async def _dump(self, message: Dump) -> None:
        rows: list[CacheEntry] = []
        make = partial(Dumped, message.number)
        matched = spent = 0
        suffix = wire_name(message.name) if message.name else ROOT
        for serving in self._meant(message.zone):
            view = _first_view(serving, self._forwarder.zones)
            for key, answer in serving.cache.entries():
                spent += 1
                if is_below(key[:-3], suffix):
                    matched += 1
                    if matched <= message.limit:
                        rows.append(_row(serving.zone.text, view, key, answer, self._loop.time()))
                        spent += ROW + len(answer.body)
                if len(rows) == ROWS:
                    await self._answering.send_rows(make, tuple(rows))
                    rows.clear()
                if spent >= TURN:
                    spent = 0
                    await asyncio.sleep(0)
        if rows:
            await self._answering.send_rows(make, tuple(rows))
        await self._answering.send(Dumped(message.number, (), matched))


def _first_view(serving: Serving, zones: Zones) -> int:
    return next((view.number for view in zones.views if serving.zone in view.zones), 0)


def _row(zone: str, view: int, key: bytes, answer: Answer, now: float) -> CacheEntry:
    return CacheEntry(
        zone=zone,
        view=view,
        name=text_name(key[:-3]),
        type=type_text((key[-3] << 8) | key[-2]),
        rcode=rcode_text(answer.rcode),
        records=answer_lines(question_of(key), answer, answer.age(now)),
        seconds_left=seconds_left(answer, now),
        origin=answer.origin,
    )


def _full_name(pursuit: Pursuit) -> bytes:
    """The name that was looked for: one of one label has got the default domain."""
    for link in pursuit.chain[:1]:
        if link.zone is None and link.answer.target is not None:
            return link.answer.target
    return pursuit.query.name


def _why(pursuit: Pursuit | None, zone: str, seen: Shown) -> str:
    if pursuit is None:
        return "this is not asked for anybody"
    if seen.rcode == "NOERROR" and not seen.records and not seen.ede:
        return f"zone {zone} has the name, but no such records"
    return ""


class _Asked:
    """The operator who waits."""

    is_stream = True

    def __init__(self, asking: Asking, message: Ask, view: View, trace: Trace, began: float) -> None:
        self._asking = asking
        self._message = message
        self._view = view
        self._trace = trace
        self._began = began
        self._data: bytes | None = None
        self._is_begun = False
        self.pursuit: Pursuit | None = None

    def reply(self, data: bytes) -> None:
        """As `gateway.dns.outside.Asker`; it may come before the pursuit is known."""
        self._data = data
        self._tell()

    def is_begun(self) -> None:
        """The pursuit is known."""
        self._is_begun = True
        self._tell()

    def _tell(self) -> None:
        if self._is_begun and self._data is not None:
            self._asking.answered(self._message, self.pursuit, self._view, self._data, self._trace, self._began)
