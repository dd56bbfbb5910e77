"""Real children and what is said between them and their supervisor: who breaks the rules ends, and nobody waits."""

import contextlib
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.address import Address
from gateway.control.protocol import Filter
from gateway.daemon import messages
from gateway.daemon.children import Child, Children
from gateway.daemon.crew import MAX_OWED, Crew
from gateway.daemon.gathering import MAX_PARTS, Gathering
from gateway.daemon.messages import (
    Apply,
    End,
    Found,
    Inquire,
    Kill,
    Killed,
    Load,
    Loaded,
    Network,
    Networks,
    Orders,
    Ready,
    close_all,
    receive,
    send,
)
from gateway.system.journal import Journal
from gateway.system.sandbox import Confinement
from tests.support.waiting import eventually
from tests.unit.net.stage import descriptors

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

LONG = 1000.0
NOBODY = Filter(user="nobody")

Life = Callable[[socket.socket], None]


class Page:
    """A log, which children inherit and this process reads."""

    chunk = 0

    def __init__(self) -> None:
        self.lines: list[str] = []

    def put(self, line: bytes) -> bool:
        """As `Sink`."""
        self.lines.append(line.decode().partition(": ")[2].rstrip("\n"))
        return True


class House:
    """A supervisor that has nothing but its children."""

    def __init__(self, lives: dict[str, Life]) -> None:
        self.page = Page()
        self.selector = selectors.DefaultSelector()
        self.said_all: list[tuple[str, Any]] = []
        self.births: list[str] = []
        self.deaths: list[str] = []
        journal = Journal(self.page, None)
        children = Children(journal, [Child(name, life) for name, life in lives.items()], self.selector.close)
        self.crew = Crew(children, journal, self._attend, self._leave, self)

    def _attend(self, sock: socket.socket, call: Callable[[], None]) -> None:
        self.selector.register(sock, selectors.EVENT_READ, call)

    def _leave(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0 and sock in self.selector.get_map():
            self.selector.unregister(sock)

    def said(self, child: Child, message: Any) -> None:
        """As `Listener`, and as strict as the supervisor."""
        if isinstance(message, Networks):
            messages.check(message.network)
        self.said_all.append((child.name, message))

    def born(self, child: Child) -> None:
        """As `Listener`."""
        self.births.append(child.name)

    def died(self, child: Child) -> None:
        """As `Listener`."""
        self.deaths.append(child.name)

    def __getitem__(self, name: str) -> Child:
        return next(child for child in self.crew.children.all if child.name == name)

    @property
    def all(self) -> tuple[Child, ...]:
        return self.crew.children.all

    def start(self) -> "House":
        """All of them, until they are ready."""
        for child in self.all:
            self.crew.start(child)
        assert self.until(lambda: len(self.crew.ready) == len(self.all))
        return self

    def turn(self) -> None:
        """Hear all that is there; see who has died."""
        patience = 0.01
        while found := self.selector.select(patience):
            patience = 0.0
            for key, _ in found:
                key.data()
        self.crew.bury()

    def until(self, look: Callable[[], object]) -> bool:
        """Whether it came to be."""

        def turned() -> object:
            self.turn()
            return look()

        return bool(eventually(turned))

    def ask(self, *names: str, seconds: float = LONG, filter: Filter = NOBODY) -> Gathering:
        """How many sessions somebody has, of whom there are none."""
        return self.crew.ask(map(self.__getitem__, names), lambda number: Kill(number, filter), seconds)

    def stop(self, name: str) -> None:
        os.kill(self[name].pid, signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        os.kill(self[name].pid, signal.SIGCONT)

    def close(self) -> None:
        for child in self.all:
            if child.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
            if child.channel is not None:
                child.channel.close()
        self.selector.close()


Build = Callable[..., House]


@pytest.fixture
def house() -> Iterator[Build]:
    made: list[House] = []

    def build(**lives: Life) -> House:
        made.append(House({name.replace("_", " "): life for name, life in lives.items()}))
        return made[-1]

    yield build
    for one in made:
        one.close()


# Lives


def answering(answer: Callable[[socket.socket, Any], None]) -> Life:
    """It is ready, and deals with each message in this way until there are no more."""

    def live(channel: socket.socket) -> None:
        channel.setblocking(True)
        send(channel, Ready(os.getpid(), Confinement("on", "ABI 1")))
        while (received := receive(channel)) is not None:
            close_all(received.descriptors)
            answer(channel, received.message)

    return live


def honest(channel: socket.socket, message: Any) -> None:
    if isinstance(message, Kill):
        send(channel, Killed(message.number, 3))
    elif isinstance(message, Load):
        send(channel, Loaded(message.number))


def silent(_channel: socket.socket, _message: Any) -> None:
    """Whatever comes."""


def saying(data: bytes) -> Life:
    """As an answer to whatever comes, with its number in place of ``%d``."""
    return answering(lambda channel, message: send_bytes(channel, data.replace(b"%d", b"%d" % message.number)))


def send_bytes(channel: socket.socket, data: bytes) -> None:
    channel.send(data)


def test_who_is_born_is_heard_of_and_is_ready_when_it_says_so(house: Build) -> None:
    made = house(worker_1=answering(honest), worker_2=answering(honest)).start()
    assert made.births == ["worker 1", "worker 2"]
    assert [child.confinement for child in made.all] == [Confinement("on", "ABI 1")] * 2
    assert made.deaths == made.page.lines == []
    assert made.said_all == []


def test_a_question_is_over_when_all_have_answered(house: Build) -> None:
    made = house(worker_1=answering(honest), worker_2=answering(honest)).start()
    gathering = made.ask("worker 1", "worker 2")
    assert made.until(lambda: gathering.is_over)
    assert [answer.count for answer in gathering.answers] == [3, 3]
    assert gathering.failures == ""


def test_who_is_not_ready_is_not_asked(house: Build) -> None:
    made = house(worker_1=answering(honest))
    made.crew.start(made["worker 1"])
    gathering = made.ask("worker 1")
    assert gathering.is_over
    assert gathering.answers == []


def test_who_dies_is_heard_of_is_not_waited_for_and_is_started_again(house: Build) -> None:
    made = house(worker_1=answering(silent)).start()
    gathering = made.ask("worker 1")
    before = descriptors()
    os.kill(made["worker 1"].pid, signal.SIGKILL)
    assert made.until(lambda: made.deaths)
    assert gathering.is_over
    assert gathering.failures == ""
    assert made.crew.ready == set()
    assert descriptors() == before - 1
    assert made.crew.tell(made["worker 1"], End()) is False
    made["worker 1"].due = 0.0
    made.crew.restart()
    assert made.until(lambda: made.crew.ready)
    assert made.births == ["worker 1"] * 2
    assert not made.ask("worker 1").is_over, "it owes nothing of what its predecessor owed"


def test_who_is_replaced_is_not_said_to_be_gone(house: Build) -> None:
    made = house(worker_1=answering(honest)).start()
    before = made["worker 1"].pid
    made.crew.replace(made["worker 1"])
    assert made.until(lambda: made.deaths)
    made.crew.restart()
    assert made.until(lambda: made.crew.ready)
    assert made["worker 1"].pid != before
    assert made.page.lines == []


def test_who_has_just_died_is_said_to_have_though_it_was_to_be_told_something(house: Build) -> None:
    made = house(worker_1=answering(silent)).start()
    os.kill(made["worker 1"].pid, signal.SIGKILL)
    assert eventually(lambda: not made.crew.tell(made["worker 1"], End()))
    made.crew.insist(made["worker 1"], End())
    assert made.until(lambda: made.deaths)
    (line,) = made.page.lines
    assert "was killed by SIGKILL" in line


def test_who_does_not_take_what_it_must_know_is_replaced(house: Build) -> None:
    made = house(worker_1=answering(honest)).start()
    made.stop("worker 1")
    fill(made, "worker 1")
    made.crew.insist(made["worker 1"], End())
    assert made.until(lambda: made.deaths)
    assert made.page.lines == []


# Who can not be reached, and who does not answer


def fill(house: House, name: str) -> None:
    """Tell it so much that no more fits."""
    orders = Orders(Network())
    while house.crew.tell(house[name], orders):
        pass


def test_a_worker_whose_channel_is_full_is_unreached_and_lives(house: Build) -> None:
    made = house(worker_1=answering(honest), worker_2=answering(honest)).start()
    pid = made["worker 1"].pid
    made.stop("worker 1")
    fill(made, "worker 1")
    gathering = made.ask("worker 1", "worker 2")
    assert made.until(lambda: gathering.is_over)
    assert gathering.failures == "worker 1: can not be reached (EAGAIN)"
    assert len(gathering.answers) == 1
    made.go_on("worker 1")
    again: list[Gathering] = []

    def is_answered() -> bool:
        again.append(made.ask("worker 1"))
        return made.until(lambda: again[-1].is_over) and not again[-1].failures

    assert eventually(is_answered)
    assert made["worker 1"].pid == pid
    assert made.deaths == made.page.lines == []


def test_a_question_that_is_too_long_for_a_channel_reaches_nobody_and_ends_nobody(house: Build) -> None:
    made = house(worker_1=answering(honest)).start()
    gathering = made.ask("worker 1", filter=Filter(user="u" * messages.MAX_BYTES))
    assert gathering.is_over
    assert gathering.failures == "worker 1: can not be reached (EMSGSIZE)"
    again = made.ask("worker 1")
    assert made.until(lambda: again.is_over)
    assert again.failures == ""
    assert made.page.lines == []


def test_a_descriptor_that_can_not_be_passed_is_no_death_either(house: Build) -> None:
    made = house(worker_1=answering(honest)).start()
    closed = os.open("/dev/null", os.O_RDONLY)
    os.close(closed)
    gathering = made.crew.ask(made.all, lambda number: Load(number, 2), LONG, descriptors=[closed])
    assert gathering.failures == "worker 1: can not be reached (EBADF)"
    assert made.until(lambda: made.crew.ready)
    assert made.deaths == []


def owing(channel: socket.socket, message: Any) -> None:
    """Answers when it is told to end, all at once."""
    if isinstance(message, End):
        for number in range(1, MAX_OWED + 1):
            send(channel, Killed(number, 0))


def test_who_owes_too_many_answers_is_not_asked_until_it_has_given_them(house: Build) -> None:
    made = house(worker_1=answering(owing), worker_2=answering(honest)).start()
    asked = [made.ask("worker 1", seconds=0.0) for _ in range(MAX_OWED)]
    assert {gathering.failures for gathering in asked} == {"worker 1: no answer in time"}
    late = made.ask("worker 1", "worker 2")
    assert made.until(lambda: late.is_over)
    assert late.failures == "worker 1: owes other answers"
    made.crew.tell(made["worker 1"], End())
    assert made.until(lambda: not made.ask("worker 1", seconds=0.0).unreached)
    assert made.deaths == made.page.lines == []


# Who breaks the rules

HUGE = b"9" * 4300
PART = b'{"type":"Found","number":%d,"rows":[]}'


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param(
            b'{"type":"Killed","number":%d,"count":' + HUGE + b"}", "is no message", id="a number of 4300 digits"
        ),
        pytest.param(b'{"type":"Killed","number":' + HUGE + b',"count":1}', "is no message", id="for a question"),
        pytest.param(b'{"type":"Killed","number":%d,"count":-1}', "is no message", id="a number below 0"),
        pytest.param(b'{"type":"Killed","number":%d,"count":9223372036854775808}', "is no message", id="a sum too far"),
        pytest.param(b"garbage", "is no message", id="garbage"),
        pytest.param(b"[" * 100_000, "is no message", id="what is nested too deep"),
        pytest.param(b"", "is no message", id="nothing"),
        pytest.param(b'{"type":"Networks","network":{}}', "it may not say", id="what others may say"),
    ],
)
def test_who_says_what_can_not_be_is_dismissed_and_the_supervisor_lives(house: Build, said: bytes, why: str) -> None:
    made = house(worker_1=saying(said), worker_2=answering(honest)).start()
    gathering = made.ask("worker 1", "worker 2")
    assert made.until(lambda: made.deaths)
    assert made.until(lambda: gathering.is_over)
    assert made.page.lines[0].startswith("worker 1 says what ")
    assert made.page.lines[0].endswith(f"{why}, and is ended")
    assert "was killed by SIGKILL; a new one starts" in made.page.lines[1]
    assert [answer.count for answer in gathering.answers] == [3]


