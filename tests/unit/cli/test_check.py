"""`sockctl check`: exit status, where each line goes, and which files are looked at."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli import check
from gateway.config.access import parse_access
from gateway.config.route import parse_route
from gateway.config.settings import parse_settings
from gateway.netlink.kernel import KernelRefused
from gateway.netlink.model import KernelState
from tests.support.accessfiles import SERVICES
from tests.support.routefiles import unplaced
from tests.unit.daemon.hosts import HOST

Check = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, to name files without their folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.run(parser.parse_args(words))


def test_a_good_file_is_ok_and_nothing_else_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sockd.conf").write_text("permit 10.0.0.0/8 .example.com eq 80\n")
    assert run("sockd.conf") == 0
    assert capsys.readouterr() == ("configuration OK\n", "")


def test_warnings_are_shown_and_leave_the_file_ok(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sockd.conf").write_text("deny 10.0.0.0 0.255.255.255 192.0.2.0/24\n")
    assert run("sockd.conf") == 0
    output, errors = capsys.readouterr()
    assert output == "configuration OK\n"
    assert errors.startswith("sockd.conf:1:6: warning: the mask 0.255.255.255 looks inverted")


def test_a_line_that_can_never_match_is_warned_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sockd.conf").write_text("deny 10.0.0.0/8 192.0.2.0/24\ndeny 10.1.0.0/16 192.0.2.1/32\n")
    assert run("sockd.conf") == 0
    assert capsys.readouterr().err.startswith("sockd.conf:2:1: warning: this line never matches")


def test_every_mistake_of_every_file_is_shown_and_the_status_is_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.conf").write_text("grant ALL\npermit ALL example.com eq telnot\n")
    (folder / "b.conf").write_text("permit ALL example.com\n")
    assert run("a.conf", "b.conf", "c.conf") == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert [line[:40] for line in errors.splitlines()] == [
        "a.conf:1:1: a line begins with permit, a",
        "a.conf:2:27: 'telnot' is no port: a serv",
        "c.conf: cannot read: No such file or dir",
        "configuration refused; errors: 3, warnin",
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        pytest.param("permit ALL example.com rate=1M", "rate= is not enforced", id="an option that is not applied"),
        pytest.param("permit *=/nowhere/at/all ALL example.com", "(/nowhere/at/all)", id="a user file that is missing"),
        pytest.param("permit *=@no-such-group ALL example.com", "@no-such-group", id="a group that is missing"),
    ],
)
def test_what_the_daemon_refuses_to_load_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str, fault: str
) -> None:
    (folder / "sockd.conf").write_text(f"\n{line}\n")
    assert run("sockd.conf") == 1
    error = capsys.readouterr().err.splitlines()[0]
    assert error.startswith("sockd.conf:2:1: ")
    assert fault in error


def test_verbose_prints_what_was_understood_in_the_files_own_grammar(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sockd.conf").write_text("allow\t10.0.0.0/8 Example.COM eq 80 # comment\n")
    assert run("-v", "sockd.conf") == 0
    output, errors = capsys.readouterr()
    assert output == "# sockd.conf\npermit 10.0.0.0 255.0.0.0 example.com eq 80\n\nconfiguration OK\n"
    assert errors == ""


def test_masks_of_1992_are_printed_as_todays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sockd.conf").write_text("deny 10.0.0.0 0.255.255.255\n")
    assert run("-v", "--dialect", "1992", "sockd.conf") == 0
    assert "\ndeny 10.0.0.0 255.0.0.0\n" in capsys.readouterr().out


def test_settings_are_checked_with_the_files_that_they_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "gateway.toml").write_text(
        'dialect = "1992"\n[files]\naccess = "my.conf"\npasswords = "my.pw"\n[log]\njson = 1\n'
    )
    (folder / "my.conf").write_text("deny 10.0.0.0 255.0.0.0\npermit ALL example.com eq 99999\n")
    (folder / "my.pw").write_text("fred\n")
    assert run("gateway.toml") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("gateway.toml:6: log.json: expected ")
    assert lines[1].startswith("my.conf:1:6: warning: the mask 255.0.0.0 looks like a netmask")
    assert lines[2].startswith("my.conf:2:27: '99999' is no port")
    assert lines[3].startswith("my.pw:1")
    assert lines[-1] == "configuration refused; errors: 3, warnings: 1"


def test_good_settings_are_printed_in_full_with_their_rules(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "gateway.toml").write_text('[files]\naccess = "my.conf"\n')
    (folder / "my.conf").write_text("deny ALL\n")
    assert run("-v", "gateway.toml") == 0
    settings, rules = capsys.readouterr().out.removesuffix("\nconfiguration OK\n").split("# my.conf\n")
    assert parse_settings(settings, "x").files.access == "my.conf"
    assert parse_access(rules, "x", SERVICES).rules[0].source == parse_access("deny ALL", "x", SERVICES).rules[0].source


def test_settings_that_do_not_tell_their_files_are_checked_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "gateway.toml").write_text("[files]\naccess = 1\n")
    assert run("gateway.toml") == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_missing_settings_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(folder / "gateway.toml")) == 1
    assert capsys.readouterr().err.splitlines()[0] == f"{folder}/gateway.toml: cannot read: No such file or directory"


def test_a_passwords_file_that_others_may_read_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "gateway.toml").write_text('[files]\naccess = "my.conf"\npasswords = "my.pw"\n')
    (folder / "my.conf").write_text("deny ALL\n")
    (folder / "my.pw").write_text("")
    (folder / "my.pw").chmod(0o644)
    assert run("gateway.toml") == 1
    assert capsys.readouterr().err.startswith("my.pw: mode 0644 lets others read or change it")
    (folder / "my.pw").chmod(0o600)
    assert run("gateway.toml") == 0


def test_a_file_that_is_named_twice_is_reported_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sockd.conf").write_text("bogus\n")
    assert run("sockd.conf", "sockd.conf") == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_no_file_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert "FILE" in capsys.readouterr().err


# Two networks

TOML = """\
[internal]
interface = "eth1"
[external]
interface = "wan1"
[files]
access = "my.conf"
routes = "my.route"
"""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is made on a host with eth1, wan1 and wan2."""
    monkeypatch.setattr(check, "read_kernel", lambda: HOST)


