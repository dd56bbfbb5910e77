"""Shared memory by real forks, and slots that follow their lines through any number of loadings."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.protocol import ResolverTotals
from gateway.daemon import counters as module
from gateway.daemon.counters import (
    DNS_GAUGES,
    GAUGES,
    SLOTS,
    UNMATCHED,
    Block,
    Counter,
    DnsBlock,
    DnsCounter,
    Slot,
    Slots,
    by_label,
    total,
    total_slot,
    written_lines,
)
from tests.support.playbook import parsed


@pytest.fixture
def blocks() -> Iterator[tuple[Block, ...]]:
    """Of two workers."""
    found = (Block(), Block())
    yield found
    for block in found:
        block.close()


def in_a_child(work: object) -> None:
    """A process that does it, and has ended."""
    pid = os.fork()
    if not pid:
        try:
            work()  # type: ignore[operator]
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


# The memory


def test_a_new_block_is_all_zero(blocks: tuple[Block, ...]) -> None:
    assert [blocks[0][counter] for counter in Counter] == [0] * len(Counter)
    assert blocks[0].slot(0) == blocks[0].slot(SLOTS - 1) == Slot(0, 0, 0, 0)


def test_what_a_child_writes_its_parent_reads_also_when_the_child_is_dead(blocks: tuple[Block, ...]) -> None:
    def work() -> None:
        blocks[0][Counter.ACCEPTED] = 17
        blocks[0].set_slot(SLOTS - 1, Slot(1, 2, 3, 4))

    in_a_child(work)
    assert blocks[0][Counter.ACCEPTED] == 17
    assert blocks[0].slot(SLOTS - 1) == Slot(1, 2, 3, 4)
    assert blocks[1][Counter.ACCEPTED] == 0


def test_no_counter_and_no_slot_lies_over_another_one(blocks: tuple[Block, ...]) -> None:
    block = blocks[0]
    for counter in Counter:
        block[counter] = counter + 1
    ends = (0, 1, SLOTS - 2, SLOTS - 1)
    for number in ends:
        block.set_slot(number, Slot(number + 10, number + 20, number + 30, number + 40))
    assert [block[counter] for counter in Counter] == [counter + 1 for counter in Counter]
    assert [block.slot(number).hits for number in ends] == [number + 10 for number in ends]
    assert [block.slot(number).last for number in ends] == [number + 40 for number in ends]


def test_a_word_has_64_bits(blocks: tuple[Block, ...]) -> None:
    blocks[0][Counter.SENT] = (1 << 64) - 1
    assert blocks[0][Counter.SENT] == (1 << 64) - 1


def test_a_dead_worker_has_no_sessions_and_no_room_and_all_that_it_counted(blocks: tuple[Block, ...]) -> None:
    block = blocks[0]
    for counter in Counter:
        block[counter] = 5
    block.set_slot(3, Slot(5, 5, 5, 5))
    block.clear_gauges()
    assert {counter for counter in Counter if not block[counter]} == set(GAUGES)
    assert block.slot(3) == Slot(5, 5, 5, 5)


def test_sums_are_those_of_all_workers_and_the_last_use_is_the_latest(blocks: tuple[Block, ...]) -> None:
    for number, block in enumerate(blocks, 1):
        block[Counter.REFUSED] = number
        block.set_slot(9, Slot(number, 10 * number, 100 * number, 1000 * number))
    assert total(blocks, Counter.REFUSED) == 3
    assert total_slot(blocks, 9) == Slot(3, 30, 300, 2000)
    assert total_slot(blocks[:1], 9) == Slot(1, 10, 100, 1000)
    assert total_slot(blocks, 8) == Slot(0, 0, 0, 0)


def test_a_closed_block_gives_its_memory_back() -> None:
    block = Block()
    block.close()
    with pytest.raises(ValueError, match="released"):
        block[Counter.SENT]


# The memory of the resolvers


@pytest.fixture
def dns_blocks() -> Iterator[tuple[DnsBlock, ...]]:
    """Of two resolvers."""
    found = (DnsBlock(), DnsBlock())
    yield found
    for block in found:
        block.close()


def test_each_number_of_a_resolver_has_a_word_of_its_own_which_is_zero_at_first(
    dns_blocks: tuple[DnsBlock, ...],
) -> None:
    block, other = dns_blocks
    assert [block[counter] for counter in DnsCounter] == [0] * len(DnsCounter)
    for counter in DnsCounter:
        block[counter] = (1 << 63) + counter
    assert [block[counter] - (1 << 63) for counter in DnsCounter] == list(range(len(DnsCounter)))
    assert [other[counter] for counter in DnsCounter] == [0] * len(DnsCounter)


def test_what_a_resolver_writes_is_read_when_it_is_dead(dns_blocks: tuple[DnsBlock, ...]) -> None:
    def work() -> None:
        dns_blocks[1][DnsCounter.QUERIES] = 17

    in_a_child(work)
    assert dns_blocks[1][DnsCounter.QUERIES] == 17
    assert total(dns_blocks, DnsCounter.QUERIES) == 17


def test_a_dead_resolver_keeps_nothing_in_its_cache_and_all_that_it_counted(dns_blocks: tuple[DnsBlock, ...]) -> None:
    block = dns_blocks[0]
    for counter in DnsCounter:
        block[counter] = 5
    block.clear_gauges()
    assert {counter for counter in DnsCounter if not block[counter]} == set(DNS_GAUGES)
    assert set(DNS_GAUGES) == {DnsCounter.ENTRIES, DnsCounter.OUTSTANDING}


def test_sums_are_those_of_all_resolvers(dns_blocks: tuple[DnsBlock, ...]) -> None:
    for number, block in enumerate(dns_blocks, 1):
        block[DnsCounter.HITS] = number
    assert total(dns_blocks, DnsCounter.HITS) == 3
    assert total(dns_blocks, DnsCounter.LOCAL) == 0


def test_all_numbers_of_resolvers_are_reported_by_their_names_and_lost_lines_with_those_of_the_workers() -> None:
    reported = set(ResolverTotals.__struct_fields__) - {"queries_per_second", "hit_rate"}
    assert reported == {counter.name.lower() for counter in DnsCounter if counter is not DnsCounter.LOST}


def test_a_closed_block_of_a_resolver_gives_its_memory_back() -> None:
    block = DnsBlock()
    block.close()
    with pytest.raises(ValueError, match="released"):
        block[DnsCounter.QUERIES]


# The slots of the lines

A, B, C = "permit 10.0.0.0/8 ALL", "permit 11.0.0.0/8 ALL", "deny 12.0.0.0/8 ALL"


def assigned(slots: Slots, *lines: str) -> tuple[int, ...]:
    text = "".join(f"{line}\n" for line in lines)
    return slots.assign(parsed(text), text)


def test_each_line_has_a_slot_of_its_own_and_none_has_that_of_no_line() -> None:
    found = assigned(Slots(), A, B, C)
    assert len(set(found)) == 3
    assert UNMATCHED not in found


def test_a_file_without_rules_has_no_slots() -> None:
    assert assigned(Slots(), "# nothing", "") == ()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param((A, B, C), (1, 2, 3), id="nothing changed"),
        pytest.param((C, A, B), (3, 1, 2), id="lines moved"),
        pytest.param(("# a comment", "", A, "", B, C), (1, 2, 3), id="comments and empty lines came between"),
        pytest.param((f"  {A}", f"{B}\t", C), (1, 2, 3), id="blanks around a line"),
        pytest.param((A, C), (1, 3), id="a line went away"),
        pytest.param((A, "deny 13.0.0.0/8 ALL", B, C), (1, 4, 2, 3), id="a line came between"),
        pytest.param((A, B, f"{C} # why"), (1, 2, 4), id="other words are another line"),
        pytest.param((A, A, B, C), (1, 4, 2, 3), id="a line came a second time"),
    ],
)
def test_the_same_line_keeps_its_slot_in_the_next_file(lines: tuple[str, ...], expected: tuple[int, ...]) -> None:
    slots = Slots()
    assert assigned(slots, A, B, C) == (1, 2, 3)
    assert assigned(slots, *lines) == expected


def test_a_line_that_comes_back_has_the_slot_that_it_had() -> None:
    slots = Slots()
    before = assigned(slots, A, B)
    assigned(slots, B, C)
    assert assigned(slots, A, B) == before


def test_of_equal_lines_the_second_one_stays_the_second() -> None:
    slots = Slots()
    assert assigned(slots, A, B, A) == (1, 2, 3)
    assert assigned(slots, B, A, A) == (2, 1, 3)
    assert assigned(slots, A, B) == (1, 2)


def test_joined_lines_are_told_apart_by_all_that_they_say() -> None:
    slots = Slots()
    assert assigned(slots, "permit 10.0.0.0/8 \\", "ALL", "permit 10.0.0.0/8 \\", "example.com") == (1, 2)
    assert assigned(slots, "permit 10.0.0.0/8 \\", "example.com", "permit 10.0.0.0/8 \\", "ALL") == (2, 1)
    assert assigned(slots, "permit 10.0.0.0/8 \\", "example.org") == (3,)


def test_lines_with_carriage_returns_are_the_same_lines() -> None:
    slots = Slots()
    assigned(slots, A, B)
    text = f"{B}\r\n{A}\r\n"
    assert slots.assign(parsed(text), text) == (2, 1)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(2, (1, 2), id="one less than there is room for"),
        pytest.param(3, (1, 2, 3), id="as many as there is room for"),
        pytest.param(6, (1, 2, 3, 3, 3, 3), id="what is beyond shares the last one"),
    ],
)
def test_there_is_an_end_to_the_slots(monkeypatch: pytest.MonkeyPatch, lines: int, expected: tuple[int, ...]) -> None:
    monkeypatch.setattr(module, "SLOTS", 4)
    slots = Slots()
    many = [f"permit 10.{number}.0.0/16 ALL" for number in range(lines)]
    assert assigned(slots, *many) == expected
    assert assigned(slots, *reversed(many)) == tuple(reversed(expected))
    assert UNMATCHED not in assigned(slots, "permit 99.0.0.0/8 ALL")


files = st.lists(st.sampled_from([A, B, C, "permit ALL 192.0.2.1/32", "# a comment"]), max_size=8)


@given(st.lists(files, min_size=1, max_size=4))
def test_through_any_files_the_nth_of_equal_lines_has_one_slot_and_shares_it_with_nobody(
    loadings: list[list[str]],
) -> None:
    slots = Slots()
    known: dict[tuple[str, int], int] = {}
    for lines in loadings:
        rules = [line for line in lines if not line.startswith("#")]
        found = assigned(slots, *lines)
        keys = [(line, rules[:at].count(line)) for at, line in enumerate(rules)]
        assert len(set(found)) == len(found) == len(rules)
        for key, slot in zip(keys, found, strict=True):
            assert known.setdefault(key, slot) == slot
    assert len(set(known.values())) == len(known)


def test_lines_are_shown_as_they_are_written() -> None:
    text = f"# first\n  {A}   # why\n\npermit 10.0.0.0/8 \\\nexample.com\n"
    assert written_lines(parsed(text), text) == [f"  {A}   # why", "permit 10.0.0.0/8 example.com"]


def test_slots_are_found_by_the_labels_of_their_lines() -> None:
    access = parsed(f"# a comment\n{A}\n{B}\n")
    assert by_label(access, (7, 9)) == {"": UNMATCHED, "sockd.conf:2": 7, "sockd.conf:3": 9}
    with pytest.raises(ValueError, match="shorter"):
        by_label(access, (7,))
