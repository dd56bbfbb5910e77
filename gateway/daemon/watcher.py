"""The watcher: knows the host's interfaces, watches over the uplinks, and says how the kernel should route.

Whatever netlink reports only wakes it: it then reads everything anew, works out what should be, and has the warden
change what is not so. What it finds goes to the supervisor, whole, whenever it has changed. It serves no client and has
no privilege, since its probes read what strangers answer.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from gateway.address import Address
from gateway.config.fields import prefix_length
from gateway.config.settings import Settings, UplinkSettings
from gateway.daemon.configuration import Configuration
from gateway.daemon.logs import reopen
from gateway.daemon.messages import Applied, Apply, Change, End, Network, Networks, Ready, Reopen, receive, send
from gateway.daemon.network import network_of, uplinks_of, watched_words
from gateway.daemon.titles import watcher_words
from gateway.daemon.uplinks import Ask, Uplinks
from gateway.net.probe import probe_round
from gateway.netlink.desired import Bases, Strict, Wanted, desired
from gateway.netlink.diff import Step, steps
from gateway.netlink.kernel import Kernel, KernelRefused
from gateway.netlink.model import KernelRoute, KernelState, Prefix
from gateway.netlink.watch import Watch
from gateway.policy.egress import Uplink
from gateway.system.journal import Journal
from gateway.system.sandbox import Confinement, Kind, confine
from gateway.system.title import Title

SETTLE_SECONDS = 0.02
"""Changes come in flocks; so long they gather before the kernel is read."""

END_SECONDS = 2.0
"""How long what is given up may take to end."""

APPLY_SECONDS = 30.0
"""How long the warden may take for a change."""

RETRY_SECONDS = 5.0
"""After something failed: the kernel refused it, the supervisor did not listen, the disk was full."""


class Netlink(Protocol):
    """Who reads the kernel's state and changes it: `gateway.netlink.kernel.Kernel`."""

    async def read(self, devices: Callable[[KernelState], Collection[str]] | None) -> KernelState:
        """What the kernel has now. Raises KernelRefused."""

    async def apply(self, changes: Iterable[Step]) -> tuple[str, ...]:
        """What went wrong. Raises KernelRefused."""


class Log(Protocol):
    """Who writes down what happens: `gateway.system.journal.Journal`."""

    def line(self, text: str) -> None:
        """What the administrator may want to know."""

    def trouble(self, text: str) -> None:
        """What the administrator has to know."""


