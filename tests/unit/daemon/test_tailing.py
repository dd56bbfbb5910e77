"""Records on their way from workers to operators: real sockets, slow readers, and workers that send anything."""

import json
import selectors
import socket
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from gateway.control.peer import peer_of
from gateway.control.protocol import ControlError, Filter, Tail
from gateway.control.reply import MAX_WAITING, Outbox, Reply
from gateway.daemon.tailing import MAX_LINE, READ_BYTES, Tailing
from gateway.session.record import Record, Result, json_lines


def record(number: int, user: str = "fred") -> Record:
    return Record(
        "2026-01-01T00:00:00Z", f"test-{number:x}", "10.0.0.1:1", "socks5", "connect", user, "none", "192.0.2.1",
        "192.0.2.1", 80, "10.0.0.2:2", None, None, "sockd.conf:1", None, "permitted", Result.CONNECTED, 1, 2, 0.5, "",
    )  # fmt: skip


class Reader:
    """An operator's connection: what is said to it waits until it reads."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.peer = peer_of(self.near)
        self.out = Outbox()
        self.is_closed = False
        self.reply = Reply(self)

    def wake(self) -> None:
        """As `Carrier`."""

    def lines(self) -> list[Any]:
        data = b""
        while not self.out.is_empty:
            self.out.send(self.near)
            data += self.far.recv(1 << 22)
        return [json.loads(line) for line in data.splitlines()]

    def rows(self) -> list[Any]:
        return [line["row"] for line in self.lines()]

    def sessions(self) -> list[str]:
        return [row["session"] for row in self.rows()]

    def leave(self) -> None:
        self.is_closed = True
        if self.reply.on_close is not None:
            self.reply.on_close()

    def close(self) -> None:
        self.near.close()
        self.far.close()


class Desk:
    """A supervisor that does nothing else."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.log: list[str] = []
        self.tailing = Tailing(
            self._watch, self._forget, lambda: self.log.append("start"), lambda: self.log.append("stop")
        )
        self.closers: list[Callable[[], None]] = [self.selector.close]

    def _watch(self, sock: socket.socket, call: Callable[[], None]) -> None:
        self.selector.register(sock, selectors.EVENT_READ, call)

    def _forget(self, sock: socket.socket) -> None:
        self.selector.unregister(sock)

    def turn(self) -> None:
        """Until there is nothing to hear."""
        while self.selector.get_map() and (ready := self.selector.select(0)):
            for key, _ in ready:
                key.data()

    def reader(self, **filter: str) -> Reader:
        reader = Reader()
        self.closers.append(reader.close)
        self.tailing.add(Tail(Filter(**filter)), reader.reply)
        return reader

    def worker(self) -> socket.socket:
        sock = self.tailing.open()
        self.closers.append(sock.close)
        return sock

    def close(self) -> None:
        self.tailing.end()
        for close in reversed(self.closers):
            close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


def test_workers_are_asked_when_the_first_reader_comes_and_left_when_the_last_one_goes(desk: Desk) -> None:
    assert not desk.tailing.is_on
    first, second = desk.reader(), desk.reader()
    assert desk.log == ["start"]
    worker = desk.worker()
    assert len(tuple(desk.tailing.sockets())) == 1
    first.leave()
    assert desk.log == ["start"]
    second.leave()
    assert desk.log == ["start", "stop"]
    assert tuple(desk.tailing.sockets()) == ()
    assert worker.recv(1) == b""
    desk.reader()
    assert desk.log == ["start", "stop", "start"]


def test_each_reader_gets_what_it_asked_for(desk: Desk) -> None:
    all_of_them, julies = desk.reader(), desk.reader(user="julie")
    worker = desk.worker()
    worker.sendall(json_lines([record(1), record(2, "julie")]))
    desk.turn()
    assert all_of_them.sessions() == ["test-1", "test-2"]
    assert julies.sessions() == ["test-2"]


def test_records_of_several_workers_come_together_and_are_whole(desk: Desk) -> None:
    reader = desk.reader()
    one, other = desk.worker(), desk.worker()
    first, second = json_lines([record(1)]), json_lines([record(2)])
    one.sendall(first[:100])
    desk.turn()
    other.sendall(second)
    desk.turn()
    one.sendall(first[100:])
    desk.turn()
    assert reader.sessions() == ["test-2", "test-1"]


def test_a_filter_that_can_not_be_understood_is_refused_and_nobody_is_asked(desk: Desk) -> None:
    for filter in (Filter(session="*"), Filter(destination="a:b:c/99"), Filter(rule="none")):
        reader = Reader()
        with pytest.raises(ControlError):
            desk.tailing.add(Tail(filter), reader.reply)
        reader.close()
    assert desk.log == []


