"""The sets of a block, read by position."""

from gateway.config.rules import Options
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
    block.set_users({lines[0].users: frozenset({"fred"})})
    assert block.request(asked) == 0b11
    block.set_users({lines[0].users: frozenset()})
    assert block.request(asked) == 0b01


def test_for_anybody_tells_what_is_certain_from_what_is_possible() -> None:
    block = Block(file(rule("permit ALL example.com"), rule("permit ALL 10.0.0.0/8"), rule("deny ALL")).rules)
    asked = question("10.0.0.1", "example.com")
    assert block.for_anybody(asked, None, asked.host if isinstance(asked.host, str) else None) == (0b101, 0b111)
    assert block.for_anybody(asked, address("10.0.0.9"), None) == (0b011, 0b011)
