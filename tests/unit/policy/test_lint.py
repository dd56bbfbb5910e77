"""The warnings about a correct file."""

import time

import pytest
from hypothesis import given, settings

from gateway.address import Address
from gateway.config.rules import AccessFile, AccessRule, Hours, Options
from gateway.place import Severity
from gateway.policy.coverage import covers
from gateway.policy.lint import lint
from tests.support.rules import file, files, rule

REPORT = Options(report=True)
OPEN = "/etc/sockd.conf:1:1: warning: this line lets anyone who can reach this gateway through; name the networks of"


def warnings(*rules: AccessRule) -> list[str]:
    return [str(problem) for problem in lint(file(*rules))]


class TestLinesThatNeverMatch:
    @pytest.mark.parametrize(
        ("rules", "covering", "covered"),
        [
            pytest.param([rule("deny 10.0.0.0/8"), rule("permit 10.1.0.0/16")], 1, 2, id="a network within"),
            pytest.param([rule("deny ALL"), rule("permit 10.1.0.0/16 .example.com")], 1, 2, id="after a deny for all"),
            pytest.param(
                [rule("deny 11.0.0.0/8"), rule("permit 10.0.0.0/8"), rule("deny 10.0.0.0/8")], 2, 3, id="the same again"
            ),
            pytest.param(
                [rule("deny 10.0.0.5/255.0.0.15"), rule("permit 10.0.0.5")], 1, 2, id="a host within a mask with holes"
            ),
            pytest.param(
                [rule("deny 10.0.0.0/8"), rule("permit 10.0.0.5/255.0.0.15")], 1, 2, id="holes within a network"
            ),
            pytest.param(
                [rule("deny 10.0.0.0/8 .example.com"), rule("permit 10.0.0.0/8 www.example.com")],
                1,
                2,
                id="a name",
            ),
            pytest.param(
                [rule("deny 10.0.0.0/8", port="ge 80"), rule("permit 10.0.0.0/8", port="in 80,443")], 1, 2, id="ports"
            ),
            pytest.param(
                [rule("deny 10.0.0.0/8", user="fred,joe"), rule("permit 10.0.0.0/8", user="joe")], 1, 2, id="users"
            ),
            pytest.param([rule("deny ::ffff:10.0.0.0/104"), rule("permit 10.0.0.0/8")], 1, 2, id="a mapped network"),
            pytest.param([rule("deny 10.0.0.0/8"), rule("deny 10.0.0.1", options=REPORT)], 1, 2, id="a report line"),
        ],
    )
    def test_a_line_that_another_covers(self, rules: list[AccessRule], covering: int, covered: int) -> None:
        assert warnings(*rules) == [
            f"/etc/sockd.conf:{covered}:1: warning: this line never matches: sockd.conf:{covering} matches everything "
            "that it does, and comes first"
        ]

    @pytest.mark.parametrize(
        "rules",
        [
            pytest.param([rule("deny 10.1.0.0/16"), rule("permit 10.0.0.0/8")], id="a wider line after"),
            pytest.param([rule("deny 10.0.0.0/8", options=REPORT), rule("permit 10.0.0.0/8")], id="report decides not"),
            pytest.param([rule("deny 10.0.0.0/8", port="eq 80"), rule("permit 10.0.0.0/8")], id="one port of all"),
            pytest.param([rule("deny 10.0.0.0/8", user="fred"), rule("permit 10.0.0.0/8")], id="one user of all"),
            pytest.param([rule("deny 10.0.0.0/8 com"), rule("permit 10.0.0.0/8 .com")], id="one name of all below"),
            pytest.param([rule("deny 10.0.0.0/8 0.0.0.0/0"), rule("permit 10.0.0.0/8 com")], id="IPv6 is left"),
            pytest.param([rule("deny 10.0.0.0/8", port="in 1,9"), rule("permit 10.0.0.0/8", port="in 1-9")], id="gap"),
        ],
    )
    def test_a_line_of_which_something_is_left(self, rules: list[AccessRule]) -> None:
        assert warnings(*rules) == []

    def test_a_line_that_is_written_twice_among_many_that_look_like_it(self) -> None:
        lines = [rule("deny 10.0.0.0/8", user=f"fred,user{number}") for number in range(100)]
        (warning,) = warnings(*lines, lines[50])
        assert "sockd.conf:51 matches everything" in warning

    def test_a_line_that_several_cover_together(self) -> None:
        lines = [rule("deny 10.0.0.0/9"), rule("deny 10.128.0.0/9"), rule("permit 10.0.0.0/8")]
        assert warnings(*lines) == [
            "/etc/sockd.conf:3:1: warning: this line never matches: the lines before it together match everything that "
            "it does"
        ]

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            pytest.param(rule("deny 10.0.0.0/8", port="lt 0"), "no port passes its test", id="no port"),
            pytest.param(
                rule("deny 10.0.0.0/8", options=Options(hours=(Hours(frozenset({0}), 60, 60),))),
                "its hours hold no time at all",
                id="no time",
            ),
        ],
    )
    def test_a_line_that_nothing_could_match(self, line: AccessRule, why: str) -> None:
        assert warnings(line) == [f"/etc/sockd.conf:1:1: warning: this line never matches: {why}"]

    @given(files)
    @settings(max_examples=200, deadline=None)
    def test_every_line_that_one_earlier_line_covers_is_found(self, rules: AccessFile) -> None:
        lines = [one for one in rules.rules if not one.options.report]
        warned = {problem.place.line for problem in lint(rules)}
        for one in rules.rules:
            if any(earlier.place.line < one.place.line and covers(earlier, one) for earlier in lines):
                assert one.place.line in warned


