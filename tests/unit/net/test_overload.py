"""One client that asks for too much: what it takes is bounded, and everybody else is served meanwhile."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.address import Address, Endpoint, Name
from gateway.net import dialer, passwords, shell
from gateway.net.dialer import MAX_ATTEMPTS, Spare, race
from gateway.net.lookup import SHARES, LookupFailed, Lookups
from gateway.net.passwords import MAX_WAITING_PER_SOURCE, PasswordChecks
from gateway.net.relay import COPY_BYTES, Relay
from gateway.net.runner import BUSY_GRACE, PUT_OUT, Limits
from gateway.net.shell import CommandRunner
from gateway.policy.egress import Hop
from tests.support.playbook import endpoint
from tests.support.rawsocks import greeting, password, socks4, socks4a
from tests.support.rules import address
from tests.support.waiting import eventually
from tests.unit.net.stage import House, Stage, closed_after, descriptors, finish, reset, silent_target

GRANTED = b"\0\x5a"
HERE = (address("127.0.0.1"),)
FLOODER, OTHER = address("192.0.2.66"), address("192.0.2.1")


# Places


def patient(places: int, passwords: bool = False) -> House:
    """A house whose time limits are far away; its clock stands still."""
    return House(limits=Limits(handshake=30.0, connect=60.0, idle=60.0, sessions=places), passwords=passwords)


class Crowd:
    """Clients that wait for a look-up which does not end."""

    def __init__(self, house: House, count: int) -> None:
        self._house = house
        self.release = threading.Event()
        self.clients = [self._come(number) for number in range(count)]

    def _come(self, number: int) -> socket.socket:
        house = self._house
        house.names[f"dead{number}.example"] = self._hang
        client = house.client(socks4a(b"dead%d.example" % number, 80))
        assert house.until(lambda: len(house.runner.busy) == number + 1)
        return client

    def _hang(self) -> tuple[str, ...]:
        self.release.wait(30)
        return ()

    def open(self) -> list[bool]:
        """Which of them are still waited for."""
        return [self._house.end_of(client, within=0.03) == "open" for client in self.clients]


@contextlib.contextmanager
def crowded(places: int, clients: int | None = None) -> Iterator[tuple[House, Crowd]]:
    """A house with so many places, which a crowd has taken, all of them if nothing else is said."""
    house = patient(places)
    with closed_after(house):
        crowd = Crowd(house, places if clients is None else clients)
        try:
            yield house, crowd
        finally:
            crowd.release.set()


def is_served(house: House, server: socket.socket) -> None:
    client = house.client(socks4("127.0.0.1", server.getsockname()[1]))
    house.called(server)
    assert house.read(client, 2) == GRANTED


def test_where_all_wait_for_a_look_up_the_first_of_them_makes_room() -> None:
    with crowded(3) as (house, crowd):
        house.now += BUSY_GRACE
        is_served(house, house.server())
        assert crowd.open() == [False, True, True]
        (record,) = house.notebook.records
        assert (record.host, record.end) == ("dead0.example", PUT_OUT)
        assert house.runner.open == 3
        assert house.log.troubles == []


def test_one_good_client_after_the_other_is_served() -> None:
    with crowded(3) as (house, crowd):
        house.now += BUSY_GRACE
        server = house.server()
        for _ in range(3):
            is_served(house, server)
        assert crowd.open() == [False] * 3


def test_who_has_not_waited_long_keeps_its_place_and_the_newcomer_gets_the_next_free_one() -> None:
    with crowded(2) as (house, crowd):
        house.now += BUSY_GRACE - 0.1
        server = house.server()
        client = house.client(socks4("127.0.0.1", server.getsockname()[1]))
        assert crowd.open() == [True, True]
        (trouble,) = house.log.troubles
        assert "all places are taken" in trouble
        reset(crowd.clients[1])
        house.called(server)
        assert house.read(client, 2) == GRANTED


def test_who_has_sent_its_end_makes_room_before_the_first_and_at_once() -> None:
    with crowded(2) as (house, crowd):
        first, second = crowd.clients
        finish(second)
        house.rest(0.01)
        is_served(house, house.server())
        assert house.end_of(first, within=0.03) == "open"
        assert house.end_of(second) in ("fin", "reset")


def test_who_waits_for_a_connection_makes_room(silent: "Silent") -> None:
    house = patient(places=1)
    with closed_after(house):
        waiting = house.client(socks4("127.0.0.1", silent.target().port))
        assert house.until(lambda: house.runner.busy)
        house.now += BUSY_GRACE
        is_served(house, house.server())
        assert house.end_of(waiting) in ("fin", "reset")
        assert [record.end for record in house.notebook.records] == [PUT_OUT]


def test_who_waits_for_a_password_check_has_as_much_time_as_the_others() -> None:
    house = patient(places=1, passwords=True)
    with closed_after(house):
        house.verifier.answers.clear()
        waiting = house.client(greeting(2), password(b"fred", b"derf"))
        assert house.until(lambda: house.runner.busy)
        assert house.read(waiting, 2) == b"\x05\x02"
        house.client()
        assert house.end_of(waiting, within=0.05) == "open"


def test_who_is_slow_makes_room_before_those_who_wait_for_us() -> None:
    with crowded(2, clients=1) as (house, crowd):
        slow = house.client()
        assert house.until(lambda: house.runner.open == 2)
        house.now += BUSY_GRACE
        is_served(house, house.server())
        assert house.end_of(slow) in ("fin", "reset")
        assert crowd.open() == [True]


def test_a_running_relay_never_makes_room() -> None:
    house = patient(places=1)
    with closed_after(house):
        server = house.server()
        client, target = house.relayed(server)
        finish(client)
        house.now += BUSY_GRACE
        house.client(socks4("127.0.0.1", server.getsockname()[1]))
        house.rest(0.03)
        house.write(target, b"still here")
        assert house.read(client, 10) == b"still here"
        assert house.notebook.records == []


# Attempts to connect


class Silent:
    """Targets that never answer: their queues are full."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []

    def target(self) -> Endpoint:
        """One more."""
        return silent_target(self._open)

    def close(self) -> None:
        """Close them all."""
        for sock in self._open:
            sock.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    made = Silent()
    yield made
    made.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other, and are given up, in hundredths of seconds."""
    monkeypatch.setattr(dialer, "ATTEMPT_DELAY", 0.005)
    monkeypatch.setattr(dialer, "ATTEMPT_SECONDS", 0.03)


@pytest.mark.usefixtures("hasty")
def test_a_race_has_few_attempts_at_a_time_and_comes_to_its_last_address(stage: Stage, silent: Silent) -> None:
    dead = [silent.target() for _ in range(3 * MAX_ATTEMPTS)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        good = endpoint("{}:{}".format(*server.getsockname()))
        before = descriptors()
        task = stage.loop.create_task(race(stage.loop, list(map(Hop, [*dead, good]))))
        seen = []
        assert stage.until(lambda: seen.append(descriptors() - before) or task.done())  # type: ignore[func-returns-value]
        sock = task.result()
        assert sock.getpeername()[1] == good.port
        # What was given up a moment ago may still be on its way out.
        assert MAX_ATTEMPTS <= max(seen) <= MAX_ATTEMPTS + 1
        sock.close()
        stage.rest(0.01)
        assert descriptors() == before


@pytest.mark.usefixtures("hasty")
def test_attempts_are_not_given_up_when_nobody_waits_for_their_place(stage: Stage, silent: Silent) -> None:
    dead = [silent.target() for _ in range(MAX_ATTEMPTS)]
    before = descriptors()
    task = stage.loop.create_task(race(stage.loop, list(map(Hop, dead))))
    stage.rest(0.15)
    assert not task.done()
    assert descriptors() == before + MAX_ATTEMPTS
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        stage.run(task)
    stage.rest(0.01)
    assert descriptors() == before


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("after", [0.0, 0.02, 0.04, 0.08])
def test_a_long_race_that_is_given_up_closes_every_socket(stage: Stage, silent: Silent, after: float) -> None:
    dead = [silent.target() for _ in range(2 * MAX_ATTEMPTS)]
    before = descriptors()
    task = stage.loop.create_task(race(stage.loop, list(map(Hop, dead))))
    stage.rest(after)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        stage.run(task)
    stage.rest(0.01)
    assert descriptors() == before


@pytest.mark.usefixtures("hasty")
def test_races_share_what_they_may_have_beyond_one_attempt_each(stage: Stage, silent: Silent) -> None:
    spare = Spare(1)
    before = descriptors()
    dead = [[silent.target() for _ in range(3)] for _ in range(2)]
    plugs = descriptors() - before
    tasks = [stage.loop.create_task(race(stage.loop, list(map(Hop, endpoints)), spare)) for endpoints in dead]
    seen = []
    for _ in range(10):
        stage.rest(0.002)
        seen.append(descriptors() - before - plugs)
    assert max(seen) == 3, "one for each race, and the one that is spare"
    for task in tasks:
        task.cancel()
    stage.run(asyncio.wait(tasks))
    stage.rest(0.01)
    assert descriptors() - before == plugs
    assert spare.take(), "it was given back"


# Look-ups


class Resolver:
    """Names that begin with ``dead`` are answered when it ends; all others at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = threading.Event()

    def __call__(self, name: Name) -> tuple[Address, ...]:
        self.asked.append(name)
        if name.startswith("dead"):
            self.gate.wait(30)
        return HERE


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.gate.set()