def test_an_answer_to_what_was_not_asked_is_the_end_of_a_worker(house: Build) -> None:
    made = house(worker_1=saying(b'{"type":"Loaded","number":%d}')).start()
    made.ask("worker 1")
    assert made.until(lambda: made.deaths)
    assert made.page.lines[0] == "worker 1 answers what it was not asked, and is ended"


def test_an_answer_that_comes_too_late_is_no_offence(house: Build) -> None:
    made = house(worker_1=answering(honest)).start()
    made.stop("worker 1")
    assert made.ask("worker 1", seconds=0.0).failures
    made.go_on("worker 1")
    again = made.ask("worker 1")
    assert made.until(lambda: again.is_over)
    assert made.deaths == made.page.lines == []


@pytest.mark.parametrize(("parts", "is_dismissed"), [(MAX_PARTS - 1, False), (MAX_PARTS, True)])
def test_who_answers_in_too_many_parts_is_dismissed(house: Build, parts: int, is_dismissed: bool) -> None:
    def talkative(channel: socket.socket, message: Any) -> None:
        for _ in range(parts):
            send(channel, Found(message.number, ()))
        send(channel, Found(message.number, (), 0))

    made = house(worker_1=answering(talkative)).start()
    gathering = made.crew.ask(made.all, lambda number: Inquire(number, NOBODY, "age", 1), LONG)
    assert made.until(lambda: gathering.is_over)
    assert len(gathering.answers) == MAX_PARTS
    if is_dismissed:
        assert made.page.lines[0] == "worker 1 answers what it was not asked, and is ended"
    else:
        assert made.page.lines == []


