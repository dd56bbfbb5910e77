"""Ident (``spec/socks4.md`` §8): when it is asked, what each answer does, and which commands run when (§3.5)."""

from typing import NamedTuple

import pytest

from gateway.config.rules import IdentLevel
from gateway.session.record import Result
from tests.support.playbook import (
    Answered,
    Closed,
    Connected,
    Dialled,
    Ended,
    Expected,
    IdentAnswered,
    LookedUp,
    Noted,
    Playbook,
    Ran,
    Received,
    Relayed,
    Resolved,
    Sent,
    Starting,
    asked_ident,
    dialled,
    recorded,
)
from tests.support.rawsocks import greeting, http, socks4, socks4a, socks5

TARGET = "203.0.113.9"
HERE = f"{TARGET}:80"
NO_IDENTD, MISMATCH = bytes((0, 92, 0, 0, 0, 0, 0, 0)), bytes((0, 93, 0, 0, 0, 0, 0, 0))
REFUSED5 = bytes((5, 2, 0, 1, 0, 0, 0, 0, 0, 0))
REJECTED = bytes((0, 91, 0, 0, 0, 0, 0, 0))
COMMANDS = "#NO_IDENTD: /bin/noidentd %u %U\n#BAD_ID: /bin/badid %u %U\n"


def rules(level: str, action: str = "permit") -> str:
    return f"{action} {level} ALL ALL : /bin/own %u %U\n{COMMANDS}"


def asked(level: str, user: bytes = b"fred", ident: IdentLevel = IdentLevel.OFF) -> Playbook:
    return Playbook(rules(level), ident=ident) >> Received(socks4(TARGET, 80, user)) << asked_ident(HERE)


def what(claimed: str, ident: str) -> str:
    return f"Connect from {claimed}({ident})@10.1.2.3 to {TARGET} (http)"


# When it is asked


@pytest.mark.parametrize(
    ("level", "started", "is_asked"),
    [
        pytest.param("", IdentLevel.OFF, False, id="neither the line nor the command line"),
        pytest.param("", IdentLevel.LENIENT, True, id="-i"),
        pytest.param("", IdentLevel.STRICT, True, id="-I"),
        pytest.param("?=i", IdentLevel.OFF, True, id="the line, lenient"),
        pytest.param("?=I", IdentLevel.OFF, True, id="the line, strict"),
        pytest.param("?=n", IdentLevel.STRICT, False, id="the line says no, the command line yes"),
        pytest.param("?=", IdentLevel.STRICT, False, id="an empty field says no"),
        pytest.param("?=I", IdentLevel.LENIENT, True, id="both"),
    ],
)
def test_ident_is_asked_when_the_line_or_else_the_command_line_says_so(
    level: str, started: IdentLevel, is_asked: bool
) -> None:
    play = Playbook(f"permit {level} ALL ALL\n", ident=started) >> Received(socks4(TARGET, 80, b"fred"))
    assert play << (asked_ident(HERE) if is_asked else dialled(HERE))


@pytest.mark.parametrize("level", ["", "?=i", "?=I"])
def test_ident_is_never_asked_for_a_deny_line(level: str) -> None:
    assert (
        Playbook(rules(level, "deny"), ident=IdentLevel.STRICT)
        >> Received(socks4(TARGET, 80, b"fred"))
        << Ran("/bin/own fred unknown")
        << Sent(REJECTED)
        << Noted(f"refused -- {what('fred', 'unknown')}")
        << recorded(result=Result.REFUSED)
        << Closed()
    )


def test_the_line_of_the_first_permitted_address_decides_the_level() -> None:
    lines = "permit ?=n ALL 203.0.113.0/24\npermit ?=I ALL 198.51.100.0/24\n"
    for order, expected in ((("203.0.113.1", "198.51.100.1"), dialled), (("198.51.100.1", "203.0.113.1"), asked_ident)):
        assert (
            Playbook(lines)
            >> Received(socks4a(b"example.com", 80, b"fred"))
            << LookedUp("example.com")
            >> Resolved(*order)
            << expected(*(f"{one}:80" for one in order))
        )


# What the answers do


@pytest.mark.parametrize("level", ["?=i", "?=I"])
def test_the_right_user_is_served_and_the_own_command_knows_identds_word(level: str) -> None:
    assert (
        asked(level)
        >> IdentAnswered("fred")
        << Ran("/bin/own fred fred")
        << dialled(HERE)
        >> Connected()
        << Noted(f"connected -- {what('fred', 'fred')}")
        << Sent(bytes((0, 90, 0x9C, 0x41, 192, 0, 2, 254)))
        << Relayed()
        >> Ended(3, 4)
        << Noted(f"terminated -- {what('fred', 'fred')}.  3 bytes from 10.1.2.3, 4 bytes from {TARGET}")
        << recorded(user="fred", result=Result.CONNECTED)
    )


def test_no_identd_is_served_when_lenient_and_its_command_runs_before_the_own_one() -> None:
    assert (
        asked("?=i")
        >> IdentAnswered(None)
        << Ran("/bin/noidentd fred unknown")
        << Noted("cannot connect to identd on 10.1.2.3")
        << Ran("/bin/own fred unknown")
        << dialled(HERE)
        >> Connected()
        << Noted(f"connected -- {what('fred', 'unknown')}")
        << Sent(bytes((0, 90, 0x9C, 0x41, 192, 0, 2, 254)))
        << Relayed()
    )


