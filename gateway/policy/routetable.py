"""A whole ``sockd.route`` compiled: from a destination and a user to the first line that is for them.

The same sets of lines as `gateway.policy.block`: a Python integer, the first line the highest bit. Without user lists
and names a look-up is one bisection, however many lines there are. What a line's ways out are worth at the moment is
not known here (`gateway.policy.router`).
"""

from collections.abc import Mapping, Sequence

from gateway.address import Address, Name, plain
from gateway.config.rules import NamePattern, RouteFile, RouteRule, UserItem
from gateway.errors import ConfigError
from gateway.policy.access import BLOCK, WHOLE
from gateway.policy.enforced import route_problems
from gateway.policy.membership import Membership
from gateway.policy.tables import NameTable, address_tables, user_table
from gateway.policy.users import UserSource


class RouteTable:
    """Compiled lines. Only the contents of user files can change in it."""

    __slots__ = ("_blocks", "_lists", "file")

    def __init__(self, file: RouteFile, users: UserSource, block_size: int) -> None:
        """Compile lines that are known to be enforceable, in blocks of this many; see `compile`."""
        self.file = file
        rules = file.rules
        self._blocks = tuple(_Block(rules[start : start + block_size]) for start in range(0, len(rules), block_size))
        self._lists = Membership((item for rule in rules for item in rule.users), users)
        self._read_users()

    @property
    def fixed(self) -> bool:
        """Whether it names no user file, so that the same line is always found for the same question."""
        return not self._lists.watched

    @classmethod
    def compile(cls, file: RouteFile, users: UserSource, block_size: int | None = None) -> "RouteTable":
        """The table of a file.

        Raises ConfigError with every unknown group and every user file that can not be read.
        """
        problems = route_problems(file.rules, users)
        if problems:
            raise ConfigError(problems)
        if block_size is None:
            block_size = WHOLE if len(file.rules) <= WHOLE else BLOCK
        return cls(file, users, block_size)

    def find(self, address: Address, name: Name | None, user: str) -> RouteRule | None:
        """The first line for this user that covers the address, or the name that the request was made by.

        Of an IPv6 address only itself counts, not an IPv4 address within it: packets go to what is in their header.
        An IPv4-mapped one is the IPv4 address, as everywhere.
        """
        if self._lists.watched and self._lists.changed():
            self._read_users()
        if address.version == 6:
            address = plain(address)
        for block in self._blocks:
            rule = block.find(address, name, user)
            if rule is not None:
                return rule
        return None

    def _read_users(self) -> None:
        members = self._lists.members()
        for block in self._blocks:
            block.set_users(members)


class _Block:
    """A run of lines. A field that no line tests has None in place of its table."""

    __slots__ = ("_addresses", "_everybody", "_items", "_names", "_rules", "_users")

    def __init__(self, rules: Sequence[RouteRule]) -> None:
        coded = [(rule, 1 << (len(rules) - 1 - index)) for index, rule in enumerate(rules)]
        #: by the bit length of a set
        self._rules: tuple[RouteRule | None, ...] = (None, *reversed(rules))
        self._addresses = address_tables([(rule.destination, bit) for rule, bit in coded])
        named = [(rule.destination, bit) for rule, bit in coded if isinstance(rule.destination, NamePattern)]
        self._names = NameTable.build(named) if named else None
        self._everybody = sum(bit for rule, bit in coded if not rule.users)
        self._items: dict[UserItem, int] = {}
        for rule, bit in coded:
            for item in rule.users:
                self._items[item] = self._items.get(item, 0) | bit
        self._users: dict[str, int] | None = None

    def set_users(self, members: Mapping[UserItem, frozenset[str]]) -> None:
        """As `gateway.policy.block.Block.set_users`."""
        if self._items:
            groups = ((bits, members[item]) for item, bits in self._items.items())
            self._users = user_table(groups, self._everybody)

    def find(self, address: Address, name: Name | None, user: str) -> RouteRule | None:
        """The first of these lines that covers a plain address or the name, for this user."""
        version, number = address
        bits = self._addresses[version].at(number)
        if name is not None and self._names is not None:
            bits |= self._names.at(name)
        if self._users is not None:
            bits &= self._users.get(user, self._everybody)
        return self._rules[bits.bit_length()]
