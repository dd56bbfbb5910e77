"""The helper with real commands: the file's words, the worker's values, and nothing that no line asks for."""

import asyncio
import itertools
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import FACILITIES
from gateway.daemon.adoption import Package, memory_of
from gateway.daemon.configuration import Configuration, reproduce
from gateway.daemon.helper import KEPT, Helper, templates
from gateway.daemon.host import Texts
from gateway.daemon.messages import (
    End,
    Load,
    Loaded,
    Message,
    Network,
    Orders,
    Reopen,
    Run,
    Serve,
    Swap,
    Swapped,
    channel,
    receive,
    send,
)
from gateway.policy.command import LENGTH_LIMIT, Substitutions
from gateway.system.journal import FileSink, Journal
from gateway.system.sinks import LOG_FLAGS
from gateway.system.title import Title
from tests.support.forked import forked
from tests.unit.net.stage import descriptors

WORKERS = ("worker 1", "worker 2")
VALUES = Substitutions("10.0.0.1", "10.0.0.1", "connect", "4711", "http", "80", "fred", "www.example.com", "192.0.2.1")


def configured(folder: Path, rules: str) -> Configuration:
    """What is loaded from these rules."""
    settings = str(folder / "gateway.toml")
    words = "[files]\naccess = 'sockd.conf'\n[timeouts]\ncommand = 20\n"
    return reproduce(Texts(settings, {settings: words, str(folder / "sockd.conf"): rules}), print)


class Desk:
    """A helper, its supervisor's channel and a worker's way to it; to be made in a running loop."""

    def __init__(self, folder: Path, rules: str) -> None:
        self.folder = folder
        (folder / "log").touch()
        self.log = FileSink(os.open(folder / "log", LOG_FLAGS))
        self.journal = Journal(self.log, None, FACILITIES["daemon"])
        self.channel, self.theirs = channel()
        self.workers = {name: channel() for name in WORKERS}
        wishes = {name: commands for name, (_, commands) in self.workers.items()}
        self.ended = asyncio.Event()
        title = Title("helper", live=False)
        self.helper = Helper(configured(folder, rules), 1, self.journal, self.theirs, wishes, title, self.ended)

    async def __aenter__(self) -> "Desk":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.helper.close()
        loop = asyncio.get_running_loop()
        for sock in (self.channel, self.theirs, *itertools.chain(*self.workers.values())):
            if sock.fileno() >= 0:
                loop.remove_reader(sock)
            sock.close()

    @property
    def worker(self) -> socket.socket:
        """The first one's way to the helper."""
        return self.workers[WORKERS[0]][0]

    def wish(
        self, origin: str = "sockd.conf:1", ruling: int = 1, values: Substitutions = VALUES, name: str = "worker 1"
    ) -> None:
        send(self.workers[name][0], Run(ruling, origin, values))

    def succeed(self, name: str) -> None:
        """That worker has a successor, which has another way to the helper."""
        mine, theirs = channel()
        send(self.channel, Serve(name), [theirs.fileno()])
        theirs.close()
        self.workers[name][0].close()
        self.workers[name] = mine, theirs

    def is_heard(self, name: str) -> bool:
        """Whether the helper still listens to that worker's first way."""
        return self.workers[name][1].fileno() >= 0

    async def until(self, look: Callable[[], Any]) -> Any:
        for _ in range(5000):
            if found := look():
                return found
            await asyncio.sleep(0.002)
        return look()

    async def written(self, name: str) -> str:
        """What a command wrote into a file, when it has."""
        path = self.folder / name
        await self.until(lambda: path.exists() and path.read_text().endswith("\n"))
        return path.read_text()

    def said(self) -> str:
        self.journal.flush()
        return (self.folder / "log").read_text()

    async def trouble(self, text: str) -> bool:
        return bool(await self.until(lambda: text in self.said()))

    async def answer(self) -> Message:
        def look() -> Message | None:
            try:
                received = receive(self.channel)
            except BlockingIOError:
                return None
            assert received is not None
            return received.message  # type: ignore[no-any-return]

        return await self.until(look)  # type: ignore[no-any-return]

    async def adopt(self, number: int, rules: str) -> None:
        """Other rules, in both steps."""
        texts = configured(self.folder, rules).texts
        memory = memory_of(Package(texts, ()))
        with open(memory, "rb"):
            send(self.channel, Load(number, number), [memory])
        assert await self.answer() == Loaded(number)
        send(self.channel, Swap(number, number))
        assert await self.answer() == Swapped(number)


