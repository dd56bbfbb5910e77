"""What the commands share that ask a daemon: which one is meant, one line for each mistake, numbers and tables."""

import argparse
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import daemon, status
from gateway.cli.daemon import amount, columns, counted, destination, span, visible
from gateway.config.settings import ControlSettings
from gateway.control.protocol import ControlError, Request
from gateway.errors import ConfigError
from tests.unit.cli.fakecontrol import FakeControl, done, report, run


def path_of(*words: str) -> str:
    parser = argparse.ArgumentParser()
    daemon.add_socket(parser)
    return daemon.socket_path(parser.parse_args(words))


# Which daemon


def test_a_socket_that_is_named_is_taken() -> None:
    assert path_of("-s", "/x/y") == "/x/y"


def test_settings_name_the_socket_from_their_own_folder(tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text('[control]\nsocket = "c.sock"\n')
    assert path_of("-f", str(tmp_path / "g.toml")) == str(tmp_path / "c.sock")


def test_a_mistake_elsewhere_in_the_settings_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text('[internal]\nport = "many"\n[control]\nsocket = "/c.sock"\n')
    assert path_of("-f", str(tmp_path / "g.toml")) == "/c.sock"


def test_settings_that_are_no_toml_can_not_tell(tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text("[control\n")
    with pytest.raises(ConfigError, match=r"g\.toml:1"):
        path_of("-f", str(tmp_path / "g.toml"))


def test_settings_without_a_socket_are_said_to_have_none(tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text('[control]\nsocket = ""\n')
    with pytest.raises(ControlError, match=r"g\.toml: \[control\] socket is empty"):
        path_of("-f", str(tmp_path / "g.toml"))


def test_settings_that_are_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        path_of("-f", str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, ControlSettings().socket, id="there are none"),
        pytest.param("[control\n", ControlSettings().socket, id="they are not understood"),
        pytest.param('[control]\nsocket = "/c.sock"\n', "/c.sock", id="they name one"),
    ],
)
def test_without_an_option_the_usual_settings_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, expected: str
) -> None:
    monkeypatch.setattr(daemon, "SETTINGS_PATH", str(tmp_path / "g.toml"))
    if text is not None:
        (tmp_path / "g.toml").write_text(text)
    assert path_of() == expected


def test_both_options_are_refused() -> None:
    with pytest.raises(SystemExit) as ended:
        path_of("-s", "/x", "-f", "/y")
    assert ended.value.code == 2


# What goes wrong


def test_no_daemon_is_one_line_and_status_1(tmp_path: Path, capsys: Any) -> None:
    ran = run(status, capsys, "-s", str(tmp_path / "c.sock"))
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors.startswith(f"sockctl status: no sockd answers on {tmp_path}/c.sock: ")
    assert ran.errors.count("\n") == 1


def test_settings_that_can_not_be_read_are_status_2(tmp_path: Path, capsys: Any) -> None:
    ran = run(status, capsys, "-f", str(tmp_path / "g.toml"))
    assert (ran.status, ran.output) == (2, "")
    assert ran.errors == f"{tmp_path}/g.toml: cannot read: No such file or directory\n"


def test_settings_without_a_socket_are_status_2(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "g.toml").write_text('[control]\nsocket = ""\n')
    ran = run(status, capsys, "-f", str(tmp_path / "g.toml"))
    assert (ran.status, ran.errors.count("\n")) == (2, 1)
    assert ran.errors.startswith("sockctl status: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody whom the socket refuses")
def test_who_may_not_ask_is_told_so(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o600)
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(0o755)
        os.seteuid(65534)
        try:
            ran = run(status, capsys, "-s", str(path))
        finally:
            os.seteuid(0)
    assert (ran.status, ran.output, ran.errors.count("\n")) == (1, "", 1)
    assert "only root" in ran.errors


BROKEN = {
    "it ends in the middle of a line": b'{"v": 1, "do',
    "it answers nothing": b"",
    "it speaks another version": b'{"v": 2, "done": {}}\n',
    "it speaks no JSON": b"HTTP/1.1 400 Bad Request\r\n",
    "it answers something else": b'{"v": 1, "done": {"killed": 1}}\n',
    "it refuses": b'{"v": 1, "error": "only root and group wheel may ask"}\n',
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_whatever_a_daemon_answers_is_at_worst_one_line(answer: bytes, tmp_path: Path, capsys: Any) -> None:
    def script(_: Request) -> Iterable[bytes]:
        yield answer

    with FakeControl(tmp_path / "c.sock", script):
        ran = run(status, capsys, "-s", str(tmp_path / "c.sock"))
    assert (ran.status, ran.output, ran.errors.count("\n")) == (1, "", 1)
    assert ran.errors.startswith("sockctl status: ")


def test_settings_lead_to_the_daemon(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "g.toml").write_text('[control]\nsocket = "c.sock"\n')
    with FakeControl(tmp_path / "c.sock", lambda _: [done(report())]):
        assert run(status, capsys, "-f", str(tmp_path / "g.toml")).status == 0


# How things look


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0"), (1023, "1023"), (1024, "1.0K"), (1536, "1.5K"), (10188, "9.9K"), (10240, "10K"), (1 << 20, "1.0M"),
        ((1 << 20) - 1, "1.0M"), (20 << 20, "20M"), (1 << 30, "1.0G"), (1 << 40, "1.0T"), (1 << 50, "1.0P"),
        (5000 << 50, "5000P"), (12.4, "12"),
    ],
)  # fmt: skip
def test_amounts(octets: float, text: str) -> None:
    assert amount(octets) == text


@given(st.integers(0, 1 << 59))
def test_an_amount_is_short_and_near(octets: int) -> None:
    text = amount(octets)
    assert len(text) <= 5
    unit = text[-1] if text[-1].isalpha() else ""
    value = float(text.removesuffix(unit)) * 1024 ** ["", "K", "M", "G", "T", "P"].index(unit)
    assert abs(value - octets) <= max(octets * 0.06, 0.5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m00s"), (185, "3m05s"), (3599, "59m59s"), (3600, "1h00m"), (86399, "23h59m"),
     (86400, "1d00h"), (442800, "5d03h")],
)  # fmt: skip
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_one_is_no_plural() -> None:
    assert [counted(number, "session") for number in (0, 1, 2, 1234)] == [
        "0 sessions",
        "1 session",
        "2 sessions",
        "1,234 sessions",
    ]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("a.example", "192.0.2.1", 80), "a.example:80"),
        ((None, "192.0.2.1", 80), "192.0.2.1:80"),
        (("2001:db8::1", None, 80), "[2001:db8::1]:80"),
        (("a.example", None, None), "a.example"),
        ((None, None, None), "-"),
    ],
)
def test_destinations(parts: tuple[str | None, str | None, int | None], text: str) -> None:
    assert destination(*parts) == text


def test_columns_stand_below_one_another() -> None:
    assert list(columns([("A", "NUMBER"), ("word", "7"), ("x", "")], right=(1,))) == [
        "A     NUMBER",
        "word       7",
        "x",
    ]


@given(st.text())
def test_nothing_reaches_for_the_terminal(text: str) -> None:
    assert visible(text).isprintable()
    assert not text.isprintable() or visible(text) == text


def test_control_bytes_of_a_cell_are_shown() -> None:
    assert list(columns([("\x1b[2J",), ("a\tb",)])) == ["\\x1b[2J", "a b"]
