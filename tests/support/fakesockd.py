"""A daemon that is none: it has the sessions and names that a test says, and speaks the control protocol on a socket.

Its time goes by one second a look, so that rates are what the test made them on however slow a machine.
"""

import contextlib
import dataclasses
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from gateway.control.protocol import (
    CacheDump,
    CacheEntry,
    CacheFlush,
    Kill,
    Listed,
    Live,
    Report,
    Resolve,
    Resolved,
    ResolverTotals,
    ServerRow,
    Sessions,
    Status,
    Step,
    Totals,
    UplinkRow,
    ZoneRow,
    decode_request,
    encode_done,
    encode_error,
    encode_row,
)
from gateway.control.selection import Selection

SPEEDS = {"www.example.com": (1024, 1048576), "ftp.uu.net": (2048, 4096)}
"""Destination -> bytes a second, sent and received; others stand still."""

REPORT = Report(
    version="0.9.0",
    pid=4711,
    started="2026-11-22T10:00:00Z",
    loaded="2026-11-22T11:30:05.250Z",
    configuration="3f2a91bc" + "0" * 56,
    path="/etc/gateway.toml",
    multihomed=True,
    draining=False,
    listening=("10.0.0.1:1080",),
    totals=Totals(
        sessions=3,
        room=16000,
        accepted=120345,
        connected=118000,
        refused=34,
        failed=3,
        timed_out=2,
        sent=5 << 30,
        received=700 << 30,
        accepted_per_second=87.2,
        sent_per_second=12.3 * (1 << 20),
        received_per_second=118.0 * (1 << 20),
    ),
    processes=(),
    uplinks=(
        UplinkRow("wan1", "eth0", "up", ("192.0.2.10",), "link is up"),
        UplinkRow("wan2", "eth2", "down", ("198.51.100.10",), "no answer to its probes"),
    ),
    resolver=ResolverTotals(
        queries=1_200_000,
        hits=1_100_000,
        local=300,
        forwarded=90_000,
        coalesced=9_700,
        nxdomain=4_000,
        queries_per_second=1200.0,
        hit_rate=0.93,
        outstanding=3,
        entries=4211,
    ),
    zones=(
        ZoneRow(
            "corp.example",
            (0,),
            True,
            (
                ServerRow("10.0.0.53", "down", "timed out 40 s ago", None, 12, 12, "eth1"),
                ServerRow("10.0.0.54", "up", "", 1.5, 900, 0, "eth1"),
            ),
            211,
            200_000,
            190_000,
        ),
        ZoneRow(
            ".", (0,), False, (ServerRow("192.0.2.53", "up", "", 12.5, 90_000, 7, "wan1"),), 4000, 1_000_000, 900_000
        ),
    ),
    listening_dns=("10.0.0.1:53",),
)


def live(number: int, **changes: Any) -> Live:
    """A session that moves data; its id ends with the number."""
    session = Live(
        session=f"6920f1a3-1-{number}",
        worker=1,
        state="relaying",
        client=f"10.1.2.3:{40000 + number}",
        protocol="socks5",
        command="connect",
        user="fred",
        host="www.example.com",
        address="203.0.113.7",
        port=443,
        egress="192.0.2.10:40000",
        uplink="wan1",
        rule="sockd.conf:17",
        sent=1000 * number,
        received=2000 * number,
        seconds=100.0 + number,
    )
    return msgspec.structs.replace(session, **changes)


NOWHERE = Resolved("", "A", "NXDOMAIN", (), ".", 0, "192.0.2.53", "wan1", "miss", "no such name", "", 0.0125, ())
"""What is said about a name that no test has told of."""


