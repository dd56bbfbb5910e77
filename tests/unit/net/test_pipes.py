"""The pool of pipes: bounded, reused when empty, closed when not."""

import os
import resource

import pytest

from gateway.net.pipes import PIPE_BYTES, PipePool
from tests.unit.net.stage import descriptors


def test_a_pipe_is_made_reused_and_closed() -> None:
    before = descriptors()
    pool = PipePool(4)
    first = pool.take()
    assert first is not None
    assert descriptors() == before + 2
    pool.give_back(first)
    assert pool.take() is first
    pool.give_back(first)
    pool.close()
    assert descriptors() == before


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_there_are_never_more_than_the_limit(limit: int) -> None:
    pool = PipePool(limit)
    taken = [pipe for _ in range(limit + 2) if (pipe := pool.take()) is not None]
    assert len(taken) == limit
    for pipe in taken:
        pool.give_back(pipe)
    assert [pool.take() is not None for _ in range(limit + 1)] == [True] * limit + [False]
    for pipe in taken:
        pool.give_back(pipe)
    pool.close()


def test_a_pipe_that_holds_bytes_is_closed_and_its_place_is_free() -> None:
    before = descriptors()
    pool = PipePool(1)
    pipe = pool.take()
    assert pipe is not None
    pipe.level = os.write(pipe.writer, b"another session's secret")
    pool.give_back(pipe)
    assert descriptors() == before
    fresh = pool.take()
    assert fresh is not None
    with pytest.raises(BlockingIOError):
        os.read(fresh.reader, 1)
    pool.give_back(fresh)
    pool.close()


def test_a_pipe_does_not_block_and_holds_much() -> None:
    pool = PipePool(1)
    pipe = pool.take()
    assert pipe is not None
    with pytest.raises(BlockingIOError):
        os.read(pipe.reader, 1)
    assert os.write(pipe.writer, bytes(2 * PIPE_BYTES)) >= 65536
    assert not os.get_inheritable(pipe.reader)
    assert not os.get_inheritable(pipe.writer)
    pipe.close()


def test_without_descriptors_there_is_no_pipe_and_later_there_is() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    pool = PipePool(1)
    probe = os.dup(0)
    os.close(probe)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 1, hard))
        before = descriptors
        assert pool.take() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert before() == descriptors()
    pipe = pool.take()
    assert pipe is not None
    pool.give_back(pipe)
    pool.close()
