"""Who a session believes: the choice of method, RFC 1929, Basic credentials, and that nothing weakens a rule.

S1 and S3 of ``spec/field-cases.md``: a line that wants a password gets one on every way into the gateway, and no order
of messages leads around the check.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.session.record import Result
from gateway.session.tcp import State
from gateway.wire.auth import encode_basic
from gateway.wire.events import Credentials
from tests.support.playbook import (
    Answered,
    AskedPassword,
    Closed,
    Connected,
    Dialled,
    Ended,
    LookedUp,
    Noted,
    PasswordChecked,
    Playbook,
    Received,
    Relayed,
    Resolved,
    Sent,
    Starting,
    dialled,
    recorded,
)
from tests.support.rawsocks import greeting, http, password, socks4, socks4a, socks5

TARGET = "203.0.113.9"
HERE = f"{TARGET}:80"
NONE_CHOSEN, PASSWORD_CHOSEN, NOTHING_CHOSEN = b"\x05\x00", b"\x05\x02", b"\x05\xff"
RIGHT, WRONG = b"\x01\x00", b"\x01\x01"
PASSWORDS = {b"fred": b"geheim", b"julie": b"secret"}


def basic(user: bytes, secret: bytes) -> str:
    return "Proxy-Authorization: Basic " + encode_basic(Credentials(user, secret)).decode()


# The choice of a method


@pytest.mark.parametrize(
    ("offered", "with_file", "without_file"),
    [
        pytest.param((0,), NONE_CHOSEN, NONE_CHOSEN, id="only none"),
        pytest.param((2,), PASSWORD_CHOSEN, NOTHING_CHOSEN, id="only a password"),
        pytest.param((0, 2), PASSWORD_CHOSEN, NONE_CHOSEN, id="none and a password"),
        pytest.param((2, 0), PASSWORD_CHOSEN, NONE_CHOSEN, id="a password and none"),
        pytest.param((0, 1, 2), PASSWORD_CHOSEN, NONE_CHOSEN, id="as curl offers them"),
        pytest.param((1,), NOTHING_CHOSEN, NOTHING_CHOSEN, id="only GSSAPI"),
        pytest.param((0x80,), NOTHING_CHOSEN, NOTHING_CHOSEN, id="a private method"),
        pytest.param((0xFF,), NOTHING_CHOSEN, NOTHING_CHOSEN, id="the code for no method"),
        pytest.param((0xFF, 0), NONE_CHOSEN, NONE_CHOSEN, id="the code for no method, and none"),
        pytest.param(tuple(range(255)), PASSWORD_CHOSEN, NONE_CHOSEN, id="everything"),
        pytest.param((0,) * 255, NONE_CHOSEN, NONE_CHOSEN, id="none 255 times"),
    ],
)
def test_the_method_is_one_that_was_offered(offered: tuple[int, ...], with_file: bytes, without_file: bytes) -> None:
    for passwords, answer in ((True, with_file), (False, without_file)):
        play = Playbook(passwords=passwords) >> Received(greeting(*offered)) << Sent(answer)
        if answer == NOTHING_CHOSEN:
            play = play << Starting("error -- no acceptable method among ") << recorded(result=Result.REFUSED)
            play = play << Closed()
        assert play


# One user, one password


def right_by_rfc_1929(rules: str) -> Playbook:
    return (
        Playbook(rules, passwords=True)
        >> Received(greeting(0, 2))
        << Sent(PASSWORD_CHOSEN)
        >> Received(password(b"fred", b"geheim"))
        << AskedPassword(b"fred", b"geheim")
        >> PasswordChecked(True)
        << Sent(RIGHT)
    )


def test_a_right_password_by_rfc_1929() -> None:
    what = f"Connect from fred(unknown)@10.1.2.3 to {TARGET} (http)"
    assert (
        right_by_rfc_1929("permit *=fred ALL ALL auth=password\n")
        >> Received(socks5(TARGET, 80))
        << dialled(HERE)
        >> Connected()
        << Noted(f"connected -- {what}")
        << Sent(bytes((5, 0, 0, 1, 192, 0, 2, 254, 0x9C, 0x41)))
        << Relayed()
        >> Ended(1, 2)
        << Noted(f"terminated -- {what}.  1 bytes from 10.1.2.3, 2 bytes from {TARGET}")
        << recorded(user="fred", auth="password", protocol="socks5", result=Result.CONNECTED)
    )


def test_a_password_and_a_name_and_early_data_all_in_one_segment() -> None:
    everything = greeting(2) + password(b"fred", b"geheim") + socks5(b"example.com", 80) + b"early"
    assert (
        Playbook("permit ALL ALL auth=password\n", passwords=True)
        >> Received(everything)
        << Sent(PASSWORD_CHOSEN)
        << AskedPassword(b"fred", b"geheim")
        >> PasswordChecked(True)
        << Sent(RIGHT)
        << LookedUp("example.com")
    )


def test_a_wrong_password_by_rfc_1929() -> None:
    assert (
        Playbook(passwords=True)
        >> Received(greeting(0, 2))
        << Sent(PASSWORD_CHOSEN)
        >> Received(password(b"fred", b"Geheim"))
        << AskedPassword(b"fred", b"Geheim")
        >> PasswordChecked(False)
        << Sent(WRONG)
        << Noted("refused -- wrong password for fred from host 10.1.2.3")
        << recorded(user="fred", auth="none", result=Result.REFUSED, end="wrong password", host=None)
        << Closed()
    )


def test_what_was_sent_behind_a_wrong_password_is_not_looked_at() -> None:
    everything = greeting(2) + password(b"fred", b"x") + socks5(TARGET, 80)
    assert (
        Playbook(passwords=True)
        >> Received(everything)
        << Sent(PASSWORD_CHOSEN)
        << AskedPassword(b"fred", b"x")
        >> PasswordChecked(False)
        << Sent(WRONG)
        << Starting("refused -- wrong password")
        << recorded(result=Result.REFUSED)
        << Closed()
    )


def test_the_user_of_a_wrong_password_can_not_forge_a_line() -> None:
    play = Playbook(passwords=True)
    play.session.received(greeting(2) + password(b"x\r\nconnected -- (y)", b"x"))
    play.session.password_checked(False)
    assert play.notebook.lines == [
        r"refused -- wrong password for x\x0d\x0aconnected\x20--\x20\x28y\x29 from host 10.1.2.3"
    ]


# HTTP: 407 only where a password could help


ASKS = "permit *=fred ALL ALL auth=password\n"


@pytest.mark.parametrize(
    ("rules", "passwords", "status", "challenged"),
    [
        pytest.param(ASKS, True, 407, True, id="a line would permit somebody with a password"),
        pytest.param(ASKS, False, 403, False, id="there is no passwords file to check one"),
        pytest.param("deny ALL ALL\n" + ASKS, True, 403, False, id="a line before denies everybody"),
        pytest.param("deny ALL ALL auth=none\npermit ALL ALL\n", True, 407, True, id="only the unknown are denied"),
        pytest.param("permit ALL 198.51.100.0/24\n", True, 403, False, id="nobody may go there"),
        pytest.param("permit ALL ALL auth=gssapi\n", True, 403, False, id="a password is not what is wanted"),
        pytest.param("deny *=fred ALL ALL\n" + ASKS, True, 403, False, id="the only user is denied before"),
    ],
)
def test_a_challenge_is_sent_when_a_password_could_help(
    rules: str, passwords: bool, status: int, challenged: bool
) -> None:
    assert (
        Playbook(rules, passwords=passwords)
        >> Received(http(HERE))
        << Answered(status, challenged)
        << Starting("refused -- ")
        << recorded(protocol="http", user="", auth="none", host=TARGET, result=Result.REFUSED)
        << Closed()
    )


def test_a_name_is_challenged_before_it_is_looked_up() -> None:
    play = Playbook(ASKS, passwords=True) >> Received(http("www.example.com:80")) << Answered(407, True)
    assert play << Starting("refused -- ") << recorded(host="www.example.com") << Closed()


def test_a_name_whose_addresses_want_a_password_is_challenged_after_the_look_up() -> None:
    rules = "permit ALL 203.0.113.0/24\npermit ALL ALL auth=password\n"
    assert (
        Playbook(rules, passwords=True)
        >> Received(http("www.example.com:80"))
        << LookedUp("www.example.com")
        >> Resolved("198.51.100.1")
        << Answered(407, True)
        << Starting("refused -- ")
        << recorded(result=Result.REFUSED)
        << Closed()
    )


def test_right_credentials_by_http() -> None:
    assert (
        Playbook(ASKS, passwords=True)
        >> Received(http(HERE, basic(b"fred", b"geheim")))
        << AskedPassword(b"fred", b"geheim")
        >> PasswordChecked(True)
        << dialled(HERE)
        >> Connected()
        << Noted(f"connected -- Connect from fred(unknown)@10.1.2.3 to {TARGET} (http)")
        << Sent(b"HTTP/1.1 200 Connection established\r\n\r\n")
        << Relayed()
        >> Ended(0, 0)
        << Starting("terminated -- ")
        << recorded(user="fred", auth="password", protocol="http")
    )


def test_right_credentials_of_one_who_may_not_are_no_reason_to_ask_again() -> None:
    assert (
        Playbook(ASKS, passwords=True)
        >> Received(http(HERE, basic(b"julie", b"secret")))
        << AskedPassword(b"julie", b"secret")
        >> PasswordChecked(True)
        << Answered(403)
        << Noted(f"refused -- Connect from julie(unknown)@10.1.2.3 to {TARGET} (http)")
        << recorded(user="julie", auth="password", result=Result.REFUSED, reason="no line matches")
        << Closed()
    )


def test_wrong_credentials_by_http_are_challenged_again() -> None:
    assert (
        Playbook(ASKS, passwords=True)
        >> Received(http(HERE, basic(b"fred", b"x")))
        << AskedPassword(b"fred", b"x")
        >> PasswordChecked(False)
        << Answered(407, True)
        << Noted("refused -- wrong password for fred from host 10.1.2.3")
        << recorded(user="fred", auth="none", result=Result.REFUSED, end="wrong password")
        << Closed()
    )


def test_wrong_credentials_are_refused_where_none_are_needed() -> None:
    play = Playbook(passwords=True) >> Received(http(HERE, basic(b"fred", b"x"))) << AskedPassword(b"fred", b"x")
    play = play >> PasswordChecked(False) << Answered(407, True) << Starting("refused -- ")
    assert play << recorded(result=Result.REFUSED) << Closed()


def test_credentials_that_nobody_can_check_claim_nothing() -> None:
    for rules in ("permit *=fred ALL ALL\n", ASKS, "permit ALL ALL auth=password\n"):
        assert (
            Playbook(rules, passwords=False)
            >> Received(http(HERE, basic(b"fred", b"geheim")))
            << Answered(403)
            << Starting("refused -- Connect from (unknown)@10.1.2.3 ")
            << recorded(user="", auth="none", result=Result.REFUSED)
            << Closed()
        )


# The matrix: every rule against every way in; none may weaken (S1)


class Way(NamedTuple):
    """What a client sends, whom it claims to be, and as whom a password proves it."""

    messages: tuple[bytes, ...]
    claims: str = ""
    proves: str = ""


WAYS = {
    "SOCKS4, nobody": Way((socks4(TARGET, 80),)),
    "SOCKS4, claims fred": Way((socks4(TARGET, 80, b"fred"),), "fred"),
    "SOCKS4A, claims fred": Way((socks4a(TARGET.encode(), 80, b"fred"),), "fred"),
    "SOCKS5, no password": Way((greeting(0), socks5(TARGET, 80))),
    "SOCKS5, fred's password": Way((greeting(0, 2), password(b"fred", b"geheim"), socks5(TARGET, 80)), proves="fred"),
    "SOCKS5, julie's password": Way((greeting(2), password(b"julie", b"secret"), socks5(TARGET, 80)), proves="julie"),
    "SOCKS5, fred with julie's password": Way((greeting(2), password(b"fred", b"secret"), socks5(TARGET, 80))),
    "SOCKS5, an unknown user": Way((greeting(2), password(b"joe", b"geheim"), socks5(TARGET, 80))),
    "SOCKS5, an empty password": Way((greeting(2), password(b"fred", b""), socks5(TARGET, 80))),
    "HTTP, nobody": Way((http(HERE),)),
    "HTTP, fred's password": Way((http(HERE, basic(b"fred", b"geheim")),), proves="fred"),
    "HTTP, julie's password": Way((http(HERE, basic(b"julie", b"secret")),), proves="julie"),
    "HTTP, a wrong password": Way((http(HERE, basic(b"fred", b"secret")),)),
    "HTTP, another scheme": Way((http(HERE, "Proxy-Authorization: Bearer ZnJlZDpnZWhlaW0="),)),
}
NOBODY = {"SOCKS4, nobody", "SOCKS5, no password", "HTTP, nobody", "HTTP, another scheme"}
CLAIM = {"SOCKS4, claims fred", "SOCKS4A, claims fred"}
FRED = {"SOCKS5, fred's password", "HTTP, fred's password"}
JULIE = {"SOCKS5, julie's password", "HTTP, julie's password"}
#: what gets in by each file; a wrong password gets in nowhere
MATRIX = [
    pytest.param("permit ALL ALL\n", NOBODY | CLAIM | FRED | JULIE, id="everybody"),
    pytest.param("permit *=fred ALL ALL\n", CLAIM | FRED, id="whoever says to be fred"),
    pytest.param("permit ALL ALL auth=password\n", FRED | JULIE, id="everybody with a password"),
    pytest.param("permit *=fred ALL ALL auth=password\n", FRED, id="fred with his password"),
    pytest.param("permit ALL ALL auth=none\n", NOBODY | CLAIM, id="whoever has no password"),
    pytest.param("permit *=fred ALL ALL auth=none\n", CLAIM, id="whoever says to be fred and has no password"),
    pytest.param("permit ALL ALL auth=gssapi\n", set(), id="a method that is not served"),
    pytest.param("permit ALL ALL auth=gssapi,password\n", FRED | JULIE, id="one of two methods"),
    pytest.param("deny ALL ALL auth=none\npermit ALL ALL\n", FRED | JULIE, id="a line before refuses the unknown"),
    pytest.param("permit *=fred ALL ALL auth=password\npermit ALL 198.51.100.0/24\n", FRED, id="a line after"),
    pytest.param("deny *=fred ALL ALL\npermit ALL ALL\n", NOBODY | JULIE, id="everybody but fred"),
    pytest.param("deny *=fred ALL ALL\npermit ALL ALL auth=password\n", JULIE, id="everybody with a password but fred"),
]


def converse(play: Playbook, messages: Sequence[bytes]) -> None:
    """Say it all, each message after the answer to the one before; passwords are looked up in `PASSWORDS`."""
    for message in messages:
        if play.session.state is not State.NEGOTIATING:
            return
        play.session.received(message)
        answer_password(play)


def answer_password(play: Playbook) -> None:
    asked = play.notebook.done[-1] if play.notebook.done else None
    if isinstance(asked, AskedPassword):
        play.session.password_checked(PASSWORDS.get(asked.user) == asked.password)


def was_dialled(play: Playbook) -> bool:
    return any(isinstance(entry, (Dialled, LookedUp)) for entry in play.notebook.done)


@pytest.mark.parametrize(("rules", "admitted"), MATRIX)
@pytest.mark.parametrize("name", WAYS)
def test_no_way_in_weakens_a_rule(rules: str, admitted: set[str], name: str) -> None:
    play = Playbook(rules, passwords=True)
    converse(play, WAYS[name].messages)
    assert was_dialled(play) == (name in admitted)
    if name not in admitted:
        assert [record.result for record in play.notebook.records] == [Result.REFUSED]


@pytest.mark.parametrize("name", WAYS)
def test_without_a_passwords_file_nobody_proves_anything(name: str) -> None:
    for rules in ("permit ALL ALL auth=password\n", "deny ALL ALL auth=none\npermit ALL ALL\n"):
        play = Playbook(rules, passwords=False)
        converse(play, WAYS[name].messages)
        assert not was_dialled(play)
        assert not any(isinstance(entry, AskedPassword) for entry in play.notebook.done)


# S3: no order of messages leads around the check

ATTACKS = [
    pytest.param((greeting(2), socks5(TARGET, 80)), id="the request instead of the password"),
    pytest.param((socks5(TARGET, 80),), id="the request instead of the greeting"),
    pytest.param((greeting(2) + socks5(TARGET, 80),), id="the request behind the greeting in one segment"),
    pytest.param((greeting(2), greeting(0), socks5(TARGET, 80)), id="a second greeting that offers less"),
    pytest.param((greeting(2), password(b"fred", b"x"), socks5(TARGET, 80)), id="the request after a wrong password"),
    pytest.param(
        (greeting(2), password(b"fred", b"x"), password(b"fred", b"geheim"), socks5(TARGET, 80)), id="a second guess"
    ),
    pytest.param(
        (greeting(2), b"\x05" + password(b"fred", b"geheim")[1:], socks5(TARGET, 80)), id="version 5 of the password"
    ),
    pytest.param((greeting(2), b"\x01\x00\x00", socks5(TARGET, 80)), id="an empty user and password"),
    pytest.param((greeting(), socks5(TARGET, 80)), id="an empty list of methods"),
    pytest.param((greeting(1), socks5(TARGET, 80)), id="only GSSAPI"),
    pytest.param((greeting(0xFF), socks5(TARGET, 80)), id="no method at all"),
    pytest.param((greeting(0), socks5(TARGET, 80)), id="no password wanted"),
    pytest.param((greeting(2), http(HERE)), id="HTTP behind the greeting"),
    pytest.param((greeting(2), socks4(TARGET, 80, b"fred")), id="SOCKS4 behind the greeting"),
]


@pytest.mark.parametrize("messages", ATTACKS)
def test_no_order_of_messages_leads_around_the_password(messages: tuple[bytes, ...]) -> None:
    play = Playbook("permit ALL ALL auth=password\n", passwords=True)
    converse(play, messages)
    if play.session.state is not State.ENDED:
        play.session.received(b"")
        answer_password(play)
    assert not was_dialled(play)
    assert len(play.notebook.records) == 1
    assert RIGHT not in [entry.data for entry in play.notebook.done if isinstance(entry, Sent)]


PIECES = [
    greeting(), greeting(0), greeting(2), greeting(0, 2), password(b"fred", b"x"), password(b"", b""), NONE_CHOSEN,
    socks5(TARGET, 80), socks5(b"example.com", 80), socks4(TARGET, 80, b"fred"), socks4a(b"example.com", 80),
    http(HERE), http(HERE, basic(b"fred", b"x")), RIGHT,
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=12)), max_size=6), st.booleans())
@settings(max_examples=300, deadline=None)
def test_nobody_gets_in_while_every_password_is_wrong(pieces: list[bytes], joined: bool) -> None:
    play = Playbook("permit ALL ALL auth=password\n", passwords=True)
    converse(play, [b"".join(pieces)] if joined else pieces)
    assert not was_dialled(play)
    assert RIGHT not in [entry.data for entry in play.notebook.done if isinstance(entry, Sent)]
