"""Who is asked, who takes over, and who is given up: with real wardens, and with some that do what none should."""

import errno
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gateway.daemon import seat as module
from gateway.daemon.messages import Applied, Apply, Clear, Listen, Open, Opened, Ready, Spare, receive, send
from gateway.daemon.seat import Seat
from gateway.system.reaper import become_reaper, reap_orphans
from gateway.system.sandbox import Confinement
from tests.support.forked import forked
from tests.support.rules import address
from tests.support.waiting import eventually
from tests.unit.daemon.wardens import fork_warden, post
from tests.unit.net.stage import descriptors

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

SOON = 0.2
"""Seconds for an answer that never comes."""


class Office:
    """A supervisor that has nothing but its wardens, in a folder with one file; to be used in a process of its own."""

    def __init__(self, folder: Path, wanted: int = 2) -> None:
        self.file = folder / "gateway.toml"
        self.file.write_text("here")
        self.selector = selectors.DefaultSelector()
        self.troubles: list[str] = []
        self.where = post(folder)
        self.seat = Seat(self._fork, wanted, self._watch, self._forget, self.troubles.append)

    def _fork(self, theirs: socket.socket, mine: socket.socket) -> int:
        def forsake() -> None:
            mine.close()
            self.seat.forsake()

        return fork_warden(self.where, theirs, forsake)

    def _watch(self, sock: socket.socket, call: Callable[[], None]) -> None:
        self.selector.register(sock, selectors.EVENT_READ, call)

    def _forget(self, sock: socket.socket) -> None:
        self.selector.unregister(sock)

    def turn(self) -> None:
        """Hear what is there."""
        if self.selector.get_map():
            for key, _ in self.selector.select(0.01):
                key.data()
        reap_orphans(())

    def until(self, look: Callable[[], bool]) -> bool:
        """Whether it came to be."""

        def turned() -> bool:
            self.turn()
            return look()

        return eventually(turned)

    def read(self) -> bytes:
        """The file, by way of a warden."""
        descriptor = self.seat.reading(str(self.file))
        try:
            return os.read(descriptor, 100)
        finally:
            os.close(descriptor)

    def start(self) -> "Office":
        become_reaper()
        self.seat.fill()
        assert self.until(lambda: self.seat.is_ready)
        self.seat.may_fork = False
        return self

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """One of its wardens; who has not said its number yet has 0, which would be all of us."""
        assert pid > 0
        os.kill(pid, number)

    def gone(self, *pids: int) -> bool:
        return self.until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))

    def gone_unheard(self, pid: int) -> bool:
        """Whether it has ended; its channel is not looked at."""

        def look() -> bool:
            reap_orphans(())
            return not os.path.exists(f"/proc/{pid}")

        return eventually(look)

    def close(self) -> bool:
        """Whether nobody is left."""
        pids = self.seat.pids
        self.seat.end()
        self.selector.close()

        def look() -> bool:
            reap_orphans(())
            return not any(os.path.exists(f"/proc/{pid}") for pid in pids)

        return eventually(look)


def in_an_office(folder: Path, work: Callable[[Office], object], wanted: int = 2) -> None:
    """In a process of its own, which is the reaper of its orphans, and is left by everybody."""

    def live() -> bool:
        office = Office(folder, wanted).start()
        work(office)
        return office.close()

    assert forked(live) is True


# With real wardens


