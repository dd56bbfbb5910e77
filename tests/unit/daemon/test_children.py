"""Children by real forks: what each begins with, what it holds, how its end is told, and when another one starts."""

import contextlib
import errno
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.daemon import children as module
from gateway.daemon.children import FIRST_DELAY, LAST_DELAY, Child, Children
from gateway.system.journal import Journal
from tests.support.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Page:
    """A log that a parent and its children share."""

    chunk = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def put(self, line: bytes) -> bool:
        """As `Sink`."""
        with self._path.open("ab") as file:
            file.write(line)
        return True

    def lines(self) -> list[str]:
        """What was said so far, without what a syslog line has before it."""
        return [line.partition(": ")[2] for line in self._path.read_text().splitlines()]


class Family:
    """Children, their parent's clock, and what was said."""

    def __init__(self, folder: Path, *lives: Callable[[socket.socket], None]) -> None:
        self.now = 1000.0
        self.page = Page(folder / "log")
        self.forsaken: Callable[[], None] = lambda: None
        made = [Child(f"worker {number}", life) for number, life in enumerate(lives, 1)]
        self.children = Children(Journal(self.page, None), made, lambda: self.forsaken(), clock=lambda: self.now)

    def __getitem__(self, index: int) -> Child:
        return self.children.all[index]

    def heard(self, index: int = 0, within: float = 3.0) -> bytes:
        """The next word of a child; empty when it has gone."""
        channel = self[index].channel
        assert channel is not None
        assert select.select([channel], [], [], within)[0], "the child said nothing"
        return channel.recv(1 << 16)

    def buried(self) -> list[Child]:
        """The dead, as soon as there are some; their channels are closed, as the supervisor does."""
        dead = eventually(self.children.bury)
        for child in dead:
            if child.channel is not None:
                child.channel.close()
        return dead

    def lines(self) -> list[str]:
        return self.page.lines()

    def close(self) -> None:
        """Nobody is left."""
        for child in self.children.all:
            if child.pid:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(child.pid, signal.SIGKILL)
                    os.waitpid(child.pid, 0)
            if child.channel is not None:
                child.channel.close()


Make = Callable[..., Family]


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Make]:
    made: list[Family] = []

    def make(*lives: Callable[[socket.socket], None]) -> Family:
        made.append(Family(tmp_path, *lives))
        return made[-1]

    yield make
    for one in made:
        one.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# Lives


def ends(_channel: socket.socket) -> None:
    """At once, and well."""


def waits(channel: socket.socket) -> None:
    """Until its parent has gone, or it is killed."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    channel.send(b"ready")
    select.select([channel], [], [])


def defies(channel: socket.socket) -> None:
    """Whoever asks it politely."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    waits(channel)


def breaks(_channel: socket.socket) -> None:
    raise ZeroDivisionError("injected")


def dies_of_signal_40(_channel: socket.socket) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.kill(os.getpid(), 40)


def exits(_channel: socket.socket) -> None:
    raise SystemExit(0)


def tells(channel: socket.socket) -> None:
    """What it began with."""
    blocked = sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    wakeup = signal.set_wakeup_fd(-1)
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    told = {"blocked": blocked, "wakeup": wakeup, "links": links}
    channel.send(json.dumps(told).encode())


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


# The beginning


def test_a_child_runs_its_life_with_a_channel_to_its_parent(family: Make) -> None:
    made = family(waits)
    made.children.start(made[0])
    assert made[0].pid
    assert made.heard() == b"ready"
    assert made.children.bury() == []


def test_a_child_begins_with_every_signal_blocked_and_none_goes_to_its_parents_pipe(family: Make) -> None:
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno())
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        made = family(tells)
        made.children.start(made[0])
        told = json.loads(made.heard())
    finally:
        signal.set_wakeup_fd(before)
    assert set(told["blocked"]) == {int(number) for number in signal.valid_signals()} - {signal.SIGKILL, signal.SIGSTOP}
    assert told["wakeup"] == -1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask, "the parent's is as it was"
    reader.close()
    writer.close()


