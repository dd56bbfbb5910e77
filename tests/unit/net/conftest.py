"""Fixtures of the data path's tests."""

from collections.abc import Iterator

import pytest

from tests.unit.net.stage import House, Stage, closed_after, descriptors, staged


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A loop with a poller; afterwards no handler may have failed and no descriptor be left."""
    before = descriptors()
    with staged() as made:
        yield made
    assert descriptors() <= before


@pytest.fixture
def house() -> Iterator[House]:
    """A runner and a listener with the rules of loopback; afterwards as `stage`."""
    before = descriptors()
    made = House()
    with closed_after(made):
        yield made
    assert descriptors() <= before
