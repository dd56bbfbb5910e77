"""The table of sessions: which columns a width has room for, and the lines of those that are shown; pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.cli.daemon import amount, span
from gateway.cli.top.sample import Row
from gateway.cli.top.sorting import Sort
from gateway.cli.top.style import Line, Span, Style
from gateway.cli.top.words import cut, cut_front, rate, target, visible

MOVING = "relaying"
"""The state of a session that moves data; the others are shown faint."""


class Column(NamedTuple):
    """A column of the table."""

    title: str
    sort: Sort
    #: characters it needs, and more than which it has no use for
    least: int
    most: int
    #: the order in which columns are left out where there is no room: the highest first
    rank: int
    cell: Callable[[Row], str]
    #: numbers stand at the right
    right: bool = False
    #: cut at the front: what differs is at the end
    tail: bool = False


COLUMNS = (
    Column("SESSION", Sort.SESSION, 8, 17, 7, lambda row: row.live.session, tail=True),
    Column("USER", Sort.USER, 8, 16, 1, lambda row: row.live.user or "-"),
    Column("CLIENT", Sort.CLIENT, 15, 47, 9, lambda row: row.live.client),
    Column("DESTINATION", Sort.DESTINATION, 22, 70, 0, lambda row: target(row.live)),
    Column("RULE", Sort.RULE, 13, 16, 10, lambda row: row.live.rule or "-", tail=True),
    Column("UPLINK", Sort.UPLINK, 6, 10, 8, lambda row: row.live.uplink or "-"),
    Column("STATE", Sort.STATE, 11, 11, 11, lambda row: row.live.state),
    Column("AGE", Sort.AGE, 6, 6, 4, lambda row: span(row.live.seconds), right=True),
    Column("SENT", Sort.BYTES, 5, 5, 6, lambda row: amount(row.live.sent), right=True),
    Column("RECVD", Sort.BYTES, 5, 5, 5, lambda row: amount(row.live.received), right=True),
    Column("SENT/s", Sort.RATE, 6, 6, 3, lambda row: rate(row.sent), right=True),
    Column("RECV/s", Sort.RATE, 6, 6, 2, lambda row: rate(row.received), right=True),
)


class Place(NamedTuple):
    """A column on the screen, with its width."""

    column: Column
    width: int


Layout = tuple[Place, ...]


def layout(width: int) -> Layout:
    """The columns that fit, a blank between them; they depend on nothing else, so that they do not dance."""
    chosen: list[Column] = []
    left = width
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        need = column.least + (1 if chosen else 0)
        if need > left and chosen:
            break
        chosen.append(column)
        left -= min(need, left)
    widths = _grown({column: min(column.least, width) for column in chosen}, left)
    return tuple(Place(column, widths[column]) for column in COLUMNS if column in widths)


def _grown(widths: dict[Column, int], spare: int) -> dict[Column, int]:
    """What is left goes to the columns in turn, a character each, the most important first."""
    growing = [column for column in widths if widths[column] >= column.least]
    while spare and growing:
        growing = [column for column in growing if widths[column] < column.most]
        for column in growing[:spare]:
            widths[column] += 1
        spare -= min(spare, len(growing))
    return widths


def head(places: Layout, sort: Sort, width: int) -> Line:
    """The titles; the columns that the table is sorted by stand out."""
    spans: list[Span] = []
    for number, place in enumerate(places):
        if number:
            spans.append(Span(" ", Style.HEAD))
        style = Style.SORTED if place.column.sort is sort else Style.HEAD
        spans.append(Span(_aligned(place, place.column.title), style))
    spans.append(Span(" " * (width - sum(len(span.text) for span in spans)), Style.HEAD))
    return tuple(spans)


def rows(places: Layout, shown: Sequence[Row], under_cursor: int, width: int) -> list[Line]:
    """A line each; the one under the cursor as wide as the screen."""
    return [_row(places, row, number == under_cursor, width) for number, row in enumerate(shown)]


def _row(places: Layout, row: Row, under_cursor: bool, width: int) -> Line:
    text = " ".join(_aligned(place, place.column.cell(row)) for place in places)
    if under_cursor:
        return (Span(text.ljust(width), Style.CURSOR),)
    return (Span(text, Style.PLAIN if row.live.state == MOVING else Style.FAINT),)


def _aligned(place: Place, text: str) -> str:
    column, width = place
    fitting = (cut_front if column.tail else cut)(visible(text), width)
    return fitting.rjust(width) if column.right else fitting.ljust(width)
