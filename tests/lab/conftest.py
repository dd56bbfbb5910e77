"""The two hosts of the lab, made once for all its tests."""

from collections.abc import Iterator

import pytest

from tests.support.daemon import Sockd
from tests.support.labworld import World, world


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture(scope="session")
def gateway(lab: World) -> Iterator[Sockd]:
    """A daemon that lets everybody go everywhere but to private networks; it gives up a dial after a second."""
    with lab.sockd("gateway", settings={"timeouts": {"connect": 1.0}}) as daemon:
        yield daemon
