"""A worker's sessions, listed and ended, on real sockets: also more of them than one message holds."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.control.protocol import Filter, Live
from gateway.daemon import answers as module
from gateway.daemon.answers import EVERYBODY, KILLED, Answers
from gateway.daemon.messages import Found, Inquire, Kill, Killed, channel, receive
from gateway.net.runner import Limits
from tests.support.rawsocks import greeting, http, socks4
from tests.unit.net.stage import House, closed_after


class Desk:
    """A worker with a supervisor."""

    def __init__(self) -> None:
        self.house = House(sessions=1000, limits=Limits(handshake=60.0, connect=60.0, idle=60.0, sessions=1000))
        self.channel, self.theirs = channel()
        self.answers = Answers(self.house.runner, self.theirs, 3)

    def said(self) -> Any:
        """What the worker answers next."""

        def look() -> Any:
            try:
                received = receive(self.channel)
            except BlockingIOError:
                return None
            assert received is not None
            return received.message

        return self.house.until(look)

    def listed(self, sort: str = "age", limit: int = 1000, **filter: str) -> tuple[list[Live], int]:
        """All rows of an answer, and how many sessions matched."""
        self.answers.find(Inquire(9, Filter(**filter), sort, limit))
        rows: list[Live] = []
        while True:
            found = self.said()
            assert isinstance(found, Found)
            assert found.number == 9
            rows += found.rows
            if found.matched is not None:
                return rows, found.matched

    def killed(self, filter: Filter) -> int:
        self.answers.kill(Kill(8, filter))
        answer = self.said()
        assert isinstance(answer, Killed)
        assert answer.number == 8
        return answer.count


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    with closed_after(made.house):
        yield made
    made.channel.close()
    made.theirs.close()


def test_nobody_is_there(desk: Desk) -> None:
    assert desk.listed() == ([], 0)
    assert desk.killed(EVERYBODY) == 0


def test_a_relay_is_shown_with_the_bytes_that_went_by(desk: Desk) -> None:
    server = desk.house.server()
    port = server.getsockname()[1]
    client = desk.house.client(socks4("127.0.0.1", port, b"fr ed"))
    target = desk.house.called(server)
    desk.house.read(client, 8)
    desk.house.write(client, b"12345")
    assert desk.house.read(target, 5) == b"12345"
    desk.house.now += 2.5
    ((row,), matched) = desk.listed()
    assert matched == 1
    assert (row.worker, row.state, row.protocol, row.command) == (3, "relaying", "socks4", "connect")
    assert (row.user, row.host, row.address, row.port) == (r"fr\x20ed", "127.0.0.1", "127.0.0.1", port)
    assert (row.sent, row.received, row.seconds, row.rule) == (5, 0, 2.5, "sockd.conf:1")


def test_who_made_no_request_yet_is_shown_with_what_is_known(desk: Desk) -> None:
    desk.house.client()
    desk.house.until(lambda: desk.house.runner.open == 1)
    silent = desk.listed()[0][0]
    assert (silent.state, silent.protocol, silent.host, silent.port, silent.rule) == (
        "negotiating", None, None, None, None,
    )  # fmt: skip
    client = desk.house.client(greeting(0))
    desk.house.read(client, 2)
    assert {row.protocol for row in desk.listed()[0]} == {None, "socks5"}


@pytest.mark.parametrize(
    "said", [pytest.param(b"\7nonsense", id="no protocol"), pytest.param(http("192.0.2.1:80"), id="a refusal")]
)
def test_who_had_its_refusal_and_has_not_left_yet_is_no_session(desk: Desk, said: bytes) -> None:
    desk.house.client(said)
    desk.house.ended()
    assert desk.house.runner.open == 1
    assert desk.listed() == ([], 0)
    assert desk.killed(EVERYBODY) == 0


def test_a_filter_chooses(desk: Desk) -> None:
    server = desk.house.server()
    for user in (b"fred", b"julie", b"fred"):
        client = desk.house.client(socks4("127.0.0.1", server.getsockname()[1], user))
        desk.house.read(client, 8)
    assert len(desk.listed(user="fred")[0]) == 2
    assert desk.listed(user="julie")[1] == 1
    assert desk.listed(user="nobody") == ([], 0)
    assert desk.listed(rule="1")[1] == 3
    assert desk.killed(Filter(user="fred")) == 2
    assert [row.user for row in desk.listed()[0]] == ["julie"]
    assert [record.end for record in desk.house.ended(2)] == [KILLED] * 2


def test_one_is_ended_by_its_number_and_all_by_the_star(desk: Desk) -> None:
    server = desk.house.server()
    for _ in range(3):
        desk.house.relayed(server)
    desk.house.client()
    desk.house.until(lambda: desk.house.runner.open == 4)
    rows, _ = desk.listed()
    assert desk.killed(Filter(session=rows[0].session)) == 1
    assert desk.killed(Filter(session=rows[0].session)) == 0
    assert desk.listed()[1] == 3
    assert desk.killed(EVERYBODY) == 3
    desk.house.until(lambda: desk.house.runner.open == 0)
    assert desk.listed() == ([], 0)


def test_those_that_sort_first_are_listed_and_all_are_counted(desk: Desk) -> None:
    server = desk.house.server()
    for size in (10, 30, 20):
        client, target = desk.house.relayed(server)
        desk.house.write(target, b"x" * size)
        assert len(desk.house.read(client, size)) == size
        desk.house.now += 1
    rows, matched = desk.listed("bytes", 2)
    assert ([row.received for row in rows], matched) == ([30, 20], 3)
    rows, matched = desk.listed("age", 1)
    assert ([row.received for row in rows], matched) == ([10], 3)


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_many_come_in_parts_and_none_twice(desk: Desk, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    for _ in range(count):
        desk.house.client()
    desk.house.until(lambda: desk.house.runner.open == count)
    rows, matched = desk.listed()
    assert len({row.session for row in rows}) == len(rows) == matched == count


def test_what_clients_have_written_may_be_longer_than_a_message(desk: Desk) -> None:
    desk.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    server = desk.house.server()
    for _ in range(20):
        client = desk.house.client(socks4("127.0.0.1", server.getsockname()[1], b"\xff" * 255))
        desk.house.read(client, 8)
    rows, matched = desk.listed()
    assert len({row.session for row in rows}) == len(rows) == matched == 20
    assert {len(row.user) for row in rows} == {4 * 255}


def test_a_supervisor_that_does_not_read_gets_all_of_it_later(desk: Desk) -> None:
    desk.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
    for _ in range(20):
        desk.house.client()
    desk.house.until(lambda: desk.house.runner.open == 20)
    asked = 20
    for number in range(asked):
        desk.answers.find(Inquire(number, Filter(), "age", 1000))
    desk.house.turns(20)
    ends = rows = 0
    while ends < asked:
        found = desk.said()
        rows += len(found.rows)
        ends += found.matched is not None
    assert rows == asked * 20


def test_a_supervisor_that_has_gone_is_no_trouble(desk: Desk) -> None:
    desk.channel.close()
    desk.answers.find(Inquire(1, Filter(), "age", 10))
    desk.answers.kill(Kill(2, EVERYBODY))
    desk.house.turns(10)
    assert not desk.answers._answering._tasks
