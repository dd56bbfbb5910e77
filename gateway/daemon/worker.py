"""One worker process: an asyncio loop with the data path nested in it, from its start to its orderly end."""

import asyncio
import itertools
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from gateway.config.rules import IdentLevel
from gateway.config.settings import LiveSessions, Settings, uplink_settings
from gateway.daemon.adoption import Adoption, Chosen
from gateway.daemon.answering import attend
from gateway.daemon.answers import Answers
from gateway.daemon.configuration import Configuration
from gateway.daemon.counters import Block, by_label
from gateway.daemon.host import folders
from gateway.daemon.life import live
from gateway.daemon.logs import reopen
from gateway.daemon.messages import (
    End,
    Inquire,
    Kill,
    Load,
    Network,
    Orders,
    Ready,
    Received,
    Reopen,
    Run,
    Swap,
    Tail,
    close_all,
    send,
)
from gateway.daemon.names import ResolverLookups
from gateway.daemon.sampling import Ledger, Sampler
from gateway.net.ident import IdentClient
from gateway.net.listener import Listener
from gateway.net.lookup import THREADS, Lookups, Names
from gateway.net.loop import PathLoop, Poller
from gateway.net.passwords import NoPasswords, PasswordChecks
from gateway.net.pipes import PipePool
from gateway.net.runner import Limits, Runner
from gateway.policy.command import Job
from gateway.policy.destination import Guard
from gateway.policy.egress import Egress, Standing
from gateway.policy.router import Router
from gateway.session.context import Context
from gateway.session.tally import Tally
from gateway.system.journal import Journal
from gateway.system.sandbox import Confinement, Kind, confine
from gateway.system.sinks import FileSink
from gateway.system.title import Title

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


@dataclass(frozen=True, slots=True)
class Post:
    """What a worker is from its birth on."""

    #: 1, 2, ...
    number: int
    ident: IdentLevel | None
    descriptors: int
    #: what makes its sessions' ids unique on this host
    prefix: str
    block: Block
    #: to the helper
    commands: socket.socket
    #: to a resolver; None: there is none, and the host's own is asked
    lookups: socket.socket | None = None


class RemoteShell:
    """The commands of ``sockd.conf``, which the helper runs."""

    def __init__(self, commands: socket.socket, trouble: Callable[[str], None]) -> None:
        self._commands = commands
        self._trouble = trouble

    def run(self, job: Job) -> None:
        """Have it run, unless too many wait."""
        try:
            send(self._commands, Run(job.ruling, job.origin, job.values))
        except OSError as error:
            self._trouble(f"a command of {job.origin} is not run: the helper does not take it: {error.strerror}")

    def close(self) -> None:
        """Nothing runs here."""


