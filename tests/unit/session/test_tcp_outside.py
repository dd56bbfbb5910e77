"""Looks at a session from outside: what is known of it so far, its title, and what other rules would say."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.config.rules import IdentLevel
from gateway.policy.access import AccessPolicy
from gateway.policy.command import Job
from gateway.policy.destination import Guard
from gateway.session.context import Context
from gateway.session.record import Result
from gateway.session.tcp import Session
from tests.support.playbook import (
    BOUND,
    Connected,
    Ended,
    Event,
    IdentAnswered,
    Playbook,
    Received,
    Resolved,
    TimedOut,
    parsed,
)
from tests.support.rawsocks import BIND, greeting, http, password, socks4, socks4a, socks5
from tests.support.rules import Users, address

TARGET = "203.0.113.9"
ALL = "permit ALL ALL\n"
BY_NAME = (Received(greeting(0)), Received(socks5(b"Www.Example.com", 80)), Resolved(TARGET), Connected())


def played(*events: Event, **options: Any) -> Playbook:
    """A session to which all of this has happened."""
    play = Playbook(options.pop("rules", ALL), **options)
    for event in events:
        event(play)
    return play


def other(session: Session, rules: str, **values: Any) -> Context:
    """What it shares with others, by other rules."""
    users, guard = values.pop("users", Users()), values.pop("guard", Guard())
    return replace(session._context, policy=AccessPolicy.compile(parsed(rules), guard, users), **values)


def refusal(play: Playbook, rules: str, **values: Any) -> str:
    return play.session.refusal_by(other(play.session, rules, **values))


# What is known so far


def test_of_who_has_said_nothing_the_client_is_known() -> None:
    found = played().session.snapshot()
    assert (found.client, found.protocol, found.command, found.host, found.port) == ("10.1.2.3:40000",) + (None,) * 4
    assert (found.user, found.rule, found.sent, found.received, found.end) == ("", None, 0, 0, "")


def test_a_greeting_tells_the_protocol() -> None:
    assert played(Received(greeting(0))).session.snapshot().protocol == "socks5"
    assert played(Received(greeting(0)[:1])).session.snapshot().protocol == "socks5"
    assert played(Received(b"CONNECT ")).session.snapshot().protocol == "http"


def test_a_name_is_known_before_its_address() -> None:
    looking = played(Received(greeting(0)), Received(socks5(b"Www.Example.com", 80))).session.snapshot()
    assert (looking.host, looking.port, looking.address, looking.egress) == ("www.example.com", 80, None, None)
    dialling = played(*BY_NAME[:-1]).session.snapshot()
    assert (dialling.rule, dialling.address) == ("sockd.conf:1", None)


def test_a_relay_is_known_whole_with_the_bytes_that_are_handed_in() -> None:
    play = played(*BY_NAME)
    play.now += 2.5
    found = play.session.snapshot(3, 4)
    assert (found.host, found.address, found.egress, found.rule) == ("www.example.com", TARGET, BOUND, "sockd.conf:1")
    assert (found.sent, found.received, found.seconds) == (3, 4, 2.5)


def test_a_look_changes_nothing() -> None:
    play = played(*BY_NAME)
    before = list(play.notebook.done)
    play.session.snapshot(1, 2)
    play.session.title()
    refusal(play, "deny ALL ALL\n")
    assert play.notebook.done == before
    Ended(5, 6)(play)
    record = play.notebook.records[-1]
    assert (record.sent, record.received, record.result) == (5, 6, Result.CONNECTED)


# The title


@pytest.mark.parametrize(
    ("request_", "title"),
    [
        pytest.param(socks4(TARGET, 23, b"fred"), f"fred: telnet(c) to {TARGET}", id="a user and a service"),
        pytest.param(socks4(TARGET, 23), f"telnet(c) to {TARGET}", id="no user"),
        pytest.param(socks4(TARGET, 4444), f"4444(c) to {TARGET}", id="a port that has no name"),
        pytest.param(socks4(TARGET, 23, b"a\x1b[2J\xff\n"), rf"a\x1b[2J\xff\x0a: telnet(c) to {TARGET}", id="bytes"),
        pytest.param(socks4(TARGET, 23, command=BIND), f"telnet(b) to {TARGET}", id="BIND"),
    ],
)
def test_titles_are_in_the_originals_words(request_: bytes, title: str) -> None:
    assert played(Received(request_)).session.title() == title


def test_a_title_has_the_name_that_was_asked_for() -> None:
    assert played(*BY_NAME).session.title() == "http(c) to www.example.com"


# What other rules say


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (ALL, ""),
        ("permit 10.0.0.0/8 203.0.113.0/24\n", ""),
        ("permit 10.0.0.0/8 203.0.113.9/32 eq 80\n", ""),
        ("permit 10.0.0.0/8 203.0.113.9/32 eq 81\ndeny ALL ALL\n", "denied by sockd.conf:2"),
        ("deny ALL 203.0.113.0/24\npermit ALL ALL\n", "denied by sockd.conf:1"),
        ("deny 10.1.2.3/32 ALL\npermit ALL ALL\n", "denied by sockd.conf:1"),
        ("permit 10.1.2.4/32 ALL\n", "no line matches"),
        ("", "no line matches"),
    ],
)
def test_an_address_is_judged_as_it_was_asked_for(rules: str, reason: str) -> None:
    play = played(Received(socks4(TARGET, 80)), Connected())
    found = refusal(play, rules)
    assert found == reason or (reason == "no line matches" and found)


@pytest.mark.parametrize(
    ("rules", "denied"),
    [
        pytest.param("deny ALL example.com\npermit ALL ALL\n", False, id="another name"),
        pytest.param("deny ALL www.example.com\npermit ALL ALL\n", True, id="by its name"),
        pytest.param("deny ALL .example.com\npermit ALL ALL\n", True, id="by a name above it"),
        pytest.param("deny ALL 203.0.113.0/24\npermit ALL ALL\n", True, id="by its address"),
        pytest.param("permit ALL www.example.com\n", False, id="permitted by its name alone"),
        pytest.param("permit ALL 203.0.113.9/32\n", False, id="permitted by its address alone"),
        pytest.param("permit ALL 203.0.113.8/32\n", True, id="permitted for another address"),
    ],
)
def test_a_name_is_judged_by_itself_and_by_the_address_that_it_led_to(rules: str, denied: bool) -> None:
    assert bool(refusal(played(*BY_NAME), rules)) is denied


def test_of_several_addresses_the_one_counts_that_is_connected_to() -> None:
    events = (Received(greeting(0)), Received(socks5(b"www.example.com", 80)), Resolved("192.0.2.1", TARGET))
    play = played(*events, Connected(TARGET))
    assert refusal(play, "deny ALL 192.0.2.1/32\npermit ALL ALL\n") == ""
    assert refusal(play, "deny ALL 203.0.113.9/32\npermit ALL ALL\n") == "denied by sockd.conf:1"


def test_while_a_name_is_being_connected_to_one_address_that_is_permitted_is_enough() -> None:
    play = played(Received(greeting(0)), Received(socks5(b"www.example.com", 80)), Resolved("192.0.2.1", TARGET))
    assert refusal(play, ALL) == ""
    assert refusal(play, "deny ALL 192.0.2.1/32\npermit ALL ALL\n") == ""
    assert refusal(play, "deny ALL 192.0.2.1/32\ndeny ALL 203.0.113.9/32\npermit ALL ALL\n")
    assert refusal(play, "deny ALL www.example.com\npermit ALL ALL\n") == "denied by sockd.conf:1"


@pytest.mark.parametrize(
    ("host", "denying", "passing"),
    [
        pytest.param("2001:db8::9", "2001:db8::/32", "2001:db9::/32", id="IPv6"),
        pytest.param("::ffff:203.0.113.9", "203.0.113.9/32", "203.0.113.8/32", id="an IPv4 address mapped into IPv6"),
        pytest.param("203.0.113.9", "203.0.113.0/24", "2001:db8::/32", id="IPv4"),
    ],
)
def test_addresses_of_all_kinds(host: str, denying: str, passing: str) -> None:
    play = played(Received(greeting(0)), Received(socks5(host, 80)), Connected())
    assert refusal(play, f"deny ALL {denying}\npermit ALL ALL\n") == "denied by sockd.conf:1"
    assert refusal(play, f"deny ALL {passing}\npermit ALL ALL\n") == ""


def test_an_address_that_came_as_a_name_is_an_address() -> None:
    for request_ in ((Received(socks4a(b"203.0.113.9", 80)),), (Received(http("203.0.113.9:80")),)):
        play = played(*request_, Connected())
        assert refusal(play, "deny ALL 203.0.113.9/32\npermit ALL ALL\n") == "denied by sockd.conf:1"
        assert refusal(play, "permit ALL 203.0.113.9/32\n") == ""


@pytest.mark.parametrize(
    ("user", "rules", "denied"),
    [
        pytest.param(b"fred", "deny *=fred ALL ALL\npermit ALL ALL\n", True, id="the user"),
        pytest.param(b"julie", "deny *=fred ALL ALL\npermit ALL ALL\n", False, id="another one"),
        pytest.param(b"", "permit *=fred ALL ALL\n", True, id="no user"),
        pytest.param(b"\xff\xfe", "permit *=fred ALL ALL\n", True, id="a user that is no UTF-8"),
        pytest.param(b"\xff\xfe", "deny *=fred ALL ALL\npermit ALL ALL\n", False, id="the same, and nobody's line"),
        pytest.param("j\u00fcrgen".encode(), "permit *=j\u00fcrgen ALL ALL\n", False, id="letters beyond ASCII"),
        pytest.param("j\u00fcrgen".encode("latin-1"), "permit *=j\u00fcrgen ALL ALL\n", True, id="in another encoding"),
    ],
)
def test_users_are_those_that_the_client_gave(user: bytes, rules: str, denied: bool) -> None:
    assert bool(refusal(played(Received(socks4(TARGET, 80, user)), Connected()), rules)) is denied


def test_who_was_let_in_by_a_password_still_is() -> None:
    play = played(Received(greeting(2)), passwords=True)
    Received(password(b"fred", b"secret"))(play)
    play.session.password_checked(True)
    Received(socks5(TARGET, 80))(play)
    Connected()(play)
    assert refusal(play, "permit ALL ALL auth=password\n") == ""
    without = played(Received(greeting(0)), Received(socks5(TARGET, 80)), Connected())
    assert refusal(without, "permit ALL ALL auth=password\n") != ""


def test_the_time_of_the_look_counts() -> None:
    play = played(Received(socks4(TARGET, 80)), Connected())
    rules = "permit ALL ALL hours=Mon/08:00-18:00\n"
    assert refusal(play, rules, minute=lambda: 9 * 60) == ""
    assert refusal(play, rules, minute=lambda: 19 * 60) != ""


def test_a_way_out_is_no_matter_of_permission() -> None:
    """Live sessions stay where they are; another ``via=`` is for the next ones."""
    play = played(Received(socks4(TARGET, 80)), Connected())
    policy = AccessPolicy.compile(parsed("permit ALL ALL via=wan2\n"), Guard(), Users(), multihomed=True)
    assert play.session.refusal_by(replace(play.session._context, policy=policy)) == ""


def test_what_the_host_guards_counts() -> None:
    play = played(Received(socks4(TARGET, 80)), Connected())
    assert refusal(play, ALL, guard=Guard(frozenset((address(TARGET),)), ()))
    assert not refusal(play, ALL, guard=Guard(frozenset((address("203.0.113.8"),)), ()))


# Other rules before the request


def test_who_has_not_asked_yet_meets_other_rules() -> None:
    play = played(Received(greeting(0)))
    play.session.adopt(other(play.session, "deny ALL ALL\n"))
    Received(socks5(TARGET, 80))(play)
    assert play.notebook.records[-1].rule == "sockd.conf:1"
    assert play.notebook.records[-1].result is Result.REFUSED


def test_a_name_whose_addresses_are_still_looked_up_meets_other_rules() -> None:
    play = played(*BY_NAME[:1])
    play.session.adopt(other(play.session, "deny ALL ALL\n"))
    for event in BY_NAME[1:2]:
        event(play)
    assert play.notebook.records[-1].result is Result.REFUSED


def test_who_waits_for_the_addresses_of_a_name_meets_other_rules() -> None:
    play = played(*BY_NAME[:2])
    play.session.adopt(other(play.session, "deny ALL 203.0.113.0/24\npermit ALL ALL\n"))
    Resolved(TARGET)(play)
    assert play.notebook.records[-1].rule == "sockd.conf:1"
    assert play.notebook.records[-1].result is Result.REFUSED


@pytest.mark.parametrize("state", ["dialling", "relaying", "ended"])
def test_what_is_decided_stays_so(state: str) -> None:
    events = {
        "dialling": BY_NAME[:3],
        "relaying": BY_NAME,
        "ended": (*BY_NAME[:3], TimedOut()),
    }[state]
    play = played(*events)
    before = play.session._context
    play.session.adopt(other(play.session, "deny ALL ALL\n"))
    assert play.session._context is before


def test_a_command_is_that_of_the_rules_that_decided_though_others_rule_when_it_is_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = played(rules="permit ALL ALL : echo first\n", ident=IdentLevel.LENIENT)
    jobs: list[Job] = []
    monkeypatch.setattr(play.notebook, "run_command", jobs.append)
    play.session.adopt(replace(play.session._context, ruling=1))
    Received(socks4(TARGET, 80, b"fred"))(play)
    play.session.adopt(other(play.session, "permit ALL ALL : echo second\n", ruling=2))
    IdentAnswered("fred")(play)
    assert [(job.ruling, job.origin, job.command) for job in jobs] == [(1, "sockd.conf:1", "echo first")]
