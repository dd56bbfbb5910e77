"""The classic lines, word by word as ``spec/socks4.md`` §9.1 has them.

The one deviation: the byte counts stand on the line of ``terminated`` itself, after two blanks.
"""

import errno

import pytest

from gateway.config.rules import IdentLevel
from gateway.session.record import Result
from tests.support.playbook import (
    Abandoned,
    Connected,
    ConnectFailed,
    Ended,
    Event,
    IdentAnswered,
    PasswordChecked,
    Playbook,
    Received,
    TimedOut,
)
from tests.support.rawsocks import BIND, greeting, http, password, socks4, socks5

TARGET = "203.0.113.9"
M = f"Connect from fred(unknown)@10.1.2.3 to {TARGET} (telnet)"
M_IDENT = f"Connect from fred(mallory)@10.1.2.3 to {TARGET} (telnet)"
M_BIND = f"Bind from fred(unknown)@10.1.2.3 for {TARGET}"
REQUEST = socks4(TARGET, 23, b"fred")
BIND_REQUEST = socks4(TARGET, 21, b"fred", BIND)
PERMIT, DENY = "permit ALL ALL\n", "deny ALL ALL\n"


def lines(rules: str, *events: Event, ident: IdentLevel = IdentLevel.OFF, passwords: bool = False) -> list[str]:
    play = Playbook(rules, ident=ident, passwords=passwords)
    for event in events:
        event(play)
    return play.notebook.lines


LENIENT, STRICT = "permit ?=i ALL ALL\n", "permit ?=I ALL ALL\n"


@pytest.mark.parametrize(
    ("rules", "events", "expected"),
    [
        pytest.param(PERMIT, [Received(REQUEST), Connected()], [f"connected -- {M}"], id="CONNECT established"),
        pytest.param(
            PERMIT,
            [Received(REQUEST), Connected(), Ended(4294967296, 7)],
            [f"connected -- {M}", f"terminated -- {M}.  4294967296 bytes from 10.1.2.3, 7 bytes from {TARGET}"],
            id="CONNECT finished, and the counters have more than 32 bits",
        ),
        pytest.param(DENY, [Received(REQUEST)], [f"refused -- {M}"], id="refused by rule"),
        pytest.param("", [Received(REQUEST)], [f"refused -- {M}"], id="no match"),
        pytest.param(
            LENIENT,
            [Received(REQUEST), IdentAnswered(None), Connected()],
            ["cannot connect to identd on 10.1.2.3", f"connected -- {M}"],
            id="lenient, no identd",
        ),
        pytest.param(
            STRICT,
            [Received(REQUEST), IdentAnswered(None)],
            [f"refused -- {M}", "cannot connect to identd on 10.1.2.3"],
            id="strict, no identd",
        ),
        pytest.param(
            LENIENT,
            [Received(REQUEST), IdentAnswered("mallory")],
            [f"refused -- {M_IDENT}", "*Alert*: real user is mallory, not fred"],
            id="mismatch",
        ),
        pytest.param(
            PERMIT,
            [Received(REQUEST), ConnectFailed(errno.ECONNREFUSED)],
            [f"failed -- {M}.  Error code: connect() Connection refused"],
            id="connect() failed",
        ),
        pytest.param(
            PERMIT,
            [Received(REQUEST), ConnectFailed(errno.EMFILE, "socket()")],
            [f"failed -- {M}.  Error code: socket() Too many open files"],
            id="socket() failed",
        ),
        pytest.param(PERMIT, [Received(REQUEST), TimedOut()], [f"timed-out -- {M}"], id="timed out"),
        pytest.param(
            PERMIT, [Received(REQUEST), ConnectFailed(errno.ETIMEDOUT)], [f"timed-out -- {M}"], id="the kernel's limit"
        ),
    ],
)
def test_the_lines_of_a_connect(rules: str, events: list[Event], expected: list[str]) -> None:
    assert lines(rules, *events) == expected


def test_the_lines_of_a_bind_say_bind() -> None:
    (line,) = lines(PERMIT, Received(BIND_REQUEST))
    assert line.startswith(f"failed -- {M_BIND}.  Error code: ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"\x16\x03\x01", "error -- wrong version (0x16) from host 10.1.2.3.", id="wrong version"),
        pytest.param(
            b"\x04\x09" + bytes(6) + b"\0", "error -- undefined command (0x 9) from host 10.1.2.3", id="SOCKS4 command"
        ),
        pytest.param(
            greeting(0) + b"\x05\x09\x00\x01" + bytes(6),
            "error -- undefined command (0x 9) from host 10.1.2.3",
            id="SOCKS5 command",
        ),
    ],
)
def test_the_lines_of_nonsense(data: bytes, expected: str) -> None:
    assert lines(PERMIT, Received(data)) == [expected]


def test_nothing_is_written_before_access_control() -> None:
    assert lines(PERMIT, Received(REQUEST[:5])) == []
    assert lines(PERMIT, Received(REQUEST)) == []
    assert lines(PERMIT, Received(greeting(2) + password(b"fred", b"x")), passwords=True) == []


# The three classes of the 1992 paper


