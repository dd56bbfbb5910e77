"""What is written down about a session: the classic lines of ``spec/socks4.md`` §9.1, and the JSON record."""

import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.daemon import Sockd, sockd
from tests.support.peers import (
    Habit,
    Peer,
    closed_port,
    collect,
    echo,
    fin_then_listen,
    how_it_ends,
    one_kib,
    reset_on_data,
    silent,
)
from tests.support.rawsocks import DIALECTS, Dialect, Wire, connect5, greeting, socks4

BY_TITLE = [pytest.param(dialect, id=dialect.title) for dialect in DIALECTS]
PROTOCOLS = {
    "SOCKS4": "socks4",
    "SOCKS4A": "socks4a",
    "SOCKS5 by address": "socks5",
    "SOCKS5 by name": "socks5",
    "HTTP CONNECT": "http",
}


@pytest.fixture
def target() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


def client_of(wire: Wire) -> str:
    return "{}:{}".format(*wire.name)


# --- served --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", BY_TITLE)
def test_record_of_a_session_that_ran(gateway: Sockd, target: Peer, dialect: Dialect) -> None:
    before = datetime.now(UTC)
    with Wire(gateway.port) as wire:
        assert dialect.ask(wire, target.port) == dialect.granted
        wire.send(b"12345")
        assert wire.read(5) == b"12345"
        client = client_of(wire)
    record = gateway.wait_record(client=client, port=target.port)
    fred = "fred" if dialect.title.startswith("SOCKS4") else ""
    expected = {
        "protocol": PROTOCOLS[dialect.title],
        "command": "connect",
        "user": fred,
        "auth": "none",
        "host": "127.0.0.1" if dialect.title in ("SOCKS4", "SOCKS5 by address") else "localhost",
        "address": "127.0.0.1",
        "port": target.port,
        "egress": "{}:{}".format(*target.callers[0]),
        "uplink": None,
        "way": None,
        "rule": "sockd.conf:1",
        "reason": "permitted by sockd.conf:1",
        "result": "connected",
        "sent": 5,
        "received": 5,
    }
    assert {key: record[key] for key in expected} == expected
    assert record["session"]
    assert 0 <= record["seconds"] < 5
    assert record["time"].endswith("Z")
    assert before - timedelta(seconds=1) < datetime.fromisoformat(record["time"]) < datetime.now(UTC)


def test_classic_lines_of_a_session_that_ran(gateway: Sockd) -> None:
    with Peer(fin_then_listen) as target, Wire(gateway.port) as wire:
        wire.send(socks4("127.0.0.1", target.port, b"fred") + b"abc")
        assert len(wire.read_to_end()) == 8 + len(b"hello")
    what = rf"Connect from fred\(unknown\)@127\.0\.0\.1 to 127\.0\.0\.1 \({target.port}\)"
    gateway.wait_log(f"connected -- {what}$")
    gateway.wait_log(rf"terminated -- {what}\.  3 bytes from 127\.0\.0\.1, 5 bytes from 127\.0\.0\.1$")


def test_early_data_is_counted(gateway: Sockd) -> None:
    with Peer(collect) as target:
        with Wire(gateway.port) as wire:
            wire.send(socks4("127.0.0.1", target.port) + b"e" * 3000)
            wire.read(8)
            wire.finish()
            wire.read_to_end()
            client = client_of(wire)
        assert gateway.wait_record(client=client, port=target.port)["sent"] == 3000
        assert target.result() == b"e" * 3000


def test_well_known_ports_are_logged_by_their_service(tmp_path_factory: pytest.TempPathFactory) -> None:
    """``(http)``, where /etc/services has it; nobody listens on 127.9.9.9, so the connection is refused."""
    service = socket.getservbyport(80) if Path("/etc/services").exists() else "80"
    with sockd(tmp_path_factory.mktemp("services")) as daemon, Wire(daemon.port) as wire:
        connect5(wire, "127.9.9.9", 80)
        daemon.wait_log(rf"Connect from \S*\(unknown\)@127\.0\.0\.1 to 127\.9\.9\.9 \({service}\)")


