"""``sockctl routes``: what it prints of uplinks and lines, by the daemon that runs or by the interfaces alone."""

import argparse
import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import routes
from gateway.daemon import host as daemon_host
from gateway.daemon.messages import Network
from gateway.netlink.kernel import KernelRefused
from gateway.netlink.model import KernelState
from gateway.policy.egress import Standing, Uplink
from tests.support.daemon import Toml, write_files
from tests.unit.cli.fakecontrol import HASH, LOADED, FakeControl, daemon_of, done
from tests.unit.daemon.hosts import HOST, addresses

LINES = """\
# who goes where
wan2          *=ops,@root  ALL
wan1,wan2     10.0.0.0/8
wan2,wan1     2001:db8::/32
198.51.100.10 .example.com
wan9          192.0.2.0/24
"""
WAN1_DOWN = Uplink("wan1", "wan1", Standing.DOWN, "no answer to its probes: timed out", addresses("192.0.2.10"))
WAN2 = Uplink("wan2", "wan2", Standing.UP, "link is up", addresses("198.51.100.10"))


class Desk:
    """The command, with files and interfaces of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.kernel = HOST
        monkeypatch.setattr(daemon_host, "read_kernel", lambda: self.kernel)

    def write(self, lines: str | None = LINES, rules: str = "permit ALL ALL\n", **settings: Any) -> None:
        """The files."""
        wanted: Toml = settings
        write_files(self.folder, rules, routes=lines, settings=wanted)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Status, output, errors."""
        parser = argparse.ArgumentParser()
        routes.add_arguments(parser)
        which = () if "-s" in words else ("-f", str(self.folder / "gateway.toml"))
        status = routes.run(parser.parse_args([*which, *words]))
        return status, *self._capsys.readouterr()

    def daemon(self, *uplinks: Uplink) -> contextlib.AbstractContextManager[FakeControl]:
        """One that has loaded the files, and knows of these uplinks."""
        return daemon_of(self.folder / "gateway.toml", Network(uplinks))

    def text(self, *words: str) -> list[str]:
        """The lines of its output, when all is well; blanks in a row as one."""
        status, output, errors = self.run(*words)
        assert (status, errors) == (0, "")
        assert all(line == line.rstrip() for line in output.splitlines())
        return [" ".join(line.split()) for line in output.splitlines()]

    def json(self, *words: str) -> Any:
        """The object that it prints, when all is well."""
        status, output, errors = self.run("--json", *words)
        assert (status, errors) == (0, "")
        return json.loads(output)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


def no_sockd(desk: Desk) -> str:
    return f"no sockd answers on {desk.folder}/control.sock: No such file or directory; is it running?"


def test_everything_there_is_to_say(desk: Desk) -> None:
    desk.write(external={"interface": ["wan1"]})
    assert desk.text() == [
        f"the files as they are now, the uplinks as the kernel's interfaces are; {no_sockd(desk)}",
        "",
        "UPLINK INTERFACE STATE ADDRESSES WHY",
        "wan1 wan1 up 192.0.2.10 2001:db8:1::10 link is up",
        "wan2 wan2 up 198.51.100.10 link is up",
        "wan9 wan9 down - no such interface",
        "",
        "LINE WAYS OUT DESTINATION NOW",
        "sockd.route:2 wan2 ALL for ops,@root IPv4: wan2 from 198.51.100.10",
        "sockd.route:2 wan2 ALL for ops,@root IPv6: refused: no usable way out by sockd.route:2: "
        "wan2 has no IPv6 address",
        "sockd.route:3 wan1,wan2 10.0.0.0/8 wan1 from 192.0.2.10",
        "sockd.route:4 wan2,wan1 2001:db8::/32 wan1 from 2001:db8:1::10, because wan2 has no IPv6 address",
        "sockd.route:5 198.51.100.10 .example.com IPv4: wan2 from 198.51.100.10",
        "sockd.route:5 198.51.100.10 .example.com IPv6: refused: no usable way out by sockd.route:5: "
        "198.51.100.10 is no IPv6 address",
        "sockd.route:6 wan9 192.0.2.0/24 refused: no usable way out by sockd.route:6: wan9 is down: no such interface",
        "[external] wan1 everything else IPv4: wan1 from 192.0.2.10",
        "[external] wan1 everything else IPv6: wan1 from 2001:db8:1::10",
    ]


def test_columns_stand_below_one_another(desk: Desk) -> None:
    desk.write()
    _, output, _ = desk.run()
    rows = output.splitlines()[2:6]
    for heading in ("INTERFACE", "STATE", "ADDRESSES", "WHY"):
        column = rows[0].index(heading)
        assert all(row[column - 1] == " " and row[column] != " " for row in rows[1:])


