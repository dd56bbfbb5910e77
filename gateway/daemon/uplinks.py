"""The uplinks as they come, stand and go: facts of the kernel and results of probes in, the standing of each out.

Which ones there are, and what the kernel says of them, is told from outside (`Uplinks.observe`); this is who probes
them, and when. What follows from all that is worked out in `gateway.uplink.health`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.config.settings import ExternalSettings, Probe, UplinkSettings
from gateway.netlink.facts import facts_of
from gateway.netlink.model import KernelState
from gateway.policy.egress import Egress, Standing, Uplink
from gateway.uplink.facts import Facts
from gateway.uplink.health import Health, Thresholds

Ask = Callable[[Sequence[Probe], Mapping[int, Egress], float], Awaitable[tuple[bool, str]]]
"""As `gateway.net.probe.probe_round`."""

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


@dataclass(slots=True)
class _Watched:
    """One uplink."""

    name: str
    health: Health
    facts: Facts
    #: who asks its targets, if it has any
    probing: "asyncio.Task[None] | None" = None


class Uplinks:
    """What is known of each uplink."""

    def __init__(
        self,
        settings: ExternalSettings,
        ask: Ask,
        spawn: Spawn,
        clock: Callable[[], float],
        log: Callable[[str], None],
        changed: Callable[[], None],
        before: Iterable[Uplink] = (),
    ) -> None:
        """``spawn`` starts who probes an uplink; ``changed`` hears of a standing that is another one by a probe.

        ``before`` is what a predecessor knew: of those that were not up it is not believed that they are now.
        """
        self._settings = settings
        self._ask = ask
        self._spawn = spawn
        self._clock = clock
        self._log = log
        self._changed = changed
        self._doubtful = {uplink.name for uplink in before if uplink.standing is not Standing.UP}
        self._watched: dict[str, _Watched] = {}

    @property
    def known(self) -> tuple[Uplink, ...]:
        """All of them, as they stand."""
        return tuple(one.health.uplink for one in self._watched.values())

    @property
    def due(self) -> float | None:
        """When to observe again though the kernel has nothing to say, by the clock; None: never."""
        return min((one.health.due for one in self._watched.values() if one.health.due is not None), default=None)

    def observe(self, uplinks: Mapping[str, UplinkSettings], state: KernelState) -> None:
        """These are the uplinks, and this is what the kernel has, now."""
        for name in [name for name in self._watched if name not in uplinks]:
            self._drop(self._watched.pop(name))
        for name, taken in uplinks.items():
            facts = facts_of(state, taken.interface, taken.gateways)
            one = self._watched.get(name)
            if one is None:
                one = self._watched[name] = self._begin(name, taken, facts)
            one.facts = facts
            now = self._clock()
            self._say(one.health.observe(facts, now))
            self._say(one.health.tick(now))

    def _begin(self, name: str, taken: UplinkSettings, facts: Facts) -> _Watched:
        thresholds = Thresholds(self._settings.fall, self._settings.rise, self._settings.failback)
        doubtful = name in self._doubtful
        self._doubtful.discard(name)
        one = _Watched(name, Health(name, taken.interface, thresholds, bool(taken.probes), doubtful=doubtful), facts)
        if taken.probes:
            one.probing = self._spawn(self._probe(one, taken.probes))
        return one

    def _drop(self, one: _Watched) -> None:
        """Nothing names it any more: its address went to another interface, or away."""
        self._log(f"uplink {one.name} is gone: it has no address any more that a file names")
        if one.probing is not None:
            one.probing.cancel()

    async def _probe(self, one: _Watched, targets: Sequence[Probe]) -> None:
        """Ask the targets of an uplink, again and again."""
        while True:
            began = self._clock()
            if one.facts.running and one.facts.sources:
                await self._round(one, targets)
            await asyncio.sleep(max(0.0, began + self._settings.interval - self._clock()))

    async def _round(self, one: _Watched, targets: Sequence[Probe]) -> None:
        """Ask them once, by that uplink and no other."""
        facts, generation = one.facts, one.health.generation
        # Of each family the preferred address, which comes first.
        ways = {
            source.version: Egress(one.name, facts.device, source, facts.index) for source in reversed(facts.sources)
        }
        answered, detail = await self._ask(targets, ways, self._settings.timeout)
        before = one.health.uplink
        self._say(one.health.probed(generation, answered, detail, self._clock()))
        if one.health.uplink != before:
            self._changed()

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._log(line)
