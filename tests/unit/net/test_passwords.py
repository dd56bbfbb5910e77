"""Password checks off the data path: bounded, remembered for a minute, and wrong ones answered late."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.address import Address
from gateway.net import passwords as module
from gateway.net.passwords import MAX_REMEMBERED, MAX_WAITING_PER_SOURCE, REMEMBER_SECONDS, NoPasswords, PasswordChecks
from tests.support.waiting import least
from tests.unit.net.stage import Stage

HERE = Address(4, 0x0A010203)
DELAY = 0.05


class Slow:
    """A password file whose check blocks until it is let to answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.now = 1000.0

    def verify(self, user: bytes, password: bytes) -> bool:
        """Whether the password is the user's name backwards."""
        self.asked.append((user, password))
        self.gate.wait(30)
        if user == b"broken":
            raise MemoryError("scrypt")
        return password == user[::-1]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    monkeypatch.setattr(module, "REFUSAL_DELAY", DELAY)
    made = Slow()
    yield made
    made.gate.set()


@pytest.fixture
def checks(stage: Stage, slow: Slow) -> Iterator[PasswordChecks]:
    made = PasswordChecks(stage.loop, slow.verify, lambda: slow.now)
    yield made
    made.close()


def test_right_and_wrong(stage: Stage, checks: PasswordChecks) -> None:
    assert stage.run(checks.verify(b"fred", b"derf", HERE))
    assert not stage.run(checks.verify(b"fred", b"fred", HERE))
    assert not stage.run(checks.verify(b"fred", b"", HERE))


def test_a_wrong_password_is_answered_late_and_a_right_one_at_once(stage: Stage, checks: PasswordChecks) -> None:
    def seconds(user: bytes, password: bytes) -> float:
        started = time.monotonic()
        assert stage.run(checks.verify(user, password, HERE)) == (password == user[::-1])
        return time.monotonic() - started

    users = iter(b"abcdefgh")  # another one each time: none of them is remembered
    assert least(lambda: seconds(user := bytes((next(users),)), user), below=DELAY) < DELAY
    assert seconds(b"fred", b"x") >= DELAY


def test_a_right_password_is_remembered_for_a_minute(stage: Stage, checks: PasswordChecks, slow: Slow) -> None:
    for later, asked in ((0.0, 1), (REMEMBER_SECONDS - 1, 1), (1.0, 2)):
        slow.now += later
        assert stage.run(checks.verify(b"fred", b"derf", HERE))
        assert len(slow.asked) == asked


def test_what_is_remembered_is_the_pair_and_not_its_bytes(stage: Stage, checks: PasswordChecks, slow: Slow) -> None:
    assert stage.run(checks.verify(b"ab", b"ba", HERE))
    for user, password in ((b"a", b"bba"), (b"abb", b"a"), (b"ab", b"bA"), (b"Ab", b"ba"), (b"", b"abba")):
        assert not stage.run(checks.verify(user, password, HERE))
    assert len(slow.asked) == 6


def test_a_wrong_password_is_not_remembered(stage: Stage, checks: PasswordChecks, slow: Slow) -> None:
    for _ in range(2):
        assert not stage.run(checks.verify(b"fred", b"x", HERE))
    assert len(slow.asked) == 2


def test_one_check_at_a_time_and_a_bounded_number_wait(stage: Stage, checks: PasswordChecks, slow: Slow) -> None:
    assert stage.run(checks.verify(b"known", b"nwonk", HERE))
    slow.gate.clear()
    slow.asked.clear()
    tasks = [stage.loop.create_task(checks.verify(b"u%d" % n, b"x", HERE)) for n in range(MAX_WAITING_PER_SOURCE)]
    assert stage.until(lambda: slow.asked)
    stage.rest(0.01)
    assert len(slow.asked) == 1
    assert not stage.run(checks.verify(b"fred", b"derf", HERE)), "one more than may wait is refused"
    assert stage.run(checks.verify(b"known", b"nwonk", HERE)), "who is remembered does not wait"
    slow.gate.set()
    stage.run(asyncio.wait(tasks))
    assert stage.run(checks.verify(b"fred", b"derf", HERE))


def test_who_gives_up_gives_the_place_back(stage: Stage, checks: PasswordChecks, slow: Slow) -> None:
    slow.gate.clear()
    for _ in range(3):
        tasks = [stage.loop.create_task(checks.verify(b"u%d" % n, b"x", HERE)) for n in range(MAX_WAITING_PER_SOURCE)]
        stage.rest(0.005)
        for task in tasks:
            task.cancel()
        stage.run(asyncio.wait(tasks))
    slow.gate.set()
    assert stage.run(checks.verify(b"fred", b"derf", HERE))
    assert len(slow.asked) <= 5, "what was given up is not hashed any more"


def test_a_check_that_fails_gives_its_place_back(stage: Stage, checks: PasswordChecks) -> None:
    for _ in range(MAX_WAITING_PER_SOURCE + 1):
        with pytest.raises(MemoryError):
            stage.run(checks.verify(b"broken", b"x", HERE))
    assert stage.run(checks.verify(b"fred", b"derf", HERE))


def test_the_loop_goes_on_while_a_password_is_hashed(stage: Stage, checks: PasswordChecks, slow: Slow) -> None:
    slow.gate.clear()
    task = stage.loop.create_task(checks.verify(b"fred", b"derf", HERE))
    stage.rest(0.02)
    assert not task.done()
    slow.gate.set()
    assert stage.run(task)


def test_what_is_remembered_is_bounded(stage: Stage, checks: PasswordChecks, slow: Slow) -> None:
    async def everybody() -> None:
        for number in range(MAX_REMEMBERED + 1):
            user = b"%d" % number
            assert await checks.verify(user, user[::-1], HERE)

    stage.run(everybody())
    asked = len(slow.asked)
    assert stage.run(checks.verify(b"0", b"0", HERE))
    assert len(slow.asked) == asked + 1, "the oldest was forgotten"


def test_without_a_file_nobody_is_right(stage: Stage) -> None:
    nobody = NoPasswords()
    assert not stage.run(nobody.verify(b"fred", b"derf", HERE))
    nobody.close()


def test_other_passwords_are_checked_by_the_same_thread_and_remember_nothing(
    stage: Stage, checks: PasswordChecks, slow: Slow
) -> None:
    names: list[str] = []

    def other(user: bytes, password: bytes) -> bool:
        names.append(threading.current_thread().name)
        return slow.verify(user, password)

    assert stage.run(checks.verify(b"fred", b"derf", HERE))
    assert stage.run(checks.successor(other).verify(b"fred", b"derf", HERE))
    assert len(slow.asked) == 2
    assert names == ["password_0"]
    assert sum(thread.name.startswith("password") for thread in threading.enumerate()) == 1
