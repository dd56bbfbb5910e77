"""``sockctl reload``: what was loaded, what was refused and why, and what goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli import reload
from gateway.control.protocol import Reload, Reloaded, Request, Status
from tests.unit.cli.fakecontrol import HASH, LOADED, FakeControl, Ran, done, error, report, run

NOTE = "/etc/gateway.toml:3: [sockd] workers counts from the next start on"


def ask(answer: Callable[[Request], Any], tmp_path: Path, capsys: Any, *words: str) -> tuple[Ran, list[Request]]:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda request: [answer(request)]) as fake:
        return run(reload, capsys, "-s", str(path), *words), fake.asked


def test_what_was_loaded_is_told_with_its_notes(tmp_path: Path, capsys: Any) -> None:
    ran, asked = ask(lambda _: done(Reloaded(HASH, LOADED, True, 0, (NOTE,))), tmp_path, capsys)
    assert asked == [Reload(False)]
    assert (ran.status, ran.errors) == (0, "")
    assert ran.output.splitlines() == [f"configuration 0123456789ab loaded, {LOADED}", NOTE]


def test_files_that_are_the_same_are_said_to_be(tmp_path: Path, capsys: Any) -> None:
    ran, _ = ask(lambda _: done(Reloaded(HASH, LOADED, False, 0, ())), tmp_path, capsys)
    assert ran.lines == [f"configuration 0123456789ab loaded again, nothing has changed, {LOADED}"]


def test_with_recheck_the_ended_sessions_are_counted(tmp_path: Path, capsys: Any) -> None:
    ran, asked = ask(lambda _: done(Reloaded(HASH, LOADED, True, 2, ())), tmp_path, capsys, "--recheck")
    assert asked == [Reload(True)]
    assert ran.lines[1] == "2 sessions ended that the rules deny now"


def test_every_mistake_is_told_and_that_the_old_configuration_goes_on(tmp_path: Path, capsys: Any) -> None:
    mistakes = "/etc/sockd.conf:3:1: permitt is no action\n/etc/sockd.route:1:1: no \x1b way"

    def answer(request: Request) -> Any:
        return error(mistakes) if isinstance(request, Reload) else done(report())

    ran, asked = ask(answer, tmp_path, capsys)
    assert asked == [Reload(False), Status()]
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors.splitlines() == [
        "/etc/sockd.conf:3:1: permitt is no action",
        "/etc/sockd.route:1:1: no \\x1b way",
        f"sockctl reload: refused; sockd goes on with the old one: configuration 0123456789ab, loaded {LOADED}",
    ]


def test_a_daemon_that_dies_meanwhile_has_refused_nothing(tmp_path: Path, capsys: Any) -> None:
    ran, _ = ask(lambda _: b"", tmp_path, capsys)
    assert (ran.status, ran.output, ran.errors.count("\n")) == (1, "", 1)
    assert ran.errors.startswith("sockctl reload: sockd closed the connection")
    assert "refused" not in ran.errors


def test_json(tmp_path: Path, capsys: Any) -> None:
    reloaded = Reloaded(HASH, LOADED, True, 0, (NOTE,))
    ran, _ = ask(lambda _: done(reloaded), tmp_path, capsys, "--json")
    assert json.loads(ran.output) == json.loads(msgspec.json.encode(reloaded))
