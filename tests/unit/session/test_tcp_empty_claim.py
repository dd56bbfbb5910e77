"""Ident when the client named no user: what it did not claim can not be false; SOCKS4 always claims, even nothing."""

import base64

import pytest

from gateway.config.rules import IdentLevel
from gateway.session.record import Result
from tests.support.playbook import (
    Answered,
    AskedPassword,
    Closed,
    IdentAnswered,
    Noted,
    PasswordChecked,
    Playbook,
    Ran,
    Received,
    Sent,
    Starting,
    asked_ident,
    dialled,
    recorded,
)
from tests.support.rawsocks import greeting, http, password, socks4, socks5

TARGET = "203.0.113.9"
HERE = f"{TARGET}:80"
COMMANDS = ": /bin/own %u %U\n#NO_IDENTD: /bin/noidentd %u %U\n#BAD_ID: /bin/badid %u %U\n"
LEVELS = pytest.mark.parametrize("level", ["?=i", "?=I"])
NO_IDENTD, MISMATCH = bytes((0, 92, 0, 0, 0, 0, 0, 0)), bytes((0, 93, 0, 0, 0, 0, 0, 0))
REFUSED5 = bytes((5, 2, 0, 1, 0, 0, 0, 0, 0, 0))


def lines(level: str) -> str:
    return f"permit {level} ALL ALL {COMMANDS}"


def asked(protocol: str, level: str, ident: IdentLevel = IdentLevel.OFF) -> Playbook:
    """A client without a user, whose identd is asked."""
    play = Playbook(lines(level), ident=ident)
    if protocol == "SOCKS5":
        play = play >> Received(greeting(0)) << Sent(b"\x05\x00") >> Received(socks5(TARGET, 80))
    else:
        play = play >> Received(http(HERE))
    return play << asked_ident(HERE)


@LEVELS
@pytest.mark.parametrize("protocol", ["SOCKS5", "HTTP"])
def test_who_named_no_user_is_served_whoever_identd_says_it_is(protocol: str, level: str) -> None:
    """Identd's word is in the line's own command; the one for false names does not run."""
    assert asked(protocol, level) >> IdentAnswered("mallory") << Ran("/bin/own  mallory") << dialled(HERE)


@pytest.mark.parametrize("protocol", ["SOCKS5", "HTTP"])
@pytest.mark.parametrize("ident", [IdentLevel.LENIENT, IdentLevel.STRICT])
def test_the_same_when_the_command_line_asks_for_ident(protocol: str, ident: IdentLevel) -> None:
    assert asked(protocol, "", ident) >> IdentAnswered("mallory") << Ran("/bin/own  mallory") << dialled(HERE)


def test_who_named_no_user_and_has_no_identd_is_refused_when_strict() -> None:
    refused = f"refused -- Connect from (unknown)@10.1.2.3 to {TARGET} (http)"
    fact = "cannot connect to identd on 10.1.2.3"
    for protocol, answer in (("SOCKS5", Sent(REFUSED5)), ("HTTP", Answered(403))):
        assert (
            asked(protocol, "?=I")
            >> IdentAnswered(None)
            << Ran("/bin/noidentd  unknown")
            << Noted(refused)
            << answer
            << Noted(fact)
            << recorded(result=Result.REFUSED, end=fact, user="")
            << Closed()
        )


def test_who_named_no_user_and_has_no_identd_is_served_when_lenient() -> None:
    for protocol in ("SOCKS5", "HTTP"):
        assert (
            asked(protocol, "?=i")
            >> IdentAnswered(None)
            << Ran("/bin/noidentd  unknown")
            << Noted("cannot connect to identd on 10.1.2.3")
            << Ran("/bin/own  unknown")
            << dialled(HERE)
        )


@LEVELS
def test_an_empty_user_id_of_socks4_is_a_claim_and_false(level: str) -> None:
    assert (
        Playbook(lines(level))
        >> Received(socks4(TARGET, 80))
        << asked_ident(HERE)
        >> IdentAnswered("mallory")
        << Ran("/bin/badid  mallory")
        << Noted(f"refused -- Connect from (mallory)@10.1.2.3 to {TARGET} (http)")
        << Sent(MISMATCH)
        << Starting("*Alert*: real user is mallory, not ")
        << recorded(result=Result.REFUSED)
        << Closed()
    )


@LEVELS
def test_a_user_who_was_named_is_compared_in_every_protocol(level: str) -> None:
    """A right password does not make it another's connection."""
    credentials = base64.b64encode(b"fred:geheim").decode()
    five = (
        Playbook(lines(level), passwords=True)
        >> Received(greeting(2))
        << Sent(b"\x05\x02")
        >> Received(password(b"fred", b"geheim"))
        << AskedPassword(b"fred", b"geheim")
        >> PasswordChecked(True)
        << Sent(b"\x01\x00")
        >> Received(socks5(TARGET, 80))
    )
    web = (
        Playbook(lines(level), passwords=True)
        >> Received(http(HERE, f"Proxy-Authorization: Basic {credentials}"))
        << AskedPassword(b"fred", b"geheim")
        >> PasswordChecked(True)
    )
    for play, answer in ((five, Sent(REFUSED5)), (web, Answered(403))):
        assert (
            play
            << asked_ident(HERE)
            >> IdentAnswered("mallory")
            << Ran("/bin/badid fred mallory")
            << Starting("refused -- ")
            << answer
            << Noted("*Alert*: real user is mallory, not fred")
            << recorded(result=Result.REFUSED, user="fred")
            << Closed()
        )