def test_the_same_as_json(desk: Desk) -> None:
    desk.write("wan1,wan2 *=ops 10.0.0.0/8\nwan2 ALL\n", external={"interface": "wan1"})
    found = desk.json()
    assert found["multihomed"] is True
    assert found["from"] == {
        "rules": "files",
        "uplinks": "kernel",
        "configuration": None,
        "loaded": None,
        "changed": [],
    }
    assert found["uplinks"][0] == {
        "name": "wan1",
        "interface": "wan1",
        "state": "up",
        "addresses": ["192.0.2.10", "2001:db8:1::10"],
        "why": "link is up",
    }
    by_user, by_line, default = found["routes"]
    assert by_user == {
        "line": "sockd.route:1",
        "ways_out": ["wan1", "wan2"],
        "destination": "10.0.0.0/8",
        "users": ["ops"],
        "now": {"ipv4": {"uplink": "wan1", "source": "192.0.2.10", "reason": "wan1 by sockd.route:1"}},
    }
    assert by_line["users"] == []
    assert by_line["now"]["ipv6"] == {
        "uplink": None,
        "source": None,
        "reason": "no usable way out by sockd.route:2: wan2 has no IPv6 address",
    }
    assert (default["line"], default["destination"], default["users"]) == ("[external]", None, [])
    assert set(default["now"]) == {"ipv4", "ipv6"}


def test_users_are_shown_as_they_are_written(desk: Desk) -> None:
    users = desk.folder / "users"
    users.write_text("fred\n")
    desk.write(f"wan1 *=julie,@root,{users} ALL\n")
    assert desk.json()["routes"][0]["users"] == ["julie", "@root", str(users)]
    assert any(f"ALL for julie,@root,{users}" in line for line in desk.text())


@pytest.mark.parametrize(
    ("destination", "families"),
    [
        pytest.param("10.0.0.0/8", {"ipv4"}, id="IPv4"),
        pytest.param("2001:db8::/32", {"ipv6"}, id="IPv6"),
        pytest.param("::ffff:10.0.0.0/104", {"ipv4"}, id="IPv4 within IPv6, which is IPv4"),
        pytest.param("::/0", {"ipv6"}, id="all of IPv6"),
        pytest.param("0.0.0.0 0.0.0.0", {"ipv4"}, id="all of IPv4"),
        pytest.param("ALL", {"ipv4", "ipv6"}, id="everything"),
        pytest.param(".example.com", {"ipv4", "ipv6"}, id="a name"),
    ],
)
def test_a_line_is_answered_for_the_families_that_it_is_for(desk: Desk, destination: str, families: set[str]) -> None:
    desk.write(f"wan1 {destination}\n")
    assert set(desk.json()["routes"][0]["now"]) == families


def test_without_a_default_the_rest_is_refused_and_that_is_said(desk: Desk) -> None:
    desk.write("wan1 10.0.0.0/8\n")
    assert desk.text()[-1] == "what no line is for is refused: there is no [external] interface"
    assert [route["line"] for route in desk.json()["routes"]] == ["sockd.route:1"]


def test_a_default_alone_needs_no_file(desk: Desk) -> None:
    desk.write(None, external={"interface": "wan2"})
    assert desk.text()[-2:] == [
        "[external] wan2 everything else IPv4: wan2 from 198.51.100.10",
        "[external] wan2 everything else IPv6: refused: no usable way out by [external]: wan2 has no IPv6 address",
    ]


def test_an_address_that_no_interface_has_is_nobodys(desk: Desk) -> None:
    desk.write("192.0.2.77 ALL\n")
    desk.kernel = replace(HOST, addresses=())
    text = desk.text()
    assert text[2:4] == ["UPLINK INTERFACE STATE ADDRESSES WHY", ""]
    assert text[5].endswith("refused: no usable way out by sockd.route:1: no interface has the address 192.0.2.77")


def test_uplinks_that_only_a_rule_or_a_table_names_are_shown(desk: Desk) -> None:
    desk.write("wan1 ALL\n", "permit ALL ALL via=eth1\n", **{"uplinks.slow": {"interface": "wan2"}})
    shown = [(uplink["name"], uplink["interface"]) for uplink in desk.json()["uplinks"]]
    assert shown == [("slow", "wan2"), ("wan1", "wan1"), ("eth1", "eth1")]


def test_a_single_homed_server_leaves_it_to_the_kernel(desk: Desk) -> None:
    desk.write(None)
    assert desk.text() == [
        f"the files as they are now; {no_sockd(desk)}",
        "single-homed: the kernel's own routes decide",
    ]
    assert desk.json() == {"multihomed": False}


# The daemon


def test_what_the_running_daemon_knows_counts_with_its_probes(desk: Desk) -> None:
    desk.write("wan1,wan2 10.0.0.0/8\n")
    with desk.daemon(WAN1_DOWN, WAN2):
        text = desk.text()
        found = desk.json()
    path = desk.folder / "gateway.toml"
    assert text[0] == f"as the running sockd has it: configuration 0123456789ab by {path}, loaded {LOADED}"
    assert text[3] == "wan1 wan1 down 192.0.2.10 no answer to its probes: timed out"
    because = "because wan1 is down: no answer to its probes: timed out"
    assert text[7] == f"sockd.route:1 wan1,wan2 10.0.0.0/8 wan2 from 198.51.100.10, {because}"
    assert found["from"] == {
        "rules": "sockd",
        "uplinks": "sockd",
        "configuration": HASH,
        "loaded": LOADED,
        "changed": [],
    }
    assert found["routes"][0]["now"]["ipv4"]["uplink"] == "wan2"


