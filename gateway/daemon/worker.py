"""One worker process: an asyncio loop with the data path nested in it, from its start to its orderly end."""

import asyncio
import gc
import itertools
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gateway.config.rules import IdentLevel
from gateway.config.settings import LiveSessions, Settings, uplink_settings
from gateway.daemon.configuration import Configuration
from gateway.daemon.messages import READY, Network, Orders, receive_orders
from gateway.net.ident import IdentClient
from gateway.net.listener import Listener
from gateway.net.lookup import THREADS, Lookups
from gateway.net.loop import PathLoop, Poller
from gateway.net.passwords import NoPasswords, PasswordChecks
from gateway.net.pipes import PipePool
from gateway.net.runner import Limits, Runner
from gateway.net.shell import CommandRunner
from gateway.policy.destination import Guard
from gateway.policy.egress import Egress, Standing
from gateway.policy.router import Router
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
        journal: Journal,
        ident: IdentLevel,
        descriptors: int,
        prefix: str,
        channel: socket.socket,
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._configuration = configuration
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
            router=configuration.router,
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
        self._poller = poller
        self._listeners: dict[int, tuple[Listener, socket.socket]] = {}
        self._greeted = False
        loop.add_reader(channel, self._hear)

    def _hear(self) -> None:
        """The supervisor says what is the case now, or has gone."""
        try:
            received = receive_orders(self._channel)
        except BlockingIOError:
            return
        except OSError as error:
            # Whoever does not know what it may do must not go on: the supervisor starts another worker.
            self._journal.trouble(f"orders that can not be received: {error.strerror}")
            received = None
        if received is None:
            self.stop()
        else:
            self._follow(*received)

    def _follow(self, orders: Orders, descriptors: list[int]) -> None:
        if orders.listeners is not None:
            self._listen(dict(zip(orders.listeners, descriptors, strict=True)))
        self._know(orders.network)
        if not self._greeted:
            self._greeted = True
            self._channel.send(READY)

    def _listen(self, wanted: dict[int, int]) -> None:
        """Accept from these sockets and no others; the numbers say which of them are known already."""
        for number in self._listeners.keys() - wanted.keys():
            listener, sock = self._listeners.pop(number)
            listener.close()
            sock.close()
        for number, descriptor in wanted.items():
            if number in self._listeners:
                os.close(descriptor)
            else:
                sock = socket.socket(fileno=descriptor)
                self._listeners[number] = Listener(self._poller, self._runner, sock), sock

    def _know(self, network: Network) -> None:
        """The host's addresses and uplinks are these now."""
        policy = self._configuration.policy
        guard = Guard(frozenset(network.own), network.inside)
        if guard != policy.guard:
            policy.set_guard(guard)
        router = self._configuration.router
        if router is not None:
            router.update(network.uplinks)
            settings = self._configuration.settings
            self._runner.ways_changed(partial(_usable, router), partial(_is_cut, settings))

    def stop(self) -> None:
        """Accept no more, end every session, write their records, and leave the loop. Once is enough."""
        if self._stopped:
            return
        self._stopped = True
        for listener, _ in self._listeners.values():
            listener.close()
        self._runner.close("shutdown")
        self._checks.close()
        self._loop.stop()


def _usable(router: Router, egress: Egress) -> bool:
    """Whether this way out is still there: the same interface, with the same address."""
    uplink = router.uplink_of(egress.uplink)
    if uplink is None or uplink.standing is Standing.DOWN:
        return False
    return uplink.index == egress.ifindex and egress.source in uplink.sources


def _is_cut(settings: Settings, name: str) -> bool:
    """Whether live sessions of an uplink end with it, also when the uplink itself is no more."""
    return uplink_settings(settings, name).sessions is LiveSessions.CUT


def run_worker(
    configuration: Configuration,
    journal: Journal,
    account: Account | None,
    ident: IdentLevel,
    descriptors: int,
    prefix: str,
    channel: socket.socket,
) -> None:
    """The life of a worker process, which begins with all signals blocked.

    Its orders come by ``channel``, which ends when the supervisor does; with the first ones it is ready.
    """
    if account is not None:
        drop(account)
    # See gateway.net.lookup: no name is ever completed from the search list.
    os.environ["LOCALDOMAIN"] = ""
    loop = PathLoop(Poller())
    asyncio.set_event_loop(loop)
    journal.attach(loop.call_later)
    worker = Worker(loop, configuration, journal, ident, descriptors, prefix, channel)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is the supervisor's, also when a whole process group gets it
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.collect()
    gc.freeze()
    try:
        loop.run_forever()
    finally:
        journal.flush()
