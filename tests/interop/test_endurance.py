"""What must not wear the daemon down: slow clients, dead clients, too few descriptors, silence, and many sessions.

Limits are seconds; the small ones here stand for the large ones of a real gateway.
"""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support import proc
from tests.support.daemon import Sockd, sockd
from tests.support.peers import (
    Peer,
    collect,
    echo,
    flood,
    flood_and_collect,
    full_backlog,
    how_it_ends,
    one_kib,
    pour,
    pour_and_reset,
    reset_on_data,
    silent,
    slow_reader,
    stuck,
)
from tests.support.rawsocks import DIALECTS, Dialect, Wire, connect5, greeting, password, socks4, socks5
from tests.support.stream import blocks, checksum, digest_of, pieces_of
from tests.support.waiting import eventually, least

BY_TITLE = [pytest.param(dialect, id=dialect.title) for dialect in DIALECTS]
MIB = 1 << 20
RULES = "permit 127.0.0.0 255.0.0.0 127.0.0.0 255.0.0.0\n"


def sockets(daemon: Sockd) -> int:
    return proc.descriptors(daemon.pid)["socket"]


def warm_up(daemon: Sockd, port: int) -> int:
    """One whole session, so that what is made once is there; then how many sockets the daemon holds at rest."""
    with Wire(daemon.port) as wire:
        connect5(wire, "127.0.0.1", port)
        wire.finish()
        wire.read_to_end()
        client = "{}:{}".format(*wire.name)
    daemon.wait_record(client=client)
    return daemon.sockets_at_rest()


def work(daemon: Sockd, seconds: float) -> float:
    """Processor time that the daemon takes while so much time passes."""
    before = proc.cpu_seconds(daemon.pid)
    time.sleep(seconds)
    return proc.cpu_seconds(daemon.pid) - before


# --- slow clients and few descriptors ------------------------------------------------------------------------------


def drip(wires: list[Wire], until: threading.Event, pause: float) -> None:
    """One byte of an endless SOCKS4 user id on every connection, again and again."""
    while not until.wait(pause):
        for wire in wires:
            try:
                wire.send(b"u")
            except OSError:
                continue


def test_slow_clients_do_not_stop_a_good_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Three times as many slow handshakes as there are descriptors; those who know what they want get in at once."""
    over = threading.Event()
    with sockd(tmp_path_factory.mktemp("slow"), descriptors=256) as daemon, Peer(echo) as target:
        slow: list[Wire] = []
        dripping = threading.Thread(target=drip, args=(slow, over, 0.2))
        try:
            for _ in range(700):
                slow.append(Wire(daemon.port, source="127.0.0.2"))
                slow[-1].send(b"\x04\x01")
            dripping.start()
            for dialect in DIALECTS:
                started = time.monotonic()
                with Wire(daemon.port) as good:
                    assert dialect.ask(good, target.port) == dialect.granted
                    good.send(b"ping")
                    assert good.read(4) == b"ping"
                assert time.monotonic() - started < 5
            assert least(lambda: work(daemon, 0.5), below=0.2) < 0.2
        finally:
            over.set()
            for wire in slow:
                wire.socket.close()
            if dripping.ident is not None:
                dripping.join()


def fill(daemon: Sockd, port: int, stack: contextlib.ExitStack) -> list[Wire]:
    """Open sessions one after the other until one is not answered; returns those that run."""
    running: list[Wire] = []
    for _ in range(200):
        wire = stack.enter_context(Wire(daemon.port, timeout=1.5))
        try:
            if connect5(wire, "127.0.0.1", port).code:
                break
        except TimeoutError:
            break
        running.append(wire)
    wire.socket.close()
    return running


def test_out_of_descriptors_accepting_pauses_and_recovers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Running sessions hold every place: they go on, nothing spins, and all who wait are served when they end."""
    with (
        sockd(tmp_path_factory.mktemp("few"), descriptors=128) as daemon,
        Peer(echo) as target,
        Peer(one_kib) as short,
        contextlib.ExitStack() as stack,
    ):
        rest = warm_up(daemon, target.port)
        running = fill(daemon, target.port, stack)
        assert 10 < len(running) < 64
        waiting = [stack.enter_context(Wire(daemon.port, timeout=30)) for _ in range(60)]
        for wire in waiting:
            wire.send(socks4("127.0.0.1", short.port))
        assert least(lambda: work(daemon, 0.7), below=0.1) < 0.1
        assert not short.callers
        running[0].send(b"still here")
        assert running[0].read(10) == b"still here"
        for wire in running:
            wire.socket.close()
        for wire in waiting:
            assert len(wire.read_to_end()) == 8 + 1024
            wire.socket.close()
        assert eventually(lambda: sockets(daemon) == rest)


