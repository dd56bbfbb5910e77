"""An answer on its way: the order of lines, the bound on what waits, and what is ignored after its end."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.control.peer import Peer, peer_of
from gateway.control.reply import CHUNK, MAX_WAITING, Outbox, Reply


class Wire:
    """A pair of sockets, and the carrier of a reply by one of them."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.peer: Peer = peer_of(self.near)
        self.out = Outbox()
        self.is_closed = False
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1

    def received(self) -> list[Any]:
        """All that is sent, and arrives."""
        data = b""
        while not self.out.is_empty:
            self.out.send(self.near)
            try:
                data += self.far.recv(1 << 20)
            except BlockingIOError:
                pass
        assert not data or data.endswith(b"\n")
        return [json.loads(line) for line in data.splitlines()]

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def test_rows_and_the_end_arrive_in_their_order(wire: Wire) -> None:
    reply = Reply(wire)
    reply.row({"n": 1})
    reply.rows({"n": n} for n in (2, 3))
    assert reply.row({"n": 4})
    reply.done({"sum": 10})
    lines = wire.received()
    assert [line.get("row", {}).get("n") for line in lines[:-1]] == [1, 2, 3, 4]
    assert lines[-1] == {"v": 1, "done": {"sum": 10}}


def test_nothing_is_sent_by_whoever_answers(wire: Wire) -> None:
    reply = Reply(wire)
    reply.row(1)
    reply.done(2)
    assert wire.woken == 2
    with pytest.raises(BlockingIOError):
        wire.far.recv(1)


def test_after_the_end_nothing_is_taken(wire: Wire) -> None:
    reply = Reply(wire)
    reply.error("no")
    assert reply.is_closed
    assert not reply.row(1)
    reply.rows([1])
    reply.done(1)
    reply.error("again")
    assert wire.received() == [{"v": 1, "error": "no"}]


def test_after_the_peer_has_gone_nothing_is_taken(wire: Wire) -> None:
    reply = Reply(wire)
    assert Reply(wire).is_closed is False
    wire.is_closed = True
    assert reply.is_closed
    assert not reply.row(1)
    reply.rows([1])
    reply.done(1)
    assert wire.out.is_empty
    assert not reply.is_answered


def test_rows_of_a_stream_are_dropped_when_a_mebibyte_waits_and_taken_again_when_it_was_read(wire: Wire) -> None:
    reply = Reply(wire)
    row = {"text": "x" * 1000}
    taken = 0
    while reply.row(row):
        taken += 1
        assert taken < 2000
    assert MAX_WAITING <= wire.out.waiting < MAX_WAITING + 1100
    assert not reply.row(row)
    assert len(wire.received()) == taken
    assert wire.out.waiting == 0
    assert reply.row(row)


def test_the_end_of_an_answer_is_never_dropped(wire: Wire) -> None:
    reply = Reply(wire)
    while reply.row("x" * 10_000):
        pass
    reply.done("end")
    assert wire.received()[-1] == {"v": 1, "done": "end"}


def test_an_iterable_is_asked_only_for_what_there_is_room_for(wire: Wire) -> None:
    asked = 0

    def rows() -> Iterator[str]:
        nonlocal asked
        for _ in range(10_000):
            asked += 1
            yield "x" * 400

    reply = Reply(wire)
    reply.rows(rows())
    reply.done(None)
    assert asked == 0
    for _ in range(100):
        wire.out.send(wire.near)
    held = wire.out.waiting
    assert 0 < held < 2 * CHUNK
    assert asked < 2000, "the kernel's buffer and ours are full long before the end"
    assert len(wire.received()) == 10_001
    assert asked == 10_000


def test_an_iterable_without_rows_is_no_row(wire: Wire) -> None:
    reply = Reply(wire)
    reply.rows(())
    reply.done(0)
    assert wire.received() == [{"v": 1, "done": 0}]


def test_what_an_iterable_raises_comes_out_of_sending_and_the_rest_can_be_forgotten(wire: Wire) -> None:
    def rows() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    reply = Reply(wire)
    reply.rows(rows())
    reply.done(None)
    with pytest.raises(ValueError, match="no more"):
        wire.out.send(wire.near)
    wire.out.clear()
    wire.out.put(b'{"v":1,"error":"sorry"}\n')
    assert wire.received() == [{"v": 1, "row": 1}, {"v": 1, "error": "sorry"}]
    assert wire.out.waiting == 0


def test_a_row_that_is_no_json_is_refused_where_it_was_said_and_spoils_nothing(wire: Wire) -> None:
    reply = Reply(wire)
    with pytest.raises(TypeError):
        reply.row(object())
    with pytest.raises(TypeError):
        reply.done(object())
    assert not reply.is_answered
    reply.done(1)
    assert wire.received() == [{"v": 1, "done": 1}]


def test_a_peer_that_has_gone_is_an_error_of_sending(wire: Wire) -> None:
    Reply(wire).done(1)
    wire.far.close()
    with pytest.raises(BrokenPipeError):
        wire.out.send(wire.near)
