"""A run of rules compiled to tables, one a field: from a request to the set of the rules that match it.

A set is a Python integer. The first rule has the highest bit, because ``bit_length`` finds that one without arithmetic
on the whole integer; the *position* of a rule is the bit length of a set that begins with it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.address import Address, Name, plain
from gateway.config.rules import AccessRule, Action, AddressPattern, Anyone, HostPattern, NamePattern, UserItem
from gateway.policy.decision import AUTH_OF_METHOD, NO_MATCH, WORD_OF_COMMAND, Question, settled, undecided
from gateway.policy.pattern import VERSIONS, is_everywhere, normal, port_ranges, week_minutes
from gateway.policy.shadow import find_shadows
from gateway.policy.tables import NameTable, address_tables, interval_table, user_table, word_table


class Block:
    """Compiled rules. A field that no rule tests has None in place of its table.

    ``decisions`` and ``undecided`` are by position, at 0 for no rule; ``reports`` are the lines that only report,
    ``decisive`` all others, ``addressed`` those of them whose destination is written as an address.
    """

    __slots__ = (
        "_closing",
        "_commands",
        "_destinations",
        "_everybody",
        "_hours",
        "_items",
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
        self._rules = rules[::-1]
        self.decisions = (NO_MATCH, *map(settled, self._rules))
        self.undecided = (NO_MATCH, *map(undecided, self._rules))
        self.reports = sum(bit for rule, bit in coded if rule.options.report)
        self.decisive = everything ^ self.reports
        self._permits = sum(bit for rule, bit in coded if rule.action is Action.PERMIT)
        self._sources = address_tables([(rule.source, bit) for rule, bit in coded])
        self._ports = interval_table(((port_ranges(rule.ports), bit) for rule, bit in coded if rule.ports), everything)
        self._hours = interval_table(
            ((week_minutes(rule.options.hours), bit) for rule, bit in coded if rule.options.hours is not None),
            everything,
        )
        self._methods = word_table(AUTH_OF_METHOD, [(rule.options.auth, bit) for rule, bit in coded])
        self._commands = word_table(WORD_OF_COMMAND, [(rule.options.method, bit) for rule, bit in coded])
        self._everybody = sum(bit for rule, bit in coded if not rule.users)
        self._items: dict[UserItem, int] = {}
        for rule, bit in coded:
            for item in rule.users:
                self._items[item] = self._items.get(item, 0) | bit
        self._users: dict[str, int] | None = None
        self._set_destinations([(normal(rule.destination), bit) for rule, bit in coded])

    def _set_destinations(self, targets: Sequence[tuple[HostPattern, int]]) -> None:
        self._destinations = address_tables(targets)
        self._names = NameTable.build((target, bit) for target, bit in targets if isinstance(target, NamePattern))
        self._unnamed = sum(bit for target, bit in targets if isinstance(target, Anyone))
        decisive = [(t, bit) for t, bit in targets if isinstance(t, AddressPattern) and bit & self.decisive]
        self.addressed = sum(bit for _, bit in decisive)
        permits = [(target, bit) for target, bit in decisive if bit & self._permits]
        denies = [(target, bit) for target, bit in decisive if not bit & self._permits]
        self._permits_by_version = {v: sum(bit for t, bit in permits if t.version == v) for v in VERSIONS}
        self._closing = {v: sum(bit for t, bit in denies if t.version == v and is_everywhere(t)) for v in VERSIONS}
        self._shadows = find_shadows(denies, permits)
        self._shadowing = sum(1 << (position - 1) for position in self._shadows)

    def set_users(self, members: Mapping[UserItem, frozenset[str]]) -> None:
        """Take over whom each item of a user list names; to be called before any request, and when that has changed."""
        if self._items:
            groups = ((bits, members[item]) for item, bits in self._items.items())
            self._users = user_table(groups, self._everybody)

    @property
    def users(self) -> Iterable[str]:
        """The users that are on any list."""
        return self._users or ()

    def rules_of(self, user: str) -> int:
        """The rules that are for a user."""
        return self._everybody if self._users is None else self._users.get(user, self._everybody)

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
        """The rules whose destination covers a plain address, or the name that led to it."""
        version, number = address
        bits = self._destinations[version].at(number)
        return bits if name is None else bits | self._names.at(name)

    def named(self, name: Name) -> int:
        """The rules whose destination covers the name, whatever its addresses are."""
        return self._unnamed | self._names.at(name)

    def permits_for_anybody(self, question: Question, address: Address | None, name: Name | None) -> int:
        """The permit lines that match, or may once the name is looked up, for the users on their lists."""
        bits = self._request_of_anybody(question) & self._permits
        if address is not None:
            return bits & self.destination(address, name)
        return bits & (self.addressed | (0 if name is None else self.named(name)))

    def first_report(self, bits: int) -> AccessRule | None:
        """The first ``report`` line of these rules, if it comes before the one that decides."""
        position = (bits & self.reports).bit_length()
        return self._rules[position - 1] if position > (bits & self.decisive).bit_length() else None

    def open_permits(self, early: int, closed: Iterable[int]) -> int:
        """The permits among ``early`` of which one address at least is not denied by an earlier line of ``early``.

        ``closed`` are the versions of which every address was denied before this block.
        """
        permits = early & self._permits
        for version in closed:
            permits &= ~self._permits_by_version[version]
        for position in positions(early & self._shadowing) if permits else ():
            permits &= ~self._shadows[position]
        return permits

    def closing(self, early: int) -> frozenset[int]:
        """The versions of which a line among ``early`` denies every address."""
        return frozenset(version for version, bits in self._closing.items() if bits & early)


def positions(bits: int) -> Iterator[int]:
    """The positions of the rules in a set, the first rule first."""
    while bits:
        position = bits.bit_length()
        yield position
        bits ^= 1 << (position - 1)