@pytest.mark.parametrize(
    ("rules", "events", "expected"),
    [
        pytest.param(
            PERMIT,
            [Received(REQUEST), Connected(), Ended(1, 2)],
            [("connected", "connected --"), ("connected", "terminated --")],
            id="a connection and its end",
        ),
        pytest.param(DENY, [Received(REQUEST)], [("denied", "refused --")], id="a refusal"),
        pytest.param(
            STRICT,
            [Received(REQUEST), IdentAnswered(None)],
            [("denied", "refused --"), ("denied", "cannot connect to identd")],
            id="a refusal for want of an identd",
        ),
        pytest.param(
            LENIENT,
            [Received(REQUEST), IdentAnswered("mallory")],
            [("denied", "refused --"), ("denied", "*Alert*")],
            id="another user",
        ),
        pytest.param(
            LENIENT,
            [Received(REQUEST), IdentAnswered(None), Connected()],
            [("resource", "cannot connect to identd"), ("connected", "connected --")],
            id="no identd, and it goes on",
        ),
        pytest.param(PERMIT, [Received(b"\x16")], [("denied", "error -- wrong version")], id="nonsense"),
        pytest.param(PERMIT, [TimedOut()], [("denied", "error -- timed out")], id="no request in time"),
        pytest.param(PERMIT, [Received(greeting(9))], [("denied", "error -- no acceptable")], id="no method"),
        pytest.param(
            PERMIT,
            [Received(REQUEST), ConnectFailed(errno.ECONNREFUSED)],
            [("resource", "failed --")],
            id="a connection that is refused",
        ),
        pytest.param(PERMIT, [Received(REQUEST), TimedOut()], [("resource", "timed-out --")], id="a time limit"),
        pytest.param(PERMIT, [Received(BIND_REQUEST)], [("resource", "failed -- Bind")], id="what is not served"),
        pytest.param(
            "permit ALL ALL : %%\n",
            [Received(REQUEST)],
            [("resource", "error -- shell command")],
            id="a command that is not run",
        ),
    ],
)
def test_the_class_of_each_line(rules: str, events: list[Event], expected: list[tuple[str, str]]) -> None:
    play = Playbook(rules)
    for event in events:
        event(play)
    found = play.notebook.classes
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, text), (_, start) in zip(found, expected, strict=True):
        assert text.startswith(start)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([Received(greeting(2) + password(b"fred", b"x")), PasswordChecked(False)], id="by RFC 1929"),
        pytest.param(
            [Received(http(f"{TARGET}:23", "Proxy-Authorization: Basic ZnJlZDp4")), PasswordChecked(False)],
            id="by HTTP",
        ),
    ],
)
def test_a_wrong_password_is_a_denial(events: list[Event]) -> None:
    play = Playbook(passwords=True)
    for event in events:
        event(play)
    ((name, text),) = play.notebook.classes
    assert (name, text.startswith("refused -- wrong password")) == ("denied", True)


# The record beside the lines: what the fields say when the session ended early


def test_the_protocol_is_on_record_as_soon_as_it_is_known() -> None:
    for data, protocol in ((b"\x05\x01", "socks5"), (b"\x04\x01", "socks4"), (b"CONNECT", "http")):
        play = Playbook()
        Received(data)(play)
        Abandoned()(play)
        (record,) = play.notebook.records
        assert record.protocol == protocol


@pytest.mark.parametrize(
    ("opening", "protocol"),
    [
        pytest.param(greeting(2) + password(b"fred", b"x"), "socks5", id="by RFC 1929"),
        pytest.param(http(f"{TARGET}:23", "Proxy-Authorization: Basic ZnJlZDp4"), "http", id="by HTTP"),
    ],
)
def test_a_wrong_password_is_on_record_with_its_user_and_protocol(opening: bytes, protocol: str) -> None:
    play = Playbook(passwords=True)
    Received(opening)(play)
    PasswordChecked(False)(play)
    (record,) = play.notebook.records
    assert (record.user, record.auth, record.result, record.end) == ("fred", "none", Result.REFUSED, "wrong password")
    assert record.protocol == protocol


def test_an_http_request_with_a_wrong_password_is_on_record_with_its_destination() -> None:
    play = Playbook(passwords=True)
    Received(http(f"{TARGET}:23", "Proxy-Authorization: Basic ZnJlZDp4"))(play)
    PasswordChecked(False)(play)
    (record,) = play.notebook.records
    assert (record.command, record.host, record.port) == ("connect", TARGET, 23)


@pytest.mark.parametrize(
    ("minute", "result"),
    [
        pytest.param(8 * 60 - 1, Result.REFUSED, id="the last minute before"),
        pytest.param(8 * 60, Result.CONNECTED, id="the first minute within"),
    ],
)
def test_a_line_with_hours_counts_at_its_time_of_the_week(minute: int, result: Result) -> None:
    play = Playbook("permit ALL ALL hours=Mon/08:00-18:00\n", minute=minute)
    Received(greeting(0))(play)
    Received(socks5(TARGET, 23))(play)
    if result is Result.CONNECTED:
        Connected()(play)
        Ended(0, 0)(play)
    assert [record.result for record in play.notebook.records] == [result]


def test_a_request_that_waits_for_its_rules_has_the_line_that_could_permit_it() -> None:
    play = Playbook("deny ALL 198.51.100.0/24\npermit ALL ALL\n")
    Received(greeting(0) + socks5(b"example.com", 23))(play)
    TimedOut()(play)
    (record,) = play.notebook.records
    assert (record.rule, record.host, record.address) == ("sockd.conf:2", "example.com", None)
    assert record.reason == "sockd.conf:2 could permit it, its addresses decide"