class Questions:
    """Look-ups by so many threads."""

    def __init__(self, stage: Stage, resolver: Resolver, threads: int, seconds: float = 20.0) -> None:
        self._stage = stage
        self._lookups = Lookups(stage.loop, seconds, resolver, threads=threads)

    def ask(self, name: str, source: Address = OTHER) -> "asyncio.Task[tuple[Address, ...]]":
        """Begin to look a name up."""
        task = self._stage.loop.create_task(self._lookups.addresses(Name(name), source))
        self._stage.turns()
        return task

    def give_up(self, *tasks: "asyncio.Task[tuple[Address, ...]]") -> None:
        """As when their clients go away."""
        for task in tasks:
            task.cancel()
        self._stage.run(asyncio.wait(tasks))

    def close(self) -> None:
        """Start no more."""
        self._lookups.close()


def test_a_question_that_was_given_up_in_the_queue_is_never_asked(stage: Stage, resolver: Resolver) -> None:
    questions = Questions(stage, resolver, threads=1)
    sources = [Address(4, 0xC000_0200 + number) for number in range(5)]
    first = questions.ask("dead.example", sources[0])
    given_up = [questions.ask(f"gone{number}.example", sources[number]) for number in (1, 2, 3)]
    last = questions.ask("last.example", sources[4])
    questions.give_up(*given_up)
    resolver.gate.set()
    assert stage.run(last) == HERE
    assert stage.run(first) == HERE
    assert resolver.asked == ["dead.example", "last.example"]
    questions.close()


