"""Scenarios of the lab, which tests with namespaces play too, on the appliance with two uplinks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.image.test_first_boot import serves
from tests.lab.test_two_networks import CARD_GONE, FOLLOWS_THE_FILE, PULLED, RENUMBERED, ROUTES
from tests.support.lab.scenario import play
from tests.support.lab.servers import needs_lab
from tests.support.lab.steps import Step
from tests.support.vm.accelerator import Accelerator
from tests.support.vm.appliance import Appliance, Setup, appliance
from tests.support.vm.gateway import adapted, renamed
from tests.support.vm.machine import missing
from tests.support.vm.networks import NAMES
from tests.support.vm.settings import gateway_files

LACKING = missing()
pytestmark = [pytest.mark.full, needs_lab, pytest.mark.skipif(bool(LACKING), reason=LACKING)]


@pytest.fixture(scope="module")
def box(disk: Path, accelerator: Accelerator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """As the tests with namespaces have it."""
    routes = renamed(ROUTES, NAMES)
    files = gateway_files(("outside", "outside2"), routes=routes, external="failback = 0.5")
    with appliance(Setup(disk, files=files, names=NAMES), accelerator, tmp_path_factory.mktemp("uplinks")) as made:
        made.up()
        serves(made)
        yield made


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(FOLLOWS_THE_FILE, id="the route file is followed"),
        pytest.param(PULLED, id="a cable is pulled"),
        pytest.param(RENUMBERED, id="an address changes"),
        pytest.param(CARD_GONE, id="a card goes and comes back"),
    ],
)
def test_a_scenario_comes_out_as_between_namespaces(box: Appliance, steps: Sequence[Step]) -> None:
    play(box.machines, adapted(steps))
