"""Whole conversations of a session: every protocol's success and every failure, names, commands not served.

What identd, passwords and time limits do to them is in the files beside this one.
"""

import errno
from typing import NamedTuple

import pytest

from gateway.policy.command import expand
from gateway.session.record import Result
from gateway.session.tcp import MAX_ADDRESSES
from tests.support.playbook import (
    BOUND,
    TIME,
    Answered,
    AskedPassword,
    Closed,
    Connected,
    ConnectFailed,
    Dialled,
    Ended,
    Expected,
    LookedUp,
    LookupFailed,
    Noted,
    Playbook,
    Ran,
    Received,
    Relayed,
    Resolved,
    Sent,
    Starting,
    Waited,
    dialled,
    parsed,
    recorded,
)
from tests.support.rawsocks import BIND, UDP_ASSOCIATE, greeting, http, password, socks4, socks4a, socks5

TARGET = "203.0.113.9"
NONE_CHOSEN, NOTHING_CHOSEN = b"\x05\x00", b"\x05\xff"
REJECTED = bytes((0, 91, 0, 0, 0, 0, 0, 0))
GRANTED = bytes((0, 90, 0x9C, 0x41, 192, 0, 2, 254))
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def failure5(code: int) -> bytes:
    return bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0))


SUCCESS5 = bytes((5, 0, 0, 1, 192, 0, 2, 254, 0x9C, 0x41))


class Speech(NamedTuple):
    """One protocol asking for `TARGET` port 80: what comes before, the request, and its answers."""

    before: tuple[tuple[bytes, bytes], ...]
    request: bytes
    success: bytes
    name: str
    claimed: str = ""


ADDRESSES = (
    pytest.param(Speech((), socks4(TARGET, 80, b"fred"), GRANTED, "socks4", "fred"), id="SOCKS4"),
    pytest.param(Speech((), socks4(TARGET, 80), GRANTED, "socks4"), id="SOCKS4 without a user"),
    pytest.param(
        Speech(((greeting(0), NONE_CHOSEN),), socks5(TARGET, 80), SUCCESS5, "socks5"), id="SOCKS5 to an IPv4 address"
    ),
    pytest.param(Speech((), http(f"{TARGET}:80"), ESTABLISHED, "http"), id="HTTP CONNECT to an address"),
)
NAMES = (
    pytest.param(Speech((), socks4a(b"Www.Example.com.", 80, b"fred"), GRANTED, "socks4a", "fred"), id="SOCKS4A"),
    pytest.param(
        Speech(((greeting(0), NONE_CHOSEN),), socks5(b"WWW.example.COM", 80), SUCCESS5, "socks5"), id="SOCKS5 by name"
    ),
    pytest.param(Speech((), http("www.example.com:80"), ESTABLISHED, "http"), id="HTTP CONNECT by name"),
)


def opened(speech: Speech, play: Playbook) -> Playbook:
    for said, answer in speech.before:
        play = play >> Received(said) << Sent(answer)
    return play >> Received(speech.request)


@pytest.mark.parametrize("speech", ADDRESSES)
def test_a_permitted_address_is_dialled_and_success_follows_only_the_connection(speech: Speech) -> None:
    what = f"Connect from {speech.claimed}(unknown)@10.1.2.3 to {TARGET} (http)"
    assert (
        opened(speech, Playbook())
        << dialled(f"{TARGET}:80")
        >> Connected()
        << Noted(f"connected -- {what}")
        << Sent(speech.success)
        << Relayed()
        >> Waited(12.3456789)
        >> Ended(10, 2000)
        << Noted(f"terminated -- {what}.  10 bytes from 10.1.2.3, 2000 bytes from {TARGET}")
        << recorded(
            time=TIME,
            session="68f0-1-a",
            client="10.1.2.3:40000",
            protocol=speech.name,
            command="connect",
            user=speech.claimed,
            auth="none",
            host=TARGET,
            address=TARGET,
            port=80,
            egress=BOUND,
            rule="sockd.conf:1",
            would_deny=None,
            reason="permitted by sockd.conf:1",
            result=Result.CONNECTED,
            sent=10,
            received=2000,
            seconds=12.345678,
            end="the client closed",
        )
    )


