"""Passwords and the lines that want them: no order of messages gets past one, and no secret is ever written down.

``spec/field-cases.md`` S1 (a weaker rule must not serve a stronger one), S3 (the state machine), S15 (secrets), S20 and
S21 (what bad logins may learn and cost).
"""

import base64
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.support import proc
from tests.support.daemon import Sockd, password_entry, sockd
from tests.support.peers import Peer, echo
from tests.support.rawsocks import (
    DIALECTS,
    GSSAPI,
    NO_AUTH,
    PASSWORD,
    Dialect,
    Wire,
    connect5,
    greeting,
    http,
    password,
    read_reply4,
    read_reply5,
    read_status,
    socks4,
    socks5,
)
from tests.support.waiting import least

USER, SECRET, WRONG = b"fred", b"open-sesame-7391", b"wrong-secret-4412"
OTHER, OTHER_SECRET = b"wilma", b"bedrock-9926"
RULES = "permit 127.0.0.0 255.0.0.0 127.0.0.0 255.0.0.0 auth=password\n"
PASSWORDS = {USER.decode(): SECRET.decode(), OTHER.decode(): OTHER_SECRET.decode()}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockd]:
    """A daemon whose one line wants a password."""
    with sockd(tmp_path_factory.mktemp("guarded"), RULES, passwords=PASSWORDS) as daemon:
        yield daemon


@pytest.fixture
def target() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


def basic(user: bytes, secret: bytes) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(user + b":" + secret).decode()


# --- the right password --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [pytest.param(SECRET, id="right"), pytest.param(WRONG, id="wrong")])
def test_socks5_password_decides(guarded: Sockd, target: Peer, secret: bytes) -> None:
    with Wire(guarded.port) as wire:
        reply = connect5(wire, "127.0.0.1", target.port, USER, secret)
        assert reply.code == (0 if secret == SECRET else -1)
    assert target.called() is (secret == SECRET)


def test_password_and_request_byte_by_byte(guarded: Sockd, target: Peer) -> None:
    with Wire(guarded.port) as wire:
        wire.send_slowly(greeting(PASSWORD) + password(USER, SECRET) + socks5("127.0.0.1", target.port))
        assert wire.read(4) == b"\x05\x02\x01\x00"
        assert read_reply5(wire).code == 0


def test_everything_in_one_segment_with_early_data(guarded: Sockd, target: Peer) -> None:
    with Wire(guarded.port) as wire:
        wire.send(greeting(PASSWORD) + password(USER, SECRET) + socks5("127.0.0.1", target.port) + b"early")
        assert wire.read(4) == b"\x05\x02\x01\x00"
        assert read_reply5(wire).code == 0
        assert wire.read(5) == b"early"


def test_the_record_names_the_user_and_how_he_proved_it(guarded: Sockd, target: Peer) -> None:
    with Wire(guarded.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port, USER, SECRET).code == 0
        client = "{}:{}".format(*wire.name)
    record = guarded.wait_record(client=client)
    assert (record["user"], record["auth"], record["rule"]) == ("fred", "password", "sockd.conf:1")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        pytest.param((NO_AUTH, PASSWORD), PASSWORD, id="a password is preferred, though offered last"),
        pytest.param((PASSWORD, NO_AUTH), PASSWORD, id="a password is preferred, offered first"),
        pytest.param((PASSWORD,), PASSWORD, id="a password alone"),
        pytest.param((NO_AUTH,), NO_AUTH, id="nothing alone, and the lines decide"),
        pytest.param((0x80, PASSWORD, GSSAPI), PASSWORD, id="a password among methods that are not served"),
        pytest.param((GSSAPI, 0x80), 0xFF, id="only methods that are not served"),
    ],
)
def test_method_selection(guarded: Sockd, offered: tuple[int, ...], chosen: int) -> None:
    with Wire(guarded.port) as wire:
        wire.send(greeting(*offered))
        assert wire.read(2) == bytes([5, chosen])


def test_a_password_is_not_chosen_where_no_passwords_are_kept(gateway: Sockd) -> None:
    with Wire(gateway.port) as wire:
        wire.send(greeting(PASSWORD))
        assert wire.read(2) == b"\x05\xff"


# --- ways around it (S3) -------------------------------------------------------------------------------------------

