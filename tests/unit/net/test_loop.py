"""The data path's poller as asyncio's selector: both sides are served, neither starves the other, nothing spins."""

import asyncio
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gateway.net.loop import READ, READ_WRITE, Handler, Poller, Resumable
from tests.support.waiting import least
from tests.unit.net.stage import Stage, descriptors


class Ear:
    """Hears of one end of a socket pair; the other end is for the test."""

    def __init__(self, stage: Stage, events: int = READ) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.heard: list[int] = []
        self.act: Callable[[], None] = lambda: None
        self.resumed = 0
        self._stage = stage
        stage.poller.add(self.near.fileno(), self, events)
        stage.far += [self.near, self.far]

    def ready(self, events: int) -> None:
        """As `Handler`."""
        self.heard.append(events)
        self.act()

    def resume(self) -> None:
        """As `Resumable`."""
        self.resumed += 1
        self.act()

    def close(self) -> None:
        """Close the near end, as handlers do."""
        self._stage.poller.close_later(self.near.fileno(), self.near)


@pytest.fixture
def ears(stage: Stage) -> Iterator[Callable[..., Ear]]:
    """Makes ears that are removed in the end."""
    made: list[Ear] = []

    def make(events: int = READ) -> Ear:
        made.append(Ear(stage, events))
        return made[-1]

    yield make
    for ear in made:
        if ear.near.fileno() in stage.poller.handlers:
            stage.poller.remove(ear.near.fileno())


Ears = Callable[..., Ear]


# The data path


def test_an_event_is_told_once_until_something_new_happens(stage: Stage, ears: Ears) -> None:
    ear = ears()
    ear.far.send(b"x")
    stage.one_round()
    stage.one_round()
    assert len(ear.heard) == 1
    assert ear.heard[0] & select.EPOLLIN
    ear.far.send(b"y")
    stage.one_round()
    assert len(ear.heard) == 2


def test_a_change_tells_anew_what_holds_already(stage: Stage, ears: Ears) -> None:
    ear = ears()
    ear.far.send(b"x")
    stage.one_round()
    stage.poller.change(ear.near.fileno(), READ_WRITE)
    stage.one_round()
    assert ear.heard[1] & select.EPOLLIN
    assert ear.heard[1] & select.EPOLLOUT


def test_who_is_removed_hears_no_more(stage: Stage, ears: Ears) -> None:
    ear = ears()
    stage.poller.remove(ear.near.fileno())
    ear.far.send(b"x")
    stage.one_round()
    assert ear.heard == []


def test_a_handler_that_fails_is_named_and_the_others_are_served(stage: Stage, ears: Ears) -> None:
    failed: list[tuple[Handler | Resumable, str]] = []
    stage.poller.failed = lambda handler, error: failed.append((handler, str(error)))
    broken, fine = ears(), ears()

    def fail() -> None:
        raise ZeroDivisionError("injected")

    broken.act = fail
    for ear in (broken, fine):
        ear.far.send(b"x")
    stage.one_round()
    assert failed == [(broken, "injected")]
    assert len(fine.heard) == 1
    stage.poller.again(broken)
    stage.poller.again(fine)
    stage.one_round()
    assert failed == [(broken, "injected")] * 2
    assert fine.resumed == 1


def test_who_is_closed_in_a_round_hears_nothing_of_that_round(stage: Stage, ears: Ears) -> None:
    """Nor does a new descriptor that would get its number."""
    first, second = ears(), ears()
    numbers = {first: first.near.fileno(), second: second.near.fileno()}
    fresh: list[socket.socket] = []

    def close_the_other() -> None:
        victim = second if first.heard else first
        victim.close()
        fresh.append(socket.socket())
        assert fresh[-1].fileno() not in numbers.values()

    first.act = second.act = close_the_other
    for ear in (first, second):
        ear.far.send(b"x")
    stage.one_round()
    assert len(first.heard) + len(second.heard) == 1
    assert sorted((first.near.fileno() < 0, second.near.fileno() < 0)) == [False, True], "closed at the round's end"
    stage.far += fresh


def test_who_asks_for_another_turn_gets_it_after_the_others(stage: Stage, ears: Ears) -> None:
    order: list[str] = []
    greedy, modest = ears(), ears()

    def go_on() -> None:
        order.append("greedy")
        if len(order) < 6:
            stage.poller.again(greedy)
        if len(order) == 2:
            modest.far.send(b"x")

    greedy.act = go_on
    modest.act = lambda: order.append("modest")
    greedy.far.send(b"x")
    for _ in range(8):
        stage.one_round()
    assert order.index("modest") in (2, 3)
    assert greedy.resumed == order.count("greedy") - 1


def test_what_is_collected_in_a_round_goes_at_its_end(stage: Stage, ears: Ears) -> None:
    done: list[str] = []
    collector, *others = (ears() for _ in range(4))
    for ear in others:
        ear.act = lambda: done.append("event")
    collector.act = lambda: done.append("end")
    stage.poller.at_end(collector)
    stage.one_round()
    assert done == ["end"], "what asyncio has asked for goes before anything is waited for"
    others[0].act = lambda: stage.poller.at_end(collector)
    for ear in others:
        ear.far.send(b"x")
    stage.one_round()
    assert done == ["end", "event", "event", "end"]
    stage.one_round()
    assert done.count("end") == 2