@pytest.mark.parametrize("speech", NAMES)
def test_a_name_is_looked_up_and_the_record_shows_both(speech: Speech) -> None:
    what = f"Connect from {speech.claimed}(unknown)@10.1.2.3 to www.example.com (http)"
    assert (
        opened(speech, Playbook())
        << LookedUp("www.example.com")
        >> Resolved(TARGET, "2001:db8::9")
        << dialled(f"{TARGET}:80", "[2001:db8::9]:80")
        >> Connected("2001:db8::9")
        << Noted(f"connected -- {what}")
        << Sent(speech.success)
        << Relayed()
        >> Ended(1, 2, "the target closed")
        << Noted(f"terminated -- {what}.  1 bytes from 10.1.2.3, 2 bytes from www.example.com")
        << recorded(host="www.example.com", address="2001:db8::9", end="the target closed", result=Result.CONNECTED)
    )


@pytest.mark.parametrize("speech", [*ADDRESSES, *NAMES])
def test_bytes_one_by_one_make_the_same_conversation(speech: Speech) -> None:
    bytewise, whole = Playbook(), Playbook()
    for said in (*(said for said, _ in speech.before), speech.request):
        whole.session.received(said)
        for value in said:
            bytewise.session.received(bytes((value,)))
    assert bytewise.notebook.done == whole.notebook.done
    assert isinstance(whole.notebook.done[-1], (Dialled, LookedUp))


@pytest.mark.parametrize("speech", ADDRESSES)
def test_what_follows_the_request_is_relayed_and_never_lost(speech: Speech) -> None:
    early = b"GET / HTTP/1.0\r\n\r\n"
    play = Playbook()
    everything = b"".join(said for said, _ in speech.before) + speech.request + early
    play.session.received(everything)
    play.session.connected(dialled(BOUND).endpoints[0], BOUND, play.dialled_endpoints[0].address)
    assert play.notebook.done[-1] == Relayed(early)
    assert play.notebook.sent == b"".join(answer for _, answer in speech.before) + speech.success


def test_an_ipv6_client_and_target() -> None:
    bound = bytes((5, 0, 0, 4)) + bytes.fromhex("20010db8000000000000000000000001") + b"\x9c\x41"
    assert (
        Playbook(source="fd00::7")
        >> Received(greeting(0))
        << Sent(NONE_CHOSEN)
        >> Received(socks5("2001:db8::9", 443))
        << dialled("[2001:db8::9]:443")
        >> Connected(bound="[2001:db8::1]:40001")
        << Noted("connected -- Connect from (unknown)@fd00::7 to 2001:db8::9 (https)")
        << Sent(bound)
        << Relayed()
        >> Ended(0, 0)
        << Starting("terminated -- Connect from (unknown)@fd00::7 to 2001:db8::9 (https).  0 bytes from fd00::7, ")
        << recorded(client="[fd00::7]:40000", address="2001:db8::9", egress="[2001:db8::1]:40001")
    )


def test_a_mapped_address_is_the_ipv4_host_for_rules_dialling_and_records() -> None:
    assert (
        Playbook("permit ALL 203.0.113.0/24\n")
        >> Received(greeting(0))
        << Sent(NONE_CHOSEN)
        >> Received(socks5("::ffff:203.0.113.9", 80))
        << dialled("203.0.113.9:80")
        >> Connected()
        << Starting("connected -- ")
        << Sent(SUCCESS5)
        << Relayed()
        >> Ended(0, 0)
        << Starting("terminated -- ")
        << recorded(host=TARGET, address=TARGET)
    )


def test_a_service_without_a_name_is_shown_by_its_number() -> None:
    assert (
        Playbook()
        >> Received(socks4(TARGET, 8081))
        << dialled(f"{TARGET}:8081")
        >> Connected()
        << Noted(f"connected -- Connect from (unknown)@10.1.2.3 to {TARGET} (8081)")
        << Sent(GRANTED)
        << Relayed()
    )