def test_a_question_that_somebody_else_still_waits_for_is_asked(stage: Stage, resolver: Resolver) -> None:
    questions = Questions(stage, resolver, threads=1)
    first = questions.ask("dead.example", address("192.0.2.2"))
    gone, stays = questions.ask("same.example", FLOODER), questions.ask("same.example", OTHER)
    questions.give_up(gone)
    resolver.gate.set()
    assert stage.run(stays) == HERE
    stage.run(first)
    questions.close()


def test_a_question_whose_time_is_over_in_the_queue_is_never_asked(stage: Stage, resolver: Resolver) -> None:
    questions = Questions(stage, resolver, threads=1, seconds=0.5)
    tasks = [questions.ask("dead.example", FLOODER), questions.ask("late.example", OTHER)]
    stage.run(asyncio.wait(tasks))
    assert [str(task.exception()) for task in tasks] == ["the name server did not answer in time"] * 2
    resolver.gate.set()
    assert stage.run(questions.ask("next.example")) == HERE
    assert resolver.asked == ["dead.example", "next.example"]
    questions.close()


def test_one_source_has_its_share_of_the_threads_and_others_are_served(stage: Stage, resolver: Resolver) -> None:
    questions = Questions(stage, resolver, threads=2 * SHARES)
    held = [questions.ask(f"dead{number}.example", FLOODER) for number in range(2)]
    for _ in range(3):
        refused = questions.ask("dead2.example", FLOODER)
        assert refused.done(), "it is refused at once"
        assert isinstance(refused.exception(), LookupFailed)
    for number in range(20):
        assert stage.run(questions.ask(f"good{number}.example", OTHER)) == HERE
    resolver.gate.set()
    assert [stage.run(task) for task in held] == [HERE, HERE]
    assert stage.run(questions.ask("good.example", FLOODER)) == HERE
    assert "dead2.example" not in resolver.asked
    questions.close()


