"""The explanation of a decision: which line, which ones nearly, what the guard says."""

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given, settings

from gateway.address import Address, Name
from gateway.config.rules import AccessFile, AccessRule, HostPattern, Hours, Options
from gateway.policy.access import AccessPolicy
from gateway.policy.decision import Question, Result
from gateway.policy.destination import Guard
from gateway.policy.explain import NEAR, SHOWN, Explanation, Verdict, explain, host_words, minute_words, port_words
from gateway.wire.constants import Command, Method
from tests.support.rules import GUARD, USERS, address, file, files, host, question, questions, rule

ASKED = question("10.0.0.1", "192.0.2.1", 443, "fred", minute=870)


def no_look_up(name: Name) -> Sequence[Address]:
    raise AssertionError(f"{name} was looked up")


def explained(asked: Question, *rules: AccessRule, guard: Guard = Guard(), found: str = "") -> Explanation:  # noqa: B008
    policy = AccessPolicy.compile(file(*rules), guard, USERS)
    resolve = (lambda _name: [address(text) for text in found.split()]) if found else no_look_up
    return explain(policy, asked, resolve)


def only(explanation: Explanation) -> Verdict:
    """The verdict on the one address that was asked for."""
    (verdict,) = explanation.addresses
    return verdict


def misses(verdict: Verdict) -> list[tuple[int, tuple[str, ...]]]:
    return [(near.rule.place.line, near.misses) for near in verdict.near]


class TestNearMisses:
    @pytest.mark.parametrize(
        ("line", "why"),
        [
            pytest.param(rule("deny 10.0.0.0/8", user="joe"), "user 'fred' is not on its list", id="user"),
            pytest.param(rule("deny 11.0.0.0/8"), "source 10.0.0.1 is not in 11.0.0.0/8", id="source"),
            pytest.param(
                rule("deny 10.0.0.0/255.0.0.255"),
                "source 10.0.0.1 is not in 10.0.0.0 255.0.0.255",
                id="source with holes",
            ),
            pytest.param(
                rule("deny ALL 192.0.2.9/255.255.255.252"),
                "destination 192.0.2.1 is not in 192.0.2.8/30",
                id="destination",
            ),
            pytest.param(
                rule("deny ALL .example.com"),
                "the request has the address 192.0.2.1, not the name .example.com",
                id="destination by name",
            ),
            pytest.param(rule("deny ALL", port="in 80,8000-8080"), "port 443 is not in 80,8000-8080", id="port"),
            pytest.param(
                rule("deny ALL", options=Options(auth=frozenset({"password", "gssapi"}))),
                "it wants auth=gssapi,password, the client has auth=none",
                id="auth",
            ),
            pytest.param(
                rule("deny ALL", options=Options(method=frozenset({"bind"}))),
                "it is for method=bind, the request is connect",
                id="method",
            ),
            pytest.param(
                rule("deny ALL", options=Options(hours=(Hours(frozenset({0}), 0, 870),))),
                "Mon 14:30 is not in its hours",
                id="hours",
            ),
        ],
    )
    def test_the_field_that_did_not_match(self, line: AccessRule, why: str) -> None:
        assert misses(only(explained(ASKED, line, rule("permit ALL")))) == [(1, (why,))]

    def test_a_client_without_user_is_told_so(self) -> None:
        verdict = only(explained(ASKED._replace(user=""), rule("deny ALL", user="joe"), rule("permit ALL")))
        assert misses(verdict) == [(1, ("the client gave no user",))]

    def test_two_fields_are_near_in_the_order_of_the_line_and_three_are_not(self) -> None:
        two = rule("deny 11.0.0.0/8", user="joe")
        three = rule("deny 11.0.0.0/8", user="joe", port="eq 80")
        verdict = only(explained(ASKED, three, two, rule("permit ALL")))
        wanted = ("user 'fred' is not on its list", "source 10.0.0.1 is not in 11.0.0.0/8")
        assert misses(verdict) == [(2, wanted)]

    def test_lines_after_the_deciding_one_are_not_told(self) -> None:
        verdict = only(explained(ASKED, rule("permit ALL"), rule("deny 11.0.0.0/8")))
        assert (verdict.decision.reason, verdict.near) == ("permitted by sockd.conf:1", ())

    def test_without_a_deciding_line_all_lines_are_considered(self) -> None:
        verdict = only(explained(ASKED, rule("deny 11.0.0.0/8"), rule("permit ALL", port="eq 80")))
        assert verdict.decision.reason == "no line matches"
        assert [line for line, _ in misses(verdict)] == [1, 2]

    def test_the_nearest_are_shown_and_the_rest_is_counted(self) -> None:
        far = [rule("deny 11.0.0.0/8", port="eq 80")] * 5
        near = [rule("deny 11.0.0.0/8")] * (SHOWN - 1)
        verdict = only(explained(ASKED, *far, *near, rule("permit ALL")))
        assert [line for line, _ in misses(verdict)] == [1, *range(6, 6 + SHOWN - 1)]
        assert verdict.more == 4

    def test_a_report_line_that_matched_is_told_with_the_decision(self) -> None:
        verdict = only(explained(ASKED, rule("deny ALL", options=Options(report=True)), rule("permit ALL")))
        assert verdict.near == ()
        assert verdict.decision.would_deny is not None


