"""The fields of a ``sockd.conf`` line, one word or two at a time: text to value; knows nothing about lines and places.

A field that is wrong raises BadField with a message for the administrator; one that is legal but doubtful comes back
with a warning beside its value.
"""

import re
from types import MappingProxyType

from gateway.address import Address, canonical_name, parse_address, parse_ipv4, plain
from gateway.config.rules import (
    Action,
    AddressPattern,
    Dialect,
    EgressWord,
    IdentLevel,
    NamePattern,
    PortOperator,
    PortTest,
    UserFile,
    UserGroup,
    UserItem,
    UserName,
)
from gateway.errors import BadName, GatewayError
from gateway.services import Services

ACTIONS = MappingProxyType({"permit": Action.PERMIT, "allow": Action.PERMIT, "deny": Action.DENY})
IDENT_LETTERS = MappingProxyType(
    {"I": IdentLevel.STRICT, "i": IdentLevel.LENIENT, "n": IdentLevel.OFF, "": IdentLevel.OFF}
)
OPERATORS = MappingProxyType({operator.value: operator for operator in PortOperator})

ALL_WORD = "ALL"
REPORT_WORD = "report"

RESERVED_NAMES = frozenset({*ACTIONS, *OPERATORS, REPORT_WORD, "all", "any"})
"""Names that mean a host only with a dot at their end, since they are, or look like, words of the grammar."""

NAME_LIMIT = 63
"""Characters in the name of a way out."""

_FULL = 0xFFFF_FFFF
_MASKS = tuple(_FULL << (32 - length) & _FULL for length in range(33))
_LENGTHS = MappingProxyType({mask: length for length, mask in enumerate(_MASKS)})
_NETMASKS = MappingProxyType({str(Address(4, mask)): mask for mask in _MASKS})
_NUMERIC = re.compile(r"[0-9][0-9.]*|0[xX][0-9a-fA-F.]*")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")
_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_WAY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_QUOTED = 40


class BadField(GatewayError):
    """A field that is refused; the message names the word and says what is expected.

    ``word`` is 1 when the fault lies in the second word of a field of two, else 0.
    """

    def __init__(self, message: str, word: int = 0) -> None:
        super().__init__(message)
        self.word = word


def quoted(word: str) -> str:
    """The word for a message: in quotes, control bytes escaped, cut where it is long."""
    return repr(word if len(word) <= _QUOTED else word[:_QUOTED] + "...")


def looks_numeric(word: str) -> bool:
    """Whether a word was meant as an IPv4 address or mask: it begins like a number and holds no letters."""
    return _NUMERIC.fullmatch(word) is not None


def mask_of(version: int, length: int) -> int:
    """The mask of a prefix of that many bits, for IPv4 (32) or IPv6 (128)."""
    width = 32 if version == 4 else 128
    return (1 << width) - (1 << width - length)


def prefix_length(pattern: AddressPattern) -> int | None:
    """How many leading 1 bits the mask has, or None for a mask with holes."""
    if pattern.version == 4:
        return _LENGTHS.get(pattern.mask)
    length = pattern.mask.bit_count()
    return length if pattern.mask == mask_of(6, length) else None


def parse_pair(address: str, mask: str, dialect: Dialect) -> tuple[AddressPattern, str | None]:
    """``10.0.0.0 255.0.0.0``: an IPv4 address and a mask, in the dialect's sense; a warning if they look mistaken.

    The host bits of the address are kept; both sides are masked when compared, in either dialect
    (``spec/socks4.md`` §3.3, §3.7).
    """
    found = parse_ipv4(address)
    if found is None:
        raise BadField(_no_ipv4(address))
    written = _NETMASKS.get(mask)
    if written is None:
        written = _parse_mask(mask, 1)
    pattern = AddressPattern(4, found.number, written if dialect is Dialect.CLASSIC else written ^ _FULL)
    if pattern.mask in _LENGTHS and pattern.number & pattern.mask == pattern.number:
        return pattern, None
    return pattern, _pair_warning(pattern, mask, dialect)


