"""Lines in the form of their target: nothing is lost, and nothing of a text passes itself off as a line's structure."""

import os
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.system.dress import ERROR, NOTICE, PART, FileDress, JournaldDress, Mark, SyslogDress, fields, visible
from tests.support.logs import HEAD, NOW, entry_fields, record

_texts = st.text(st.characters(), max_size=20)


@given(st.lists(_texts, max_size=5))
@example(["\x7f"])
@example(["\u2028", "\udc80"])
@example(["a", "b\n"])
def test_what_is_visible_stays_and_the_rest_is_one_line_of_printable_text(lines: list[str]) -> None:
    shown = visible(lines)
    assert len(shown) == len(lines)
    for line, text in zip(lines, shown, strict=True):
        assert text.isprintable()
        assert text.encode().splitlines() in ([], [text.encode()])
        if line.isprintable():
            assert text == line


@pytest.mark.parametrize("byte", [chr(number) for number in range(0x20)] + ["\x7f"])
def test_every_control_byte_is_seen_among_thousands_of_lines(byte: str) -> None:
    lines = ["x"] * (2 * PART) + [f"a{byte}b"] + ["y"] * PART
    assert visible(lines)[2 * PART] == f"a\\x{ord(byte):02x}b"


@pytest.mark.parametrize("count", [0, 1, PART - 1, PART, PART + 1, 3 * PART])
def test_no_line_is_lost_between_two_blocks(count: int) -> None:
    lines = [f"{number}" for number in range(count)]
    dress = FileDress(lambda: NOW)
    split = [line for block in dress.blocks(lines, {}) for line in dress.split(block)]
    assert split == [f"{HEAD}{line}\n".encode() for line in lines]


def test_an_error_among_the_lines_has_its_priority_and_the_others_theirs() -> None:
    dress = SyslogDress(lambda: NOW, 16)
    marks = {1: Mark(ERROR), 2: Mark(NOTICE)}
    (first, second, third) = [line for block in dress.blocks(["a", "b", "c"], marks) for line in dress.split(block)]
    assert [line.partition(b">")[0] for line in (first, second, third)] == [b"<133", b"<131", b"<133"]
    assert first.endswith(f" sockd[{os.getpid()}]: a\n".encode())


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,10}", fullmatch=True), st.text(max_size=20)))
@example({"A": "b\nC=d\n"})
def test_fields_are_read_back_as_they_were_whatever_they_hold(values: Mapping[str, str]) -> None:
    assert dict(entry_fields(fields(values))) == values


def test_facts_that_are_not_known_are_no_fields() -> None:
    (entry,) = JournaldDress(3).blocks(["x"], {0: Mark(NOTICE, record())})
    names = dict(entry_fields(entry))
    assert "SOCKD_UPLINK" not in names
    assert "SOCKD_WAY" not in names
    assert "SOCKD_EGRESS" in names
