"""What holds for the blocking calls must hold for those of asyncio."""

import pytest

from tests.unit.client.calls import WAYS, Calls


@pytest.fixture(params=WAYS)
def calls(request: pytest.FixtureRequest) -> Calls:
    return WAYS[request.param]
