"""Other files in two steps, over real channels: what begins is what came last, and nothing else ever does."""

import asyncio
import errno
import fcntl
import mmap
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.daemon import adoption as module
from gateway.daemon.adoption import Adoption, Chosen, Package, memory_of, read_memory
from gateway.daemon.configuration import Configuration, reproduce
from gateway.daemon.host import Texts
from gateway.daemon.messages import Load, Loaded, Message, Received, Swap, Swapped, channel, receive, send
from gateway.errors import StartError
from tests.unit.net.stage import descriptors


def texts(folder: Path, rules: str) -> Texts:
    """All that is read for these rules."""
    settings = str(folder / "gateway.toml")
    return Texts(settings, {settings: "[files]\naccess = 'sockd.conf'\n", str(folder / "sockd.conf"): rules})


def silent(text: str) -> None:
    raise AssertionError(text)


class Process:
    """One that takes files over; ``begun`` is what it began with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.channel, self.theirs = channel()
        self.begun: list[tuple[int, int, bool]] = []
        self.adoption = Adoption(self.theirs, silent, self._begin)

    def _begin(self, chosen: Chosen, recheck: bool) -> int:
        self.begun.append((chosen.ruling, len(chosen.configuration.access.rules), recheck))
        return 7

    def load(self, number: int, ruling: int, rules: int | str) -> None:
        """These files come; a number is that of their rules."""
        text = "permit ALL ALL\n" * rules if isinstance(rules, int) else rules
        found = texts(self.folder, text)
        self.adoption.load(Received(Load(number, ruling), [memory_of(Package(found, (number,)))]))

    def swap(self, number: int, ruling: int, *, recheck: bool = False) -> None:
        self.adoption.swap(Swap(number, ruling, recheck))

    async def answer(self) -> Message:
        """What it says next."""
        for _ in range(10_000):
            try:
                received = receive(self.channel)
            except BlockingIOError:
                await asyncio.sleep(0.001)
            else:
                assert received is not None
                return received.message  # type: ignore[no-any-return]
        raise AssertionError("no answer came")

    def is_silent(self) -> bool:
        try:
            receive(self.channel)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self.channel.close()
        self.theirs.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path)
    yield made
    made.close()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30):
            await work()

    asyncio.run(whole())


def test_files_that_are_good_begin_when_all_begin(process: Process) -> None:
    async def work() -> None:
        process.load(1, 5, 3)
        assert await process.answer() == Loaded(1)
        assert process.begun == []
        process.swap(2, 5, recheck=True)
        assert await process.answer() == Swapped(2, 7)
        assert process.begun == [(5, 3, True)]

    run(work)


def test_files_begin_once(process: Process) -> None:
    async def work() -> None:
        process.load(1, 5, 1)
        await process.answer()
        process.swap(2, 5)
        await process.answer()
        process.swap(3, 5)
        await asyncio.sleep(0)
        assert process.is_silent()
        assert len(process.begun) == 1

    run(work)


@pytest.mark.parametrize("ruling", [4, 6])
def test_nothing_begins_that_was_not_loaded(process: Process, ruling: int) -> None:
    async def work() -> None:
        process.swap(1, ruling)
        process.load(2, 5, 1)
        assert await process.answer() == Loaded(2)
        process.swap(3, ruling)
        await asyncio.sleep(0)
        assert process.is_silent()
        assert process.begun == []

    run(work)


def test_files_that_are_refused_begin_nowhere_and_the_reason_names_the_line(process: Process) -> None:
    async def work() -> None:
        process.load(1, 5, "permit\n")
        answer = await process.answer()
        assert isinstance(answer, Loaded)
        assert answer.number == 1
        assert f"{process.folder}/sockd.conf:1" in answer.fault
        process.swap(2, 5)
        await asyncio.sleep(0)
        assert process.begun == []

    run(work)


def test_good_files_that_somebody_else_refused_do_not_begin_under_the_number_of_the_next(process: Process) -> None:
    """A refused loading leaves its number to the next: this process was ready for the first files, not for those."""

    async def work() -> None:
        process.load(1, 5, 1)
        assert await process.answer() == Loaded(1)
        process.load(2, 5, "permit\n")
        answer = await process.answer()
        assert isinstance(answer, Loaded)
        assert answer.fault
        process.swap(3, 5)
        await asyncio.sleep(0)
        assert process.begun == []

    run(work)


def test_files_that_are_read_slowly_do_not_begin_in_place_of_later_ones(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, reading = threading.Event(), threading.Event()
    seen: list[int] = []

    def slowly(found: Texts, report: Callable[[str], None]) -> Configuration:
        configuration = reproduce(found, report)
        seen.append(len(configuration.access.rules))
        if len(seen) == 1:
            reading.set()
            assert gate.wait(20)
        return configuration

    monkeypatch.setattr(module, "reproduce", slowly)

    async def work() -> None:
        process.load(1, 5, 1)
        await asyncio.to_thread(reading.wait, 20)
        process.load(2, 5, 2)
        process.swap(3, 5)  # of what is not ready yet
        gate.set()
        first, second = await process.answer(), await process.answer()
        assert isinstance(first, Loaded)
        assert (first.number, bool(first.fault)) == (1, True)
        assert second == Loaded(2)
        process.swap(4, 5)
        assert await process.answer() == Swapped(4, 7)
        assert process.begun == [(5, 2, False)]

    run(work)
    assert seen == [1, 2]


def test_two_loadings_leave_the_interpreter_as_it_was(process: Process) -> None:
    before = sys.getswitchinterval()

    async def work() -> None:
        for number in range(1, 5):
            process.load(number, 5, 50)
        for _ in range(4):
            await process.answer()

    run(work)
    assert sys.getswitchinterval() == before


def test_a_bug_refuses_the_files(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_reader(_found: Texts, _report: Callable[[str], None]) -> Configuration:
        raise RuntimeError("a bug")

    monkeypatch.setattr(module, "reproduce", broken_reader)

    async def work() -> None:
        process.load(1, 5, 1)
        assert await process.answer() == Loaded(1, "RuntimeError: a bug")

    run(work)


def test_the_loop_goes_on_while_files_are_read(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def waiting(_found: Texts, _report: Callable[[str], None]) -> Configuration:
        assert gate.wait(20)
        raise StartError("enough")

    monkeypatch.setattr(module, "reproduce", waiting)

    async def work() -> None:
        process.load(1, 5, 1)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert process.is_silent()
        gate.set()
        assert await process.answer() == Loaded(1, "enough")

    run(work)


def test_answers_wait_for_room_on_the_channel(process: Process) -> None:
    """A long list of sessions may be on its way to the supervisor: no answer may be lost by that."""

    async def work() -> None:
        stuffed = 0
        while True:
            try:
                send(process.theirs, Loaded(99, "x" * 10_000))
            except BlockingIOError:
                break
            stuffed += 1
        process.load(1, 5, 1)
        for _ in range(1000):
            if process.adoption._chosen is not None:
                break
            await asyncio.sleep(0.001)
        process.swap(2, 5)
        assert process.begun == [(5, 1, False)]
        for _ in range(stuffed):
            assert isinstance(await process.answer(), Loaded)
        assert {await process.answer(), await process.answer()} == {Loaded(1), Swapped(2, 7)}

    run(work)


def test_a_supervisor_that_has_gone_is_no_trouble(process: Process) -> None:
    async def work() -> None:
        process.channel.close()
        process.load(1, 5, 1)
        for _ in range(1000):
            if process.adoption._chosen is not None:
                break
            await asyncio.sleep(0.001)
        process.swap(2, 5)
        await asyncio.sleep(0.01)
        assert process.begun == [(5, 1, False)]

    run(work)


def test_no_descriptor_stays_behind(process: Process) -> None:
    async def work() -> None:
        await asyncio.to_thread(int)  # a thread has none of its own, but the first one may make some
        before = descriptors()
        for number in range(1, 4):
            process.load(number, 5, 1)
        process.load(4, 5, "permit\n")
        for _ in range(4):
            await process.answer()
        assert descriptors() == before

    run(work)


# The memory that they come in


def test_texts_are_the_same_for_all_who_read_them(tmp_path: Path) -> None:
    found = Package(texts(tmp_path, "permit ALL ALL # \u00e4\u4e16\U0001f600\n"), (7, 0))
    memory = memory_of(found)
    assert read_memory(memory) == read_memory(memory) == found
    assert not os.get_inheritable(memory)
    os.close(memory)


def test_memory_that_holds_no_texts_is_refused() -> None:
    memory = os.memfd_create("sockd")
    os.write(memory, b"garbage")
    with pytest.raises(ValueError, match="JSON"):
        read_memory(memory)
    os.close(memory)


@pytest.mark.parametrize("data", [b"", b"[]", b'[{"files": {"/g.toml": 5}}, []]', b'[{}, ["one"]]', b"\xff"])
def test_memory_that_holds_something_else_is_refused(data: bytes) -> None:
    memory = os.memfd_create("sockd")
    os.write(memory, data)
    with pytest.raises(ValueError, match=r"."):
        read_memory(memory)
    os.close(memory)


def written(memory: int) -> None:
    os.write(memory, b"deny")


def written_somewhere(memory: int) -> None:
    os.pwrite(memory, b"deny", 1)


def appended(memory: int) -> None:
    os.pwrite(memory, b"deny", os.fstat(memory).st_size)


def cut(memory: int) -> None:
    os.ftruncate(memory, 1)


def grown(memory: int) -> None:
    os.ftruncate(memory, os.fstat(memory).st_size + 1)


def allocated(memory: int) -> None:
    os.posix_fallocate(memory, os.fstat(memory).st_size, 4096)


def mapped(memory: int) -> None:
    mmap.mmap(memory, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE).close()


def opened_anew(memory: int) -> None:
    with open(f"/proc/self/fd/{memory}", "r+b", buffering=0) as file:
        file.write(b"deny")


def unsealed(memory: int) -> None:
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, 0)


def sent_into(memory: int) -> None:
    with open("/proc/self/exe", "rb") as source:
        os.sendfile(memory, source.fileno(), 0, 100)


@pytest.mark.parametrize(
    "change",
    [written, written_somewhere, appended, cut, grown, allocated, mapped, opened_anew, unsealed, sent_into],
)
def test_who_has_the_memory_can_change_nothing_in_what_the_others_read(
    tmp_path: Path, change: Callable[[int], None]
) -> None:
    found = Package(texts(tmp_path, "permit ALL ALL\n"), (1,))
    memory = memory_of(found)
    with pytest.raises(PermissionError):
        change(memory)
    with mmap.mmap(memory, 0, mmap.MAP_SHARED, mmap.PROT_READ) as view, pytest.raises(TypeError):
        view[0:1] = b"x"
    assert read_memory(memory) == found
    os.close(memory)


def test_without_room_or_seals_no_memory_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_seals(_descriptor: int, _command: int, _seals: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(fcntl, "fcntl", no_seals)
    before = descriptors()
    with pytest.raises(OSError, match="Invalid argument"):
        memory_of(Package(texts(tmp_path, ""), ()))
    assert descriptors() == before


def test_memory_that_is_none_is_an_error() -> None:
    reading, writing = os.pipe()
    with pytest.raises(OSError, match=os.strerror(errno.ESPIPE)):
        read_memory(reading)
    os.close(reading)
    os.close(writing)