def check_ignored_mask(mask: str, dialect: Dialect, everyone: bool) -> str | None:
    """The mask after a name or ``ALL``, which has no effect; a warning unless it is the mask of one host.

    Raises BadField when it is none. After ALL, only the masks of one host and of everyone are taken for one: anything
    else is rather a destination that lacks its own mask, and to ignore that would open the line to everywhere.
    """
    number = _parse_mask(mask)
    if dialect is Dialect.Y1992:
        number ^= _FULL
    if number == _FULL or (everyone and number == 0):
        return None
    if everyone or number not in _LENGTHS:
        needs = f"a destination of that address needs a mask of its own, or is written {mask}/32"
        raise BadField(f"{mask} is no mask for {'ALL' if everyone else 'a host name'}; {needs}")
    return f"the mask {mask} has no effect beside a host name"


def parse_prefix(word: str) -> tuple[AddressPattern, str | None]:
    """``10.0.0.0/8``, ``10.1.2.3/32``, ``2001:db8::/32`` or ``2001:db8::1``; a warning if it looks mistaken."""
    text, slash, length = word.partition("/")
    address = parse_address(text)
    if address is None:
        raise BadField(_no_ipv4(word) if ":" not in word and looks_numeric(text) else _no_address(word))
    width = 32 if address.version == 4 else 128
    if not slash:
        length = str(width)
    if _LENGTH.fullmatch(length) is None or int(length) > width:
        raise BadField(f"{quoted(word)}: the number of bits after '/' is from 0 to {width}")
    pattern = AddressPattern(address.version, address.number, mask_of(address.version, int(length)))
    return pattern, _prefix_warning(pattern)


def parse_name(word: str) -> NamePattern:
    """``example.com`` (that name) or ``.example.com`` (the name and all below it), in canonical form."""
    if word.lower() in RESERVED_NAMES:
        raise BadField(_reserved(word))
    if looks_numeric(word):
        raise BadField(_no_ipv4(word))
    if not word.isascii():
        raise BadField(f"{quoted(word)} is not ASCII; write an international host name in its 'xn--' form")
    if "*" in word:
        raise BadField(
            f"{quoted(word)}: '*' has no meaning; '.example.com' covers all names below, ALL covers everything"
        )
    below = word.startswith(".")
    try:
        return NamePattern(canonical_name(word[1:] if below else word), below)
    except BadName as error:
        raise BadField(f"{quoted(word)} is no address and no host name: {error}") from None


def parse_way(word: str) -> EgressWord:
    """``wan1``, ``eth0.100``, ``192.0.2.1`` or ``2001:db8::1``: one way out.

    A word that looks like a number is an address, never a name. Raises BadField.
    """
    if ":" in word or looks_numeric(word):
        address = parse_address(word)
        if address is None:
            raise BadField(f"{quoted(word)} is no address of an interface, as in 192.0.2.1 or 2001:db8::1")
        if plain(address).number == 0:
            raise BadField(f"{quoted(word)} is no address of an interface; list the ways out, the preferred one first")
        return plain(address)
    if word == ALL_WORD:
        raise BadField(f"{word} is a destination; before it stands the way out")
    if _WAY_NAME.fullmatch(word) is None:
        raise BadField(
            f"{quoted(word)} is no way out: neither the name of an uplink or interface nor an address of one"
        )
    if len(word) > NAME_LIMIT:
        raise BadField(f"{quoted(word)}: the name of a way out has at most {NAME_LIMIT} characters")
    return word


def parse_ident(letter: str) -> IdentLevel:
    """What follows ``?=`` (``spec/socks4.md`` §3.1)."""
    level = IDENT_LETTERS.get(letter)
    if level is None:
        raise BadField(f"{quoted('?=' + letter)}: after '?=' comes I (strict), i (lenient) or n (off)")
    return level


def parse_users(text: str) -> tuple[UserItem, ...]:
    """What follows ``*=``: user ids, absolute file names and ``@groups``, separated by commas; empty for everybody."""
    return tuple(map(_parse_user, text.split(","))) if text else ()


def users_warning(users: tuple[UserItem, ...]) -> str | None:
    """What is doubtful about a user list: a user id that looks like the name of a file."""
    for user in users:
        if isinstance(user, UserName) and "/" in user.name:
            return f"{quoted(user.name)} is taken as a user id; the name of a file begins with '/'"
    return None


