"""The watcher on a kernel that is played: what it wants changed, whom it tells, and that it never gives up."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import Probe
from gateway.daemon import messages as daemon_messages
from gateway.daemon import watcher as daemon_watcher
from gateway.daemon.configuration import Configuration, load
from gateway.daemon.messages import Applied, Apply, Message, Network, Networks, Ready, channel, receive, send
from gateway.daemon.seat import ANSWER_SECONDS
from gateway.daemon.watcher import APPLY_SECONDS, Remote, Watcher, until
from gateway.netlink.desired import Bases, Strict, Wanted, desired
from gateway.netlink.diff import Step
from gateway.netlink.kernel import Kernel, KernelRefused
from gateway.netlink.model import KernelRoute, KernelState, RoutingRule
from gateway.policy.egress import Egress, Standing
from gateway.system.sandbox import Confinement
from tests.support.daemon import Toml, write_files
from tests.support.routes import uplink
from tests.unit.daemon.hosts import HOST, WAN1, addresses
from tests.unit.netlink.states import Model, own, route

ROUTES = "wan1 10.0.0.0/8\nwan2 ALL\n"
BY_INTERFACE: Toml = {"internal": {"interface": "eth1"}}
READY = Ready(4711, Confinement("on", "ABI 7"))
RETRY = 0.03


class Page:
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.troubles: list[str] = []

    def line(self, text: str) -> None:
        """As `Log`."""
        self.lines.append(text)

    def trouble(self, text: str) -> None:
        """As `Log`."""
        self.troubles.append(text)


class Played:
    """A kernel that has what it was given, takes steps as a real one does, and refuses what it was told to."""

    def __init__(self, state: KernelState = HOST) -> None:
        self.state = state
        #: of which interfaces every route was wanted
        self.asked: list[set[str]] = []
        self.taken: list[Step] = []
        #: what the next calls raise, or give as faults
        self.refuses_to_read: list[str] = []
        self.refuses_to_apply: list[str] = []
        self.faults: tuple[str, ...] = ()

    async def read(self, devices: Callable[[KernelState], Collection[str]] | None) -> KernelState:
        """As `Netlink`."""
        assert devices is not None
        self.asked.append(set(devices(self.state)))
        await asyncio.sleep(0)
        if self.refuses_to_read:
            raise KernelRefused(self.refuses_to_read.pop(0))
        return self.state

    async def apply(self, changes: Iterable[Step]) -> tuple[str, ...]:
        """As `Netlink`."""
        await asyncio.sleep(0)
        if self.refuses_to_apply:
            raise KernelRefused(self.refuses_to_apply.pop(0))
        if self.faults:
            return self.faults
        model = Model(self.own)
        for step in changes:
            self.taken.append(step)
            model.take(step)
        has = model.has
        self.state = replace(self.state, own_routes=tuple(has.routes), own_rules=tuple(has.rules))
        return ()

    @property
    def own(self) -> Wanted:
        """What it has that is ours."""
        return Wanted(frozenset(self.state.own_routes), frozenset(self.state.own_rules))


async def answered(_targets: Sequence[Probe], _ways: Mapping[int, Egress], _timeout: float) -> tuple[bool, str]:
    """Every probe at once."""
    return True, ""


class Watchtower:
    """A watcher at work, and the supervisor's end of its channel."""

    def __init__(self, configuration: Configuration, state: KernelState, **how: Any) -> None:
        self.configuration = configuration
        self.kernel = Played(state)
        self.page = Page()
        self.mine, self.theirs = channel()
        self.greet: Callable[[], None] = lambda: send(self.theirs, READY)
        options: dict[str, Any] = {
            "privileged": True, "before": Network(), "ask": answered, "retry": RETRY,
            "greet": lambda: self.greet(), **how,
        }  # fmt: skip
        self.watcher = Watcher(configuration, self.page, self.theirs, self.kernel, **options)
        self._work: asyncio.Task[None] | None = None

    def start(self) -> "asyncio.Task[None]":
        """Let it begin."""
        self._work = asyncio.get_running_loop().create_task(self.watcher.run())
        return self._work

    def change(self, state: KernelState) -> None:
        """Something happens to the host's interfaces, and netlink wakes the watcher."""
        self.kernel.state = replace(
            state, own_routes=self.kernel.state.own_routes, own_rules=self.kernel.state.own_rules
        )
        self.watcher.wake()

    async def heard(self) -> Message:
        """The next word of the watcher; fails when none comes within ten seconds."""
        deadline = asyncio.get_running_loop().time() + 10.0
        while True:
            try:
                return self.said()
            except BlockingIOError:
                assert asyncio.get_running_loop().time() < deadline, "it said nothing"
                await asyncio.sleep(0.001)

    def said(self) -> Message:
        """The next word of the watcher. Raises BlockingIOError when there is none yet."""
        received = receive(self.mine)
        assert received is not None
        message: Message = received.message
        return message

    async def network(self) -> Network:
        """The next word, which is about a network."""
        found = await self.heard()
        assert isinstance(found, Networks), found
        return found.network

    async def settled(self) -> Network:
        """What it says in the end of a change: first, what has changed may be missing while its rules are made."""
        found = await self.network()
        await asyncio.sleep(0.01)
        with contextlib.suppress(BlockingIOError):
            later = self.said()
            assert isinstance(later, Networks)
            found = later.network
        return found

    async def greeted(self) -> Network:
        """What it says at first."""
        found = await self.network()
        assert await self.heard() == READY
        return found

    async def says_nothing(self, seconds: float = 0.06) -> None:
        """For so long."""
        await asyncio.sleep(seconds)
        with pytest.raises(BlockingIOError):
            self.said()

    async def until(self, look: Callable[[], object], within: float = 10.0) -> None:
        """Let it go on until this is true."""
        deadline = asyncio.get_running_loop().time() + within
        while not look() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.001)
        assert look()

    async def end(self) -> None:
        """Nobody works any more, and nobody failed."""
        if self._work is not None:
            self._work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await self._work
        left = asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task is not None}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self.mine.close()
        self.theirs.close()


