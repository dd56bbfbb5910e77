"""Folding: what is written can be unfolded to what was given."""

import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.system.dress import Mark
from gateway.system.repeats import Repeats

_flushes = st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=5), max_size=5)


@given(_flushes)
def test_every_line_is_written_or_counted_in_its_order(flushes: list[list[tuple[str, bool]]]) -> None:
    repeats = Repeats()
    written: list[str] = []
    marked = 0
    for flush in flushes:
        lines = [text for text, _ in flush]
        marks = {place: Mark(ord(text)) for place, (text, is_marked) in enumerate(flush) if is_marked}
        folded, kept = repeats.fold(lines, marks)
        written += folded
        marked += len(kept)
        assert all(folded[place] == chr(mark.level) for place, mark in kept.items()), "a mark stays with its line"
    written += repeats.close()
    assert unfolded(written) == [text for flush in flushes for text, _ in flush]
    assert marked == sum(is_marked for flush in flushes for _, is_marked in flush), "marked lines are never folded"


def unfolded(lines: Sequence[str]) -> list[str]:
    found: list[str] = []
    for line in lines:
        count = re.fullmatch(r"last line repeated (\d+) times?", line)
        found += [found[-1]] * int(count[1]) if count else [line]
    return found


def test_lines_without_repetitions_are_passed_on_as_they_are() -> None:
    lines = ["a", "b", "a"]
    marks = {1: Mark()}
    folded, kept = Repeats().fold(lines, marks)
    assert folded is lines
    assert kept is marks


def test_no_line_is_a_repetition_of_a_marked_one() -> None:
    repeats = Repeats()
    assert repeats.fold(["a", "a"], {0: Mark()})[0] == ["a", "a"]
    repeats.fold(["a"], {0: Mark()})
    assert repeats.fold(["a"], {})[0] == ["a"]
    assert repeats.close() == []


def test_the_first_line_may_repeat_the_last_one_of_the_flush_before() -> None:
    repeats = Repeats()
    repeats.fold(["b", "a"], {})
    assert repeats.fold(["a", "b"], {1: Mark()}) == (["last line repeated 1 time", "b"], {1: Mark()})


def test_nothing_is_said_twice() -> None:
    repeats = Repeats()
    repeats.fold(["a", "a"], {})
    assert repeats.close() == ["last line repeated 1 time"]
    assert repeats.close() == []


def test_an_empty_flush_ends_no_repetition() -> None:
    repeats = Repeats()
    repeats.fold(["a", "a"], {})
    assert repeats.fold([], {}) == ([], {})
    assert repeats.count == 1


def test_what_was_counted_before_a_fork_is_the_parents_to_say() -> None:
    repeats = Repeats()
    repeats.fold(["a", "a"], {})
    repeats.forget()
    assert repeats.close() == []
    assert repeats.fold(["a"], {}) == (["a"], {})
