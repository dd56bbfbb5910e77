"""A worker's look-ups: each question has its own answer, and none waits longer than it may."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from gateway.address import Address, Name
from gateway.daemon import names as module
from gateway.daemon.messages import End, LookedUp, LookUp, Message, receive, send
from gateway.daemon.names import SHARE, ResolverLookups
from gateway.net.lookup import MAX_OUTSTANDING, LookupFailed
from tests.support.routes import words
from tests.support.rules import address

Value = TypeVar("Value")
WWW = Name("www.corp.example")
CLIENT, OTHER = address("10.1.0.2"), address("10.1.0.3")
FOUND = (address("10.0.0.9"), address("fd00::9"))
PATIENT, IMPATIENT = 20.0, 0.05


class Place:
    """A worker's loop, its look-ups, and the far end of its socket."""

    def __init__(self, seconds: float = PATIENT) -> None:
        self.loop = asyncio.new_event_loop()
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near = near
        for end in (near, self.far):
            end.setblocking(False)
        self.lookups = ResolverLookups(self.loop, near, seconds)

    def run(self, work: Awaitable[Value]) -> Value:
        async def bounded() -> Value:
            return await asyncio.wait_for(work, 20)

        return self.loop.run_until_complete(bounded())

    def ask(self, name: Name = WWW, client: Address = CLIENT) -> "asyncio.Task[tuple[Address, ...]]":
        """A look-up that is under way."""
        task = self.loop.create_task(self.lookups.addresses(name, client, words("wan1")))
        self.turn()
        return task

    def turn(self) -> None:
        self.run(asyncio.sleep(0))

    def heard(self) -> LookUp:
        received = receive(self.far)
        assert received is not None
        assert isinstance(received.message, LookUp)
        return received.message

    def say(self, message: Message) -> None:
        send(self.far, message)

    def close(self) -> None:
        self.lookups.close()
        self.loop.close()
        self.near.close()
        self.far.close()


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


@pytest.fixture
def impatient() -> Iterator[Place]:
    made = Place(IMPATIENT)
    yield made
    made.close()


def test_a_question_has_the_name_the_client_and_the_ways_of_its_session(place: Place) -> None:
    task = place.ask()
    asked = place.heard()
    assert (asked.name, asked.client, asked.ways) == (WWW, CLIENT, words("wan1"))
    place.say(LookedUp(asked.number, FOUND))
    assert place.run(task) == FOUND


def test_answers_come_in_any_order_and_each_to_its_question(place: Place) -> None:
    first, second = place.ask(), place.ask(Name("mail.corp.example"))
    numbers = [place.heard().number, place.heard().number]
    assert numbers[0] != numbers[1]
    place.say(LookedUp(numbers[1], FOUND[1:]))
    place.say(LookedUp(numbers[0], FOUND[:1]))
    assert place.run(first) == FOUND[:1]
    assert place.run(second) == FOUND[1:]


@pytest.mark.parametrize(
    ("why", "words_"),
    [pytest.param("zone corp.example: no", "^zone corp.example: no$", id="why"), pytest.param("", "no address", id="")],
)
def test_no_addresses_are_a_failure_with_its_reason(place: Place, why: str, words_: str) -> None:
    task = place.ask()
    place.say(LookedUp(place.heard().number, (), why))
    with pytest.raises(LookupFailed, match=words_):
        place.run(task)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda number: LookedUp(number + 1, FOUND), id="of another question"),
        pytest.param(lambda number: LookUp(number, WWW, CLIENT), id="a question"),
        pytest.param(lambda _: End(), id="another message"),
        pytest.param(lambda number: LookedUp(number, (Address(4, 1 << 32),)), id="an address that is none"),
        pytest.param(lambda number: LookedUp(number, (FOUND[0], Address(5, 1))), id="an address of no version"),
    ],
)
def test_what_is_no_answer_is_not_taken_for_one(place: Place, wrong: Callable[[int], Message]) -> None:
    task = place.ask()
    number = place.heard().number
    place.say(wrong(number))
    place.far.send(b"nonsense")
    place.say(LookedUp(number, FOUND))
    assert place.run(task) == FOUND


def test_a_second_answer_is_nobodys(place: Place) -> None:
    task = place.ask()
    number = place.heard().number
    place.say(LookedUp(number, FOUND))
    place.say(LookedUp(number, ()))
    assert place.run(task) == FOUND
    place.turn()


def test_who_is_not_answered_in_time_has_failed_and_a_late_answer_is_nobodys(impatient: Place) -> None:
    task = impatient.ask()
    number = impatient.heard().number
    with pytest.raises(LookupFailed, match="did not answer in time"):
        impatient.run(task)
    impatient.say(LookedUp(number, FOUND))
    impatient.turn()
    impatient.lookups.seconds = PATIENT
    again = impatient.ask()
    impatient.say(LookedUp(impatient.heard().number, FOUND))
    assert impatient.run(again) == FOUND


def test_a_resolver_that_has_gone_for_ever_is_a_failure_at_once(place: Place) -> None:
    place.far.close()
    place.turn()
    with pytest.raises(LookupFailed, match="the resolver can not be asked: Broken pipe"):
        place.run(place.ask())
    place.far = place.near  # so that closing it is no trouble


def test_a_resolver_that_does_not_read_is_a_failure_and_no_wait(place: Place) -> None:
    place.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    tasks = [place.ask(client=Address(4, number)) for number in range(SHARE)]
    failed = [task for task in tasks if task.done()]
    assert failed
    with pytest.raises(LookupFailed, match="the resolver can not be asked: Resource temporarily unavailable"):
        place.run(failed[0])
    for task in tasks:
        task.cancel()
    place.run(asyncio.gather(*tasks, return_exceptions=True))


def drained(place: Place, tasks: list["asyncio.Task[tuple[Address, ...]]"]) -> None:
    for task in tasks:
        task.cancel()
    place.run(asyncio.gather(*tasks, return_exceptions=True))


@pytest.mark.parametrize("clients", [1, 2])
def test_a_client_has_its_share_and_all_together_have_a_bound(
    place: Place, clients: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OUTSTANDING", 8)
    monkeypatch.setattr(module, "SHARE", 4)
    sources = (CLIENT, OTHER)[:clients]
    tasks = [place.ask(client=source) for source in sources for _ in range(4)]
    assert not any(task.done() for task in tasks)
    words_ = "too many look-ups of this client" if clients == 1 else "too many look-ups are under way"
    with pytest.raises(LookupFailed, match=words_):
        place.run(place.ask(client=CLIENT))
    place.say(LookedUp(place.heard().number, FOUND))
    assert place.run(tasks.pop(0)) == FOUND
    tasks.append(place.ask(client=CLIENT))
    assert not tasks[-1].done(), "there is room again"
    drained(place, tasks)
    assert place.lookups._waiting == {}
    assert not place.lookups._by_source


def test_one_client_may_have_half_of_all() -> None:
    assert SHARE * 2 == MAX_OUTSTANDING
