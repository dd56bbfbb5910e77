"""The linear reading, line by line: by example, since everything else is checked against it."""

import pytest

from gateway.config.rules import Hours, Options
from gateway.policy.decision import Result
from gateway.policy.destination import Guard
from gateway.policy.linear import Field, LinearPolicy, Reach, first_match, mismatches, reach
from gateway.wire.constants import Command, Method
from tests.support.rules import USERS, address, file, host, question, rule

EXAMPLE = question("10.0.0.1", "192.0.2.1", 80, "fred")


@pytest.mark.parametrize(
    ("pattern", "name", "target", "reached"),
    [
        pytest.param("ALL", None, "192.0.2.1", Reach.YES, id="everywhere covers an address"),
        pytest.param("ALL", "example.com", None, Reach.YES, id="everywhere covers a name"),
        pytest.param("192.0.2.0/24", None, "192.0.2.1", Reach.YES, id="a network covers its address"),
        pytest.param("192.0.2.0/24", None, "192.0.3.1", Reach.NO, id="a network does not cover another"),
        pytest.param("192.0.2.0/24", "example.com", None, Reach.MAYBE, id="a network may cover a name"),
        pytest.param("192.0.2.0/24", "example.com", "192.0.2.1", Reach.YES, id="and does when its address is known"),
        pytest.param("192.0.2.0/24", None, "::ffff:192.0.2.1", Reach.YES, id="a mapped address is the IPv4 one"),
        pytest.param("example.com", "example.com", "192.0.2.1", Reach.YES, id="a name covers whatever it leads to"),
        pytest.param("example.com", "example.net", "192.0.2.1", Reach.NO, id="a name does not cover another"),
        pytest.param("example.com", None, "192.0.2.1", Reach.NO, id="a name does not cover an address"),
    ],
)
def test_the_reach_of_a_destination(pattern: str, name: str | None, target: str | None, reached: Reach) -> None:
    asked = None if name is None else question("10.0.0.1", name).host
    found = None if target is None else address(target)
    assert reach(host(pattern), asked if isinstance(asked, str) else None, found) is reached


def test_a_line_that_matches_misses_nothing() -> None:
    line = rule("permit 10.0.0.0/8 192.0.2.0/24", port="eq 80", user="fred")
    assert mismatches(line, EXAMPLE, USERS) == ()


def test_each_field_that_does_not_match_is_named_in_the_order_of_the_line() -> None:
    line = rule(
        "permit 11.0.0.0/8",
        port="eq 81",
        user="joe",
        options=Options(frozenset({"password"}), frozenset({"bind"}), (Hours(frozenset({1}), 0, 60),)),
    )
    every = (Field.USER, Field.SOURCE, Field.PORT, Field.AUTH, Field.METHOD, Field.HOURS)
    assert mismatches(line, EXAMPLE, USERS) == every
    right = EXAMPLE._replace(user="joe", port=81, method=Method.PASSWORD, command=Command.BIND, minute=1440)
    assert mismatches(line, right, USERS) == (Field.SOURCE,)


def test_the_first_match_passes_over_report_lines() -> None:
    lines = file(rule("deny ALL", options=Options(report=True)), rule("permit ALL"), rule("deny ALL")).rules
    assert first_match(lines, EXAMPLE, address("192.0.2.1"), USERS) is lines[1]
    assert first_match(lines[:1], EXAMPLE, address("192.0.2.1"), USERS) is None


def test_a_name_that_leads_to_an_address_is_matched_by_either() -> None:
    lines = file(rule("deny ALL 192.0.2.1"), rule("permit ALL example.com")).rules
    asked = question("10.0.0.1", "example.com")
    assert first_match(lines, asked, address("192.0.2.1"), USERS) is lines[0]
    assert first_match(lines, asked, address("192.0.2.2"), USERS) is lines[1]


def test_a_request_by_name_address_and_guard() -> None:
    lines = file(rule("deny ALL evil.example"), rule("permit ALL")).rules
    policy = LinearPolicy(lines, Guard(), USERS)
    assert policy.decide(question("10.0.0.1", "evil.example")).reason == "denied by sockd.conf:1"
    asked = question("10.0.0.1", "good.example")
    assert policy.decide(asked).result is Result.RESOLVE
    assert policy.decide_address(asked, address("192.0.2.1")).result is Result.PERMIT
    assert policy.decide_address(asked, address("127.0.0.1")).reason.startswith("guard: 127.0.0.1 is loopback")
    assert policy.decide_address(asked, address("64:ff9b::127.0.0.1")).reason.endswith("within 64:ff9b::7f00:1")


def test_could_permit_tries_every_user_and_a_stranger() -> None:
    named = LinearPolicy(file(rule("permit ALL", user="/etc/good")).rules, Guard(), USERS)
    strange = LinearPolicy(file(rule("deny ALL", user="/etc/good"), rule("permit ALL")).rules, Guard(), USERS)
    nobody = LinearPolicy(file(rule("permit ALL", user="/etc/empty")).rules, Guard(), USERS)
    assert [policy.could_permit(EXAMPLE) for policy in (named, strange, nobody)] == [True, True, False]
