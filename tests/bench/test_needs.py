"""What the benchmark asks of the machine: missing programs by the name of their package, CPU time of whole trees."""

import subprocess

import pytest

from tests.bench import needs, tree
from tests.bench.errors import BenchError


def test_an_installed_program_needs_nothing() -> None:
    needs.ensure(["sh"])


def test_without_root_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(needs, "find", lambda _: None)
    with pytest.raises(BenchError, match="danted not found; install the Debian packages: dante-server"):
        needs.ensure(["danted"])


def test_processor_time_of_a_child_that_ended_is_not_lost() -> None:
    # the bracketed part runs in a process of its own, which has ended and been waited for when "done" is printed
    script = "(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); echo done; read line"
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        before = tree.cpu_seconds(process.pid)
        assert process.stdout.readline() == b"done\n"
        assert tree.cpu_seconds(process.pid) - before >= 0.02
        process.communicate(b"\n")


def test_processor_time_of_a_child_that_runs_is_counted() -> None:
    script = "(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; read line); read line"
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        before = tree.cpu_seconds(process.pid)
        assert process.stdout.readline() == b"done\n"
        assert tree.cpu_seconds(process.pid) - before >= 0.02
        process.communicate(b"\n\n")
