"""The loop of the full screen: keys and answers into the state, the state onto the screen, looks at their times."""

import select
from collections.abc import Callable
from dataclasses import dataclass

from gateway.cli.top.courier import Courier, Failed, Killed
from gateway.cli.top.pace import pause
from gateway.cli.top.sample import Sample
from gateway.cli.top.screen import Screen
from gateway.cli.top.scroll import is_live, lacks, wanted
from gateway.cli.top.state import State
from gateway.cli.top.update import Quit, failed, killed, looked, not_killed, pressed, resized
from gateway.cli.top.view import render
from gateway.control.protocol import Kill, Sessions

KEYBOARD = 0
GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


@dataclass(slots=True)
class _Looks:
    """When the daemon was looked at, and for what."""

    asked: Sessions
    at: float
    #: a look is on its way
    away: bool = False


class Show:
    """The program while it has the screen."""

    def __init__(self, state: State, screen: Screen, courier: Courier, clock: Callable[[], float], count: int) -> None:
        self._state = state
        self._screen = screen
        self._courier = courier
        self._clock = clock
        #: looks after which it ends; 0: never
        self._count = count
        self._looks = _Looks(state.sample.asked, state.sample.at)
        self._over = False

    def run(self) -> None:
        """Until it is quit, or its terminal has gone."""
        poll = select.poll()
        for descriptor in (KEYBOARD, self._courier.fileno(), self._screen.fileno()):
            poll.register(descriptor, select.POLLIN)
        self._state = resized(self._state, self._screen.adapt())
        while not self._over:
            self._screen.draw(render(self._state))
            if self._count and self._state.looks >= self._count:
                return
            self._look_if_due()
            timeout = self._until_due()
            for descriptor, events in poll.poll(None if timeout is None else timeout * 1000 + 1):
                self._serve(descriptor, events)

    def _serve(self, descriptor: int, events: int) -> None:
        if descriptor == self._screen.fileno():
            self._state = resized(self._state, self._screen.adapt())
        elif descriptor == self._courier.fileno():
            for answer in self._courier.take():
                self._answered(answer)
        elif events & GONE:
            self._over = True
        else:
            for key in self._screen.typed():
                self._press(key)

    def _press(self, key: str) -> None:
        self._state, command = pressed(self._state, key)
        if isinstance(command, Quit):
            self._over = True
        elif isinstance(command, Kill):
            self._courier.send(command)

    def _answered(self, answer: Sample | Killed | Failed) -> None:
        if isinstance(answer, Killed):
            self._state = killed(self._state, answer.number)
            # What was ended shall not stay on the screen for the rest of the pause.
            self._looks.at = float("-inf")
        elif isinstance(answer, Failed) and isinstance(answer.request, Kill):
            self._state = not_killed(self._state, answer.why)
        elif isinstance(answer, Failed):
            self._looks.away = False
            self._state = failed(self._state, answer.why)
        else:
            self._looks.away = False
            self._state = looked(self._state, answer)

    def _look_if_due(self) -> None:
        due = self._until_due()
        if self._looks.away or (due != 0 and not lacks(self._state, self._looks.asked)):
            return
        self._looks = _Looks(wanted(self._state), self._clock(), away=True)
        self._courier.send(self._looks.asked)

    def _until_due(self) -> float | None:
        """Seconds to the next look; None where none is due: while one is on its way, or in a pause."""
        if self._looks.away or not is_live(self._state):
            return None
        due = self._looks.at + pause(self._state.interval, self._state.sample.took)
        return max(due - self._clock(), 0)
