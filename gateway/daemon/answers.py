"""What a worker answers when the operator asks for its sessions, or has some of them ended."""

import heapq
import socket
from collections.abc import Callable, Iterator
from functools import partial

from gateway.control.protocol import Filter, Live
from gateway.control.selection import Selection
from gateway.daemon.answering import Answering
from gateway.daemon.messages import Found, Inquire, Kill, Killed
from gateway.net.runner import Runner, Running

ROWS = 100
"""In one message."""

EVERYBODY = Filter(session="*")
KILLED = "ended by the operator"

ORDERS: dict[str, Callable[[Live], float]] = {
    "age": lambda row: row.seconds,
    "bytes": lambda row: row.sent + row.received,
}
"""By what sessions can be sorted, the greatest first."""


class Answers:
    """Those of one worker."""

    def __init__(self, runner: Runner, channel: socket.socket, number: int) -> None:
        """``number`` is the worker's."""
        self._runner = runner
        self._answering = Answering(channel, runner.loop)
        self._number = number

    def kill(self, message: Kill) -> None:
        """End the sessions that are meant."""
        chosen = list(self._matching(message.filter))
        count = self._runner.end(chosen, KILLED)
        self._answering.begin(self._answering.send(Killed(message.number, count)))

    def find(self, message: Inquire) -> None:
        """List the sessions that are meant."""
        matching = [self._live(running) for running in self._matching(message.filter)]
        rows = heapq.nlargest(message.limit, matching, key=ORDERS[message.sort])
        self._answering.begin(self._send_all(message.number, rows, len(matching)))

    def _matching(self, wanted: Filter) -> Iterator[Running]:
        if wanted == EVERYBODY:
            return self._runner.running()
        selection = Selection.of(wanted)
        return (running for running in self._runner.running() if selection.matches(running.session.snapshot()))

    def _live(self, running: Running) -> Live:
        session, sent, received, _ = running
        record = session.snapshot(sent, received)
        return Live(
            record.session, self._number, session.state.name.lower(), record.client, record.protocol, record.command,
            record.user, record.host, record.address, record.port, record.egress, record.uplink, record.rule,
            sent, received, record.seconds,
        )  # fmt: skip

    async def _send_all(self, number: int, rows: list[Live], matched: int) -> None:
        for at in range(0, len(rows), ROWS):
            await self._answering.send_rows(partial(Found, number), tuple(rows[at : at + ROWS]))
        await self._answering.send(Found(number, (), matched))