Scene = Callable[[Watchtower], Awaitable[None]]


class Theatre:
    """Plays scenes with files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, routes: str | None = ROUTES, settings: Toml = BY_INTERFACE) -> Configuration:
        """The configuration of these files."""
        wanted = () if "internal" in settings and "interface" in settings["internal"] else ("127.0.0.1",)
        path = write_files(self.folder, "permit ALL ALL\n", addresses=wanted, routes=routes, settings=settings)
        return load(str(path), print)

    def play(
        self,
        scene: Scene,
        routes: str | None = ROUTES,
        settings: Toml = BY_INTERFACE,
        state: KernelState = HOST,
        **how: Any,
    ) -> None:
        """Play it in a loop of its own."""
        configuration = self.load(routes, settings)

        async def whole() -> None:
            tower = Watchtower(configuration, state, **how)
            try:
                await scene(tower)
            finally:
                await tower.end()

        asyncio.run(whole())


@pytest.fixture
def theatre(tmp_path: Path) -> Theatre:
    return Theatre(tmp_path)


def standing(network: Network) -> dict[str, Standing]:
    return {uplink.name: uplink.standing for uplink in network.uplinks}


# Who is told


def test_it_tells_what_it_found_then_that_it_is_ready_and_then_nothing_until_something_changes(
    theatre: Theatre,
) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        found = await tower.greeted()
        assert standing(found) == {"wan1": Standing.UP, "wan2": Standing.UP}
        assert found.own == tuple(entry.address for entry in HOST.addresses)
        assert [str(place.address) for place in found.listen] == ["10.1.0.1", "fd00::1", "fe80::1"]
        tower.watcher.wake()
        await tower.until(lambda: len(tower.kernel.asked) == 2)
        await tower.says_nothing()

    theatre.play(scene)


def test_whatever_changes_is_told_whole(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        tower.change(replace(HOST, links=HOST.links[:2]))
        found = await tower.settled()
        assert standing(found) == {"wan1": Standing.UP, "wan2": Standing.DOWN}
        assert tower.page.lines[-1] == "uplink wan2 is down: no such interface"
        tower.change(replace(HOST, addresses=HOST.addresses[1:]))
        assert (await tower.settled()).listen[0].address == addresses("fd00::1")[0]

    theatre.play(scene)


def test_changes_that_come_in_a_flock_are_looked_at_together(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        for _ in range(100):
            tower.watcher.wake()
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert len(tower.kernel.asked) <= 4

    theatre.play(scene)


def test_a_change_while_the_kernel_is_read_is_not_missed(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.until(lambda: tower.kernel.asked)
        tower.watcher.wake()
        await tower.until(lambda: len(tower.kernel.asked) == 2)

    theatre.play(scene)


def test_a_single_homed_server_is_told_of_addresses_only_and_no_rule_is_made(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        found = await tower.greeted()
        assert found.uplinks == ()
        assert found.listen
        assert tower.kernel.taken == []
        assert tower.kernel.asked == [{"eth1"}]

    theatre.play(scene, routes=None)


# What it asks the kernel for


@pytest.mark.parametrize(
    ("routes", "settings", "devices"),
    [
        pytest.param(ROUTES, BY_INTERFACE, {"eth1", "wan1", "wan2"}, id="the inside and the uplinks"),
        pytest.param(
            "slow ALL\n",
            {"internal": {"port": 0}, "uplinks.slow": {"interface": "ppp0"}},
            {"ppp0"},
            id="the interface of a table, and no inside one",
        ),
        pytest.param("192.0.2.10 ALL\n", BY_INTERFACE, {"eth1", "wan1"}, id="the interface that has an address"),
        pytest.param("192.0.2.77 ALL\n", BY_INTERFACE, {"eth1"}, id="no interface has the address"),
        pytest.param(None, {"internal": {"port": 0}}, set(), id="none"),
    ],
)
def test_only_routes_that_matter_are_read(
    theatre: Theatre, routes: str | None, settings: Toml, devices: set[str]
) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        assert tower.kernel.asked == [devices]

    theatre.play(scene, routes, settings)


# The rules


def test_the_kernels_rules_are_made_as_they_should_be_and_kept_so(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        external = tower.configuration.settings.external
        strict = [Strict("wan1", (), False), Strict("wan2", (), False), Strict("eth1", (), True)]
        assert tower.kernel.own == desired(strict, HOST, Bases(external.table, external.priority))
        count = len(tower.kernel.taken)
        tower.watcher.wake()
        await tower.until(lambda: len(tower.kernel.asked) == 2)
        assert len(tower.kernel.taken) == count, "what is right already is left alone"
        tower.kernel.state = replace(tower.kernel.state, own_rules=())
        tower.watcher.wake()
        await tower.until(lambda: len(tower.kernel.taken) > count)
        assert tower.kernel.own.rules, "what somebody else removed is made anew"

    theatre.play(scene)


def test_the_inside_interface_may_be_an_uplink_with_a_gateway_of_its_own(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        gateways = addresses("10.1.0.254")
        bases = Bases(20000, 20000)
        assert tower.kernel.own == desired([Strict("eth1", gateways, True)], HOST, bases)
        assert gateways[0] in {route.gateway for route in tower.kernel.own.routes if isinstance(route, KernelRoute)}

    theatre.play(scene, "eth1 ALL\n", {**BY_INTERFACE, "uplinks.eth1": {"gateways": ["10.1.0.254"]}})


def test_without_privileges_no_rule_is_touched_and_that_is_said_once(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        tower.watcher.wake()
        await tower.until(lambda: len(tower.kernel.asked) == 2)
        assert tower.kernel.taken == []
        assert tower.page.lines.count("without CAP_NET_ADMIN routing tables and rules are left as they are") == 1

    theatre.play(scene, privileged=False)


@pytest.mark.parametrize("privileged", [False, True])
def test_where_the_administrator_keeps_the_rules_nothing_is_touched_and_nothing_said(
    theatre: Theatre, privileged: bool
) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        assert tower.kernel.taken == []
        assert not any("CAP_NET_ADMIN" in line for line in tower.page.lines)

    settings = {**BY_INTERFACE, "external": {"policy_routing": False}}
    theatre.play(scene, settings=settings, privileged=privileged)


def test_what_an_earlier_start_left_is_removed_where_the_administrator_keeps_the_rules(theatre: Theatre) -> None:
    left = desired([Strict("wan1", (), False)], HOST, Bases(20000, 20000))
    state = replace(HOST, own_routes=tuple(left.routes), own_rules=tuple(left.rules))

    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        assert tower.kernel.own == (Wanted() if tower.watcher._clears_rules else left)

    settings = {**BY_INTERFACE, "external": {"policy_routing": False}}
    theatre.play(scene, settings=settings, state=state)
    theatre.play(scene, settings=settings, state=state, privileged=False)


def test_networks_of_the_inside_that_are_written_have_their_rules_before_the_interface_has_them(
    theatre: Theatre,
) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        assert "172.16.0.0/12" in {str(rule.destination) for rule in tower.kernel.own.rules}

    theatre.play(scene, settings={"internal": {"interface": "eth1", "networks": ["172.16.0.0/12"]}})


def test_nobody_leaves_by_an_uplink_that_has_changed_before_its_rules_have(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        moved = [own("192.0.2.77/24", WAN1) if entry.index == WAN1 else entry for entry in HOST.addresses]
        count = len(tower.kernel.taken)
        tower.change(replace(HOST, addresses=tuple(dict.fromkeys(moved))))
        first, second = await tower.network(), await tower.network()
        assert list(standing(first)) == ["wan2"]
        assert standing(second) == {"wan1": Standing.UP, "wan2": Standing.UP}
        assert len(tower.kernel.taken) > count

    theatre.play(scene)


# What fails


def test_a_kernel_that_can_not_be_read_is_said_once_and_asked_again(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.kernel.refuses_to_read = ["cannot read: busy"] * 3
        tower.start()
        await tower.until(lambda: tower.page.troubles)
        await tower.says_nothing(0.01)
        assert standing(await tower.greeted())
        assert tower.page.troubles == ["cannot read: busy; it is tried again"]
        tower.kernel.refuses_to_read = ["cannot read: busy"]
        tower.watcher.wake()
        await tower.until(lambda: len(tower.page.troubles) == 2)

    theatre.play(scene)


def test_a_kernel_that_refuses_a_step_is_asked_again_and_everybody_is_told_all_the_same(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.kernel.faults = ("cannot add b: no", "cannot add a: no")
        tower.start()
        await tower.greeted()
        assert tower.page.troubles == ["cannot add a: no; it is tried again", "cannot add b: no; it is tried again"]
        count = len(tower.kernel.asked)
        await tower.until(lambda: len(tower.kernel.asked) > count + 1)
        assert len(tower.page.troubles) == 2
        tower.kernel.faults = ()
        await tower.until(lambda: tower.kernel.own.rules)
        count = len(tower.kernel.asked)
        await asyncio.sleep(3 * RETRY)
        assert len(tower.kernel.asked) == count, "what has succeeded is not tried again"

    theatre.play(scene)


def test_a_conversation_with_the_kernel_that_breaks_in_the_middle_is_no_end(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.kernel.refuses_to_apply = ["cannot add the rule: No buffer space available"]
        tower.start()
        await tower.greeted()
        assert tower.page.troubles == ["cannot add the rule: No buffer space available; it is tried again"]
        await tower.until(lambda: tower.kernel.own.rules)

    theatre.play(scene)


def test_a_supervisor_that_does_not_listen_is_told_when_it_does(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        stuffing = 0
        while True:
            try:
                tower.theirs.send(b"x" * 1000)
            except BlockingIOError:
                break
            stuffing += 1
        tower.start()
        words = "cannot tell the supervisor what the host's networks are now: Resource temporarily unavailable"
        await tower.until(lambda: tower.page.troubles == [f"{words}; it is tried again"])
        for _ in range(stuffing):
            tower.mine.recv(1000)
        assert standing(await tower.greeted())

    theatre.play(scene)


def test_it_says_that_it_is_ready_when_that_can_be_said(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        refusals = [OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))]

        def greet() -> None:
            if refusals:
                raise refusals.pop()
            send(tower.theirs, READY)

        tower.greet = greet
        tower.start()
        await tower.greeted()
        words = "cannot tell the supervisor that the watcher is ready: Resource temporarily unavailable"
        assert tower.page.troubles == [f"{words}; it is tried again"]
        await tower.says_nothing(3 * RETRY)

    theatre.play(scene)


def test_more_than_a_message_holds_is_said_and_is_no_end(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(tower: Watchtower) -> None:
        monkeypatch.setattr(daemon_messages, "MAX_BYTES", 10)
        work = tower.start()
        await tower.until(lambda: tower.page.troubles)
        assert "Message too long; it is tried again" in tower.page.troubles[0]
        await tower.says_nothing()
        assert not work.done()
        monkeypatch.undo()
        await tower.greeted()

    theatre.play(scene)


# Its predecessor


def test_what_was_not_up_for_a_watcher_that_died_is_not_up_at_once_for_the_next_one(theatre: Theatre) -> None:
    """Else each death of a watcher would lead new sessions by an uplink that its probes have found to be dead."""

    async def scene(tower: Watchtower) -> None:
        tower.start()
        found = standing(await tower.greeted())
        assert found["wan1"] is not Standing.UP
        assert found["wan2"] is Standing.UP

    before = Network((uplink("wan1", standing=Standing.DOWN), uplink("wan2")))
    theatre.play(scene, before=before)
    theatre.play(scene, before=before, settings=PROBED)


# Time


def test_an_uplink_that_has_settled_is_told_when_its_time_is_over(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        tower.start()
        await tower.greeted()
        tower.change(replace(HOST, links=HOST.links[:2]))
        await tower.settled()
        tower.change(HOST)
        assert standing(await tower.settled())["wan2"] is Standing.SETTLING
        assert standing(await tower.settled())["wan2"] is Standing.UP

    theatre.play(scene, settings={**BY_INTERFACE, "external": {"failback": 0.05}})


def test_of_two_times_to_wake_the_earlier_counts(theatre: Theatre) -> None:
    async def scene(tower: Watchtower) -> None:
        watcher = tower.watcher
        tower.start()
        await tower.greeted()
        for later, sooner in ((0.05, 60.0), (60.0, 0.05)):
            count = len(tower.kernel.asked)
            watcher._wake_in(later)
            watcher._wake_in(sooner)
            await tower.until(lambda count=count: len(tower.kernel.asked) > count)  # type: ignore[misc]
        count = len(tower.kernel.asked)
        await asyncio.sleep(0.05)
        assert len(tower.kernel.asked) == count
        watcher._wake_in(-5.0)
        await tower.until(lambda: len(tower.kernel.asked) > count)

    theatre.play(scene)


# Probes

PROBED: Toml = {
    **BY_INTERFACE,
    "external": {"probes": ["tcp 203.0.113.1 80"], "interval": 0.01, "timeout": 0.01, "fall": 1},
}


def test_a_probe_that_fails_is_told(theatre: Theatre) -> None:
    fails = asyncio.Event()

    async def ask(_targets: Sequence[Probe], ways: Mapping[int, Egress], _timeout: float) -> tuple[bool, str]:
        return (False, "timed out") if fails.is_set() and ways[4].uplink == "wan1" else (True, "")

    async def scene(tower: Watchtower) -> None:
        tower.start()
        assert set(standing(await tower.greeted()).values()) == {Standing.UP}
        fails.set()
        assert standing(await tower.settled()) == {"wan1": Standing.DOWN, "wan2": Standing.UP}

    theatre.play(scene, settings=PROBED, ask=ask)


def test_a_bug_in_a_probe_ends_the_watcher_so_that_another_one_starts(theatre: Theatre) -> None:
    """An uplink that nobody probes any more would be called up for ever."""

    async def ask(_targets: Sequence[Probe], _ways: Mapping[int, Egress], _timeout: float) -> tuple[bool, str]:
        raise ZeroDivisionError("injected")

    async def scene(tower: Watchtower) -> None:
        work = asyncio.ensure_future(tower.watcher.run())
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(work, 10)

    theatre.play(scene, settings=PROBED, ask=ask)


# The end


def finished(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 10))


def test_work_goes_on_until_the_end_and_is_over_then() -> None:
    async def scene() -> None:
        ended, seen = asyncio.Event(), list[str]()

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)
                seen.append("over")

        waiting = asyncio.ensure_future(until(ended, work()))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        ended.set()
        await waiting
        assert seen == ["over"], "nothing of it goes on beside what comes next"

    finished(scene())


def test_work_that_fails_is_told_at_once() -> None:
    async def scene() -> None:
        async def work() -> None:
            raise ZeroDivisionError("injected")

        with pytest.raises(ZeroDivisionError):
            await until(asyncio.Event(), work())

    finished(scene())


# Whoever changes the kernel's routing


class Desk:
    """A `Remote`, and the supervisor's end of the channel by which it asks the warden."""

    def __init__(self) -> None:
        self.mine, self.theirs = channel()
        self.remote = Remote(Kernel(), self.theirs)

    async def asked(self) -> Apply:
        """What the warden is asked for."""
        while True:
            with contextlib.suppress(BlockingIOError):
                received = receive(self.mine)
                assert received is not None
                assert isinstance(received.message, Apply)
                return received.message
            await asyncio.sleep(0.001)

    def close(self) -> None:
        """Nobody asks any more."""
        self.mine.close()
        self.theirs.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


