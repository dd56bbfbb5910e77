"""Set algebra on patterns, against counting single members."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address, Name
from gateway.config.rules import AddressPattern, Anyone, HostPattern, Hours, NamePattern
from gateway.policy.pattern import (
    host_covers,
    is_everywhere,
    is_prefix,
    merged,
    normal,
    port_ranges,
    ranges_cover,
    span,
    week_minutes,
    within,
)
from tests.support.rules import EDGES, destinations, host, hours, patterns, ports


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        pytest.param("0.0.0.0/0", True, id="no bits"),
        pytest.param("10.0.0.0/8", True, id="some bits"),
        pytest.param("10.0.0.1/32", True, id="all bits"),
        pytest.param("10.0.0.1/255.0.0.255", False, id="a hole"),
        pytest.param("10.0.0.1/0.0.0.255", False, id="bits at the end only"),
        pytest.param("2001:db8::/32", True, id="IPv6"),
        pytest.param("2001:db8::/ffff::1", False, id="IPv6 with a hole"),
    ],
)
def test_a_prefix_has_its_bits_first(text: str, prefix: bool) -> None:
    pattern = host(text)
    assert isinstance(pattern, AddressPattern)
    assert is_prefix(pattern) == prefix


@given(patterns)
def test_the_span_of_a_prefix_is_what_it_covers(pattern: HostPattern) -> None:
    assert isinstance(pattern, AddressPattern)
    low, high = span(pattern)
    assert pattern.covers(pattern.version, low)
    assert pattern.covers(pattern.version, high)
    if is_prefix(pattern):
        assert not pattern.covers(pattern.version, low - 1) or low == 0
        assert high.bit_length() > 128 or all(
            pattern.covers(*edge) == (low <= edge.number <= high) for edge in EDGES if edge.version == pattern.version
        )


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        pytest.param("::ffff:10.0.0.0/104", "10.0.0.0/8", id="within the mapped addresses"),
        pytest.param("::ffff:0.0.0.0/96", "0.0.0.0/0", id="all mapped addresses"),
        pytest.param("::ffff:0.0.0.0/95", "::ffff:0.0.0.0/95", id="more than the mapped addresses"),
        pytest.param("::fffe:10.0.0.0/104", "::fffe:10.0.0.0/104", id="beside the mapped addresses"),
        pytest.param("10.0.0.0/8", "10.0.0.0/8", id="IPv4 stays"),
        pytest.param("ALL", "ALL", id="everybody stays"),
        pytest.param(".example.com", ".example.com", id="a name stays"),
    ],
)
def test_a_mapped_pattern_is_the_ipv4_pattern(text: str, same_as: str) -> None:
    assert normal(host(text)) == host(same_as)


@pytest.mark.parametrize(
    ("text", "everywhere"), [("ALL", True), ("0.0.0.0/0", True), ("::/0", True), ("0.0.0.0/1", False), ("com", False)]
)
def test_everywhere(text: str, everywhere: bool) -> None:
    assert is_everywhere(host(text)) == everywhere


@given(destinations, destinations, st.sampled_from(EDGES), st.sampled_from(("com", "www.example.com", "example.com")))
@settings(max_examples=300)
def test_what_a_pattern_covers_lies_in_every_pattern_that_covers_it(
    outer: HostPattern, inner: HostPattern, found: Address, name: str
) -> None:
    if host_covers(outer, inner):
        assert _matches(outer, found, name) or not _matches(inner, found, name)


def _matches(pattern: HostPattern, found: Address, name: str) -> bool:
    if isinstance(pattern, NamePattern):
        return pattern.covers(name)
    return isinstance(pattern, Anyone) or pattern.covers(*found)


@pytest.mark.parametrize(
    ("outer", "inner", "covered"),
    [
        pytest.param("ALL", "10.0.0.0/8", True, id="everybody covers a network"),
        pytest.param("ALL", "example.com", True, id="everybody covers a name"),
        pytest.param("0.0.0.0/0", "ALL", False, id="IPv4 is not everybody"),
        pytest.param("10.0.0.0/8", "10.1.0.0/16", True, id="a network within"),
        pytest.param("10.1.0.0/16", "10.0.0.0/8", False, id="a network around"),
        pytest.param("10.0.0.0/8", "11.0.0.0/16", False, id="a network beside"),
        pytest.param("10.0.0.0/255.0.0.255", "10.1.0.0/32", True, id="a host within a mask with holes"),
        pytest.param("10.0.0.0/255.0.0.255", "10.0.0.0/8", False, id="a prefix is not within holes"),
        pytest.param("0.0.0.0/0", "::/0", False, id="versions never cover each other"),
        pytest.param(".com", "example.com", True, id="all below covers a name"),
        pytest.param(".com", ".example.com", True, id="all below covers all further below"),
        pytest.param("example.com", ".example.com", False, id="one name does not cover all below it"),
        pytest.param("example.com", "example.com", True, id="a name covers itself"),
        pytest.param("0.0.0.0/0", "example.com", False, id="addresses do not cover names"),
        pytest.param("example.com", "192.0.2.1", False, id="names do not cover addresses"),
    ],
)
def test_which_pattern_covers_which(outer: str, inner: str, covered: bool) -> None:
    assert host_covers(host(outer), host(inner)) == covered


def test_within_compares_only_the_bits_of_the_outer_mask() -> None:
    assert within(AddressPattern(4, 0x0A0000FF, 0xFF0000FF), AddressPattern(4, 0x0A123456, 0xFF000000))


@pytest.mark.parametrize(
    ("test", "ranges"),
    [
        pytest.param("eq 0", ((0, 0),), id="the first port"),
        pytest.param("neq 0", ((1, 65535),), id="all but the first"),
        pytest.param("neq 65535", ((0, 65534),), id="all but the last"),
        pytest.param("neq 80", ((0, 79), (81, 65535)), id="all but one in the middle"),
        pytest.param("lt 0", (), id="less than the first"),
        pytest.param("gt 65535", (), id="more than the last"),
        pytest.param("in 80,81,443,440-450", ((80, 81), (440, 450)), id="neighbours and overlaps are joined"),
    ],
)
def test_the_ranges_of_a_port_test(test: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert port_ranges(ports(test)) == ranges


def test_no_port_test_passes_every_port() -> None:
    assert port_ranges(None) == ((0, 65535),)


small_ranges = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted).map(tuple), max_size=5).map(tuple)


@given(small_ranges, small_ranges)
def test_merged_ranges_hold_the_same_numbers_and_compare_as_sets(
    first: tuple[tuple[int, int], ...], second: tuple[tuple[int, int], ...]
) -> None:
    sets = [{number for low, high in ranges for number in range(low, high + 1)} for ranges in (first, second)]
    joined = [merged(ranges) for ranges in (first, second)]
    for numbers, ranges in zip(sets, joined, strict=True):
        assert sorted(numbers) == [number for low, high in ranges for number in range(low, high + 1)]
        assert all(high + 1 < low for (_, high), (low, _) in pairwise(ranges))
    assert ranges_cover(joined[0], joined[1]) == (sets[1] <= sets[0])


@given(hours, st.integers(0, 7 * 1440 - 1))
@settings(max_examples=300)
def test_hours_hold_in_the_minutes_that_they_say(item: Hours, minute: int) -> None:
    day, now = divmod(minute, 1440)
    if item.start <= item.end:
        holds = day in item.days and item.start <= now < item.end
    else:
        holds = (day in item.days and now >= item.start) or ((day - 1) % 7 in item.days and now < item.end)
    assert any(low <= minute <= high for low, high in week_minutes((item,))) == holds


def test_no_hours_are_all_hours() -> None:
    assert week_minutes(None) == ((0, 10079),)


def test_a_name_pattern_covers_itself_by_value() -> None:
    assert host_covers(NamePattern(Name("a.b"), True), NamePattern(Name("a.b"), True))