class Watcher:
    """Made and used in a running event loop."""

    def __init__(
        self,
        configuration: Configuration,
        log: Log,
        channel: socket.socket,
        kernel: Netlink,
        *,
        privileged: bool,
        before: Network,
        greet: Callable[[], None],
        show: Callable[[str], None] = lambda _words: None,
        ask: Ask = probe_round,
        clock: Callable[[], float] = time.monotonic,
        retry: float = RETRY_SECONDS,
    ) -> None:
        """``privileged``: it may have the kernel's rules changed; ``before`` is what a predecessor told the supervisor;
        ``greet`` says that it is ready (OSError), ``show`` what it knows; ``retry`` seconds after what failed it is
        tried again.
        """
        settings = self._settings = configuration.settings
        words = watched_words(settings, configuration.routes, configuration.access)
        self._words = words
        self._log = log
        self._channel = channel
        self._kernel = kernel
        wants_rules = settings.multihomed and settings.external.policy_routing
        self._keeps_rules = wants_rules and privileged
        self._clears_rules = settings.multihomed and not wants_rules and privileged
        if wants_rules and not privileged:
            log.line("without CAP_NET_ADMIN routing tables and rules are left as they are")
        self._greeting = greet
        self._show = show
        self._clock = clock
        self._retry = retry
        self._loop = asyncio.get_running_loop()
        self._state = KernelState()
        self._uplinks = Uplinks(settings.external, ask, self._spawn, clock, log.line, self.wake, before.uplinks)
        #: what the supervisor knows
        self._told: Network | None = None
        self._is_ready = False
        self._left_out = 0
        self._faults: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._bug: BaseException | None = None

    async def run(self) -> None:
        """Until it is cancelled; what a probe raises is a bug, and ends it."""
        while True:
            self._changed.clear()
            self._say(await self._reconcile())
            if self._faults:
                self._wake_in(self._retry)
            await self._changed.wait()
            if self._bug is not None:
                raise self._bug
            await asyncio.sleep(SETTLE_SECONDS)

    def wake(self) -> None:
        """Something may have changed."""
        self._changed.set()

    def _wake_in(self, seconds: float) -> None:
        """Look again then, unless that is to be done sooner anyway."""
        when = self._loop.time() + max(0.0, seconds)
        if self._alarm is None or self._alarm.when() > when:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.wake()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """An uplink that nobody probes any more would stand as it is for ever."""
        if not task.cancelled():
            self._bug = task.exception()
            self.wake()

    # One round

    async def _reconcile(self) -> frozenset[str]:
        """Read, work out, change, tell; what failed, in words."""
        try:
            self._state = await self._kernel.read(self._devices)
        except KernelRefused as error:
            return frozenset({str(error)})
        uplinks = uplinks_of(self._settings, self._words, self._state)
        self._uplinks.observe(uplinks, self._state)
        if self._uplinks.due is not None:
            self._wake_in(self._uplinks.due - self._clock())
        faults = await self._keep_rules(uplinks)
        return frozenset(filter(None, (*faults, self._tell(self._uplinks.known), self._greet())))

    async def _keep_rules(self, uplinks: Mapping[str, UplinkSettings]) -> tuple[str, ...]:
        """What failed. Nobody leaves by an uplink that has changed before its rules have."""
        changes = steps(_own(self._state), self._wanted(uplinks)) if self._keeps_rules or self._clears_rules else ()
        if not changes:
            return ()
        if self._told is not None:
            known = [uplink for uplink in self._uplinks.known if uplink in self._told.uplinks]
            if len(known) < len(self._told.uplinks):
                self._tell(known)
        try:
            return await self._kernel.apply(changes)
        except KernelRefused as error:
            return (str(error),)

    def _wanted(self, uplinks: Mapping[str, UplinkSettings]) -> Wanted:
        """Nothing, on a multihomed server that is to leave the kernel alone: what an earlier start left is removed."""
        if not self._keeps_rules:
            return Wanted()
        settings = self._settings
        wanted = desired(_strict(settings, uplinks), self._state, _bases(settings), _networks(settings))
        if wanted.left_out != self._left_out:
            self._left_out = wanted.left_out
            self._log.line(f"{wanted.left_out} networks are too many for rules of their own: see [internal] networks")
        return wanted

    def _devices(self, state: KernelState) -> Collection[str]:
        """The interfaces of which every route matters."""
        uplinks = uplinks_of(self._settings, self._words, state).values()
        return {self._settings.internal.interface, *(taken.interface for taken in uplinks)} - {""}

    # Who is told; each gives the fault, or nothing

    def _tell(self, uplinks: Iterable[Uplink]) -> str:
        network = network_of(self._settings, self._state, uplinks)
        if network != self._told:
            try:
                send(self._channel, Networks(network))
            except OSError as error:
                return f"cannot tell the supervisor what the host's networks are now: {error.strerror}"
            self._told = network
            self._show(watcher_words(network.uplinks))
        return ""

    def _greet(self) -> str:
        """Ready is who has told what it knows, once."""
        if self._told is not None and not self._is_ready:
            try:
                self._greeting()
            except OSError as error:
                return f"cannot tell the supervisor that the watcher is ready: {error.strerror}"
            self._is_ready = True
        return ""

    def _say(self, faults: frozenset[str]) -> None:
        """Each fault once, until it is gone."""
        for fault in sorted(faults - self._faults):
            self._log.trouble(f"{fault}; it is tried again")
        self._faults = faults


def _strict(settings: Settings, uplinks: Mapping[str, UplinkSettings]) -> list[Strict]:
    """The interfaces that have a table and rules of their own: the uplinks, and the inside, also if it is one."""
    inside = settings.internal.interface
    found = [Strict(taken.interface, taken.gateways, False) for taken in uplinks.values()]
    return [*found, Strict(inside, (), True)] if inside else found


