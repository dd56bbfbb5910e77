"""`gateway.config.access`: whole files, good and broken; the original's grammar; any text at all."""

import dataclasses
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Name, parse_ipv4
from gateway.config.access import parse_access
from gateway.config.fields import ACTIONS, OPERATORS, parse_users
from gateway.config.lexer import SPECIAL_WORDS
from gateway.config.options import DAYS, PERIODS
from gateway.config.printer import print_access
from gateway.config.rules import (
    AUTH_WORDS,
    METHOD_WORDS,
    AccessFile,
    AccessRule,
    Action,
    AddressPattern,
    Anyone,
    Dialect,
    IdentLevel,
    NamePattern,
    Options,
    PortOperator,
    PortTest,
    SpecialCommand,
    UserName,
)
from gateway.errors import ConfigError
from gateway.place import Place, Problem, Severity
from gateway.services import Services
from tests.support.accessfiles import PATH, SERVICES, unplaced
from tests.support.manual import manual_examples, manual_text

VECTORS = Path(__file__).parents[2] / "vectors" / "config"


def parse(text: str, dialect: Dialect = Dialect.CLASSIC) -> AccessFile:
    return parse_access(text, PATH, SERVICES, dialect)


def rule_of(text: str) -> AccessRule:
    (rule,) = parse(text).rules
    return rule


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [str(problem) for problem in caught.value.problems]


def dialect_of(path: Path) -> Dialect:
    return Dialect.Y1992 if path.stem.startswith("1992") else Dialect.CLASSIC


def problems_beside(path: Path) -> list[str]:
    beside = path.with_suffix(".problems")
    return [f"{PATH}:{line}" for line in beside.read_text().splitlines()] if beside.exists() else []


@pytest.mark.parametrize("path", sorted(VECTORS.glob("good/*.conf")), ids=lambda path: path.stem)
def test_good_files_are_understood(path: Path) -> None:
    file = parse(path.read_text(), dialect_of(path))
    printed = path.with_suffix(".printed").read_text()
    assert [str(problem) for problem in file.warnings] == problems_beside(path)
    assert print_access(file) == printed
    assert unplaced(parse(printed)) == unplaced(file)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("broken/*.conf")), ids=lambda path: path.stem)