Message = Callable[[int], bytes]
SHUT = rb"(\x01[^\x00])?"  # a failure by RFC 1929 §2, or nothing; never a success, never a reply

ATTACKS: tuple[tuple[str, Message, bytes], ...] = (
    ("a request instead of the password", lambda port: greeting(2) + socks5("127.0.0.1", port), rb"\x05\x02" + SHUT),
    ("a request instead of the greeting", lambda port: socks5("127.0.0.1", port), rb"\x05\x00(\x05[^\x00].*)?"),
    (
        "no method wanted, then a request",
        lambda port: greeting(0) + socks5("127.0.0.1", port),
        rb"\x05\x00\x05\x02\x00\x01.{6}",
    ),
    ("an empty list of methods, then a request", lambda port: greeting() + socks5("127.0.0.1", port), rb"\x05\xff"),
    (
        "a second greeting instead of the password",
        lambda port: greeting(2) + greeting(0) + socks5("127.0.0.1", port),
        rb"\x05\x02" + SHUT,
    ),
    (
        "a second greeting after the first was answered",
        lambda port: greeting(0) + greeting(0) + socks5("127.0.0.1", port),
        rb"\x05\x00\x05[^\x00].*",
    ),
    *(
        (
            f"a password message of version {version}",
            lambda port, v=version: greeting(2) + bytes([v]) + password(USER, SECRET)[1:] + socks5("127.0.0.1", port),
            rb"\x05\x02" + SHUT,
        )
        for version in (0, 2, 5, 255)
    ),
    (
        "a wrong password, then a request",
        lambda port: greeting(2) + password(USER, WRONG) + socks5("127.0.0.1", port),
        rb"\x05\x02\x01[^\x00]",
    ),
    (
        "a wrong password, then the right one",
        lambda port: greeting(2) + password(USER, WRONG) + password(USER, SECRET) + socks5("127.0.0.1", port),
        rb"\x05\x02\x01[^\x00]",
    ),
    (
        "another user's password",
        lambda port: greeting(2) + password(USER, OTHER_SECRET) + socks5("127.0.0.1", port),
        rb"\x05\x02\x01[^\x00]",
    ),
    (
        "a user who does not exist",
        lambda port: greeting(2) + password(b"barney", SECRET) + socks5("127.0.0.1", port),
        rb"\x05\x02\x01[^\x00]",
    ),
    (
        "the user in capitals",
        lambda port: greeting(2) + password(b"FRED", SECRET) + socks5("127.0.0.1", port),
        rb"\x05\x02\x01[^\x00]",
    ),
    (
        "a NUL behind the user",
        lambda port: greeting(2) + password(b"fred\0", SECRET) + socks5("127.0.0.1", port),
        rb"\x05\x02\x01[^\x00]",
    ),
    (
        "a NUL behind the password",
        lambda port: greeting(2) + password(USER, SECRET + b"\0") + socks5("127.0.0.1", port),
        rb"\x05\x02\x01[^\x00]",
    ),
    (
        "a line of the passwords file as user",
        lambda port: greeting(2) + password(b"fred:\nroot", SECRET) + socks5("127.0.0.1", port),
        rb"\x05\x02\x01[^\x00]",
    ),
    (
        "an empty user and password",
        lambda port: greeting(2) + password(b"", b"") + socks5("127.0.0.1", port),
        rb"\x05\x02" + SHUT,
    ),
    (
        "an empty password",
        lambda port: greeting(2) + password(USER, b"") + socks5("127.0.0.1", port),
        rb"\x05\x02" + SHUT,
    ),
    ("half a password", lambda _: greeting(2) + password(USER, SECRET)[:-1], rb"\x05\x02"),
    (
        "the right password twice",
        lambda port: greeting(2) + password(USER, SECRET) * 2 + socks5("127.0.0.1", port),
        rb"\x05\x02\x01\x00(\x05[^\x00].*)?",
    ),
    ("the user as a SOCKS4 user id", lambda port: socks4("127.0.0.1", port, USER), rb"\x00\x5b.{6}"),
    (
        "user and password as a SOCKS4 user id",
        lambda port: socks4("127.0.0.1", port, USER + b":" + SECRET),
        rb"\x00\x5b.{6}",
    ),
    ("HTTP without credentials", lambda port: http(f"127.0.0.1:{port}"), rb"HTTP/1.1 407 .*"),
    (
        "HTTP with a wrong password",
        lambda port: http(f"127.0.0.1:{port}", basic(USER, WRONG)),
        rb"HTTP/1.1 407 .*",
    ),
    (
        "HTTP with credentials that are no base64",
        lambda port: http(f"127.0.0.1:{port}", "Proxy-Authorization: Basic !!!!"),
        rb"HTTP/1.1 40[07] .*",
    ),
    (
        "HTTP with another scheme",
        lambda port: http(f"127.0.0.1:{port}", "Proxy-Authorization: Bearer fred"),
        rb"HTTP/1.1 40[07] .*",
    ),
    (
        "HTTP with the credentials in the wrong header",
        lambda port: http(f"127.0.0.1:{port}", basic(USER, SECRET).removeprefix("Proxy-")),
        rb"HTTP/1.1 407 .*",
    ),
    (
        "HTTP with wrong credentials before the right ones",
        lambda port: http(f"127.0.0.1:{port}", basic(USER, WRONG), basic(USER, SECRET)),
        rb"HTTP/1.1 40[07] .*",
    ),
)


