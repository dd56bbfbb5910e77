"""The steps of a question: with their times, and bounded."""

from collections.abc import Iterator

from gateway.dns.trace import MAX_STEPS, Trace


def clock(*times: float) -> Iterator[float]:
    return iter(times)


def test_each_step_has_the_time_since_the_first() -> None:
    trace = Trace(clock(50.0, 50.0, 50.0123, 51.5).__next__)
    for text in ("in zone corp.example", "asking 10.0.0.53", "timed out"):
        trace.append(text)
    assert trace == ["    0.0 ms  in zone corp.example", "   12.3 ms  asking 10.0.0.53", " 1500.0 ms  timed out"]


def test_as_many_steps_as_there_is_room_for_are_all_kept() -> None:
    trace = Trace(lambda: 0.0)
    for number in range(MAX_STEPS):
        trace.append(f"step {number}")
    assert [step.split("  ")[-1] for step in trace] == [f"step {number}" for number in range(MAX_STEPS)]


def test_of_more_steps_than_that_the_beginning_and_the_end_are_kept() -> None:
    trace = Trace(lambda: 0.0)
    for number in range(MAX_STEPS + 7):
        trace.append(f"step {number}")
    assert len(trace) == MAX_STEPS
    assert trace[-2].endswith(f"step {MAX_STEPS - 2}")
    assert trace[-1].endswith(f"step {MAX_STEPS + 6}")
