"""The rules in plain words: line by line, field by field, first match wins.

This is what the compiled classifier (`gateway.policy.access`) must agree with, and what can say of each line which of
its fields did not match. It is written to be read, not to be fast.
"""

import enum
from collections.abc import Sequence

from gateway.address import Address, Name, embedded_ipv4, plain
from gateway.config.rules import AccessRule, Action, AddressPattern, Anyone, HostPattern, NamePattern
from gateway.policy.decision import (
    AUTH_OF_METHOD,
    NO_ADDRESS,
    NO_MATCH,
    WORD_OF_COMMAND,
    Decision,
    Question,
    Result,
    for_embedded,
    guarded,
    settled,
    undecided,
)
from gateway.policy.destination import Guard, find_zone
from gateway.policy.pattern import is_everywhere, is_prefix, normal, port_ranges, week_minutes, within
from gateway.policy.users import UserSource, is_member, members_of
from gateway.wire.constants import Method


class Field(enum.Enum):
    """The tests of a line, in the order in which they are written."""

    USER = "user"
    SOURCE = "source"
    DESTINATION = "destination"
    PORT = "port"
    AUTH = "auth"
    METHOD = "method"
    HOURS = "hours"


class Reach(enum.Enum):
    """Whether a line's destination covers what was asked for."""

    YES = "yes"
    NO = "no"
    #: only some addresses of the name that was asked for, which is not looked up yet
    MAYBE = "maybe"


def reach(pattern: HostPattern, name: Name | None, address: Address | None) -> Reach:
    """Whether a destination covers a name, an address, or a name that led to the address."""
    pattern = normal(pattern)
    if isinstance(pattern, Anyone):
        return Reach.YES
    if isinstance(pattern, NamePattern):
        return Reach.YES if name is not None and pattern.covers(name) else Reach.NO
    if address is None:
        return Reach.MAYBE
    return Reach.YES if pattern.covers(*plain(address)) else Reach.NO


def mismatches(rule: AccessRule, question: Question, users: UserSource) -> tuple[Field, ...]:
    """The fields of a line that do not match, all but the destination, in the order of `Field`."""
    options = rule.options
    source = normal(rule.source)
    tests = {
        Field.USER: not rule.users or is_member(question.user, rule.users, users),
        Field.SOURCE: isinstance(source, Anyone)
        or (isinstance(source, AddressPattern) and source.covers(*plain(question.source))),
        Field.PORT: any(low <= question.port <= high for low, high in port_ranges(rule.ports)),
        Field.AUTH: options.auth is None or AUTH_OF_METHOD[question.method] in options.auth,
        Field.METHOD: options.method is None or WORD_OF_COMMAND[question.command] in options.method,
        Field.HOURS: any(low <= question.minute <= high for low, high in week_minutes(options.hours)),
    }
    return tuple(field for field, matched in tests.items() if not matched)


def first_match(
    rules: Sequence[AccessRule], question: Question, address: Address, users: UserSource
) -> AccessRule | None:
    """The line that decides about an address, without the guard; ``report`` lines never do."""
    name = question.host if isinstance(question.host, str) else None
    for rule in rules:
        if rule.options.report or reach(rule.destination, name, address) is Reach.NO:
            continue
        if not mismatches(rule, question, users):
            return rule
    return None


class LinearPolicy:
    """The same three questions as `gateway.policy.access.AccessPolicy` answers, by reading every line."""

    def __init__(self, rules: Sequence[AccessRule], guard: Guard, users: UserSource) -> None:
        self._rules = rules
        self._zones = guard.zones()
        self._users = users

    def decide(self, question: Question) -> Decision:
        """The decision about a request; RESOLVE only for a name of which an address could be permitted."""
        if isinstance(question.host, str):
            return self._decide_name(question, question.host)
        return self.decide_address(question, question.host)

    def decide_address(self, question: Question, address: Address) -> Decision:
        """PERMIT or DENY for an address; one that embeds an IPv4 address is permitted only if that is too."""
        outer = plain(address)
        decision = self._decide_one(question, outer)
        inner = embedded_ipv4(outer)
        if decision.result is Result.DENY or inner is None:
            return decision
        second = self._decide_one(question, inner)
        if second.result is Result.DENY:
            return for_embedded(second, inner, outer)
        return decision._replace(would_deny=decision.would_deny or second.would_deny)

    def could_permit(self, question: Question) -> bool:
        """Whether one of the users that any line names, or a stranger, would get more than DENY by password."""
        named = {user for rule in self._rules for user in members_of(rule.users, self._users)}
        stranger = "a stranger" + "".join(named)
        return any(
            self.decide(question._replace(user=user, method=Method.PASSWORD)).result is not Result.DENY
            for user in (*named, stranger)
        )

    def _decide_one(self, question: Question, address: Address) -> Decision:
        rule = first_match(self._rules, question, address, self._users)
        would_deny = self._would_deny(question, address, rule)
        if rule is None:
            return NO_MATCH._replace(would_deny=would_deny)
        zone = find_zone(self._zones, address)
        if rule.action is Action.PERMIT and zone is not None and not zone.lifted_by(rule.destination):
            return guarded(rule, address, zone.phrase)._replace(would_deny=would_deny)
        return settled(rule)._replace(would_deny=would_deny)

    def _would_deny(self, question: Question, address: Address | None, end: AccessRule | None) -> AccessRule | None:
        """The first ``report`` line before ``end`` that certainly matches."""
        name = question.host if isinstance(question.host, str) else None
        for rule in self._rules:
            if rule is end:
                return None
            certain = reach(rule.destination, name, address) is Reach.YES
            if rule.options.report and certain and not mismatches(rule, question, self._users):
                return rule
        return None

    def _decide_name(self, question: Question, name: Name) -> Decision:
        denied: list[AddressPattern] = []
        nothing = NO_MATCH
        for rule in self._rules:
            reached = reach(rule.destination, name, None)
            if reached is Reach.NO or rule.options.report or mismatches(rule, question, self._users):
                continue
            if rule.action is Action.PERMIT and _has_open_address(rule, denied):
                return undecided(rule)
            if reached is Reach.YES:
                decision = NO_ADDRESS if rule.action is Action.PERMIT else settled(rule)
                return decision._replace(would_deny=self._would_deny(question, None, rule))
            nothing = NO_ADDRESS
            pattern = normal(rule.destination)
            if rule.action is Action.DENY and isinstance(pattern, AddressPattern) and is_prefix(pattern):
                denied.append(pattern)
        return nothing._replace(would_deny=self._would_deny(question, None, None))


def _has_open_address(rule: AccessRule, denied: Sequence[AddressPattern]) -> bool:
    """Whether no single deny line before it covers everything that a permit line could permit.

    A mask with holes counts as covered only where every address is denied, as the classifier has no interval for it.
    """
    pattern = normal(rule.destination)
    if not isinstance(pattern, AddressPattern):
        return not {4, 6} <= {deny.version for deny in denied if is_everywhere(deny)}
    return not any(within(pattern, deny) and (is_prefix(pattern) or is_everywhere(deny)) for deny in denied)
