r"""Text of a ``sockd.conf`` to lines of words, with the place of each; knows neither addresses nor rules.

The words of a line are split at blanks and tabs; nothing quotes or escapes. Reading from the left, whichever of ``:``
and ``#`` comes first ends the words: ``#`` begins a comment, ``:`` the command, which may hold any later ``#``
(``spec/socks4.md`` §3.2). Two kinds of words keep their own colons, so that the extended forms can be written:

* a word of the shape of an IPv6 address or prefix, with two colons or more, such as ``2001:db8::/32``. Such a word
  never stands after an operator, is never ``::`` alone, and never begins with a single colon;
* the times of a word that begins with ``hours=``: there a colon between two digits belongs to the word.

Every valid line of the classic grammar reads as before, but for a command that follows its colon without a blank and
itself begins with a colon and hexadecimal digits.

A ``\`` at the end of a line joins the next one, within words and commands; a comment ends with its own line.
"""

import re
from bisect import bisect_right
from typing import NamedTuple

from gateway.config.rules import PortOperator
from gateway.place import Place, Problem, Severity

LINE_LIMIT = 1023
"""Characters of a line, after joining, without its newline (``spec/socks4.md`` §3.2)."""

SPECIAL_WORDS = ("#NO_IDENTD:", "#BAD_ID:")
"""What makes a line that begins with ``#`` a command and not a comment (``spec/socks4.md`` §3.4)."""

OPERATOR_WORDS = frozenset(operator.value for operator in PortOperator)

# What an editor shows as nothing, as the end of a line, or as other text than is read: control characters but for the
# tab, line and paragraph separators, and the marks that turn the direction of writing.
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_WORD = re.compile(r"[^ \t]+")
_MARK = re.compile(r"[:#]")
_IPV6_SHAPE = re.compile(r"(?!:[^:])(?=[^:]*:[^:]*:)(?=.*[0-9A-Fa-f])[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(/[0-9]*)?")
_HOURS_SHAPE = re.compile(r"hours=([^:#]|(?<=[0-9]):(?=[0-9]))*")
_BLANKS = " \t"


class Line(NamedTuple):
    """A line after joining; ``number`` is its first physical line, ``joints`` are where in ``text`` others begin."""

    text: str
    number: int
    joints: tuple[int, ...] = ()

    def place(self, path: str, offset: int) -> Place:
        """The physical line and column of the character at ``offset`` of the text."""
        joined = bisect_right(self.joints, offset)
        start = self.joints[joined - 1] if joined else 0
        return Place(path, self.number + joined, offset - start + 1)


class Words(NamedTuple):
    """A line taken apart. ``command`` is None without a colon; the offsets of colon and ``#`` are -1 where absent."""

    words: list[str]
    command: str | None = None
    colon: int = -1
    comment: int = -1


def read_lines(text: str, path: str) -> tuple[list[Line], list[Problem]]:
    """The lines of a file, joined, in order; and what is wrong with lines as such.

    A line with an error of that kind is not among the lines.
    """
    physical = text.replace("\r\n", "\n").removesuffix("\r").split("\n")
    if not physical[-1]:
        physical.pop()
    lines: list[Line] = []
    problems: list[Problem] = []
    index = 0
    while index < len(physical):
        line, index = _join(physical, index)
        faults = _line_faults(line, path)
        problems += faults
        if not any(fault.severity is Severity.ERROR for fault in faults):
            lines.append(line)
    return lines, problems


def split_line(text: str) -> Words:
    """The words, the command and the comment of a line that is not a special one."""
    if ":" not in text and "#" not in text:
        return Words(text.split() if text.isascii() else _WORD.findall(text))
    words: list[str] = []
    for found in _WORD.finditer(text):
        word, start = found.group(), found.start()
        end = _word_end(word, words[-1] if words else "")
        if end:
            words.append(word[:end])
        if end < len(word):
            return _ended(text, words, start + end)
    return Words(words)


def word_offset(text: str, words: list[str], index: int) -> int:
    """Where in ``text`` the word of that index begins; the end of the last word for an index past it."""
    offset = 0
    for word in words[:index]:
        offset = text.index(word, offset) + len(word)
    return text.index(words[index], offset) if index < len(words) else offset


def special_word(text: str) -> str | None:
    """Which of `SPECIAL_WORDS` a line begins with, in its first column."""
    return next((word for word in SPECIAL_WORDS if text.startswith(word)), None)


def _word_end(word: str, previous: str) -> int:
    """How many characters of ``word`` come before the ``:`` or ``#`` that ends the words; all, if none does."""
    mark = _MARK.search(word)
    if mark is None:
        return len(word)
    if mark.group() == "#":
        return mark.start()
    body = word.partition("#")[0]
    if previous not in OPERATOR_WORDS and _IPV6_SHAPE.fullmatch(body) is not None:
        return len(body)
    hours = _HOURS_SHAPE.match(body)
    return hours.end() if hours is not None else mark.start()


def _ended(text: str, words: list[str], offset: int) -> Words:
    if text[offset] == "#":
        return Words(words, comment=offset)
    return Words(words, command=text[offset + 1 :].strip(_BLANKS), colon=offset)


def _join(physical: list[str], first: int) -> tuple[Line, int]:
    """The line whose first physical line has that index, and the index after its last one."""
    text = physical[first]
    index = first
    joints: list[int] = []
    while physical[index].endswith("\\") and index + 1 < len(physical) and not _in_comment(text[:-1]):
        index += 1
        joints.append(len(text) - 1)
        # What is refused as too long is not gathered any further: two characters more than the limit show it.
        text = (text[:-1] + physical[index])[: LINE_LIMIT + 2]
    return Line(text, first + 1, tuple(joints)), index + 1


def _in_comment(text: str) -> bool:
    return special_word(text) is None and split_line(text).comment >= 0


def _line_faults(line: Line, path: str) -> list[Problem]:
    text = line.text
    if len(text) > LINE_LIMIT:
        return [Problem(line.place(path, LINE_LIMIT), f"the line has more than {LINE_LIMIT} characters")]
    hidden = _HIDDEN.search(text)
    if hidden is not None:
        name = "a carriage return" if hidden.group() == "\r" else f"the invisible character U+{ord(hidden.group()):04X}"
        return [Problem(line.place(path, hidden.start()), f"{name} within a line; remove it")]
    return _backslash_faults(line, path) if text.rstrip(_BLANKS).endswith("\\") else []


def _backslash_faults(line: Line, path: str) -> list[Problem]:
    last = line.text.endswith("\\")
    place = line.place(path, len(line.text.rstrip(_BLANKS)) - 1)
    if not _in_comment(line.text):
        end = "the file ends after this '\\'" if last else "a blank follows the '\\' at the end of the line"
        return [Problem(place, f"{end}, so it joins no line; remove it")]
    if last:
        return [Problem(place, "a comment ends with its line; this '\\' does not join the next one", Severity.WARNING)]
    return []