def test_no_identd_is_refused_with_92_when_strict_and_the_own_command_does_not_run() -> None:
    assert (
        asked("?=I")
        >> IdentAnswered(None)
        << Ran("/bin/noidentd fred unknown")
        << Noted(f"refused -- {what('fred', 'unknown')}")
        << Sent(NO_IDENTD)
        << Noted("cannot connect to identd on 10.1.2.3")
        << recorded(result=Result.REFUSED, end="cannot connect to identd on 10.1.2.3", rule="sockd.conf:1", user="fred")
        << Closed()
    )


@pytest.mark.parametrize("level", ["?=i", "?=I"])
def test_another_user_is_refused_with_93_and_the_own_command_does_not_run(level: str) -> None:
    assert (
        asked(level)
        >> IdentAnswered("mallory")
        << Ran("/bin/badid fred mallory")
        << Noted(f"refused -- {what('fred', 'mallory')}")
        << Sent(MISMATCH)
        << Noted("*Alert*: real user is mallory, not fred")
        << recorded(
            result=Result.REFUSED, end="*Alert*: real user is mallory, not fred", rule="sockd.conf:1", user="fred"
        )
        << Closed()
    )


class Comparison(NamedTuple):
    """A claim, what identd said (escaped, as the client of identd gives it), and whether they are the same."""

    claimed: bytes
    ident: str
    same: bool


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Comparison(b"Fred", "fred", False), id="letter case counts"),
        pytest.param(Comparison(b"", "fred", False), id="no claim is not any user"),
        pytest.param(Comparison(b"fred", "fred2", False), id="a prefix is not the user"),
        pytest.param(Comparison(b"fr\xe9d", r"fr\xe9d", True), id="bytes that are no ASCII compare as they are"),
        pytest.param(Comparison(rb"fr\xe9d", r"fr\xe9d", False), id="an escape that was sent as such is not the byte"),
        pytest.param(Comparison(rb"a\b", r"a\x5cb", True), id="a backslash compares escaped"),
        pytest.param(Comparison(b"root", "root", True), id="root is a user as any other"),
    ],
)
def test_the_comparison_is_exact(case: Comparison) -> None:
    play = asked("?=i", case.claimed)
    play.session.ident_answered(case.ident, play.asked_endpoints)
    assert any(isinstance(entry, Dialled) for entry in play.notebook.done) == case.same
    assert play.notebook.sent == (b"" if case.same else MISMATCH)


@pytest.mark.parametrize(
    ("user", "answer4"), [pytest.param(None, NO_IDENTD, id="92"), pytest.param("mallory", MISMATCH, id="93")]
)
def test_the_other_protocols_have_one_code_for_both(user: str | None, answer4: bytes) -> None:
    said: list[tuple[bytes, Expected]] = [
        (socks4(TARGET, 80, b"fred"), Sent(answer4)),
        (http(HERE), Answered(403)),
        (socks5(TARGET, 80), Sent(REFUSED5)),
    ]
    if user is not None:
        del said[1:]  # these two named no user that identd could contradict
    for request, answer in said:
        play = Playbook("permit ?=I ALL ALL\n")
        if request[0] == 5:
            play = play >> Received(greeting(0)) << Sent(b"\x05\x00")
        play = play >> Received(request) << asked_ident(HERE) >> IdentAnswered(user) << Starting("refused -- ")
        assert play << answer << Starting("") << recorded(result=Result.REFUSED) << Closed()


# The special commands


@pytest.mark.parametrize("level", ["?=i", "?=I"])
@pytest.mark.parametrize("user", [None, "mallory"])
def test_without_special_lines_nothing_special_runs(level: str, user: str | None) -> None:
    play = Playbook(f"permit {level} ALL ALL\n") >> Received(socks4(TARGET, 80, b"fred")) << asked_ident(HERE)
    play.session.ident_answered(user, play.asked_endpoints)
    assert not any(isinstance(entry, Ran) for entry in play.notebook.done)


def test_the_special_commands_know_the_destination_and_identds_word() -> None:
    lines = "permit ?=I ALL ALL\n#BAD_ID: x %Z %z %s %U %u %a\n"
    assert (
        Playbook(lines)
        >> Received(socks4a(b"example.com", 80, b"fred"))
        << LookedUp("example.com")
        >> Resolved(TARGET)
        << asked_ident(HERE)
        >> IdentAnswered(r"a\x20b;c")
        << Ran(r"x example.com example.com 80 a_x20b_c fred 10.1.2.3")
        << Starting("refused -- ")
        << Sent(MISMATCH)
        << Noted(r"*Alert*: real user is a\x20b;c, not fred")
        << recorded(result=Result.REFUSED)
        << Closed()
    )


@pytest.mark.parametrize(
    ("level", "user", "origins"),
    [
        pytest.param("?=i", "fred", ["sockd.conf:1"], id="the own one"),
        pytest.param("?=i", None, ["sockd.conf:2", "sockd.conf:1"], id="that of no identd, and the own one"),
        pytest.param("?=i", "mallory", ["sockd.conf:3"], id="that of another user"),
    ],
)
def test_who_runs_the_commands_is_told_the_lines_that_have_them(
    level: str, user: str | None, origins: list[str]
) -> None:
    play = asked(level)
    play.session.ident_answered(user, play.asked_endpoints)
    assert [job.origin for job in play.notebook.jobs] == origins


def test_all_checked_addresses_are_dialled_after_the_answer() -> None:
    assert (
        Playbook("deny ALL 198.51.100.0/24\npermit ?=i ALL ALL\n")
        >> Received(socks4a(b"example.com", 80, b"fred"))
        << LookedUp("example.com")
        >> Resolved("203.0.113.1", "198.51.100.1", "203.0.113.2")
        << asked_ident("203.0.113.1:80", "203.0.113.2:80")
        >> IdentAnswered("fred")
        << dialled("203.0.113.1:80", "203.0.113.2:80")
    )
