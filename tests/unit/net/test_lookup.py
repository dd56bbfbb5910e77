"""Name look-ups: off the loop, asked once, bounded in number and time; and the C library's answers as values."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.address import Address, Name
from gateway.net.lookup import MAX_OUTSTANDING, LookupFailed, Lookups, system_lookup
from tests.support.rules import address
from tests.unit.net.stage import Stage

HERE = (address("127.0.0.1"), address("::1"))
SOURCE = address("10.1.2.3")


class Resolver:
    """Blocks until it is let to, then answers; counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.answer: Callable[[], tuple[Address, ...]] = lambda: HERE

    def __call__(self, name: Name) -> tuple[Address, ...]:
        self.asked.append(name)
        self.gate.wait(30)
        return self.answer()


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.gate.set()


def lookups(stage: Stage, resolver: Resolver, seconds: float = 20.0, threads: int = 16) -> Lookups:
    return Lookups(stage.loop, seconds, resolver, threads=threads)


def ask(stage: Stage, found: Lookups, name: str) -> "asyncio.Task[tuple[Address, ...]]":
    task = stage.loop.create_task(found.addresses(Name(name), SOURCE))
    stage.rest(0.0)
    return task


def test_a_name_is_looked_up(stage: Stage, resolver: Resolver) -> None:
    found = lookups(stage, resolver)
    assert stage.run(found.addresses(Name("localhost"), SOURCE)) == HERE
    assert resolver.asked == ["localhost"]
    found.close()


def test_the_loop_goes_on_meanwhile(stage: Stage, resolver: Resolver) -> None:
    resolver.gate.clear()
    found = lookups(stage, resolver)
    task = ask(stage, found, "slow.example")
    stage.rest(0.01)
    assert not task.done()
    resolver.gate.set()
    assert stage.run(task) == HERE
    found.close()


def test_the_same_question_is_asked_once_and_everybody_gets_the_answer(stage: Stage, resolver: Resolver) -> None:
    resolver.gate.clear()
    found = lookups(stage, resolver)
    tasks = [ask(stage, found, "same.example") for _ in range(20)]
    other = ask(stage, found, "other.example")
    resolver.gate.set()
    assert [stage.run(task) for task in tasks] == [HERE] * 20
    assert stage.run(other) == HERE
    assert sorted(resolver.asked) == ["other.example", "same.example"]
    found.close()


def test_an_answer_is_not_kept(stage: Stage, resolver: Resolver) -> None:
    found = lookups(stage, resolver)
    for _ in range(3):
        stage.run(found.addresses(Name("same.example"), SOURCE))
    assert len(resolver.asked) == 3
    found.close()


def test_a_failure_is_told_to_everybody_and_the_next_question_is_asked(stage: Stage, resolver: Resolver) -> None:
    def fail() -> tuple[Address, ...]:
        raise LookupFailed("Name or service not known")

    resolver.gate.clear()
    resolver.answer = fail
    found = lookups(stage, resolver)
    tasks = [ask(stage, found, "same.example") for _ in range(3)]
    resolver.gate.set()
    for task in tasks:
        with pytest.raises(LookupFailed, match="Name or service not known"):
            stage.run(task)
    resolver.answer = lambda: HERE
    assert stage.run(found.addresses(Name("same.example"), SOURCE)) == HERE
    found.close()


def test_a_failure_that_nobody_waits_for_is_silent(stage: Stage, resolver: Resolver) -> None:
    complaints: list[object] = []
    stage.loop.set_exception_handler(lambda _loop, context: complaints.append(context))

    def fail() -> tuple[Address, ...]:
        raise LookupFailed("unknown")

    resolver.gate.clear()
    resolver.answer = fail
    found = lookups(stage, resolver)
    task = ask(stage, found, "same.example")
    task.cancel()
    resolver.gate.set()
    stage.rest(0.02)
    assert complaints == []
    found.close()


