"""``sockctl top`` as a command: its options, its exit status, and the plain text where there is no terminal."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import top
from gateway.cli.daemon import DONE, REFUSED, UNUSABLE
from gateway.control.protocol import MAX_ROWS, Filter, Sessions
from tests.support.fakesockd import FakeSockd, fake_sockd, live


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeSockd]:
    with fake_sockd(tmp_path, live(1, user="wilma", seconds=500.0), live(2), live(3)) as made:
        yield made


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    top.add_arguments(parser)
    return top.run(parser.parse_args(words))


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    output, errors = capsys.readouterr()
    assert errors == ""
    return output.splitlines()


def test_no_terminal_gets_plain_text(fake: FakeSockd, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-s", fake.path, "-n", "1") == DONE
    found = lines(capsys)
    assert found[0].startswith("sockd 0.9.0  up ")
    assert [line.split()[0] for line in found[5:]] == ["6920f1a3-1-3", "6920f1a3-1-2", "6920f1a3-1-1"]
    assert fake.lists == [Sessions(sort="bytes", limit=MAX_ROWS)], "plain text has room for all"


def test_the_order_and_the_filter_of_the_start(fake: FakeSockd, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-s", fake.path, "-n", "1", "--batch", "--sort", "age", "--to", "www.example.com:443") == DONE
    assert [line.split()[0] for line in lines(capsys)[5:]] == ["6920f1a3-1-1", "6920f1a3-1-3", "6920f1a3-1-2"]
    assert fake.lists == [Sessions(filter=Filter(destination="www.example.com:443"), sort="age", limit=MAX_ROWS)]


@pytest.mark.parametrize(("columns", "longest"), [("200", 200), ("80", 80)])
def test_the_width_of_plain_text(
    fake: FakeSockd,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
    longest: int,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert run("-s", fake.path, "-n", "1") == DONE
    found = lines(capsys)
    assert ("STATE" in found[4]) is (longest == 200)
    assert all(len(line) <= longest for line in found)


def test_no_daemon_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-s", str(tmp_path / "none.sock")) == REFUSED
    assert capsys.readouterr().err == (
        f"sockctl top: no sockd answers on {tmp_path}/none.sock: No such file or directory; is it running?\n"
    )


def test_a_filter_that_the_daemon_refuses_is_one_line(fake: FakeSockd, capsys: pytest.CaptureFixture[str]) -> None:
    fake.refusal = "source 10.0.0.0/33: no prefix"
    assert run("-s", fake.path, "--from", "10.0.0.0/33") == REFUSED
    assert capsys.readouterr().err == "sockctl top: source 10.0.0.0/33: no prefix\n"


def test_settings_that_name_no_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-f", str(tmp_path / "none.toml")) == UNUSABLE
    assert "none.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("-d", "0.09"), ("-d", "3601"), ("-d", "soon"), ("-d", "nan"), ("-n", "0"), ("-n", "1.5"), ("--sort", "size"),
        ("user=fred",),
    ],
)  # fmt: skip
def test_a_command_line_that_is_not_understood(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0.1", "3600"])
def test_both_ends_of_the_interval(fake: FakeSockd, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-s", fake.path, "-n", "1", "-d", seconds) == DONE
    assert lines(capsys)


def test_ctrl_c_is_the_usual_end(fake: FakeSockd, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(top, "print_looks", interrupted)
    assert run("-s", fake.path) == DONE