def test_who_gives_up_does_not_get_another_share(stage: Stage, resolver: Resolver) -> None:
    """A thread that waits for a dead name server is held until it answers, whether its client is there or not."""
    threads = SHARES
    questions = Questions(stage, resolver, threads)
    for number in range(3 * threads):
        task = questions.ask(f"dead{number}.example", FLOODER)
        stage.rest(0.002)
        questions.give_up(task)
    assert stage.run(questions.ask("good.example", OTHER), within=3) == HERE
    resolver.gate.set()

    def is_served() -> bool:
        asked = questions.ask("good.example", FLOODER)
        stage.run(asyncio.wait([asked]))
        return asked.exception() is None and asked.result() == HERE

    assert eventually(is_served), "its threads are free again"
    questions.close()


# Passwords


class Hashing:
    """A password file that hashes as often as it is let to."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.turns = threading.Semaphore(0)

    def verify(self, user: bytes, password: bytes) -> bool:
        """Whether the password is the user's name backwards."""
        self.asked.append(user)
        self.turns.acquire(timeout=30)
        return password == user[::-1]


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hashing]:
    monkeypatch.setattr(passwords, "REFUSAL_DELAY", 0.05)
    made = Hashing()
    yield made
    made.turns.release(1000)


@pytest.fixture
def checks(stage: Stage, hashing: Hashing) -> Iterator[PasswordChecks]:
    made = PasswordChecks(stage.loop, hashing.verify, lambda: 1000.0)
    yield made
    made.close()


def guesses(stage: Stage, checks: PasswordChecks, count: int) -> "list[asyncio.Task[bool]]":
    tasks = [stage.loop.create_task(checks.verify(b"root%d" % number, b"x", FLOODER)) for number in range(count)]
    stage.turns()
    return tasks


def test_a_right_password_waits_for_one_guess_of_a_flood_at_most(
    stage: Stage, checks: PasswordChecks, hashing: Hashing
) -> None:
    flood = guesses(stage, checks, MAX_WAITING_PER_SOURCE)
    good = stage.loop.create_task(checks.verify(b"fred", b"derf", OTHER))
    assert stage.until(lambda: len(hashing.asked) == 1)
    hashing.turns.release(2)
    assert stage.run(good)
    assert hashing.asked[:2] == [b"root0", b"fred"]
    hashing.turns.release(1000)
    assert not any(stage.run(asyncio.gather(*flood)))


def test_one_source_has_one_check_at_a_time(stage: Stage, checks: PasswordChecks, hashing: Hashing) -> None:
    flood = guesses(stage, checks, 3)
    others = [address(f"192.0.2.{number}") for number in range(1, 4)]
    good = [stage.loop.create_task(checks.verify(b"fred%d" % number.number, b"x", number)) for number in others]
    stage.turns()
    hashing.turns.release(4)
    assert stage.until(lambda: len(hashing.asked) >= 4)
    assert [user[:4] for user in hashing.asked[:4]] == [b"root", b"fred", b"fred", b"fred"]
    hashing.turns.release(1000)
    stage.run(asyncio.gather(*flood, *good))