def test_who_gives_up_does_not_take_the_answer_from_the_others(stage: Stage, resolver: Resolver) -> None:
    resolver.gate.clear()
    found = lookups(stage, resolver)
    first, second = ask(stage, found, "same.example"), ask(stage, found, "same.example")
    first.cancel()
    stage.rest(0.005)
    resolver.gate.set()
    assert stage.run(second) == HERE
    assert first.cancelled()
    found.close()


def test_who_waits_too_long_is_told_and_does_not_block_others(stage: Stage, resolver: Resolver) -> None:
    resolver.gate.clear()
    found = lookups(stage, resolver, seconds=0.5)
    with pytest.raises(LookupFailed, match="did not answer in time"):
        stage.run(found.addresses(Name("slow.example"), SOURCE))
    resolver.gate.set()
    assert stage.run(found.addresses(Name("fast.example"), SOURCE)) == HERE
    found.close()


def test_the_number_of_questions_is_bounded(stage: Stage, resolver: Resolver) -> None:
    resolver.gate.clear()
    found = lookups(stage, resolver, threads=1)
    tasks = [
        stage.loop.create_task(found.addresses(Name(f"n{n}.example"), Address(4, n))) for n in range(MAX_OUTSTANDING)
    ]
    stage.rest(0.0)
    with pytest.raises(LookupFailed, match="too many"):
        stage.run(found.addresses(Name("one-more.example"), SOURCE))
    known = ask(stage, found, "n0.example")
    resolver.gate.set()
    assert stage.run(known) == HERE
    stage.run(asyncio.wait(tasks))
    assert stage.run(found.addresses(Name("one-more.example"), SOURCE)) == HERE
    found.close()


def test_closing_waits_for_nobody(stage: Stage, resolver: Resolver) -> None:
    resolver.gate.clear()
    found = lookups(stage, resolver, threads=1)
    tasks = [ask(stage, found, f"n{n}.example") for n in range(3)]
    found.close()
    for task in tasks:
        task.cancel()
    stage.rest(0.005)
    assert all(task.done() for task in tasks)


# The C library


def answer_with(monkeypatch: pytest.MonkeyPatch, result: list[tuple[Any, ...]] | Exception) -> list[tuple[Any, ...]]:
    asked: list[tuple[Any, ...]] = []

    def getaddrinfo(*arguments: Any, **options: Any) -> list[tuple[Any, ...]]:
        asked.append((arguments, options))
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_localhost_is_known_without_a_name_server() -> None:
    assert address("127.0.0.1") in system_lookup(Name("localhost"))


def test_the_c_library_gets_bytes_and_its_order_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = (socket.SOCK_STREAM, 6, "")
    asked = answer_with(
        monkeypatch,
        [
            (socket.AF_INET6, *stream, ("2001:db8::2", 0, 0, 0)),
            (socket.AF_INET, *stream, ("203.0.113.1", 0)),
            (socket.AF_INET6, *stream, ("fe80::1%lo", 0, 0, 1)),
            (socket.AF_INET, *stream, ("203.0.113.1", 0)),
        ],
    )
    assert system_lookup(Name("xn--e1afmkfd.example")) == (
        address("2001:db8::2"),
        address("203.0.113.1"),
        address("fe80::1"),
    )
    ((arguments, _),) = asked
    assert arguments[0] == b"xn--e1afmkfd.example"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(socket.gaierror(-2, "Name or service not known"), "Name or service not known", id="unknown"),
        pytest.param(socket.gaierror(-3, "Temporary failure in name resolution"), "Temporary failure", id="later"),
        pytest.param(OSError(24, "Too many open files"), "Too many open files", id="no descriptor"),
    ],
)
def test_what_the_c_library_says_is_the_reason(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    answer_with(monkeypatch, error)
    with pytest.raises(LookupFailed, match=said):
        system_lookup(Name("example.com"))
