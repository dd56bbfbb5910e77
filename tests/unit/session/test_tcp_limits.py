"""What ends a session from outside: time limits and clients that go away, in each state before the relay."""

from collections.abc import Callable

import pytest

from gateway.session.record import Result
from gateway.session.tcp import WAITING_FOR, State
from tests.support.playbook import (
    Abandoned,
    Answered,
    AskedPassword,
    Closed,
    Expected,
    LookedUp,
    Noted,
    Playbook,
    Received,
    Sent,
    TimedOut,
    Waited,
    asked_ident,
    dialled,
    recorded,
)
from tests.support.rawsocks import greeting, http, password, socks4, socks4a, socks5

TARGET = "203.0.113.9"
HERE = f"{TARGET}:80"
REJECTED = bytes((0, 91, 0, 0, 0, 0, 0, 0))
UNREACHABLE5 = bytes((5, 4, 0, 1, 0, 0, 0, 0, 0, 0))
BASIC = "Proxy-Authorization: Basic ZnJlZDpnZWhlaW0="
IN_DIALING = f"Connect from fred(unknown)@10.1.2.3 to {TARGET} (http)"
TO_NAME = "Connect from fred(unknown)@10.1.2.3 to example.com (http)"


def silent() -> Playbook:
    return Playbook()


def greeted() -> Playbook:
    return Playbook() >> Received(greeting(0)) << Sent(b"\x05\x00")


def half_requested() -> Playbook:
    return Playbook() >> Received(b"\x04\x01\x00")


def checking5() -> Playbook:
    play = Playbook(passwords=True) >> Received(greeting(2) + password(b"fred", b"x")) << Sent(b"\x05\x02")
    return play << AskedPassword(b"fred", b"x")


def checking_http() -> Playbook:
    return Playbook(passwords=True) >> Received(http(HERE, BASIC)) << AskedPassword(b"fred", b"geheim")


def resolving() -> Playbook:
    return Playbook() >> Received(socks4a(b"example.com", 80, b"fred")) << LookedUp("example.com")


def asking() -> Playbook:
    return Playbook("permit ?=i ALL ALL\n") >> Received(socks4(TARGET, 80, b"fred")) << asked_ident(HERE)


def dialing() -> Playbook:
    return Playbook() >> Received(socks4(TARGET, 80, b"fred")) << dialled(HERE)


def dialing5() -> Playbook:
    play = Playbook() >> Received(greeting(0)) << Sent(b"\x05\x00")
    return play >> Received(socks5(TARGET, 80)) << dialled(HERE)


def dialing_http() -> Playbook:
    return Playbook() >> Received(http(HERE)) << dialled(HERE)


Start = Callable[[], Playbook]

BEFORE_THE_REQUEST: list[tuple[str, Start, State]] = [
    ("nothing said", silent, State.NEGOTIATING),
    ("after the greeting", greeted, State.NEGOTIATING),
    ("half a request", half_requested, State.NEGOTIATING),
    ("password by RFC 1929", checking5, State.CHECKING_PASSWORD),
]
AFTER_THE_REQUEST: list[tuple[str, Start, State, Expected, str]] = [
    ("resolving", resolving, State.RESOLVING, Sent(REJECTED), TO_NAME),
    ("asking identd", asking, State.ASKING_IDENT, Sent(REJECTED), IN_DIALING),
    ("dialing for SOCKS4", dialing, State.DIALING, Sent(REJECTED), IN_DIALING),
    ("dialing for SOCKS5", dialing5, State.DIALING, Sent(UNREACHABLE5), IN_DIALING.replace("fred", "")),
    ("dialing for HTTP", dialing_http, State.DIALING, Answered(502), IN_DIALING.replace("fred", "")),
    ("password by HTTP", checking_http, State.CHECKING_PASSWORD, Answered(502), IN_DIALING),
]


@pytest.mark.parametrize(("start", "state"), [pytest.param(*case[1:], id=case[0]) for case in BEFORE_THE_REQUEST])
def test_a_time_limit_before_the_request_closes_without_an_answer(start: Start, state: State) -> None:
    play = start() >> Waited(30)
    assert play.session.state is state
    waited = f"timed out waiting for {WAITING_FOR[state]}"
    assert (
        play
        >> TimedOut()
        << Noted(f"error -- {waited} from host 10.1.2.3")
        << recorded(result=Result.TIMED_OUT, end=waited, command=None, host=None, port=None, seconds=30.0)
        << Closed()
    )


@pytest.mark.parametrize(
    ("start", "state", "answer", "what"), [pytest.param(*case[1:], id=case[0]) for case in AFTER_THE_REQUEST]
)
def test_a_time_limit_after_the_request_is_answered(start: Start, state: State, answer: Expected, what: str) -> None:
    play = start() >> Waited(120)
    assert play.session.state is state
    assert (
        play
        >> TimedOut()
        << answer
        << Noted(f"timed-out -- {what}")
        << recorded(
            result=Result.TIMED_OUT, end=f"timed out waiting for {WAITING_FOR[state]}", command="connect", port=80
        )
        << Closed()
    )


EVERY_START = [
    *(pytest.param(start, id=name) for name, start, _ in BEFORE_THE_REQUEST),
    *(pytest.param(start, id=name) for name, start, *_ in AFTER_THE_REQUEST),
]


@pytest.mark.parametrize("start", EVERY_START)
def test_a_client_that_is_gone_leaves_one_record_and_gets_nothing(start: Start) -> None:
    play = start()
    sent = play.notebook.sent
    assert play >> Abandoned() << recorded(result=Result.ERROR, end="reset by the client", sent=0, received=0)
    assert play.notebook.sent == sent
    assert play.session.state is State.ENDED
    assert play >> Abandoned("again")


@pytest.mark.parametrize("start", EVERY_START)
def test_what_was_known_is_on_the_record_of_a_client_that_is_gone(start: Start) -> None:
    play = start()
    play.session.abandoned("reset by the client")
    (record,) = play.notebook.records
    asked = start in [case[1] for case in AFTER_THE_REQUEST]
    known = ("connect", 80) if asked else (None, None)
    assert (record.command, record.port) == known
    assert record.address is None
    assert record.egress is None


@pytest.mark.parametrize(("state", "words"), WAITING_FOR.items(), ids=lambda value: str(value))
def test_every_state_before_the_relay_has_words_for_its_record(state: State, words: str) -> None:
    assert state < State.RELAYING
    assert words.startswith("the ")


def test_no_state_before_the_relay_is_without_words() -> None:
    assert set(WAITING_FOR) == {state for state in State if state < State.RELAYING}