def test_a_failure_at_the_end_of_a_round_is_named(stage: Stage, ears: Ears) -> None:
    error = RuntimeError("a bug")
    failing, fine = ears(), ears()

    def fail() -> None:
        raise error

    failing.act = fail
    stage.poller.at_end(failing)
    stage.poller.at_end(fine)
    stage.one_round()
    assert fine.resumed == 1
    assert stage.failures == [(failing, error)]
    stage.failures.clear()


def test_more_events_than_one_round_takes_are_all_told(stage: Stage, ears: Ears) -> None:
    all_ears = [ears() for _ in range(300)]
    for ear in all_ears:
        ear.far.send(b"x")
    assert stage.until(lambda: all(ear.heard for ear in all_ears))
    assert {len(ear.heard) for ear in all_ears} == {1}


# asyncio on it


def test_what_a_handler_schedules_happens_at_once(stage: Stage, ears: Ears) -> None:
    done: list[str] = []
    ear = ears()

    async def work() -> None:
        await asyncio.sleep(0)
        done.append("task")

    def schedule() -> None:
        stage.loop.call_soon(done.append, "soon")
        stage.loop.call_later(0.01, done.append, "later")
        stage.loop.create_task(work())

    ear.act = schedule
    ear.far.send(b"x")
    started = time.monotonic()
    finished = stage.loop.create_future()
    stage.loop.call_later(30, finished.set_result, None)
    assert stage.until(lambda: len(done) == 3)
    assert time.monotonic() - started < 5
    assert done[0] == "soon"


def test_a_future_that_a_handler_fulfils_wakes_its_task(stage: Stage, ears: Ears) -> None:
    ear = ears()
    future = stage.loop.create_future()
    ear.act = lambda: future.set_result("woken")
    stage.loop.call_later(0.01, ear.far.send, b"x")
    assert stage.run(future, within=5) == "woken"


def test_another_thread_wakes_the_loop(stage: Stage) -> None:
    future = stage.loop.create_future()
    thread = threading.Timer(0.01, stage.loop.call_soon_threadsafe, (future.set_result, "woken"))
    thread.start()
    assert stage.run(future, within=5) == "woken"
    thread.join()


def test_a_signal_wakes_the_loop(stage: Stage) -> None:
    future = stage.loop.create_future()
    stage.loop.add_signal_handler(signal.SIGUSR1, future.set_result, "woken")
    stage.loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    assert stage.run(future, within=5) == "woken"
    stage.loop.remove_signal_handler(signal.SIGUSR1)


def test_a_busy_data_path_starves_neither_timers_nor_asyncios_sockets(stage: Stage, ears: Ears) -> None:
    ear = ears()
    deadline = time.monotonic() + 10.0

    def go_on() -> None:
        if time.monotonic() < deadline:
            stage.poller.again(ear)

    ear.act = go_on
    ear.far.send(b"x")
    near, far = socket.socketpair()
    near.setblocking(False)
    stage.far += [near, far]

    async def work() -> float:
        started = time.monotonic()
        await asyncio.sleep(0.02)
        far.send(b"x")
        await stage.loop.sock_recv(near, 1)
        await stage.loop.run_in_executor(None, time.sleep, 0.001)
        return time.monotonic() - started

    assert stage.run(work(), within=15) < 5
    assert time.monotonic() < deadline
    assert ear.resumed > 10
    deadline = 0.0
    stage.run(stage.loop.shutdown_default_executor())


def test_busy_asyncio_does_not_starve_the_data_path(stage: Stage, ears: Ears) -> None:
    ear = ears()

    async def spin() -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    ear.far.send(b"x")
    stage.run(spin())
    assert len(ear.heard) == 1


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.03])
def test_timers_are_kept_and_waiting_costs_nothing(stage: Stage, seconds: float) -> None:
    started = time.monotonic()
    stage.rest(seconds)
    assert seconds <= time.monotonic() - started < seconds + 5
    assert least(lambda: stage.work_at_rest(seconds), below=0.02) < 0.02


def test_an_idle_loop_does_not_spin(stage: Stage, ears: Ears) -> None:
    ear = ears(READ_WRITE)
    assert least(stage.work_at_rest, below=0.04) < 0.04
    assert len(ear.heard) == 1


def test_closing_closes_everything() -> None:
    before = descriptors()
    stage = Stage()
    near, far = socket.socketpair()
    stage.poller.add(near.fileno(), Ear.__new__(Ear), READ)
    stage.poller.close_later(near.fileno(), near)
    far.close()
    stage.close()
    assert descriptors() == before


def test_without_somebody_to_tell_a_failure_is_not_hidden(stage: Stage, ears: Ears) -> None:
    poller = Poller()
    ear = ears()
    stage.poller.remove(ear.near.fileno())

    def fail() -> None:
        raise ZeroDivisionError("injected")

    ear.act = fail
    poller.add(ear.near.fileno(), ear, READ)
    ear.far.send(b"x")
    with pytest.raises(ZeroDivisionError):
        poller.select(0)
    poller.close()