def test_the_first_one_is_asked_and_the_second_one_is_its_spare(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        assert office.read() == b"here"
        assert len(set(office.seat.pids)) == 2
        with office.seat.listening(Listen(address("127.0.0.1"), 0, 8, shared=False, device="", scope=0)) as sock:
            assert sock.getsockname()[1] > 0
        assert office.troubles == []

    in_an_office(tmp_path, work)


def test_why_a_file_can_not_be_opened_is_raised(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        for path, error in (("/etc/shadow", PermissionError), (f"{tmp_path}/gateway.toml/x", OSError)):
            with pytest.raises(error):
                office.seat.reading(path)
        office.file.unlink()
        with pytest.raises(FileNotFoundError):
            office.read()
        with pytest.raises(PermissionError):
            office.seat.appending(str(office.file))
        assert office.troubles == []

    in_an_office(tmp_path, work)


def test_when_the_first_one_dies_its_spare_takes_its_place_and_makes_another_one(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        first, spare = office.seat.pids
        office.kill(first)
        assert office.until(lambda: office.seat.pids == (spare,))
        assert office.troubles == [f"warden (process {first}) has gone; its spare takes its place"]
        assert office.read() == b"here"
        office.seat.refill()
        assert office.until(lambda: office.seat.is_ready)
        assert office.seat.pids[0] == spare
        assert office.seat.pids[1] not in (first, spare)
        assert office.seat.restarts == 1
        office.kill(spare)
        assert office.until(lambda: len(office.seat.pids) == 1)
        assert office.read() == b"here"

    in_an_office(tmp_path, work)


def test_a_death_that_nobody_has_noticed_costs_a_question_nothing(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        first, spare = office.seat.pids
        office.kill(first)
        assert office.gone_unheard(first)
        assert office.read() == b"here"
        assert office.seat.pids == (spare,)

    in_an_office(tmp_path, work)


def test_one_that_is_stopped_is_given_up_and_ended_and_the_spare_answers(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        first, spare = office.seat.pids
        office.kill(first, signal.SIGSTOP)
        answer, found = office.seat.ask(Open(str(office.file), "read"), seconds=SOON)
        assert answer == Opened()
        assert os.read(found[0], 10) == b"here"
        os.close(found[0])
        assert office.seat.pids == (spare,)
        assert office.troubles == [f"warden (process {first}) does not answer; its spare takes its place"]
        assert office.gone(first)
        assert office.read() == b"here"

    in_an_office(tmp_path, work)


def test_both_are_dead(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        pids = office.seat.pids
        for pid in pids:
            office.kill(pid)
        with pytest.raises(OSError, match=r"."):
            office.read()
        assert office.seat.is_empty
        assert "restart sockd" in office.troubles[-1]
        with pytest.raises(OSError, match="no warden any more; restart sockd"):
            office.read()
        heard: list[Applied] = []
        office.seat.apply((), heard.append)
        assert "can not be asked" in heard[0].faults[0]
        assert "left behind" in office.seat.clear()[0]
        office.seat.refill()  # there is nobody who could make one
        assert office.seat.is_empty
        assert office.seat.restarts == 0

    in_an_office(tmp_path, work)


def test_without_privileges_there_is_one_and_the_next_one_is_made_by_the_supervisor(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        office.seat.may_fork = True
        (pid,) = office.seat.pids
        office.kill(pid)
        assert office.until(lambda: office.seat.is_empty)
        assert office.troubles == [f"warden (process {pid}) has gone; another one is started"]
        office.seat.refill()
        assert office.until(lambda: office.seat.is_ready)
        assert office.read() == b"here"

    in_an_office(tmp_path, work, wanted=1)


def test_missing_ones_are_made_at_a_bounded_rate(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        for expected in (1, 1):
            assert office.until(lambda: office.seat.is_ready)
            office.kill(office.seat.pids[1])
            assert office.until(lambda: len(office.seat.pids) == 1)
            office.seat.refill()
            assert office.seat.restarts == expected
        assert len(office.seat.pids) == 1

    in_an_office(tmp_path, work)


def test_no_descriptor_stays_behind_whatever_happens(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        before = descriptors()
        for _ in range(10):
            office.read()
            with pytest.raises(PermissionError):
                office.seat.reading("/etc/shadow")
        first, spare = office.seat.pids
        office.kill(first, signal.SIGSTOP)
        office.seat.ask(Clear() if os.geteuid() else Open("/etc/shadow", "read"), seconds=SOON)
        assert descriptors() == before - 1
        office.seat.refill()
        assert office.until(lambda: office.seat.is_ready)
        assert descriptors() == before
        kept = [f"/proc/{pid}/fd" for pid in office.seat.pids]
        assert kept[0] == f"/proc/{spare}/fd"
        assert eventually(lambda: len(os.listdir(kept[0])) == len(os.listdir(kept[1])))

    in_an_office(tmp_path, work)


def test_at_the_end_all_of_them_end_without_a_word(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        pids = office.seat.pids
        office.seat.end()
        assert office.gone(*pids)
        assert office.troubles == []
        office.seat.refill()
        office.seat.fill()
        assert office.seat.is_empty

    in_an_office(tmp_path, work)


def test_the_last_one_is_kept_while_it_is_stopped_and_asked_again_when_it_goes_on(tmp_path: Path) -> None:
    def work(office: Office) -> None:
        first, spare = office.seat.pids
        office.kill(spare)
        assert office.until(lambda: office.seat.pids == (first,))
        office.kill(first, signal.SIGSTOP)
        question = Open(str(office.file), "read")
        with pytest.raises(TimeoutError):
            office.seat.ask(question, seconds=SOON)
        assert office.seat.pids == (first,)
        for _ in range(3):
            with pytest.raises(TimeoutError, match="the warden does not answer"):
                office.seat.ask(question, seconds=1000.0)  # it is not even waited for
            office.seat.refill()
        assert office.troubles[1:] == [f"warden (process {first}) does not answer, and there is no other"]
        before = descriptors()
        office.kill(first, signal.SIGCONT)
        assert office.until(lambda: not office.seat.wardens[0].is_late)
        assert descriptors() == before, "what it opened too late is closed"
        assert office.read() == b"here"
        office.seat.refill()
        assert office.until(lambda: office.seat.is_ready)
        assert office.seat.pids[0] == first

    in_an_office(tmp_path, work)


# With wardens that are this very test


class Actors:
    """Both wardens of a seat; what they say is said by the test, before or after they are asked."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []
        self.calls: dict[socket.socket, Callable[[], None]] = {}
        self.troubles: list[str] = []
        self.seat = Seat(self._fork, 2, self.calls.__setitem__, self.calls.__delitem__, self.troubles.append)
        self.seat.fill()
        asked = receive(self.ends[0])
        assert asked is not None
        assert asked.message == Spare()
        self.ends.append(socket.socket(fileno=asked.descriptors[0]))

    def _fork(self, theirs: socket.socket, _mine: socket.socket) -> int:
        self.ends.append(theirs.dup())
        send(self.ends[0], Applied())  # the answer to the question for a spare
        return 1001

    def turn(self) -> None:
        """Each channel is looked at."""
        for call in tuple(self.calls.values()):
            call()

    def close(self) -> None:
        for end in self.ends:
            end.close()
        self.seat.end()


@pytest.fixture
def actors() -> Iterator[Actors]:
    made = Actors()
    yield made
    made.close()


def test_a_warden_is_ready_when_it_says_so(actors: Actors) -> None:
    for number, end in enumerate(actors.ends, 1):
        send(end, Ready(number, Confinement("on", "ABI 1")))
    actors.turn()
    assert actors.seat.pids == (1, 2)
    assert [warden.confinement for warden in actors.seat.wardens] == [Confinement("on", "ABI 1")] * 2


def test_answers_are_given_to_the_questions_in_their_order(actors: Actors) -> None:
    heard: list[Applied] = []
    for _ in range(2):
        actors.seat.apply((), heard.append)
    end = actors.ends[0]
    send(end, Applied(("one",)))
    send(end, Applied(("two",)))
    with open("/dev/null") as null:
        send(end, Opened(), [null.fileno()])
    os.close(actors.seat.reading("/x"))
    assert heard == [Applied(("one",)), Applied(("two",))]


@pytest.mark.parametrize("wrong", [Applied(), Ready(1, Confinement("", ""))], ids=["of another question", "none"])
def test_an_answer_of_another_kind_is_not_taken_for_one(actors: Actors, wrong: Applied | Ready) -> None:
    send(actors.ends[0], wrong)
    if isinstance(wrong, Ready):
        send(actors.ends[0], Applied())
    send(actors.ends[1], Opened(2))
    with pytest.raises(FileNotFoundError):
        actors.seat.reading("/x")
    assert len(actors.troubles) == 1
    assert "said what it may not say; its spare takes its place" in actors.troubles[0]


def test_a_file_that_comes_in_place_of_a_yes_is_closed(actors: Actors) -> None:
    before = descriptors()
    heard: list[Applied] = []
    actors.seat.apply((), heard.append)
    with open("/dev/null") as null:
        send(actors.ends[0], Opened(), [null.fileno(), null.fileno()])
    actors.turn()
    assert descriptors() == before - 1  # the channel
    assert "said what it may not say" in heard[0].faults[0]


@pytest.mark.parametrize("count", [0, 2])
def test_an_open_file_is_one_descriptor(actors: Actors, count: int) -> None:
    before = descriptors()
    with open("/dev/null") as null:
        send(actors.ends[0], Opened(), [null.fileno()] * count)
    with pytest.raises(OSError, match="Protocol error"):
        actors.seat.reading("/x")
    assert descriptors() == before


def test_who_says_something_unasked_is_given_up(actors: Actors) -> None:
    send(actors.ends[0], Applied())
    actors.turn()
    assert len(actors.seat.wardens) == 1
    assert "(process 1001) said what it may not say" in actors.troubles[0]


def test_what_is_no_message_is_the_end_of_a_warden(actors: Actors) -> None:
    actors.ends[0].send(b"garbage")
    actors.turn()
    assert len(actors.seat.wardens) == 1
    assert "(process 1001) has gone" in actors.troubles[0]


def test_who_waits_for_routing_is_told_that_its_warden_has_gone(actors: Actors) -> None:
    heard: list[Applied] = []
    actors.seat.apply((), heard.append)
    actors.seat.apply((), heard.append)
    actors.ends[0].close()
    actors.turn()
    assert [answer.faults for answer in heard] == [("the warden has gone",)] * 2
    actors.seat.apply((), heard.append)
    assert isinstance(wish(actors.ends[1]), Apply)


def wish(end: socket.socket) -> object:
    received = receive(end)
    assert received is not None
    return received.message


def test_a_question_goes_to_the_spare_with_the_descriptors_that_came_with_it(actors: Actors) -> None:
    actors.ends[0].close()
    send(actors.ends[1], Applied())
    mine, theirs = socket.socketpair()
    with mine, theirs:
        assert actors.seat.ask(Spare(), [theirs.fileno()]).message == Applied()
        received = receive(actors.ends[1])
        assert received is not None
        assert received.message == Spare()
        with socket.socket(fileno=received.descriptors[0]) as passed:
            passed.send(b"x")
        assert mine.recv(1) == b"x"


def test_when_the_spare_can_not_be_made_it_is_said_and_tried_again(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_SECONDS", 0.0)
    actors.ends[1].close()
    actors.turn()
    actors.seat.may_fork = False
    before = descriptors()
    send(actors.ends[0], Applied(("no process to be had",)))
    actors.seat.refill()
    assert actors.troubles[-1] == "no other warden can be made: no process to be had; it is tried again"
    assert descriptors() == before
    assert actors.seat.restarts == 0
    send(actors.ends[0], Applied())
    actors.seat.refill()
    assert actors.seat.restarts == 1
    assert len(actors.seat.wardens) == 2


def fill_up(actors: Actors) -> list[Applied]:
    """Ask the first one for more than its channel holds; what was answered."""
    heard: list[Applied] = []
    while not heard:
        actors.seat.apply((), heard.append)
    return heard


def test_a_warden_that_does_not_read_holds_nobody_up(actors: Actors) -> None:
    heard = fill_up(actors)
    assert len(heard) == 1
    assert "can not be asked" in heard[0].faults[0]
    assert len(actors.seat.wardens) == 2


def test_a_warden_that_does_not_read_is_given_up_when_an_answer_is_wanted(actors: Actors) -> None:
    fill_up(actors)
    send(actors.ends[1], Applied())  # that the other one is ended
    send(actors.ends[1], Opened(2))
    with pytest.raises(FileNotFoundError):
        actors.seat.reading("/x")
    assert len(actors.seat.wardens) == 1
    assert "does not answer; its spare takes its place" in actors.troubles[0]


def test_changes_of_routing_that_are_never_answered_give_a_warden_up(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Applied] = []
    actors.seat.apply((), heard.append)
    actors.seat.refill()
    assert heard == []
    monkeypatch.setattr(module, "APPLY_SECONDS", 0.0)
    actors.seat.apply((), heard.append)
    actors.seat.refill()
    assert len(actors.seat.wardens) == 2  # the first answer still has time
    send(actors.ends[0], Applied())
    actors.turn()
    monkeypatch.undo()
    given_up = actors.seat.wardens[0]
    for _ in range(2):  # that the first one is ended, and that another one is made
        send(actors.ends[1], Applied())
    actors.seat.refill()
    assert [answer.faults for answer in heard] == [(), ("the warden does not answer",)]
    assert given_up not in actors.seat.wardens
    assert len(actors.seat.wardens) == 2


def test_an_answer_that_is_there_is_heard_before_a_warden_is_given_up(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "APPLY_SECONDS", 0.0)
    heard: list[Applied] = []
    for _ in range(3):
        actors.seat.apply((), heard.append)
        send(actors.ends[0], Applied())
    actors.seat.refill()
    assert heard == [Applied()] * 3
    assert len(actors.seat.wardens) == 2


def last_one(actors: Actors) -> socket.socket:
    """There is no spare, and none can be made; the end of the one that is left."""
    actors.ends[1].close()
    actors.turn()
    actors.seat.may_fork = False
    return actors.ends[0]


def test_answers_that_the_last_one_owes_are_nobodys_and_all_are_waited_for(actors: Actors) -> None:
    end = last_one(actors)
    heard: list[Applied] = []
    actors.seat.apply((), heard.append)
    with pytest.raises(TimeoutError):
        actors.seat.ask(Open("/x", "read"), seconds=0.0)
    assert [answer.faults for answer in heard] == [("the warden does not answer",)]
    send(end, Applied())
    actors.turn()
    with pytest.raises(TimeoutError):
        actors.seat.reading("/x")
    with open("/dev/null") as null:
        before = descriptors()
        send(end, Opened(), [null.fileno()])
        actors.turn()
        assert descriptors() == before
        send(end, Opened(), [null.fileno()])
        os.close(actors.seat.reading("/x"))
    assert len(heard) == 1
    assert len(actors.seat.wardens) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
def test_an_answer_that_there_is_no_room_for_costs_one_question_and_no_warden(
    actors: Actors, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_room(end: socket.socket) -> None:
        receive(end)
        raise OSError(number, os.strerror(number))

    heard: list[Applied] = []
    with monkeypatch.context() as context:
        context.setattr(module, "receive", no_room)
        send(actors.ends[0], Opened(errno.ENOENT))
        with pytest.raises(OSError, match=os.strerror(number)):
            actors.seat.reading("/x")
        actors.seat.apply((), heard.append)
        send(actors.ends[0], Applied())
        actors.calls[actors.seat.wardens[0].channel]()
    assert heard == [Applied((os.strerror(number),))]
    assert len(actors.seat.wardens) == 2
    assert actors.troubles == []
    send(actors.ends[0], Opened(errno.ENOENT))
    with pytest.raises(FileNotFoundError):
        actors.seat.reading("/x")


@pytest.mark.parametrize("is_born", [True, False])
def test_a_spare_whose_maker_died_before_it_could_say_so_takes_its_place(
    actors: Actors, monkeypatch: pytest.MonkeyPatch, is_born: bool
) -> None:
    maker = last_one(actors)
    monkeypatch.setattr(module, "REST_SECONDS", 0.0)

    def dying(end: socket.socket, message: Spare, passed: Sequence[int] = ()) -> None:
        send(end, message, passed)
        spare = socket.socket(fileno=os.dup(passed[0]))
        if is_born:
            actors.ends.append(spare)
            send(spare, Ready(1002, Confinement("on", "ABI 1")))
        else:
            spare.close()
        maker.close()

    monkeypatch.setattr(module, "send", dying)
    actors.seat.refill()
    actors.turn()
    assert actors.seat.pids == ((1002,) if is_born else ())
    assert actors.seat.restarts == is_born
