"""Random bytes in small portions: all of a block, each once, and never any of an older one."""

from collections.abc import Callable

import pytest

from gateway.net.entropy import BLOCK, Entropy


class Source:
    """Gives bytes that tell which block they are of, and counts."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, count: int) -> bytes:
        self.asked.append(count)
        return bytes((len(self.asked),)) * count


@pytest.fixture
def source() -> Source:
    return Source()


def test_nothing_is_fetched_before_it_is_needed(source: Source) -> None:
    entropy = Entropy(source)
    assert source.asked == []
    assert entropy.take(3) == b"\1\1\1"
    assert source.asked == [BLOCK]


def test_each_byte_is_given_once_and_in_its_order() -> None:
    block = bytes(number % 251 for number in range(BLOCK))
    entropy = Entropy(lambda _: block)
    assert b"".join(entropy.take(count) for count in (1, 0, 15, 1000, BLOCK - 1016)) == block


@pytest.mark.parametrize(("first", "blocks"), [(BLOCK - 10, 1), (BLOCK - 9, 2)])
def test_a_portion_is_of_one_block(source: Source, first: int, blocks: int) -> None:
    entropy = Entropy(source)
    entropy.take(first)
    assert entropy.take(10) == bytes((blocks,)) * 10
    assert source.asked == [BLOCK] * blocks
    assert entropy.take(10) == bytes((2,)) * 10


def test_more_than_a_block_leaves_the_block_as_it_is(source: Source) -> None:
    entropy = Entropy(source)
    entropy.take(1)
    assert entropy.take(BLOCK + 1) == b"\2" * (BLOCK + 1)
    assert entropy.take(BLOCK - 1) == b"\1" * (BLOCK - 1)
    assert entropy.take(1) == b"\3"


@pytest.mark.parametrize("count", [0, 1, BLOCK, BLOCK + 1])
def test_as_many_as_were_asked_for(count: int) -> None:
    take: Callable[[int], bytes] = Entropy(bytes).take
    assert [len(take(count)) for _ in range(3)] == [count] * 3
