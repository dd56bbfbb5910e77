"""What a command knows of the uplinks: from the daemon that runs, or from the interfaces alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.daemon.configuration import Configuration, load
from gateway.daemon.messages import Network
from gateway.daemon.outlook import outlook
from gateway.daemon.status import StatusFile
from gateway.netlink.model import KernelState, Link
from gateway.policy.egress import Standing, Uplink
from tests.support.daemon import write_files
from tests.support.playbook import TIME
from tests.unit.daemon.hosts import HOST, WAN1, addresses


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """Two uplinks by sockd.route, on a host that has both and more."""
    path = write_files(tmp_path, "permit ALL ALL via=wan2\n", routes="wan1 10.0.0.0/8\nwan9 ALL\n")
    return replace(load(str(path), print), kernel=HOST)


@pytest.fixture
def status(tmp_path: Path) -> Iterator[StatusFile]:
    made = StatusFile(str(tmp_path / "sockd.status"))
    yield made
    made.close()


BY_PROBE = Uplink("wan1", "wan1", Standing.DOWN, "no answer to its probes: timed out", addresses("192.0.2.10"))


def test_what_the_running_daemon_knows_counts(configuration: Configuration, status: StatusFile) -> None:
    status.write(Network((BY_PROBE,)), TIME)
    found = outlook(configuration)
    assert found.uplinks == (BY_PROBE,)
    assert found.status is not None
    assert found.status.time == TIME


def by_kernel(configuration: Configuration) -> list[tuple[str, str, Standing, str]]:
    found = outlook(configuration)
    assert found.status is None
    return [(uplink.name, uplink.device, uplink.standing, uplink.cause) for uplink in found.uplinks]


SEEN = [
    ("wan1", "wan1", Standing.UP, "link is up"),
    ("wan9", "wan9", Standing.DOWN, "no such interface"),
    ("wan2", "wan2", Standing.UP, "link is up"),
]


def test_without_a_daemon_the_interfaces_tell(configuration: Configuration) -> None:
    assert by_kernel(configuration) == SEEN
    assert outlook(configuration).uplinks[0].sources == addresses("192.0.2.10", "2001:db8:1::10")


def test_what_a_daemon_wrote_that_has_ended_is_not_believed(configuration: Configuration, status: StatusFile) -> None:
    status.write(Network((BY_PROBE,)), TIME)
    status.close()
    assert by_kernel(configuration) == SEEN


def test_a_file_that_is_no_status_is_none(configuration: Configuration, tmp_path: Path) -> None:
    (tmp_path / "sockd.status").write_text('{"version": 1, "pid"')
    assert by_kernel(configuration) == SEEN


def test_a_daemon_that_knows_of_no_uplink_leaves_it_to_the_interfaces(
    configuration: Configuration, status: StatusFile
) -> None:
    """It may have been started with the files of a single-homed server."""
    status.write(Network(), TIME)
    assert by_kernel(configuration) == SEEN


@pytest.mark.parametrize(
    ("kernel", "cause"),
    [
        pytest.param(KernelState((Link(WAN1, "wan1", False),), HOST.addresses), "link is down", id="no link"),
        pytest.param(KernelState((Link(WAN1, "wan1", True),), ()), "no address", id="no address"),
        pytest.param(replace(HOST, links=HOST.links[:1]), "no such interface", id="not there"),
    ],
)
def test_why_an_interface_can_not_be_used_is_told(
    configuration: Configuration, kernel: KernelState, cause: str
) -> None:
    assert by_kernel(replace(configuration, kernel=kernel))[0] == ("wan1", "wan1", Standing.DOWN, cause)


def test_without_a_status_file_the_interfaces_tell(tmp_path: Path) -> None:
    path = write_files(tmp_path, "permit ALL\n", routes="lo ALL\n", settings={"sockd": {"status": ""}})
    found = outlook(load(str(path), print))
    assert found.status is None
    assert [one.name for one in found.uplinks] == ["lo"]
