"""The lines of a configuration file as they stand in it, for tools that show which one decided."""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.config.lexer import read_lines
from gateway.place import Place


class Listing(NamedTuple):
    """The lines of a file after joining, by the number of the first physical line of each."""

    lines: Mapping[int, str]

    @classmethod
    def of(cls, text: str, path: str) -> "Listing":
        """The listing of a file's text."""
        return cls({line.number: line.text for line in read_lines(text, path)[0]})

    def at(self, place: Place) -> str:
        """The line that holds a place; a place in a joined line is within the last one that begins before it."""
        start = max((number for number in self.lines if number <= place.line), default=0)
        return self.lines.get(start, "")
