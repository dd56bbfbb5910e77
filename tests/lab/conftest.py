"""The two hosts of the look-up tests, and the lab of two networks: each made once for all tests that leave it alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Sockd
from tests.support.lab.build import Lab
from tests.support.lab.build import lab as build_lab
from tests.support.lab.servers import serving
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


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab of two networks with its servers, for tests that change nothing in it."""
    with build_lab() as made, serving(made, tmp_path_factory.mktemp("networks")):
        yield made


@pytest.fixture
def own_networks(tmp_path: Path) -> Iterator[Lab]:
    """The same, made for one test that does what it likes to cables and cards."""
    with build_lab() as made, serving(made, tmp_path / "servers"):
        yield made