def test_guesses_beyond_those_that_may_wait_are_refused_late_and_unhashed(
    stage: Stage, checks: PasswordChecks, hashing: Hashing
) -> None:
    flood = guesses(stage, checks, MAX_WAITING_PER_SOURCE)
    started = time.monotonic()
    assert not stage.run(checks.verify(b"fred", b"derf", FLOODER))
    assert time.monotonic() - started >= 0.045
    hashing.turns.release(1000)
    stage.run(asyncio.gather(*flood))
    assert len(hashing.asked) == MAX_WAITING_PER_SOURCE
    assert stage.run(checks.verify(b"fred", b"derf", FLOODER)), "it may ask again when its guesses are answered"


def test_guesses_that_were_given_up_free_their_places(stage: Stage, checks: PasswordChecks, hashing: Hashing) -> None:
    for _ in range(3):
        flood = guesses(stage, checks, MAX_WAITING_PER_SOURCE)
        for task in flood:
            task.cancel()
        stage.run(asyncio.wait(flood))
    hashing.turns.release(1000)
    assert stage.run(checks.verify(b"fred", b"derf", FLOODER))
    assert len(hashing.asked) <= 2, "what was given up is not hashed any more"


# Slow receivers

TRANSFER = 12 * COPY_BYTES
PIECE = 30_000


def slow_line(stage: Stage) -> tuple[Relay, socket.socket, socket.socket]:
    """A relay with its client and its target, which has little room for what it does not read."""
    client, near_client = stage.pair()
    target, near_target = stage.pair(sndbuf=4096, rcvbuf=4096)
    return stage.join(near_client, near_target), client, target


def by_pipe(stage: Stage) -> tuple[Relay, socket.socket]:
    """A relay that has read all of a long transfer; a pipe holds the rest of it."""
    relay, client, target = slow_line(stage)
    stage.write(client, b"x" * TRANSFER)
    for _ in range(1000):
        stage.turns()
        if relay.client.count == TRANSFER:
            break
        with contextlib.suppress(BlockingIOError):
            target.recv(2048)
    assert relay.client.count == TRANSFER
    assert relay.target.pipe is not None
    return relay, target


def by_copy(stage: Stage) -> tuple[Relay, socket.socket]:
    """A relay that has read all that its client wrote, the last piece of which was not taken."""
    relay, client, target = slow_line(stage)
    for _ in range(100):
        stage.write(client, b"x" * PIECE)
        stage.rest(0.002)
        if relay.target.waiting:
            break
    assert relay.client.count % PIECE == 0
    assert relay.target.pending is not None
    return relay, target


@pytest.mark.parametrize(
    "begin", [pytest.param(by_copy, id="what was read is written out"), pytest.param(by_pipe, id="a pipe is emptied")]
)
def test_a_slow_receiver_that_still_takes_something_is_not_idle(
    stage: Stage, begin: Callable[[Stage], tuple[Relay, socket.socket]]
) -> None:
    relay, target = begin(stage)
    read = relay.client.count
    now = 1000.0
    relay.rest(now)
    moves = 0
    for _ in range(500):
        waiting = relay.target.waiting
        if not waiting or moves == 5:
            break
        with contextlib.suppress(BlockingIOError):
            target.recv(2048)
        stage.turns()
        now += 100.0
        moved = relay.target.waiting != waiting
        moves += moved
        assert (relay.rest(now) == 0.0) == moved
    assert relay.client.count == read, "nothing was read meanwhile"
    assert moves


def test_a_receiver_that_takes_nothing_is_idle_although_bytes_wait_for_it(stage: Stage) -> None:
    relay, _ = by_pipe(stage)
    stage.rest(0.02)
    relay.rest(1000.0)
    assert [relay.rest(1000.0 + later) for later in (5.0, 10.0, 60.0)] == [5.0, 10.0, 60.0]


