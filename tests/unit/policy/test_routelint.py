"""The warnings about a correct ``sockd.route``, and about ways out that do not exist."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address
from gateway.config.rules import Options, RouteFile, RouteRule
from gateway.place import Place, Severity
from gateway.policy.pattern import host_covers, normal
from gateway.policy.routelint import reference_problems, route_lint
from tests.support.routes import ROUTES, line, route_file, words
from tests.support.rules import address, destinations, file, rule, user_lists

NEVER = "/etc/sockd.route:{}:1: warning: this line never matches: "


def warnings(*rules: RouteRule | str) -> list[str]:
    return [str(problem) for problem in route_lint(route_file(*rules))]


class TestLinesThatAreNeverUsed:
    @pytest.mark.parametrize(
        ("rules", "covering", "covered"),
        [
            pytest.param(["wan1 10.0.0.0/8", "wan2 10.1.0.0/16"], 1, 2, id="a network within"),
            pytest.param(["wan1", "wan1 10.0.0.0/8"], 1, 2, id="with the same way out, too"),
            pytest.param(["wan2 11.0.0.0/8", "wan1 10.0.0.0/8", "wan1 10.0.0.0/8"], 2, 3, id="the same again"),
            pytest.param(["wan1 .example.com", "wan2 www.example.com"], 1, 2, id="a name"),
            pytest.param(["wan1 10.0.0.5/255.0.0.15", "wan2 10.0.0.5"], 1, 2, id="a host within a mask with holes"),
            pytest.param([line("wan1", user="fred,joe"), line("wan2", user="joe")], 1, 2, id="users"),
            pytest.param(["wan1 10.0.0.0/8", line("wan2 10.0.0.0/8", user="joe")], 1, 2, id="a user of everybody"),
        ],
    )
    def test_a_line_that_another_covers(self, rules: list[RouteRule | str], covering: int, covered: int) -> None:
        wanted = f"sockd.route:{covering} matches everything that it does, and comes first"
        assert warnings(*rules) == [NEVER.format(covered) + wanted]

    @pytest.mark.parametrize(
        "rules",
        [
            pytest.param(["wan2 10.1.0.0/16", "wan1 10.0.0.0/8"], id="a wider line after"),
            pytest.param([line("wan1 10.0.0.0/8", user="fred"), "wan2 10.0.0.0/8"], id="one user of all"),
            pytest.param(["wan1 com", "wan2 .com"], id="one name of all below"),
            pytest.param(["wan1 0.0.0.0/0", "wan2"], id="IPv6 is left"),
            pytest.param(["wan1 0.0.0.0/0", "wan2 example.com"], id="addresses do not cover names"),
            pytest.param(["wan1"], id="a line for everything alone is not too open"),
        ],
    )
    def test_a_line_of_which_something_is_left(self, rules: list[RouteRule | str]) -> None:
        assert warnings(*rules) == []

    def test_a_line_that_several_cover_together(self) -> None:
        assert warnings("wan1 10.0.0.0/9", "wan2 10.128.0.0/9", "wan1 10.0.0.0/8") == [
            NEVER.format(3) + "the lines before it together match everything that it does"
        ]

    @given(
        st.lists(st.builds(RouteRule, st.just(Place(ROUTES, 1, 1)), st.just(("wan1",)), destinations, user_lists)).map(
            lambda rules: route_file(*rules)
        )
    )
    @settings(max_examples=150, deadline=None)
    def test_every_line_that_one_earlier_line_covers_is_found(self, lines: RouteFile) -> None:
        warned = {problem.place.line for problem in route_lint(lines)}
        for index, inner in enumerate(lines.rules):
            if any(_covers(outer, inner) for outer in lines.rules[:index]):
                assert index + 1 in warned


def _covers(outer: RouteRule, inner: RouteRule) -> bool:
    users = not outer.users or (bool(inner.users) and set(inner.users) <= set(outer.users))
    return users and host_covers(normal(outer.destination), normal(inner.destination))


def test_warnings_are_in_the_order_of_the_file_and_no_errors() -> None:
    problems = route_lint(route_file("wan1 10.0.0.0/8", "wan2 10.0.0.1", "wan3 ::/0", "wan2 10.0.0.2"))
    assert [problem.place.line for problem in problems] == [2, 4]
    assert {problem.severity for problem in problems} == {Severity.WARNING}


def test_many_lines_take_no_more_than_moments() -> None:
    hosts = [line(f"wan1 {Address(4, (203 << 24) + 7 * number)}") for number in range(1999)]
    lines = route_file(*hosts, "wan2")
    start = time.thread_time()
    assert route_lint(lines) == ()
    assert time.thread_time() - start < 2.0


# Ways out that do not exist

NO_RULES = file()
GONE = "there is no interface wan9 now, and no [uplinks.wan9]; what goes by it is refused until it appears"


def references(*rules: RouteRule | str, access: str = "", default: str = "") -> list[str]:
    """The warnings on a host with eth1, 192.0.2.1 and [uplinks.wan1]."""
    rules_of_conf = (
        file(rule("permit 10.0.0.0/8", options=Options(via=tuple(access.split(","))))) if access else NO_RULES
    )
    found = reference_problems(
        route_file(*rules),
        rules_of_conf,
        words(default) if default else (),
        {"wan1": "its settings"}.keys(),
        ("eth1", "lo"),
        {address("192.0.2.1")},
    )
    assert {problem.severity for problem in found} <= {Severity.WARNING}
    return [str(problem) for problem in found]


def test_what_is_configured_or_there_is_no_matter() -> None:
    assert references("wan1,eth1,192.0.2.1", access="wan1,eth1", default="eth1,192.0.2.1,wan1") == []


def test_a_name_that_is_neither_is_told_with_its_line() -> None:
    assert references("wan1", "eth1,wan9 10.0.0.0/8") == [f"/etc/sockd.route:2:1: warning: {GONE}"]


def test_an_address_that_no_interface_has_is_told_with_its_line() -> None:
    assert references("192.0.2.2,192.0.2.1") == [
        "/etc/sockd.route:1:1: warning: no interface has the address 192.0.2.2 now; what goes by it is refused until "
        "one has"
    ]


def test_a_name_in_via_is_told_with_the_line_of_sockd_conf() -> None:
    assert references(access="eth1,wan9") == [f"/etc/sockd.conf:1:1: warning: {GONE}"]


def test_a_default_is_told_with_the_file_that_it_stands_in() -> None:
    assert references(default="wan9") == [f"gateway.toml: warning: [external] interface: {GONE}"]
    (problem,) = reference_problems(None, NO_RULES, ("wan9",), (), (), (), settings="/etc/gateway.toml")
    assert problem.place == Place("/etc/gateway.toml")


def test_every_word_is_told_in_the_order_of_the_files() -> None:
    found = references("wan9,wan8", "192.0.2.9", access="wan7,wan6", default="wan5")
    assert [message.partition(": warning: ")[0] for message in found] == [
        "/etc/sockd.route:1:1",
        "/etc/sockd.route:1:1",
        "/etc/sockd.route:2:1",
        "/etc/sockd.conf:1:1",
        "/etc/sockd.conf:1:1",
        "gateway.toml",
    ]


def test_without_a_route_file_only_via_and_the_default_are_asked() -> None:
    assert reference_problems(None, NO_RULES, (), (), (), ()) == ()
