"""Outgoing connections: one endpoint by a callback, several by the race of RFC 8305.

Only endpoints that the policy has checked come here; nothing is looked up and nothing is added.
"""

import asyncio
import errno
import os
import select
import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from gateway.address import Address
from gateway.net.egress import bind_to
from gateway.net.loop import READ_WRITE, Poller
from gateway.net.sockets import Socket, address_of, outgoing
from gateway.policy.egress import Hop
from gateway.session.texts import TEXTS

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside the one that has not answered (RFC 8305 §5)."""

MAX_ATTEMPTS = 4
ATTEMPT_SECONDS = 10.0

_UNDER_WAY = errno.EINPROGRESS
_FAILED = select.EPOLLERR | select.EPOLLHUP


class Dialled(Protocol):
    """Who is told how a dial went."""

    def dial_succeeded(self, sock: Socket, remote: Address, events: int) -> None:
        """The socket is connected; the poller watches it for reading and writing, and reported these events."""

    def dial_failed(self, number: int, call: str) -> None:
        """The errno, and the system call that gave it."""


class Attempt(msgspec.Struct, eq=False):
    """A connection attempt to one endpoint, on the nested poller.

    A Struct, since the data path makes one a connection, and an ``__init__`` of ours would cost twice as much.
    """

    _poller: Poller
    client: Dialled
    _sock: Socket
    _remote: Address
    _over: bool = False

    def ready(self, events: int) -> None:
        """The attempt has succeeded or failed."""
        if self._over or not events:
            return
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if events & _FAILED else 0
        if number:
            self.cancel()
            self.client.dial_failed(number, "connect()")
        else:
            self._over = True
            self.client.dial_succeeded(self._sock, self._remote, events)

    def cancel(self) -> None:
        """Give the attempt up; nobody is told."""
        if not self._over:
            self._over = True
            self._poller.close_later(self._sock.fileno(), self._sock)


def dial(poller: Poller, client: Dialled, hop: Hop) -> Attempt | None:
    """Start to connect; None when it failed at once, and then ``client`` was told already."""
    endpoint, egress, _ = hop
    address, port = endpoint
    try:
        sock = outgoing(endpoint)
    except OSError as error:
        client.dial_failed(error.errno or 0, "socket()")
        return None
    if egress is not None:
        try:
            bind_to(sock, egress)
        except OSError as error:
            sock.close()
            client.dial_failed(error.errno or 0, f"bind() to {egress.source} on {egress.device}")
            return None
    number = sock.connect_ex((TEXTS[address], port))
    if number != _UNDER_WAY and number != 0:
        sock.close()
        client.dial_failed(number, "connect()")
        return None
    attempt = Attempt(poller, client, sock, address)
    poller.add(sock.fileno(), attempt, READ_WRITE)
    return attempt


def interleave(hops: Sequence[Hop]) -> list[Hop]:
    """The order of RFC 8305 §4: families take turns, the first one keeps its place."""
    if not hops:
        return []
    leader = hops[0].endpoint.address.version
    first = [hop for hop in hops if hop.endpoint.address.version == leader]
    second = [hop for hop in hops if hop.endpoint.address.version != leader]
    mixed: list[Hop] = []
    for index in range(max(len(first), len(second))):
        mixed += first[index : index + 1] + second[index : index + 1]
    return mixed


class Spare:
    """How many descriptors all races of a worker may hold beyond the one that each session has anyway."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self) -> bool:
        """Whether there was one more."""
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """One is free again."""
        self._left += 1


async def race(loop: asyncio.AbstractEventLoop, hops: Sequence[Hop], spare: Spare | None = None) -> socket.socket:
    """Connect to whichever endpoint answers first, each by its way; a new one is tried every 250 ms, or when one fails.

    At most `MAX_ATTEMPTS` run at a time, and none longer than `ATTEMPT_SECONDS` while others wait, since each holds a
    descriptor. Raises the OSError of the last attempt that failed when none is left. Cancelling it closes every socket.
    """
    spare = spare or Spare(MAX_ATTEMPTS)
    waiting = interleave(hops)
    running: dict[asyncio.Task[socket.socket], float] = {}
    taken = 0
    last = OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
    try:
        while waiting or running:
            # The first attempt is the session's own; each that runs beside it needs one of the spare places.
            if waiting and len(running) < MAX_ATTEMPTS and (len(running) <= taken or spare.take()):
                taken = max(taken, len(running))
                running[loop.create_task(_connect(loop, waiting.pop(0)))] = loop.time()
            done, _ = await asyncio.wait(
                running, timeout=_patience(loop, waiting, running), return_when=asyncio.FIRST_COMPLETED
            )
            winner = None
            for task in done:
                del running[task]
                try:
                    sock = task.result()
                except OSError as error:
                    last = error
                else:
                    if winner is None:
                        winner = sock
                    else:
                        sock.close()
            if winner is not None:
                return winner
            if waiting and running:
                _give_up_oldest(loop, running)
        raise last
    finally:
        for _ in range(taken):
            spare.give_back()
        for task in running:
            task.add_done_callback(_close_late_winner)
            task.cancel()


def _patience(
    loop: asyncio.AbstractEventLoop, waiting: Sequence[Hop], running: Mapping[asyncio.Task[socket.socket], float]
) -> float | None:
    """How long to wait for the running attempts before something else is to be done."""
    if not waiting:
        return None
    if len(running) < MAX_ATTEMPTS:
        return ATTEMPT_DELAY
    return max(0.0, next(iter(running.values())) + ATTEMPT_SECONDS - loop.time())


def _give_up_oldest(loop: asyncio.AbstractEventLoop, running: dict[asyncio.Task[socket.socket], float]) -> None:
    oldest, began = next(iter(running.items()))
    if loop.time() >= began + ATTEMPT_SECONDS:
        del running[oldest]
        oldest.add_done_callback(_close_late_winner)
        oldest.cancel()


def _close_late_winner(task: "asyncio.Task[socket.socket]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(loop: asyncio.AbstractEventLoop, hop: Hop) -> socket.socket:
    endpoint = hop.endpoint
    sock = socket.socket(fileno=outgoing(endpoint).detach())
    sock.setblocking(False)
    try:
        if hop.egress is not None:
            bind_to(sock, hop.egress)
        await loop.sock_connect(sock, (str(endpoint.address), endpoint.port))
    except BaseException:
        sock.close()
        raise
    return sock


async def dial_any(poller: Poller, client: Dialled, hops: Sequence[Hop], spare: Spare) -> None:
    """`race`, with the same ends as `dial`. Cancelling it gives the attempts up; nobody is told."""
    try:
        sock = await race(asyncio.get_running_loop(), hops, spare)
        remote = _peer(sock)
    except OSError as error:
        client.dial_failed(error.errno or 0, "connect()")
        return
    # The poller reports what the socket is ready for at its next turn, when the relay has taken it over.
    plain_sock = Socket(sock.family, sock.type, sock.proto, sock.detach())
    plain_sock.setblocking(False)
    poller.add(plain_sock.fileno(), _Nobody(), READ_WRITE)
    client.dial_succeeded(plain_sock, remote, 0)


def _peer(sock: socket.socket) -> Address:
    """Who won the race; raises OSError, with the socket closed, when that peer has reset already."""
    try:
        return address_of(sock.getpeername()[0])
    except OSError:
        sock.close()
        raise


class _Nobody:
    def ready(self, events: int) -> None:
        """Not reached: success and the start of the relay are one step."""
