"""How often the daemon is looked at."""

import pytest

from gateway.cli.top.pace import REST, STEPS, faster, pause, slower


def test_a_look_that_is_no_work_comes_as_asked() -> None:
    assert pause(1.0, 1.0 / REST) == 1.0


def test_a_look_that_is_work_comes_less_often() -> None:
    assert pause(1.0, 0.1) == pytest.approx(0.1 * REST)


def test_plus_and_minus_go_through_the_steps_and_stop_at_the_ends() -> None:
    assert [slower(step) for step in STEPS] == [*STEPS[1:], STEPS[-1]]
    assert [faster(step) for step in STEPS] == [STEPS[0], *STEPS[:-1]]


def test_an_interval_between_two_steps_goes_to_its_neighbours() -> None:
    assert (faster(1.5), slower(1.5)) == (1.0, 2.0)
    assert (faster(3600.0), slower(3600.0)) == (60.0, 3600.0)