# Failures


def refusals(speech: Speech) -> tuple[Expected, Expected, Expected, Expected]:
    """What each protocol says to: not allowed, refused by the target, unreachable, a failure of ours."""
    if speech.name == "http":
        return Answered(403), Answered(502), Answered(502), Answered(500)
    if speech.name == "socks5":
        return Sent(failure5(2)), Sent(failure5(5)), Sent(failure5(4)), Sent(failure5(1))
    return Sent(REJECTED), Sent(REJECTED), Sent(REJECTED), Sent(REJECTED)


@pytest.mark.parametrize("speech", [*ADDRESSES, *NAMES])
def test_a_refusal_by_rule_is_said_written_down_and_closes(speech: Speech) -> None:
    play = opened(speech, Playbook("permit 10.9.0.0/16 ALL\ndeny 10.0.0.0/8 ALL\n"))
    host = play.notebook.records[0].host
    assert (
        play
        << refusals(speech)[0]
        << Noted(f"refused -- Connect from {speech.claimed}(unknown)@10.1.2.3 to {host} (http)")
        << recorded(
            protocol=speech.name,
            command="connect",
            port=80,
            address=None,
            egress=None,
            rule="sockd.conf:2",
            reason="denied by sockd.conf:2",
            result=Result.REFUSED,
            end="denied by sockd.conf:2",
            sent=0,
            received=0,
            seconds=0.0,
        )
        << Closed()
    )


@pytest.mark.parametrize("speech", ADDRESSES)
def test_no_line_that_matches_is_a_refusal_without_a_rule(speech: Speech) -> None:
    assert (
        opened(speech, Playbook("permit 10.9.0.0/16 ALL\n"))
        << refusals(speech)[0]
        << Starting("refused -- ")
        << recorded(rule=None, reason="no line matches", result=Result.REFUSED)
        << Closed()
    )


@pytest.mark.parametrize("speech", ADDRESSES)
def test_a_report_line_lets_pass_and_is_written_down(speech: Speech) -> None:
    assert (
        opened(speech, Playbook("deny ALL ALL report\npermit ALL ALL\n"))
        << dialled(f"{TARGET}:80")
        >> Connected()
        << Starting("connected -- ")
        << Sent(speech.success)
        << Relayed()
        >> Ended(0, 0)
        << Starting("terminated -- ")
        << recorded(rule="sockd.conf:2", would_deny="sockd.conf:1", result=Result.CONNECTED)
    )


@pytest.mark.parametrize("speech", ADDRESSES)
@pytest.mark.parametrize(
    ("number", "call", "position", "text"),
    [
        pytest.param(errno.ECONNREFUSED, "connect()", 1, "Connection refused", id="refused by the target"),
        pytest.param(errno.EHOSTUNREACH, "connect()", 2, "No route to host", id="no route to the host"),
        pytest.param(errno.EMFILE, "socket()", 3, "Too many open files", id="no descriptor for the socket"),
        pytest.param(errno.ENOBUFS, "bind()", 3, "No buffer space available", id="another call failed"),
    ],
)
def test_a_connection_that_fails(speech: Speech, number: int, call: str, position: int, text: str) -> None:
    what = f"Connect from {speech.claimed}(unknown)@10.1.2.3 to {TARGET} (http)"
    assert (
        opened(speech, Playbook())
        << dialled(f"{TARGET}:80")
        >> ConnectFailed(number, call)
        << refusals(speech)[position]
        << Noted(f"failed -- {what}.  Error code: {call} {text}")
        << recorded(
            result=Result.FAILED,
            end=f"{call} {text}",
            rule="sockd.conf:1",
            reason="permitted by sockd.conf:1",
            address=None,
            egress=None,
            port=80,
        )
        << Closed()
    )