def test_broken_files_show_every_mistake(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(path.read_text(), dialect_of(path))
    assert [str(problem) for problem in caught.value.problems] == problems_beside(path)


def test_each_line_of_the_broken_fields_is_refused_for_itself() -> None:
    lines = (VECTORS / "broken" / "fields.conf").read_text().splitlines()
    assert len(lines) > 30
    for line in lines[1:]:
        assert len(faults_of(line)) == 1


def test_an_empty_file_has_no_rules() -> None:
    assert parse("") == AccessFile(PATH, ())


def test_a_rule_has_all_its_fields() -> None:
    text = "\n  permit ?=i *=fred 10.0.0.0 255.0.0.0 www.example.com eq telnet : logger a:b\n"
    assert rule_of(text) == AccessRule(
        place=Place(PATH, 2, 3),
        action=Action.PERMIT,
        source=AddressPattern(4, 10 << 24, 0xFF000000),
        destination=NamePattern(Name("www.example.com"), below=False),
        ports=PortTest(PortOperator.EQ, ((23, 23),)),
        ident=IdentLevel.LENIENT,
        users=(UserName("fred"),),
        command="logger a:b",
    )
    assert rule_of(text).label == "sockd.conf:2"


def test_what_is_not_written_is_none_or_everything() -> None:
    assert rule_of("deny ALL") == AccessRule(Place(PATH, 1, 1), Action.DENY, Anyone())


def test_a_joined_rule_has_the_place_of_its_first_line() -> None:
    rules = parse("# c\ndeny \\\n ALL \\\n eq 23\ndeny ALL\n").rules
    assert [rule.place for rule in rules] == [Place(PATH, 2, 1), Place(PATH, 5, 1)]


def test_only_the_first_special_line_of_each_kind_counts() -> None:
    file = parse("#BAD_ID: one\n#NO_IDENTD:two\n#BAD_ID: three\n#NO_IDENTD: four\n")
    assert file.bad_id == SpecialCommand(Place(PATH, 1, 1), "one")
    assert file.no_identd == SpecialCommand(Place(PATH, 2, 1), "two")
    assert [warning.place.line for warning in file.warnings] == [3, 4]


def test_an_empty_special_line_takes_the_place_of_later_ones() -> None:
    file = parse("#BAD_ID:\n#BAD_ID: two\n")
    assert file.bad_id is None
    assert len(file.warnings) == 2


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        pytest.param("deny ALL 10.0.0.0 255.0.0.0", AddressPattern(4, 10 << 24, 0xFF000000), id="a pair after ALL"),
        pytest.param(
            "deny ALL 0.0.0.0 10.0.0.0 255.0.0.0", AddressPattern(4, 10 << 24, 0xFF000000), id="mask and pair"
        ),
        pytest.param("deny ALL 0.0.0.0", Anyone(), id="a mask after ALL"),
        pytest.param("deny ALL 0.0.0.0 example.com", NamePattern(Name("example.com"), False), id="a mask and a name"),
        pytest.param(
            "deny 1.2.3.4/32 10.0.0.0 255.0.0.0", AddressPattern(4, 10 << 24, 0xFF000000), id="after a prefix"
        ),
        pytest.param("deny ::1 10.0.0.0/8", AddressPattern(4, 10 << 24, 0xFF000000), id="prefix after prefix"),
        pytest.param("deny ALL in.", NamePattern(Name("in"), False), id="a host with the name of an operator"),
        pytest.param("deny ALL eq 23", Anyone(), id="an operator is no destination"),
        pytest.param("deny ALL report", Anyone(), id="an option is no destination"),
        pytest.param("deny ALL method=udp", Anyone(), id="an option with a value is no destination"),
    ],
)
def test_masks_belong_to_the_addresses_that_need_them(text: str, destination: object) -> None:
    assert rule_of(text).destination == destination


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("permit ALL 192.0.2.1", id="a destination without its mask"),
        pytest.param("permit ALL 192.0.2.1:80", id="with a port behind a colon"),
        pytest.param("permit 10.0.0.0/8 192.0.2.1", id="after a prefix"),
        pytest.param("permit 10.0.0.0 255.0.0.0 192.0.2.1", id="after a pair"),
        pytest.param("permit 10.0.0.0/8 192.0.2.0/24:443", id="a prefix with a port behind a colon"),
        pytest.param("permit 10.0.0.0/8 fd00::/129", id="a prefix that is too long"),
        pytest.param("permit *= fred 10.0.0.0/8", id="a blank in a user list"),
        pytest.param("permit *=fred, julie 10.0.0.0/8", id="a blank after a comma"),
    ],
)
def test_no_slip_opens_a_line_to_everywhere(text: str) -> None:
    assert faults_of(text)


def test_two_colons_and_a_blank_are_a_command_and_warned_of() -> None:
    file = parse("permit 10.0.0.0/8 :: 1")
    assert file.rules[0].command == ": 1"
    assert [str(warning) for warning in file.warnings] == [
        f"{PATH}:1:19: warning: the command begins with a second ':'; an IPv6 address is written without blanks"
    ]


def test_report_takes_no_value() -> None:
    (fault,) = faults_of("deny ALL report=no")
    assert fault.startswith(f"{PATH}:1:10: unknown option 'report='")


def test_after_a_mistake_the_rest_of_the_line_is_still_read() -> None:
    faults = faults_of("permit ?=x *=a, 10.0.0.256 255.0.0.0 any eq telnot rate=0 speed=1:a\n")
    assert [fault.removeprefix(f"{PATH}:1:")[:40] for fault in faults] == [
        "8: '?=x': after '?=' comes I (strict), i",
        "12: there is an empty item in the list o",
        "17: '10.0.0.256' is no IPv4 address: fou",
        "38: 'any': write ALL for every destinati",
        "45: 'telnot' is no port: a service of /e",
        "52: rate='0': a number of bytes above 0 ",
        "59: unknown option 'speed='; the options",
        "66: a ':' follows 'speed=1' without a bl",
    ]


