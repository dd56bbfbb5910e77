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
from gateway.system.pidfile import PidFile
from gateway.system.privileges import Account

BACKLOG = 4096
START_SECONDS = 30.0
STOP_SECONDS = 5.0
FIRST_DELAY, LAST_DELAY = 0.1, 30.0
"""Seconds before a worker that died is started anew: doubled each time, back to the first after a minute of life."""

RT_MIN = int(signal.SIGRTMIN)

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
        pidfile: PidFile | None = None,
    ) -> None:
        """``pidfile`` is the supervisor's own: its workers close it."""
        self._configuration = configuration
        self._journal = journal
        self._account = account
        self._ident = ident
        self._descriptors = descriptors
        self._pidfile = pidfile
        self._places = [_Place(index, sockets) for index, sockets in enumerate(listeners, 1)]
        self._alive, self._alive_writer = os.pipe2(os.O_CLOEXEC)
        self._births = 0

    def run(self, announce: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; ``announce`` is called when every worker serves. Raises StartError."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            for place in self._places:
                place.ready = self._start(place)
            self._await_readiness()
            announce()
            self._watch()
        finally:
            self._stop()

    def _await_readiness(self) -> None:
        for place in self._places:
            poll = select.poll()
            poll.register(place.ready, select.POLLIN)
            if not poll.poll(START_SECONDS * 1000) or not os.read(place.ready, 1):
                raise StartError("a worker did not start; its reason is in the lines above, or in the log")

    def _start(self, place: _Place) -> int:
        """Raises OSError when there is no descriptor or process to be had."""
        self._births += 1
        place.started = time.monotonic()
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            place.pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if place.pid:
            os.close(writer)
            return reader
        status = 1
        try:
            os.close(reader)
            os.close(self._alive_writer)
            self._close_others(place)
            if self._pidfile is not None:
                os.close(self._pidfile.fd)
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
        except BaseException as error:  # whatever it was, it must not run on as a second supervisor
            traceback.print_exc()
            self._journal.trouble(f"worker {place.index} ends: {type(error).__name__}: {error}")
            self._journal.flush()
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
                pid, place.pid = place.pid, 0
                os.close(place.ready)
                if time.monotonic() - place.started > 2 * LAST_DELAY:
                    place.delay = FIRST_DELAY
                self._postpone(place, f"worker {place.index} (process {pid}) {status}")

    def _restart(self) -> None:
        for place in self._places:
            if not place.pid and place.due <= time.monotonic():
                try:
                    place.ready = self._start(place)
                except OSError as error:
                    self._postpone(place, f"worker {place.index} can not be started: {error.strerror}")

    def _postpone(self, place: _Place, why: str) -> None:
        """Say why, and start a worker at this place later: each time twice as late."""
        self._journal.trouble(f"{why}; a new one starts in {place.delay:g} s")
        place.due = time.monotonic() + place.delay
        place.delay = min(LAST_DELAY, place.delay * 2)

    def _stop(self) -> None:
        """End every worker: politely, then not."""
        running = {place.pid for place in self._places if place.pid}
        for pid in running:
            _kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running:
            running = {pid for pid in running if _exit_status(pid) is None}
            if running and time.monotonic() > deadline:
                for pid in running:
                    _kill(pid, signal.SIGKILL)
                deadline += STOP_SECONDS
            if running:
                signal.sigtimedwait({signal.SIGCHLD}, 0.1)
        os.close(self._alive_writer)


def _exit_status(pid: int) -> str | None:
    """How a child ended, in words; None while it runs."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return "is gone"
    if not done:
        return None
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    return f"was killed by {_name_of(-code)}"


def _name_of(number: int) -> str:
    """A real-time signal has no name of its own."""
    return signal.Signals(number).name if number in signal.valid_signals() and number < RT_MIN else f"signal {number}"


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