def test_a_watcher_whose_addresses_are_none_is_dismissed(house: Build) -> None:
    def live(channel: socket.socket, _message: Any) -> None:
        send(channel, Networks(Network(own=(Address(4, -5),))))

    made = house(watcher=answering(live)).start()
    made.crew.tell(made["watcher"], End())
    assert made.until(lambda: made.deaths)
    why = "(ValueError: an address that is none)"
    assert made.page.lines[0] == f"watcher says what can not be {why}, and is ended"
    assert made.said_all == []


def test_what_is_no_answer_is_for_the_supervisor(house: Build) -> None:
    made = house(watcher=answering(lambda channel, _message: send(channel, Apply(())))).start()
    made.crew.tell(made["watcher"], End())
    assert made.until(lambda: made.said_all)
    assert made.said_all == [("watcher", Apply(()))]


def test_descriptors_that_a_child_passes_are_closed(house: Build) -> None:
    def passing(channel: socket.socket, message: Any) -> None:
        with open("/dev/null") as null:
            send(channel, Killed(message.number, 0), [null.fileno()] * 200)

    made = house(worker_1=answering(passing)).start()
    before = descriptors()
    gathering = made.ask("worker 1")
    assert made.until(lambda: gathering.is_over)
    assert descriptors() == before


def test_who_closes_its_channel_and_runs_on_is_ended(house: Build) -> None:
    def deaf(channel: socket.socket, _message: Any) -> None:
        channel.shutdown(socket.SHUT_RDWR)
        signal.pause()

    made = house(worker_1=answering(deaf)).start()
    gathering = made.ask("worker 1")
    assert made.until(lambda: made.deaths)
    assert gathering.is_over
    assert made.page.lines[0].startswith("worker 1 (process ")


def test_who_is_dismissed_by_name_is_ended_and_that_is_said(house: Build) -> None:
    made = house(worker_1=answering(honest), worker_2=answering(honest)).start()
    made.crew.dismiss_named("worker 2", "goes on with the old files")
    assert made.until(lambda: made.deaths)
    assert made.deaths == ["worker 2"]
    assert made.page.lines[0] == "worker 2 goes on with the old files, and is ended"