def parse_port_test(operator: str, word: str, services: Services) -> PortTest:
    """``eq telnet``, ``ge 1024``, ``in 80,443,8000-8080``; service names first, then numbers."""
    kind = OPERATORS[operator]
    if kind is PortOperator.IN:
        return PortTest(kind, tuple(_parse_ports(item, services) for item in word.split(",")))
    port = services.port(word)
    if port is None:
        raise BadField(_no_port(word))
    return PortTest(kind, ((port, port),))


def _parse_mask(mask: str, word: int = 0) -> int:
    found = parse_ipv4(mask)
    if found is None:
        hint = f"; a port is written 'eq {mask}'" if mask.isdigit() and len(mask) <= 5 else ""
        raise BadField(f"{quoted(mask)} is no mask: four numbers from 0 to 255, as in 255.255.255.0{hint}", word)
    return found.number


def _pair_warning(pattern: AddressPattern, mask: str, dialect: Dialect) -> str:
    if pattern.mask in _LENGTHS:
        return _host_bits_warning(pattern)
    if pattern.mask ^ _FULL in _LENGTHS:
        if dialect is Dialect.CLASSIC:
            other = Address(4, pattern.mask ^ _FULL)
            return f"the mask {mask} looks inverted: 1 bits are those that must match; {other} may be meant"
        other = Address(4, pattern.mask)
        return f"the mask {mask} looks like a netmask: in the 1992 dialect 1 bits are ignored; {other} may be meant"
    if pattern.number and pattern.number in _LENGTHS:
        return "the address and the mask look exchanged"
    return f"the mask {mask} has holes: 1 bits and 0 bits are mixed"


def _prefix_warning(pattern: AddressPattern) -> str | None:
    if pattern.version == 6 and pattern.mask >> 32 == mask_of(6, 96) >> 32 and pattern.number >> 32 == 0xFFFF:
        return "an IPv4 host is always compared by its IPv4 address; write that, not the IPv4-mapped one"
    return None if pattern.number & pattern.mask == pattern.number else _host_bits_warning(pattern)


def _host_bits_warning(pattern: AddressPattern) -> str:
    address = Address(pattern.version, pattern.number)
    length = prefix_length(pattern)
    if length == 0:
        return f"{address} has bits beyond its mask: this covers every IPv{pattern.version} address"
    network = Address(pattern.version, pattern.number & pattern.mask)
    return f"{address} has bits beyond its mask: this covers {network}/{length}"


def _no_ipv4(word: str) -> str:
    return f"{quoted(word)} is no IPv4 address: four numbers from 0 to 255 without leading zeros, as in 10.0.0.1"


def _no_address(word: str) -> str:
    return f"{quoted(word)} is no IPv4 or IPv6 address; a prefix is written 10.0.0.0/8 or 2001:db8::/32"


def _reserved(word: str) -> str:
    if word.lower() in ("all", "any"):
        return f"{quoted(word)}: write ALL for every destination, or {word.lower()}. for a host of that name"
    return f"{quoted(word)} does not stand here; a host of that name is written {word.lower()}. with a dot"


def _parse_user(item: str) -> UserItem:
    if not item or item == "@":
        what = "the name of a group is missing after '@'" if item else "there is an empty item in the list of users"
        raise BadField(f"{what}; items are separated by single commas, without blanks")
    if item[0] == "@":
        return UserGroup(item[1:])
    return UserFile(item) if item[0] == "/" else UserName(item)


def _parse_ports(item: str, services: Services) -> tuple[int, int]:
    port = services.port(item)
    if port is not None:
        return port, port
    found = _RANGE.fullmatch(item)
    if found is None:
        raise BadField(_no_port(item) if item else "there is an empty item in the list of ports")
    low, high = int(found[1]), int(found[2])
    if low > high or high > 0xFFFF:
        raise BadField(f"{quoted(item)} is no range of ports: the lower port comes first, and 65535 is the highest")
    return low, high


def _no_port(word: str) -> str:
    return f"{quoted(word)} is no port: a service of /etc/services or a number from 0 to 65535"