def test_a_crowd_that_comes_at_once_is_served(gateway: Sockd) -> None:
    """Three hundred clients connect before the first one says a word."""
    with Peer(one_kib) as target:
        wires = [Wire(gateway.port) for _ in range(300)]
        for wire in wires:
            wire.send(socks4("127.0.0.1", target.port))
        for wire in wires:
            assert len(wire.read_to_end()) == 8 + 1024
            wire.socket.close()


# --- clients that die ----------------------------------------------------------------------------------------------

USER_AND_PASSWORD = greeting(2) + password(b"fred", b"sesame")
OPENINGS: tuple[tuple[str, Callable[[int], bytes]], ...] = (
    *((dialect.title, dialect.opening) for dialect in DIALECTS),
    ("SOCKS5 with a password", lambda port: USER_AND_PASSWORD + socks5("127.0.0.1", port)),
    ("SOCKS5 by IPv6 address", lambda port: greeting(0) + socks5("::1", port)),
)


@pytest.fixture(scope="module")
def with_passwords(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockd]:
    with sockd(tmp_path_factory.mktemp("dying"), RULES, passwords={"fred": "sesame"}) as daemon:
        yield daemon


@pytest.mark.parametrize("opening", [pytest.param(opening, id=title) for title, opening in OPENINGS])
@pytest.mark.parametrize("end", [pytest.param("close", id="by FIN"), pytest.param("reset", id="by RST")])
def test_a_client_that_dies_at_any_byte_leaks_nothing(
    with_passwords: Sockd, opening: Callable[[int], bytes], end: str
) -> None:
    daemon = with_passwords
    with Peer(echo) as target:
        rest = warm_up(daemon, target.port)
        message = opening(target.port)
        before = len(daemon.records())
        for size in range(len(message) + 1):
            wire = Wire(daemon.port)
            wire.send(message[:size])
            if end == "close":
                wire.socket.close()
            else:
                wire.reset()
        assert eventually(lambda: len(daemon.records()) == before + len(message) + 1)
        assert eventually(lambda: sockets(daemon) == rest)


@pytest.mark.parametrize("dialect", BY_TITLE)
def test_a_client_that_resets_while_its_target_is_dialled_is_let_go(gateway: Sockd, dialect: Dialect) -> None:
    with Peer(echo) as target, full_backlog() as port:
        rest = warm_up(gateway, target.port)
        wires = [Wire(gateway.port) for _ in range(5)]
        for wire in wires:
            wire.send(dialect.opening(port))
        assert eventually(lambda: sockets(gateway) == rest + 10)
        for wire in wires:
            wire.reset()
        assert eventually(lambda: sockets(gateway) == rest)


