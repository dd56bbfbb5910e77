"""`sockctl`: the table of commands, the exit status, and a reader who has seen enough."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli.sockctl import COMMANDS, main


def status_of(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_the_status_is_that_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("deny ALL\n")
    (tmp_path / "bad").write_text("bogus\n")
    assert status_of("check", str(tmp_path / "good")) == 0
    assert status_of("check", str(tmp_path / "bad")) == 1


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), id="no command"),
        pytest.param(("chek",), id="an unknown command"),
        pytest.param(("che", "f"), id="half a command"),
        pytest.param(("check", "--dialect", "1993", "f"), id="an unknown dialect"),
        pytest.param(("check", "--verb", "f"), id="half an option"),
    ],
)
def test_a_command_line_that_is_not_understood_is_status_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*words) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("usage: sockctl")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--version") == 0
    assert capsys.readouterr().out == f"sockctl {__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--help") == 0
    words = capsys.readouterr().out.split()
    assert set(COMMANDS) <= set(words)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(name, "--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: sockctl {name}")


def test_a_reader_who_has_gone_causes_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("deny 10.0.0.0/8\n")
    program = "from gateway.cli.sockctl import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        words = [sys.executable, "-c", program, "convert", str(tmp_path / "f")]
        ended = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")
