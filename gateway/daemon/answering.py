"""A child's end of its channel: what the supervisor says is heard, and what is answered waits until it is taken."""

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from gateway.daemon.messages import End, Message, Received, receive, send

WAIT_SECONDS = 0.01
"""Between two attempts at an answer that the supervisor does not take yet."""


def heard(channel: socket.socket, trouble: Callable[[str], None]) -> Received | None:
    """What the supervisor says; None: nothing yet. Its end is an `End`, too.

    Orders that can not be received are told to ``trouble``, and are the end: whoever does not know what it may do must
    not go on, and the supervisor starts another one.
    """
    try:
        received = receive(channel)
    except BlockingIOError:
        return None
    except OSError as error:
        trouble(f"orders that can not be received: {error.strerror}")
        received = None
    return received or Received(End(), [])


def attend(
    loop: asyncio.AbstractEventLoop,
    channel: socket.socket,
    trouble: Callable[[str], None],
    obey: Callable[[Received], None],
) -> None:
    """From now on ``obey`` gets what is `heard`, until the reader of the channel is removed."""

    def hear() -> None:
        received = heard(channel, trouble)
        if received is not None:
            obey(received)

    loop.add_reader(channel, hear)


_Row = TypeVar("_Row")


class Answering:
    """The answers of a child that are on their way."""

    def __init__(self, channel: socket.socket, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """``loop`` None: the one that runs when an answer is begun."""
        self._loop = loop
        self._channel = channel
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Work out an answer and `send` it; held here, so that it can not be collected meanwhile."""
        task = (self._loop or asyncio.get_running_loop()).create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send_rows(self, make: Callable[[tuple[_Row, ...]], Message], rows: tuple[_Row, ...]) -> None:
        """In as many messages as they need: what clients and name servers have written may be long."""
        try:
            await self.send(make(rows))
        except OSError as error:
            if error.errno != errno.EMSGSIZE or len(rows) == 1:
                raise
            half = len(rows) // 2
            await self.send_rows(make, rows[:half])
            await self.send_rows(make, rows[half:])

    async def send(self, message: Message) -> None:
        """As soon as the supervisor takes it; if it has gone, so does this process. Raises other OSErrors."""
        with suppress(BrokenPipeError, ConnectionResetError):
            while True:
                try:
                    send(self._channel, message)
                except BlockingIOError:
                    await asyncio.sleep(WAIT_SECONDS)
                else:
                    return