class Outcome(NamedTuple):
    """What came of one attack: all that the daemon said, and whether the target heard of it."""

    said: bytes
    reached: bool


def attack(daemon: Sockd, message: Message) -> Outcome:
    """Send everything at once, then FIN, and listen to the end."""
    with Peer(echo) as target, Wire(daemon.port) as wire:
        wire.send(message(target.port))
        wire.finish()
        return Outcome(wire.read_to_end(), target.called())


@pytest.fixture(scope="module")
def outcomes(guarded: Sockd) -> Mapping[str, Outcome]:
    """All attacks, made at the same time, since each wrong password is answered late on purpose."""
    with ThreadPoolExecutor(len(ATTACKS)) as pool:
        jobs = {title: pool.submit(attack, guarded, message) for title, message, _ in ATTACKS}
        return {title: job.result() for title, job in jobs.items()}


@pytest.mark.parametrize(("title", "answer"), [pytest.param(title, answer, id=title) for title, _, answer in ATTACKS])
def test_no_order_of_messages_gets_past_the_password(
    outcomes: Mapping[str, Outcome], title: str, answer: bytes
) -> None:
    """The whole answer is known, and the target never hears of it."""
    said, reached = outcomes[title]
    assert re.fullmatch(answer, said, re.DOTALL), said
    assert not reached


def test_http_password_is_accepted(guarded: Sockd, target: Peer) -> None:
    with Wire(guarded.port) as wire:
        wire.send(http(f"127.0.0.1:{target.port}", basic(USER, SECRET)) + b"early")
        assert read_status(wire) == 200
        assert wire.read(5) == b"early"


def test_http_is_asked_for_basic_credentials(guarded: Sockd) -> None:
    with Wire(guarded.port) as wire:
        wire.send(http("127.0.0.1:80"))
        assert re.search(rb"\r\nproxy-authenticate: basic realm=", wire.read_head(), re.IGNORECASE)


# --- several lines (S1) --------------------------------------------------------------------------------------------


