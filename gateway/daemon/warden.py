"""The warden: knows the host's interfaces, keeps the kernel's rules for them, and watches over the uplinks.

Whatever netlink reports only wakes it: it then reads everything anew, works out what should be, and changes what is
not so. What it finds goes to the supervisor, whole, whenever it has changed. It serves no client.
"""

import asyncio
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
from gateway.daemon.messages import END, READY, Network, send_network
from gateway.daemon.network import network_of, uplinks_of, written_words
from gateway.daemon.status import StatusFile
from gateway.daemon.uplinks import Ask, Uplinks
from gateway.net.probe import probe_round
from gateway.netlink.desired import Bases, Strict, Wanted, desired
from gateway.netlink.diff import Step, steps
from gateway.netlink.kernel import Kernel, KernelRefused
from gateway.netlink.model import KernelState, Prefix
from gateway.netlink.watch import Watch
from gateway.policy.egress import Uplink
from gateway.system.journal import Journal
from gateway.system.privileges import CAP_NET_ADMIN, has_capability

SETTLE_SECONDS = 0.02
"""Changes come in flocks; so long they gather before the kernel is read."""

END_SECONDS = 2.0
"""How long what is given up may take to end."""

RETRY_SECONDS = 5.0
"""After something failed: the kernel refused it, the supervisor did not listen, the disk was full."""


class Netlink(Protocol):
    """Who reads the kernel's state and changes it: `gateway.netlink.kernel.Kernel`."""

    async def read(self, devices: Callable[[KernelState], Collection[str]] | None) -> KernelState:
        """What the kernel has now. Raises KernelRefused."""

    async def apply(self, changes: Iterable[Step]) -> tuple[str, ...]:
        """What went wrong. Raises KernelRefused."""

    async def remove_all(self) -> tuple[str, ...]:
        """What went wrong. Raises KernelRefused."""


class Log(Protocol):
    """Who writes down what happens: `gateway.system.journal.Journal`."""

    def line(self, text: str) -> None:
        """What the administrator may want to know."""

    def trouble(self, text: str) -> None:
        """What the administrator has to know."""

    def timestamp(self) -> str:
        """Now, as RFC 3339 in UTC."""


class Warden:
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
        ask: Ask = probe_round,
        clock: Callable[[], float] = time.monotonic,
        retry: float = RETRY_SECONDS,
    ) -> None:
        """``privileged``: it may change the kernel's rules; ``before`` is what a predecessor told the supervisor;
        ``retry`` seconds after what failed it is tried again.
        """
        settings = self._settings = configuration.settings
        words = written_words(settings, configuration.routes, configuration.access) if settings.multihomed else ()
        self._words = words
        self._log = log
        self._channel = channel
        self._kernel = kernel
        wants_rules = settings.multihomed and settings.external.policy_routing
        self._keeps_rules = wants_rules and privileged
        self._clears_rules = settings.multihomed and not wants_rules and privileged
        if wants_rules and not privileged:
            log.line("without CAP_NET_ADMIN routing tables and rules are left as they are")
        self._clock = clock
        self._retry = retry
        self._loop = asyncio.get_running_loop()
        self._state = KernelState()
        self._uplinks = Uplinks(settings.external, ask, self._spawn, clock, log.line, self.wake, before.uplinks)
        self._status = StatusFile(settings.sockd.status)
        #: what the supervisor knows, and what the status file says
        self._told: Network | None = None
        self._written: Network | None = None
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
        return frozenset(filter(None, (*faults, self._tell(self._uplinks.known), self._write_down(), self._greet())))

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
                send_network(self._channel, network)
            except OSError as error:
                return f"cannot tell the supervisor what the host's networks are now: {error.strerror}"
            self._told = network
        return ""

    def _write_down(self) -> str:
        if self._told is not None and self._told != self._written:
            try:
                self._status.write(self._told, self._log.timestamp())
            except OSError as error:
                return f"{self._settings.sockd.status}: cannot write the status file: {error.strerror}"
            self._written = self._told
        return ""

    def _greet(self) -> str:
        """Ready is who has told what it knows, once."""
        if self._told is not None and not self._is_ready:
            try:
                self._channel.send(READY)
            except OSError as error:
                return f"cannot tell the supervisor that the warden is ready: {error.strerror}"
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


def run_warden(configuration: Configuration, journal: Journal, channel: socket.socket, before: Network) -> None:
    """The life of the warden process, which begins with all signals blocked and ends by its channel.

    ``before`` is what the supervisor knows from an earlier warden.
    """
    asyncio.run(_live(configuration, journal, channel, before))


async def _live(configuration: Configuration, journal: Journal, channel: socket.socket, before: Network) -> None:
    loop = asyncio.get_running_loop()
    journal.attach(loop.call_later)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # The supervisor's, also when a whole process group gets them: workers must not outlive what holds for them.
        signal.signal(number, signal.SIG_IGN)
    loop.add_reader(channel, ended.set)  # whatever is said to the warden, or nothing any more: it is the end
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        with Watch() as watch:
            async with Kernel() as kernel:
                privileged = has_capability(CAP_NET_ADMIN)
                warden = Warden(configuration, journal, channel, kernel, privileged=privileged, before=before)
                loop.add_reader(watch.fileno(), partial(_drain, watch, warden))
                await until(ended, warden.run())
        if configuration.settings.external.remove_at_exit and was_told_to_end(channel):
            # By a new socket: what was asked by the old one may have been given up in the middle of an answer.
            async with Kernel() as kernel:
                await remove_rules(kernel, journal)
    finally:
        journal.flush()


async def until(ended: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Let this work go on until the end has come. Raises what ends it sooner, which is a bug."""
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()  # the supervisor says so and starts another warden
    finally:
        working.cancel()
        ending.cancel()
        # What it was in the middle of must not go on beside what comes now.
        await asyncio.wait((working, ending), timeout=END_SECONDS)


def _drain(watch: Watch, warden: Warden) -> None:
    if watch.drain():
        warden.wake()


def was_told_to_end(channel: socket.socket) -> bool:
    """Whether the daemon ends in order: when the supervisor was killed, what is in the kernel stays."""
    try:
        return channel.recv(len(END)) == END
    except OSError:
        return False


async def remove_rules(kernel: Netlink, log: Log) -> None:
    """Leave nothing of ours in the kernel; what can not be removed is said."""
    try:
        faults = await kernel.remove_all()
    except KernelRefused as error:
        faults = (str(error),)
    for fault in faults:
        log.trouble(fault)