def test_a_child_holds_its_end_of_its_own_channel_only(family: Make) -> None:
    made = family(waits, tells)
    with socket.socket() as given_up:
        made.forsaken = given_up.close
        made.children.start(made[0])
        assert made.heard() == b"ready"
        made.children.start(made[1])
        links = json.loads(made.heard(1))["links"]
    theirs = [os.readlink(f"/proc/{made[0].pid}/fd/{fd}") for fd in os.listdir(f"/proc/{made[0].pid}/fd")]
    mine = [os.readlink(f"/proc/self/fd/{child.channel.fileno()}") for child in made.children.all if child.channel]
    assert not set(mine) & set(links)
    assert not set(mine) & set(theirs)
    assert not {link for link in theirs if link.startswith("socket:")} & set(links) - _own_sockets()


def _own_sockets() -> set[str]:
    """What this process had open before: pytest's own, which a child shares."""
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd") if _is_open(fd))
    return {os.readlink(link) for link in links}


def test_the_end_of_a_channel_is_heard_by_whoever_is_left(family: Make) -> None:
    made = family(waits, ends)
    made.children.start(made[0])
    assert made.heard() == b"ready"
    channel = made[0].channel
    assert channel is not None
    channel.close()
    made[0].channel = None
    assert made.buried() == [made[0]], "it saw that its parent has gone"


def test_a_child_is_of_the_kind_that_its_name_begins_with() -> None:
    assert [Child(name, ends).kind for name in ("watcher", "worker 1", "worker 12")] == ["watcher", "worker", "worker"]


# Nothing to be had


