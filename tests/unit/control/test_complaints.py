"""Lines at a bounded rate: the first at once, the rest counted, and a bug told with its place."""

import pytest

from gateway.control.complaints import TELL_SECONDS, Complaints, fault_of
from tests.unit.control.driver import Loop


def test_the_first_line_is_told_at_once_and_the_next_ones_are_counted() -> None:
    loop = Loop()
    say = Complaints(loop.trouble, loop.clock)
    for number in range(4):
        say(f"no {number}")
    assert loop.lines == ["no 0"]
    loop.now += TELL_SECONDS - 0.01
    say("still too early")
    assert loop.lines == ["no 0"]
    loop.now += 0.01
    say("again")
    assert loop.lines[1:] == ["again (4 more before it, not told)"]
    loop.now += TELL_SECONDS
    say("alone")
    assert loop.lines[2:] == ["alone"]
    loop.close()


def test_a_fault_is_told_with_its_kind_and_its_place() -> None:
    with pytest.raises(KeyError) as raised:
        raise KeyError("lost")
    assert fault_of(raised.value).startswith(f"KeyError at {__file__}:")
    assert fault_of(raised.value).endswith(": 'lost'")


def test_a_fault_that_was_never_raised_has_no_place() -> None:
    assert fault_of(ValueError("made")) == "ValueError: made"
