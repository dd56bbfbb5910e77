"""Who is on a user list: names, user files and groups, and the watch over user files that change while running.

Files, clock and group database come in by argument. A file is looked at when a question needs it, at most once a
second, so that an administrator's change counts at once and costs the data path nothing else.
"""

import re
from collections.abc import Callable, Hashable
from typing import Protocol

from gateway.config.rules import UserFile, UserGroup, UserItem, UserName
from gateway.errors import ConfigError
from gateway.place import Place, Problem

LINE_LIMIT = 1023
"""Characters in a line of a user file (``spec/socks4.md`` §3.1); the original cut what is longer."""

RECHECK = 1.0
"""Seconds between two looks at a user file."""

_SEPARATORS = re.compile(r"[ \t,]+")


class UserSource(Protocol):
    """Where user files and groups are read from."""

    def file(self, path: str) -> frozenset[str]:
        """The user ids in a file; the same object as long as they are the same.

        Raises OSError or ConfigError when it was never readable.
        """

    def group(self, name: str) -> frozenset[str] | None:
        """The members of a group of the host; None when there is no such group."""


def parse_users(text: str, path: str = "user file") -> frozenset[str]:
    """The ids in a user file: any number a line, between blanks, tabs and commas; ``#`` starts a comment.

    Raises ConfigError for lines over `LINE_LIMIT` characters.
    """
    found: set[str] = set()
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LINE_LIMIT:
            place = Place(path, number, LINE_LIMIT + 1)
            problems.append(Problem(place, f"a line of more than {LINE_LIMIT} characters"))
        found.update(_SEPARATORS.split(line.partition("#")[0].rstrip("\r")))
    if problems:
        raise ConfigError(problems)
    return frozenset(found - {""})


def members_of(items: tuple[UserItem, ...], source: UserSource) -> frozenset[str]:
    """Everybody on a user list; an unknown group has no members.

    The empty name is never a member: a client that gave no user id matches only lines for everybody. Raises what
    `UserSource.file` raises.
    """
    found: set[str] = set()
    for item in items:
        match item:
            case UserName(name):
                found.add(name)
            case UserFile(path):
                found |= source.file(path)
            case UserGroup(name):
                found |= source.group(name) or frozenset()
    return frozenset(found - {""})


def is_member(user: str, items: tuple[UserItem, ...], source: UserSource) -> bool:
    """Whether `members_of` has this user, without gathering all the others."""
    return user != "" and any(_names(item, user, source) for item in items)


def _names(item: UserItem, user: str, source: UserSource) -> bool:
    match item:
        case UserName(name):
            return user == name
        case UserFile(path):
            return user in source.file(path)
        case UserGroup(name):
            return user in (source.group(name) or ())


class _Watched:
    """One user file: its last good contents, and what they were read from."""

    __slots__ = ("due", "failed", "signature", "users")

    def __init__(self, users: frozenset[str], signature: Hashable, due: float) -> None:
        self.users = users
        self.signature = signature
        self.due = due
        self.failed = False


class UserFiles:
    """A `UserSource` over real files.

    ``read`` gives a file's text (ConfigError or OSError when it can not); ``signature`` a value that changes with the
    file, such as its times, size and inode (OSError); ``clock`` seconds that never go back; ``group`` the members of
    a group or None; ``report`` takes one line when a file that was good fails, once until it is good again. Such a
    file keeps its last good contents: an editor that replaces it must not lock everybody out, or let anybody in.
    """

    def __init__(
        self,
        read: Callable[[str], str],
        signature: Callable[[str], Hashable],
        clock: Callable[[], float],
        group: Callable[[str], frozenset[str] | None],
        report: Callable[[str], None],
    ) -> None:
        self._read = read
        self._signature = signature
        self._clock = clock
        self._group = group
        self._report = report
        self._watched: dict[str, _Watched] = {}
        self._groups: dict[str, frozenset[str] | None] = {}

    def group(self, name: str) -> frozenset[str] | None:
        """The members of a group, as they were when it was first asked for.

        The group database may be a directory server; a question to it must not delay a session.
        """
        if name not in self._groups:
            self._groups[name] = self._group(name)
        return self._groups[name]

    def file(self, path: str) -> frozenset[str]:
        """The ids in a file, at most a second old. Raises OSError or ConfigError at the first use only."""
        watched = self._watched.get(path)
        now = self._clock()
        if watched is None:
            signature = self._signature(path)
            watched = _Watched(parse_users(self._read(path), path), signature, now + RECHECK)
            self._watched[path] = watched
        elif now >= watched.due:
            watched.due = now + RECHECK
            self._look_again(path, watched)
        return watched.users

    def _look_again(self, path: str, watched: _Watched) -> None:
        try:
            # Before the reading: what is written between the two is seen at the next look.
            signature = self._signature(path)
            if signature == watched.signature:
                return
            text = self._read(path)
        except (OSError, ConfigError):
            watched.signature = None
            self._fail(watched, f"Unable to open userfile ({path})")
            return
        watched.signature = signature
        try:
            users = parse_users(text, path)
        except ConfigError as error:
            self._fail(watched, f"{error}; its last good contents stay in force")
            return
        watched.failed = False
        if users != watched.users:
            watched.users = users

    def _fail(self, watched: _Watched, message: str) -> None:
        if not watched.failed:
            watched.failed = True
            self._report(message)
