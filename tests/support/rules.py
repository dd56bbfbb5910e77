"""Rules and questions built in a line, and hypothesis strategies that make them collide.

The strategies draw from a few networks, names, users and ports, and place the questions on the borders of what the
rules say, so that a classifier that is off by one meets its case within a few examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from gateway.address import Address, Name, canonical_host, parse_address
from gateway.config.rules import (
    NO_OPTIONS,
    AccessFile,
    AccessRule,
    Action,
    AddressPattern,
    Anyone,
    HostPattern,
    Hours,
    NamePattern,
    Options,
    PortOperator,
    PortTest,
    UserFile,
    UserGroup,
    UserItem,
    UserName,
)
from gateway.place import Place
from gateway.policy.decision import WEEK, Question
from gateway.policy.destination import Guard
from gateway.wire.constants import Command, Method

PATH = "/etc/sockd.conf"


class Users:
    """A `UserSource` of plain dictionaries."""

    def __init__(
        self, files: Mapping[str, Sequence[str]] | None = None, groups: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.files = {path: frozenset(users) for path, users in (files or {}).items()}
        self.groups = {name: frozenset(users) for name, users in (groups or {}).items()}

    def file(self, path: str) -> frozenset[str]:
        """The users of a file. Raises FileNotFoundError."""
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path]

    def group(self, name: str) -> frozenset[str] | None:
        """The users of a group."""
        return self.groups.get(name)


def address(text: str) -> Address:
    """An address from its text."""
    found = parse_address(text)
    assert found is not None, text
    return found


def host(text: str) -> HostPattern:
    """``ALL``, ``10.0.0.0/8``, ``10.0.0.1/255.0.0.255``, ``2001:db8::/32``, ``example.com``, ``.example.com``."""
    if text == "ALL":
        return Anyone()
    number, _, mask = text.partition("/")
    found = parse_address(number)
    if found is None:
        return NamePattern(Name(text.removeprefix(".")), text.startswith("."))
    length = 32 if found.version == 4 else 128
    if mask.isdigit() or not mask:
        bits = int(mask or length)
        return AddressPattern(found.version, found.number, (1 << length) - (1 << (length - bits)))
    return AddressPattern(found.version, found.number, address(mask).number)


def ports(text: str) -> PortTest:
    """``eq 80``, ``in 80,443,8000-8080``."""
    operator, _, operands = text.partition(" ")
    spans = (item.partition("-") for item in operands.split(","))
    return PortTest(PortOperator(operator), tuple((int(low), int(high or low)) for low, _, high in spans))


def users(text: str) -> tuple[UserItem, ...]:
    """``fred,/etc/goodusers,@staff``."""
    return tuple(map(_user, text.split(","))) if text else ()


def _user(item: str) -> UserItem:
    if item[0] == "@":
        return UserGroup(item[1:])
    return UserFile(item) if item[0] == "/" else UserName(item)


def rule(
    text: str,
    *,
    port: str = "",
    user: str = "",
    options: Options = NO_OPTIONS,
    command: str | None = None,
) -> AccessRule:
    """A line from ``permit SOURCE [DESTINATION]`` and the rest by keyword."""
    action, source, *destination = text.split()
    return AccessRule(
        place=Place(PATH, 1, 1),
        action=Action(action),
        source=host(source),
        destination=host(destination[0]) if destination else Anyone(),
        ports=ports(port) if port else None,
        users=users(user),
        options=options,
        command=command,
    )


def file(*rules: AccessRule) -> AccessFile:
    """A file of these rules as its lines 1, 2, 3."""
    numbered = (replace(one, place=Place(PATH, line, 1)) for line, one in enumerate(rules, 1))
    return AccessFile(PATH, tuple(numbered))


def question(
    source: str,
    target: str,
    port: int = 80,
    user: str = "",
    command: Command = Command.CONNECT,
    method: Method = Method.NONE,
    minute: int = 0,
) -> Question:
    """A question from the texts of its hosts."""
    return Question(address(source), canonical_host(target.encode()), port, user, command, method, minute)


# Strategies

USERS = Users({"/etc/good": ("fred", "julie"), "/etc/empty": ()}, {"staff": ("fred", "joe"), "nobody": ()})

NETWORKS = (
    "0.0.0.0/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.5/32",
    "10.0.1.0/255.0.1.0",
    "0.0.0.5/0.0.0.7",
    "127.0.0.1/32",
    "127.0.0.0/8",
    "126.0.0.0/7",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/0",
    "::1/128",
    "fc00::/7",
    "2001:db8::/32",
    "2001:db8::5/128",
    "2001:db8::5/ffff:0:0:0:0:0:0:ff",
    "2002:a00::/24",
    "64:ff9b::/96",
    "::ffff:10.0.0.0/104",
    "::ffff:0.0.0.5/ffff:ffff:ffff:ffff:ffff:ffff::7",
)
NAMES = ("com", "example.com", "www.example.com", "a.www.example.com", "notexample.com", "example.net")
PORTS = (0, 1, 21, 22, 79, 80, 81, 443, 65534, 65535)
GUARD = Guard(
    frozenset({address("192.0.2.1"), address("10.0.0.5"), address("2001:db8::5"), address("::ffff:198.51.100.1")}),
    tuple(
        p for p in map(host, ("10.0.0.0/24", "10.0.1.0/255.0.1.0", "2001:db8::/64")) if isinstance(p, AddressPattern)
    ),
)


def _edges(text: str) -> list[Address]:
    """The first and last address of a network, and their neighbours."""
    pattern = host(text)
    assert isinstance(pattern, AddressPattern)
    top = (1 << (32 if pattern.version == 4 else 128)) - 1
    low = pattern.number & pattern.mask
    numbers = {low - 1, low, low + 1, (low | ~pattern.mask & top) - 1, low | ~pattern.mask & top, pattern.number}
    return [Address(pattern.version, number) for number in sorted(numbers) if 0 <= number <= top]


EDGES = sorted({edge for text in NETWORKS for edge in _edges(text)} | GUARD.own)

patterns = st.sampled_from(NETWORKS).map(host)
sources = st.one_of(st.just(Anyone()), patterns, patterns)
names = st.sampled_from(NAMES).map(Name)
destinations: st.SearchStrategy[HostPattern] = st.one_of(
    st.just(Anyone()), patterns, patterns, st.builds(NamePattern, names, st.booleans())
)
spans = st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(lambda pair: (min(pair), max(pair)))
port_tests = st.one_of(
    st.none(),
    st.builds(
        PortTest,
        st.sampled_from([operator for operator in PortOperator if operator is not PortOperator.IN]),
        st.sampled_from(PORTS).map(lambda port: ((port, port),)),
    ),
    st.lists(spans, min_size=1, max_size=3).map(lambda found: PortTest(PortOperator.IN, tuple(found))),
)
user_lists = st.lists(
    st.sampled_from(users("fred,joe,Fred,/etc/good,/etc/empty,@staff,@nobody")), max_size=2, unique=True
).map(tuple)
hours = st.builds(
    Hours,
    st.frozensets(st.integers(0, 6), min_size=1, max_size=3),
    st.sampled_from((0, 1, 480, 1439)),
    st.sampled_from((0, 2, 480, 1080, 1440)),
)
options = st.builds(
    Options,
    auth=st.one_of(st.none(), st.none(), st.frozensets(st.sampled_from(("none", "password", "gssapi")))),
    method=st.one_of(st.none(), st.none(), st.frozensets(st.sampled_from(("connect", "bind", "udp")))),
    hours=st.one_of(st.none(), st.none(), st.lists(hours, min_size=1, max_size=2).map(tuple)),
)


@st.composite
def rules(draw: st.DrawFn) -> AccessRule:
    """Any line: each field left out about as often as not."""
    action = draw(st.sampled_from(Action))
    report = action is Action.DENY and draw(st.sampled_from((False, False, True)))
    found = draw(st.one_of(st.just(NO_OPTIONS), options))
    return AccessRule(
        place=Place(PATH, 1, 1),
        action=action,
        source=draw(sources),
        destination=draw(destinations),
        ports=draw(port_tests),
        users=draw(st.one_of(st.just(()), user_lists)),
        options=Options(found.auth, found.method, found.hours, report=report),
    )


files = st.lists(rules(), max_size=10).map(lambda found: file(*found))
addresses = st.one_of(st.sampled_from(EDGES), st.builds(Address, st.just(4), st.integers(0, (1 << 32) - 1)))
hosts = st.one_of(addresses, addresses, names, st.sampled_from(("example.org", "x.example.com")).map(Name))
minutes = st.one_of(
    st.integers(0, WEEK - 1), st.sampled_from([d * 1440 + m for d in range(7) for m in (0, 1, 2, 479, 480, 1079, 1439)])
)
questions = st.builds(
    Question,
    addresses,
    hosts,
    st.sampled_from(PORTS),
    st.sampled_from(("", "fred", "joe", "Fred", "julie", "stranger")),
    st.sampled_from(Command),
    st.sampled_from((Method.NONE, Method.PASSWORD, Method.GSSAPI)),
    minutes,
)
