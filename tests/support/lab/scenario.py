"""The one driver of scenarios: it plays steps, which are data, on whatever machines the lab is made of.

Namespaces of this host are one kind of `Machines`; virtual machines that are reached by ssh can be another.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import assert_never

from tests.support.lab.machines import Machines, Outcome, Sniffer
from tests.support.lab.steps import Change, Curl, Logged, Packets, Renumber, Run, Step, Wait, Watch
from tests.support.waiting import eventually

#: of curl(1): no connection, no answer in time, refused by an HTTP proxy, refused by a SOCKS proxy
_REFUSED = frozenset({7, 28, 56, 97})


class ScenarioFailed(AssertionError):
    """A step did not come out as wanted; the message has its number, the step and what was seen."""


class _Stage:
    """The machines, and what a scenario that plays on them has begun."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self._sniffers: dict[str, tuple[Sniffer, contextlib.ExitStack]] = {}
        self._log_before = len(machines.log())

    def __enter__(self) -> "_Stage":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for card in list(self._sniffers):
            self._forget(card)

    def watch(self, card: str) -> None:
        """Watch a card from now on."""
        self._forget(card)
        stack = contextlib.ExitStack()
        self._sniffers[card] = stack.enter_context(self.machines.sniff(card)), stack

    def _forget(self, card: str) -> None:
        if card in self._sniffers:
            self._sniffers.pop(card)[1].close()

    def left(self, card: str, destination: str) -> int | None:
        """How many packets for an address have left by a card; None when nobody watches it."""
        return self._sniffers[card][0].count(destination) if card in self._sniffers else None

    def log(self) -> str:
        """What the daemon has logged since the scenario began."""
        return self.machines.log()[self._log_before :]


def play(machines: Machines, steps: Sequence[Step]) -> None:
    """Do the steps in turn. Raises ScenarioFailed at the first that does not come out as wanted."""
    with _Stage(machines) as stage:
        for number, step in enumerate(steps, 1):
            fault = _do(step, stage)
            if fault:
                raise ScenarioFailed(f"step {number}, {step}: {fault}")


def _do(step: Step, stage: _Stage) -> str:
    """Do one step; returns what was wrong, empty for nothing."""
    match step:
        case Curl():
            return _until_right(lambda: _curl(step, stage.machines), step.within)
        case Run():
            return _until_right(lambda: _run(step, stage.machines), step.within)
        case Logged():
            return _until_right(lambda: _logged(step, stage), step.within)
        case Packets():
            return _packets(step, stage)
        case Change(change, card):
            stage.machines.change(change, card)
        case Renumber(card, old, new):
            stage.machines.renumber(card, old, new)
        case Watch(card):
            stage.watch(card)
        case Wait(seconds):
            time.sleep(seconds)
        case never:
            assert_never(never)
    return ""


def _until_right(attempt: Callable[[], str], within: float) -> str:
    """The last fault of something that may take some seconds to come out right."""
    last = [""]

    def right() -> bool:
        last[0] = attempt()
        return not last[0]

    eventually(right, within=within, every=0.05)
    return last[0]


def _curl(step: Curl, machines: Machines) -> str:
    proxy = ("--proxy", step.proxy) if step.proxy else ()
    command = ("curl", "--silent", "--show-error", "--max-time", "3", *proxy, *step.options, step.url)
    return _misfit(machines.run(step.at, command, within=60), step.expect)


def _misfit(done: Outcome, expect: Mapping[str, str] | None) -> str:
    if expect is None and not done.status:
        return f"it was answered: {done.output.strip()}"
    if expect is None and done.status in _REFUSED:
        return ""
    if expect is None or done.status:
        return f"curl ended with status {done.status}: {done.errors.strip()}"
    try:
        answer = json.loads(done.output)
    except ValueError:
        return f"the answer is not of a target of the lab: {done.output[:200]!r}"
    return "" if expect.items() <= answer.items() else f"the answer was {answer}"


def _run(step: Run, machines: Machines) -> str:
    done = machines.run(step.at, step.command, within=60)
    if done.status == step.status and re.search(step.output, done.output, re.MULTILINE):
        return ""
    return f"it ended with status {done.status} and said: {(done.output + done.errors).strip()}"


def _logged(step: Logged, stage: _Stage) -> str:
    new = stage.log()
    return "" if re.search(step.pattern, new, re.MULTILINE) else f"the log says: {new.strip()}"


def _packets(step: Packets, stage: _Stage) -> str:
    count = stage.left(step.card, step.destination)
    if count is None:
        return "nobody watches the card; put Watch before it"
    return "" if bool(count) is step.some else f"{count} packets have left"