def test_a_line_that_wants_a_password_is_not_weakened_by_another(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each of three lines by each way to come: the password line serves nobody else, and an unserved line is passed."""
    with Peer(echo) as secret, Peer(echo) as open_, Peer(echo) as freds:
        rules = (
            f"permit 127.0.0.0/8 127.0.0.0/8 eq {secret.port} auth=password\n"
            f"permit 127.0.0.0/8 127.0.0.0/8 eq {open_.port}\n"
            f"permit *=fred 127.0.0.0/8 127.0.0.0/8 eq {freds.port} auth=password\n"
        )
        with sockd(tmp_path_factory.mktemp("matrix"), rules, passwords=PASSWORDS) as daemon:
            for port, by_password, by_other, without in (
                (secret.port, 0, 0, 2),
                (open_.port, 0, 0, 0),
                (freds.port, 0, 2, 2),
            ):
                with Wire(daemon.port) as wire:
                    assert connect5(wire, "127.0.0.1", port, USER, SECRET).code == by_password
                with Wire(daemon.port) as wire:
                    assert connect5(wire, "127.0.0.1", port, OTHER, OTHER_SECRET).code == by_other
                with Wire(daemon.port) as wire:
                    assert connect5(wire, "127.0.0.1", port).code == without
                with Wire(daemon.port) as wire:
                    wire.send(socks4("127.0.0.1", port, USER))
                    assert read_reply4(wire).code == (91 if without else 90)


# --- what is learnt and what is written (S15, S20, S21) -------------------------------------------------------------


@pytest.mark.usefixtures("outcomes")
def test_no_secret_is_ever_written_down(guarded: Sockd, target: Peer) -> None:
    """After right, wrong and malformed logins by every protocol: every file, title and command line is searched."""
    with Wire(guarded.port) as wire:
        wire.send(http(f"127.0.0.1:{target.port}", basic(USER, SECRET)))
        assert read_status(wire) == 200
    with Wire(guarded.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port, USER, SECRET).code == 0
        seen = proc.public_bytes(guarded.pid)
        client = "{}:{}".format(*wire.name)
    guarded.wait_record(client=client, port=target.port)
    written = b"".join((guarded.folder / name).read_bytes() for name in ("sockd.log", "sockd.json", "stderr"))
    assert written.count(b"fred") > len(ATTACKS) / 2
    # A SOCKS4 user id is no secret: whoever puts a password there has published it himself.
    written = written.replace(USER + b":" + SECRET, b"")
    encoded = base64.b64encode(USER + b":" + SECRET)
    for secret in (SECRET, WRONG, OTHER_SECRET, encoded, SECRET.hex().encode()):
        assert secret not in written
        assert secret not in seen


def bad_login(daemon: Sockd, user: bytes) -> float:
    """Seconds until a wrong password is refused."""
    with Wire(daemon.port) as wire:
        wire.send(greeting(PASSWORD))
        wire.read(2)
        started = time.monotonic()
        wire.send(password(user, WRONG))
        assert wire.read(2) == b"\x01\x01"
        return time.monotonic() - started


def hash_seconds() -> float:
    """What one scrypt of the passwords file costs here and now; the best of three."""

    def once() -> float:
        started = time.monotonic()
        password_entry("fred", "x")
        return time.monotonic() - started

    return min(once() for _ in range(3))


def test_an_unknown_user_costs_what_a_wrong_password_costs(guarded: Sockd) -> None:
    """The same two bytes, and no telling time: who exists can not be found out by guessing.

    A refusal is delayed on top of the hash, so only the difference tells; the best of four is the least disturbed, and
    on a machine that is busy with something else the best of several such differences.
    """
    limit = hash_seconds() / 2
    assert least(lambda: difference(guarded), below=limit) < limit


def difference(guarded: Sockd) -> float:
    """Seconds between the refusals of a user who exists and of one who does not."""
    users, pause = [USER, b"nobody-here"] * 4, 2 * hash_seconds()
    with ThreadPoolExecutor(len(users)) as pool:
        jobs = []
        for user in users:
            jobs.append(pool.submit(bad_login, guarded, user))
            time.sleep(pause)
        known, unknown = (min(job.result() for job in jobs[first::2]) for first in (0, 1))
    return abs(known - unknown)


def test_bad_logins_do_not_hold_up_those_who_are_in(guarded: Sockd, target: Peer) -> None:
    """Sixteen wrong passwords under verification at once; a session that is open goes on at its own pace."""
    with Wire(guarded.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port, USER, SECRET).code == 0
        assert least(lambda: slowest_echo(guarded, wire), below=0.25) < 0.25


def slowest_echo(guarded: Sockd, wire: Wire) -> float:
    """The longest that an open session waits for an answer during a crowd of bad logins."""
    crowd = [threading.Thread(target=bad_login, args=(guarded, USER)) for _ in range(16)]
    for thread in crowd:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in crowd):
        started = time.monotonic()
        wire.send(b"x" * 64)
        assert wire.read(64) == b"x" * 64
        slowest = max(slowest, time.monotonic() - started)
    for thread in crowd:
        thread.join()
    return slowest


@pytest.mark.parametrize("dialect", [pytest.param(d, id=d.title) for d in DIALECTS if d.title != "HTTP CONNECT"])
def test_a_password_line_refuses_who_brought_none(guarded: Sockd, target: Peer, dialect: Dialect) -> None:
    with Wire(guarded.port) as wire:
        assert dialect.ask(wire, target.port) == dialect.not_allowed
    assert not target.called()
