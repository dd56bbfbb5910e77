"""Plain text, look after look."""

import json
import time
from functools import partial
from pathlib import Path

import pytest

from gateway.cli.top import batch
from gateway.cli.top.courier import Daemon
from gateway.cli.top.sorting import Sort
from gateway.cli.top.state import Size, State
from gateway.cli.top.update import begin
from gateway.control.client import ControlClient
from gateway.control.protocol import Filter, Sessions
from tests.support.fakesockd import FakeSockd, fake_sockd, live
from tests.unit.cli.top.looks import START


def daemon(fake: FakeSockd) -> Daemon:
    return Daemon(partial(ControlClient.connect, fake.path), time.monotonic, lambda: START)


def started(asking: Daemon) -> State:
    look = asking.look(Sessions(sort="bytes", limit=100))
    return begin(Size(200, 10_000), look._replace(took=0.0), 0.01, Sort.BYTES, Filter())


def test_one_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_sockd(tmp_path, live(1), live(2)) as fake:
        batch.print_looks(started(daemon(fake)), daemon(fake), 1, batch.as_text)
        assert len(fake.lists) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 + 1 + 2
    assert lines[5].startswith("6920f1a3-1-2 ")
    assert all(line == line.rstrip() for line in lines)


def test_three_looks_with_an_empty_line_between_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_sockd(tmp_path, live(1)) as fake:
        batch.print_looks(started(daemon(fake)), daemon(fake), 3, batch.as_text)
    first, second, third = capsys.readouterr().out.split("\n\n")
    assert first.splitlines()[-1].endswith("-      -")
    assert second.splitlines()[-1].endswith("1.0K   1.0M"), "the second look knows rates"
    assert third.splitlines()[-1].endswith("1.0K   1.0M")


def test_a_daemon_that_goes_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_sockd(tmp_path, live(1)) as fake:
        state = started(daemon(fake))
    batch.print_looks(state, daemon(fake), 3, batch.as_text)
    output, errors = capsys.readouterr()
    assert output.count("sockd 0.9.0") == 1
    (line,) = errors.splitlines()
    assert line.startswith(f"sockctl top: no sockd answers on {fake.path}")
    assert line.endswith("; trying again")


def test_a_daemon_that_comes_back_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_sockd(tmp_path, live(1)) as fake:
        state = started(daemon(fake))
        fake.refusal = "not now"
        asking = daemon(fake)

        def come_back() -> float:
            if len(fake.lists) == 1 and capsys.readouterr().err:
                fake.refusal = ""
            return 5.0

        # The clock is read at each look: the first one is refused, and a later one is not.
        batch.print_looks(state, asking._replace(clock=come_back), 4, batch.as_text)
    output, _ = capsys.readouterr()
    assert "6920f1a3-1-1" in output


def test_looks_as_json_are_an_object_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with fake_sockd(tmp_path, live(1), live(2)) as fake:
        batch.print_looks(started(daemon(fake)), daemon(fake), 2, batch.as_json)
    looks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(looks) == 2
    for look in looks:
        assert look["status"]["version"] == "0.9.0"
        assert look["matched"] == len(look["sessions"])
        assert {"session", "user", "sent_per_second"} <= look["sessions"][0].keys()