@pytest.mark.parametrize("number", [0, 99999])
def test_an_errno_without_a_meaning_is_a_general_failure(number: int) -> None:
    play = Playbook() >> Received(greeting(0) + socks5(TARGET, 80)) << Sent(NONE_CHOSEN) << dialled(f"{TARGET}:80")
    assert (
        play
        >> ConnectFailed(number)
        << Sent(failure5(1))
        << Starting("failed -- ")
        << recorded(result=Result.FAILED)
        << Closed()
    )


@pytest.mark.parametrize("speech", ADDRESSES)
def test_the_kernel_giving_up_is_a_time_out(speech: Speech) -> None:
    assert (
        opened(speech, Playbook())
        << dialled(f"{TARGET}:80")
        >> ConnectFailed(errno.ETIMEDOUT)
        << refusals(speech)[2]
        << Noted(f"timed-out -- Connect from {speech.claimed}(unknown)@10.1.2.3 to {TARGET} (http)")
        << recorded(result=Result.TIMED_OUT)
        << Closed()
    )


# Names


@pytest.mark.parametrize("speech", NAMES)
@pytest.mark.parametrize(
    "fact", [pytest.param("Name or service not known", id="unknown"), pytest.param("no answer", id="no answer")]
)
def test_a_name_that_can_not_be_looked_up(speech: Speech, fact: str) -> None:
    assert (
        opened(speech, Playbook())
        << LookedUp("www.example.com")
        >> LookupFailed(fact)
        << refusals(speech)[2]
        << Noted(
            f"failed -- Connect from {speech.claimed}(unknown)@10.1.2.3 to www.example.com (http)."
            f"  Error code: gethostbyname() {fact}"
        )
        << recorded(host="www.example.com", address=None, result=Result.FAILED, end=f"gethostbyname() {fact}")
        << Closed()
    )


@pytest.mark.parametrize("speech", NAMES)
def test_a_name_without_an_address(speech: Speech) -> None:
    assert (
        opened(speech, Playbook())
        << LookedUp("www.example.com")
        >> Resolved()
        << refusals(speech)[2]
        << Starting("failed -- ")
        << recorded(result=Result.FAILED, end="gethostbyname() the name has no address")
        << Closed()
    )


BY_NAME = greeting(0) + socks5(b"www.example.com", 80)


def by_name(rules: str) -> Playbook:
    return Playbook(rules) >> Received(BY_NAME) << Sent(NONE_CHOSEN)


def test_only_the_permitted_addresses_of_a_name_are_dialled_in_their_order() -> None:
    assert (
        by_name("deny ALL 198.51.100.0/24\npermit ALL ALL\n")
        << LookedUp("www.example.com")
        >> Resolved("198.51.100.1", "203.0.113.1", "198.51.100.2", "2001:db8::1", "203.0.113.1")
        << dialled("203.0.113.1:80", "[2001:db8::1]:80")
    )


def test_no_permitted_address_is_a_refusal_by_the_line_of_the_first() -> None:
    assert (
        by_name("deny ALL 198.51.100.0/24\ndeny ALL 203.0.113.0/24\npermit ALL ALL\n")
        << LookedUp("www.example.com")
        >> Resolved("203.0.113.1", "198.51.100.2")
        << Sent(failure5(2))
        << Noted("refused -- Connect from (unknown)@10.1.2.3 to www.example.com (http)")
        << recorded(rule="sockd.conf:2", reason="denied by sockd.conf:2", host="www.example.com", result=Result.REFUSED)
        << Closed()
    )


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param("127.0.0.1", id="loopback"),
        pytest.param("::1", id="loopback by IPv6"),
        pytest.param("::ffff:127.0.0.1", id="loopback, mapped"),
        pytest.param("64:ff9b::7f00:1", id="loopback through a translator"),
        pytest.param("169.254.169.254", id="the metadata service"),
        pytest.param("0.0.0.0", id="the unspecified address"),
    ],
)
def test_a_name_that_leads_inside_is_refused_by_the_guard_and_not_dialled(inside: str) -> None:
    assert (
        by_name("permit ALL ALL\n")
        << LookedUp("www.example.com")
        >> Resolved(inside)
        << Sent(failure5(2))
        << Starting("refused -- ")
        << recorded(result=Result.REFUSED, rule="sockd.conf:1")
        << Closed()
    )
    assert (
        by_name("permit ALL ALL\n")
        << LookedUp("www.example.com")
        >> Resolved(inside, "203.0.113.1")
        << dialled("203.0.113.1:80")
    )