# Losses


def test_a_slow_reader_loses_records_and_is_told_how_many_when_it_reads_again(desk: Desk) -> None:
    slow, quick = desk.reader(), desk.reader()
    worker = desk.worker()
    line = len(json_lines([record(1)]))
    room = MAX_WAITING // line + 200
    seen = 0
    for start in range(0, room, 100):
        worker.sendall(json_lines([record(number) for number in range(start, start + 100)]))
        desk.turn()
        seen += len(quick.sessions())
    sent = range(0, room, 100).stop - room % 100 + (100 if room % 100 else 0)
    got = slow.sessions()
    assert seen == sent
    assert len(got) < sent
    worker.sendall(json_lines([record(999_999)]))
    desk.turn()
    assert slow.rows()[:1] == [{"lost": sent - len(got)}]
    assert quick.sessions() == [f"test-{999_999:x}"]


def test_what_a_worker_lost_every_reader_is_told(desk: Desk) -> None:
    all_of_them, julies = desk.reader(), desk.reader(user="julie")
    worker = desk.worker()
    worker.sendall(b'{"lost":7}\n')
    desk.turn()
    assert all_of_them.rows() == julies.rows() == [{"lost": 7}]


def test_a_reader_that_left_gets_nothing_more(desk: Desk) -> None:
    reader, other = desk.reader(), desk.reader()
    worker = desk.worker()
    reader.leave()
    worker.sendall(json_lines([record(1)]))
    desk.turn()
    assert reader.rows() == []
    assert other.sessions() == ["test-1"]


# What a worker that was taken over may send

GARBAGE = {
    "no JSON": b"garbage",
    "an empty line": b"",
    "another object": b'{"session":"x"}',
    "a number": b"17",
    "a record of other types": msgspec.json.encode({**msgspec.to_builtins(record(1)), "sent": "many"}),
    "bytes that are no UTF-8": b'{"time":"\xff\xfe"}',
    "half of a surrogate pair": json_lines([record(1)]).strip().replace(b"fred", b"\\ud800"),
    "deeper than anybody reads": b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "a loss that is deeper than anybody reads": b'{"lost":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "a loss of something": b'{"lost":"all"}',
    "a loss of less than nothing": b'{"lost":-5}',
    "a number without end": b'{"lost":' + b"9" * 10_000 + b"}",
    "zeros": b"\0" * 100,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_record_is_passed_over(desk: Desk, garbage: bytes) -> None:
    reader = desk.reader()
    worker = desk.worker()
    worker.sendall(garbage + b"\n" + json_lines([record(1)]))
    desk.turn()
    assert reader.sessions() == ["test-1"]


def test_a_line_without_end_is_not_listened_to_any_more_and_others_are(desk: Desk) -> None:
    reader = desk.reader()
    endless, honest = desk.worker(), desk.worker()
    endless.setblocking(False)
    sent = 0
    while sent <= MAX_LINE and len(tuple(desk.tailing.sockets())) == 2:
        sent += endless.send(b"x" * 16_384)
        desk.turn()
    assert sent <= MAX_LINE + READ_BYTES
    assert len(tuple(desk.tailing.sockets())) == 1
    with pytest.raises(BrokenPipeError):
        endless.send(b"x")
    honest.sendall(json_lines([record(1)]))
    desk.turn()
    assert reader.sessions() == ["test-1"]


def test_a_long_line_that_ends_in_time_is_no_reason_to_go(desk: Desk) -> None:
    reader = desk.reader()
    worker = desk.worker()
    worker.setblocking(False)
    for _ in range(MAX_LINE // 16_384):
        assert worker.send(b"x" * 16_384) == 16_384
        desk.turn()
    worker.sendall(b"\n" + json_lines([record(1)]))
    desk.turn()
    assert reader.sessions() == ["test-1"]


def test_a_worker_that_has_gone_leaves_what_it_said(desk: Desk) -> None:
    reader = desk.reader()
    worker = desk.worker()
    worker.sendall(json_lines([record(1)]) + b'{"half')
    worker.close()
    desk.turn()
    assert reader.sessions() == ["test-1"]
    assert tuple(desk.tailing.sockets()) == ()


def test_at_the_end_each_reader_is_told_and_each_worker_left(desk: Desk) -> None:
    reader = desk.reader()
    worker = desk.worker()
    desk.tailing.end()
    assert "done" in reader.lines()[0]
    assert worker.recv(1) == b""
    assert desk.log == ["start", "stop"]
