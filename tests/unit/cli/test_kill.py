"""``sockctl kill``: whom it names, and that it never means more than what was written."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import kill
from gateway.cli.filters import EVERY_SESSION
from gateway.control.protocol import Filter, Kill
from tests.unit.cli.fakecontrol import FakeControl, Ran, done, run


def ask(killed: int, tmp_path: Path, capsys: Any, *words: str) -> tuple[Ran, list[Any]]:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [done({"killed": killed})]) as fake:
        return run(kill, capsys, "-s", str(path), *words), fake.asked


def test_what_a_filter_names_is_ended_and_counted(tmp_path: Path, capsys: Any) -> None:
    ran, asked = ask(3, tmp_path, capsys, "--user", "fred", "--rule", "17")
    assert asked == [Kill(Filter(user="fred", rule="17"))]
    assert (ran.status, ran.output, ran.errors) == (0, "3 sessions ended\n", "")


def test_none_is_status_1(tmp_path: Path, capsys: Any) -> None:
    ran, _ = ask(0, tmp_path, capsys, "--session", "a1-1")
    assert (ran.status, ran.output) == (1, "0 sessions ended\n")


def test_all_are_asked_for_in_words(tmp_path: Path, capsys: Any) -> None:
    ran, asked = ask(1, tmp_path, capsys, "--all")
    assert asked == [Kill(EVERY_SESSION)]
    assert ran.output == "1 session ended\n"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        pytest.param((), "say which sessions", id="no filter"),
        pytest.param(("--all", "--user", "fred"), "leave the filter out", id="all and a filter"),
    ],
)
def test_what_is_not_clear_is_not_asked(words: tuple[str, ...], fault: str, tmp_path: Path, capsys: Any) -> None:
    ran, asked = ask(1, tmp_path, capsys, *words)
    assert asked == []
    assert (ran.status, ran.output, ran.errors.count("\n")) == (2, "", 1)
    assert fault in ran.errors


def test_json(tmp_path: Path, capsys: Any) -> None:
    ran, _ = ask(2, tmp_path, capsys, "--all", "--json")
    assert json.loads(ran.output) == {"killed": 2}