def test_the_line_that_permitted_the_connected_address_is_the_one_on_record() -> None:
    rules = "permit ALL 203.0.113.0/24\npermit ALL 198.51.100.0/24\n"
    for remote, line in (("203.0.113.1", 1), ("198.51.100.1", 2)):
        assert (
            by_name(rules)
            << LookedUp("www.example.com")
            >> Resolved("203.0.113.1", "198.51.100.1")
            << dialled("203.0.113.1:80", "198.51.100.1:80")
            >> Connected(remote)
            << Starting("connected -- ")
            << Sent(SUCCESS5)
            << Relayed()
            >> Ended(0, 0)
            << Starting("terminated -- ")
            << recorded(rule=f"sockd.conf:{line}", address=remote)
        )


def test_a_mapped_answer_and_its_ipv4_form_are_one_address() -> None:
    assert (
        by_name("permit ALL ALL\n")
        << LookedUp("www.example.com")
        >> Resolved("::ffff:203.0.113.1", "203.0.113.1")
        << dialled("203.0.113.1:80")
    )


@pytest.mark.parametrize("count", [MAX_ADDRESSES - 1, MAX_ADDRESSES, MAX_ADDRESSES + 1, 5 * MAX_ADDRESSES])
def test_a_long_answer_is_cut(count: int) -> None:
    play = by_name("permit ALL ALL\n") << LookedUp("www.example.com")
    play.session.resolved(dialled(f"203.0.113.{1 + index % 250}:80").endpoints[0].address for index in range(count))
    assert len(play.dialled_endpoints) == min(count, MAX_ADDRESSES)


def test_a_name_that_no_line_could_permit_is_refused_unasked() -> None:
    assert (
        by_name("deny ALL .example.com\npermit ALL ALL\n")
        << Sent(failure5(2))
        << Starting("refused -- ")
        << recorded(rule="sockd.conf:1", result=Result.REFUSED)
        << Closed()
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param(b"localhost\x00.evil.com", r"localhost\x00.evil.com", id="a NUL"),
        pytest.param(b"127.1", "127.1", id="a number with dots left out"),
        pytest.param(b"0x7f000001", "0x7f000001", id="a hexadecimal number"),
        pytest.param(b"2130706433", "2130706433", id="a number"),
        pytest.param("①②⑦.0.0.1".encode(), None, id="digits of another alphabet"),
        pytest.param(b"[::1]", "[::1]", id="brackets"),
        pytest.param(b"a..b", "a..b", id="an empty label"),
        pytest.param(b"a b\r\nrefused -- x", r"a\x20b\x0d\x0arefused\x20--\x20x", id="line ends and blanks"),
        pytest.param(b"a" * 255, "a" * 255, id="255 letters"),
    ],
)
def test_a_bad_name_reaches_neither_rules_nor_resolver(name: bytes, shown: str | None) -> None:
    play = Playbook() >> Received(greeting(0)) << Sent(NONE_CHOSEN) >> Received(socks5(name, 80))
    play = play << Sent(failure5(1)) << Starting("failed -- Connect from (unknown)@10.1.2.3 to ")
    host = play.notebook.records[0].host
    assert play << recorded(result=Result.FAILED, host=shown or host, address=None, rule=None, port=80) << Closed()
    assert host is not None
    assert host.isascii()
    assert host.isprintable()


@pytest.mark.parametrize("text", [b"203.0.113.9", b"2001:db8::9"])
def test_an_address_written_as_a_name_is_an_address(text: bytes) -> None:
    shown = text.decode()
    where = f"[{shown}]:80" if ":" in shown else f"{shown}:80"
    assert Playbook() >> Received(greeting(0) + socks5(text, 80)) << Sent(NONE_CHOSEN) << dialled(where)


