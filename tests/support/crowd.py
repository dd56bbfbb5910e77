"""Many clients at once and their target, in a thread of the test's process: each moves data both ways, slowly.

What goes up and what comes down are different bytes of every session and every round, and each end compares every one
of them. The load is bounded: a session says its next piece some time after the answer to the one before. Beside those
that stay, newcomers come, do one round and go, all the time. Nothing is asserted here; what went wrong is in
``faults``.
"""

import asyncio
import itertools
import random
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from tests.support.rawsocks import http, socks4, socks4a, socks5
from tests.support.waiting import eventually

START_SECONDS = 60.0
ANSWER_SECONDS = 30.0
"""Longer than any pause of a healthy daemon on a busy machine."""

_AT_ONCE = 50
"""Sessions that are opened beside one another."""

_HEAD = struct.Struct("!IIB")
_UP, _DOWN = 0, 1
_NOISE = random.Random(4).randbytes(1 << 16)


def piece(number: int, turn: int, way: int) -> bytes:
    """What a session says in a turn, each way its own: the head says whose it is, the rest is cut from noise."""
    start = (number * 4099 + turn * 257 + way * 31) % (1 << 15)
    size = (number * 7 + turn * 911) % 4096
    return _HEAD.pack(number, turn, way) + _NOISE[start : start + size]


class Crowd:
    """A context manager; inside, all sessions are open. Leaving it ends them in order, and looks at their ends."""

    def __init__(self, port: int, sessions: int, *, pace: float = 0.5, newcomers: bool = True) -> None:
        """``pace`` is the pause of a session between two pieces, in seconds."""
        self._port = port
        self._wanted = sessions
        self._pace = pace
        self._newcomers = newcomers
        #: what went wrong, a line each
        self.faults: list[str] = []
        #: of each session that stays: its client's endpoint as the logs show it, and how many pieces were answered
        self.clients: dict[int, str] = {}
        self.rounds: dict[int, int] = {}
        #: the sessions that stay and have ended before their time
        self.lost: set[int] = set()
        #: newcomers that were served
        self.served = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))
        self._target = 0
        self._over: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> "Crowd":
        self._thread.start()
        eventually(lambda: len(self.rounds) + len(self.lost) >= self._wanted, within=START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._thread.join()

    def leave(self) -> None:
        """Have all of them end, in order, whenever their next piece would be due."""
        if self._loop is not None and self._over is not None:
            with suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._over.set)

    def goes_on(self, within: float = ANSWER_SECONDS) -> bool:
        """Whether every session that is not lost has a piece answered that it had not when this was called."""
        before = dict(self.rounds)

        def has_gone_on() -> bool:
            return all(number in self.lost or self.rounds[number] > turn for number, turn in before.items())

        return eventually(has_gone_on, within=within)

    def newcomer_served(self, within: float = ANSWER_SECONDS) -> bool:
        """Whether one is served that came after this was called."""
        # One may be half way through, another may have been counted already.
        before = self.served + 1
        return eventually(lambda: self.served > before, within=within)

    # In the thread

    async def _live(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        target = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=1024)
        self._target = target.sockets[0].getsockname()[1]
        gate = asyncio.Semaphore(_AT_ONCE)
        works: list[Coroutine[Any, Any, None]] = [self._stay(number, gate) for number in range(self._wanted)]
        if self._newcomers:
            works.append(self._come_and_go())
        await asyncio.gather(*works)
        target.close()
        await target.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The target's side of one session."""
        try:
            for turn in itertools.count():
                head = await reader.read(_HEAD.size)
                if not head:
                    break
                head += await reader.readexactly(_HEAD.size - len(head))
                number = _HEAD.unpack(head)[0]
                expected = piece(number, turn, _UP)
                found = head + await reader.readexactly(len(expected) - len(head))
                if found != expected:
                    self.faults.append(f"the target of session {number} got other bytes in turn {turn}")
                    break
                writer.write(piece(number, turn, _DOWN))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # its client says so
        finally:
            await _closed(writer)

    async def _stay(self, number: int, gate: asyncio.Semaphore) -> None:
        assert self._over is not None
        turn = -1
        try:
            async with gate, asyncio.timeout(START_SECONDS):
                reader, writer = await self._opened(number)
            try:
                self.clients[number] = "{}:{}".format(*writer.get_extra_info("sockname"))
                for turn in itertools.count():
                    await self._round(reader, writer, number, turn)
                    self.rounds[number] = turn + 1
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._over.wait(), self._pace)
                        break
                await self._finished(reader, writer)
            finally:
                await _closed(writer)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.lost.add(number)
            client = self.clients.get(number, "not connected")
            self.faults.append(f"session {number} ({client}), turn {turn}: {type(error).__name__}: {error}")

    async def _come_and_go(self) -> None:
        assert self._over is not None
        for number in itertools.count(self._wanted):
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    reader, writer = await self._opened(number)
                    try:
                        await self._round(reader, writer, number, 0)
                        await self._finished(reader, writer)
                    finally:
                        await _closed(writer)
                self.served += 1
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.faults.append(f"newcomer {number}: {type(error).__name__}: {error}")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), 0.02)
                return

    async def _opened(self, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the target through the daemon, by one protocol or another. Raises ValueError if refused."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            opening, start, size = _openings(self._target)[number % 4]
            writer.write(opening)
            answer = await (reader.readexactly(size) if size else reader.readuntil(b"\r\n\r\n"))
            if not answer.startswith(start):
                raise ValueError(f"refused: {answer!r}")
        except BaseException:
            await _closed(writer)
            raise
        return reader, writer

    async def _round(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, turn: int) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            writer.write(piece(number, turn, _UP))
            await writer.drain()
            expected = piece(number, turn, _DOWN)
            if await reader.readexactly(len(expected)) != expected:
                raise ValueError("other bytes than were sent")

    async def _finished(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Our end, and then the target's."""
        writer.write_eof()
        async with asyncio.timeout(ANSWER_SECONDS):
            if await reader.read(1):
                raise ValueError("more bytes than were sent")


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def _openings(port: int) -> tuple[tuple[bytes, bytes, int], ...]:
    """What a client sends, how a good answer begins, and how long it is; 0: to the empty line."""
    return (
        (socks4("127.0.0.1", port, b"crowd"), b"\x00\x5a", 8),
        (b"\x05\x01\x00" + socks5("127.0.0.1", port), b"\x05\x00\x05\x00", 12),
        (http(f"127.0.0.1:{port}"), b"HTTP/1.1 200", 0),
        (socks4a(b"localhost", port, b"crowd"), b"\x00\x5a", 8),
    )
