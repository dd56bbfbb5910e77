"""Doubts about a ``sockd.route`` that is correct: lines that are never used, and ways out that do not exist now.

Which line covers which is the same question as in ``sockd.conf``, and is answered there (`gateway.policy.lint`).
"""

from collections.abc import Collection, Iterable, Iterator

from gateway.address import Address
from gateway.config.rules import (
    AccessFile,
    AccessRule,
    Action,
    Anyone,
    EgressWord,
    RouteFile,
    RouteRule,
)
from gateway.place import Place, Problem, Severity
from gateway.policy.lint import lint


def route_lint(file: RouteFile) -> tuple[Problem, ...]:
    """The warnings about the lines of a file, in their order; the parser's own are not among them."""
    return lint(AccessFile(file.path, tuple(map(_as_deny, file.rules))))


def _as_deny(rule: RouteRule) -> AccessRule:
    """The line of ``sockd.conf`` that decides, to the exclusion of later lines, exactly where this one does."""
    return AccessRule(rule.place, Action.DENY, Anyone(), rule.destination, users=rule.users)


def reference_problems(
    routes: RouteFile | None,
    access: AccessFile,
    default: Iterable[EgressWord],
    uplink_names: Collection[str],
    interfaces: Collection[str],
    addresses: Collection[Address],
    settings: str = "gateway.toml",
) -> tuple[Problem, ...]:
    """The warnings about ways out that are neither configured nor there now.

    ``uplink_names`` are those of ``[uplinks.NAME]``; ``interfaces`` and ``addresses`` what this host has now;
    ``default`` is ``[external] interface``, which stands in the file ``settings``. Warnings about ``sockd.route`` come
    first, then ``sockd.conf``, then ``settings``.
    """
    known = {*uplink_names, *interfaces, *addresses}
    return tuple(
        Problem(place, f"{prefix}{_missing(word)}", Severity.WARNING)
        for place, prefix, word in _written(routes, access, default, settings)
        if word not in known
    )


def _written(
    routes: RouteFile | None, access: AccessFile, default: Iterable[EgressWord], settings: str
) -> Iterator[tuple[Place, str, EgressWord]]:
    """Every way out that is written: where, what the message has to say of the place, and the word."""
    for route in () if routes is None else routes.rules:
        yield from ((route.place, "", word) for word in route.egress)
    for rule in access.rules:
        yield from ((rule.place, "", word) for word in rule.options.via or ())
    yield from ((Place(settings), "[external] interface: ", word) for word in default)


def _missing(word: EgressWord) -> str:
    if isinstance(word, Address):
        return f"no interface has the address {word} now; what goes by it is refused until one has"
    return f"there is no interface {word} now, and no [uplinks.{word}]; what goes by it is refused until it appears"