@pytest.mark.parametrize(
    ("habit", "say", "then", "end"),
    [
        pytest.param(one_kib, b"", "finish", r"target closed|client closed", id="both close"),
        pytest.param(reset_on_data, b"x", "read", r"reset by the target", id="the target resets"),
        pytest.param(silent, b"x", "reset", r"reset by the client", id="the client resets"),
    ],
)
def test_the_record_says_why_the_session_ended(gateway: Sockd, habit: Habit, say: bytes, then: str, end: str) -> None:
    with Peer(habit) as target, Wire(gateway.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        client = client_of(wire)
        wire.send(say)
        if then == "reset":
            wire.reset()
        elif then == "read":
            wire.end_of_peer()
        else:
            wire.read_to_end()
            wire.finish()
        assert re.search(end, gateway.wait_record(client=client, port=target.port)["end"])


# --- not served ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockd]:
    """A daemon that denies low ports; for ports from 60000 up it has no line at all."""
    rules = (
        "# the second line decides below 30000, the third below 60000\n"
        "deny 127.0.0.0/8 127.0.0.0/8 lt 30000\n"
        "permit 127.0.0.0/8 127.0.0.0/8 lt 60000\n"
    )
    with sockd(tmp_path_factory.mktemp("strict"), rules) as daemon:
        yield daemon


NO_RULE: set[tuple[str | None, str]] = {(None, "no line matches"), (None, "no line permits any address of this name")}


def reasons(rule: str | None, by_name: bool) -> set[tuple[str | None, str]]:
    """A name may have other addresses too, such as ::1, for which the rules hold no line."""
    denied: set[tuple[str | None, str]] = {(rule, f"denied by {rule}")}
    if rule is None:
        return NO_RULE
    return denied | NO_RULE if by_name else denied


@pytest.mark.parametrize("dialect", BY_TITLE)
@pytest.mark.parametrize(
    ("port", "rule"),
    [
        pytest.param(4000, "sockd.conf:2", id="by a deny line"),
        pytest.param(60000, None, id="as no line matches"),
    ],
)
def test_refused_by_rule(strict: Sockd, dialect: Dialect, port: int, rule: str | None) -> None:
    with Wire(strict.port) as wire:
        assert dialect.ask(wire, port) == dialect.not_allowed
        wire.read_to_end()
        client = client_of(wire)
    record = strict.wait_record(client=client, port=port)
    assert (record["result"], record["address"], record["egress"]) == ("refused", None, None)
    assert (record["rule"], record["reason"]) in reasons(rule, by_name=record["host"] == "localhost")
    strict.wait_log(rf"refused -- Connect from \S*\(unknown\)@127\.0\.0\.1 to \S+ \({port}\)")


def test_a_refused_connection_is_logged_as_failed(gateway: Sockd) -> None:
    with closed_port() as port, Wire(gateway.port) as wire:
        assert connect5(wire, "127.0.0.1", port).code == 5
        client = client_of(wire)
        what = rf"Connect from \(unknown\)@127\.0\.0\.1 to 127\.0\.0\.1 \({port}\)"
        gateway.wait_log(rf"failed -- {what}\.  Error code: connect\(\) Connection refused$")
        record = gateway.wait_record(client=client, port=port)
    assert (record["result"], record["rule"], record["egress"]) == ("failed", "sockd.conf:1", None)


@pytest.mark.parametrize("first", [0x00, 0x06, 0x16, 0xFF])
def test_a_wrong_version_is_closed_without_a_reply(gateway: Sockd, first: int) -> None:
    with Wire(gateway.port) as wire:
        wire.send(bytes([first]) + b"\x03\x01" * 20)
        try:
            assert wire.read_to_end() == b""
        except ConnectionResetError:
            pytest.fail("closed with data unread, so the client sees a reset")
        client = client_of(wire)
    gateway.wait_log(rf"error -- wrong version \(0x\s?0?{first:x}\) from host 127\.0\.0\.1")
    gateway.wait_record(client=client, result="error")


def test_a_client_that_says_nothing_is_recorded(gateway: Sockd) -> None:
    with Wire(gateway.port) as wire:
        client = client_of(wire)
    record = gateway.wait_record(client=client, result="error")
    assert (record["protocol"], record["host"]) == (None, None)


def test_no_session_is_lost_or_doubled_at_the_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Sessions in every state when SIGTERM comes: each gets its one record, running ones with their bytes."""
    folder = tmp_path_factory.mktemp("ending")
    with Peer(how_it_ends) as target, sockd(folder) as daemon:
        wires = [Wire(daemon.port) for _ in range(6)]
        for wire in wires[:3]:
            assert connect5(wire, "127.0.0.1", target.port).code == 0
            wire.send(b"1234")
        wires[3].send(greeting(0))
        wires[4].send(socks4("127.0.0.1", target.port)[:-1])
        clients = sorted(client_of(wire) for wire in wires)
        assert wires[3].read(2) == b"\x05\x00"
        daemon.stop()
        for wire in wires:
            wire.socket.close()
        records = daemon.records()
    assert sorted(record["client"] for record in records) == clients
    assert len({record["session"] for record in records}) == len(records)
    assert [record["sent"] for record in records if record["result"] == "connected"] == [4, 4, 4]