def write(
    folder: Path, routes: str = "wan2 10.0.0.0/8\n", rules: str = "permit 10.0.0.0/8 ALL\n", toml: str = TOML
) -> None:
    (folder / "gateway.toml").write_text(toml)
    (folder / "my.conf").write_text(rules)
    (folder / "my.route").write_text(routes)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.usefixtures("host")
def test_good_files_of_two_networks_are_ok(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder)
    assert run("gateway.toml") == 0
    assert capsys.readouterr() == ("configuration OK\n", "")


@pytest.mark.usefixtures("host")
def test_what_is_named_and_not_there_is_warned_of_file_by_file_and_line_by_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        folder,
        "wan2 ALL\nwan9 10.0.0.0/8\n192.0.2.77 ALL\n",
        "permit 10.0.0.0/8 ALL via=wan8\npermit 10.1.0.0/16\n",
        TOML.replace('"eth1"', '"eth7"').replace('"wan1"', '["wan1", "wan6"]') + '[uplinks.slow]\ninterface = "ppp0"\n',
    )
    assert run("gateway.toml") == 0
    assert said(capsys) == [
        "gateway.toml: warning: [external] interface: there is no interface wan6 now, and no [uplinks.wan6]; "
        "what goes by it is refused until it appears",
        "gateway.toml: warning: [internal] interface: there is no interface eth7 now; nobody can connect until it "
        "appears",
        "gateway.toml: warning: [uplinks.slow]: there is no interface ppp0 now; what goes by this uplink is refused "
        "until it appears",
        "my.conf:1:1: warning: there is no interface wan8 now, and no [uplinks.wan8]; what goes by it is refused until "
        "it appears",
        "my.conf:2:1: warning: this line never matches: my.conf:1 matches everything that it does, and comes first",
        "my.route:2:1: warning: this line never matches: my.route:1 matches everything that it does, and comes first",
        "my.route:2:1: warning: there is no interface wan9 now, and no [uplinks.wan9]; what goes by it is refused "
        "until it appears",
        "my.route:3:1: warning: this line never matches: my.route:1 matches everything that it does, and comes first",
        "my.route:3:1: warning: no interface has the address 192.0.2.77 now; what goes by it is refused until one has",
    ]


@pytest.mark.usefixtures("host")
def test_files_that_are_named_twice_are_warned_of_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "wan9 ALL\nwan9 ALL\n")
    assert run("gateway.toml", "my.route", "gateway.toml") == 0
    assert len(said(capsys)) == 3


