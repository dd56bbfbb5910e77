"""Tables from a value to a set of rules, against asking each rule in turn."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.rules import AddressPattern, Anyone, HostPattern, NamePattern
from gateway.policy.pattern import normal
from gateway.policy.tables import IntervalTable, NameTable, address_tables, interval_table, user_table, word_table
from gateway.wire.constants import Command
from tests.support.rules import EDGES, destinations, sources

spans = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair)))


@given(st.lists(spans, max_size=8), st.integers(0, 255))
def test_an_interval_table_holds_what_each_range_holds(ranges: list[tuple[int, int]], base: int) -> None:
    base <<= len(ranges)
    table = IntervalTable.build([(low, high, 1 << bit) for bit, (low, high) in enumerate(ranges)], base)
    for value in range(-1, 33):
        wanted = sum(1 << bit for bit, (low, high) in enumerate(ranges) if low <= value <= high)
        assert table.at(value) == wanted | base


@given(st.lists(spans, max_size=8), spans)
def test_the_sets_between_are_those_of_every_value_between(
    ranges: list[tuple[int, int]], asked: tuple[int, int]
) -> None:
    table = IntervalTable.build([(low, high, 1 << bit) for bit, (low, high) in enumerate(ranges)])
    low, high = asked
    assert set(table.between(low, high)) == {table.at(value) for value in range(low, high + 1)}


def test_equal_sets_are_stored_once() -> None:
    table = IntervalTable.build([(10 * i, 10 * i, 1 << (i + 100)) for i in range(50)], (1 << 90) - 1)
    gaps = [bits for bits in table.sets if bits == (1 << 90) - 1]
    assert len(gaps) == 51
    assert len({id(bits) for bits in gaps}) == 1


@given(st.lists(sources, max_size=8))
@settings(max_examples=150)
def test_an_address_table_holds_the_patterns_that_cover_the_address(patterns: list[HostPattern]) -> None:
    tables = address_tables([(pattern, 1 << bit) for bit, pattern in enumerate(patterns)])
    for version, number in EDGES:
        wanted = 0
        for bit, pattern in enumerate(map(normal, patterns)):
            if isinstance(pattern, Anyone) or (isinstance(pattern, AddressPattern) and pattern.covers(version, number)):
                wanted |= 1 << bit
        assert tables[version].at(number) == wanted


@given(st.lists(destinations, max_size=8))
def test_a_name_table_holds_the_patterns_that_cover_the_name(patterns: list[HostPattern]) -> None:
    coded = [(p, 1 << bit) for bit, p in enumerate(patterns) if isinstance(p, NamePattern)]
    table = NameTable.build(coded)
    for name in ("com", "example.com", "www.example.com", "a.www.example.com", "notexample.com", "net", "example.net"):
        assert table.at(name) == sum(bit for pattern, bit in coded if pattern.covers(name))


def test_a_user_gets_every_list_that_names_it_and_the_base() -> None:
    table = user_table([(1, frozenset({"fred", "joe"})), (2, frozenset({"fred"})), (8, frozenset())], 4)
    assert table == {"fred": 7, "joe": 5}


def test_users_with_the_same_lists_share_one_set() -> None:
    table = user_table([(1 << 500, frozenset(f"user{number}" for number in range(100)))], 1 << 400)
    assert len({id(bits) for bits in table.values()}) == 1


def test_a_field_that_nobody_tests_has_no_table() -> None:
    assert interval_table([], 7) is None
    assert word_table({Command.CONNECT: "connect"}, [(None, 1), (None, 2)]) is None


def test_rules_without_a_test_are_in_every_interval_and_under_every_word() -> None:
    table = interval_table([(((10, 20),), 1)], 3)
    assert table is not None
    assert [table.at(value) for value in (9, 10, 20, 21)] == [2, 3, 3, 2]
    words = word_table({Command.CONNECT: "connect", Command.BIND: "bind"}, [(frozenset({"bind"}), 1), (None, 2)])
    assert words == {Command.CONNECT: 2, Command.BIND: 3}
