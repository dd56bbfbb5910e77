"""What a rule may ask for that this version does not do: such a file is refused, never silently not applied.

A proxy that reads a restriction and does not hold it is worse than one that does not start.
"""

from collections.abc import Iterable

from gateway.config.rules import AccessRule, Action, NamePattern, Options, RouteRule, UserFile, UserGroup, UserItem
from gateway.errors import ConfigError
from gateway.place import Problem
from gateway.policy.users import UserSource

UNENFORCED = ("rate", "sessions", "quota")
"""Options that the parser reads and no part of this version applies."""

SINGLE_HOMED = "via= has no effect on a single-homed server; set [external] interface or [files] routes in gateway.toml"


def rule_problems(rules: Iterable[AccessRule], users: UserSource, *, multihomed: bool = False) -> tuple[Problem, ...]:
    """Every reason why these rules can not be enforced as written, in the order of the file.

    ``multihomed``: ways out are chosen by name, so that ``via=`` can be held.
    """
    return tuple(Problem(rule.place, message) for rule in rules for message in _faults(rule, users, multihomed))


def route_problems(rules: Iterable[RouteRule], users: UserSource) -> tuple[Problem, ...]:
    """The same about the lines of ``sockd.route``: user lists of which nobody can say who is on them."""
    return tuple(Problem(rule.place, message) for rule in rules for message in _user_faults(rule.users, users))


def _faults(rule: AccessRule, users: UserSource, multihomed: bool) -> list[str]:
    found = [_not_enforced(name) for name in UNENFORCED if _is_written(rule.options, name)]
    if rule.options.via is not None and not multihomed:
        found.append(SINGLE_HOMED)
    if isinstance(rule.source, NamePattern):
        found.append("a host name as source is not enforced by this version; write the client's address")
    if rule.options.report and rule.action is Action.PERMIT:
        found.append("report belongs to deny lines; remove it, or make the line a deny")
    return found + _user_faults(rule.users, users)


def _not_enforced(name: str) -> str:
    return f"{name}= is not enforced by this version; remove it"


def _is_written(options: Options, name: str) -> bool:
    return getattr(options, name) is not None


def _user_faults(items: Iterable[UserItem], users: UserSource) -> list[str]:
    found = []
    for item in items:
        if isinstance(item, UserGroup) and users.group(item.name) is None:
            found.append(f"unknown group @{item.name}")
        elif isinstance(item, UserFile):
            found += _file_faults(item.path, users)
    return found


def _file_faults(path: str, users: UserSource) -> list[str]:
    try:
        users.file(path)
    except OSError as error:
        return [f"Unable to open userfile ({path}): {error.strerror or error}"]
    except ConfigError as error:
        return [f"Unable to open userfile ({path}): {problem.message}" for problem in error.problems]
    return []
