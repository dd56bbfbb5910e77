"""The sets of a block, read by position."""

from gateway.address import canonical_name
from gateway.config.rules import Options, UserGroup, UserName
from gateway.policy.block import Block, positions
from tests.support.rules import address, file, question, rule

REPORT = Options(report=True)


def test_positions_come_with_the_first_rule_first() -> None:
    assert list(positions(0b101001)) == [6, 4, 1]
    assert list(positions(0)) == []


def test_the_first_rule_has_the_highest_position() -> None:
    block = Block(file(rule("deny 10.0.0.0/8"), rule("permit ALL")).rules)
    bits = block.request(question("10.0.0.1", "192.0.2.1"))
    assert bits == 0b11
    assert block.decisions[bits.bit_length()].reason == "denied by sockd.conf:1"


def test_a_report_line_counts_only_before_the_decision() -> None:
    lines = file(
        rule("deny ALL 10.0.0.0/8", options=REPORT), rule("permit ALL"), rule("deny ALL", options=REPORT)
    ).rules
    block = Block(lines)
    assert block.first_report(0b110) is lines[0]
    assert block.first_report(0b011) is None
    assert block.first_report(0b001) is lines[2]
    assert block.first_report(0) is None


def test_users_are_taken_over_when_they_change() -> None:
    lines = file(rule("permit ALL", user="@staff"), rule("permit ALL")).rules
    block = Block(lines)
    asked = question("10.0.0.1", "192.0.2.1", user="fred")
    block.set_users({UserGroup("staff"): frozenset({"fred"})})
    assert block.request(asked) == 0b11
    block.set_users({UserGroup("staff"): frozenset()})
    assert block.request(asked) == 0b01


def test_the_rules_of_a_user_are_those_that_name_it_and_those_for_everybody() -> None:
    block = Block(file(rule("permit ALL", user="@staff,joe"), rule("permit ALL")).rules)
    block.set_users({UserGroup("staff"): frozenset({"fred"}), UserName("joe"): frozenset({"joe"})})
    assert set(block.users) == {"fred", "joe"}
    assert [block.rules_of(user) for user in ("fred", "joe", "ann", "")] == [0b11, 0b11, 0b01, 0b01]


def test_permits_for_anybody_are_those_that_match_and_those_that_may() -> None:
    lines = rule("permit ALL example.com", user="fred"), rule("permit ALL 10.0.0.0/8"), rule("deny ALL")
    block = Block(file(*lines).rules)
    asked = question("10.0.0.1", "example.com")
    assert block.permits_for_anybody(asked, None, canonical_name("example.com")) == 0b110
    assert block.permits_for_anybody(asked, None, canonical_name("example.net")) == 0b010
    assert block.permits_for_anybody(asked, address("10.0.0.9"), None) == 0b010
