"""The sessions of a worker as others see and change them: listed, ended, rechecked, and met by other rules."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.net.runner import Limits
from gateway.policy.access import AccessPolicy
from gateway.policy.destination import Guard
from gateway.session.context import Context
from gateway.session.record import Result
from gateway.session.tcp import State
from tests.support.playbook import parsed
from tests.support.rawsocks import greeting, http, password, socks4, socks5
from tests.support.rules import Users
from tests.unit.net.stage import LOOPBACK, FakeVerifier, House, closed_after, silent_target

PATIENT = Limits(handshake=60.0, connect=60.0, idle=60.0, sessions=100)
DENY = "deny ALL ALL\n"
CREDENTIALS = "Proxy-Authorization: Basic ZnJlZDpzZWNyZXQ="


@pytest.fixture
def house() -> Any:
    made = House(limits=PATIENT)
    with closed_after(made):
        yield made


def other(house: House, rules: str, **values: Any) -> Context:
    """What all sessions share, by other rules."""
    policy = AccessPolicy.compile(parsed(rules), values.pop("guard", Guard()), Users())
    return replace(house.runner.context, policy=policy, **values)


def adopt(house: House, rules: str, **values: Any) -> None:
    """These rules from now on."""
    house.runner.adopt(other(house, rules, **values), house.limits, house.verifier, house.identd)


def states(house: House) -> list[str]:
    return sorted(running.session.state.name for running in house.runner.running())


# Listed and ended


def test_relays_and_clients_before_theirs_are_running(house: House) -> None:
    house.relayed(house.server())
    house.client()
    house.until(lambda: house.runner.open == 2)
    assert states(house) == ["NEGOTIATING", "RELAYING"]
    assert [running.session.state for running in house.runner.relaying()] == [State.RELAYING]


def test_bytes_are_those_that_went_by(house: House) -> None:
    client, target = house.relayed(house.server())
    house.write(client, b"123")
    house.read(target, 3)
    house.write(target, b"12345")
    house.read(client, 5)
    (running,) = house.runner.running()
    assert (running.sent, running.received) == (3, 5)


def test_what_is_ended_says_why_in_its_record_and_gives_its_place_back(house: House) -> None:
    client, target = house.relayed(house.server())
    silent = house.client()
    house.until(lambda: house.runner.open == 2)
    assert house.runner.end(list(house.runner.running()), "by the test") == 2
    assert [record.end for record in house.ended(2)] == ["by the test"] * 2
    assert {record.result for record in house.ended(2)} == {Result.CONNECTED, Result.ERROR}
    assert house.runner.open == 0
    for sock in (client, target, silent):
        assert house.end_of(sock) in ("fin", "reset")


def test_only_what_is_meant_is_ended(house: House) -> None:
    server = house.server()
    house.relayed(server)
    client, target = house.relayed(server)
    first = next(iter(house.runner.running()))
    assert house.runner.end([first], "by the test") == 1
    house.write(client, b"x")
    assert house.read(target, 1) == b"x"
    assert house.runner.end([], "nobody") == 0


# Other rules


def test_a_client_that_was_greeted_meets_the_new_rules(house: House) -> None:
    client = house.client(greeting(0))
    house.read(client, 2)
    adopt(house, DENY)
    house.write(client, socks5("127.0.0.1", 80))
    assert house.read(client, 2) == b"\5\2"
    (record,) = house.ended()
    assert (record.result, record.rule) == (Result.REFUSED, "sockd.conf:1")


def test_a_client_that_has_said_nothing_meets_them_too_and_so_does_a_new_one(house: House) -> None:
    before = house.client()
    house.until(lambda: house.runner.open == 1)
    adopt(house, DENY)
    for client in (before, house.client()):
        house.write(client, socks4("127.0.0.1", 80))
        assert house.read(client, 2) == b"\0\x5b"


def test_a_password_that_is_being_checked_is_for_a_request_by_the_new_rules() -> None:
    house = House("permit ALL ALL\n", limits=PATIENT, passwords=True)
    with closed_after(house):
        house.verifier.passwords[b"fred"] = b"secret"
        house.verifier.answers.clear()
        client = house.client(greeting(2))
        house.read(client, 2)
        house.write(client, password(b"fred", b"secret"))
        house.until(lambda: house.verifier.asked)
        adopt(house, DENY)
        house.verifier.answers.set()
        assert house.read(client, 2) == b"\1\0"
        house.write(client, socks5("127.0.0.1", 80))
        assert house.read(client, 2) == b"\5\2"
        (record,) = house.ended()
        assert (record.auth, record.user, record.rule) == ("password", "fred", "sockd.conf:1")


def test_an_http_request_whose_password_is_being_checked_is_decided_by_the_new_rules() -> None:
    house = House("permit ALL ALL\n", limits=PATIENT, passwords=True)
    with closed_after(house):
        house.verifier.passwords[b"fred"] = b"secret"
        house.verifier.answers.clear()
        client = house.client(http("127.0.0.1:80", CREDENTIALS))
        house.until(lambda: house.verifier.asked)
        adopt(house, DENY)
        house.verifier.answers.set()
        assert house.read(client, 12) == b"HTTP/1.1 403"
        assert house.ended()[0].rule == "sockd.conf:1"


def test_a_new_passwords_file_is_asked_from_the_next_question_on() -> None:
    house = House("permit ALL ALL\n", limits=PATIENT, passwords=True)
    with closed_after(house):
        house.verifier.passwords[b"fred"] = b"old"
        client = house.client(greeting(2))
        house.read(client, 2)
        newer = FakeVerifier()
        newer.passwords[b"fred"] = b"new"
        house.runner.adopt(house.runner.context, house.limits, newer, house.identd)
        house.write(client, password(b"fred", b"old"))
        assert house.read(client, 2) == b"\1\1"
        assert newer.asked
        assert not house.verifier.asked


def test_when_the_passwords_file_has_gone_who_has_begun_with_it_is_answered_by_whoever_checks_now() -> None:
    house = House("permit ALL ALL\n", limits=PATIENT, passwords=True)
    with closed_after(house):
        client = house.client(greeting(2))
        house.read(client, 2)
        adopt(house, "permit ALL ALL\n", passwords=False)
        house.write(client, password(b"fred", b"secret"))
        assert house.read(client, 2) == b"\1\1"
        late = house.client(greeting(2))
        assert house.read(late, 2) == b"\5\xff"


def test_a_client_that_was_let_in_without_a_password_is_judged_as_such() -> None:
    house = House(limits=PATIENT)
    with closed_after(house):
        client = house.client(greeting(0, 2))
        assert house.read(client, 2) == b"\5\0"
        adopt(house, "permit ALL ALL auth=password\n", passwords=True)
        house.write(client, socks5("127.0.0.1", 80))
        assert house.read(client, 2) == b"\5\2"


def test_what_was_decided_keeps_its_rules(house: House) -> None:
    server = house.server()
    house.names["localhost"] = lambda: ("127.0.0.1",)
    client, target = house.relayed(server)
    adopt(house, DENY)
    house.write(client, b"still")
    assert house.read(target, 5) == b"still"
    client.close()
    target.close()
    assert house.ended()[0].rule == "sockd.conf:1"
    assert house.ended()[0].reason == "permitted by sockd.conf:1"


def test_other_limits_count_for_who_comes_next(house: House) -> None:
    house.limits = replace(house.limits, sessions=1)
    house.runner.adopt(house.runner.context, house.limits, house.verifier, house.identd)
    first = house.client()
    house.until(lambda: house.runner.open == 1)
    second = house.client()
    assert house.end_of(first) in ("fin", "reset")
    assert house.end_of(second, within=0.05) == "open"


def test_a_shorter_patience_is_looked_at_in_time(house: House) -> None:
    house.limits = replace(PATIENT, handshake=0.04, idle=0.04)
    house.runner.adopt(house.runner.context, house.limits, house.verifier, house.identd)
    house.client()
    house.until(lambda: house.runner.open == 1)
    house.now += 1
    assert house.ended()[0].result is Result.TIMED_OUT


# Rechecked


def test_relays_that_other_rules_deny_are_named_with_the_reason(house: House) -> None:
    server = house.server()
    house.relayed(server)
    assert list(house.runner.denied_by(house.runner.context)) == []
    ((running, reason),) = house.runner.denied_by(other(house, DENY))
    assert running.session.state is State.RELAYING
    assert reason == "denied by sockd.conf:1"
    assert house.runner.end([running], f"no longer permitted: {reason}") == 1
    assert house.ended()[0].end == "no longer permitted: denied by sockd.conf:1"


def test_of_several_only_those_are_named_that_are_denied(house: House) -> None:
    server, elsewhere = house.server(), house.server()
    house.relayed(server)
    house.relayed(elsewhere)
    port = elsewhere.getsockname()[1]
    rules = other(house, f"deny ALL ALL eq {port}\n{LOOPBACK}")
    denied = [running.session.snapshot().port for running, _ in house.runner.denied_by(rules)]
    assert denied == [port]


def test_who_is_being_connected_is_named_too(house: House) -> None:
    target = silent_target(house.far)
    house.client(socks4("127.0.0.1", target.port))
    house.until(lambda: states(house) == ["DIALING"])
    assert list(house.runner.denied_by(house.runner.context)) == []
    ((running, reason),) = house.runner.denied_by(other(house, DENY))
    assert house.runner.end([running], reason) == 1
    assert house.ended()[0].end == "denied by sockd.conf:1"


def test_who_made_no_request_yet_is_not_asked_about(house: House) -> None:
    client = house.client(greeting(0))
    house.read(client, 2)
    assert list(house.runner.denied_by(other(house, DENY))) == []


def test_what_the_host_guards_now_counts(house: House) -> None:
    house.relayed(house.server())
    rules = "permit ALL ALL\n"
    ((_, reason),) = house.runner.denied_by(other(house, rules))
    assert "sockd.conf:1" in reason
    assert list(house.runner.denied_by(other(house, LOOPBACK))) == []