def test_mistakes_of_lines_and_of_fields_come_in_the_order_of_the_file() -> None:
    text = "grant\n" + "permit ALL \\ \n" + "permit 10.0.0.0 0.0.0.255\n" + "a" * 1024 + "\nbogus\n"
    assert [fault.split(": ")[0] for fault in faults_of(text)] == [
        f"{PATH}:1:1",
        f"{PATH}:2:12",
        f"{PATH}:3:8",
        f"{PATH}:4:1024",
        f"{PATH}:5:1",
    ]


def test_the_dialect_turns_masks_and_nothing_else() -> None:
    text = "permit 10.0.0.0 0.255.255.255 10.1.0.0/16\npermit ALL .example.com 0.0.0.0\n"
    old, new = parse(text, Dialect.Y1992).rules[0], parse(text).rules[0]
    assert old.source == AddressPattern(4, 10 << 24, 0xFF000000)
    assert new.source == AddressPattern(4, 10 << 24, 0x00FFFFFF)
    assert old.destination == new.destination == AddressPattern(4, 0x0A010000, 0xFFFF0000)


def test_ten_thousand_rules_are_read_in_well_under_a_second() -> None:
    line = "permit *=fred 10.{}.{}.0 255.255.255.0 192.168.{}.0 255.255.255.0 eq 443 : logger %u"
    text = "\n".join(line.format(n >> 8, n & 255, n & 255) for n in range(10_000))
    before = time.process_time()
    assert len(parse(text).rules) == 10_000
    assert time.process_time() - before < 1.5  # 0.2 s on an idle machine of 2020


def test_the_examples_of_the_manual_are_understood_without_a_doubt() -> None:
    (text,) = manual_examples("sockd.conf.5")
    file = parse_access(text, PATH, Services({"smtp": 25, "telnet": 23, "ssh": 22}, {}))
    assert len(file.rules) == 7
    assert file.bad_id is not None
    assert file.warnings == ()


def test_the_manual_names_every_word_of_the_grammar() -> None:
    text = manual_text("sockd.conf.5")
    options = [field.name for field in dataclasses.fields(Options)]
    words = [*ACTIONS, *OPERATORS, *options, *AUTH_WORDS, *METHOD_WORDS, *DAYS, *PERIODS, *SPECIAL_WORDS]
    assert [word for word in words if word not in text] == []


# The original's reading, in its own order of steps (spec/socks4.md §3.1, §3.2), to compare with.


def _original(line: str) -> tuple[object, ...] | None:
    cut = re.search("[:#]", line)
    fields, command = line, None
    if cut is not None:
        fields = line[: cut.start()]
        command = line[cut.end() :].strip(" \t") or None if cut.group() == ":" else None
    words = fields.replace("\t", " ").split(" ")
    words = [word for word in words if word]
    if not words:
        return None
    action = words.pop(0)
    ident = words.pop(0)[2:] if words[0].startswith("?=") else None
    users = words.pop(0)[2:] if words[0].startswith("*=") else ""
    source, destination = words[:2], None
    words = words[2:]
    if len(words) > 1 and words[0] not in ("eq", "neq", "lt", "le", "gt", "ge"):
        destination, words = words[:2], words[2:]
    return action, ident, users, source, destination, words, command


_quads = st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts)))
_blanks = st.text(" \t", min_size=1, max_size=3)
_pairs = st.tuples(_quads, _quads).map(list)
_tails = st.one_of(
    st.just(""),
    st.from_regex(r"[ \t]*#[ -~]{0,20}", fullmatch=True),
    # The one exception that is documented: a command that begins with a colon and hexadecimal digits.
    st.from_regex(r"[ \t]*:([ \t]*|[^0-9A-Fa-f:\\\n\r]|:[g-z ])[ -\[\]-~]{0,20}", fullmatch=True).filter(
        lambda tail: re.match(r"[ \t]*::?[0-9A-Fa-f:./]", tail) is None and tail.isprintable()
    ),
)


