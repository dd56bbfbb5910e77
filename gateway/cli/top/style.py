"""Styled text: what the renderer gives and the screen draws."""

import enum
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.cli.top.words import cut, visible

GAP = 2
"""Blanks between the pieces of a line of the heading."""


class Style(enum.Enum):
    """What a piece of text means; the screen knows the colours."""

    PLAIN = "plain"
    TITLE = "title"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    FAINT = "faint"
    #: the titles of the columns, and of those that the table is sorted by
    HEAD = "head"
    SORTED = "sorted"
    #: the line under the cursor
    CURSOR = "cursor"
    PROMPT = "prompt"


class Span(NamedTuple):
    """A piece of a line: visible ASCII."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]


def line(text: str, style: Style = Style.PLAIN, *, width: int) -> Line:
    """One piece that fits the width."""
    return (Span(cut(visible(text), width), style),)


def text_of(spans: Iterable[Span]) -> str:
    """A line without its styles."""
    return "".join(span.text for span in spans)


def fitted(pieces: Sequence[Span], width: int) -> Line:
    """The pieces from the left on that fit the width, with blanks between them; the first is cut if it must be."""
    found: list[Span] = []
    left = width
    for piece in pieces:
        text = visible(piece.text) if found else cut(visible(piece.text), width)
        need = len(text) + (GAP if found else 0)
        if need > left:
            break
        if found:
            found.append(Span(" " * GAP))
        found.append(Span(text, piece.style))
        left -= need
    return tuple(found)
