"""What a client's words and requests may cost the policy: the question for a password, and a backslash in a command."""

import time

import pytest

from gateway.policy.access import MAX_KINDS, AccessPolicy
from gateway.policy.command import Substitutions, expand, sanitised
from gateway.policy.decision import Decision, Question
from gateway.policy.destination import Guard
from tests.support.rules import USERS, file, question, rule

MANY = 16_000
ASKED = question("10.0.0.1", "192.0.2.1")


def for_users(count: int, host: str = "192.0.2.0/24") -> AccessPolicy:
    """One line for each user; each user is of a kind of its own."""
    lines = (rule(f"permit 10.0.0.0/8 {host}", user=f"u{number}") for number in range(count))
    return AccessPolicy.compile(file(*lines), Guard(), USERS)


@pytest.fixture(scope="module")
def many() -> AccessPolicy:
    return for_users(MANY)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """The questions that `AccessPolicy.decide` gets."""
    found: list[Question] = []
    plain = AccessPolicy.decide

    def decide(policy: AccessPolicy, one: Question) -> Decision:
        found.append(one)
        return plain(policy, one)

    monkeypatch.setattr(AccessPolicy, "decide", decide)
    return found


def test_lines_for_many_users_could_permit_and_few_of_them_are_asked_about(
    many: AccessPolicy, asked: list[Question]
) -> None:
    assert many.could_permit(ASKED)
    assert many.could_permit(question("10.0.0.1", "example.com"))
    assert len(asked) <= 2 * MAX_KINDS


def test_where_no_line_permits_nobody_is_asked_about(many: AccessPolicy, asked: list[Question]) -> None:
    assert not many.could_permit(question("10.0.0.1", "198.51.100.1"))
    assert not many.could_permit(question("11.0.0.1", "192.0.2.1"))
    assert asked == []


@pytest.mark.parametrize("count", [MAX_KINDS - 1, MAX_KINDS, MAX_KINDS + 1])
def test_up_to_the_limit_each_kind_is_asked_about_and_beyond_it_the_answer_is_yes(
    count: int, asked: list[Question]
) -> None:
    """A line before them denies everybody, so that only a closer look can say no."""
    lines = [rule("permit 10.0.0.0/8 192.0.2.0/24", user=f"u{number}") for number in range(count)]
    denied = AccessPolicy.compile(file(rule("deny ALL 192.0.2.0/24"), *lines), Guard(), USERS)
    assert denied.could_permit(ASKED) == (count > MAX_KINDS)
    assert len(asked) <= MAX_KINDS


def test_the_work_does_not_grow_with_the_number_of_users(many: AccessPolicy) -> None:
    """Eighty times the users may cost no more than twenty times the time: generous, but far from each in turn."""
    few = for_users(200)

    def cost(policy: AccessPolicy) -> float:
        times = []
        for _ in range(5):
            started = time.thread_time()
            for _ in range(10):
                assert policy.could_permit(ASKED)
            times.append(time.thread_time() - started)
        return min(times)

    assert cost(many) < 20 * cost(few)


# Backslashes


@pytest.mark.parametrize(
    ("value", "harmless"),
    [
        pytest.param("\\", "_", id="alone"),
        pytest.param("fred\\", "fred_", id="at the end, where it would take away the administrator's quote"),
        pytest.param("\\'", "__", id="before a quote"),
        pytest.param("DOMAIN\\fred", "DOMAIN_fred", id="a name of a domain"),
        pytest.param("a\\\\b", "a__b", id="two of them"),
        pytest.param("a/b", "a/b", id="a slash stays"),
    ],
)
def test_a_backslash_does_not_reach_the_shell(value: str, harmless: str) -> None:
    assert sanitised(value) == harmless


def test_a_backslash_at_the_end_of_a_name_does_not_take_away_the_quote_behind_it() -> None:
    values = Substitutions("h", "10.1.2.3", "connect", "1", "http", "80", "fred\\", "example.com", "192.0.2.1", "me\\")
    assert expand('mail -s "%u" "%U" root', values) == 'mail -s "fred_" "me_" root'


def test_the_administrators_own_backslash_stays() -> None:
    values = Substitutions("h", "10.1.2.3", "connect", "1", "http", "80", "fred", "example.com", "192.0.2.1")
    assert expand(r"printf '%u\n'", values) == r"printf 'fred\n'"
