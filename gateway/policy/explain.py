"""Why a request is decided as it is: the deciding line, the earlier lines that nearly matched, and the guard.

The verdict comes from the policy itself; the words about single lines come from the linear reading of them. Nothing is
printed here, and a name is looked up only by what the caller passes in.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.address import Address, Name, embedded_ipv4, plain
from gateway.config.options import DAYS
from gateway.config.rules import AccessRule, Action, AddressPattern, Anyone, HostPattern, NamePattern
from gateway.policy.access import AccessPolicy
from gateway.policy.decision import AUTH_OF_METHOD, WORD_OF_COMMAND, Decision, Question, Result, for_embedded
from gateway.policy.destination import find_zone
from gateway.policy.linear import Field, Reach, first_match, mismatches, reach
from gateway.policy.pattern import DAY, is_prefix, normal

NEAR = 2
"""A line nearly matches when at most so many of its fields do not."""

SHOWN = 10
"""How many such lines are shown."""


class NearMiss(NamedTuple):
    """A line that comes before the deciding one and nearly matched; why not, the first field first."""

    rule: AccessRule
    misses: tuple[str, ...]


class Verdict(NamedTuple):
    """The decision about one address, or about a name before it is looked up (``address`` is None)."""

    address: Address | None
    decision: Decision
    guard: str
    near: tuple[NearMiss, ...]
    #: how many more lines nearly matched than are shown
    more: int


class Explanation(NamedTuple):
    """Everything about one request. ``name`` is the verdict on the name, where one was asked for."""

    question: Question
    name: Verdict | None
    addresses: tuple[Verdict, ...]

    @property
    def result(self) -> Result:
        """PERMIT when at least one address is permitted."""
        permitted = any(verdict.decision.result is Result.PERMIT for verdict in self.addresses)
        return Result.PERMIT if permitted else Result.DENY


def explain(policy: AccessPolicy, question: Question, resolve: Callable[[Name], Sequence[Address]]) -> Explanation:
    """The explanation of a request. ``resolve`` is asked only for a name that the rules would have looked up."""
    host = question.host
    if not isinstance(host, str):
        return Explanation(question, None, (_explain_address(policy, question, host),))
    name = _explain_name(policy, question, host)
    found = resolve(host) if name.decision.result is Result.RESOLVE else ()
    return Explanation(question, name, tuple(_explain_address(policy, question, address) for address in found))


def _explain_name(policy: AccessPolicy, question: Question, name: Name) -> Verdict:
    decision = policy.decide(question)
    if decision.result is Result.RESOLVE:
        return Verdict(None, decision, "asked about each address", (), 0)
    near, more = _near_misses(policy, question, name, None, decision.rule)
    return Verdict(None, decision, "not asked, as the name is refused", near, more)


def _explain_address(policy: AccessPolicy, question: Question, address: Address) -> Verdict:
    outer = plain(address)
    decision = policy.decide_address(question, outer)
    inner = embedded_ipv4(outer)
    refused = outer
    if inner is not None:
        second = policy.decide_address(question, inner)
        refused = inner if decision.reason == for_embedded(second, inner, outer).reason else outer
    name = question.host if isinstance(question.host, str) else None
    near, more = _near_misses(policy, question, name, refused, decision.rule)
    return Verdict(address, decision, _guard_words(policy, question, decision, outer, inner), near, more)


def _guard_words(
    policy: AccessPolicy, question: Question, decision: Decision, outer: Address, inner: Address | None
) -> str:
    if decision.result is Result.PERMIT:
        asked = (outer,) if inner is None else (outer, inner)
        return "; ".join(_lifted_words(policy, question, address) for address in asked)
    if decision.rule is not None and decision.rule.action is Action.PERMIT:
        return f"refuses what {decision.rule.label} permits"
    return "not asked, as no line permits"


def _lifted_words(policy: AccessPolicy, question: Question, address: Address) -> str:
    zone = find_zone(policy.guard.zones(), address)
    if zone is None:
        return f"{address} is not guarded"
    rule = first_match(policy.file.rules, question, address, policy.users)
    return f"{address} is {zone.phrase}, and {rule.label if rule else 'no line'} names it"


def _near_misses(
    policy: AccessPolicy, question: Question, name: Name | None, address: Address | None, end: AccessRule | None
) -> tuple[tuple[NearMiss, ...], int]:
    """The lines before ``end`` that nearly matched, the nearest ones, in the order of the file; how many are left."""
    found = []
    for rule in policy.file.rules:
        if rule is end:
            break
        missed = _missed(policy, rule, question, name, address)
        if 0 < len(missed) <= NEAR:
            found.append(NearMiss(rule, tuple(_words(field, rule, question, name, address) for field in missed)))
    nearest = sorted(found, key=lambda near: len(near.misses))[:SHOWN]
    nearest.sort(key=lambda near: near.rule.place.line)
    return tuple(nearest), len(found) - len(nearest)


def _missed(
    policy: AccessPolicy, rule: AccessRule, question: Question, name: Name | None, address: Address | None
) -> list[Field]:
    missed = set(mismatches(rule, question, policy.users))
    if reach(rule.destination, name, address) is not Reach.YES:
        missed.add(Field.DESTINATION)
    return [field for field in Field if field in missed]


def _words(field: Field, rule: AccessRule, question: Question, name: Name | None, address: Address | None) -> str:
    """Why a field does not match."""
    match field:
        case Field.USER:
            return f"user {question.user!r} is not on its list" if question.user else "the client gave no user"
        case Field.SOURCE:
            return f"source {plain(question.source)} is not in {host_words(rule.source)}"
        case Field.DESTINATION:
            return _destination_words(rule.destination, name, address)
        case Field.PORT:
            return f"port {question.port} is not {port_words(rule)}"
        case Field.AUTH:
            wanted = ",".join(sorted(rule.options.auth or ()))
            return f"it wants auth={wanted}, the client has auth={AUTH_OF_METHOD[question.method]}"
        case Field.METHOD:
            wanted = ",".join(sorted(rule.options.method or ()))
            return f"it is for method={wanted}, the request is {WORD_OF_COMMAND[question.command]}"
        case Field.HOURS:
            return f"{minute_words(question.minute)} is not in its hours"


def _destination_words(pattern: HostPattern, name: Name | None, address: Address | None) -> str:
    written = host_words(pattern)
    if address is None:
        if isinstance(pattern, NamePattern):
            return f"{name} is not {written}"
        return f"whether {name} is in {written} shows only when it is looked up"
    if isinstance(pattern, NamePattern):
        return f"{name} is not {written}" if name else f"the request has the address {address}, not the name {written}"
    return f"destination {address} is not in {written}"


def host_words(pattern: HostPattern) -> str:
    """A pattern as an administrator would write it: ``10.0.0.0/8``, ``10.0.0.1 255.0.0.255``, ``.example.com``."""
    if isinstance(pattern, Anyone):
        return "ALL"
    if isinstance(pattern, NamePattern):
        return f".{pattern.name}" if pattern.below else pattern.name
    pattern = normal(pattern)
    assert isinstance(pattern, AddressPattern)
    address = Address(pattern.version, pattern.number & pattern.mask)
    if is_prefix(pattern):
        return f"{address}/{pattern.mask.bit_count()}"
    return f"{address} {Address(pattern.version, pattern.mask)}"


def port_words(rule: AccessRule) -> str:
    """The port test of a line: ``eq 80``, ``in 80,8000-8080``; ``any`` where there is none."""
    if rule.ports is None:
        return "any"
    spans = (str(low) if low == high else f"{low}-{high}" for low, high in rule.ports.operands)
    return f"{rule.ports.operator.value} {','.join(spans)}"


def minute_words(minute: int) -> str:
    """``Mon 14:30`` for a minute of the week."""
    day, rest = divmod(minute, DAY)
    return f"{DAYS[day]} {rest // 60:02}:{rest % 60:02}"
