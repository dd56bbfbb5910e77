"""The load generator, without any proxy: every mode measures, and everything that can be wrong is noticed.

A benchmark whose verification cannot fail proves nothing; so the target is made to misbehave in each known way, and
small proxies made here refuse, or answer in awkward pieces.
"""

import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import load, servers, tree
from tests.bench.load import Client, Result, Target

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler; install gcc and libc6-dev")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return load.build(tmp_path_factory.mktemp("load"))


def run(
    program: Path, mode: str, connections: int, fault: str | None = None, proxy: int = 0, seconds: float = 0.3
) -> Result:
    with (
        Target(program, fault) as target,
        Client(program, target, mode, connections, seconds, proxy) as client,
    ):
        client.ready()
        return client.go()


@pytest.mark.parametrize(
    ("mode", "connections", "at_least"),
    [
        pytest.param("conn", 16, 100, id="new connections"),
        pytest.param("rr", 8, 1000, id="round trips on several connections"),
        pytest.param("rr", 1, 100, id="round trips on one connection"),
        pytest.param("down", 1, 10_000_000, id="one download"),
        pytest.param("down", 4, 10_000_000, id="several downloads"),
        pytest.param("up", 2, 10_000_000, id="uploads"),
    ],
)
def test_each_mode_measures_without_failure(program: Path, mode: str, connections: int, at_least: int) -> None:
    result = run(program, mode, connections)
    assert (result.failed, result.first_failure) == (0, "")
    assert result.units >= result.units_in_window >= at_least
    # the window ends with the time that was asked for; only uploads wait for the last acknowledgement
    assert 0.3 <= result.window_seconds < (0.4 if mode != "up" else 3.0)


@pytest.mark.parametrize("mode", ["conn", "rr"])
def test_latencies_are_ordered_and_shorter_than_the_run(program: Path, mode: str) -> None:
    result = run(program, mode, 4)
    assert 0.0 < result.p50_us <= result.p99_us < 300_000


def test_idle_sessions_all_answer_once_more_and_do_not_wait_for_the_time_limit(program: Path) -> None:
    result = run(program, "idle", 200, seconds=5.0)
    assert (result.failed, result.sessions, result.units) == (0, 200, 200)
    assert result.window_seconds < 2.0


@pytest.mark.parametrize(
    ("fault", "mode", "kind"),
    [
        pytest.param("answer-byte", "conn", "mismatch", id="one wrong byte in the answer"),
        pytest.param("answer-short", "conn", "short", id="answer that lacks its last byte"),
        pytest.param("answer-long", "conn", "long", id="answer with one byte too many"),
        pytest.param("echo-byte", "rr", "mismatch", id="one wrong byte in an echo"),
        pytest.param("echo-byte", "idle", "mismatch", id="one wrong byte in the echo of an idle session"),
        pytest.param("source-shift", "down", "mismatch", id="download that is shifted by one byte"),
        pytest.param("source-short", "down", "ended", id="download that ends early"),
        pytest.param("sink-byte", "up", "mismatch", id="upload that the target saw differently"),
    ],
)
def test_what_comes_back_wrong_is_counted_by_its_kind(program: Path, fault: str, mode: str, kind: str) -> None:
    result = run(program, mode, 4, fault, seconds=0.1)
    assert result.failures[kind] > 0
    assert result.failed == result.failures[kind]
    assert result.first_failure


def test_a_port_where_nobody_listens_is_a_failure_to_connect(program: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening
        result = run(program, "conn", 4, proxy=taken.getsockname()[1])
    assert (result.units, result.failed) == (0, result.failures["connect"])
    assert result.failed > 0


class FakeProxy(socketserver.ThreadingTCPServer):
    """A SOCKS5 server with fixed words: method choice, reply, and whether it then fetches the target's answer."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, method: bytes, reply: bytes, fetches: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), FakeSession)
        self.method, self.reply, self.fetches = method, reply, fetches

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port


class FakeSession(socketserver.BaseRequestHandler):
    server: FakeProxy
    request: socket.socket

    def handle(self) -> None:
        if self.request.recv(3) != b"\x05\x01\x00":
            return
        self.request.sendall(self.server.method)
        asked = self.request.recv(10)
        if asked:
            self.request.sendall(self.server.reply + self._answer(asked))

    def _answer(self, asked: bytes) -> bytes:
        """All that the target says, so that it reaches the client in one piece with the reply."""
        if not self.server.fetches:
            return b""
        endpoint = socket.inet_ntoa(asked[4:8]), int.from_bytes(asked[8:10], "big")
        with socket.create_connection(endpoint, timeout=2.0) as upstream, upstream.makefile("rb") as stream:
            return stream.read()


@pytest.fixture
def fake_proxy(request: pytest.FixtureRequest) -> Iterator[int]:
    with FakeProxy(*request.param) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.port
        server.shutdown()
        thread.join()


CHOICE = b"\x05\x00"
GRANTED = b"\x05\x00\x00\x01" + bytes(6)
GRANTED6 = b"\x05\x00\x00\x04" + bytes(18)


@pytest.mark.parametrize(
    "fake_proxy",
    [
        pytest.param((CHOICE, GRANTED, True), id="reply with an IPv4 address"),
        pytest.param((CHOICE, GRANTED6, True), id="reply with an IPv6 address"),
    ],
    indirect=True,
)
def test_an_answer_that_comes_in_one_piece_with_the_reply_is_understood(program: Path, fake_proxy: int) -> None:
    result = run(program, "conn", 4, proxy=fake_proxy, seconds=0.1)
    assert (result.failed, result.first_failure) == (0, "")
    assert result.units > 0


@pytest.mark.parametrize(
    ("fake_proxy", "kind"),
    [
        pytest.param((b"\x05\xff", b""), "method", id="no acceptable method"),
        pytest.param((b"\x04\x00", b""), "method", id="method choice of another version"),
        pytest.param((CHOICE, b"\x05\x02\x00\x01" + bytes(6)), "reply", id="refused by rule"),
        pytest.param((CHOICE, b"\x05\x05"), "reply", id="refused, in a reply that is cut off"),
        pytest.param((CHOICE, b"\x04\x00\x00\x01" + bytes(6)), "reply", id="reply of another version"),
        pytest.param((CHOICE, b""), "ended", id="closed instead of a reply"),
        pytest.param((CHOICE, GRANTED), "short", id="granted, but nothing relayed"),
    ],
    indirect=["fake_proxy"],
)
def test_a_proxy_that_does_not_serve_is_counted_by_what_it_did(program: Path, fake_proxy: int, kind: str) -> None:
    result = run(program, "conn", 2, proxy=fake_proxy, seconds=0.1)
    assert result.units == 0
    assert result.failed == result.failures[kind] > 0


def test_processor_time_of_the_load_is_seen_and_its_memory_is_more_than_nothing(program: Path) -> None:
    with Target(program) as target, Client(program, target, "rr", 8, 0.3) as client:
        client.ready()
        before = tree.cpu_seconds(client.pid)
        client.go()
        assert 0.02 < tree.cpu_seconds(client.pid) - before < 0.6
        assert tree.memory_kb(client.pid) > 100


@pytest.mark.parametrize("count", [1, 10, 10_000])
def test_a_rule_file_has_as_many_different_lines_as_asked_for_and_the_permit_last(count: int) -> None:
    lines = servers.access_rules(count).splitlines()
    assert len(lines) == len(set(lines)) == count
    assert lines[-1].startswith("permit 127.0.0.0 255.0.0.0 127.0.0.0")
    assert all(line.startswith("deny ") for line in lines[:-1])
