"""``sockctl rules``: the use of each line, and the lines that nobody needed."""

import json
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli import rules
from gateway.control.protocol import Rules, RuleUse
from tests.unit.cli.fakecontrol import LOADED, FakeControl, Ran, done, row, run

USED = RuleUse("sockd.conf:2", "permit 10.0.0.0/8 ALL eq 443", 1234, 1536, 20 << 20, LOADED)
UNUSED = RuleUse("sockd.conf:3", "deny\tALL", 0, 0, 0, None)
NO_LINE = RuleUse("", "(no line matches)", 0, 0, 0, None)


def ask(uses: list[RuleUse], tmp_path: Path, capsys: Any, *words: str) -> Ran:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [*map(row, uses), done({})]) as fake:
        ran = run(rules, capsys, "-s", str(path), *words)
    assert fake.asked == [Rules()]
    assert ran.errors == ""
    return ran


def test_each_line_with_what_it_was_used_for(tmp_path: Path, capsys: Any) -> None:
    ran = ask([USED, UNUSED, NO_LINE], tmp_path, capsys)
    assert ran.status == 0
    assert ran.lines == [
        "LINE HITS SENT RECEIVED LAST TEXT",
        f"sockd.conf:2 1,234 1.5K 20M {LOADED} permit 10.0.0.0/8 ALL eq 443",
        "sockd.conf:3 0 0 0 never deny ALL",
        "- 0 0 0 never (no line matches)",
    ]


def test_only_lines_that_never_decided(tmp_path: Path, capsys: Any) -> None:
    ran = ask([USED, UNUSED, NO_LINE], tmp_path, capsys, "--unused")
    assert ran.status == 0
    assert ran.lines[1:] == ["sockd.conf:3 0 0 0 never deny ALL"]


def test_no_such_line_is_status_1(tmp_path: Path, capsys: Any) -> None:
    ran = ask([USED, NO_LINE], tmp_path, capsys, "--unused")
    assert (ran.status, ran.output) == (1, "")


def test_json(tmp_path: Path, capsys: Any) -> None:
    ran = ask([USED, UNUSED], tmp_path, capsys, "--unused", "--json")
    assert json.loads(ran.output) == msgspec.to_builtins(UNUSED)
