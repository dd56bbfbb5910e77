"""The uplinks of the warden: they come, are probed by themselves and nothing else, change, and go."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.config.settings import Probe
from gateway.daemon.network import uplinks_of
from gateway.daemon.uplinks import Uplinks
from gateway.netlink.model import KernelState, Link
from gateway.policy.egress import Egress, Standing
from tests.support.routes import words
from tests.support.rules import address
from tests.unit.daemon.hosts import HOST, WAN1, settings
from tests.unit.netlink.states import own

FAST = "interval = 0.005\ntimeout = 0.005\nfall = 2\nrise = 2\nfailback = 30\n"
PROBED = f'[external]\nprobes = ["tcp 203.0.113.1 80", "dns 2001:db8::53"]\n{FAST}'
UNPROBED = f"[external]\n{FAST}"
NO_LINK = replace(HOST, links=(Link(WAN1, "wan1", False), *HOST.links[::2]))


class Stand:
    """Uplinks with a clock, a log, and targets that answer as they are told."""

    def __init__(self, text: str = PROBED) -> None:
        self.settings = settings(text)
        self.now = 1000.0
        self.lines: list[str] = []
        self.changes = 0
        #: what each round gives; the last one for ever
        self.answers: list[tuple[bool, str]] = [(True, "")]
        self.asked: list[tuple[Sequence[Probe], Mapping[int, Egress], float]] = []
        self.tasks: list[asyncio.Task[None]] = []
        #: closed while a round shall not end
        self.gate = asyncio.Event()
        self.gate.set()
        self.uplinks = Uplinks(
            self.settings.external, self._ask, self._spawn, lambda: self.now, self.lines.append, self._changed
        )

    async def _ask(
        self,
        targets: Sequence[Probe],
        ways: Mapping[int, Egress],
        timeout: float,
    ) -> tuple[bool, str]:
        self.asked.append((targets, ways, timeout))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await self.gate.wait()
        return answer

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        self.tasks.append(asyncio.get_running_loop().create_task(work))
        return self.tasks[-1]

    def _changed(self) -> None:
        self.changes += 1

    def observe(self, names: str, state: KernelState = HOST) -> None:
        """The files name these, and the kernel has that."""
        self.uplinks.observe(uplinks_of(self.settings, words(names) if names else (), state), state)

    def standing(self) -> dict[str, Standing]:
        return {uplink.name: uplink.standing for uplink in self.uplinks.known}

    async def until(self, look: Callable[[], object]) -> None:
        """Let the others go on until this is true, or ten seconds have passed."""
        deadline = asyncio.get_running_loop().time() + 10.0
        while not look() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.001)
        assert look()


def play(scene: Callable[[Stand], Coroutine[Any, Any, None]], text: str = PROBED) -> None:
    """Play it in a loop of its own; whoever still probes at the end is ended."""

    async def whole() -> None:
        stand = Stand(text)
        await scene(stand)
        for task in stand.tasks:
            task.cancel()
        ended = await asyncio.gather(*stand.tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended

    asyncio.run(whole())


def test_uplinks_come_with_what_the_kernel_says_of_them() -> None:
    async def scene(stand: Stand) -> None:
        stand.observe("wan1,wan9")
        assert stand.lines == [
            "uplink wan1 is up: 192.0.2.10, 2001:db8:1::10",
            "uplink wan9 is down: no such interface",
        ]
        assert stand.standing() == {"wan1": Standing.UP, "wan9": Standing.DOWN}
        assert stand.uplinks.known[0].sources == (address("192.0.2.10"), address("2001:db8:1::10"))
        stand.observe("wan1,wan9")
        assert len(stand.lines) == 2, "nothing new, nothing said"

    play(scene, UNPROBED)


def test_an_uplink_without_targets_is_not_probed() -> None:
    async def scene(stand: Stand) -> None:
        stand.observe("wan1")
        await asyncio.sleep(0.02)
        assert stand.tasks == []
        assert stand.asked == []

    play(scene, UNPROBED)


def test_targets_are_asked_by_the_preferred_address_of_each_family() -> None:
    async def scene(stand: Stand) -> None:
        state = replace(HOST, addresses=(*HOST.addresses, own("192.0.2.99/24", WAN1)))
        stand.observe("wan1", state)
        await stand.until(lambda: len(stand.asked) > 1)
        targets, ways, timeout = stand.asked[0]
        assert list(map(str, targets)) == ["tcp 203.0.113.1 80", "dns 2001:db8::53 53"]
        assert ways == {
            4: Egress("wan1", "wan1", address("192.0.2.10"), WAN1),
            6: Egress("wan1", "wan1", address("2001:db8:1::10"), WAN1),
        }
        assert timeout == 0.005

    play(scene)


def test_an_uplink_of_one_family_has_no_way_for_the_other() -> None:
    async def scene(stand: Stand) -> None:
        stand.observe("wan2")
        await stand.until(lambda: stand.asked)
        assert set(stand.asked[0][1]) == {4}

    play(scene)


def test_what_is_not_there_is_not_asked_until_it_comes() -> None:
    async def scene(stand: Stand) -> None:
        stand.observe("wan1", NO_LINK)
        await asyncio.sleep(0.02)
        stand.observe("wan1", replace(HOST, addresses=()))
        await asyncio.sleep(0.02)
        assert stand.asked == []
        stand.observe("wan1")
        await stand.until(lambda: stand.asked)

    play(scene)


def test_silence_takes_it_down_and_answers_bring_it_back_and_each_time_somebody_is_told_once() -> None:
    async def scene(stand: Stand) -> None:
        stand.answers = [(False, "timed out")]
        stand.observe("wan1")
        await stand.until(lambda: stand.changes)
        assert stand.standing() == {"wan1": Standing.DOWN}
        assert stand.lines[-1] == "uplink wan1 is down: no answer to its probes, 2 rounds in a row: timed out"
        rounds = len(stand.asked)
        await stand.until(lambda: len(stand.asked) > rounds + 3)
        assert stand.changes == 1
        assert stand.uplinks.due is None
        stand.answers = [(True, "")]
        await stand.until(lambda: stand.changes == 2)
        assert stand.standing() == {"wan1": Standing.SETTLING}
        assert stand.uplinks.due == stand.now + 30

    play(scene)


def test_the_failback_delay_ends_with_the_first_look_at_or_after_it() -> None:
    async def scene(stand: Stand) -> None:
        stand.observe("wan1,wan2")
        stand.observe("wan1,wan2", NO_LINK)
        stand.observe("wan1,wan2")
        assert stand.uplinks.due == 1030.0
        stand.now = 1029.9
        stand.observe("wan1,wan2")
        assert stand.standing() == {"wan1": Standing.SETTLING, "wan2": Standing.UP}
        stand.now = 1030.0
        stand.observe("wan1,wan2")
        assert stand.standing() == {"wan1": Standing.UP, "wan2": Standing.UP}
        assert not stand.uplinks.due
        assert stand.lines[-1] == "uplink wan1 is preferred again: held for 30 s"

    play(scene, UNPROBED)


def test_of_several_the_earliest_is_due() -> None:
    async def scene(stand: Stand) -> None:
        stand.observe("wan1,wan2")
        none = KernelState()
        stand.observe("wan1,wan2", none)
        stand.observe("wan1,wan2", replace(HOST, links=HOST.links[:2]))
        stand.now += 7
        stand.observe("wan1,wan2")
        assert stand.uplinks.due == 1030.0

    play(scene, UNPROBED)


def test_a_round_from_before_the_link_went_says_nothing() -> None:
    async def scene(stand: Stand) -> None:
        stand.answers = [(False, "timed out")]
        stand.gate.clear()
        stand.observe("wan1")
        await stand.until(lambda: stand.asked)
        stand.observe("wan1", NO_LINK)
        stand.gate.set()
        await asyncio.sleep(0.01)
        assert stand.lines[-1] == "uplink wan1 is down: link is down"
        assert stand.changes == 0

    play(scene)


def test_the_next_round_goes_by_the_new_address() -> None:
    async def scene(stand: Stand) -> None:
        stand.observe("wan1")
        await stand.until(lambda: stand.asked)
        stand.observe("wan1", replace(HOST, addresses=(own("192.0.2.77/24", WAN1),)))
        rounds = len(stand.asked)
        await stand.until(lambda: len(stand.asked) > rounds)
        assert stand.asked[-1][1] == {4: Egress("wan1", "wan1", address("192.0.2.77"), WAN1)}

    play(scene)


def test_an_uplink_that_is_named_no_more_goes_and_is_asked_no_more() -> None:
    async def scene(stand: Stand) -> None:
        stand.gate.clear()
        stand.observe("192.0.2.10,wan2")
        await stand.until(lambda: len(stand.asked) == 2)
        stand.observe("192.0.2.10,wan2", replace(HOST, addresses=HOST.addresses[-1:]))
        assert list(stand.standing()) == ["wan2"]
        assert stand.lines[-1] == "uplink wan1 is gone: it has no address any more that a file names"
        await stand.until(stand.tasks[0].cancelled)
        assert not stand.tasks[1].done()
        stand.observe("192.0.2.10,wan2")
        assert stand.standing()["wan1"] is Standing.UP, "it comes again as a new one"
        assert len(stand.tasks) == 3
        stand.gate.set()

    play(scene)


def test_all_may_go_at_once_and_nothing_is_due() -> None:
    async def scene(stand: Stand) -> None:
        stand.observe("wan1,wan2")
        stand.observe("wan1,wan2", NO_LINK)
        stand.observe("wan1,wan2")
        stand.observe("", KernelState())
        assert stand.uplinks.known == ()
        assert stand.uplinks.due is None

    play(scene, UNPROBED)