# Commands


class Commands:
    """A runner of commands that has room for one."""

    def __init__(self, stage: Stage, folder: Path, seconds: float = 5.0) -> None:
        self.troubles: list[str] = []
        self.runner = CommandRunner(seconds, self.troubles.append)
        self._stage = stage
        stage.closers.append(self.end)
        self._folder = folder

    def run(self, command: str) -> None:
        """Start it."""

        async def start() -> None:
            self.runner.run(command)

        self._stage.run(start())

    def leave_behind(self) -> int:
        """A command that ends and leaves a process; the number of that."""
        noted = self._folder / "child"
        self.run(f"sleep 60 & echo $! > {noted}.new; mv {noted}.new {noted}")
        assert self._stage.until(noted.exists)
        self._stage.rest(0.05)
        return int(noted.read_text())

    def end(self) -> None:
        """Leave no process behind: Python would warn of it in whatever test is running by then."""
        self.runner.close()
        assert self.over()

    def over(self) -> bool:
        """Wait until nothing is waited for any more."""

        def nobody() -> bool:
            return asyncio.all_tasks(self._stage.loop) == {asyncio.current_task(self._stage.loop)}

        return self._stage.until(nobody)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def one_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Room for one command; what commands leave behind becomes a child of this process, as it otherwise is init's."""
    monkeypatch.setattr(shell, "MAX_RUNNING", 1)
    monkeypatch.setattr(shell, "LOOK_SECONDS", 0.01)
    kernel = ctypes.CDLL(None, use_errno=True)
    assert kernel.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    kernel.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def ended(child: int) -> bool:
    """Whether it has, and was waited for."""
    return os.waitpid(child, os.WNOHANG)[0] == child


@pytest.mark.usefixtures("one_place")
def test_a_command_keeps_its_place_until_what_it_left_behind_has_ended(stage: Stage, tmp_path: Path) -> None:
    commands = Commands(stage, tmp_path)
    child = commands.leave_behind()
    assert alive(child)
    commands.run("echo never-run")
    assert commands.troubles == ["1 commands of sockd.conf are running already; not run: echo never-run"]
    os.kill(child, signal.SIGKILL)
    assert stage.until(lambda: ended(child))
    assert commands.over()
    commands.run(f"echo > {tmp_path}/again")
    assert stage.until((tmp_path / "again").exists)
    assert commands.over()
    assert len(commands.troubles) == 1


@pytest.mark.usefixtures("one_place")
def test_what_a_command_left_behind_is_ended_at_its_time_limit(stage: Stage, tmp_path: Path) -> None:
    commands = Commands(stage, tmp_path, seconds=1.0)
    child = commands.leave_behind()
    assert stage.until(lambda: ended(child))
    (trouble,) = commands.troubles
    assert trouble.startswith("a command of sockd.conf ran longer than 1 s and was ended: sleep 60 &")
    assert commands.over()


@pytest.mark.usefixtures("one_place")
def test_what_a_command_left_behind_does_not_outlive_the_daemon(stage: Stage, tmp_path: Path) -> None:
    commands = Commands(stage, tmp_path)
    child = commands.leave_behind()
    assert alive(child)
    commands.runner.close()
    assert stage.until(lambda: ended(child))
    assert commands.over()


def test_a_command_knows_the_path_and_nothing_else_of_the_daemons_environment(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD_OF_SOMEBODY", "secret")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    commands = Commands(stage, tmp_path)
    commands.run(f"env > {tmp_path}/env; pwd > {tmp_path}/pwd; echo > {tmp_path}/done")
    assert stage.until((tmp_path / "done").exists)
    assert commands.over()
    known = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    # The shell itself adds where it is, and how deep.
    assert known.keys() - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH"}
    assert str(tmp_path) not in known["PATH"]
    assert (tmp_path / "pwd").read_text() == "/\n"
