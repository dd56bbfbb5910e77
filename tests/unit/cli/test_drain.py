"""``sockctl drain``: the number that goes down, in place on a terminal and a line each elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import drain
from gateway.control.protocol import Drain
from tests.unit.cli.fakecontrol import FakeControl, Ran, done, row, run

ROWS = [row({"sessions": number}) for number in (3, 3, 1, 0)]


def ask(lines: list[Any], tmp_path: Path, capsys: Any, *words: str) -> tuple[Ran, list[Any]]:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: lines) as fake:
        return run(drain, capsys, "-s", str(path), *words), fake.asked


def test_each_change_is_a_line_where_there_is_no_terminal(tmp_path: Path, capsys: Any) -> None:
    ran, asked = ask([*ROWS, done({})], tmp_path, capsys)
    assert asked == [Drain(0.0)]
    assert (ran.status, ran.errors) == (0, "")
    assert ran.output.splitlines() == [
        "draining: 3 sessions left",
        "draining: 1 session left",
        "draining: 0 sessions left",
        "sockd has ended",
    ]


def test_on_a_terminal_one_line_changes(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    ran, _ = ask([*ROWS, done({})], tmp_path, capsys)
    clear = "\r\x1b[K"
    numbers = ("3 sessions", "1 session", "0 sessions")
    assert ran.output == "".join(f"{clear}draining: {number} left" for number in numbers) + "\nsockd has ended\n"


def test_a_time_limit_is_handed_on(tmp_path: Path, capsys: Any) -> None:
    assert ask([done({})], tmp_path, capsys, "--timeout", "2.5")[1] == [Drain(2.5)]


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "soon", "1e999"])
def test_limits_that_are_none_are_refused(seconds: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        run(drain, capsys, "-s", str(tmp_path), "--timeout", seconds)
    assert ended.value.code == 2


def test_a_daemon_that_does_not_end_in_order_is_status_1(tmp_path: Path, capsys: Any) -> None:
    ran, _ = ask([ROWS[0], b'{"v": 1'], tmp_path, capsys)
    assert (ran.status, ran.output) == (1, "draining: 3 sessions left\n")
    assert ran.errors.startswith("sockctl drain: sockd closed the connection")


def test_a_row_that_is_no_number_is_one_line(tmp_path: Path, capsys: Any) -> None:
    ran, _ = ask([row({"lost": 1}), done({})], tmp_path, capsys)
    assert (ran.status, ran.output, ran.errors.count("\n")) == (1, "", 1)


def test_json_is_the_rows(tmp_path: Path, capsys: Any) -> None:
    ran, _ = ask([*ROWS, done({})], tmp_path, capsys, "--json")
    assert [json.loads(line)["sessions"] for line in ran.output.splitlines()] == [3, 3, 1, 0]
