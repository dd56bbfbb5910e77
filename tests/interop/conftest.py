"""One running daemon for the tests that need nothing special of it."""

from collections.abc import Iterator

import pytest

from tests.support.daemon import Sockd, sockd


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockd]:
    """A daemon with two workers that lets loopback go to loopback, ended and checked after the last test."""
    with sockd(tmp_path_factory.mktemp("gateway"), workers=2) as daemon:
        yield daemon
