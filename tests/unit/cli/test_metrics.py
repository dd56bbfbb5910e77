"""``sockctl metrics``: the daemon's text, unchanged."""

import json
from pathlib import Path
from typing import Any

from gateway.cli import metrics
from gateway.control.protocol import Metrics
from tests.unit.cli.fakecontrol import FakeControl, done, run

TEXT = '# HELP gateway_sessions Sessions of now.\ngateway_sessions 3.0\nx{rule="\\\\"} 1\n'


def test_the_text_as_it_is(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [done({"text": TEXT})]) as fake:
        ran = run(metrics, capsys, "-s", str(path))
    assert fake.asked == [Metrics()]
    assert (ran.status, ran.output, ran.errors) == (0, TEXT, "")


def test_json(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [done({"text": TEXT})]):
        assert json.loads(run(metrics, capsys, "-s", str(path), "--json").output) == {"text": TEXT}


def test_an_answer_without_a_text_is_one_line(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [done({})]):
        ran = run(metrics, capsys, "-s", str(path))
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors == "sockctl metrics: the answer is not understood: it has no text\n"
