"""`gateway.config.route` and what `gateway.config.printer` makes of it: vectors, edges, the manual, any text at all."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address, Name
from gateway.config.fields import NAME_LIMIT, BadField, parse_users, parse_way
from gateway.config.printer import print_route
from gateway.config.route import parse_route
from gateway.config.rules import AddressPattern, Anyone, Dialect, NamePattern, RouteFile, RouteRule
from gateway.errors import ConfigError
from gateway.place import Place, Problem, Severity
from tests.support.accessfiles import NOWHERE
from tests.support.manual import manual_examples, manual_text
from tests.support.routefiles import PATH, files, unplaced
from tests.support.rules import address

VECTORS = tomllib.loads((Path(__file__).parents[2] / "vectors" / "config" / "sockd_route.toml").read_text())


def read(text: str, dialect: Dialect = Dialect.CLASSIC) -> RouteFile:
    return parse_route(text, PATH, dialect)


def rule_of(text: str) -> RouteRule:
    (rule,) = read(text).rules
    return rule


def faults(text: str, dialect: Dialect = Dialect.CLASSIC) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, dialect)
    return [str(problem).removeprefix(f"{PATH}:") for problem in caught.value.problems]


def vectors(kind: str, name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", [pytest.param(vector, id=vector[name]) for vector in VECTORS[kind]])


@vectors("find", "clause")
def test_the_first_line_of_the_classic_example_that_covers_an_address_is_for_it(vector: dict[str, Any]) -> None:
    rules = read(VECTORS["example"].lstrip("\n")).rules
    asked = address(vector["address"])
    covering = (r for r in rules if isinstance(r.destination, AddressPattern) and r.destination.covers(*asked))
    found = next(covering, None)
    if found is None:
        assert vector["line"] == 0
    else:
        assert (found.place.line, ",".join(map(str, found.egress))) == (vector["line"], vector["egress"])


@vectors("good", "name")
def test_good_files_are_understood(vector: dict[str, Any]) -> None:
    file = read(vector["text"].lstrip("\n"), Dialect(vector.get("dialect", "classic")))
    assert print_route(file) == vector["printed"].lstrip("\n")
    assert [str(problem).removeprefix(f"{PATH}:") for problem in file.warnings] == vector.get("problems", [])
    assert {problem.severity for problem in file.warnings} <= {Severity.WARNING}
    assert unplaced(read(print_route(file))) == unplaced(file)


@vectors("broken", "name")
def test_broken_files_show_every_mistake(vector: dict[str, Any]) -> None:
    assert faults(vector["text"].lstrip("\n")) == vector["problems"]


def test_an_empty_file_is_a_file() -> None:
    assert read("# nothing\n\n") == RouteFile(PATH, ())
    assert print_route(RouteFile(PATH, ())) == ""


def test_a_line_has_all_its_fields() -> None:
    found = rule_of("\n  wan1,192.0.2.1,2001:db8::1 *=fred,@staff,/etc/users .Example.COM\n")
    assert found == RouteRule(
        Place(PATH, 2, 3),
        ("wan1", Address(4, 0xC0000201), Address(6, 0x20010DB8 << 96 | 1)),
        NamePattern(Name("example.com"), below=True),
        parse_users("fred,@staff,/etc/users"),
    )
    assert found.label == "sockd.route:2"


def test_lines_keep_their_order_and_the_place_of_their_first_line() -> None:
    found = read("# c\nwan1 \\\n 10.0.0.0/8\nwan2 ALL\n").rules
    assert [(rule.egress, rule.place) for rule in found] == [
        (("wan1",), Place(PATH, 2, 1)),
        (("wan2",), Place(PATH, 4, 1)),
    ]


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        pytest.param("wan1 0.0.0.0 0.0.0.0", AddressPattern(4, 0, 0), id="a pair of zeros is IPv4 only"),
        pytest.param("wan1 ALL", Anyone(), id="ALL is both families and names"),
        pytest.param("wan1 10.0.0.0/8", AddressPattern(4, 10 << 24, 0xFF000000), id="a prefix"),
        pytest.param("wan1 ::1", AddressPattern(6, 1, (1 << 128) - 1), id="an IPv6 address alone is one host"),
        pytest.param("wan1 ::", AddressPattern(6, 0, (1 << 128) - 1), id="two colons are no command here"),
        pytest.param("wan1 wan1", NamePattern(Name("wan1"), False), id="a name after the way out is a host"),
        pytest.param("wan1 in.", NamePattern(Name("in"), False), id="a host with the name of an operator"),
    ],
)
def test_a_destination_is_read_as_in_sockd_conf(text: str, destination: object) -> None:
    assert rule_of(text).destination == destination


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("wan1", "wan1"),
        ("WAN1", "WAN1"),
        ("0wan", "0wan"),
        ("eth0.100", "eth0.100"),
        ("a" * NAME_LIMIT, "a" * NAME_LIMIT),
        ("all", "all"),
        ("192.0.2.1", Address(4, 0xC0000201)),
        ("0.0.0.1", Address(4, 1)),
        ("::1", Address(6, 1)),
        ("::ffff:192.0.2.1", Address(4, 0xC0000201)),
    ],
)
def test_a_way_out_is_a_name_or_an_address(word: str, found: object) -> None:
    assert parse_way(word) == found


@pytest.mark.parametrize("word", ["", "a" * (NAME_LIMIT + 1), ".wan", "-wan", "wan1:1", "1", "1.2", "0x1", "::", "ALL"])
def test_what_is_neither_is_refused(word: str) -> None:
    with pytest.raises(BadField):
        parse_way(word)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("192.0.2.1,2001:db8::1 ALL", id="ALL holds both"),
        pytest.param("192.0.2.1,2001:db8::1 example.com", id="a name may have addresses of both"),
        pytest.param("2001:db8::1,wan1 2001:db8::/32", id="its own family, and an interface may have any"),
        pytest.param("2001:db8::1 ::/0", id="every IPv6 address"),
        pytest.param("2001:db8::1 ::ffff:0:0/95", id="more than the IPv4-mapped addresses"),
        pytest.param("192.0.2.1 ::ffff:0:0/96", id="the IPv4-mapped addresses are IPv4"),
    ],
)
def test_addresses_stand_before_destinations_that_they_can_reach(text: str) -> None:
    assert len(read(text).rules) == 1


def test_the_same_word_on_another_line_is_no_mistake() -> None:
    assert len(read("wan1,wan2 10.0.0.0/8\nwan2,wan1 ALL\n").rules) == 2


def test_names_differ_by_the_size_of_their_letters() -> None:
    assert rule_of("wan1,WAN1 ALL").egress == ("wan1", "WAN1")


def test_a_line_over_the_limit_is_refused_and_one_at_it_is_not() -> None:
    line = "wan1 ALL #"
    assert len(read(line + "x" * (1023 - len(line))).rules) == 1
    assert faults(line + "x" * (1024 - len(line))) == ["1:1024: the line has more than 1023 characters"]


def test_mistakes_of_lines_and_of_fields_come_in_the_order_of_the_file() -> None:
    text = "wan1\nwan1 ALL \\ \nwan1 10.0.0.0 0.0.0.255\nwan1 ALL # \u202e\nwan,1 ALL\n"
    assert [fault.split(": ")[0] for fault in faults(text)] == ["1:5", "2:10", "3:6", "4:12", "5:5"]


def test_a_comment_that_ends_the_file_with_a_backslash_is_no_lost_line() -> None:
    assert len(read("wan1 ALL # the end \\").rules) == 1


def test_ten_thousand_lines_are_read() -> None:
    text = "".join(f"wan1,wan2 *=fred 10.{n >> 8}.{n & 255}.0 255.255.255.0\n" for n in range(10_000))
    assert len(read(text).rules) == 10_000


# Printing


def test_a_line_that_would_pass_the_limit_has_a_prefix_for_its_pair() -> None:
    ten = AddressPattern(4, 10 << 24, 0xFF000000)
    tail = len(" 10.0.0.0 255.0.0.0")
    fits = RouteRule(NOWHERE, tuple(_names_of_length(1023 - tail)), ten)
    long = RouteRule(NOWHERE, tuple(_names_of_length(1024 - tail)), ten)
    first, second = print_route(RouteFile(PATH, (fits, long))).splitlines()
    assert first.endswith(" 10.0.0.0 255.0.0.0")
    assert len(first) == 1023
    assert second.endswith(" 10.0.0.0/8")
    assert unplaced(read(f"{first}\n{second}\n")).rules == (fits, long)


def _names_of_length(length: int) -> list[str]:
    """Different names that take so many characters with the commas between them."""
    names = [f"wan{number:03}" for number in range((length - 6) // 7)]
    return [*names, "x" * (length - 7 * len(names))]


@given(files)
@settings(max_examples=200, deadline=None)
def test_what_is_printed_reads_back_as_the_same_file(file: RouteFile) -> None:
    assert unplaced(read(print_route(file))) == unplaced(file)


# The manual


def test_the_examples_of_the_manual_are_understood_without_a_doubt() -> None:
    found = [read(text) for text in manual_examples("sockd.route.5")]
    assert [len(file.rules) for file in found] == [3, 2, 2, 4]
    assert [file.warnings for file in found] == [()] * 4


def test_the_classic_example_of_the_manual_is_that_of_the_original() -> None:
    first = manual_examples("sockd.route.5")[0]
    assert print_route(read(first)) == print_route(read(VECTORS["example"]))


def test_the_manual_says_the_limits_and_the_words_of_the_log() -> None:
    text = " ".join(manual_text("sockd.route.5").split())
    assert f"at most {NAME_LIMIT} characters" in text
    assert "at most 1023 characters" in text
    assert "***Cannot find appropriate interface to communicate with" in text


# Any text


_WORDS = (
    "wan1 wan2 wan1,wan2 wan1, ,wan2 wan1,wan1 192.0.2.1 2001:db8::1 192.0.2.1,2001:db8::1 192.0.2.1,wan1 0.0.0.0 :: "
    "*=fred *=@staff,/etc/x *= *=a, *=a:b 10.0.0.0 255.0.0.0 0.0.0.255 10.0.0.0/8 10.1.2.3/33 2001:db8::/32 "
    "::ffff:10.0.0.0/104 ::/0 fd00::/129 ALL all example.com .example.com in. eq in 80 via=wan1 ?=I permit deny : :x "
    "# #NO_IDENTD: \\ x=y report"
)
_vocabulary = st.sampled_from([*_WORDS.split(" "), "\\\n", "\n", "\r\n"])
_grammatical = st.lists(st.tuples(_vocabulary, st.sampled_from([" ", "\t", "", "\n"])), max_size=20).map(
    lambda pairs: "".join(word + blank for word, blank in pairs)
)


@given(text=st.one_of(_grammatical, st.text(max_size=200)), dialect=st.sampled_from(Dialect))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_file_that_prints_back_or_a_list_of_mistakes(text: str, dialect: Dialect) -> None:
    problems: tuple[Problem, ...]
    try:
        file = read(text, dialect)
        problems, refused = file.warnings, False
        assert unplaced(read(print_route(file))) == unplaced(file)
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


@given(text=_grammatical)
@settings(max_examples=300, deadline=None)
def test_no_line_of_a_file_that_is_accepted_is_lost(text: str) -> None:
    """But for joined ones: each physical line with a word before its ``#`` is one line of the file."""
    try:
        file = read(text)
    except ConfigError:
        return
    written = [line for line in text.replace("\r\n", "\n").split("\n") if line.partition("#")[0].strip(" \t")]
    if not any(line.partition("#")[0].endswith("\\") for line in written):
        assert len(file.rules) == len(written)
