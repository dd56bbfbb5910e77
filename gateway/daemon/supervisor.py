"""The first process: opens what workers need, starts them, starts them again when they die, and ends them in order.

No client byte ever reaches it. The listening sockets stay open here, so that what waits in the queue of a worker
that died is served by its successor.
"""

import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.address import Address, Endpoint
from gateway.config.rules import IdentLevel
from gateway.daemon.configuration import Configuration
from gateway.daemon.worker import run_worker
from gateway.errors import StartError
from gateway.net.sockets import endpoint_of, listening
from gateway.system.journal import Journal
from gateway.system.privileges import Account

BACKLOG = 4096
START_SECONDS = 30.0
STOP_SECONDS = 5.0
FIRST_DELAY, LAST_DELAY = 0.1, 30.0
"""Seconds before a worker that died is started anew: doubled each time, back to the first after a minute of life."""

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})


def open_listeners(addresses: Sequence[Address], port: int, workers: int) -> list[list[socket.socket]]:
    """For each worker its listening sockets, one for each address, all on one port. Raises StartError.

    The first socket is opened alone: with SO_REUSEPORT a second daemon of the same user would be let in silently.
    """
    found: list[list[socket.socket]] = [[] for _ in range(workers)]
    for address in addresses:
        wanted = Endpoint(address, port)
        try:
            probe = listening(wanted, 1, shared=False)
            wanted = endpoint_of(probe.getsockname())
            probe.close()
            for sockets in found:
                sockets.append(listening(wanted, BACKLOG, shared=True))
        except OSError as error:
            for sockets in found:
                for sock in sockets:
                    sock.close()
            raise StartError(f"cannot listen on {wanted}: {error.strerror}") from None
        port = wanted.port
    return found


@dataclass(slots=True)
class _Place:
    """One worker's place: its sockets, its process, and when it may be started again."""

    index: int
    listeners: list[socket.socket]
    pid: int = 0
    #: what its process writes a byte to when it serves; kept open as long as the process may write
    ready: int = -1
    started: float = 0.0
    delay: float = FIRST_DELAY
    due: float = 0.0


class Supervisor:
    """The workers of one daemon."""

    def __init__(
        self,
        configuration: Configuration,
        listeners: Sequence[list[socket.socket]],
        journal: Journal,
        account: Account | None,
        ident: IdentLevel,
        descriptors: int,
    ) -> None:
        self._configuration = configuration
        self._journal = journal
        self._account = account
        self._ident = ident
        self._descriptors = descriptors
        self._places = [_Place(index, sockets) for index, sockets in enumerate(listeners, 1)]
        self._alive, self._alive_writer = os.pipe2(os.O_CLOEXEC)
        self._births = 0

    def run(self, announce: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; ``announce`` is called when every worker serves. Raises StartError."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for place in self._places:
            place.ready = self._start(place)
        try:
            self._await_readiness()
            announce()
            self._watch()
        finally:
            self._stop()

    def _await_readiness(self) -> None:
        for place in self._places:
            found = select.select([place.ready], [], [], START_SECONDS)[0]
            if not found or not os.read(place.ready, 1):
                raise StartError("a worker did not start; its reason is in the lines above")

    def _start(self, place: _Place) -> int:
        self._births += 1
        reader, writer = os.pipe2(os.O_CLOEXEC)
        place.started = time.monotonic()
        place.pid = os.fork()
        if place.pid:
            os.close(writer)
            return reader
        status = 1
        try:
            os.close(reader)
            os.close(self._alive_writer)
            self._close_others(place)
            prefix = f"{int(time.time()):x}-{self._births}"
            run_worker(
                self._configuration,
                place.listeners,
                self._journal,
                self._account,
                self._ident,
                self._descriptors,
                prefix,
                self._alive,
                writer,
            )
            status = 0
        except BaseException:  # whatever it was, it must not run on as a second supervisor
            traceback.print_exc()
        finally:
            os._exit(status)

    def _close_others(self, mine: _Place) -> None:
        for place in self._places:
            if place is not mine:
                for sock in place.listeners:
                    sock.close()

    def _watch(self) -> None:
        while True:
            received = signal.sigtimedwait(SIGNALS, self._until_due())
            number = None if received is None else received.si_signo
            if number in (signal.SIGTERM, signal.SIGINT):
                return
            if number == signal.SIGHUP:
                self._journal.trouble("SIGHUP: this version reads its files at start only; restart it to load them")
            self._bury()
            self._restart()

    def _until_due(self) -> float:
        due = [place.due for place in self._places if not place.pid]
        return max(0.0, min(due) - time.monotonic()) if due else 3600.0

    def _bury(self) -> None:
        for place in self._places:
            if place.pid and (status := _exit_status(place.pid)) is not None:
                now = time.monotonic()
                if now - place.started > 2 * LAST_DELAY:
                    place.delay = FIRST_DELAY
                self._journal.trouble(
                    f"worker {place.index} (process {place.pid}) {status}; a new one starts in {place.delay:g} s"
                )
                place.pid = 0
                os.close(place.ready)
                place.due = now + place.delay
                place.delay = min(LAST_DELAY, place.delay * 2)

    def _restart(self) -> None:
        for place in self._places:
            if not place.pid and place.due <= time.monotonic():
                place.ready = self._start(place)

    def _stop(self) -> None:
        """End every worker: politely, then not."""
        running = {place.pid for place in self._places if place.pid}
        for pid in running:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running:
            running = {pid for pid in running if _exit_status(pid) is None}
            if running and time.monotonic() > deadline:
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                deadline += STOP_SECONDS
            if running:
                signal.sigtimedwait({signal.SIGCHLD}, 0.1)
        os.close(self._alive_writer)


def _exit_status(pid: int) -> str | None:
    """How a child ended, in words; None while it runs."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        return None
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
