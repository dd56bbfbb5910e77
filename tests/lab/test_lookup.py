"""Name look-ups: what does not exist, what is slow, and what a search list would make of a name."""

import contextlib
import time

import pytest

from tests.support import proc
from tests.support.daemon import Sockd
from tests.support.labworld import GOOD, PORT, World
from tests.support.netns import needs_namespaces
from tests.support.rawsocks import (
    Wire,
    greeting,
    http,
    read_reply4,
    read_reply5,
    read_status,
    socks4,
    socks4a,
    socks5,
)
from tests.support.waiting import eventually, least

pytestmark = needs_namespaces
HOST_UNREACHABLE = 4


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("missing.example", id="a name that does not exist"),
        pytest.param("empty.example", id="a name without an address"),
    ],
)
def test_a_name_without_address_is_unreachable(lab: World, gateway: Sockd, name: str) -> None:
    """``spec/field-cases.md`` §1, NXDOMAIN: reply 4, and its like in the other protocols."""
    assert lab.ask(gateway, name.encode()).code == HOST_UNREACHABLE
    with lab.wire(gateway) as wire:
        wire.send(socks4a(name.encode(), PORT))
        assert read_reply4(wire).code == 91
    with lab.wire(gateway) as wire:
        wire.send(http(f"{name}:{PORT}"))
        assert read_status(wire) == 502
    record = gateway.wait_record(host=name)
    assert (record["result"], record["address"], record["egress"]) == ("failed", None, None)


def test_the_search_list_is_not_applied_to_dotted_names(lab: World, gateway: Sockd) -> None:
    """The rules saw www.example.net; www.example.net.corp.example, which exists, would be another host."""
    assert lab.ask(gateway, b"www.example.net").code == HOST_UNREACHABLE
    assert lab.names.asked("www.example.net")
    assert not lab.names.asked("www.example.net.corp.example")


def test_the_dot_at_the_end_changes_nothing(lab: World, gateway: Sockd) -> None:
    assert lab.ask(gateway, b"GOOD.Example.").code == 0
    assert gateway.wait_record(host="good.example")["address"] == GOOD


def slow_wires(lab: World, daemon: Sockd, numbers: range, stack: contextlib.ExitStack) -> list[Wire]:
    """Clients that each wait for another name, by these numbers, whose answer takes 0.6 s."""
    wires = [stack.enter_context(lab.wire(daemon)) for _ in numbers]
    for number, wire in zip(numbers, wires, strict=True):
        wire.send(greeting(0) + socks5(f"slow{number}.example".encode(), PORT))
        assert wire.read(2) == b"\x05\x00"
    return wires


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(GOOD, id="those who ask for an address"),
        pytest.param(b"localhost.", id="those who ask for a name of the hosts file"),
        pytest.param(b"good.example", id="those who ask for a name that is quickly found"),
    ],
)
def test_a_slow_name_server_does_not_hold_up(lab: World, gateway: Sockd, host: str | bytes) -> None:
    """Forty names are out that take 0.6 s each; whoever does not want them is answered at once."""

    def seconds() -> float:
        with contextlib.ExitStack() as stack:
            slow_wires(lab, gateway, range(40), stack)
            time.sleep(0.1)
            started = time.monotonic()
            assert lab.ask(gateway, host).code == (2 if host == b"localhost." else 0)
            return time.monotonic() - started

    assert least(seconds, below=0.4) < 0.4


def test_slow_names_are_served_in_the_end(lab: World, gateway: Sockd) -> None:
    with contextlib.ExitStack() as stack:
        started = time.monotonic()
        for wire in slow_wires(lab, gateway, range(40, 45), stack):
            assert read_reply5(wire).code == 0
        assert 0.5 < time.monotonic() - started < 5


def test_a_name_that_takes_too_long_is_given_up(lab: World) -> None:
    with lab.sockd("hasty", settings={"timeouts": {"lookup": 0.3}}) as daemon:

        def seconds() -> float:
            started = time.monotonic()
            assert lab.ask(daemon, b"slow0.example").code == HOST_UNREACHABLE
            return time.monotonic() - started

        assert 0.2 < least(seconds, below=0.55) < 0.55


def test_a_client_that_resets_during_the_look_up_is_let_go(lab: World, gateway: Sockd) -> None:
    with lab.wire(gateway) as wire:
        wire.send(socks4(GOOD, PORT))
        assert read_reply4(wire).code == 90
    time.sleep(0.2)
    rest = proc.descriptors(gateway.pid)["socket"]
    with contextlib.ExitStack() as stack:
        for wire in slow_wires(lab, gateway, range(45, 55), stack):
            wire.reset()
        # The look-ups themselves may still hold sockets towards the name server; the clients must be gone.
        assert eventually(lambda: len([r for r in gateway.records() if "reset by the client" in r["end"]]) >= 10)
    assert eventually(lambda: proc.descriptors(gateway.pid)["socket"] <= rest, within=15)
