"""Several addresses, some of them dead: whichever answers is used, without the wait for the others (RFC 8305)."""

import time

import pytest

from tests.support.daemon import Sockd
from tests.support.labworld import CLOSED, DROPPED, GOOD, GOOD6, NO_ROUTE, World
from tests.support.netns import needs_namespaces
from tests.support.waiting import eventually, least

pytestmark = needs_namespaces


@pytest.mark.parametrize(
    ("name", "address", "seconds"),
    [
        pytest.param("good.example", GOOD, 0.2, id="one address"),
        pytest.param("six.example", GOOD6, 0.2, id="one IPv6 address"),
        pytest.param("alias.example", GOOD, 0.2, id="an alias"),
        pytest.param("both.example", GOOD6, 0.2, id="both families, IPv6 first"),
        pytest.param("dropped-first.example", GOOD, 0.8, id="the first address drops every packet"),
        pytest.param("dropped-last.example", GOOD, 0.8, id="the last address drops every packet"),
        pytest.param("dropped-six.example", GOOD, 0.8, id="IPv6 drops every packet"),
        pytest.param("dropped-four.example", GOOD6, 0.8, id="IPv4 drops every packet"),
        pytest.param("no-route-first.example", GOOD, 0.2, id="the first address has no route"),
        pytest.param("no-route-six.example", GOOD, 0.2, id="IPv6 has no route"),
        pytest.param("closed-first.example", GOOD, 0.2, id="the first address refuses"),
        pytest.param("closed-last.example", GOOD, 0.2, id="the last address refuses"),
    ],
)
def test_the_address_that_answers_is_used_at_once(
    lab: World, gateway: Sockd, name: str, address: str, seconds: float
) -> None:
    replies = []

    def ask() -> float:
        started = time.monotonic()
        replies.append(lab.ask(gateway, name.encode()))
        return time.monotonic() - started

    assert least(ask, below=seconds) < seconds
    reply = replies[-1]
    assert reply.code == 0
    egress = f"{reply.host}:{reply.port}" if address == GOOD else f"[{reply.host}]:{reply.port}"
    record = gateway.wait_record(host=name, egress=egress)
    assert record["address"] == address


@pytest.mark.parametrize(
    ("host", "code"),
    [
        pytest.param(b"all-closed.example", 5, id="a name whose address refuses"),
        pytest.param(b"all-dropped.example", 4, id="a name whose addresses drop every packet"),
        pytest.param(CLOSED, 5, id="an address that refuses"),
        pytest.param(NO_ROUTE, 4, id="an address without a route"),
        pytest.param(DROPPED, 4, id="an address that drops every packet"),
    ],
)
def test_when_nothing_answers_the_reply_says_why(lab: World, gateway: Sockd, host: str | bytes, code: int) -> None:
    started = time.monotonic()
    assert lab.ask(gateway, host).code == code
    assert time.monotonic() - started < 10


def test_losers_of_the_race_are_closed(lab: World, gateway: Sockd) -> None:
    """The target hears of one connection a request, or of one that was dropped again before a byte came."""
    before = len(lab.good[0].callers), len(lab.good[1].callers)
    with lab.wire(gateway) as wire:
        wire.send(b"\x05\x01\x00")
        assert wire.read(2) == b"\x05\x00"
    for _ in range(5):
        assert lab.ask(gateway, b"both.example").code == 0
    assert eventually(lambda: len(lab.good[1].callers) - before[1] >= 5)
    time.sleep(0.3)
    after = len(lab.good[0].callers), len(lab.good[1].callers)
    assert after[1] - before[1] == 5
    assert after[0] == before[0]
