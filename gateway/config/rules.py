"""The values that a parsed ``sockd.conf`` or ``sockd.route`` consists of; sockd.conf(5) and sockd.route(5) are their
grammars.

A rule keeps the place where it was written for ever, so that a decision, a record and `sockctl explain` can name it.
"""

import enum
import os
from dataclasses import dataclass, field

from gateway.address import Address, Name
from gateway.place import Place, Problem


class Action(enum.Enum):
    """What a matching line decides; ``allow`` is read as PERMIT."""

    PERMIT = "permit"
    DENY = "deny"


class IdentLevel(enum.IntEnum):
    """Whether identd is asked about a permitted client (``spec/socks4.md`` §8)."""

    OFF = 0
    #: ``?=i``: a mismatch refuses, no answer does not
    LENIENT = 1
    #: ``?=I``: no answer refuses too
    STRICT = 2


class Dialect(enum.Enum):
    """The sense of a mask: 4.2's (1 bits must match) or the 1992 paper's (1 bits are ignored)."""

    CLASSIC = "classic"
    Y1992 = "1992"


@dataclass(frozen=True, slots=True)
class Anyone:
    """Every host, by either family, by name or by address: ``ALL``, or a destination that is not written."""


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """The addresses whose 1 bits of ``mask`` equal those of ``number``; masks may have holes.

    ``number`` is kept as written; `covers` masks both sides. ``0.0.0.0 0.0.0.0`` covers every IPv4 address only.
    """

    version: int
    number: int
    mask: int

    def covers(self, version: int, number: int) -> bool:
        """Whether this address falls under the pattern."""
        return version == self.version and (number ^ self.number) & self.mask == 0


@dataclass(frozen=True, slots=True)
class NamePattern:
    """``example.com``: that name; ``.example.com``: the name and all below (``below`` is True)."""

    name: Name
    below: bool

    def covers(self, name: str) -> bool:
        """Whether a canonical name falls under the pattern."""
        return name == self.name or (self.below and name.endswith("." + self.name))


EgressWord = str | Address
"""A way out as it is written: the name of an uplink or of an interface, or an address that an interface has."""

HostPattern = Anyone | AddressPattern | NamePattern


class PortOperator(enum.Enum):
    """The six operators of 4.2, and ``in`` for a list of ports and ranges."""

    EQ = "eq"
    NEQ = "neq"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    IN = "in"


@dataclass(frozen=True, slots=True)
class PortTest:
    """A test of the destination port. ``operands`` are inclusive ranges; all but ``in`` have one, of one port."""

    operator: PortOperator
    operands: tuple[tuple[int, int], ...]

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ports that pass, as sorted inclusive ranges within 0..65535; empty when none can."""
        port = self.operands[0][0]
        spans = {
            PortOperator.EQ: ((port, port),),
            PortOperator.NEQ: ((0, port - 1), (port + 1, 0xFFFF)),
            PortOperator.LT: ((0, port - 1),),
            PortOperator.LE: ((0, port),),
            PortOperator.GT: ((port + 1, 0xFFFF),),
            PortOperator.GE: ((port, 0xFFFF),),
            PortOperator.IN: tuple(sorted(self.operands)),
        }[self.operator]
        return tuple((low, high) for low, high in spans if low <= high)


@dataclass(frozen=True, slots=True)
class UserName:
    """One user id, compared with case."""

    name: str


@dataclass(frozen=True, slots=True)
class UserFile:
    """A file of user ids (``spec/socks4.md`` §3.1), by absolute path."""

    path: str


@dataclass(frozen=True, slots=True)
class UserGroup:
    """``@staff``: the members of a group of the host's group database."""

    name: str


UserItem = UserName | UserFile | UserGroup


@dataclass(frozen=True, slots=True)
class Hours:
    """``Mon-Fri/08:00-18:00``: days (0 is Monday) and minutes of the day, ``start`` included, ``end`` not.

    ``end`` less than ``start`` runs past midnight and belongs to the day on which it began.
    """

    days: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Quota:
    """``5G/day``: bytes a period; ``period`` is ``day``, ``week`` or ``month``."""

    amount: int
    period: str


AUTH_WORDS = ("none", "password", "gssapi")
"""What ``auth=`` takes: how the client proved who it is."""

METHOD_WORDS = ("connect", "bind", "udp")
"""What ``method=`` takes: what the client asks for."""


@dataclass(frozen=True, slots=True)
class Options:
    """The ``name=value`` words before the command. None, or False, where an option was not written."""

    #: words of `AUTH_WORDS`
    auth: frozenset[str] | None = None
    #: words of `METHOD_WORDS`
    method: frozenset[str] | None = None
    hours: tuple[Hours, ...] | None = None
    #: bytes a second
    rate: int | None = None
    sessions: int | None = None
    quota: Quota | None = None
    via: tuple[EgressWord, ...] | None = None
    report: bool = False


NO_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One line of ``sockd.conf``. ``users`` empty: everybody; ``ident`` None: as sockd was started (-i, -I)."""

    place: Place
    action: Action
    source: HostPattern
    destination: HostPattern = Anyone()
    ports: PortTest | None = None
    ident: IdentLevel | None = None
    users: tuple[UserItem, ...] = ()
    options: Options = NO_OPTIONS
    command: str | None = None

    #: ``sockd.conf:17``: the file's name without its folders, and the line; for records and reasons
    label: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", f"{os.path.basename(self.place.path)}:{self.place.line}")


@dataclass(frozen=True, slots=True)
class SpecialCommand:
    """``#NO_IDENTD:`` or ``#BAD_ID:`` (``spec/socks4.md`` §3.4): the place and the command."""

    place: Place
    command: str

    @property
    def label(self) -> str:
        """As `AccessRule.label`."""
        return f"{os.path.basename(self.place.path)}:{self.place.line}"


@dataclass(frozen=True, slots=True)
class AccessFile:
    """A whole ``sockd.conf`` that was accepted; ``warnings`` are the parser's own (inverted masks and the like)."""

    path: str
    rules: tuple[AccessRule, ...]
    no_identd: SpecialCommand | None = None
    bad_id: SpecialCommand | None = None
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One line of ``sockd.route``: by which way out a destination is reached, the preferred one first.

    ``users`` empty: everybody.
    """

    place: Place
    egress: tuple[EgressWord, ...]
    destination: HostPattern = Anyone()
    users: tuple[UserItem, ...] = ()

    #: ``sockd.route:3``, as `AccessRule.label`
    label: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", f"{os.path.basename(self.place.path)}:{self.place.line}")


@dataclass(frozen=True, slots=True)
class RouteFile:
    """A whole ``sockd.route`` that was accepted, with the parser's own warnings."""

    path: str
    rules: tuple[RouteRule, ...]
    warnings: tuple[Problem, ...] = ()
