"""``sockctl sessions``: what is asked, and how the rows look."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli import sessions
from gateway.control.protocol import MAX_ROWS, Filter, Listed, Live, Request, Sessions
from tests.unit.cli.fakecontrol import FakeControl, Ran, done, error, live, row, run


def ask(rows: Iterable[Live], matched: int, tmp_path: Path, capsys: Any, *words: str) -> tuple[Ran, Request]:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [*map(row, rows), done(Listed(matched))]) as fake:
        ran = run(sessions, capsys, "-s", str(path), *words)
    (asked,) = fake.asked
    return ran, asked


def test_each_is_a_line(tmp_path: Path, capsys: Any) -> None:
    early = live("a1-2", user="", host=None, address=None, port=None, rule=None, uplink=None, egress=None, seconds=3.2)
    other = live("a1-3", host="2001:db8::7", uplink=None, state="dialing", sent=0, received=0)
    ran, asked = ask([live(), early, other], 3, tmp_path, capsys)
    assert (ran.status, ran.errors) == (0, "")
    assert asked == Sessions()
    assert ran.lines == [
        "SESSION USER CLIENT DESTINATION RULE EGRESS STATE AGE SENT RECEIVED",
        "a1-1 fred 10.1.2.3:40000 www.example.com:443 sockd.conf:17 wan1 relaying 2h14m 1.5K 20M",
        "a1-2 - 10.1.2.3:40000 - - - relaying 3s 1.5K 20M",
        "a1-3 fred 10.1.2.3:40000 [2001:db8::7]:443 sockd.conf:17 192.0.2.10:50000 dialing 2h14m 0 0",
    ]


def test_what_is_asked_for(tmp_path: Path, capsys: Any) -> None:
    _, asked = ask([live()], 1, tmp_path, capsys, "--user", "fred", "--to", ":443", "--sort", "bytes", "-n", "5")
    assert asked == Sessions(Filter(user="fred", destination=":443"), "bytes", 5)


def test_none_is_status_1_and_a_line(tmp_path: Path, capsys: Any) -> None:
    ran, _ = ask([], 0, tmp_path, capsys)
    assert (ran.status, ran.output, ran.errors) == (1, "", "sockctl sessions: there is no such session\n")


def test_more_than_are_shown_are_told_of(tmp_path: Path, capsys: Any) -> None:
    ran, _ = ask([live()], 5312, tmp_path, capsys, "-n", "1")
    assert ran.errors == "sockctl sessions: 1 session of 5,312 shown; -n NUMBER shows more\n"
    assert len(ran.lines) == 2


def test_json_is_an_object_a_line_as_the_daemon_answers(tmp_path: Path, capsys: Any) -> None:
    ran, _ = ask([live(), live("a1-2")], 2, tmp_path, capsys, "--json")
    assert [json.loads(line) for line in ran.output.splitlines()] == [
        msgspec.to_builtins(live()),
        msgspec.to_builtins(live("a1-2")),
    ]


@pytest.mark.parametrize("number", ["0", str(MAX_ROWS + 1), "-1", "many"])
def test_numbers_that_no_daemon_lists_are_refused(number: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        run(sessions, capsys, "-s", str(tmp_path), "-n", number)
    assert ended.value.code == 2


@pytest.mark.parametrize("number", [1, MAX_ROWS])
def test_the_borders_of_what_is_listed_are_not(number: int, tmp_path: Path, capsys: Any) -> None:
    _, asked = ask([live()], 1, tmp_path, capsys, "-n", str(number))
    assert isinstance(asked, Sessions)
    assert asked.limit == number


def test_a_filter_that_is_refused_is_one_line(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [error("rule: 'x' is no line of a file")]):
        ran = run(sessions, capsys, "-s", str(path), "--rule", "x")
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors == "sockctl sessions: rule: 'x' is no line of a file\n"