def test_the_lines_are_those_that_the_daemon_has_and_a_change_is_told(desk: Desk) -> None:
    desk.write("wan1,wan2 10.0.0.0/8\n")
    with desk.daemon(WAN1_DOWN, WAN2):
        desk.write("wan2 203.0.113.0/24\n")
        text, found = desk.text(), desk.json()
        by_files = desk.text("--files")
    changed = f"{desk.folder}/sockd.route"
    assert text[1] == f"the files have changed since they were loaded; `sockctl reload` loads them: {changed}"
    assert text[8].startswith("sockd.route:1 wan1,wan2 10.0.0.0/8 ")
    assert found["from"]["changed"] == [changed]
    assert by_files[0] == "the files as they are now, the uplinks as sockd knows them"
    assert by_files[7] == "sockd.route:1 wan2 203.0.113.0/24 wan2 from 198.51.100.10"


def test_files_that_are_wrong_by_now_do_not_matter_to_a_daemon(desk: Desk) -> None:
    desk.write("wan1,wan2 10.0.0.0/8\n")
    with desk.daemon(WAN1_DOWN, WAN2):
        (desk.folder / "sockd.route").write_text("bogus\n")
        assert desk.run()[0] == 0
        assert desk.run("--files")[0] == 1


def test_an_uplink_that_settles_is_used_where_nothing_better_is(desk: Desk) -> None:
    desk.write("wan1,wan2 10.0.0.0/8\nwan1 ALL\n")
    settling = replace(WAN1_DOWN, standing=Standing.SETTLING, cause="link is up")
    with desk.daemon(settling, WAN2):
        text = desk.text()
    assert text[3] == "wan1 wan1 settling 192.0.2.10 link is up"
    assert text[7].endswith("wan2 from 198.51.100.10, because wan1 is settling: link is up")
    assert text[8].endswith("IPv4: wan1 from 192.0.2.10")


def test_a_daemon_that_has_ended_is_not_asked(desk: Desk) -> None:
    desk.write("wan1 10.0.0.0/8\n")
    with desk.daemon(WAN1_DOWN, WAN2):
        pass
    assert desk.text()[0].startswith("the files as they are now, the uplinks as the kernel's interfaces are; ")
    assert desk.json()["from"]["uplinks"] == "kernel"
    assert desk.json()["uplinks"][0]["state"] == "up"


def test_a_daemon_with_other_files_that_knows_of_no_uplink_leaves_it_to_the_interfaces(desk: Desk) -> None:
    desk.write(None)
    with desk.daemon():
        assert desk.text()[1] == "single-homed: the kernel's own routes decide"
        desk.write("wan1 10.0.0.0/8\n")
        text = desk.text("--files")
    assert text[0] == "the files as they are now, the uplinks as the kernel's interfaces are"
    assert text[3].startswith("wan1 wan1 up ")


def test_a_socket_that_is_named_must_answer(desk: Desk) -> None:
    desk.write()
    assert desk.run("-s", f"{desk.folder}/control.sock") == (1, "", f"sockctl routes: {no_sockd(desk)}\n")


def test_a_socket_has_no_files(desk: Desk) -> None:
    assert desk.run("-s", "/x", "--files") == (2, "", "sockctl routes: --files and -s contradict each other\n")


def test_an_answer_that_is_not_understood_is_said_and_the_files_are_taken(desk: Desk) -> None:
    desk.write("wan1 10.0.0.0/8\n")
    with FakeControl(desk.folder / "control.sock", lambda _: [done({"path": 1})]):
        text = desk.text()
    assert "the answer is not understood" in text[0]
    assert text[6].startswith("sockd.route:1 wan1 10.0.0.0/8 ")


# What is wrong


def test_mistakes_of_all_files_are_told_and_nothing_else(desk: Desk) -> None:
    desk.write("wan1\nwan1 10.0.0.0/33\n", "permitt ALL\n")
    status, output, errors = desk.run()
    assert (status, output) == (1, "")
    assert [line.split(":")[0].rpartition("/")[2] for line in errors.splitlines()][:2] == ["sockd.conf", "sockd.route"]


def test_a_kernel_that_does_not_answer_is_one_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> KernelState:
        raise KernelRefused("cannot open a netlink socket: Operation not permitted")

    desk.write()
    monkeypatch.setattr(daemon_host, "read_kernel", refuse)
    assert desk.run() == (1, "", "sockctl routes: cannot open a netlink socket: Operation not permitted\n")


def test_settings_that_are_missing_are_one_line(desk: Desk) -> None:
    assert desk.run() == (1, "", f"{desk.folder}/gateway.toml: cannot read: No such file or directory\n")
