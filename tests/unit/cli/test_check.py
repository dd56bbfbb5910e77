"""`sockctl check`: exit status, where each line goes, and which files are looked at."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli import check
from gateway.config.access import parse_access
from gateway.config.settings import parse_settings
from tests.support.accessfiles import SERVICES

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
