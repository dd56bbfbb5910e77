"""Where something was written: a file, a line, a column; and what is wrong there.

Places stay with the values that were parsed, so that a decision, a log line and an error can all name the line.
"""

import enum
from typing import NamedTuple


class Place(NamedTuple):
    """A position in a file; ``line`` and ``column`` count from 1, 0 means "the file as a whole"."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """``path:line:column``, without the parts that are 0."""
        if not self.line:
            return self.path
        if not self.column:
            return f"{self.path}:{self.line}"
        return f"{self.path}:{self.line}:{self.column}"


class Severity(enum.Enum):
    """An error refuses the file; a warning is shown and the file is used."""

    ERROR = "error"
    WARNING = "warning"


class Problem(NamedTuple):
    """One mistake or doubt in a file."""

    place: Place
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """``file:line:column: message``; a warning says so before its message."""
        label = "warning: " if self.severity is Severity.WARNING else ""
        return f"{self.place}: {label}{self.message}"