@given(
    action=st.sampled_from(["permit", "deny"]),
    ident=st.sampled_from([[], ["?=I"], ["?=i"], ["?=n"], ["?="]]),
    users=st.sampled_from([[], ["*=fred"], ["*=fred,/etc/x,julie"], ["*="]]),
    source=_pairs,
    destination=st.one_of(st.just([]), _pairs),
    ports=st.one_of(
        st.just([]),
        st.tuples(
            st.sampled_from(["eq", "neq", "lt", "le", "gt", "ge"]),
            st.sampled_from(["0", "23", "80", "65535", "telnet", "http"]),
        ).map(list),
    ),
    blanks=st.lists(_blanks, min_size=9, max_size=9),
    tail=_tails,
)
@settings(max_examples=300, deadline=None)
def test_every_valid_line_of_the_original_reads_as_it_read_it(
    action: str,
    ident: list[str],
    users: list[str],
    source: list[str],
    destination: list[str],
    ports: list[str],
    blanks: list[str],
    tail: str,
) -> None:
    words = [action, *ident, *users, *source, *destination, *ports]
    line = "".join(word + blank for word, blank in zip(words, blanks, strict=False)).rstrip(" \t") + tail
    rule = rule_of(line)
    original = _original(line)
    assert original is not None
    assert (rule.action.value, rule.command) == (original[0], original[-1])
    assert (rule.ident is None) == (original[1] is None)
    assert rule.users == parse_users(str(original[2]))
    assert _pair_of(rule.source) == original[3]
    assert (None if isinstance(rule.destination, Anyone) else _pair_of(rule.destination)) == original[4]
    tested = [] if rule.ports is None else [rule.ports.operator.value, SERVICES.port(ports[1])]
    assert tested == [*ports[:1], *(SERVICES.port(port) for port in ports[1:])]
    assert original[5] == ports


def _pair_of(host: object) -> list[str]:
    assert isinstance(host, AddressPattern)
    words = [".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0)) for number in (host.number, host.mask)]
    assert all(parse_ipv4(word) is not None for word in words)
    return words


_WORDS = (
    "permit allow deny ?=I ?=i ?= ?=x *=fred *=@staff,/etc/x *= 10.0.0.0 255.0.0.0 0.0.0.255 10.0.0.0/8 10.1.2.3/33 "
    "::1 2001:db8::/32 fd00::/129 :: ALL all example.com .example.com in. eq in telnet 80,443 80-90 65536 rate=10M "
    "auth=none auth=x hours=08:00-18:00 hours=Mon/08:00-18:00,Sat report via=wan1 : :echo # #NO_IDENTD: #BAD_ID: \\ x=y"
)
_vocabulary = st.sampled_from([*_WORDS.split(" "), "\\\n", "\n", "\r\n"])
_grammatical = st.lists(st.tuples(_vocabulary, st.sampled_from([" ", "\t", "", "\n"])), max_size=25).map(
    lambda pairs: "".join(word + blank for word, blank in pairs)
)


@given(text=st.one_of(_grammatical, st.text(max_size=200)), dialect=st.sampled_from(Dialect))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_file_that_prints_back_or_a_list_of_mistakes(text: str, dialect: Dialect) -> None:
    problems: tuple[Problem, ...]
    try:
        file = parse(text, dialect)
        problems, refused = file.warnings, False
        assert unplaced(parse(print_access(file))) == unplaced(file)
    except ConfigError as error:
        problems, refused = error.problems, True
    assert any(problem.severity is Severity.ERROR for problem in problems) == refused
    places = [problem.place for problem in problems]
    assert places == sorted(places)
    lines = text.replace("\r\n", "\n").split("\n")
    for place in places:
        assert place.path == PATH
        assert 1 <= place.line <= len(lines)
        assert 1 <= place.column <= len(lines[place.line - 1]) + 1
