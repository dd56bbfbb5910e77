"""The compiled ``sockd.route``: against reading the lines one by one, and by example what each part of a line means."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address, Name, plain
from gateway.config.rules import AddressPattern, Anyone, HostPattern, NamePattern, RouteFile, RouteRule
from gateway.errors import ConfigError
from gateway.place import Place
from gateway.policy.pattern import normal
from gateway.policy.routetable import RouteTable
from gateway.policy.users import UserSource, is_member
from tests.support.routes import ROUTES, line, route_file
from tests.support.rules import EDGES, NAMES, USERS, Users, address, addresses, destinations, user_lists


def compiled(*rules: RouteRule | str, users: UserSource = USERS) -> RouteTable:
    return RouteTable.compile(route_file(*rules), users)


def found(table: RouteTable, target: str, name: str | None = None, user: str = "") -> int | None:
    """The number of the line that is for a destination."""
    rule = table.find(address(target), None if name is None else Name(name), user)
    return None if rule is None else rule.place.line


# Against the linear reading

routes = st.lists(
    st.builds(RouteRule, st.just(Place(ROUTES, 1, 1)), st.just(("wan1",)), destinations, user_lists), max_size=12
).map(lambda rules: route_file(*rules))
askers = st.sampled_from(("", "fred", "joe", "Fred", "julie", "stranger"))
asked_names = st.one_of(st.none(), st.sampled_from((*NAMES, "example.org", "x.example.com")).map(Name))


def linear(file: RouteFile, target: Address, name: Name | None, user: str) -> RouteRule | None:
    """The first line that is for the destination and the user, by asking each."""
    for rule in file.rules:
        for_user = not rule.users or is_member(user, rule.users, USERS)
        if for_user and _covers(normal(rule.destination), plain(target), name):
            return rule
    return None


def _covers(pattern: HostPattern, target: Address, name: Name | None) -> bool:
    match pattern:
        case Anyone():
            return True
        case AddressPattern():
            return pattern.covers(*target)
        case NamePattern():
            return name is not None and pattern.covers(name)


@given(
    routes, st.lists(st.tuples(addresses, asked_names, askers), min_size=1, max_size=10), st.sampled_from((None, 1, 3))
)
@settings(max_examples=250, deadline=None)
def test_the_line_that_is_found_is_the_first_one_that_is_for_it(
    file: RouteFile, asked: list[tuple[Address, Name | None, str]], block_size: int | None
) -> None:
    table = RouteTable.compile(file, USERS, block_size)
    for target, name, user in asked:
        for edge in (target, EDGES[target.number % len(EDGES)]):
            assert table.find(edge, name, user) is linear(file, edge, name, user)


# By example


class TestDestinations:
    def test_the_classic_example_finds_its_lines(self) -> None:
        """`spec/socks4.md` §4.2."""
        table = compiled(
            "129.10.1.2 10.0.0.0/255.0.0.0", "129.10.7.10 137.12.0.0/255.255.0.0", "129.10.254.1 0.0.0.0/0.0.0.0"
        )
        assert [found(table, one) for one in ("10.255.1.1", "137.12.9.9", "137.13.0.0", "11.0.0.0")] == [1, 2, 3, 3]
        assert found(table, "2001:db8::1") is None

    def test_the_first_line_wins(self) -> None:
        assert found(compiled("wan1 10.0.0.0/8", "wan2 10.1.0.0/16"), "10.1.2.3") == 1
        assert found(compiled("wan2 10.1.0.0/16", "wan1 10.0.0.0/8"), "10.1.2.3") == 1

    def test_no_line_is_none(self) -> None:
        assert found(compiled("wan1 10.0.0.0/8"), "11.0.0.0") is None
        assert found(compiled(), "11.0.0.0", "example.com", "fred") is None

    @pytest.mark.parametrize(
        ("destination", "inside", "outside"),
        [
            pytest.param("10.1.2.0/24", ["10.1.2.0", "10.1.2.255"], ["10.1.1.255", "10.1.3.0"], id="a prefix"),
            pytest.param("10.0.1.0/255.0.1.0", ["10.0.1.0", "10.2.255.9"], ["10.0.2.0", "11.0.1.0"], id="holes"),
            pytest.param("ALL", ["0.0.0.0", "::", "ffff::"], [], id="everywhere is both families"),
            pytest.param("0.0.0.0/0", ["0.0.0.0", "::ffff:10.0.0.1"], ["::1"], id="mapped addresses are IPv4"),
            pytest.param("::/0", ["::", "2001:db8::1"], ["10.0.0.1", "::ffff:10.0.0.1"], id="and not IPv6"),
            pytest.param("::ffff:10.0.0.0/104", ["10.0.0.0"], ["11.0.0.0"], id="a mapped line is the IPv4 line"),
        ],
    )
    def test_a_line_is_for_its_network_and_nothing_beside_it(
        self, destination: str, inside: list[str], outside: list[str]
    ) -> None:
        table = compiled(f"wan1 {destination}")
        assert [one for one in inside + outside if found(table, one) is not None] == inside

    @pytest.mark.parametrize("target", ["64:ff9b::10.0.0.1", "2002:a00:1::1", "::10.0.0.1"])
    def test_an_ipv4_address_within_an_ipv6_one_does_not_count(self, target: str) -> None:
        """The packet goes to the translator or relay, wherever that stands."""
        assert found(compiled("wan1 10.0.0.0/8", "wan2 ::/0"), target) == 2

    def test_a_name_counts_when_the_request_was_made_by_it(self) -> None:
        table = compiled("wan1 .example.com", "wan2 example.net", "wan3 192.0.2.0/24")
        assert found(table, "192.0.2.1", "www.example.com") == 1
        assert found(table, "198.51.100.1", "example.net") == 2
        assert found(table, "198.51.100.1", "www.example.net") is None
        assert found(table, "192.0.2.1", "notexample.com") == 3
        assert found(table, "192.0.2.1") == 3

    def test_an_earlier_line_by_address_comes_before_a_name(self) -> None:
        assert found(compiled("wan1 192.0.2.0/24", "wan2 example.com"), "192.0.2.1", "example.com") == 1


class TestUsers:
    @pytest.mark.parametrize(
        ("users", "user", "number"),
        [
            pytest.param("fred,joe", "joe", 1, id="a name on the list"),
            pytest.param("fred,joe", "Joe", 2, id="names are compared with case"),
            pytest.param("fred,joe", "", 2, id="no user is on no list"),
            pytest.param("/etc/good", "julie", 1, id="a name in a file"),
            pytest.param("@staff", "joe", 1, id="a member of a group"),
            pytest.param("/etc/empty,@nobody", "fred", 2, id="nobody is on an empty list"),
        ],
    )
    def test_a_line_with_a_list_is_for_its_users(self, users: str, user: str, number: int) -> None:
        table = compiled(line("wan1", user=users), "wan2")
        assert found(table, "192.0.2.1", user=user) == number

    def test_a_user_file_that_changes_counts_at_the_next_request(self) -> None:
        users = Users({"/etc/ops": ("fred",)})
        table = compiled(line("wan1", user="/etc/ops"), "wan2", users=users)
        assert [found(table, "192.0.2.1", user=user) for user in ("fred", "joe")] == [1, 2]
        users.files["/etc/ops"] = frozenset({"joe"})
        assert [found(table, "192.0.2.1", user=user) for user in ("fred", "joe")] == [2, 1]

    def test_a_change_counts_in_every_block(self) -> None:
        users = Users({"/etc/ops": ()})
        lines = route_file(line("wan1 10.0.0.0/8", user="/etc/ops"), line("wan1 11.0.0.0/8", user="/etc/ops"))
        table = RouteTable.compile(lines, users, block_size=1)
        users.files["/etc/ops"] = frozenset({"joe"})
        assert [found(table, target, user="joe") for target in ("10.0.0.1", "11.0.0.1")] == [1, 2]

    def test_lists_that_can_not_be_known_refuse_the_file_all_in_one_run(self) -> None:
        with pytest.raises(ConfigError) as caught:
            compiled(line("wan1 10.0.0.0/8", user="@wheel"), "wan1", line("wan1", user="/etc/gone,@staff"))
        assert str(caught.value).splitlines() == [
            "/etc/sockd.route:1:1: unknown group @wheel",
            "/etc/sockd.route:3:1: Unable to open userfile (/etc/gone): No such file or directory",
        ]


# What it costs


def many(count: int) -> RouteTable:
    """Single hosts, and a line at the end that every question comes to."""
    lines = [line(f"wan1 {Address(4, (203 << 24) + 7 * number)}") for number in range(count - 1)]
    return compiled(*lines, line("wan2"))


def seconds(table: RouteTable, asked: Sequence[Address]) -> float:
    """The best of several runs, which a busy machine disturbs least."""
    best = float("inf")
    for _ in range(15):
        start = time.thread_time()
        for one in asked:
            table.find(one, None, "fred")
        best = min(best, time.thread_time() - start)
    return best


def test_many_lines_cost_about_what_few_lines_cost() -> None:
    few, lots = many(10), many(5000)
    asked = [Address(4, (198 << 24) + number) for number in range(500)]
    assert {found(lots, str(one)) for one in asked} == {5000}
    assert seconds(lots, asked) < 4 * seconds(few, asked)


def test_a_file_of_several_blocks_finds_what_one_block_finds() -> None:
    whole = many(40)
    parts = RouteTable.compile(whole.file, USERS, block_size=7)
    for number in range(300):
        target = Address(4, (203 << 24) + number)
        assert parts.find(target, None, "") is whole.find(target, None, "")
