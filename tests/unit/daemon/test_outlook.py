"""What a command knows of a daemon: its own configuration once more, and the uplinks by the interfaces alone."""

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from gateway.control.protocol import Configured, ControlError
from gateway.daemon.configuration import Configuration, load
from gateway.daemon.messages import Network
from gateway.daemon.outlook import by_kernel, changed_files, network_of_daemon, running
from gateway.netlink.model import KernelState, Link
from gateway.policy.egress import Standing, Uplink
from tests.support.daemon import write_files
from tests.unit.daemon.hosts import HOST, WAN1, addresses

BY_PROBE = Uplink("wan1", "wan1", Standing.DOWN, "no answer to its probes: timed out", addresses("192.0.2.10"))
NETWORK = Network((BY_PROBE,), addresses("192.0.2.10"))


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """Two uplinks by sockd.route, on a host that has both and more."""
    path = write_files(tmp_path, "permit ALL ALL via=wan2\n", routes="wan1 10.0.0.0/8\nwan9 ALL\n")
    return replace(load(str(path), print), kernel=HOST)


@pytest.fixture
def told(configuration: Configuration) -> Configured:
    """What the daemon tells that has it."""
    texts = configuration.texts
    return Configured(texts.path, "ab" * 32, "2026-01-02T03:04:05Z", texts.files, msgspec.to_builtins(NETWORK))


# The daemon's own


def test_the_rules_and_the_uplinks_are_the_daemons(told: Configured) -> None:
    found = running(told, print)
    assert found.router is not None
    assert found.router.uplinks == (BY_PROBE,)
    assert found.policy.guard.own == frozenset(addresses("192.0.2.10"))
    assert [rule.label for rule in found.access.rules] == ["sockd.conf:1"]
    assert network_of_daemon(told) == NETWORK


def test_files_that_are_gone_do_not_matter(told: Configured) -> None:
    for path in told.files:
        os.unlink(path)
    assert running(told, print).router is not None


def test_a_single_homed_daemon_has_no_router(tmp_path: Path) -> None:
    texts = load(str(write_files(tmp_path, "permit ALL\n")), print).texts
    told = Configured(texts.path, "", "", texts.files, msgspec.to_builtins(Network()))
    assert running(told, print).router is None


@pytest.mark.parametrize("missing", ["gateway.toml", "sockd.conf", "sockd.route"])
def test_an_answer_that_lacks_a_file_is_no_answer(told: Configured, missing: str) -> None:
    files = {path: text for path, text in told.files.items() if not path.endswith(missing)}
    with pytest.raises(ControlError, match=f"lacks the text of .*{missing}"):
        running(msgspec.structs.replace(told, files=files), print)


def test_networks_that_are_none_are_no_answer(told: Configured) -> None:
    with pytest.raises(ControlError, match="not understood"):
        running(msgspec.structs.replace(told, network={"uplinks": [{}]}), print)


# Files that change


def test_files_that_are_the_same_are_not_told(told: Configured) -> None:
    assert changed_files(told) == ()


def test_a_file_that_is_another_or_gone_is_told(told: Configured, tmp_path: Path) -> None:
    (tmp_path / "sockd.route").unlink()
    (tmp_path / "sockd.conf").write_text("permit ALL ALL via=wan2\n\n")
    assert set(changed_files(told)) == {str(tmp_path / "sockd.conf"), str(tmp_path / "sockd.route")}


def test_a_file_that_can_not_be_read_is_not_told(told: Configured, tmp_path: Path) -> None:
    (tmp_path / "sockd.conf").unlink()
    (tmp_path / "sockd.conf").mkdir()
    assert changed_files(told) == ()


# The interfaces


def seen(configuration: Configuration) -> list[tuple[str, str, Standing, str]]:
    return [(uplink.name, uplink.device, uplink.standing, uplink.cause) for uplink in by_kernel(configuration)]


def test_without_a_daemon_the_interfaces_tell(configuration: Configuration) -> None:
    assert seen(configuration) == [
        ("wan1", "wan1", Standing.UP, "link is up"),
        ("wan9", "wan9", Standing.DOWN, "no such interface"),
        ("wan2", "wan2", Standing.UP, "link is up"),
    ]
    assert by_kernel(configuration)[0].sources == addresses("192.0.2.10", "2001:db8:1::10")


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
    assert seen(replace(configuration, kernel=kernel))[0] == ("wan1", "wan1", Standing.DOWN, cause)
