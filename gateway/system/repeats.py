"""Lines that repeat the one before are written as their number.

Only lines of sessions are folded: what the daemon says of itself is news also when it is said twice, and a line that
carries a record of its own is more than its text.
"""

import operator
from collections.abc import Mapping, Sequence
from itertools import compress

from gateway.system.dress import Mark


class Repeats:
    """The last line, and how often it has come again since it was written."""

    def __init__(self) -> None:
        self.count = 0
        self._last: str | None = None

    def fold(self, lines: Sequence[str], marks: Mapping[int, Mark]) -> tuple[Sequence[str], Mapping[int, Mark]]:
        """What is to be written of these lines, and the marks at their new places; a marked line is never folded."""
        repetitions = self._repetitions(lines, marks)
        if lines:
            self._last = None if len(lines) - 1 in marks else lines[-1]
            if not repetitions and not self.count:
                return lines, marks
        written: list[str] = []
        kept: dict[int, Mark] = {}
        start = 0
        for place in (*repetitions, len(lines)):
            if start < place:
                written += self.close()
                shift = len(written) - start
                if marks:
                    kept |= {at + shift: marks[at] for at in range(start, place) if at in marks}
                written += lines[start:place]
            self.count += place < len(lines)
            start = place + 1
        return written, kept

    def _repetitions(self, lines: Sequence[str], marks: Mapping[int, Mark]) -> list[int]:
        """The places of the lines that are the same as the one before; so as to cost each line next to nothing."""
        same = list(map(operator.eq, lines, [self._last, *lines]))
        if True not in same:
            return []
        places = compress(range(len(lines)), same)
        return [place for place in places if place not in marks and place - 1 not in marks]

    def close(self) -> list[str]:
        """The line that says how often, if there is anything to say; what comes again is counted anew."""
        count, self.count = self.count, 0
        return [f"last line repeated {count} time{'s' if count > 1 else ''}"] if count else []

    def forget(self) -> None:
        """Leave what was counted to somebody else."""
        self.count = 0
        self._last = None