@pytest.mark.usefixtures("host")
def test_uplink_tables_of_a_single_homed_server_are_no_matter(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, toml='[files]\naccess = "my.conf"\n[uplinks.slow]\ninterface = "ppp0"\n')
    assert run("gateway.toml") == 0
    assert said(capsys) == []


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("routes", "rules", "expected"),
    [
        pytest.param(
            "wan1\nwan9 ALL\n",
            "permit 10.0.0.0/8 ALL via=wan8\n",
            ["my.conf:1:1: warning: there is no interface wan8", "my.route:1:5: "],
            id="broken routes, and what a good rule names",
        ),
        pytest.param(
            "wan9 ALL\n",
            "permitt ALL\n",
            ["my.conf:1:1: a line begins", "my.route:1:1: warning: there is no interface wan9"],
            id="broken rules, and what a good route names",
        ),
        pytest.param("wan1\n", "permitt ALL\n", ["my.conf:1:1: ", "my.route:1:5: "], id="both broken"),
    ],
)
def test_what_is_good_is_looked_at_beside_what_is_broken(
    folder: Path, capsys: pytest.CaptureFixture[str], routes: str, rules: str, expected: list[str]
) -> None:
    write(folder, routes, rules)
    assert run("gateway.toml") == 1
    *lines, last = said(capsys)
    assert len(lines) == len(expected), lines
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True)), lines
    assert last.startswith("configuration refused; errors: ")


@pytest.mark.usefixtures("host")
def test_broken_settings_do_not_hide_what_is_wrong_in_the_routes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "wan1 10.0.0.0/33\n", toml=TOML + "[timeouts]\nidel = 1\n")
    assert run("gateway.toml") == 1
    assert [line.split(":")[0] for line in said(capsys)] == [
        "gateway.toml",
        "my.route",
        "configuration refused; errors",
    ]


def test_a_host_that_does_not_tell_its_interfaces_is_no_hindrance(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> KernelState:
        raise KernelRefused("no netlink here")

    monkeypatch.setattr(check, "read_kernel", refuse)
    write(folder, "wan9 ALL\nwan9 ALL\n")
    assert run("gateway.toml") == 0
    assert len(said(capsys)) == 1


@pytest.mark.usefixtures("host")
def test_via_needs_a_second_network_where_the_settings_tell(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, rules="permit 10.0.0.0/8 ALL via=wan1\n", toml='[files]\naccess = "my.conf"\n')
    assert run("gateway.toml") == 1
    assert said(capsys)[0].startswith("my.conf:1:1: via= has no effect on a single-homed server")
    assert run("my.conf") == 0, "a file that is given alone may be for another server"


@pytest.mark.usefixtures("host")
def test_a_route_file_that_is_missing_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder)
    (folder / "my.route").unlink()
    assert run("gateway.toml") == 1
    assert said(capsys)[0] == "my.route: cannot read: No such file or directory"


def test_a_route_file_may_be_checked_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.route").write_text("wan9 ALL\nwan1 10.0.0.0/8\n")
    assert run("a.route") == 0
    assert said(capsys) == [
        "a.route:2:1: warning: this line never matches: a.route:1 matches everything that it does, and comes first"
    ]
    (folder / "a.route").write_text("wan9\nwan1 *=@no-such-group,/no/such/file 10.0.0.0/8\n")
    assert run("a.route") == 1
    assert said(capsys)[0].startswith("a.route:1:5: ")


def test_users_of_a_route_file_that_nobody_knows_are_errors_beside_its_warnings(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.route").write_text("wan1 ALL\nwan1 *=@no-such-group,/no/such/file 10.0.0.0/8\n")
    assert run("a.route") == 1
    assert [line.partition(": ")[2][:30] for line in said(capsys)] == [
        "warning: this line never match",
        "unknown group @no-such-group",
        "Unable to open userfile (/no/s",
        "2, warnings: 1",
    ]


def test_a_route_file_is_read_in_the_dialect_that_is_given(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.route").write_text("192.0.2.10 10.0.0.0 0.255.255.255\n")
    assert run("-v", "--dialect", "1992", "a.route") == 0
    assert "\n192.0.2.10 10.0.0.0 255.0.0.0\n" in capsys.readouterr().out


@pytest.mark.usefixtures("host")
def test_everything_that_is_printed_says_the_same_when_it_is_read_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    routes = "wan1,192.0.2.10 *=fred 10.0.0.0 255.0.0.0 # why\nwan2\t.Example.com\nwan2,wan1 2001:db8::/32\nwan1 ALL\n"
    write(folder, routes, "permit 10.0.0.0/8 ALL via=wan2,wan1\n")
    assert run("-v", "gateway.toml") == 0
    output = capsys.readouterr().out.removesuffix("configuration OK\n")
    settings, rest = output.split("# my.conf\n")
    rules, printed = rest.split("# my.route\n")
    assert parse_settings(settings, "gateway.toml").external.interface == ("wan1",)
    assert parse_access(rules, "my.conf", SERVICES).rules[0].options.via == ("wan2", "wan1")
    assert unplaced(parse_route(printed, "my.route")) == unplaced(parse_route(routes, "my.route"))
