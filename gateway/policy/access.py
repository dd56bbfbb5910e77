"""The classifier: a whole ``sockd.conf`` compiled, and the decision about one request in a few microseconds.

A request is one look-up a field, the conjunction of the sets of rules that come out, and the bit that stands for the
first line (`gateway.policy.block`); ten thousand rules cost what ten cost. `gateway.policy.linear` says the same in
plain words and is what this is checked against.
"""

from collections.abc import Iterable

from gateway.address import Address, Name, embedded_ipv4, plain
from gateway.config.rules import AccessFile, UserFile, UserItem
from gateway.errors import ConfigError
from gateway.policy.block import Block, positions
from gateway.policy.decision import NO_ADDRESS, NO_MATCH, Decision, Question, Result, for_embedded, guarded
from gateway.policy.destination import Guard, GuardTable
from gateway.policy.enforced import rule_problems
from gateway.policy.pattern import VERSIONS
from gateway.policy.users import UserSource, members_of
from gateway.wire.constants import Method

WHOLE = 16_384
"""A file of at most so many rules is one block."""

BLOCK = 4_096
"""Rules in each block of a larger file. Sets grow with the square of a block, so this bounds the memory."""

# Reading a member from an enum's class costs more than any other step of a decision.
_PERMIT = Result.PERMIT
_DENY = Result.DENY


class AccessPolicy:
    """Compiled rules; a session keeps the one that it began with. Only the contents of user files can change in it."""

    __slots__ = ("_blocks", "_guard", "_members", "_watched", "file", "guard", "users")

    def __init__(self, file: AccessFile, guard: Guard, users: UserSource, block_size: int) -> None:
        """Compile rules that are known to be enforceable, in blocks of this many; see `compile`."""
        self.file = file
        self.guard = guard
        self.users = users
        self._guard = GuardTable(guard)
        rules = file.rules
        self._blocks = tuple(Block(rules[start : start + block_size]) for start in range(0, len(rules), block_size))
        lists = {rule.users for rule in rules if rule.users}
        paths = {item.path for items in lists for item in items if isinstance(item, UserFile)}
        self._watched = {path: users.file(path) for path in paths}
        self._members: dict[tuple[UserItem, ...], frozenset[str]] = {}
        self._read_members(lists)

    @classmethod
    def compile(
        cls, file: AccessFile, guard: Guard, users: UserSource, block_size: int | None = None
    ) -> "AccessPolicy":
        """The policy of a file.

        Raises ConfigError with every line that can not be enforced: options that this version does not apply, unknown
        groups, user files that can not be read.
        """
        problems = rule_problems(file.rules, users)
        if problems:
            raise ConfigError(problems)
        if block_size is None:
            block_size = WHOLE if len(file.rules) <= WHOLE else BLOCK
        return cls(file, guard, users, block_size)

    def decide(self, question: Question) -> Decision:
        """The decision about a request; RESOLVE only for a name of which an address could be permitted."""
        if self._watched:
            self._refresh()
        host = question.host
        if isinstance(host, str):
            return self._decide_name(question, host)
        return self._decide_host(question, host, None)

    def decide_address(self, question: Question, address: Address) -> Decision:
        """PERMIT or DENY for one of the addresses of the name that was asked for."""
        if self._watched:
            self._refresh()
        host = question.host
        return self._decide_host(question, address, host if isinstance(host, str) else None)

    def could_permit(self, question: Question) -> bool:
        """Whether a password could help: whether some user, so authenticated, would get PERMIT or RESOLVE.

        For names, and for addresses that embed another, it may say yes when only the next step can tell.
        """
        if self._watched:
            self._refresh()
        wanted = question._replace(method=Method.PASSWORD)
        host = question.host
        if isinstance(host, str):
            return self._somebody_may(wanted, None, host)
        outer = plain(host)
        inner = embedded_ipv4(outer)
        return self._somebody_may(wanted, outer, None) and (inner is None or self._somebody_may(wanted, inner, None))

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
        if zone is None or rule is None or zone.lifted_by(rule.destination):
            return decision
        return guarded(rule, address, zone.phrase)

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

    # Some user

    def _somebody_may(self, question: Question, address: Address | None, name: Name | None) -> bool:
        refused: set[str] = set()
        for block in self._blocks:
            definite, possible = block.for_anybody(question, address, name)
            for position in positions(possible):
                decision = block.decisions[position]
                members = self._members.get(decision.rule.users) if decision.rule else None
                if decision.result is _PERMIT and address is not None:
                    decision = self._ask_guard(decision, address)
                if decision.result is _PERMIT:
                    if members is None or not members <= refused:
                        return True
                elif definite >> (position - 1) & 1:
                    if members is None:
                        return False
                    refused |= members
        return False

    # User files

    def _refresh(self) -> None:
        changed = False
        for path, seen in self._watched.items():
            users = self.users.file(path)
            if users is not seen:
                self._watched[path] = users
                changed = True
        if changed:
            self._read_members(self._members)

    def _read_members(self, lists: Iterable[tuple[UserItem, ...]]) -> None:
        self._members = {items: members_of(items, self.users) for items in lists}
        for block in self._blocks:
            block.set_users(self._members)
