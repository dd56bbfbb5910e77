"""The thread that asks the daemon: its answers, and what becomes of those that do not come."""

import select
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.top.courier import Answer, Asks, Courier, Daemon, Failed, Killed
from gateway.cli.top.sample import Sample
from gateway.control.client import ControlClient
from gateway.control.protocol import ControlError, Filter, Kill, Request, Sessions
from tests.support.fakesockd import FakeSockd, fake_sockd, live
from tests.unit.cli.top.looks import START

ONE = Kill(filter=Filter(session="6920f1a3-1-1"))


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeSockd]:
    with fake_sockd(tmp_path, live(1), live(2)) as made:
        yield made


def daemon(fake: FakeSockd) -> Daemon:
    return Daemon(partial(ControlClient.connect, fake.path), time.monotonic, lambda: START)


def next_answers(courier: Courier) -> list[Answer]:
    assert select.select([courier], [], [], 10.0)[0]
    return courier.take()


class Answering:
    """A connection that gives one answer to everything."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def ask(self, _request: Request, /) -> tuple[list[Any], Any]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return [], self._answer


def answering(answer: Any) -> Daemon:
    connection: AbstractContextManager[Asks] = nullcontext(Answering(answer))
    return Daemon(lambda: connection, lambda: 5.0, lambda: START)


# Asking


def test_a_look(fake: FakeSockd) -> None:
    asked = Sessions(filter=Filter(user="fred"), sort="bytes", limit=1)
    look = daemon(fake).look(asked)
    assert (look.asked, look.report, look.matched, look.now) == (asked, fake.report, 2, START)
    assert look.live == (fake.sessions[1],)
    assert look.took > 0
    assert fake.lists == [asked]


def test_an_order_to_end_sessions(fake: FakeSockd) -> None:
    assert daemon(fake).kill(ONE) == Killed(1)
    assert fake.kills == [ONE]


@pytest.mark.parametrize("request_", [Sessions(), ONE], ids=["a look", "an order"])
def test_a_refusal_is_an_answer(fake: FakeSockd, request_: Sessions | Kill) -> None:
    fake.refusal = "only root may"
    assert daemon(fake).run(request_) == Failed(request_, "only root may")


def test_a_daemon_that_is_gone_and_comes_back(fake: FakeSockd) -> None:
    asking = daemon(fake)
    fake.go()
    answer = asking.run(Sessions())
    assert isinstance(answer, Failed)
    assert answer.why.startswith(f"no sockd answers on {fake.path}")
    fake.come()
    assert isinstance(asking.run(Sessions()), Sample)


@pytest.mark.parametrize("answer", [None, {}, {"matched": "many"}, {"version": 5}, [1]])
def test_an_answer_of_another_kind_is_told(answer: object) -> None:
    with pytest.raises(ControlError, match="not understood"):
        answering(answer).look(Sessions())


@pytest.mark.parametrize("answer", [None, {"killed": "all"}, 7])
def test_an_end_of_another_kind_is_told(answer: object) -> None:
    with pytest.raises(ControlError, match="not understood"):
        answering(answer).kill(ONE)


# The thread


def test_errands_are_done_in_order(fake: FakeSockd) -> None:
    with Courier(daemon(fake)) as courier:
        courier.send(Sessions())
        courier.send(ONE)
        courier.send(Sessions())
        answers: list[Answer] = []
        while len(answers) < 3:
            answers += next_answers(courier)
    first, second, third = answers
    assert isinstance(first, Sample)
    assert second == Killed(1)
    assert isinstance(third, Sample)
    assert (first.matched, third.matched) == (2, 1)


def test_nothing_is_there_before_it_is_asked(fake: FakeSockd) -> None:
    with Courier(daemon(fake)) as courier:
        assert not select.select([courier], [], [], 0)[0]


def test_a_mistake_of_ours_is_not_lost_in_the_thread() -> None:
    with Courier(answering(RuntimeError("a bug"))) as courier:
        courier.send(Sessions())
        with pytest.raises(RuntimeError, match="a bug"):
            next_answers(courier)
