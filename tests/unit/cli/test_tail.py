"""``sockctl tail``: a record a line as they come, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli import tail
from gateway.control.protocol import Filter, Request, Tail
from gateway.session.record import Record, Result
from tests.unit.cli.fakecontrol import LOADED, FakeControl, error, row, run

RECORD = Record(
    LOADED, "a1-1", "10.1.2.3:40000", "socks5", "connect", "fred", "password", "www.example.com", "203.0.113.7", 443,
    "192.0.2.10:50000", "wan1", "wan1 by [external]", "sockd.conf:17", None, "permitted by sockd.conf:17",
    Result.CONNECTED, 1536, 20 << 20, 8054.25, "the client closed",
)  # fmt: skip
NOTHING = msgspec.structs.replace(
    RECORD, user="", host=None, address=None, port=None, rule=None, result=Result.ERROR, end="no \x1b request", sent=0
)
GONE = b""


def test_each_record_is_a_line_until_the_daemon_ends(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [row(RECORD), row(NOTHING), row({"lost": 2}), row({"lost": 1}), GONE]) as fake:
        ran = run(tail, capsys, "-s", str(path), "--to", ".example.com")
    assert fake.asked == [Tail(Filter(destination=".example.com"))]
    assert ran.output.splitlines() == [
        f"{LOADED} connected fred 10.1.2.3:40000 www.example.com:443 sockd.conf:17 1.5K/20M 2h14m the client closed",
        f"{LOADED} error - 10.1.2.3:40000 - - 0/20M 2h14m no \\x1b request",
        "... 2 records lost: this reader was too slow",
        "... 1 record lost: this reader was too slow",
    ]
    assert ran.status == 1
    assert ran.errors.startswith("sockctl tail: sockd closed the connection")


def test_json_is_the_records(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [row(RECORD), row({"lost": 1}), GONE]):
        ran = run(tail, capsys, "-s", str(path), "--json")
    assert [json.loads(line) for line in ran.output.splitlines()] == [msgspec.to_builtins(RECORD), {"lost": 1}]


def test_a_filter_that_is_refused_is_one_line(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.sock"
    with FakeControl(path, lambda _: [error("source: 'x' is no address")]):
        ran = run(tail, capsys, "-s", str(path), "--from", "x")
    assert (ran.status, ran.output, ran.errors) == (1, "", "sockctl tail: source: 'x' is no address\n")


@pytest.fixture
def following(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """The real program, which has shown one record and waits for the next one."""
    ended = threading.Event()

    def script(_: Request) -> Iterator[Any]:
        yield row(RECORD)
        ended.wait(20)
        yield row(RECORD)
        yield GONE

    path = tmp_path / "c.sock"
    program = "from gateway.cli.sockctl import main; main()"
    words = [sys.executable, "-c", program, "tail", "-s", str(path)]
    with (
        FakeControl(path, script),
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(LOADED)
            process.ended = ended  # type: ignore[attr-defined]
            yield process
        finally:
            ended.set()
            process.kill()


def test_a_record_is_shown_at_once_and_an_interrupt_ends_as_by_the_signal(
    following: "subprocess.Popen[str]",
) -> None:
    os.kill(following.pid, signal.SIGINT)
    output, errors = following.communicate(timeout=20)
    assert (following.returncode, output, errors) == (-signal.SIGINT, "", "")


def test_a_reader_who_has_gone_ends_it_without_a_word(following: "subprocess.Popen[str]") -> None:
    assert following.stdout is not None
    assert following.stderr is not None
    following.stdout.close()
    following.ended.set()  # type: ignore[attr-defined]
    assert following.wait(20) == 1
    assert following.stderr.read() == ""
