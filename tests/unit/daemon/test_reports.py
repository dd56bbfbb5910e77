"""How processes are described: by what the kernel says of real ones."""

import os
import subprocess

import pytest

from gateway.control.protocol import ServerRow, UplinkRow, ZoneRow
from gateway.daemon.reports import confinement_troubles, process_row, server_troubles, uplink_rows, zone_rows
from gateway.policy.egress import Standing, Uplink
from gateway.system.sandbox import Confinement
from tests.support.rules import address

CONFINED = Confinement(seccomp="on", landlock="ABI 5")
LOOSE = Confinement(seccomp="off: no library", landlock="off: no such call")


def test_a_process_is_described_by_the_kernel() -> None:
    row = process_row("gateway", os.getpid(), LOOSE, restarts=2, sessions=3)
    assert (row.name, row.pid, row.user, row.restarts, row.sessions) == ("gateway", os.getpid(), os.getuid(), 2, 3)
    assert row.groups == tuple(os.getgroups())
    assert row.landlock == "off: no such call"


def test_without_a_filter_in_the_kernel_the_process_own_word_is_the_reason() -> None:
    assert process_row("x", os.getpid(), LOOSE).seccomp == "off: no library"
    assert process_row("x", os.getpid(), None).seccomp == "unknown"
    assert process_row("x", os.getpid(), None).landlock == "unknown"


def test_one_that_does_not_run_has_no_number_and_no_rights() -> None:
    for pid in (0, gone()):
        row = process_row("worker 1", pid, CONFINED, restarts=1)
        assert (row.pid, row.capabilities, row.groups, row.restarts) == (0, (), (), 1)


def gone() -> int:
    """The number of a process that was there."""
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


def test_uplinks_are_shown_as_they_stand() -> None:
    ways = (
        Uplink("one", "wan1", Standing.UP, "the probe answers", (address("192.0.2.1"), address("2001:db8::1"))),
        Uplink("two", "wan2", Standing.DOWN, "there is no link"),
    )
    assert uplink_rows(ways) == (
        UplinkRow("one", "wan1", "up", ("192.0.2.1", "2001:db8::1"), "the probe answers"),
        UplinkRow("two", "wan2", "down", (), "there is no link"),
    )
    assert uplink_rows(()) == ()


UP = ServerRow("10.0.0.53", "up", "", 1.5, 10, 1, "eth1")
DOWN = ServerRow("10.0.0.53", "down", "timed out", None, 5, 3, "eth1")
OTHER = ServerRow("10.0.0.54", "up", "", 2.5, 1, 0, "eth1")


def zone(*servers: ServerRow, name: str = "corp.example", views: tuple[int, ...] = (0,), entries: int = 1) -> ZoneRow:
    return ZoneRow(name, views, True, servers, entries, 10 * entries, 5 * entries)


def test_zones_are_the_sums_of_all_resolvers() -> None:
    rows = zone_rows([(zone(UP, OTHER, entries=1), zone(name=".")), (zone(UP, OTHER, entries=2),)])
    assert [(row.zone, row.entries, row.queries, row.hits) for row in rows] == [
        ("corp.example", 3, 30, 15),
        (".", 1, 10, 5),
    ]
    assert [(one.server, one.queries, one.failures) for one in rows[0].servers] == [
        ("10.0.0.53", 20, 2),
        ("10.0.0.54", 2, 0),
    ]


@pytest.mark.parametrize("found", [[(zone(UP),), (zone(DOWN),)], [(zone(DOWN),), (zone(UP),)]])
def test_a_server_that_is_down_for_one_resolver_is_down(found: list[tuple[ZoneRow, ...]]) -> None:
    ((row,),) = [one.servers for one in zone_rows(found)]
    assert (row.state, row.why, row.queries, row.failures) == ("down", "timed out", 15, 4)


def test_zones_of_one_name_are_told_apart_by_their_views() -> None:
    rows = zone_rows([(zone(UP), zone(OTHER, views=(1,)))])
    assert [(row.views, row.servers) for row in rows] == [((0,), (UP,)), ((1,), (OTHER,))]


def test_a_resolver_that_has_other_servers_already_is_shown_with_them() -> None:
    """A reload reaches one of them first."""
    (row,) = zone_rows([(zone(UP),), (zone(OTHER),)])
    assert row.servers == (UP, OTHER)


def test_servers_that_are_down_are_a_trouble() -> None:
    rows = (zone(UP, OTHER), zone(DOWN, OTHER, name="."))
    assert list(server_troubles(rows)) == ["zone .: name server 10.0.0.53 is down: timed out"]
    assert list(server_troubles(rows[:1])) == []


def test_without_resolvers_there_are_no_zones() -> None:
    assert zone_rows([]) == zone_rows([(), ()]) == ()


@pytest.mark.parametrize(
    ("confinement", "lines"),
    [
        pytest.param(None, [], id="not known yet"),
        pytest.param(CONFINED, [], id="all in force"),
        pytest.param(Confinement("on", LOOSE.landlock), ["this host: landlock is off: no such call"], id="half of it"),
        pytest.param(
            LOOSE,
            ["this host: seccomp is off: no library", "this host: landlock is off: no such call"],
            id="nothing",
        ),
    ],
)
def test_what_the_kernel_lacks_is_a_trouble(confinement: Confinement | None, lines: list[str]) -> None:
    assert list(confinement_troubles("this host", confinement)) == lines