def test_a_reset_of_the_target_reaches_the_client_as_a_reset(gateway: Sockd) -> None:
    with Peer(reset_on_data) as target, Wire(gateway.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        wire.send(b"x")
        assert wire.end_of_peer() == "reset"


def test_a_reset_of_the_client_reaches_the_target_as_a_reset(gateway: Sockd) -> None:
    with Peer(how_it_ends) as target, Wire(gateway.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        wire.send(b"x")
        time.sleep(0.05)
        wire.reset()
        assert target.result() == b"reset"


def test_a_fin_of_the_client_reaches_the_target_as_a_fin(gateway: Sockd) -> None:
    with Peer(how_it_ends) as target, Wire(gateway.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        wire.send(b"x")
        wire.finish()
        assert target.result() == b"fin"


def test_a_client_that_resets_after_its_fin_is_let_go(gateway: Sockd) -> None:
    """The half-closed session waits for the target's answer; a reset says that nobody wants it any more."""
    over = threading.Event()
    with Peer(echo) as probe, Peer(stuck(over)) as target:
        rest = warm_up(gateway, probe.port)
        wire = Wire(gateway.port)
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        wire.send(b"x")
        wire.finish()
        time.sleep(0.1)
        wire.reset()
        try:
            assert eventually(lambda: sockets(gateway) == rest)
        finally:
            over.set()


def test_a_client_that_resets_while_its_target_takes_nothing_is_let_go(gateway: Sockd) -> None:
    over = threading.Event()
    with Peer(echo) as probe, Peer(stuck(over)) as target:
        rest = warm_up(gateway, probe.port)
        wire = Wire(gateway.port)
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        pour(wire.socket)
        wire.reset()
        try:
            assert eventually(lambda: sockets(gateway) == rest)
        finally:
            over.set()


def test_a_target_that_resets_while_its_client_takes_nothing_is_let_go(gateway: Sockd) -> None:
    with Peer(echo) as probe, Peer(pour_and_reset) as target:
        rest = warm_up(gateway, probe.port)
        with Wire(gateway.port) as wire:
            assert connect5(wire, "127.0.0.1", target.port).code == 0
            assert eventually(lambda: sockets(gateway) == rest)


# --- time limits ---------------------------------------------------------------------------------------------------


HANDSHAKE, CONNECT, IDLE = 0.5, 0.5, 1.5


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockd]:
    """A daemon with limits that a test can wait for, and that a busy machine does not miss by being late."""
    settings = {"timeouts": {"handshake": HANDSHAKE, "connect": CONNECT, "idle": IDLE}}
    with sockd(tmp_path_factory.mktemp("impatient"), settings=settings) as daemon:
        yield daemon


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing at all"),
        pytest.param(b"\x04\x01\x00", id="half a SOCKS4 head"),
        pytest.param(b"\x04\x01\x00\x50\x7f\x00\x00\x01fred", id="a user id without its NUL"),
        pytest.param(b"\x05\x02\x00", id="half a greeting"),
        pytest.param(b"\x05\x01\x00", id="a greeting and no request"),
        pytest.param(b"CONNECT localhost:80 HTTP/1.1\r\n", id="half an HTTP header"),
    ],
)
def test_a_handshake_that_is_not_finished_in_time_ends(impatient: Sockd, sent: bytes) -> None:
    started = time.monotonic()
    with Wire(impatient.port) as wire:
        wire.send(sent)
        assert wire.read_to_end() in (b"", b"\x05\x00")
        assert HANDSHAKE - 0.05 < time.monotonic() - started < 5
        client = "{}:{}".format(*wire.name)
    assert impatient.wait_record(client=client)["result"] == "timed-out"


def test_single_bytes_do_not_stretch_the_handshake(impatient: Sockd) -> None:
    """A byte every 50 ms is no reason to wait longer."""
    started = time.monotonic()
    over = threading.Event()
    with Wire(impatient.port) as wire:
        wire.send(socks4("127.0.0.1", 80)[:-1])
        dripping = threading.Thread(target=drip, args=([wire], over, 0.05))
        dripping.start()
        client = "{}:{}".format(*wire.name)
        record = impatient.wait_record(client=client)
        over.set()
        dripping.join()
    assert record["result"] == "timed-out"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("dialect", BY_TITLE)
def test_a_target_that_does_not_answer_is_given_up(impatient: Sockd, dialect: Dialect) -> None:
    with full_backlog() as port:
        started = time.monotonic()
        with Wire(impatient.port) as wire:
            assert dialect.ask(wire, port) == dialect.unreachable
            assert CONNECT - 0.05 < time.monotonic() - started < 5
            client = "{}:{}".format(*wire.name)
        record = impatient.wait_record(client=client)
        assert (record["result"], record["egress"]) == ("timed-out", None)
        impatient.wait_log(rf"timed-out -- Connect from \S*\(unknown\)@127\.0\.0\.1 to \S+ \({port}\)$")