class TestNames:
    ASKED = ASKED._replace(host=Name("www.example.com"))

    def test_a_name_that_is_refused_is_not_looked_up(self) -> None:
        found = explained(self.ASKED, rule("deny ALL .example.net"), rule("deny ALL .example.com"), rule("permit ALL"))
        assert found.name is not None
        assert found.name.decision.reason == "denied by sockd.conf:2"
        assert misses(found.name) == [(1, ("www.example.com is not .example.net",))]
        assert (found.addresses, found.result) == ((), Result.DENY)

    def test_each_address_has_its_own_verdict_and_one_permitted_is_enough(self) -> None:
        lines = rule("deny ALL 10.0.0.0/8"), rule("permit ALL")
        found = explained(self.ASKED, *lines, found="10.0.0.1 192.0.2.1")
        assert found.name is not None
        assert found.name.decision.result is Result.RESOLVE
        assert [str(verdict.address) for verdict in found.addresses] == ["10.0.0.1", "192.0.2.1"]
        assert [verdict.decision.result for verdict in found.addresses] == [Result.DENY, Result.PERMIT]
        assert found.result is Result.PERMIT

    def test_no_permitted_address_is_a_denial(self) -> None:
        found = explained(self.ASKED, rule("deny ALL 10.0.0.0/8"), rule("permit ALL"), found="10.0.0.1 10.0.0.2")
        assert found.result is Result.DENY

    def test_a_line_by_address_in_a_refused_name_waits_for_the_look_up(self) -> None:
        found = explained(self.ASKED, rule("deny ALL 10.0.0.0/8"), rule("permit ALL 10.1.0.0/16"))
        assert found.name is not None
        assert misses(found.name) == [
            (1, ("whether www.example.com is in 10.0.0.0/8 shows only when it is looked up",)),
            (2, ("whether www.example.com is in 10.1.0.0/16 shows only when it is looked up",)),
        ]


class TestTheGuardInWords:
    @pytest.mark.parametrize(
        ("line", "target", "words"),
        [
            pytest.param("permit ALL", "192.0.2.9", "192.0.2.9 is not guarded", id="not guarded"),
            pytest.param("permit ALL", "127.0.0.1", "refuses what sockd.conf:1 permits", id="refused"),
            pytest.param(
                "permit ALL 127.0.0.0/8", "127.0.0.1", "127.0.0.1 is loopback, and sockd.conf:1 names it", id="named"
            ),
            pytest.param(
                "permit ALL 10.0.0.0/8", "10.0.0.9", "10.0.0.9 is on the inside, and sockd.conf:1 names it", id="inside"
            ),
            pytest.param("deny ALL", "127.0.0.1", "not asked, as no line permits", id="denied anyway"),
            pytest.param("permit 11.0.0.0/8", "127.0.0.1", "not asked, as no line permits", id="no match"),
            pytest.param(
                "permit ALL",
                "2002:c000:209::",
                "2002:c000:209:: is not guarded; 192.0.2.9 is not guarded",
                id="both of an embedding",
            ),
        ],
    )
    def test_the_verdict(self, line: str, target: str, words: str) -> None:
        asked = ASKED._replace(host=address(target))
        assert only(explained(asked, rule(line), guard=GUARD)).guard == words

    def test_a_refused_host_within_another_is_what_the_near_misses_are_about(self) -> None:
        asked = ASKED._replace(host=address("64:ff9b::10.0.0.1"))
        lines = rule("deny ALL 10.9.0.0/16"), rule("deny ALL 10.0.0.0/16"), rule("permit ALL")
        verdict = only(explained(asked, *lines))
        assert verdict.decision.reason == "denied by sockd.conf:2, for 10.0.0.1 within 64:ff9b::a00:1"
        assert misses(verdict) == [(1, ("destination 10.0.0.1 is not in 10.9.0.0/16",))]


@given(files, questions)
@settings(max_examples=100, deadline=None)
def test_the_verdict_is_always_the_policys_own(rules: AccessFile, asked: Question) -> None:
    policy = AccessPolicy.compile(rules, GUARD, USERS)
    targets = [address("192.0.2.9"), address("127.0.0.1")]
    found = explain(policy, asked, lambda _name: targets)
    for verdict in found.addresses:
        assert verdict.address is not None
        assert verdict.decision == policy.decide_address(asked, verdict.address)
        assert all(0 < len(near.misses) <= NEAR for near in verdict.near)
    permitted = [verdict.decision.result is Result.PERMIT for verdict in found.addresses]
    assert (found.result is Result.PERMIT) == any(permitted)
    if found.name is not None:
        assert found.name.decision == policy.decide(asked)
        assert len(found.addresses) == (2 if found.name.decision.result is Result.RESOLVE else 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ALL", "ALL"),
        ("10.9.9.9/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("10.0.0.1/255.0.0.255", "10.0.0.1 255.0.0.255"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("example.com", "example.com"),
        (".example.com", ".example.com"),
    ],
)
def test_patterns_in_words(text: str, words: str) -> None:
    pattern = host(text)
    assert isinstance(pattern, get_args(HostPattern))
    assert host_words(pattern) == words


def test_ports_and_minutes_in_words() -> None:
    assert port_words(rule("permit ALL")) == "any"
    assert port_words(rule("permit ALL", port="neq 80")) == "neq 80"
    assert [minute_words(minute) for minute in (0, 870, 10079)] == ["Mon 00:00", "Mon 14:30", "Sun 23:59"]


def test_command_and_method_are_told_as_they_are_written() -> None:
    asked = ASKED._replace(command=Command.UDP_ASSOCIATE, method=Method.PASSWORD)
    lines = (
        rule("deny ALL", options=Options(method=frozenset({"connect", "bind"}))),
        rule("deny ALL", options=Options(auth=frozenset({"none"}))),
        rule("permit ALL"),
    )
    assert [why for _, (why,) in misses(only(explained(asked, *lines)))] == [
        "it is for method=bind,connect, the request is udp",
        "it wants auth=none, the client has auth=password",
    ]
