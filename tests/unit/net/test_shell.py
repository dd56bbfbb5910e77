"""The commands of ``sockd.conf``: really run by a real shell, bounded in number and time, and nothing waits."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from gateway.net.shell import MAX_RUNNING, CommandRunner
from gateway.system.reaper import become_reaper, reap_orphans
from tests.support import proc
from tests.support.forked import forked
from tests.support.waiting import eventually
from tests.unit.net.stage import Stage


class Commands:
    """A runner of commands and what it complained of."""

    def __init__(self, stage: Stage, seconds: float = 5.0) -> None:
        self.troubles: list[str] = []
        self._runner = CommandRunner(seconds, self.troubles.append)
        self._stage = stage
        stage.closers.append(self.end)

    def run(self, *commands: str) -> None:
        """Start them."""

        async def start() -> None:
            for command in commands:
                self._runner.run(command)

        self._stage.run(start())

    def end(self) -> None:
        """Leave no process behind: Python would warn of it in whatever test is running by then."""
        self._runner.close()
        assert self.over()

    def over(self) -> bool:
        """Wait until no command is left."""

        def nobody() -> bool:
            return asyncio.all_tasks(self._stage.loop) == {asyncio.current_task(self._stage.loop)}

        return self._stage.until(nobody, within=10)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def number_in(path: Path) -> int:
    return int(path.read_text()) if path.exists() and path.read_text().endswith("\n") else 0


def test_a_command_runs_in_a_shell(stage: Stage, tmp_path: Path) -> None:
    commands = Commands(stage)
    commands.run(f"printf '%s' \"a  b\" | tr a x > {tmp_path}/out; exit 3")
    assert stage.until(lambda: (tmp_path / "out").exists() and (tmp_path / "out").read_text() == "x  b")
    assert commands.troubles == []


def test_nothing_waits_for_it(stage: Stage) -> None:
    started = time.monotonic()
    commands = Commands(stage)
    commands.run("sleep 60")
    assert time.monotonic() - started < 4


def test_it_has_no_descriptor_but_dev_null_and_a_session_of_its_own(stage: Stage, tmp_path: Path) -> None:
    commands = Commands(stage)
    commands.run(f"ls -l /proc/self/fd > {tmp_path}/fds; ps -o sid= -p $$ > {tmp_path}/sid; echo $$ > {tmp_path}/pid")
    assert stage.until(lambda: number_in(tmp_path / "pid"))
    links = [line.split(" -> ")[1] for line in (tmp_path / "fds").read_text().splitlines() if " -> " in line]
    # ls has its own output in place of one, and the folder that it reads.
    assert links.count("/dev/null") == 2
    assert len(links) == 4
    assert number_in(tmp_path / "sid") == number_in(tmp_path / "pid") != os.getsid(0)
    assert commands.over()


def test_a_command_that_runs_too_long_is_ended_with_all_its_children(stage: Stage, tmp_path: Path) -> None:
    commands = Commands(stage, seconds=1.0)
    commands.run(f"echo $$ > {tmp_path}/shell; sleep 60 & echo $! > {tmp_path}/child; trap '' TERM; wait")
    assert stage.until(lambda: number_in(tmp_path / "child"))
    shell, child = number_in(tmp_path / "shell"), number_in(tmp_path / "child")
    assert alive(shell)
    assert alive(child)
    assert stage.until(lambda: not alive(shell) and not alive(child))
    (trouble,) = commands.troubles
    assert trouble.startswith("a command of sockd.conf ran longer than 1 s and was ended: echo $$")
    assert commands.over()


def test_the_number_of_commands_is_bounded_and_what_is_not_run_is_said(stage: Stage, tmp_path: Path) -> None:
    commands = Commands(stage)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    commands.run(*(f"echo x >> {tmp_path}/ran; read line < {gate}" for _ in range(MAX_RUNNING)), "echo never-run")
    assert commands.troubles == [f"{MAX_RUNNING} commands of sockd.conf are running already; not run: echo never-run"]
    ran = tmp_path / "ran"
    assert stage.until(lambda: ran.exists() and ran.stat().st_size == 2 * MAX_RUNNING, within=10)
    writer = os.open(gate, os.O_RDWR)
    os.write(writer, b"\n" * MAX_RUNNING)
    assert commands.over()
    os.close(writer)
    commands.run(f"echo again > {tmp_path}/again")
    assert stage.until(lambda: (tmp_path / "again").exists() and (tmp_path / "again").read_text())
    assert len(commands.troubles) == 1


def test_commands_that_have_ended_leave_no_zombie(stage: Stage) -> None:
    commands = Commands(stage)
    commands.run("true", "false", "kill -9 $$")
    assert commands.over()
    with contextlib.suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)


def test_a_command_that_can_not_be_started_is_said(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    commands = Commands(stage)
    commands.run("true")
    assert commands.over()
    assert commands.troubles == ["cannot run a command of sockd.conf: Resource temporarily unavailable"]


def test_signals_are_not_ignored_in_a_command(stage: Stage, tmp_path: Path) -> None:
    commands = Commands(stage)
    commands.run(f"grep -E 'Sig(Blk|Ign)' /proc/self/status > {tmp_path}/masks")
    assert stage.until(lambda: (tmp_path / "masks").exists() and (tmp_path / "masks").read_text().count("\n") == 2)
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in (tmp_path / "masks").read_text().splitlines()}
    assert masks["SigBlk"] == 0
    assert not masks["SigIgn"] & 1 << (signal.SIGPIPE - 1)
    assert commands.over()


@pytest.mark.parametrize("turns", range(6))
def test_a_loop_ends_and_leaves_nobody_behind_however_far_its_commands_have_got(turns: int) -> None:
    async def work() -> None:
        runner = CommandRunner(60.0, print)
        for _ in range(5):
            runner.run("sleep 60")
        for _ in range(turns):
            await asyncio.sleep(0)
        await runner.finish()

    def live() -> list[int]:
        become_reaper()
        asyncio.run(work())

        def is_alone() -> bool:
            reap_orphans(())
            return proc.tree(os.getpid()) == [os.getpid()]

        eventually(is_alone)
        return proc.tree(os.getpid())[1:]

    assert forked(live) == []
