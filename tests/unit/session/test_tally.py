"""What sessions count: each once, at its end, by the line that decided and by how it ended."""

import errno

import pytest

from gateway.session.record import Result
from gateway.session.tally import Tally, Use, Uses
from tests.support.playbook import (
    Abandoned,
    Connected,
    ConnectFailed,
    Ended,
    Event,
    LookupFailed,
    Playbook,
    Received,
    Resolved,
    TimedOut,
)
from tests.support.rawsocks import greeting, http, socks4, socks5

TWO = "deny ALL 192.0.2.0/24\npermit ALL ALL\n"
NAMED = socks5(b"www.example.com", 80)


def played(rules: str = TWO, **options: bool) -> tuple[Playbook, Tally, Uses]:
    play = Playbook(rules, **options)  # type: ignore[arg-type]
    context = play.session._context
    return play, context.tally, context.uses


def happen(play: Playbook, *events: Event) -> None:
    """All of it; what the session does then is not what is looked at here."""
    for event in events:
        event(play)


def counts(use: Use) -> tuple[int, int, int, int]:
    return use.relays, use.refusals, use.sent, use.received


def test_the_uses_of_a_line_that_nobody_knew_are_kept_all_the_same() -> None:
    uses = Uses()
    assert counts(uses["sockd.conf:9"]) == (0, 0, 0, 0)
    uses["sockd.conf:9"].relays += 1
    assert counts(uses["sockd.conf:9"]) == (1, 0, 0, 0)


def test_a_tally_knows_every_end_but_a_relay() -> None:
    assert set(Tally().ends) == {result.value for result in Result} - {"connected"}
    assert not any(Tally().ends.values())


def test_a_relay_counts_for_its_line_when_it_ends() -> None:
    play, tally, uses = played()
    happen(play, Received(socks4("203.0.113.9", 80)), Connected())
    assert tally.latest is play.session
    assert counts(play.session.use) == (0, 0, 0, 0)
    happen(play, Ended(10, 2000))
    assert counts(uses["sockd.conf:2"]) == (1, 0, 10, 2000)
    assert not any(tally.ends.values())


def test_two_relays_of_a_line_are_added_up() -> None:
    play, _, uses = played()
    happen(play, Received(socks4("203.0.113.9", 80)), Connected(), Ended(10, 2000))
    session = type(play.session)(
        play.session._context,
        play.notebook,
        play.session._source_address,
        "10.1.2.3:5",
    )
    play.session = session
    happen(play, Received(socks4("203.0.113.9", 80)), Connected(), Ended(1, 2))
    assert counts(uses["sockd.conf:2"]) == (2, 0, 11, 2002)


@pytest.mark.parametrize(
    ("request_", "label"),
    [
        pytest.param(socks4("192.0.2.1", 80), "sockd.conf:1", id="a line that denies"),
        pytest.param(http("192.0.2.1:80"), "sockd.conf:1", id="by HTTP"),
    ],
)
def test_a_refusal_counts_for_the_line_that_refused(request_: bytes, label: str) -> None:
    play, tally, uses = played()
    happen(play, Received(request_))
    assert counts(uses[label]) == (0, 1, 0, 0)
    assert tally.ends["refused"] == 1
    assert tally.latest is None


def test_what_no_line_matches_counts_for_no_line() -> None:
    play, tally, uses = played("permit 11.0.0.0/8 ALL\n")
    happen(play, Received(socks4("203.0.113.9", 80)))
    assert counts(uses[""]) == (0, 1, 0, 0)
    assert tally.ends["refused"] == 1


def test_who_made_no_request_used_no_line() -> None:
    for event, end in ((Received(b"\x07\x00"), "error"), (TimedOut(), "timed-out"), (Abandoned(), "error")):
        play, tally, uses = played()
        happen(play, event)
        assert tally.ends[end] == 1
        assert not uses


@pytest.mark.parametrize(
    ("event", "end"),
    [
        (ConnectFailed(errno.ECONNREFUSED), "failed"),
        (ConnectFailed(errno.ETIMEDOUT), "timed-out"),
        (TimedOut(), "timed-out"),
        (Abandoned(), "error"),
    ],
)
def test_what_was_permitted_and_not_connected_is_no_relay_of_its_line(event: Event, end: str) -> None:
    play, tally, uses = played()
    happen(play, Received(socks4("203.0.113.9", 80)), event)
    assert counts(uses["sockd.conf:2"]) == (0, 1, 0, 0)
    assert tally.ends[end] == 1


def test_a_name_counts_for_the_line_that_its_address_met() -> None:
    play, tally, uses = played()
    happen(play, Received(greeting(0)), Received(NAMED), Resolved("192.0.2.7"))
    assert counts(uses["sockd.conf:1"]) == (0, 1, 0, 0)
    assert tally.ends["refused"] == 1


def test_a_name_without_address_ends_once() -> None:
    play, tally, _ = played()
    happen(play, Received(greeting(0)), Received(NAMED), LookupFailed("says no"))
    assert sum(tally.ends.values()) == tally.ends["failed"] == 1