def test_a_silent_session_ends_after_the_idle_limit(impatient: Sockd) -> None:
    with Peer(silent) as target, Wire(impatient.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        started = time.monotonic()
        assert wire.end_of_peer() in ("fin", "reset")
        assert IDLE - 0.05 < time.monotonic() - started < 10
        client = "{}:{}".format(*wire.name)
    record = impatient.wait_record(client=client)
    assert (record["result"], record["end"]) == ("connected", "idle")


def test_a_session_that_is_used_outlives_every_limit(impatient: Sockd) -> None:
    """Longer than handshake, connect and idle limit together, with less than the idle limit between two bytes."""
    with Peer(echo) as both_ways, Peer(silent) as one_way, Wire(impatient.port) as two, Wire(impatient.port) as one:
        assert connect5(two, "127.0.0.1", both_ways.port).code == 0
        assert connect5(one, "127.0.0.1", one_way.port).code == 0
        for _ in range(9):
            time.sleep(0.3)
            one.send(b"x")
            two.send(b"x")
            assert two.read(1) == b"x"
        one.finish()
        assert one.end_of_peer() == "fin"


# --- slow readers --------------------------------------------------------------------------------------------------


def test_a_client_that_reads_slowly_costs_no_memory_and_loses_nothing(gateway: Sockd) -> None:
    """Ten targets send 48 MiB to clients that do not read for a while; then one client reads all of it."""
    size = 48 * MIB
    with Peer(flood(5, size)) as target:
        before = proc.anonymous_kib(gateway.pid)
        wires = [Wire(gateway.port) for _ in range(10)]
        for wire in wires:
            assert connect5(wire, "127.0.0.1", target.port).code == 0
        time.sleep(0.5)
        assert proc.anonymous_kib(gateway.pid) - before < 4096
        assert digest_of(pieces_of(wires[0].socket.recv)) == checksum(5, size)
        assert proc.anonymous_kib(gateway.pid) - before < 4096
        for wire in wires:
            wire.reset()


def test_a_target_that_reads_slowly_costs_no_memory_and_loses_nothing(gateway: Sockd) -> None:
    size = 24 * MIB
    with Peer(slow_reader(0.001)) as target, Wire(gateway.port, timeout=30) as wire:
        before = proc.anonymous_kib(gateway.pid)
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        for block in blocks(6, size):
            wire.send(block)
        assert proc.anonymous_kib(gateway.pid) - before < 4096
        wire.finish()
        assert target.result(30) == checksum(6, size).encode()


def test_large_transfers_both_ways_at_once(gateway: Sockd) -> None:
    """The two directions of one session do not wait for each other."""
    size = 16 * MIB

    def send(wire: Wire) -> None:
        for block in blocks(8, size):
            wire.send(block)
        wire.finish()

    with Peer(flood_and_collect(7, size)) as target, Wire(gateway.port, timeout=30) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        sender = threading.Thread(target=send, args=(wire,))
        sender.start()
        digest = digest_of(pieces_of(wire.socket.recv))
        sender.join()
        assert digest == checksum(7, size)
        assert target.result(30) == checksum(8, size).encode()


@pytest.mark.parametrize("size", [1, 32767, 32768, 32769, 65536, 65537, 131_072, 1_048_576, 1_048_577, 3_000_000])
def test_every_size_arrives_whole_in_both_directions(gateway: Sockd, size: int) -> None:
    """Sizes around those at which a relay changes its way of working: a full read, a full pipe."""
    data = b"".join(blocks(size, size))
    with Peer(collect) as target, Wire(gateway.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        wire.send(data)
        wire.finish()
        assert target.result() == data
    with Peer(flood(size, size)) as target, Wire(gateway.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        assert wire.read_to_end() == data


@pytest.mark.parametrize("size", [pytest.param(3, id="alone"), pytest.param(3 * MIB, id="within bulk data")])
def test_urgent_data_stays_in_its_place(gateway: Sockd, size: int) -> None:
    """A byte that the client marks as urgent goes on in-band (``spec/socks4.md`` §1.6); nothing behind it is lost."""
    before, after = b"".join(blocks(9, size)), b"".join(blocks(10, size))
    with Peer(collect) as target, Wire(gateway.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        wire.send(before)
        wire.socket.send(b"!", socket.MSG_OOB)
        wire.send(after)
        wire.finish()
        assert target.result() == before + b"!" + after


# --- many sessions -------------------------------------------------------------------------------------------------


def one_session(daemon: Sockd, dialect: Dialect, port: int) -> None:
    with Wire(daemon.port) as wire:
        assert dialect.ask(wire, port) == dialect.granted
        assert len(wire.read_to_end()) == 1024


@pytest.mark.parametrize(
    ("count", "warm"),
    [
        pytest.param(3000, 500, id="3,000 sessions"),
        pytest.param(100_000, 5000, id="100,000 sessions", marks=pytest.mark.full),
    ],
)
def test_many_sessions_leave_nothing_behind(tmp_path_factory: pytest.TempPathFactory, count: int, warm: int) -> None:
    """Descriptors of every kind return to what they were, memory to within 1.5 MiB, and no record is missing."""
    with sockd(tmp_path_factory.mktemp("many"), workers=2) as daemon, Peer(one_kib) as target:
        dialects = itertools.cycle(DIALECTS)
        for _ in range(warm):
            one_session(daemon, next(dialects), target.port)
        assert eventually(lambda: len(daemon.records()) == warm)
        time.sleep(0.2)
        held, memory = proc.descriptors(daemon.pid), proc.anonymous_kib(daemon.pid)
        for _ in range(count):
            one_session(daemon, next(dialects), target.port)
        assert eventually(lambda: len(daemon.records()) == warm + count, within=60, every=0.5)
        assert eventually(lambda: proc.descriptors(daemon.pid) == held)
        assert proc.anonymous_kib(daemon.pid) - memory < 1536
