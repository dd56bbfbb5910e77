"""All that the screen shows and a key can change, as one frozen value."""

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.cli.top.sample import Row, Sample
from gateway.cli.top.sorting import Sort
from gateway.control.protocol import Filter, Kill


class Size(NamedTuple):
    """Of the terminal, in characters."""

    columns: int
    lines: int


class Page(enum.Enum):
    """What fills the screen."""

    TABLE = "table"
    DETAILS = "details"
    HELP = "help"


class Editing(NamedTuple):
    """The filter, while it is written."""

    text: str
    error: str = ""


class Asking(NamedTuple):
    """A question that only ``y`` agrees to."""

    question: str
    kill: Kill


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The program between two events."""

    size: Size
    #: the last look, and the one before it for rates of the totals
    sample: Sample
    before: Sample | None = None
    #: the last look that lists the table's sessions; `sample` may list one session's details alone
    table: Sample
    #: the sessions of `table`, sorted
    rows: tuple[Row, ...] = ()
    filter: Filter = field(default_factory=Filter)
    sort: Sort = Sort.BYTES
    reverse: bool = False
    #: seconds between looks
    interval: float = 1.0
    paused: bool = False
    #: the line under the cursor and the first one shown, counted from the table's first
    cursor: int = 0
    top: int = 0
    #: the session that the cursor stays with; empty: it stays on its line, as at the start
    held: str = ""
    page: Page = Page.TABLE
    #: the session of the details, as it was seen last, and whether it has ended
    details: Row | None = None
    gone: bool = False
    prompt: Editing | Asking | None = None
    #: what became of the last key; the next one takes it away
    message: str = ""
    #: why the daemon does not answer; empty when it does
    trouble: str = ""
    #: looks so far
    looks: int = 0