STEPS = (
    Step("add", RoutingRule(4, 20000, "lookup", 20000, oif="wan1")),
    Step("remove", RoutingRule(6, 20001, "unreachable")),
    Step("add", route("0.0.0.0/0", WAN1, "192.0.2.1")),
)


@pytest.mark.parametrize("faults", [(), ("cannot add a: no", "cannot add b: no")])
def test_the_warden_does_what_the_watcher_wants_and_says_how_it_went(desk: Desk, faults: tuple[str, ...]) -> None:
    async def scene() -> None:
        work = asyncio.ensure_future(desk.remote.apply(STEPS))
        wanted = await desk.asked()
        assert tuple(Step(one.verb, one.route or one.rule) for one in wanted.changes) == STEPS  # type: ignore[arg-type]
        assert not work.done()
        desk.remote.answered(Applied(faults))
        assert await work == faults

    finished(scene())


def test_an_answer_that_nobody_waits_for_is_none_to_the_next_question(desk: Desk) -> None:
    async def scene() -> None:
        desk.remote.answered(Applied(("too early",)))
        work = asyncio.ensure_future(desk.remote.apply(STEPS))
        await desk.asked()
        desk.remote.answered(Applied())
        desk.remote.answered(Applied(("too late",)))
        assert await work == ()

    finished(scene())


def test_a_warden_that_does_not_answer_is_a_fault_in_the_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_watcher, "APPLY_SECONDS", 0.01)
    assert APPLY_SECONDS > ANSWER_SECONDS, "the supervisor finds out sooner"

    async def scene() -> None:
        assert await desk.remote.apply(STEPS) == ("the warden does not answer, so that routing rules are not kept",)

    finished(scene())


def test_a_supervisor_that_takes_nothing_is_a_fault(desk: Desk) -> None:
    async def scene() -> None:
        desk.mine.close()
        assert await desk.remote.apply(STEPS) == ("cannot tell the warden what to change: Broken pipe",)

    finished(scene())
