"""The wording of reasons: what records and `sockctl explain` show at three in the morning."""

from gateway.policy.decision import NO_ADDRESS, NO_MATCH, Result, for_embedded, guarded, settled, undecided
from tests.support.rules import address, rule


def test_every_reason_names_its_line() -> None:
    permit, deny = rule("permit ALL"), rule("deny ALL")
    assert settled(permit) == (Result.PERMIT, permit, "permitted by sockd.conf:1", None)
    assert settled(deny) == (Result.DENY, deny, "denied by sockd.conf:1", None)
    assert undecided(permit) == (Result.RESOLVE, permit, "sockd.conf:1 could permit it, its addresses decide", None)


def test_the_guard_names_the_address_its_class_and_the_line_that_would_have_permitted() -> None:
    found = guarded(rule("permit ALL"), address("127.0.0.1"), "loopback")
    assert found.reason == "guard: 127.0.0.1 is loopback, and sockd.conf:1 does not name it"
    assert found.result is Result.DENY


def test_the_refusal_of_an_embedded_address_names_both() -> None:
    found = for_embedded(settled(rule("deny ALL")), address("10.0.0.1"), address("2002:a00:1::"))
    assert found.reason == "denied by sockd.conf:1, for 10.0.0.1 within 2002:a00:1::"


def test_what_no_line_matches_is_denied_without_a_line() -> None:
    assert NO_MATCH == (Result.DENY, None, "no line matches", None)
    assert NO_ADDRESS == (Result.DENY, None, "no line permits any address of this name", None)