def run(folder: Path, rules: str, work: Callable[[Desk], Awaitable[None]]) -> None:
    """In a process of its own: the title of this one is left as it is."""

    async def whole() -> None:
        async with asyncio.timeout(40):
            async with Desk(folder, rules) as desk:
                await work(desk)

    assert forked(lambda: asyncio.run(whole())) is None


def line(folder: Path, words: str, name: str = "out", action: str = "permit") -> str:
    return f"{action} ALL ALL : echo {words} > {folder}/{name}.new; mv {folder}/{name}.new {folder}/{name}\n"


def test_the_words_are_the_files_and_the_values_the_workers(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.wish()
        assert await desk.written("out") == "fred to www.example.com 80 4711 unknown\n"
        assert desk.said() == ""

    run(tmp_path, line(tmp_path, "%u to %Z %s %p %U"), work)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        pytest.param("$(touch x)", "__touch_x_", id="a command"),
        pytest.param("a;b|c&d", "a_b_c_d", id="separators"),
        pytest.param("'\"`\\", "____", id="quotes"),
        pytest.param("a\nb\0c", "a_b_c", id="control bytes"),
        pytest.param("%u%%", "%u%%", id="codes are not read twice"),
        pytest.param("\u00e4\xff", "__", id="what is no ASCII"),
    ],
)
def test_what_a_worker_sends_is_made_harmless_here_again(tmp_path: Path, value: str, seen: str) -> None:
    async def work(desk: Desk) -> None:
        desk.wish(values=VALUES._replace(user=value))
        assert await desk.written("out") == f"{seen}\n"

    run(tmp_path, line(tmp_path, "%u"), work)


@pytest.mark.parametrize(
    ("origin", "ruling"),
    [
        pytest.param("sockd.conf:2", 1, id="a line without a command"),
        pytest.param("sockd.conf:99", 1, id="a line that is not there"),
        pytest.param("", 1, id="no line"),
        pytest.param("sockd.conf:1", 0, id="files before"),
        pytest.param("sockd.conf:1", 2, id="files that did not come"),
    ],
)
def test_what_no_line_asks_for_is_not_run_and_is_said(tmp_path: Path, origin: str, ruling: int) -> None:
    async def work(desk: Desk) -> None:
        desk.wish(origin, ruling)
        assert await desk.trouble("worker 1: asks for a command that no line of sockd.conf has")
        desk.wish()
        await desk.written("out")

    run(tmp_path, line(tmp_path, "x") + "permit ALL ALL\n", work)


