"""The user lists of a compiled file: whom each item names, and whether a user file among them has changed since.

The tables that are made from it are the caller's; a file is looked at as `gateway.policy.users` says.
"""

from collections.abc import Iterable

from gateway.config.rules import UserFile, UserItem
from gateway.policy.users import UserSource, members_of


class Membership:
    """The items of all user lists of one file. Raises what `UserSource.file` raises when it is made.

    ``watched`` are the user files by path, with what they held when `changed` was last asked; empty: nothing can
    change, and there is no need to ask.
    """

    __slots__ = ("_items", "_users", "watched")

    def __init__(self, items: Iterable[UserItem], users: UserSource) -> None:
        self._items = frozenset(items)
        self._users = users
        paths = {item.path for item in self._items if isinstance(item, UserFile)}
        self.watched = {path: users.file(path) for path in paths}

    def changed(self) -> bool:
        """Whether a user file holds other users than when this was last asked."""
        changed = False
        for path, seen in self.watched.items():
            users = self._users.file(path)
            if users is not seen:
                self.watched[path] = users
                changed = True
        return changed

    def members(self) -> dict[UserItem, frozenset[str]]:
        """Whom each item names now."""
        return {item: members_of((item,), self._users) for item in self._items}
