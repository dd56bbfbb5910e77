"""How a process takes over other files, in two steps: it makes itself ready, and all begin together.

The files come as the texts that the supervisor has read and checked, so that no process needs the right to read them.
Reading them takes long when they are long: a thread does it, and the data path goes on meanwhile.
"""

import asyncio
import fcntl
import os
import socket
import sys
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from gateway.daemon.answering import Answering
from gateway.daemon.configuration import Configuration, reproduce
from gateway.daemon.host import Texts
from gateway.daemon.messages import Load, Loaded, Received, Swap, Swapped, close_all
from gateway.errors import GatewayError

SWITCH_SECONDS = 0.0005
"""How long the thread may keep others waiting (sys.setswitchinterval), while it reads."""


class Package(NamedTuple):
    """What comes with a `Load`: the files, and the slots of the lines of ``sockd.conf``."""

    texts: Texts
    slots: tuple[int, ...]


class Chosen(NamedTuple):
    """Files that are ready to rule, and as which of all that ever did."""

    ruling: int
    configuration: Configuration
    slots: tuple[int, ...]


SUPERSEDED = "other files came before these were read"

Begin = Callable[[Chosen, bool], int]
"""Let these files rule; with True the sessions that they deny are ended. How many that were."""


class Adoption:
    """The two steps of one process."""

    def __init__(
        self,
        channel: socket.socket,
        report: Callable[[str], None],
        begin: Begin,
        prepare: Callable[[Configuration], object] = lambda _: None,
    ) -> None:
        """``report`` is told of user files that can not be read any more.

        ``prepare`` is called in the thread, and may refuse the files by a GatewayError.
        """
        self._answering = Answering(channel)
        self._report = report
        self._begin = begin
        self._prepare = prepare
        self._chosen: Chosen | None = None
        #: the number of the question that came last
        self._latest = 0
        self._in_turn = asyncio.Lock()

    def load(self, received: Received) -> None:
        """A `Load` came."""
        message, descriptors = received
        assert isinstance(message, Load)
        try:
            package = read_memory(descriptors[0])
        finally:
            close_all(descriptors)
        # Files that were refused elsewhere leave their number to the next: nothing may begin but what came last.
        self._latest = message.number
        self._chosen = None
        self._answering.begin(self._load(message, package))

    async def _load(self, message: Load, package: Package) -> None:
        async with self._in_turn:
            fault = await self._make_ready(message, package)
        await self._answering.send(Loaded(message.number, fault))

    async def _make_ready(self, message: Load, package: Package) -> str:
        """What is wrong with the files; empty if nothing is."""
        try:
            configuration = await asyncio.to_thread(self._gently, package.texts)
        except GatewayError as error:
            return str(error)
        except Exception as error:  # a bug refuses the files, and ends nobody's session
            return f"{type(error).__name__}: {error}"
        if message.number != self._latest:
            return SUPERSEDED
        self._chosen = Chosen(message.ruling, configuration, package.slots)
        return ""

    def _gently(self, texts: Texts) -> Configuration:
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            configuration = reproduce(texts, self._report)
            self._prepare(configuration)
        finally:
            sys.setswitchinterval(before)
        return configuration

    def swap(self, message: Swap) -> None:
        """A `Swap` came; nobody asks for what was not loaded."""
        chosen = self._chosen
        if chosen is None or chosen.ruling != message.ruling:
            return
        self._chosen = None
        self._answering.begin(self._answering.send(Swapped(message.number, self._begin(chosen, message.recheck))))


_packages = msgspec.json.Decoder(Package)

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
"""Nobody can change what is read by others too (fcntl(2), "File Sealing")."""


def memory_of(package: Package) -> int:
    """The descriptor of a file in memory that holds this for ever. Raises OSError."""
    descriptor = os.memfd_create("sockd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(msgspec.json.encode(package))
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_memory(descriptor: int) -> Package:
    """What `memory_of` wrote; the descriptor stays open, and others may read it too."""
    return _packages.decode(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