def resolved(name: str, *records: str, **changes: Any) -> Resolved:
    """An answer by the inside's name server."""
    base = Resolved(
        name, "A", "NOERROR", records, "corp.example", 0, "10.0.0.54", "eth1", "miss", "", "", 0.0015,
        ("    0.0 ms  in zone corp.example", "    1.5 ms  10.0.0.54 answered"),
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def cached(name: str, *records: str, **changes: Any) -> CacheEntry:
    """An answer of the inside's name server that is kept."""
    base = CacheEntry("corp.example", 0, name, "A", "NOERROR", records, 35, "10.0.0.54")
    return msgspec.structs.replace(base, **changes)


@dataclasses.dataclass(slots=True)
class FakeSockd:
    """What the daemon has, open to change by the test, and what it was asked."""

    path: str
    report: Report = REPORT
    sessions: list[Live] = dataclasses.field(default_factory=list)
    #: the orders to end sessions, and all requests for lists
    kills: list[Kill] = dataclasses.field(default_factory=list)
    lists: list[Sessions] = dataclasses.field(default_factory=list)
    #: what is known of names, by name and type, and what the caches hold
    names: dict[tuple[str, str], Resolved] = dataclasses.field(default_factory=dict)
    cache: list[CacheEntry] = dataclasses.field(default_factory=list)
    #: all requests about names and caches
    questions: list[Resolve | CacheFlush | CacheDump] = dataclasses.field(default_factory=list)
    #: said instead of any answer
    refusal: str = ""
    _running: threading.Event = dataclasses.field(default_factory=threading.Event)
    _listener: socket.socket | None = None
    _threads: list[threading.Thread] = dataclasses.field(default_factory=list)

    def __enter__(self) -> Self:
        self.come()
        return self

    def __exit__(self, *_: object) -> None:
        self.go()

    def come(self) -> None:
        """Answer on the socket."""
        self._running.set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._start(self._accept, self._listener)

    def go(self) -> None:
        """Be gone, socket and all; every thread has ended after it."""
        if self._listener is not None:
            os.unlink(self.path)
            self._listener.shutdown(socket.SHUT_RDWR)
            while self._threads:
                self._threads.pop().join()
            self._listener.close()
            self._listener = None

    @contextlib.contextmanager
    def stuck(self) -> Iterator[None]:
        """Take connections and requests inside of it, and answer nothing."""
        self._running.clear()
        try:
            yield
        finally:
            self._running.set()

    def _start(self, work: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._serve(listener.accept()[0])

    def _serve(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                peer.sendall(b"".join(self._answer(line)))

    def _answer(self, line: bytes) -> Iterator[bytes]:
        request = decode_request(line)
        self._running.wait()
        if self.refusal:
            yield encode_error(self.refusal)
        elif isinstance(request, Status):
            yield encode_done(self.report)
        elif isinstance(request, Sessions):
            self.lists.append(request)
            self._pass_a_second()
            yield from self._list(request)
        elif isinstance(request, Kill):
            yield encode_done({"killed": self._kill(request)})
        elif isinstance(request, Resolve | CacheFlush | CacheDump):
            self.questions.append(request)
            yield from self._name(request) if isinstance(request, Resolve) else self._keep(request)

    def _name(self, request: Resolve) -> Iterator[bytes]:
        unknown = msgspec.structs.replace(NOWHERE, name=request.name, type=request.type)
        found = self.names.get((request.name, request.type), unknown)
        yield from (encode_row(Step(step)) for step in found.steps)
        yield encode_done(found)

    def _keep(self, request: CacheFlush | CacheDump) -> Iterator[bytes]:
        meant = [entry for entry in self.cache if _is_meant(entry, request)]
        if isinstance(request, CacheFlush):
            self.cache = [entry for entry in self.cache if entry not in meant]
            yield encode_done({"flushed": len(meant)})
        else:
            yield from map(encode_row, meant[: request.limit])
            yield encode_done(Listed(len(meant)))

    def _pass_a_second(self) -> None:
        self.sessions = [_a_second_later(session) for session in self.sessions]

    def _list(self, request: Sessions) -> Iterator[bytes]:
        matches = Selection.of(request.filter).matches
        found = [session for session in self.sessions if matches(session)]
        found.sort(key=lambda one: one.seconds if request.sort == "age" else one.sent + one.received, reverse=True)
        yield from map(encode_row, found[: request.limit])
        yield encode_done(Listed(len(found)))

    def _kill(self, order: Kill) -> int:
        self.kills.append(order)
        matches = Selection.of(order.filter).matches
        left = [session for session in self.sessions if not matches(session)]
        ended = len(self.sessions) - len(left)
        self.sessions = left
        return ended


def _is_meant(entry: CacheEntry, request: CacheFlush | CacheDump) -> bool:
    is_below = not request.name or f".{entry.name}".endswith(f".{request.name}")
    return is_below and request.zone in ("", entry.zone)


def _a_second_later(session: Live) -> Live:
    sent, received = SPEEDS.get(session.host or "", (0, 0))
    return msgspec.structs.replace(
        session, seconds=session.seconds + 1, sent=session.sent + sent, received=session.received + received
    )


def fake_sockd(folder: Path, *sessions: Live) -> FakeSockd:
    """One to be used in a ``with``."""
    return FakeSockd(str(folder / "control.sock"), sessions=list(sessions))