class TestLinesThatAreTooOpen:
    @pytest.mark.parametrize("line", ["permit ALL", "permit 0.0.0.0/0", "permit ::/0 ALL", "permit ALL 0.0.0.0/0"])
    def test_a_permit_for_everybody_to_everywhere(self, line: str) -> None:
        (warning,) = warnings(rule(line))
        assert warning.startswith(OPEN)

    def test_to_one_port_is_still_too_open(self) -> None:
        assert len(warnings(rule("permit ALL", port="eq 80"))) == 1

    @pytest.mark.parametrize(
        "line",
        [
            pytest.param(rule("deny ALL"), id="a deny"),
            pytest.param(rule("permit 0.0.0.0/1"), id="half of the world"),
            pytest.param(rule("permit ALL 192.0.2.1"), id="one destination"),
            pytest.param(rule("permit ALL", user="fred"), id="a user list"),
            pytest.param(rule("permit ALL", options=Options(auth=frozenset({"password"}))), id="a password"),
        ],
    )
    def test_a_line_that_is_not(self, line: AccessRule) -> None:
        assert warnings(line) == []

    def test_a_password_or_none_is_none(self) -> None:
        assert len(warnings(rule("permit ALL", options=Options(auth=frozenset({"password", "none"}))))) == 1


def test_warnings_are_in_the_order_of_the_file_and_no_errors() -> None:
    problems = lint(file(rule("permit ALL"), rule("deny ALL"), rule("deny 10.0.0.0/8", port="gt 65535")))
    assert [problem.place.line for problem in problems] == [1, 2, 3]
    assert {problem.severity for problem in problems} == {Severity.WARNING}


def test_a_correct_file_has_no_warnings() -> None:
    assert warnings(rule("deny 10.0.0.0/8 192.0.2.0/24"), rule("permit 10.0.0.0/8"), rule("deny ALL")) == []
    assert warnings() == []


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda number: rule(f"deny 10.0.0.0/8 {Address(4, (203 << 24) + 7 * number)}"), id="hosts"),
        pytest.param(lambda number: rule("deny 10.0.0.0/8", port=f"neq {number}"), id="ports that hardly differ"),
        pytest.param(lambda number: rule("deny 10.0.0.0/8", user=f"fred,user{number}"), id="users that hardly differ"),
    ],
)
def test_many_lines_take_no_more_than_moments(shape: object) -> None:
    assert callable(shape)
    lines = file(*(shape(number) for number in range(2000)))
    best = min(_seconds(lines) for _ in range(2))
    assert best < 2.0


def _seconds(lines: AccessFile) -> float:
    start = time.thread_time()
    lint(lines)
    return time.thread_time() - start