def test_without_a_process_nothing_stays_open_and_no_signal_stays_blocked(
    family: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    made = family(ends)
    before, mask = descriptors(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(BlockingIOError):
        made.children.start(made[0])
    assert (made[0].pid, made[0].channel) == (0, None)
    assert descriptors() == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert made.children.restart() == []
    assert made.lines() == ["worker 1 can not be started: Resource temporarily unavailable; a new one starts in 0.1 s"]
    assert made.children.until_due() == pytest.approx(FIRST_DELAY)


def test_without_a_descriptor_it_is_tried_later(family: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    made = family(ends)
    monkeypatch.setattr(module, "channel", refuse)
    for _ in range(3):
        assert made.children.restart() == []
    assert made.lines() == ["worker 1 can not be started: Too many open files; a new one starts in 0.1 s"]
    made.now += FIRST_DELAY
    assert made.children.restart() == []
    assert made.lines()[1:] == ["worker 1 can not be started: Too many open files; a new one starts in 0.2 s"]


# The end


@pytest.mark.parametrize(
    ("life", "ended"),
    [
        pytest.param(ends, ["ended with status 0"], id="well"),
        pytest.param(breaks, ["worker 1 ends: ZeroDivisionError: injected", "ended with status 1"], id="by a bug"),
        pytest.param(exits, ["worker 1 ends: SystemExit: 0", "ended with status 1"], id="by an exit that is none"),
        pytest.param(
            lambda _: os.kill(os.getpid(), signal.SIGKILL), ["was killed by SIGKILL"], id="by a signal with a name"
        ),
        pytest.param(dies_of_signal_40, ["was killed by signal 40"], id="by a signal without one"),
    ],
)
@pytest.mark.usefixtures("capfd")
def test_how_a_child_ended_is_said(family: Make, life: Callable[[socket.socket], None], ended: list[str]) -> None:
    made = family(life)
    made.children.start(made[0])
    pid = made[0].pid
    assert made.buried() == [made[0]]
    assert made[0].pid == 0
    *before, last = ended
    assert made.lines() == [*before, f"worker 1 (process {pid}) {last}; a new one starts in 0.1 s"]
    assert made.children.bury() == []


def test_a_child_that_somebody_else_has_waited_for_is_gone(family: Make) -> None:
    made = family(ends)
    made.children.start(made[0])
    os.waitpid(made[0].pid, 0)
    assert made.children.bury() == [made[0]]
    assert " is gone; a new one starts in " in made.lines()[0]


def test_at_the_end_of_all_nobody_is_missed(family: Make) -> None:
    made = family(ends)
    made.children.start(made[0])
    assert eventually(lambda: made.children.bury(lambda: True)) == [made[0]]
    assert made[0].pid == 0
    assert made.lines() == []


def test_one_that_is_replaced_is_started_at_once_and_not_said(family: Make) -> None:
    made = family(waits)
    made.children.start(made[0])
    assert made.heard() == b"ready"
    made.children.replace(made[0])
    assert made.buried() == [made[0]]
    assert (made.lines(), made.children.until_due()) == ([], 0.0)
    assert made.children.restart() == [made[0]]
    made.children.kill(made[0])
    assert made.buried() == [made[0]]
    assert "was killed by SIGKILL; a new one starts in 0.1 s" in made.lines()[0], "the next death is said again"


def test_nobody_is_killed_in_the_place_of_one_that_has_gone(family: Make) -> None:
    made = family(ends)
    made.children.kill(made[0])
    made.children.start(made[0])
    assert made.buried() == [made[0]]
    made.children.kill(made[0])


# Another one


def test_who_was_started_again_is_counted(family: Make) -> None:
    made = family(ends)
    made.children.start(made[0])
    assert made[0].restarts == 0
    assert made.buried() == [made[0]]
    made.now += FIRST_DELAY
    assert made.children.restart() == [made[0]]
    assert made[0].restarts == 1


def died(made: Family, life: float) -> float:
    """Start it, let it live so long by its parent's clock, and die; the seconds until the next one."""
    made.now += made.children.until_due() or 0.0
    assert made.children.restart() == [made[0]]
    made.now += life
    assert made.buried() == [made[0]]
    due = made.children.until_due()
    assert due is not None
    return round(due, 6)


def test_one_that_dies_again_and_again_is_started_later_and_later_but_not_for_ever(family: Make) -> None:
    made = family(ends)
    assert [died(made, 0.0) for _ in range(11)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


@pytest.mark.parametrize(
    ("life", "delay"),
    [
        pytest.param(2 * LAST_DELAY - 0.1, 0.4, id="less than a minute"),
        pytest.param(2 * LAST_DELAY + 0.1, FIRST_DELAY, id="more than a minute"),
    ],
)
def test_one_that_has_lived_for_long_is_started_at_once_again(family: Make, life: float, delay: float) -> None:
    made = family(ends)
    died(made, 0.0)
    died(made, 0.0)
    assert died(made, life) == delay


def test_nobody_is_started_before_the_time(family: Make) -> None:
    made = family(ends, waits)
    assert made.children.until_due() == 0.0, "nobody runs yet"
    assert made.children.restart() == list(made.children.all)
    assert made.heard(1) == b"ready"
    assert made.children.until_due() is None
    assert made.buried() == [made[0]]
    assert made.children.until_due() == pytest.approx(FIRST_DELAY)
    made.now += FIRST_DELAY - 0.01
    assert made.children.restart() == []
    made.now += 0.02
    assert made.children.until_due() == 0.0
    assert made.children.restart() == [made[0]]


# The end of all


def test_stopping_ends_those_that_are_named_and_waits_for_them(family: Make) -> None:
    made = family(waits, waits, waits)
    for index, child in enumerate(made.children.all):
        made.children.start(child)
        assert made.heard(index) == b"ready"
    started = time.monotonic()
    made.children.stop([made[0], made[2]])
    assert time.monotonic() - started < module.STOP_SECONDS
    assert not Path(f"/proc/{made[0].pid}").exists()
    assert not Path(f"/proc/{made[2].pid}").exists()
    assert made.children.bury() == [made[0], made[2]]
    assert Path(f"/proc/{made[1].pid}").exists()


def test_stopping_nobody_and_those_that_have_gone_takes_no_time(family: Make) -> None:
    made = family(ends, ends)
    made.children.start(made[0])
    os.waitpid(made[0].pid, 0)
    started = time.monotonic()
    made.children.stop(made.children.all)
    made.children.stop([])
    assert time.monotonic() - started < module.STOP_SECONDS


def test_one_that_does_not_end_politely_is_killed(family: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.1)
    made = family(defies)
    made.children.start(made[0])
    assert made.heard() == b"ready"
    started = time.monotonic()
    made.children.stop(made.children.all)
    assert 0.1 <= time.monotonic() - started < 5.0
    (buried,) = made.children.bury()
    assert buried is made[0]


def test_without_descriptors_stopping_waits_all_the_same(family: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    made = family(waits)
    made.children.start(made[0])
    assert made.heard() == b"ready"
    made.children.stop(made.children.all)
    assert not Path(f"/proc/{made[0].pid}").exists()


def test_stopping_leaves_no_descriptor(family: Make) -> None:
    made = family(waits)
    before = descriptors()
    made.children.start(made[0])
    assert made.heard() == b"ready"
    made.children.stop(made.children.all)
    assert descriptors() == before + 1, "the channel, which is its owner's to close"