# Commands that this version does not serve


@pytest.mark.parametrize(
    ("data", "answer", "command"),
    [
        pytest.param(socks4(TARGET, 21, b"fred", BIND), REJECTED, "bind", id="BIND by SOCKS4"),
        pytest.param(socks4a(b"example.com", 21, b"fred", BIND), REJECTED, "bind", id="BIND by SOCKS4A"),
        pytest.param(greeting(0) + socks5(TARGET, 21, BIND), NONE_CHOSEN + failure5(7), "bind", id="BIND by SOCKS5"),
        pytest.param(
            greeting(0) + socks5("0.0.0.0", 0, UDP_ASSOCIATE),
            NONE_CHOSEN + failure5(7),
            "udp",
            id="UDP ASSOCIATE",
        ),
    ],
)
def test_a_command_that_is_not_served(data: bytes, answer: bytes, command: str) -> None:
    play = Playbook()
    play.session.received(data)
    assert play.notebook.sent == answer
    assert play.notebook.done[-1] == Closed()
    (record,) = play.notebook.records
    assert (record.command, record.result, record.rule) == (command, Result.FAILED, None)
    assert record.end == f"{command} is not served"


# What a client may leave half said


@pytest.mark.parametrize(
    "said",
    [
        pytest.param((b"\x05\x01\x00", b"\x05\x01"), id="SOCKS5, in the middle of the request"),
        pytest.param((b"\x05\x01\x00",), id="SOCKS5, after the greeting"),
        pytest.param((b"\x05",), id="SOCKS5, in the greeting"),
        pytest.param((b"\x04\x01\x00\x50",), id="SOCKS4, in the head"),
        pytest.param((b"\x04\x01\x00\x50\xcb\x00\x71\x09fre",), id="SOCKS4, in the user id"),
        pytest.param((b"CONNECT exam",), id="HTTP, in the first line"),
    ],
)
def test_a_client_that_ends_in_the_middle_is_an_error_without_a_success(said: tuple[bytes, ...]) -> None:
    play = Playbook()
    for piece in (*said, b""):
        play.session.received(piece)
    (record,) = play.notebook.records
    assert record.result is Result.ERROR
    assert record.command is None
    assert play.notebook.done[-1] == Closed()
    assert SUCCESS5[:4] not in play.notebook.sent


def test_a_client_that_closes_without_a_word_costs_a_record_and_no_line() -> None:
    assert (
        Playbook()
        >> Received(b"")
        << Closed()
        << recorded(result=Result.ERROR, protocol=None, command=None, host=None, port=None)
    )


def test_a_client_may_end_its_half_with_the_request() -> None:
    assert Playbook() >> Received(socks4(TARGET, 80)) << dialled(f"{TARGET}:80")
    assert Playbook() >> Received(greeting(0), socks5(TARGET, 80)) << Sent(NONE_CHOSEN) << dialled(f"{TARGET}:80")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00", b"", id="TLS"),
        pytest.param(b"\x06\x01\x00", b"", id="version 6"),
        pytest.param(greeting(0) + b"\x05\x09\x00\x01" + bytes(6), NONE_CHOSEN + failure5(7), id="an unknown command"),
        pytest.param(greeting(0) + b"\x05\x01\x00\x05" + bytes(6), NONE_CHOSEN + failure5(8), id="an unknown ATYP"),
        pytest.param(greeting(), NOTHING_CHOSEN, id="an empty list of methods"),
        pytest.param(b"\x04\x09" + bytes(6) + b"\0", REJECTED, id="an unknown SOCKS4 command"),
        pytest.param(b"\x04\x01" + bytes(6) + b"u" * 256, REJECTED, id="a user id of 256 bytes"),
    ],
)
def test_nonsense_is_answered_as_its_protocol_wants_and_closed(data: bytes, answer: bytes) -> None:
    play = Playbook()
    play.session.received(data)
    assert play.notebook.sent == answer
    assert play.notebook.done[-1] == Closed()
    (record,) = play.notebook.records
    assert record.result is Result.ERROR