def test_what_is_no_wish_is_said_and_the_next_wish_is_heard(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        before = descriptors()
        desk.worker.send(b"garbage")
        desk.worker.send(b'{"type":"Run","ruling":1,"origin":' + b"[" * 20_000)
        assert await desk.trouble("worker 1: asks for what is no command")
        with open("/dev/null") as null:
            send(desk.workers["worker 2"][0], End(), [null.fileno()])
        assert await desk.trouble("worker 2: asks for a command that no line of sockd.conf has")
        desk.wish()
        await desk.written("out")
        await desk.until(lambda: descriptors() == before)
        assert descriptors() == before

    run(tmp_path, line(tmp_path, "x"), work)


def test_an_empty_message_does_not_close_the_way_for_all_workers(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.worker.send(b"")
        desk.wish()
        assert await desk.written("out") == "x\n"

    run(tmp_path, line(tmp_path, "x"), work)


def test_workers_that_have_gone_for_ever_leave_it_at_rest(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        for name in WORKERS:
            desk.workers[name][0].close()
        assert await desk.until(lambda: not any(map(desk.is_heard, WORKERS)))
        assert not desk.ended.is_set()
        send(desk.channel, End())
        await desk.ended.wait()

    run(tmp_path, line(tmp_path, "x"), work)


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR])
def test_a_worker_that_shuts_its_way_down_silences_itself_only_and_its_successor_is_heard(
    tmp_path: Path, how: int
) -> None:
    async def work(desk: Desk) -> None:
        desk.workers["worker 2"][0].shutdown(how)
        desk.wish()
        assert await desk.written("out") == "fred\n"
        (tmp_path / "out").unlink()
        desk.succeed("worker 2")
        desk.wish(values=VALUES._replace(user="julie"), name="worker 2")
        assert await desk.written("out") == "julie\n"

    run(tmp_path, line(tmp_path, "%u"), work)


def test_what_a_worker_wished_for_before_it_died_is_done_before_its_successor_is_heard(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        before = descriptors()
        for number in range(20):
            desk.wish(values=VALUES._replace(user=f"u{number}"), name="worker 2")
        desk.succeed("worker 2")
        assert await desk.until(lambda: len(list(tmp_path.glob("u*"))) == 20)
        assert desk.said() == ""
        assert descriptors() == before

    run(tmp_path, f"permit ALL ALL : echo > {tmp_path}/%u\n", work)


def test_what_a_worker_says_wrong_is_said_once_a_second_and_does_not_hide_what_another_does(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        for _ in range(50):
            desk.worker.send(b"garbage")
        assert await desk.trouble("worker 1: asks for what is no command")
        desk.workers["worker 2"][0].send(b"garbage")
        assert await desk.trouble("worker 2: asks for what is no command")
        desk.wish()
        await desk.written("out")
        assert desk.said().count("worker 1: ") <= 2

    run(tmp_path, line(tmp_path, "x"), work)


def test_a_command_that_is_too_long_is_said_and_not_run(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.wish(values=VALUES._replace(user="u" * LENGTH_LIMIT))
        assert await desk.trouble("too long")
        assert not (tmp_path / "out").exists()

    run(tmp_path, line(tmp_path, "%u"), work)


def test_other_files_bring_other_commands_and_earlier_ones_may_still_be_asked_for(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        await desk.adopt(2, line(tmp_path, "second", "two"))
        desk.wish(ruling=1)
        assert await desk.written("out") == "first\n"
        desk.wish(ruling=2)
        assert await desk.written("two") == "second\n"

    run(tmp_path, line(tmp_path, "first"), work)


def test_only_the_latest_files_are_remembered(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        for number in range(2, KEPT + 2):
            await desk.adopt(number, line(tmp_path, "later", f"out{number}"))
        desk.wish(ruling=2)
        await desk.written("out2")
        assert desk.said() == ""
        desk.wish(ruling=1)
        assert await desk.trouble("no line of sockd.conf has")
        assert not (tmp_path / "out").exists()

    run(tmp_path, line(tmp_path, "first"), work)


def test_logs_are_opened_anew_and_what_is_not_for_it_is_passed_over(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        (tmp_path / "log").rename(tmp_path / "log.1")
        with open(tmp_path / "log", "ab") as file:
            send(desk.channel, Reopen(classic=True, records=False), [file.fileno()])
        send(desk.channel, Orders(Network()))
        desk.wish("nothing")
        assert await desk.trouble("no line of sockd.conf has")
        assert (tmp_path / "log.1").read_text() == ""

    run(tmp_path, line(tmp_path, "x"), work)


@pytest.mark.parametrize("how", ["told", "left"])
def test_it_ends_when_it_is_told_to_and_when_the_supervisor_has_gone(tmp_path: Path, how: str) -> None:
    async def work(desk: Desk) -> None:
        if how == "told":
            send(desk.channel, End())
        else:
            desk.channel.close()
        await desk.ended.wait()

    run(tmp_path, line(tmp_path, "x"), work)


def test_what_runs_ends_with_it(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.wish()
        pid = int(await desk.written("pid"))
        await desk.helper.close()

        def is_gone() -> bool:
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    return stat.read().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                return True

        assert await desk.until(is_gone)

    rules = f"permit ALL ALL : echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 600\n"
    run(tmp_path, rules, work)


def test_templates_are_those_of_lines_and_of_the_special_ones(tmp_path: Path) -> None:
    rules = "#NO_IDENTD: echo no %u\n#BAD_ID: echo bad %u\npermit ALL ALL\ndeny ALL ALL : echo denied\n"
    found = templates(configured(tmp_path, rules))
    assert found["sockd.conf:4"] == "echo denied"
    assert sorted(found.values()) == ["echo bad %u", "echo denied", "echo no %u"]
    assert len(found) == 3
