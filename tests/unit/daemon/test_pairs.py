"""The pairs of sockets between the workers and whom they ask: each worker has its own, and nobody has another's."""

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from gateway.daemon.pairs import Pairs
from tests.support.forked import forked
from tests.unit.net.stage import descriptors

NAMES = ("worker 1", "worker 2")


@pytest.fixture
def wishes() -> Iterator[Pairs]:
    made = Pairs(NAMES)
    yield made
    made.close()


def said(wishes: Pairs, name: str, words: bytes) -> None:
    """In a process of its own: that worker says this."""

    def live() -> int:
        wishes.of_worker(name).send(words)
        return 0

    assert forked(live) == 0


def heard(end: socket.socket) -> bytes | None:
    """What waits there; None: nothing does."""
    try:
        return end.recv(100)
    except BlockingIOError:
        return None


def test_each_worker_says_its_own_and_the_helper_knows_who_it_was(wishes: Pairs) -> None:
    for name in NAMES:
        said(wishes, name, name.encode())
    ends = wishes.of_server()
    assert {name: heard(end) for name, end in ends.items()} == {name: name.encode() for name in NAMES}
    assert {name: heard(end) for name, end in ends.items()} == dict.fromkeys(NAMES, b"")


def test_nobody_waits_for_the_other(wishes: Pairs) -> None:
    ends = wishes.of_server()
    assert [end.getblocking() for end in ends.values()] == [False, False]
    assert forked(lambda: Pairs(NAMES).of_worker("worker 1").getblocking()) is False


def test_a_worker_has_one_end_and_no_other() -> None:
    def live() -> tuple[int, int, int]:
        before = descriptors()
        made = Pairs(NAMES)
        pairs = descriptors() - before
        mine = made.of_worker("worker 2")
        kept = descriptors() - before
        mine.close()
        return pairs, kept, descriptors() - before

    assert forked(live) == (4, 1, 0)


def test_who_has_nothing_to_do_with_them_has_none() -> None:
    before = descriptors()
    made = Pairs(NAMES)
    made.close()
    assert descriptors() == before


def test_what_one_worker_shuts_down_is_its_own_only_and_its_successor_has_another(wishes: Pairs) -> None:
    def shut() -> int:
        wishes.of_worker("worker 1").shutdown(socket.SHUT_RDWR)
        return 0

    assert forked(shut) == 0
    new = wishes.renew("worker 1")
    for name in NAMES:
        said(wishes, name, b"here")
    ends = wishes.of_server()
    assert ends["worker 1"] is new
    assert {name: heard(end) for name, end in ends.items()} == dict.fromkeys(NAMES, b"here")


def test_the_new_end_is_the_helpers_of_the_next_worker_and_the_old_one_is_closed(wishes: Pairs) -> None:
    before = descriptors()
    new = wishes.renew("worker 1")
    assert descriptors() == before
    said(wishes, "worker 1", b"here")
    assert heard(new) == b"here"
    assert not os.get_inheritable(new.fileno())


def test_without_a_descriptor_the_old_pair_stays(wishes: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pair(*_: int) -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as context:
        context.setattr(socket, "socketpair", no_pair)
        with pytest.raises(OSError, match="Too many open files"):
            wishes.renew("worker 1")
    said(wishes, "worker 1", b"here")
    assert heard(wishes.of_server()["worker 1"]) == b"here"
