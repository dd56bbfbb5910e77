"""The children of the supervisor: started by fork, watched, started again when they die, ended in order.

Each has a channel (`gateway.daemon.messages`) to its parent, by which it says that it is ready, and whose end tells it
that the parent has gone.
"""

import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.daemon.messages import channel
from gateway.system.journal import Journal
from gateway.system.reaper import go_on_when_orphaned, reap_orphans
from gateway.system.sandbox import Confinement

FIRST_DELAY, LAST_DELAY = 0.1, 30.0
"""Seconds before a child that died is started anew: doubled each time, back to the first after a minute of life."""

STOP_SECONDS = 5.0
RT_MIN = int(signal.SIGRTMIN)


@dataclass(slots=True)
class Child:
    """One place in the tree: what runs there, its process, and when it may be started again."""

    #: as the log calls it: "worker 2"
    name: str
    #: its life, given its end of the channel
    life: Callable[[socket.socket], None]
    pid: int = 0
    #: our end, kept open as long as the process may use the other
    channel: socket.socket | None = None
    started: float = 0.0
    delay: float = FIRST_DELAY
    due: float = 0.0
    restarts: int = 0
    is_replaced: bool = False
    #: as it said when it was ready
    confinement: Confinement | None = None

    @property
    def kind(self) -> str:
        """``worker`` of ``worker 2``."""
        return self.name.partition(" ")[0]


class Children:
    """All of them; the order of the list is the order in which they are started."""

    def __init__(
        self,
        journal: Journal,
        children: Iterable[Child],
        forsake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``forsake`` is called in each new process: it closes what only the parent should hold."""
        self.all = tuple(children)
        self._journal = journal
        self._forsake = forsake
        self._clock = clock

    def start(self, child: Child) -> None:
        """Raises OSError when there is no descriptor or process to be had."""
        child.started = self._clock()
        mine, theirs = channel()
        try:
            child.pid = born(child.name, lambda: self._live(child, mine, theirs), self._journal)
        except OSError:
            mine.close()
            raise
        finally:
            theirs.close()
        child.channel = mine

    def _live(self, child: Child, mine: socket.socket, theirs: socket.socket) -> None:
        mine.close()
        self.forsake()
        child.life(theirs)

    def forsake(self) -> None:
        """In a new process: close what is the parent's alone."""
        for child in self.all:
            if child.channel is not None:
                child.channel.close()
        self._forsake()

    @property
    def pids(self) -> frozenset[int]:
        """Of those that run."""
        return frozenset(child.pid for child in self.all if child.pid)

    def bury(self, ending: Callable[[], bool] = lambda: False) -> list[Child]:
        """Those that have died; each is said, and is to be started again later.

        ``ending`` tells whether all of it is to end, and is asked after a death was seen: then nobody is missed.
        """
        dead = []
        for child in self.all:
            if child.pid and (status := _exit_status(child.pid)) is not None:
                dead.append(child)
                pid, child.pid = child.pid, 0
                if ending():
                    continue
                if child.is_replaced:
                    child.is_replaced = False
                    child.due = self._clock()
                    continue
                if self._clock() - child.started > 2 * LAST_DELAY:
                    child.delay = FIRST_DELAY
                self._postpone(child, f"{child.name} (process {pid}) {status}")
        reap_orphans(self.pids)
        return dead

    def restart(self) -> list[Child]:
        """Those that were started because it was time for it."""
        started = []
        for child in self.all:
            if not child.pid and child.due <= self._clock():
                try:
                    self.start(child)
                    child.restarts += 1
                    started.append(child)
                except OSError as error:
                    self._postpone(child, f"{child.name} can not be started: {error.strerror}")
        return started

    def until_due(self) -> float | None:
        """Seconds until somebody may be started again; None when nobody is to be."""
        due = [child.due for child in self.all if not child.pid]
        return max(0.0, min(due) - self._clock()) if due else None

    def kill(self, child: Child) -> None:
        """End it, though it may not want to; that is said when it is buried."""
        if child.pid:
            _kill(child.pid, signal.SIGKILL)

    def replace(self, child: Child) -> None:
        """Have another one in its place, which is no trouble and not said."""
        if child.pid:
            child.is_replaced = True
            self.kill(child)

    def _postpone(self, child: Child, why: str) -> None:
        """Say why, and start it later: each time twice as late."""
        self._journal.trouble(f"{why}; a new one starts in {child.delay:g} s")
        child.due = self._clock() + child.delay
        child.delay = min(LAST_DELAY, child.delay * 2)

    def stop(self, some: Iterable[Child]) -> None:
        """End these: politely, then not."""
        running = {child.pid for child in some if child.pid}
        for pid in running:
            _kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running := {pid for pid in running if _exit_status(pid) is None}:
            if time.monotonic() > deadline:
                for pid in running:
                    _kill(pid, signal.SIGKILL)
                deadline += STOP_SECONDS
            _rest(running, min(0.1, STOP_SECONDS))


def _rest(running: Iterable[int], seconds: float) -> None:
    """Until one of these processes ends, but not longer."""
    poll = select.poll()
    found = []
    try:
        for pid in running:
            found.append(os.pidfd_open(pid))
            poll.register(found[-1], select.POLLIN)
        poll.poll(seconds * 1000)
    except OSError:
        time.sleep(seconds / 10)  # no descriptor: look again soon
    finally:
        for descriptor in found:
            os.close(descriptor)


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


def born(name: str, life: Callable[[], None], journal: Journal) -> int:
    """A new process that lives that life, which begins with all signals blocked, and ends with it; its number.

    Raises OSError.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            _live(name, life, journal)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _live(name: str, life: Callable[[], None], journal: Journal) -> None:
    status = 1
    try:
        # Until now a signal would have been written into the parent's pipe.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        go_on_when_orphaned()
        life()
        status = 0
    except BaseException as error:  # whatever it was, it must not run on as a second supervisor
        traceback.print_exc()
        journal.trouble(f"{name} ends: {type(error).__name__}: {error}")
        journal.flush()
    finally:
        os._exit(status)
