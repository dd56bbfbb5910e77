"""The appliance's disk, and what runs it here: each found out once for all tests that boot it."""

from pathlib import Path

import pytest

from tests.support.diskimage import image
from tests.support.vm.accelerator import Accelerator, probe


@pytest.fixture(scope="session")
def disk() -> Path:
    return image()


@pytest.fixture(scope="session")
def accelerator(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Accelerator:
    return probe(disk, tmp_path_factory.mktemp("accelerator"))
