"""The warden: knows the host's interfaces, keeps the kernel's rules for them, and watches over the uplinks.

Whatever netlink reports only wakes it: it then reads everything anew, works out what should be, and changes what is
not so. What it finds goes to the supervisor, whole, whenever it has changed. It serves no client.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterable, Mapping
from functools import partial

from gateway.address import Address
from gateway.config.rules import EgressWord
from gateway.config.settings import Settings, UplinkSettings, uplink_settings
from gateway.daemon.configuration import Configuration
from gateway.daemon.messages import READY, Network, send_network
from gateway.daemon.network import network_of, uplinks_of, written_words
from gateway.daemon.status import write_status
from gateway.net.probe import probe_round
from gateway.netlink.desired import Bases, Strict, Wanted, desired
from gateway.netlink.diff import steps
from gateway.netlink.facts import facts_of
from gateway.netlink.kernel import Kernel, KernelRefused
from gateway.netlink.model import KernelState
from gateway.netlink.watch import Watch
from gateway.policy.egress import Egress
from gateway.system.journal import Journal
from gateway.uplink.facts import Facts
from gateway.uplink.health import Health, Thresholds

SETTLE_SECONDS = 0.02
"""Changes come in flocks; so long they gather before the kernel is read."""

RETRY_SECONDS = 5.0
"""After the kernel refused something, or the supervisor did not listen."""


class Warden:
    """The uplinks, what is known of each, and who is told of it."""

    def __init__(self, configuration: Configuration, journal: Journal, channel: socket.socket, kernel: Kernel) -> None:
        self._settings = configuration.settings
        multihomed = configuration.settings.multihomed
        self._words = (
            written_words(configuration.settings, configuration.routes, configuration.access) if multihomed else ()
        )
        self._devices = _devices(self._settings, self._words)
        self._journal = journal
        self._channel = channel
        self._kernel = kernel
        self._rules = multihomed and configuration.settings.external.policy_routing and os.geteuid() == 0
        self._loop = asyncio.get_running_loop()
        self._state = KernelState()
        self._health: dict[str, Health] = {}
        self._facts: dict[str, Facts] = {}
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._told: Network | None = None
        self._faults: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._ready = False

    async def run(self) -> None:
        """Until it is cancelled."""
        if self._settings.multihomed and self._settings.external.policy_routing and not self._rules:
            self._journal.line("not root: routing tables and rules are left as they are")
        while True:
            self._changed.clear()
            retry = not await self._reconcile()
            if retry:
                self._wake_in(RETRY_SECONDS)
            await self._changed.wait()
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

    # What is the case

    async def _reconcile(self) -> bool:
        """Read, work out, change, tell; whether all of it succeeded."""
        try:
            self._state = await self._kernel.read(self._devices)
        except KernelRefused as error:
            self._say(frozenset({str(error)}))
            return False
        uplinks = uplinks_of(self._settings, self._words, self._state)
        self._observe(uplinks)
        faults = await self._keep_rules(uplinks) if self._rules else frozenset()
        self._say(faults)
        return self._tell() and not faults

    def _observe(self, uplinks: Mapping[str, UplinkSettings]) -> None:
        for name in self._health.keys() - uplinks.keys():
            self._drop(name)
        now = time.monotonic()
        for name, taken in uplinks.items():
            facts = self._facts[name] = facts_of(self._state, taken.interface, taken.gateways)
            health = self._health.get(name)
            if health is None:
                health = self._health[name] = self._begin(name, taken)
            self._log(health.observe(facts, now))
            self._log(health.tick(now))
        due = [health.due for health in self._health.values() if health.due is not None]
        if due:
            self._wake_in(min(due) - now)

    def _begin(self, name: str, taken: UplinkSettings) -> Health:
        external = self._settings.external
        thresholds = Thresholds(external.fall, external.rise, external.failback)
        if taken.probes:
            self._probing[name] = self._loop.create_task(self._probe(name, taken))
        return Health(name, taken.interface, thresholds, bool(taken.probes))

    def _drop(self, name: str) -> None:
        """Nothing names it any more: its address went to another interface, or away."""
        self._journal.line(f"uplink {name} is gone: it has no address any more that a file names")
        del self._health[name], self._facts[name]
        task = self._probing.pop(name, None)
        if task is not None:
            task.cancel()

    async def _probe(self, name: str, taken: UplinkSettings) -> None:
        """Ask the targets of an uplink, again and again, by that uplink."""
        external = self._settings.external
        while True:
            health, facts = self._health.get(name), self._facts.get(name)
            if health is not None and facts is not None and facts.running and facts.sources:
                generation = health.generation
                ways = {source.version: Egress(name, facts.device, source) for source in reversed(facts.sources)}
                answered, detail = await probe_round(taken.probes or (), ways, external.timeout)
                before = health.uplink
                self._log(health.probed(generation, answered, detail, time.monotonic()))
                if health.uplink != before:
                    self.wake()
            await asyncio.sleep(external.interval)

    # What should be

    async def _keep_rules(self, uplinks: Mapping[str, UplinkSettings]) -> frozenset[str]:
        wanted = desired(_strict(self._settings, uplinks), self._state, _bases(self._settings))
        mine = Wanted(frozenset(self._state.own_routes), frozenset(self._state.own_rules))
        return frozenset(await self._kernel.apply(steps(mine, wanted)))

    # Who is told

    def _tell(self) -> bool:
        network = network_of(self._settings, self._state, [health.uplink for health in self._health.values()])
        if network != self._told:
            try:
                send_network(self._channel, network)
            except BlockingIOError:
                return False
            self._told = network
            write_status(self._settings.sockd.status, network, self._journal.timestamp(), self._journal.trouble)
        if not self._ready:
            self._ready = True
            self._channel.send(READY)
        return True

    def _say(self, faults: frozenset[str]) -> None:
        """Each fault once, until it is gone."""
        for fault in sorted(faults - self._faults):
            self._journal.trouble(f"{fault}; it is tried again")
        self._faults = faults

    def _log(self, lines: tuple[str, ...]) -> None:
        for line in lines:
            self._journal.line(line)


def _devices(settings: Settings, words: Iterable[EgressWord]) -> frozenset[str] | None:
    """The interfaces whose routes matter; None when an address stands for one, which can be any."""
    found = [settings.internal.interface]
    for word in words:
        if isinstance(word, Address):
            return None
        found.append(uplink_settings(settings, word).interface)
    return frozenset(filter(None, found))


def _strict(settings: Settings, uplinks: Mapping[str, UplinkSettings]) -> list[Strict]:
    """The interfaces that have a table and rules of their own: the uplinks, and the inside."""
    inside = settings.internal.interface
    found = {taken.interface: Strict(taken.interface, taken.gateways, False) for taken in uplinks.values()}
    if inside:
        found[inside] = found.get(inside, Strict(inside, (), True))._replace(inside=True)
    return list(found.values())


def _bases(settings: Settings) -> Bases:
    return Bases(settings.external.table, settings.external.priority)


def run_warden(configuration: Configuration, journal: Journal, channel: socket.socket) -> None:
    """The life of the warden process, which begins with all signals blocked and ends with its channel."""
    asyncio.run(_live(configuration, journal, channel))


async def _live(configuration: Configuration, journal: Journal, channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    journal.attach(loop.call_later)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor's, also when a whole process group gets them
    loop.add_reader(channel, ended.set)  # nothing is ever said to the warden: this is the end
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        with Watch() as watch:
            async with Kernel() as kernel:
                warden = Warden(configuration, journal, channel, kernel)
                loop.add_reader(watch.fileno(), partial(_drain, watch, warden))
                work = loop.create_task(warden.run())
                end = loop.create_task(ended.wait())
                await asyncio.wait((work, end), return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    work.result()  # a bug: the supervisor says so and starts another warden
                work.cancel()
                if configuration.settings.external.remove_at_exit and _was_told_to_end(channel):
                    await kernel.remove_all()
    finally:
        journal.flush()


def _drain(watch: Watch, warden: Warden) -> None:
    if watch.drain():
        warden.wake()


def _was_told_to_end(channel: socket.socket) -> bool:
    """Whether the daemon ends in order: when the supervisor was killed, what is in the kernel stays."""
    try:
        return channel.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
