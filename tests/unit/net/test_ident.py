"""The client of identd against honest and hostile servers (S18 of ``spec/field-cases.md``), on loopback."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from gateway.address import Endpoint
from gateway.net.ident import IdentClient
from tests.support.playbook import endpoint
from tests.support.rawsocks import LINGER_NONE
from tests.unit.net.stage import Stage, descriptors

CLIENT, LOCAL = endpoint("127.0.0.1:40000"), endpoint("127.0.0.1:1080")
SECONDS = 0.15

Habit = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Identd:
    """A server with one habit; keeps what it was asked and from where."""

    def __init__(self, stage: Stage, habit: Habit) -> None:
        self.asked: list[bytes] = []
        self.callers: list[str] = []
        self._habit = habit
        self._stage = stage
        self._server = stage.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers.append(writer.get_extra_info("peername")[0])
        try:
            self.asked.append(await reader.readline())
            await self._habit(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def close(self) -> None:
        """Serve no more."""
        self._server.close()
        self._stage.run(self._server.wait_closed())


@pytest.fixture
def identd(stage: Stage) -> Iterator[Callable[[Habit], Identd]]:
    made: list[Identd] = []

    def make(habit: Habit) -> Identd:
        made.append(Identd(stage, habit))
        return made[-1]

    yield make
    for server in made:
        server.close()


Make = Callable[[Habit], Identd]


def saying(*pieces: bytes, pause: float = 0.0) -> Habit:
    async def habit(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return habit


def ask(stage: Stage, server: Identd, seconds: float = SECONDS, local: Endpoint = LOCAL) -> str | None:
    return stage.run(IdentClient(seconds, server.port).ask(CLIENT, local), within=2)


def test_the_question_names_the_clients_port_first_and_comes_from_our_end(stage: Stage, identd: Make) -> None:
    server = identd(saying(b"40000, 1080 : USERID : UNIX : fred\r\n"))
    assert ask(stage, server, local=endpoint("127.0.0.2:1080")) == "fred"
    assert server.asked == [b"40000, 1080\r\n"]
    assert server.callers == ["127.0.0.2"]


ANSWERS = [
    pytest.param((b"40000, 1080 : USERID : UNIX : fred\r\n",), "fred", id="an honest answer"),
    pytest.param((b"40000,1080:USERID:UNIX:fred\n",), "fred", id="no blanks, a bare line feed"),
    pytest.param((b"40000, 1080 : USERID : OTHER, UTF-8 : fr\xe9d\r\n",), r"fr\xe9d", id="octets, escaped"),
    pytest.param((b"40000, 1080 : USERID : UNIX : a b:c\r\n",), r"a\x20b:c", id="blanks and colons in the user"),
    pytest.param((b"4", b"0000, 1080 : USER", b"ID : UNIX : fred\r", b"\n"), "fred", id="in pieces"),
    pytest.param((b"40000, 1080 : USERID : UNIX : fred\r\nand more lines\r\n",), "fred", id="more than one line"),
    pytest.param((b"40000, 1080 : ERROR : NO-USER\r\n",), None, id="no user"),
    pytest.param((b"40000, 1080 : ERROR : HIDDEN-USER\r\n",), None, id="hidden user"),
    pytest.param((b"40001, 1080 : USERID : UNIX : fred\r\n",), None, id="another client port"),
    pytest.param((b"40000, 1081 : USERID : UNIX : fred\r\n",), None, id="another port of ours"),
    pytest.param((b"1080, 40000 : USERID : UNIX : fred\r\n",), None, id="the ports the other way round"),
    pytest.param((b"40000, 1080 : USERID : UNIX : fr\red\r\n",), None, id="a carriage return in the user"),
    pytest.param((b"40000, 1080 : USERID : UNIX : fr\0ed\r\n",), None, id="a NUL in the user"),
    pytest.param((b"40000, 1080 : USERID : UNIX : \r\n",), None, id="an empty user"),
    pytest.param((b"40000, 1080 : USERID : UNIX : " + b"u" * 513 + b"\r\n",), None, id="a user of 513 octets"),
    pytest.param((b"40000, 1080 : USERID : UNIX : fred",), None, id="no line end, then closed"),
    pytest.param((b"",), None, id="nothing, then closed"),
    pytest.param((b"\r\n",), None, id="an empty line"),
    pytest.param((b"\xff" * 100 + b"\r\n",), None, id="noise"),
    pytest.param((b"x" * (1 << 20),), None, id="a megabyte without a line end"),
    pytest.param((b"x" * (1 << 20) + b"\r\n",), None, id="a megabyte of one line"),
    pytest.param((b"40000, 1080 : USERID : UNIX :" + b" " * 2000 + b"fred\r\n",), None, id="2000 blanks"),
]


@pytest.mark.parametrize(("said", "user"), ANSWERS)
def test_what_identd_says_and_what_is_made_of_it(
    stage: Stage, identd: Make, said: tuple[bytes, ...], user: str | None
) -> None:
    assert ask(stage, identd(saying(*said)), seconds=1.0) == user


async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"4")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flooding(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def resetting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(1, 13, LINGER_NONE)
    writer.transport.abort()


@pytest.mark.parametrize(
    "habit",
    [
        pytest.param(never, id="never answers"),
        pytest.param(dripping, id="drips"),
        pytest.param(flooding, id="floods"),
        pytest.param(resetting, id="resets"),
    ],
)
def test_a_hostile_identd_costs_its_time_limit_at_most(stage: Stage, identd: Make, habit: Habit) -> None:
    started = time.monotonic()
    assert ask(stage, identd(habit)) is None
    assert time.monotonic() - started < SECONDS + 3


def test_nobody_listens(stage: Stage, identd: Make) -> None:
    server = identd(never)
    server.close()
    started = time.monotonic()
    assert ask(stage, server, seconds=5) is None
    assert time.monotonic() - started < 4


def test_an_address_of_ours_that_is_gone(stage: Stage, identd: Make) -> None:
    assert ask(stage, identd(never), local=endpoint("192.0.2.77:1080")) is None


def test_a_slow_identd_does_not_delay_another_one(stage: Stage, identd: Make) -> None:
    slow, quick = identd(never), identd(saying(b"40000, 1080 : USERID : UNIX : fred\r\n"))

    async def both() -> tuple[str | None, float]:
        waiting = [stage.loop.create_task(IdentClient(5, slow.port).ask(CLIENT, LOCAL)) for _ in range(20)]
        await asyncio.sleep(0.01)
        started = time.monotonic()
        user = await IdentClient(5, quick.port).ask(CLIENT, LOCAL)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        return user, time.monotonic() - started

    user, took = stage.run(both())
    assert user == "fred"
    assert took < 3


@pytest.mark.parametrize("habit", [never, dripping, flooding, resetting, saying(b"x" * 5000)])
def test_no_descriptor_is_left(stage: Stage, identd: Make, habit: Habit) -> None:
    server = identd(habit)
    before = descriptors()
    ask(stage, server, seconds=0.05)
    assert stage.until(lambda: descriptors() <= before)


def test_who_gives_up_asking_leaves_no_descriptor(stage: Stage, identd: Make) -> None:
    server = identd(never)
    before = descriptors()
    task = stage.loop.create_task(IdentClient(5, server.port).ask(CLIENT, LOCAL))
    assert stage.until(lambda: server.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        stage.run(task)
    assert stage.until(lambda: descriptors() <= before)
