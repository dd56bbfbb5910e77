"""Fixtures of the data path's tests."""

from collections.abc import Iterator

import pytest

from tests.unit.net.stage import Stage, descriptors, staged


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A loop with a poller; afterwards no handler may have failed and no descriptor be left."""
    before = descriptors()
    with staged() as made:
        yield made
    assert descriptors() <= before
