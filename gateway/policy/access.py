"""The classifier: a whole ``sockd.conf`` compiled, and the decision about one request in a few microseconds.

A request is one look-up a field, the conjunction of the sets of rules that come out, and the bit that stands for the
first line (`gateway.policy.block`); ten thousand rules cost what ten cost. `gateway.policy.linear` says the same in
plain words and is what this is checked against.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from operator import and_

from gateway.address import Address, Name, embedded_ipv4, plain
from gateway.config.rules import AccessFile, AccessRule
from gateway.errors import ConfigError
from gateway.policy.block import Block
from gateway.policy.decision import NO_ADDRESS, NO_MATCH, Decision, Question, Result, for_embedded, guarded
from gateway.policy.destination import Guard, GuardTable, Zone
from gateway.policy.enforced import rule_problems
from gateway.policy.membership import Membership
from gateway.policy.pattern import VERSIONS
from gateway.policy.users import UserSource
from gateway.wire.constants import Method

WHOLE = 16_384
"""A file of at most so many rules is one block."""

BLOCK = 4_096
"""Rules in each block of a larger file. Sets grow with the square of a block, so this bounds the memory."""

REMEMBERED = 2_048
"""How many decisions are kept: a client that loads a page asks for the same few endpoints again and again."""

# Reading a member from an enum's class costs more than any other step of a decision.
_PERMIT = Result.PERMIT
_DENY = Result.DENY


MAX_KINDS = 64
"""How many kinds of users `AccessPolicy.could_permit` asks about: its work must not grow with the rules."""


class AccessPolicy:
    """Compiled rules; a session keeps the one that it began with.

    Only the contents of user files and the guard (`set_guard`) can change in it. ``timed`` tells whether any line has
    hours, that is, whether `Question.minute` matters.
    """

    __slots__ = ("_blocks", "_decided", "_guard", "_kinds", "_lifted", "_lists", "file", "guard", "timed", "users")

    def __init__(self, file: AccessFile, guard: Guard, users: UserSource, block_size: int) -> None:
        """Compile rules that are known to be enforceable, in blocks of this many; see `compile`."""
        self.file = file
        self.guard = guard
        self.users = users
        self._guard = GuardTable(guard)
        self._lifted: dict[tuple[int, int], bool] = {}
        rules = file.rules
        self.timed = any(rule.options.hours is not None for rule in rules)
        self._blocks = tuple(Block(rules[start : start + block_size]) for start in range(0, len(rules), block_size))
        self._lists = Membership((item for rule in rules for item in rule.users), users)
        self._kinds: list[tuple[str, tuple[int, ...]]] | None = None
        self._decided = lru_cache(maxsize=REMEMBERED)(self._decide)
        self._read_users()

    @classmethod
    def compile(
        cls,
        file: AccessFile,
        guard: Guard,
        users: UserSource,
        block_size: int | None = None,
        *,
        multihomed: bool = False,
    ) -> "AccessPolicy":
        """The policy of a file; ``multihomed`` as `rule_problems` takes it.

        Raises ConfigError with every line that can not be enforced: options that this version does not apply, unknown
        groups, user files that can not be read.
        """
        problems = rule_problems(file.rules, users, multihomed=multihomed)
        if problems:
            raise ConfigError(problems)
        if block_size is None:
            block_size = WHOLE if len(file.rules) <= WHOLE else BLOCK
        return cls(file, guard, users, block_size)

    def set_guard(self, guard: Guard) -> None:
        """Guard this from now on: addresses of the host come and go while the rules stay."""
        self.guard = guard
        self._guard = GuardTable(guard)
        # Known by the ids of zones that are gone.
        self._lifted.clear()
        self._decided.cache_clear()

    def decide(self, question: Question) -> Decision:
        """The decision about a request; RESOLVE only for a name of which an address could be permitted."""
        if self._lists.watched and self._lists.changed():
            self._read_users()
        return self._decided(question)

    def decide_address(self, question: Question, address: Address) -> Decision:
        """PERMIT or DENY for one of the addresses of the name that was asked for."""
        if self._lists.watched and self._lists.changed():
            self._read_users()
        host = question.host
        return self._decide_host(question, address, host if isinstance(host, str) else None)

    def could_permit(self, question: Question) -> bool:
        """Whether a password could help: whether some user, so authenticated, would get PERMIT or RESOLVE.

        Where the rules know more than `MAX_KINDS` kinds of users that might, the answer is yes without a closer look.
        """
        if self._lists.watched and self._lists.changed():
            self._read_users()
        host = question.host
        name = host if isinstance(host, str) else None
        address = plain(host) if isinstance(host, Address) else None
        wanted = question._replace(method=Method.PASSWORD)
        permits = [block.permits_for_anybody(wanted, address, name) for block in self._blocks]
        if not any(permits):
            return False
        promising = (user for user, rules in self._kinds_of_users() if any(map(and_, rules, permits)))
        users = list(islice(promising, MAX_KINDS + 1))
        return len(users) > MAX_KINDS or any(
            self.decide(wanted._replace(user=user)).result is not _DENY for user in users
        )

    def _decide(self, question: Question) -> Decision:
        host = question.host
        if isinstance(host, str):
            return self._decide_name(question, host)
        return self._decide_host(question, host, None)

    # One address

    def _decide_host(self, question: Question, address: Address, name: Name | None) -> Decision:
        if address.version == 4:
            return self._decide_one(question, address, name)
        outer = plain(address)
        decision = self._decide_one(question, outer, name)
        inner = embedded_ipv4(outer)
        if inner is None or decision.result is _DENY:
            return decision
        second = self._decide_one(question, inner, name)
        if second.result is _DENY:
            return for_embedded(second, inner, outer)
        return decision if decision.would_deny else decision._replace(would_deny=second.would_deny)

    def _decide_one(self, question: Question, address: Address, name: Name | None) -> Decision:
        would_deny = None
        for block in self._blocks:
            bits = block.request(question)
            if bits:
                bits &= block.destination(address, name)
            if bits and block.reports:
                would_deny = would_deny or block.first_report(bits)
                bits &= block.decisive
            if bits:
                decision = block.decisions[bits.bit_length()]
                if decision.result is _PERMIT:
                    decision = self._ask_guard(decision, address)
                return decision if would_deny is None else decision._replace(would_deny=would_deny)
        return NO_MATCH if would_deny is None else NO_MATCH._replace(would_deny=would_deny)

    def _ask_guard(self, decision: Decision, address: Address) -> Decision:
        zone = self._guard.at(address)
        rule = decision.rule
        if zone is None or rule is None or self._lifts(zone, rule):
            return decision
        return guarded(rule, address, zone.phrase)

    def _lifts(self, zone: Zone, rule: AccessRule) -> bool:
        # Both live as long as the policy does, and comparing them costs more than the rest of a decision.
        key = (id(zone), id(rule))
        known = self._lifted.get(key)
        if known is None:
            known = self._lifted[key] = zone.lifted_by(rule.destination)
        return known

    # A name, before it is looked up

    def _decide_name(self, question: Question, name: Name) -> Decision:
        decision = NO_MATCH
        would_deny = None
        closed: frozenset[int] = frozenset()
        for block in self._blocks:
            bits = block.request(question)
            definite = bits & block.named(name)
            would_deny = would_deny or block.first_report(definite)
            first = (definite & block.decisive).bit_length()
            early = (bits & block.addressed) >> first << first
            found = block.open_permits(early, closed).bit_length()
            if found:
                return block.undecided[found]
            if early:
                decision = NO_ADDRESS
            closed |= block.closing(early)
            if first:
                decision = block.decisions[first]
                break
        if decision.result is _PERMIT:
            if len(closed) < len(VERSIONS):
                return block.undecided[first]
            decision = NO_ADDRESS
        return decision if would_deny is None else decision._replace(would_deny=would_deny)

    # User files

    def _read_users(self) -> None:
        members = self._lists.members()
        for block in self._blocks:
            block.set_users(members)
        self._kinds = None
        self._decided.cache_clear()

    def _kinds_of_users(self) -> Sequence[tuple[str, tuple[int, ...]]]:
        """One user of each kind, with the rules of each block that are for it; users of a kind are on the same lists.

        The first one is a stranger, who is on none.
        """
        if self._kinds is None:
            named = {user for block in self._blocks for user in block.users}
            stranger = "\0"
            while stranger in named:
                stranger += "\0"
            kinds: dict[tuple[int, ...], str] = {}
            for user in (stranger, *named):
                kinds.setdefault(tuple(block.rules_of(user) for block in self._blocks), user)
            self._kinds = [(user, rules) for rules, user in kinds.items()]
        return self._kinds