def _networks(settings: Settings) -> list[Prefix]:
    """The inside's networks as they are written; those with holes in their masks are no prefixes."""
    written = settings.internal.networks
    return [
        Prefix(Address(one.version, one.number & one.mask), length)
        for one in written
        if (length := prefix_length(one)) is not None
    ]


def _own(state: KernelState) -> Wanted:
    """What we have put into the kernel."""
    return Wanted(frozenset(state.own_routes), frozenset(state.own_rules))


def _bases(settings: Settings) -> Bases:
    return Bases(settings.external.table, settings.external.priority)


# The process


class Remote:
    """The kernel: read by ourselves, changed by the warden."""

    def __init__(self, kernel: Kernel, channel: socket.socket) -> None:
        self._kernel = kernel
        self._channel = channel
        self._answer: asyncio.Future[Applied] | None = None

    async def read(self, devices: Callable[[KernelState], Collection[str]] | None) -> KernelState:
        """What the kernel has now. Raises KernelRefused."""
        return await self._kernel.read(devices)

    async def apply(self, changes: Iterable[Step]) -> tuple[str, ...]:
        """What went wrong."""
        self._answer = asyncio.get_running_loop().create_future()
        try:
            send(self._channel, Apply(tuple(map(_change, changes))))
            async with asyncio.timeout(APPLY_SECONDS):
                return (await self._answer).faults
        except TimeoutError:
            return ("the warden does not answer, so that routing rules are not kept",)
        except OSError as error:
            return (f"cannot tell the warden what to change: {error.strerror}",)
        finally:
            self._answer = None

    def answered(self, answer: Applied) -> None:
        """The warden has done it."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)


def _change(step: Step) -> Change:
    item = step.item
    return Change(step.verb, item, None) if isinstance(item, KernelRoute) else Change(step.verb, None, item)


def run_watcher(
    configuration: Configuration, journal: Journal, channel: socket.socket, before: Network, privileged: bool
) -> None:
    """The life of the watcher process, which begins with all signals blocked and ends by its channel.

    ``before`` is what the supervisor knows from an earlier watcher; ``privileged``: the warden may change rules.
    """
    confinement = confine(Kind.WATCHER)
    asyncio.run(_live(configuration, journal, channel, before, privileged, confinement))


async def _live(
    configuration: Configuration,
    journal: Journal,
    channel: socket.socket,
    before: Network,
    privileged: bool,
    confinement: Confinement,
) -> None:
    loop = asyncio.get_running_loop()
    journal.attach(loop.call_later)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # The supervisor's, also when a whole process group gets them.
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        with Watch() as watch:
            async with Kernel() as kernel:
                remote = Remote(kernel, channel)
                loop.add_reader(channel, _hear, channel, remote, journal, ended)
                watcher = Watcher(
                    configuration,
                    journal,
                    channel,
                    remote,
                    privileged=privileged,
                    before=before,
                    show=Title("watcher", live=configuration.settings.sockd.titles).show,
                    greet=lambda: send(channel, Ready(os.getpid(), confinement)),
                )
                loop.add_reader(watch.fileno(), partial(_drain, watch, watcher))
                await until(ended, watcher.run())
    finally:
        journal.flush()


def _hear(channel: socket.socket, remote: Remote, journal: Journal, ended: asyncio.Event) -> None:
    """The supervisor says something, or has gone."""
    try:
        received = receive(channel)
    except BlockingIOError:
        return
    except OSError:
        received = None
    if received is None or isinstance(received.message, End):
        asyncio.get_running_loop().remove_reader(channel)
        ended.set()
    elif isinstance(received.message, Applied):
        remote.answered(received.message)
    elif isinstance(received.message, Reopen):
        reopen(journal, received)


async def until(ended: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Let this work go on until the end has come. Raises what ends it sooner, which is a bug."""
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()  # the supervisor says so and starts another watcher
    finally:
        working.cancel()
        ending.cancel()
        # What it was in the middle of must not go on beside what comes now.
        await asyncio.wait((working, ending), timeout=END_SECONDS)


def _drain(watch: Watch, watcher: Watcher) -> None:
    if watch.drain():
        watcher.wake()
