"""Lines that repeat the one before are written as their number.

Only lines of sessions are folded: what the daemon says of itself is news also when it is said twice, and a line that
carries a record of its own is more than its text.
"""

import operator
from collections.abc import Mapping, Sequence
from itertools import islice

from gateway.system.dress import Mark


class Repeats:
    """The last line, and how often it has come again since it was written."""

    def __init__(self) -> None:
        self.count = 0
        self._last: str | None = None

    def fold(self, lines: Sequence[str], marks: Mapping[int, Mark]) -> tuple[Sequence[str], Mapping[int, Mark]]:
        """What is to be written of these lines, and the marks at their new places; a marked line is never folded."""
        if lines and not self._concerns(lines):
            self._last = None if len(lines) - 1 in marks else lines[-1]
            return lines, marks
        written: list[str] = []
        kept: dict[int, Mark] = {}
        for place, line in enumerate(lines):
            mark = marks.get(place)
            if mark is None and line == self._last:
                self.count += 1
                continue
            written += self.close()
            if mark is not None:
                kept[len(written)] = mark
            written.append(line)
            self._last = line if mark is None else None
        return written, kept

    def _concerns(self, lines: Sequence[str]) -> bool:
        """Whether any of them may be a repetition, or ends one; a few nanoseconds a line."""
        if self.count or lines[0] == self._last:
            return True
        return any(map(operator.eq, lines, islice(lines, 1, None)))

    def close(self) -> list[str]:
        """The line that says how often, if there is anything to say; what comes again is counted anew."""
        count, self.count = self.count, 0
        return [f"last line repeated {count} time{'s' if count > 1 else ''}"] if count else []

    def forget(self) -> None:
        """Leave what was counted to somebody else."""
        self.count = 0
        self._last = None