def test_a_second_greeting_is_the_beginning_of_a_bad_request() -> None:
    assert (
        Playbook()
        >> Received(greeting(0) + greeting(0))
        << Sent(NONE_CHOSEN)
        >> Received(greeting(0)[:1])
        << Sent(failure5(8))
        << Starting("error -- ")
        << recorded(result=Result.ERROR)
        << Closed()
    )


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 405, id="another method"),
        pytest.param(b"CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="no port"),
        pytest.param(b"CONNECT x:80 HTTP/3.0\r\nHost: x\r\n\r\n", 505, id="another version"),
        pytest.param(b"CONNECT x:80 HTTP/1.1\r\n\r\n", 400, id="no host"),
    ],
)
def test_nonsense_in_http_is_answered_with_its_status(data: bytes, status: int) -> None:
    play = Playbook() >> Received(data) << Answered(status) << Starting("error -- ")
    assert play << recorded(result=Result.ERROR, auth="none") << Closed()


@pytest.mark.parametrize("data", [b"\x05\x01\x80", b"\x05\x02\x01\x80"])
def test_no_method_in_common_is_refused(data: bytes) -> None:
    methods = data[2:].hex(" ")
    assert (
        Playbook()
        >> Received(data)
        << Sent(NOTHING_CHOSEN)
        << Noted(f"error -- no acceptable method among {methods} from host 10.1.2.3")
        << recorded(result=Result.REFUSED)
        << Closed()
    )


# Commands of the lines


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param(
            "permit ALL ALL : log %A %a %c %p %S %s %U %u %Z %z %% %q\n",
            "log 10.1.2.3 10.1.2.3 connect 4711 http 80 unknown fr_d_ 203.0.113.9 203.0.113.9 % ",
            id="every code, and what a client wrote is sanitised",
        ),
        pytest.param("permit ALL ALL eq 80 : a # b: c\n", "a # b: c", id="the rest of the line, whatever is in it"),
    ],
)
def test_the_command_of_a_permit_line_runs_before_the_connection(rules: str, expected: str) -> None:
    assert Playbook(rules) >> Received(socks4(TARGET, 80, b"fr\xe9d;")) << Ran(expected) << dialled(f"{TARGET}:80")


COMMAND = Ran("log 10.1.2.3 10.1.2.3 connect 4711 http 80 unknown fr_d_ 203.0.113.9 203.0.113.9 % ")


def test_the_command_of_a_name_knows_the_name_and_the_first_address() -> None:
    assert (
        by_name("permit ALL ALL : log %Z %z\n")
        << LookedUp("www.example.com")
        >> Resolved("203.0.113.1", "203.0.113.2")
        << Ran("log www.example.com 203.0.113.1")
        << dialled("203.0.113.1:80", "203.0.113.2:80")
    )


def test_the_command_of_a_deny_line_runs_too() -> None:
    assert (
        Playbook("deny ALL ALL : mail %u %Z\npermit ALL ALL : never\n")
        >> Received(socks4(TARGET, 80, b"fred"))
        << Ran(f"mail fred {TARGET}")
        << Sent(REJECTED)
        << Starting("refused -- ")
        << recorded(rule="sockd.conf:1")
        << Closed()
    )


def test_who_runs_a_command_can_make_it_anew_from_the_line_and_the_values() -> None:
    play = Playbook("deny ALL 10.9.9.9/32\npermit ALL ALL : log %A %a %c %p %S %s %U %u %Z %z %% %q\n")
    assert play >> Received(socks4(TARGET, 80, b"fr\xe9d;")) << COMMAND << dialled(f"{TARGET}:80")
    (job,) = play.notebook.jobs
    assert job.origin == "sockd.conf:2"
    assert job.values.user == "fr\xe9d;", "it is made harmless where it is put in, by whoever does that"
    template = parsed("permit ALL ALL : log %A %a %c %p %S %s %U %u %Z %z %% %q\n").rules[0].command
    assert template is not None
    assert expand(template, job.values) == job.command == COMMAND.command