class Worker:
    """What a worker process is made of, and its end."""

    def __init__(
        self,
        loop: PathLoop,
        chosen: Chosen,
        journal: Journal,
        post: Post,
        channel: socket.socket,
        confinement: Confinement,
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._post = post
        self._confinement = confinement
        self._configuration = chosen.configuration
        self._network = Network()
        self._stopped = False
        self._journal = journal
        self._checks: NoPasswords | PasswordChecks = NoPasswords()
        self._checks = self._checks_of(chosen.configuration)
        self._ledger = Ledger(post.block)
        tally = Tally()
        self._context = Context(
            policy=chosen.configuration.policy,
            service_names=chosen.configuration.services.names,
            journal=journal,
            clock=time.monotonic,
            timestamp=journal.timestamp,
            minute=minute_of_week(time.time),
            new_number=itertools.count(1).__next__,
            prefix=post.prefix,
            process=str(os.getpid()),
            tally=tally,
        )
        self._context = self._context_of(chosen)
        settings = chosen.configuration.settings
        shares = share(post.descriptors, settings.sockd.sessions)
        self._poller = loop.poller
        self._shell = RemoteShell(post.commands, journal.trouble)
        seconds = settings.timeouts.lookup
        self._by_host = Lookups(loop, seconds, threads=shares.lookups)
        self._by_resolver = None if post.lookups is None else ResolverLookups(loop, post.lookups, seconds)
        self._runner = Runner(
            loop,
            loop.poller,
            self._context,
            self._limits(settings),
            journal,
            self._names(settings),
            self._checks,
            IdentClient(settings.timeouts.ident),
            self._shell,
            PipePool(shares.pipes),
        )
        self._listeners: dict[int, tuple[Listener, socket.socket]] = {}
        self._tailed: FileSink | None = None
        self._greeted = False
        self._adoption = Adoption(channel, journal.trouble, self._adopt)
        self._answers = Answers(self._runner, channel, post.number)
        title = Title(f"worker {post.number}", live=settings.sockd.titles)
        self._sampler = Sampler(self._runner, tally, self._ledger, post.block, journal, title)
        attend(loop, channel, journal.trouble, self._obey)

    # What follows from the files

    def _names(self, settings: Settings) -> Names:
        """Who looks names up: the resolver, if there is one and it has zones; else the host's."""
        names = self._by_resolver if self._by_resolver is not None and settings.resolver.zone else self._by_host
        names.seconds = settings.timeouts.lookup
        return names

    def _context_of(self, chosen: Chosen) -> Context:
        found = chosen.configuration
        level = found.settings.sockd.ident if self._post.ident is None else self._post.ident
        return replace(
            self._context,
            policy=found.policy,
            service_names=found.services.names,
            ident=level,
            passwords=found.passwords is not None,
            no_identd=found.access.no_identd,
            bad_id=found.access.bad_id,
            ruling=chosen.ruling,
            router=found.router,
            uses=self._ledger.uses(by_label(found.access, chosen.slots)),
        )

    def _limits(self, settings: Settings) -> Limits:
        shares = share(self._post.descriptors, settings.sockd.sessions)
        times = settings.timeouts
        return Limits(times.handshake, times.connect, times.idle, shares.sessions, shares.attempts)

    def _checks_of(self, configuration: Configuration) -> NoPasswords | PasswordChecks:
        passwords = configuration.passwords
        if passwords is None:
            return NoPasswords()
        if isinstance(self._checks, PasswordChecks):
            return self._checks.successor(passwords.verify)
        return PasswordChecks(self._loop, passwords.verify, time.monotonic)

    def _adopt(self, chosen: Chosen, recheck: bool) -> int:
        """Other files rule from now on; how many sessions were ended because they deny them."""
        settings = chosen.configuration.settings
        before, self._configuration = self._configuration, chosen.configuration
        self._context = self._context_of(chosen)
        if _secrets(chosen.configuration) != _secrets(before):
            # What was asked of the old one is still answered; what it remembers counts no more.
            self._checks = self._checks_of(chosen.configuration)
        self._know(self._network)
        self._runner.lookups = self._names(settings)
        self._runner.adopt(self._context, self._limits(settings), self._checks, IdentClient(settings.timeouts.ident))
        self._journal.choose(settings.log.classes)
        return self._recheck() if recheck else 0

    def _recheck(self) -> int:
        denied = list(self._runner.denied_by(self._context))
        return sum(self._runner.end([running], f"no longer permitted: {reason}") for running, reason in denied)

    # Orders

    def _obey(self, received: Received) -> None:
        """The supervisor says what is the case now, or has gone."""
        message, descriptors = received
        match message:
            case End():
                self.stop()
            case Orders():
                self._follow(message, descriptors)
            case Load():
                self._adoption.load(received)
            case Swap():
                self._adoption.swap(message)
            case Inquire():
                self._answers.find(message)
            case Kill():
                self._answers.kill(message)
            case Reopen():
                reopen(self._journal, received)
            case Tail():
                self._tail(descriptors)
            case _:
                close_all(descriptors)

    def _follow(self, orders: Orders, descriptors: list[int]) -> None:
        if orders.listeners is not None:
            self._listen(dict(zip(orders.listeners, descriptors, strict=True)))
        self._network = orders.network
        self._know(orders.network)
        if not self._greeted:
            self._greeted = True
            send(self._channel, Ready(os.getpid(), self._confinement))

    def _listen(self, wanted: dict[int, int]) -> None:
        """Accept from these sockets and no others; the numbers say which of them are known already."""
        for number in self._listeners.keys() - wanted.keys():
            listener, sock = self._listeners.pop(number)
            listener.finish()
            sock.close()
        for number, descriptor in wanted.items():
            if number in self._listeners:
                os.close(descriptor)
            else:
                sock = socket.socket(fileno=descriptor)
                self._listeners[number] = Listener(self._poller, self._runner, sock), sock
        self._sampler.write()  # whoever drains the daemon looks at the numbers next

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

    def _tail(self, descriptors: list[int]) -> None:
        sink = FileSink(descriptors[0]) if descriptors else None
        self._journal.tail(sink)
        if self._tailed is not None:
            self._tailed.close()
        self._tailed = sink
        close_all(descriptors)  # the sink has one of its own

    def stop(self) -> None:
        """Accept no more, end every session, write their records, and leave the loop. Once is enough."""
        if self._stopped:
            return
        self._stopped = True
        for listener, _ in self._listeners.values():
            listener.close()
        self._runner.close("shutdown")
        self._checks.close()
        self._sampler.write()
        self._loop.stop()


def _secrets(configuration: Configuration) -> str:
    """The text of the passwords file; empty if there is none."""
    return configuration.texts.files.get(configuration.settings.files.passwords, "")


def _usable(router: Router, egress: Egress) -> bool:
    """Whether this way out is still there: the same interface, with the same address."""
    uplink = router.uplink_of(egress.uplink)
    if uplink is None or uplink.standing is Standing.DOWN:
        return False
    return uplink.index == egress.ifindex and egress.source in uplink.sources


def _is_cut(settings: Settings, name: str) -> bool:
    """Whether live sessions of an uplink end with it, also when the uplink itself is no more."""
    return uplink_settings(settings, name).sessions is LiveSessions.CUT


def run_worker(chosen: Chosen, journal: Journal, post: Post, channel: socket.socket) -> None:
    """The life of a worker process, which begins with all signals blocked.

    Its orders come by ``channel``, which ends when the supervisor does; with the first ones it is ready.
    """
    confinement = confine(Kind.WORKER, folders(chosen.configuration.texts.signatures))
    # See gateway.net.lookup: no name is ever completed from the search list.
    os.environ["LOCALDOMAIN"] = ""
    loop = PathLoop(Poller())
    asyncio.set_event_loop(loop)
    journal.attach(loop.call_later)
    worker = Worker(loop, chosen, journal, post, channel, confinement)
    live(loop, journal, worker.stop)
