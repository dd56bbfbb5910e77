"""What the lines of ``sockd.conf`` and ``sockd.route`` have in common: a reader of words from left to right.

It knows how the mistakes of a line are gathered, and the fields that both files have: users, and a host with the mask
that belongs to it. Which fields a line has, and in which order, is the business of the two grammars.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

from gateway.config.fields import (
    ALL_WORD,
    BadField,
    check_ignored_mask,
    looks_numeric,
    parse_name,
    parse_pair,
    parse_prefix,
    parse_users,
    quoted,
    users_warning,
)
from gateway.config.lexer import Line, word_offset
from gateway.config.rules import AddressPattern, Anyone, Dialect, HostPattern, UserItem
from gateway.errors import ConfigError
from gateway.place import Place, Problem, Severity

ANYONE = Anyone()

_Rule = TypeVar("_Rule")
_Value = TypeVar("_Value")


class LineReader(ABC, Generic[_Rule]):
    """Reads the words of one line; ``problems`` gathers errors and warnings.

    After a field that is wrong the reading goes on where the next field can be told, so that one run shows them all.
    """

    def __init__(self, line: Line, words: list[str], path: str, dialect: Dialect) -> None:
        self._line = line
        self._words = words
        self._path = path
        self._dialect = dialect
        self._at = 0
        # The index after the last word that a ``:`` may follow without a blank: a mask or a port, as in the original.
        self._glue = 0
        self._refused = False
        self.problems: list[Problem] = []

    def read(self) -> _Rule | None:
        """The rule, or None when ``problems`` holds an error."""
        try:
            return self._rule()
        except _Unreadable:
            return None

    @abstractmethod
    def _rule(self) -> _Rule | None:
        """Every field in its order; None when one was refused."""

    # Where we are

    def _next(self) -> str:
        """The word to be read, empty at the end of the words."""
        return self._words[self._at] if self._at < len(self._words) else ""

    def _place(self, index: int) -> Place:
        text = self._line.text
        if index == 0 and not self._line.joints and not text.startswith((" ", "\t")):
            return Place(self._path, self._line.number, 1)
        return self._line.place(self._path, word_offset(text, self._words, index))

    def _error(self, index: int, message: str) -> None:
        self._error_at(self._place(index), message)

    def _error_at(self, place: Place, message: str) -> None:
        self._refused = True
        self.problems.append(Problem(place, message))

    def _warn(self, index: int, message: str | None) -> None:
        if message is not None:
            self.problems.append(Problem(self._place(index), message, Severity.WARNING))

    def _give_up(self, index: int, message: str) -> NoReturn:
        self._give_up_at(self._place(index), message)

    def _give_up_at(self, place: Place, message: str) -> NoReturn:
        self._error_at(place, message)
        raise _Unreadable

    def _try(self, index: int, read: Callable[[], _Value]) -> _Value | None:
        """The value of the field at that word; None, with the problem noted, when it is refused."""
        try:
            return read()
        except BadField as fault:
            self._error(index + fault.word, str(fault))
            return None

    # The fields that both files have

    def _users(self) -> tuple[UserItem, ...]:
        """What follows ``*=``, if that is the next word."""
        word = self._next()
        if not word.startswith("*="):
            return ()
        index = self._at
        self._at += 1
        users = self._try(index, lambda: parse_users(word[2:])) or ()
        self._warn(index, users_warning(users))
        return users

    def _host(self) -> HostPattern | None:
        """The address, prefix or name that begins at the next word, with the mask that belongs to it."""
        word = self._next()
        if looks_numeric(word):
            return self._pair()
        index = self._at
        self._at += 1
        if "/" in word or ":" in word:
            return self._noted(index, lambda: parse_prefix(word))
        host = ANYONE if word == ALL_WORD else self._try(index, lambda: parse_name(word))
        self._ignored_mask(host is ANYONE)
        return host

    def _pair(self) -> AddressPattern | None:
        index = self._at
        address = self._next()
        self._at += 1
        mask = self._next()
        if not looks_numeric(mask):
            self._error(index, needs_mask(address))
            return None
        self._at = self._glue = index + 2
        return self._noted(index, lambda: parse_pair(address, mask, self._dialect))

    def _noted(self, index: int, read: Callable[[], tuple[AddressPattern, str | None]]) -> AddressPattern | None:
        found = self._try(index, read)
        if found is None:
            return None
        self._warn(index, found[1])
        return found[0]

    def _ignored_mask(self, everyone: bool) -> None:
        mask = self._skip_mask()
        if mask:
            index = self._at - 1
            self._glue = self._at
            self._warn(index, self._try(index, lambda: check_ignored_mask(mask, self._dialect, everyone)))

    def _skip_mask(self) -> str:
        """Passes the mask of a word that needs none, and returns it; empty if there is none.

        Numbers that follow come in pairs but for such a mask, so it is there if their count is odd.
        """
        end = self._at
        while end < len(self._words) and looks_numeric(self._words[end]):
            end += 1
        if (end - self._at) % 2 == 0:
            return ""
        self._at += 1
        return self._words[self._at - 1]


class _Unreadable(Exception):
    """The rest of the line can not be told apart; the problem is noted already."""


def needs_mask(address: str) -> str:
    """The message about an IPv4 address that stands alone."""
    return f"{quoted(address)} needs a mask after it, such as 255.255.255.255; or write {address}/32"


def accepted(problems: list[Problem]) -> tuple[Problem, ...]:
    """The warnings about a file, in its order. Raises ConfigError with all problems when one of them is an error."""
    problems = sorted(problems, key=lambda problem: problem.place[1:])
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems)
    return tuple(problems)
