"""Values of `sockd.conf` made by hypothesis, and compared without the places where they were written."""

import dataclasses
from typing import Any

from hypothesis import strategies as st

from gateway.address import Name
from gateway.config.fields import RESERVED_NAMES, mask_of
from gateway.config.options import AMOUNT_LIMIT, PERIODS
from gateway.config.rules import (
    AUTH_WORDS,
    METHOD_WORDS,
    AccessFile,
    AccessRule,
    Action,
    AddressPattern,
    Anyone,
    Hours,
    IdentLevel,
    NamePattern,
    Options,
    PortOperator,
    PortTest,
    Quota,
    SpecialCommand,
    UserFile,
    UserGroup,
    UserName,
)
from gateway.place import Place
from gateway.services import Services
from tests.support import ways

PATH = "sockd.conf"
NOWHERE = Place(PATH)
SERVICES = Services({"telnet": 23, "http": 80, "http-alt": 8080, "whois": 43}, {23: "telnet", 80: "http"})


def unplaced(file: AccessFile) -> AccessFile:
    """The same file without places and warnings, to compare what two texts say."""
    return dataclasses.replace(
        file,
        rules=tuple(dataclasses.replace(rule, place=NOWHERE) for rule in file.rules),
        no_identd=file.no_identd and dataclasses.replace(file.no_identd, place=NOWHERE),
        bad_id=file.bad_id and dataclasses.replace(file.bad_id, place=NOWHERE),
        warnings=(),
    )


def _filled(kind: Any, **fields: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **fields)


_visible = st.characters(
    exclude_categories=("Cs", "Cc"),
    exclude_characters="\u2028\u2029\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
)
_word = st.text(_visible.filter(lambda character: character not in " ,:#"), min_size=1, max_size=12)
_commands = (
    st.text(st.one_of(_visible, st.just("\t"), st.sampled_from(":#'\"\\ ")), max_size=60)
    .map(lambda text: text.strip(" \t").rstrip("\\").strip(" \t"))
    .filter(lambda text: text != "" and not text.endswith("\\"))
)
_labels = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?", fullmatch=True)
_names = st.one_of(
    st.sampled_from(sorted(RESERVED_NAMES)),
    st.tuples(st.lists(_labels, max_size=3), st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)).map(
        lambda parts: ".".join([*parts[0], parts[1]])
    ),
).map(Name)

_ipv4 = st.integers(0, 2**32 - 1)
addresses = st.one_of(
    _filled(AddressPattern, version=st.just(4), number=_ipv4, mask=_ipv4),
    _filled(AddressPattern, version=st.just(4), number=_ipv4, mask=st.integers(0, 32).map(lambda n: mask_of(4, n))),
    _filled(
        AddressPattern,
        version=st.just(6),
        number=st.one_of(st.integers(0, 2**128 - 1), st.integers(0, 2**16), st.integers(0xFFFF << 32, (1 << 48) - 1)),
        mask=st.integers(0, 128).map(lambda length: mask_of(6, length)),
    ),
)
sources = st.one_of(st.just(Anyone()), addresses)
hosts = st.one_of(sources, _filled(NamePattern, name=_names, below=st.booleans()))

_ports = st.integers(0, 0xFFFF)
_one_port = _filled(
    PortTest,
    operator=st.sampled_from([operator for operator in PortOperator if operator is not PortOperator.IN]),
    operands=_ports.map(lambda port: ((port, port),)),
)
_spans = st.tuples(_ports, _ports).map(lambda pair: (min(pair), max(pair)))
_port_list = _filled(
    PortTest, operator=st.just(PortOperator.IN), operands=st.lists(_spans, min_size=1, max_size=5).map(tuple)
)

users = st.one_of(
    _filled(UserName, name=_word.filter(lambda word: word[0] not in "@/")),
    _filled(UserFile, path=_word.map(lambda word: "/" + word)),
    _filled(UserGroup, name=_word),
)

_hours = (
    st.tuples(st.frozensets(st.integers(0, 6), min_size=1), st.integers(0, 1439), st.integers(0, 1440))
    .filter(lambda window: window[1] != window[2])
    .map(lambda window: Hours(*window))
)
_amounts = st.one_of(
    st.integers(1, AMOUNT_LIMIT), st.builds(lambda n, power: n * 1000**power, st.integers(1, 999), st.integers(0, 4))
)


def _optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


options = _filled(
    Options,
    auth=_optional(st.frozensets(st.sampled_from(AUTH_WORDS), min_size=1)),
    method=_optional(st.frozensets(st.sampled_from(METHOD_WORDS), min_size=1)),
    hours=_optional(st.lists(_hours, min_size=1, max_size=3).map(tuple)),
    rate=_optional(_amounts),
    sessions=_optional(st.integers(1, 999_999_999)),
    quota=_optional(_filled(Quota, amount=_amounts, period=st.sampled_from(PERIODS))),
    via=_optional(st.lists(ways.without_colons, min_size=1, max_size=3, unique=True).map(tuple)),
)


def _reporting(rule: AccessRule, report: bool) -> AccessRule:
    if not report or rule.action is Action.PERMIT:
        return rule
    return dataclasses.replace(rule, options=dataclasses.replace(rule.options, report=True))


rules = st.builds(
    _reporting,
    _filled(
        AccessRule,
        place=st.just(NOWHERE),
        action=st.sampled_from(Action),
        source=sources,
        destination=hosts,
        ports=_optional(st.one_of(_one_port, _port_list)),
        ident=_optional(st.sampled_from(IdentLevel)),
        users=st.lists(users, max_size=3).map(tuple),
        options=st.one_of(st.just(Options()), options),
        command=_optional(_commands),
    ),
    st.booleans(),
)

specials = _optional(_filled(SpecialCommand, place=st.just(NOWHERE), command=_commands))

files: st.SearchStrategy[AccessFile] = _filled(
    AccessFile, path=st.just(PATH), rules=st.lists(rules, max_size=4).map(tuple), no_identd=specials, bad_id=specials
)