def test_the_command_of_a_permit_line_that_the_guard_overrules_does_not_run() -> None:
    assert (
        Playbook("permit ALL ALL : never\n")
        >> Received(socks4("127.0.0.1", 80))
        << Sent(REJECTED)
        << Starting("refused -- ")
        << recorded(rule="sockd.conf:1", result=Result.REFUSED)
        << Closed()
    )


def test_a_command_that_can_not_be_run_is_written_down_and_costs_nothing_else() -> None:
    assert (
        Playbook("permit ALL ALL : !!!\n")
        >> Received(socks4(TARGET, 80))
        << Noted('error -- shell command "!!!" contains no alphanumeric characters.')
        << dialled(f"{TARGET}:80")
    )


# What reaches the log of a client's bytes

HOSTILE = [
    pytest.param(b"x\r\nterminated -- Connect", id="a line end"),
    pytest.param(b"root(root)@10.0.0.1 to", id="parentheses and blanks that imitate the line"),
    pytest.param(b"\x1b[2J\x07\x7f\x9b", id="control sequences of a terminal"),
    pytest.param("\u202efred\u2066".encode(), id="text that runs from right to left"),
    pytest.param(b'"\\%s{}', id="quotes, backslash and formats"),
    pytest.param(b"\xff\xfe\xc0\x80", id="bytes that are no text"),
    pytest.param("\u2028\u0085".encode(), id="line ends of other alphabets"),
]


@pytest.mark.parametrize("user", HOSTILE)
@pytest.mark.parametrize("rules", ["permit ALL ALL\n", "deny ALL ALL\n"], ids=["permitted", "refused"])
def test_a_user_id_can_not_forge_a_line(user: bytes, rules: str) -> None:
    play = Playbook(rules)
    play.session.received(socks4(TARGET, 80, user))
    if rules.startswith("permit"):
        play.session.connected(dialled(BOUND).endpoints[0], BOUND, play.dialled_endpoints[0].address)
        play.session.ended(0, 0, "the client closed")
    assert play.notebook.lines
    for line in play.notebook.lines:
        assert line.isascii()
        assert line.isprintable()
        assert line.count("(") == line.count(")") == 2
        head, _, rest = line.partition("Connect from ")
        claimed, _, rest = rest.partition("(unknown)@10.1.2.3 to ")
        assert rest.startswith(f"{TARGET} (http)"), head
        assert set(claimed).isdisjoint(' ()"')
    (record,) = play.notebook.records
    assert record.user == claimed


@pytest.mark.parametrize("user", [pytest.param(b"fred", id="fred"), *HOSTILE])
def test_the_rules_see_the_very_user_that_the_client_sent(user: bytes) -> None:
    play = Playbook("deny *=fred ALL ALL\npermit ALL ALL\n")
    play.session.received(socks4(TARGET, 80, user))
    assert (play.notebook.sent == REJECTED) == (user == b"fred")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_host_name_can_not_forge_a_line(name: bytes) -> None:
    play = Playbook()
    play.session.received(greeting(0) + socks5(name, 80))
    (line,) = play.notebook.lines
    assert line.isascii()
    assert line.isprintable()
    assert line.startswith("failed -- Connect from (unknown)@10.1.2.3 to ")
    assert line.count("(") == line.count(")") == 2


def test_a_password_is_nowhere_but_in_the_question_for_it() -> None:
    secret = b"geheim123"
    play = Playbook("permit ALL ALL auth=password\n", passwords=True)
    play.session.received(greeting(2) + password(b"fred", secret))
    assert play.notebook.done[-1] == AskedPassword(b"fred", secret)
    play.session.password_checked(False)
    written = [entry for entry in play.notebook.done if not isinstance(entry, AskedPassword)]
    assert secret.decode() not in repr(written)


def test_abandoning_after_the_end_is_nothing() -> None:
    play = Playbook("deny ALL ALL\n")
    play.session.received(socks4(TARGET, 80))
    done = len(play.notebook.done)
    play.session.abandoned("put out for a newer client: all places are taken")
    assert len(play.notebook.done) == done
