"""A question of the supervisor to several processes at once, until all have answered, or have gone, or time is up."""

import time
from collections.abc import Callable, Iterable
from typing import Any

MAX_PARTS = 1024
"""Parts of all answers together; nobody honest has so many."""


class Gathering:
    """The answers to one question. It is over once, with those that came, and the names of those that are missing."""

    def __init__(
        self, asked: Iterable[str], seconds: float, over: Callable[["Gathering"], None], kind: type = object
    ) -> None:
        """``over`` is called when it is over; ``kind`` is that of the answers."""
        #: who is still waited for, or was until time was up
        self.missing = set(asked)
        #: whom the question did not reach though he runs, and why
        self.unreached: dict[str, str] = {}
        self.answers: list[Any] = []
        self._until = time.monotonic() + seconds
        self._over = over
        self._kind = kind
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether nobody is waited for any more."""
        return self._is_over

    @property
    def seconds(self) -> float:
        """For how long it may still take."""
        return max(0.0, self._until - time.monotonic())

    def add(self, name: str, answer: Any, *, is_last: bool = True) -> bool:
        """Somebody answers, with more to follow if this is not the last part; False: nobody asked him that."""
        if name not in self.missing or not isinstance(answer, self._kind) or len(self.answers) >= MAX_PARTS:
            return False
        self.answers.append(answer)
        if is_last:
            self.missing.discard(name)
            self.settle()
        return True

    def gone(self, name: str) -> None:
        """Who has died does not answer."""
        self.missing.discard(name)
        self.settle()

    def unreachable(self, name: str, why: str) -> None:
        """Who was not reached does not answer either, and that is no good sign."""
        self.missing.discard(name)
        self.unreached[name] = why

    @property
    def failures(self) -> str:
        """Who did not answer, in words; empty if all did that have not died."""
        late = dict.fromkeys(self.missing, "no answer in time")
        return ", ".join(f"{name}: {why}" for name, why in sorted((late | self.unreached).items()))

    def settle(self) -> None:
        """See whether it is over."""
        if not self._is_over and (not self.missing or not self.seconds):
            self._is_over = True
            self._over(self)


class Gatherings:
    """Those that are under way, by their numbers."""

    def __init__(self) -> None:
        self._number = 0
        self._open: dict[int, Gathering] = {}

    def begin(
        self, asked: Iterable[str], seconds: float, over: Callable[[Gathering], None], kind: type = object
    ) -> tuple[int, Gathering]:
        """A new one and its number; it must be `settle`d once the question is put."""
        self._number += 1
        number = self._number
        gathering = Gathering(asked, seconds, lambda done: self._end(number, done, over), kind)
        self._open[number] = gathering
        return number, gathering

    def _end(self, number: int, gathering: Gathering, over: Callable[[Gathering], None]) -> None:
        del self._open[number]
        over(gathering)

    def add(self, number: int, name: str, answer: Any, *, is_last: bool = True) -> bool:
        """An answer to the question of that number, which may be over; False: it is none to it."""
        return number not in self._open or self._open[number].add(name, answer, is_last=is_last)

    def gone(self, name: str) -> None:
        """Somebody has died."""
        for gathering in tuple(self._open.values()):
            gathering.gone(name)

    def tick(self) -> None:
        """Time has passed."""
        for gathering in tuple(self._open.values()):
            gathering.settle()
