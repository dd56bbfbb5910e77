"""A question about one request, and the decision that answers it: the values that policy and session share.

The wording of every reason is here, so that the classifier, its oracle and the tests can not drift apart.
"""

import enum
from types import MappingProxyType
from typing import NamedTuple

from gateway.address import Address, Name
from gateway.config.rules import AccessRule, Action
from gateway.wire.constants import Command, Method

WEEK = 7 * 24 * 60
"""Minutes in a week; `Question.minute` is less than this."""


AUTH_OF_METHOD = MappingProxyType(
    {Method.NONE: "none", Method.GSSAPI: "gssapi", Method.PASSWORD: "password", Method.UNACCEPTABLE: ""}
)
"""Which word of ``auth=`` stands for a method."""

WORD_OF_COMMAND = MappingProxyType({Command.CONNECT: "connect", Command.BIND: "bind", Command.UDP_ASSOCIATE: "udp"})
"""Which word of ``method=`` stands for a command."""


class Result(enum.Enum):
    """What is to become of a request."""

    PERMIT = "permit"
    DENY = "deny"
    #: the name alone does not settle it: look it up and ask again about each address
    RESOLVE = "resolve"


class Question(NamedTuple):
    """One request, as the rules see it.

    ``host`` is canonical (`gateway.address.canonical_host`); ``user`` is what the client claims or proved to be, empty
    when it said nothing; ``method`` is how it proved it; ``minute`` counts from Monday 00:00 of the local week.
    """

    source: Address
    host: Address | Name
    port: int
    user: str = ""
    command: Command = Command.CONNECT
    method: Method = Method.NONE
    minute: int = 0


class Decision(NamedTuple):
    """The answer: what, by which line, why.

    ``rule`` is the line that decided; for a refusal by the guard it is the line that would have permitted, for RESOLVE
    the first line that could permit. ``would_deny`` is the first ``report`` line that the request passed on its way.
    """

    result: Result
    rule: AccessRule | None
    reason: str
    would_deny: AccessRule | None = None


NO_MATCH = Decision(Result.DENY, None, "no line matches")
NO_ADDRESS = Decision(Result.DENY, None, "no line permits any address of this name")


def settled(rule: AccessRule) -> Decision:
    """The decision of a line that matches."""
    if rule.action is Action.PERMIT:
        return Decision(Result.PERMIT, rule, f"permitted by {rule.label}")
    return Decision(Result.DENY, rule, f"denied by {rule.label}")


def undecided(rule: AccessRule) -> Decision:
    """The decision of a permit line that may match once the name's addresses are known."""
    return Decision(Result.RESOLVE, rule, f"{rule.label} could permit it, its addresses decide")


def guarded(rule: AccessRule, address: Address, phrase: str) -> Decision:
    """The guard's refusal of what a line permits; ``phrase`` is the `Zone` in words."""
    return Decision(Result.DENY, rule, f"guard: {address} is {phrase}, and {rule.label} does not name it")


def for_embedded(refusal: Decision, inner: Address, outer: Address) -> Decision:
    """The refusal of the IPv4 host that an IPv6 address leads to, as the refusal of that address."""
    return refusal._replace(reason=f"{refusal.reason}, for {inner} within {outer}")
