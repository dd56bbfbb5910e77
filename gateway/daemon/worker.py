"""One worker process: an asyncio loop with the data path nested in it, from its start to its orderly end."""

import asyncio
import gc
import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.config.rules import IdentLevel
from gateway.daemon.configuration import Configuration
from gateway.net.ident import IdentClient
from gateway.net.listener import Listener
from gateway.net.lookup import THREADS, Lookups
from gateway.net.loop import PathLoop, Poller
from gateway.net.passwords import NoPasswords, PasswordChecks
from gateway.net.pipes import PipePool
from gateway.net.runner import Limits, Runner
from gateway.net.shell import CommandRunner
from gateway.session.context import Context
from gateway.system.journal import Journal
from gateway.system.privileges import Account, drop

RESERVED_DESCRIPTORS = 64
"""Descriptors that are no session's: logs, listeners, epoll sets, look-ups, commands, and slack for a turn."""

MAX_PIPES = 64
MAX_SESSIONS = 65536
MAX_ATTEMPTS = 1024


def minute_of_week(wall: Callable[[], float]) -> Callable[[], int]:
    """A clock of the local week in minutes, 0 is Monday 00:00; asks the time zone once a minute at most."""
    known = (-1, 0)

    def minute() -> int:
        nonlocal known
        now = int(wall() // 60)
        if now != known[0]:
            local = time.localtime(now * 60)
            known = (now, (local.tm_wday * 24 + local.tm_hour) * 60 + local.tm_min)
        return known[1]

    return minute


class Shares(NamedTuple):
    """What a worker's descriptors are for: a session takes two, a pipe too, a look-up and a further attempt one."""

    sessions: int
    pipes: int
    lookups: int
    attempts: int


def share(descriptors: int, wanted: int) -> Shares:
    """How many of each fit; ``wanted`` sessions are enough, 0 means as many as possible."""
    pipes = min(MAX_PIPES, descriptors // 16)
    lookups = min(THREADS, descriptors // 16)
    attempts = min(MAX_ATTEMPTS, descriptors // 16)
    fit = max(1, (descriptors - RESERVED_DESCRIPTORS - 2 * pipes - lookups - attempts) // 2)
    return Shares(min(fit, wanted or MAX_SESSIONS), pipes, lookups, attempts)


class Worker:
    """What a worker process is made of, and its end."""

    def __init__(
        self,
        loop: PathLoop,
        configuration: Configuration,
        listeners: Sequence[socket.socket],
        journal: Journal,
        ident: IdentLevel,
        descriptors: int,
        prefix: str,
    ) -> None:
        self._loop = loop
        self._stopped = False
        self._journal = journal
        settings = configuration.settings
        clock = time.monotonic
        passwords = configuration.passwords
        context = Context(
            policy=configuration.policy,
            service_names=configuration.services.names,
            journal=journal,
            clock=clock,
            timestamp=journal.timestamp,
            minute=minute_of_week(time.time),
            new_number=itertools.count(1).__next__,
            prefix=prefix,
            process=str(os.getpid()),
            ident=ident,
            passwords=passwords is not None,
            no_identd=configuration.access.no_identd,
            bad_id=configuration.access.bad_id,
        )
        shares = share(descriptors, settings.sockd.sessions)
        times = settings.timeouts
        limits = Limits(times.handshake, times.connect, times.idle, shares.sessions, shares.attempts)
        self._checks = NoPasswords() if passwords is None else PasswordChecks(loop, passwords.verify, clock)
        poller = loop.poller
        self._runner = Runner(
            loop,
            poller,
            context,
            limits,
            journal,
            Lookups(loop, times.lookup, threads=shares.lookups),
            self._checks,
            IdentClient(times.ident),
            CommandRunner(times.command, journal.trouble),
            PipePool(shares.pipes),
        )
        self._listeners = [Listener(poller, self._runner, sock) for sock in listeners]

    def stop(self) -> None:
        """Accept no more, end every session, write their records, and leave the loop. Once is enough."""
        if self._stopped:
            return
        self._stopped = True
        for listener in self._listeners:
            listener.close()
        self._runner.close("shutdown")
        self._checks.close()
        self._loop.stop()


def run_worker(
    configuration: Configuration,
    listeners: Sequence[socket.socket],
    journal: Journal,
    account: Account | None,
    ident: IdentLevel,
    descriptors: int,
    prefix: str,
    parent: int,
    ready: int,
) -> None:
    """The life of a worker process.

    ``parent`` is a descriptor that ends when the supervisor does; a byte is written to ``ready`` when clients are
    served.
    """
    if account is not None:
        drop(account)
    # See gateway.net.lookup: no name is ever completed from the search list.
    os.environ["LOCALDOMAIN"] = ""
    loop = PathLoop(Poller())
    asyncio.set_event_loop(loop)
    journal.attach(loop.call_later)
    worker = Worker(loop, configuration, listeners, journal, ident, descriptors, prefix)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is the supervisor's, also when a whole process group gets it
    loop.add_reader(parent, worker.stop)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.collect()
    gc.freeze()
    os.write(ready, b".")
    os.close(ready)
    try:
        loop.run_forever()
    finally:
        journal.flush()
