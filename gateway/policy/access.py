"""The classifier: a whole ``sockd.conf`` compiled, and the decision about one request in a few microseconds.

Each field of the rules is a table from a value to the set of rules that it satisfies, a Python integer with one bit a
rule. A request is one look-up a field, the conjunction of the sets, and the bit that stands for the first line; ten
thousand rules cost what ten cost. The first rule has the highest bit, because ``bit_length`` finds that one without
arithmetic on the whole integer. `gateway.policy.linear` says the same in plain words and is what this is checked
against.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import xor

from gateway.address import Address, Name, embedded_ipv4, plain
from gateway.config.rules import (
    AccessFile,
    AccessRule,
    Action,
    AddressPattern,
    Anyone,
    HostPattern,
    NamePattern,
    UserFile,
    UserItem,
)
from gateway.errors import ConfigError
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
from gateway.policy.destination import Guard, GuardTable
from gateway.policy.enforced import rule_problems
from gateway.policy.pattern import VERSIONS, bits_of, is_everywhere, is_prefix, normal, port_ranges, span, week_minutes
from gateway.policy.tables import NameTable, address_tables, interval_table, user_table, word_table
from gateway.policy.users import UserSource, members_of
from gateway.wire.constants import Method

WHOLE = 16_384
"""A file of at most so many rules is one block."""

BLOCK = 4_096
"""Rules in each block of a larger file. Sets grow with the square of a block, so this bounds the memory."""

# Reading a member from an enum's class costs more than the decision's other steps together.
_PERMIT = Result.PERMIT
_DENY = Result.DENY


class AccessPolicy:
    """Compiled rules; a session keeps the one that it began with. Only the contents of user files can change in it."""

    __slots__ = ("_blocks", "_guard", "_members", "_users", "_watched")

    def __init__(self, rules: Sequence[AccessRule], guard: Guard, users: UserSource, block_size: int) -> None:
        """Compile rules that are known to be enforceable, in blocks of this many."""
        self._guard = GuardTable(guard)
        self._users = users
        self._members: dict[tuple[UserItem, ...], frozenset[str]] = {}
        self._blocks = tuple(_Block(rules[at : at + block_size]) for at in range(0, len(rules), block_size))
        lists = {rule.users for rule in rules if rule.users}
        paths = dict.fromkeys(item.path for items in lists for item in items if isinstance(item, UserFile))
        self._watched = {path: users.file(path) for path in paths}
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
        return cls(file.rules, guard, users, block_size)

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
        nothing = NO_MATCH
        would_deny = None
        closed: frozenset[int] = frozenset()
        for block in self._blocks:
            bits = block.request(question)
            definite = bits & block.named(name)
            would_deny = would_deny or block.first_report(definite)
            definite &= block.decisive
            first = definite.bit_length()
            early = (bits & block.addressed) >> first << first
            if early:
                nothing = NO_ADDRESS
            found = block.open_permits(early, closed)
            if found:
                return block.undecided[found.bit_length()]
            closed |= block.closing(early)
            if first:
                decision = block.decisions[first]
                if decision.result is _PERMIT and len(closed) < len(VERSIONS):
                    return block.undecided[first]
                nothing = NO_ADDRESS if decision.result is _PERMIT else decision
                break
        return nothing if would_deny is None else nothing._replace(would_deny=would_deny)

    # Some user

    def _somebody_may(self, question: Question, address: Address | None, name: Name | None) -> bool:
        refused: set[str] = set()
        for block in self._blocks:
            definite, possible = block.for_anybody(question, address, name)
            for position in _positions(possible):
                decision = block.decisions[position]
                rule = decision.rule
                assert rule is not None
                members = self._members[rule.users] if rule.users else None
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
            users = self._users.file(path)
            if users is not seen:
                self._watched[path] = users
                changed = True
        if changed:
            self._read_members(self._members.keys())

    def _read_members(self, lists: Iterable[tuple[UserItem, ...]]) -> None:
        self._members = {items: members_of(items, self._users) for items in lists}
        for block in self._blocks:
            block.set_users(self._members)


class _Block:
    """A run of rules, compiled. Bit ``position - 1`` of every set is the rule at ``position``, counted from the end.

    A field that no rule tests has None in place of its table.
    """

    __slots__ = (
        "_closing",
        "_commands",
        "_destinations",
        "_everybody",
        "_hours",
        "_lists",
        "_methods",
        "_names",
        "_permits",
        "_permits_by_version",
        "_ports",
        "_rules",
        "_shadowing",
        "_shadows",
        "_sources",
        "_unnamed",
        "_users",
        "addressed",
        "decisions",
        "decisive",
        "reports",
        "undecided",
    )

    def __init__(self, rules: Sequence[AccessRule]) -> None:
        coded = [(rule, 1 << (len(rules) - 1 - index)) for index, rule in enumerate(rules)]
        everything = (1 << len(rules)) - 1
        backwards = rules[::-1]
        self._rules = backwards
        self.decisions = (NO_MATCH, *map(settled, backwards))
        self.undecided = (NO_MATCH, *map(undecided, backwards))
        self.reports = sum(bit for rule, bit in coded if rule.options.report)
        self.decisive = everything ^ self.reports
        self._permits = sum(bit for rule, bit in coded if rule.action is Action.PERMIT)
        self._sources = address_tables([(rule.source, bit) for rule, bit in coded])
        targets = [(normal(rule.destination), bit) for rule, bit in coded]
        self._destinations = address_tables(targets)
        self._names = NameTable.build((target, bit) for target, bit in targets if isinstance(target, NamePattern))
        self._unnamed = sum(bit for target, bit in targets if isinstance(target, Anyone))
        self.addressed = self.decisive & sum(bit for target, bit in targets if isinstance(target, AddressPattern))
        self._permits_by_version = {version: self._permits & _of_version(targets, version) for version in VERSIONS}
        denies = [(target, bit) for target, bit in targets if bit & self.decisive & ~self._permits]
        self._closing = {version: _everywhere(denies, version) for version in VERSIONS}
        self._shadows = self._find_shadows(targets, denies)
        self._shadowing = sum(1 << (position - 1) for position in self._shadows)
        self._ports = interval_table(((port_ranges(rule.ports), bit) for rule, bit in coded if rule.ports), everything)
        self._hours = interval_table(
            ((week_minutes(rule.options.hours), bit) for rule, bit in coded if rule.options.hours is not None),
            everything,
        )
        self._methods = word_table(AUTH_OF_METHOD, [(rule.options.auth, bit) for rule, bit in coded])
        self._commands = word_table(WORD_OF_COMMAND, [(rule.options.method, bit) for rule, bit in coded])
        self._lists: dict[tuple[UserItem, ...], int] = {}
        for rule, bit in coded:
            self._lists[rule.users] = self._lists.get(rule.users, 0) | bit
        self._everybody = self._lists.pop((), 0)
        self._users: dict[str, int] | None = None

    def set_users(self, members: Mapping[tuple[UserItem, ...], frozenset[str]]) -> None:
        """Take over who is on each user list."""
        if self._lists:
            groups = ((bits, members[items]) for items, bits in self._lists.items())
            self._users = user_table(groups, self._everybody)

    def request(self, question: Question) -> int:
        """The rules that match in every field but the destination."""
        bits = self._request_of_anybody(question)
        users = self._users
        return bits if users is None else bits & users.get(question.user, self._everybody)

    def _request_of_anybody(self, question: Question) -> int:
        source, _, port, _, command, method, minute = question
        if source.version == 6:
            source = plain(source)
        bits = self._sources[source.version].at(source.number)
        if self._ports is not None:
            bits &= self._ports.at(port)
        if self._methods is not None:
            bits &= self._methods[method]
        if self._commands is not None:
            bits &= self._commands[command]
        if self._hours is not None:
            bits &= self._hours.at(minute)
        return bits

    def destination(self, address: Address, name: Name | None) -> int:
        """The rules whose destination covers the address, or the name that led to it."""
        version, number = address
        bits = self._destinations[version].at(number)
        return bits if name is None else bits | self._names.at(name)

    def named(self, name: Name) -> int:
        """The rules whose destination covers the name, whatever its addresses are."""
        return self._unnamed | self._names.at(name)

    def first_report(self, bits: int) -> AccessRule | None:
        """The first ``report`` line of these rules, if it comes before the one that decides."""
        reports = (bits & self.reports).bit_length()
        return self._rules[reports - 1] if reports > (bits & self.decisive).bit_length() else None

    def for_anybody(self, question: Question, address: Address | None, name: Name | None) -> tuple[int, int]:
        """The rules that match for a user on their list: those that certainly do, and those that certainly or may."""
        bits = self._request_of_anybody(question) & self.decisive
        if address is not None:
            bits &= self.destination(address, name)
            return bits, bits
        assert name is not None
        definite = bits & self.named(name)
        return definite, definite | bits & self.addressed

    def open_permits(self, early: int, closed: Iterable[int]) -> int:
        """Those permits among ``early`` for which one address at least is not denied by an earlier line of ``early``.

        ``closed`` are the versions of which everything was denied before this block.
        """
        permits = early & self._permits
        for version in closed:
            permits &= ~self._permits_by_version[version]
        for position in _positions(early & self._shadowing) if permits else ():
            permits &= ~self._shadows[position]
        return permits

    def closing(self, early: int) -> frozenset[int]:
        """The versions of which a line among ``early`` denies every address."""
        return frozenset(version for version, bits in self._closing.items() if bits & early)

    def _find_shadows(
        self, targets: Sequence[tuple[HostPattern, int]], denies: Sequence[tuple[HostPattern, int]]
    ) -> dict[int, int]:
        """For each deny line by address, the later permit lines for addresses that it covers, where there are any."""
        return {
            position: shadow
            for version in VERSIONS
            for position, shadow in _shadows_of_version(
                _prefixes(((target, bit) for target, bit in targets if bit & self._permits), version),
                _prefixes(denies, version),
                self._permits_by_version[version],
                (1 << bits_of(version)) - 1,
            )
            if shadow
        }


_Span = tuple[int, int, int]
"""Low, minus high, bit: sorts so that a network comes before those within it."""


def _prefixes(targets: Iterable[tuple[HostPattern, int]], version: int) -> list[_Span]:
    return sorted(
        (low, -high, bit)
        for target, bit in targets
        if isinstance(target, AddressPattern) and target.version == version and is_prefix(target)
        for low, high in (span(target),)
    )


def _shadows_of_version(
    permits: list[_Span], denies: list[_Span], all_permits: int, last: int
) -> Iterator[tuple[int, int]]:
    if not all_permits:
        return
    # The permits within a network stand together; two running conjunctions give the set of those between.
    running = list(accumulate((bit for _, _, bit in permits), xor, initial=0))
    for low, minus_high, bit in denies:
        start = bisect_left(permits, (low, minus_high, 0))
        end = bisect_right(permits, (-minus_high, 1, 0))
        # Permits with holes in their masks are in no span; only a line that covers everything is known to cover them.
        inside = all_permits if low == 0 and -minus_high == last else running[end] ^ running[start]
        yield bit.bit_length(), inside & (bit - 1)


def _positions(bits: int) -> Iterator[int]:
    while bits:
        position = bits.bit_length()
        yield position
        bits ^= 1 << (position - 1)


def _of_version(targets: Iterable[tuple[HostPattern, int]], version: int) -> int:
    return sum(bit for p, bit in targets if isinstance(p, AddressPattern) and p.version == version)


def _everywhere(targets: Iterable[tuple[HostPattern, int]], version: int) -> int:
    return sum(bit for p, bit in targets if isinstance(p, AddressPattern) and p.version == version and is_everywhere(p))
