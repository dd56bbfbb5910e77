"""The metrics by HTTP: every form of a request, answered or refused, and peers that are slow, half or rude."""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.control.http import (
    HEAD_SECONDS,
    LINGER_SECONDS,
    MAX_CONNECTIONS,
    MAX_DISCARDED,
    SEND_SECONDS,
    MetricsServer,
)
from gateway.wire.constants import MAX_HEAD
from tests.unit.control.driver import Loop, in_child, without_descriptors

PAGE = b"# HELP gateway_sessions Sessions.\n# TYPE gateway_sessions gauge\ngateway_sessions 3.0\n"
GET = b"GET /metrics HTTP/1.1\r\nHost: gw\r\n\r\n"


class Scraper:
    """A client that keeps to nothing."""

    def __init__(self, loop: Loop, address: tuple[str, int], rcvbuf: int) -> None:
        self.loop = loop
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.connect(address)
        self.sock.setblocking(False)
        self.received = b""
        loop.closing(self.sock.close)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)
        self.loop.rest()

    def is_answered(self) -> bool:
        """Read what there is; whether the server said its last."""
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return False
        self.received += data
        return not data

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, fields and content of the whole answer."""
        assert self.loop.until(self.is_answered), "no end came"
        head, _, content = self.received.partition(b"\r\n\r\n")
        first, *fields = head.decode().split("\r\n")
        found = re.fullmatch(r"HTTP/1\.1 ([0-9]{3}) [A-Za-z ]+", first)
        assert found is not None
        return int(found[1]), dict(field.split(": ", 1) for field in fields), content


class House:
    """A metrics server on two listeners of loopback."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.render: Callable[[], bytes] = lambda: PAGE
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.addresses = [sock.getsockname() for sock in listeners]
        self.server = MetricsServer(
            listeners, self.loop.selector, lambda: self.render(), self.loop.clock, self.loop.trouble
        )
        self.loop.closing(self.server.close)

    def scraper(self, listener: int = 0, rcvbuf: int = 0, waits: bool = False) -> Scraper:
        """A new connection, accepted unless it waits."""
        made = Scraper(self.loop, self.addresses[listener], rcvbuf)
        if not waits:
            self.loop.rest()
        return made

    def answer(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        scraper = self.scraper()
        scraper.send(request)
        return scraper.answer()

    @property
    def connections(self) -> int:
        """That are served now, when both listeners wait."""
        return len(self.loop.selector.get_map()) - 2


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.loop.close()


# Requests


@pytest.mark.parametrize("listener", [0, 1])
def test_the_page_on_every_listener(house: House, listener: int) -> None:
    scraper = house.scraper(listener)
    scraper.send(GET)
    status, fields, content = scraper.answer()
    assert (status, content) == (200, PAGE)
    assert fields == {
        "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
        "Content-Length": str(len(PAGE)),
        "Connection": "close",
    }
    assert [family.name for family in text_string_to_metric_families(content.decode())] == ["gateway_sessions"]


def test_head_is_the_same_without_the_page(house: House) -> None:
    status, fields, content = house.answer(b"HEAD /metrics HTTP/1.1\r\nHost: gw\r\n\r\n")
    assert (status, content) == (200, b"")
    assert fields["Content-Length"] == str(len(PAGE))


def test_the_root_says_where_the_metrics_are(house: House) -> None:
    status, fields, content = house.answer(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
    assert (status, fields["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert b"/metrics" in content


HOST = b"\r\nHost: gw\r\n\r\n"
REQUESTS = [
    pytest.param(b"GET /metrics HTTP/1.0\r\n\r\n", 200, id="HTTP/1.0 needs no Host"),
    pytest.param(b"GET /metrics HTTP/1.9" + HOST, 200, id="a later HTTP/1"),
    pytest.param(b"GET /metrics?format=x&y=1 HTTP/1.1" + HOST, 200, id="a query does not count"),
    pytest.param(b"GET http://gw:9100/metrics HTTP/1.1" + HOST, 200, id="the absolute form"),
    pytest.param(b"GET HTTP://gw/metrics HTTP/1.1" + HOST, 200, id="a scheme in capitals"),
    pytest.param(
        b"GET /metrics HTTP/1.1\r\nhOST: gw\r\nAccept: application/openmetrics-text\r\n\r\n", 200, id="Accept"
    ),
    pytest.param(b"GET /metrics/ HTTP/1.1" + HOST, 404, id="another path"),
    pytest.param(b"GET /Metrics HTTP/1.1" + HOST, 404, id="paths are compared with case"),
    pytest.param(b"GET /metrics%20 HTTP/1.1" + HOST, 404, id="nothing is decoded"),
    pytest.param(b"GET /../etc/shadow HTTP/1.1" + HOST, 404, id="no file is served"),
    pytest.param(b"GET * HTTP/1.1" + HOST, 404, id="no path at all"),
    pytest.param(b"GET gw:443 HTTP/1.1" + HOST, 404, id="the authority form"),
    pytest.param(b"GET //gw/metrics HTTP/1.1" + HOST, 404, id="two slashes"),
    pytest.param(b"POST /nowhere HTTP/1.1" + HOST, 404, id="a POST to nowhere"),
    pytest.param(b"POST /metrics HTTP/1.1\r\nHost: gw\r\nContent-Length: 3\r\n\r\nx=1", 405, id="a POST"),
    pytest.param(b"get /metrics HTTP/1.1" + HOST, 405, id="methods are compared with case"),
    pytest.param(b"DELETE / HTTP/1.1" + HOST, 405, id="DELETE of the root"),
    pytest.param(b"GET /metrics HTTP/1.1\r\n\r\n", 400, id="HTTP/1.1 without Host"),
    pytest.param(b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two Hosts"),
    pytest.param(b"GET /metrics HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two Hosts in HTTP/1.0"),
    pytest.param(b"GET /metrics HTTP/2.0" + HOST, 505, id="HTTP/2 without asking"),
    pytest.param(b"GET /metrics FTP/1.1" + HOST, 400, id="another protocol"),
    pytest.param(b"GET /metrics" + HOST, 400, id="HTTP/0.9"),
    pytest.param(b"GET  /metrics HTTP/1.1" + HOST, 400, id="two blanks"),
    pytest.param(b"GET  HTTP/1.1" + HOST, 400, id="no target"),
    pytest.param(b"G(T /metrics HTTP/1.1" + HOST, 400, id="a method that is none"),
    pytest.param(b"GET /metrics HTTP/1.1\r\nHost : gw\r\n\r\n", 400, id="a blank before the colon"),
    pytest.param(b"GET /metrics HTTP/1.1\nHost: gw\n\n", 400, id="lines without carriage returns"),
    pytest.param(b"GET /metr\x00ics HTTP/1.1" + HOST, 400, id="a control character"),
    pytest.param(b"\r\n\r\n", 400, id="an empty head"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\n\r\n\r\n", 400, id="TLS by mistake"),
]


@pytest.mark.parametrize(("request_bytes", "expected"), REQUESTS)
def test_status(house: House, request_bytes: bytes, expected: int) -> None:
    status, fields, content = house.answer(request_bytes)
    assert status == expected
    assert fields["Connection"] == "close"
    assert int(fields["Content-Length"]) == len(content)
    assert (fields.get("Allow") == "GET, HEAD") is (expected == 405)
    assert (content == PAGE) is (expected == 200)


def test_an_error_for_head_has_no_content_either(house: House) -> None:
    status, fields, content = house.answer(b"HEAD /nowhere HTTP/1.1" + HOST)
    assert (status, content) == (404, b"")
    assert int(fields["Content-Length"]) > 0


@pytest.mark.parametrize(("size", "expected"), [(MAX_HEAD, 200), (MAX_HEAD + 1, 431)])
def test_both_sides_of_the_longest_head(house: House, size: int, expected: int) -> None:
    padding = size - len(GET) - len(b"X: \r\n")
    assert house.answer(GET[:-2] + b"X: " + b"x" * padding + b"\r\n\r\n")[0] == expected


def test_a_head_without_end_is_refused_when_it_is_too_long(house: House) -> None:
    assert house.answer(b"G" * (MAX_HEAD + 1))[0] == 431


def test_byte_by_byte_it_is_the_same_request(house: House) -> None:
    scraper = house.scraper()
    for byte in GET:
        scraper.send(bytes((byte,)))
    assert scraper.answer()[::2] == (200, PAGE)


def test_what_follows_the_request_is_not_answered_and_does_not_spoil_the_answer(house: House) -> None:
    scraper = house.scraper()
    scraper.send(GET + GET + b"x" * 5000)
    status, _, content = scraper.answer()
    assert (status, content) == (200, PAGE)


# The page


def test_a_page_that_can_not_be_made_is_a_500_and_one_line_in_the_log(house: House) -> None:
    def fail() -> bytes:
        raise ZeroDivisionError("oops")

    house.render = fail
    for request in (GET, GET, b"HEAD" + GET[3:]):
        status, _, content = house.answer(request)
        assert status == 500
        assert b"oops" not in content
    assert content == b""
    assert len(house.loop.lines) == 1
    assert house.loop.lines[0].startswith("metrics: the page could not be made: ZeroDivisionError at ")
    house.render = lambda: PAGE
    assert house.answer(GET)[0] == 200


def test_a_page_is_made_anew_for_each_request(house: House) -> None:
    pages = iter((b"one\n", b"two\n"))
    house.render = lambda: next(pages)
    assert [house.answer(GET)[2] for _ in range(2)] == [b"one\n", b"two\n"]


def test_a_large_page_arrives_whole_at_a_slow_reader(house: House) -> None:
    page = b"".join(b'gateway_x{n="%d"} 1\n' % number for number in range(100_000))
    house.render = lambda: page
    scraper = house.scraper(rcvbuf=4096)
    scraper.send(GET)
    assert scraper.answer()[::2] == (200, page)


# Slow, half, rude


def test_a_head_that_takes_too_long_is_given_up_at_its_time(house: House) -> None:
    scraper = house.scraper()
    for byte in GET[:9]:
        scraper.send(bytes((byte,)))
        house.loop.now += (HEAD_SECONDS - 0.01) / 9
        house.server.tick()
    assert house.connections == 1
    house.loop.now += 0.01
    house.server.tick()
    assert scraper.is_answered()
    assert house.connections == 0


def test_a_reader_that_never_reads_is_given_up_at_its_time_without_a_spin(house: House) -> None:
    house.render = lambda: b"x" * (1 << 25)
    scraper = house.scraper(rcvbuf=4096)
    scraper.send(GET)
    assert house.loop.turn() == 0
    house.loop.now += SEND_SECONDS - 0.01
    house.server.tick()
    assert house.connections == 1
    house.loop.now += 0.01
    house.server.tick()
    assert house.connections == 0


def test_who_does_not_close_after_the_answer_is_closed_at_its_time(house: House) -> None:
    scraper = house.scraper()
    scraper.send(GET)
    assert scraper.answer()[0] == 200
    house.loop.rest()
    assert house.connections == 1
    house.loop.now += LINGER_SECONDS
    house.server.tick()
    assert house.connections == 0


def test_who_closes_after_the_answer_is_forgotten_at_once(house: House) -> None:
    scraper = house.scraper()
    scraper.send(GET)
    scraper.answer()
    scraper.sock.close()
    assert house.loop.until(lambda: house.connections == 0)


def test_a_body_that_never_ends_is_not_read_for_ever(house: House) -> None:
    scraper = house.scraper()
    scraper.send(b"POST /metrics HTTP/1.1" + HOST)
    sent = 0

    def is_refused() -> bool:
        nonlocal sent
        try:
            sent += scraper.sock.send(b"x" * 65536)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True
        return sent > 64 * MAX_DISCARDED

    assert house.loop.until(is_refused)
    assert sent <= 64 * MAX_DISCARDED
    assert house.connections == 0


def test_who_says_no_more_after_his_request_gets_his_answer(house: House) -> None:
    scraper = house.scraper()
    scraper.sock.sendall(GET)
    scraper.sock.shutdown(socket.SHUT_WR)
    assert scraper.answer()[::2] == (200, PAGE)
    assert house.loop.until(lambda: house.connections == 0)


@pytest.mark.parametrize("half", [b"", GET[:10], GET[:-1]])
def test_who_leaves_before_his_request_is_whole_is_forgotten(house: House, half: bytes) -> None:
    scraper = house.scraper()
    scraper.send(half)
    scraper.sock.close()
    assert house.loop.until(lambda: house.connections == 0)
    assert house.loop.lines == []


def test_who_resets_the_connection_in_the_middle_of_the_answer_is_forgotten(house: House) -> None:
    house.render = lambda: b"x" * (1 << 25)
    scraper = house.scraper(rcvbuf=4096)
    scraper.send(GET)
    scraper.sock.close()
    assert house.loop.until(lambda: house.connections == 0)
    assert house.loop.lines == []


def test_of_too_many_at_once_the_last_waits_for_a_place_without_a_spin(house: House) -> None:
    crowd = [house.scraper() for _ in range(MAX_CONNECTIONS)]
    late = house.scraper()
    late.send(GET)
    assert house.loop.turn() == 0
    assert not late.is_answered()
    assert late.received == b""
    crowd[0].sock.close()
    assert late.answer()[0] == 200


def test_a_crowd_of_silent_ones_keeps_the_others_out_for_the_time_of_a_head_only(house: House) -> None:
    for _ in range(MAX_CONNECTIONS):
        house.scraper()
    late = house.scraper(1)
    late.send(GET)
    house.loop.now += HEAD_SECONDS
    house.server.tick()
    assert late.answer()[0] == 200


def test_without_descriptors_it_pauses_and_says_so(house: House) -> None:
    scraper = house.scraper(waits=True)
    with without_descriptors():
        house.loop.rest()
        assert house.loop.lines == ["metrics: accepting pauses: Too many open files"]
        assert house.loop.turn() == 0
    house.loop.now += 1.0
    house.server.tick()
    scraper.send(GET)
    assert scraper.answer()[0] == 200


# Its end


def test_a_closed_server_leaves_nothing_behind(house: House) -> None:
    scraper = house.scraper()
    scraper.send(GET[:5])
    house.server.close()
    house.server.close()
    assert not house.loop.selector.get_map()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(house.addresses[0])


def test_a_child_that_forsakes_the_server_leaves_it_to_its_parent(house: House) -> None:
    scraper = house.scraper()
    scraper.send(GET[:5])
    assert in_child(house.server.forsake) == 0
    scraper.send(GET[5:])
    assert scraper.answer()[0] == 200
    assert house.answer(GET)[0] == 200


def test_without_listeners_there_is_nothing_to_do() -> None:
    loop = Loop()
    server = MetricsServer((), loop.selector, lambda: PAGE, loop.clock)
    server.tick()
    server.close()
    loop.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
@pytest.mark.parametrize("more", [[], ["--head"], ["--http1.0"], ["--http2"], ["--compressed"]])
def test_curl_is_content(house: House, more: list[str]) -> None:
    address, port = house.addresses[0]
    command = ["curl", "-sS", "-D", "-", *more, f"http://{address}:{port}/metrics"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as curl:
        assert house.loop.until(lambda: curl.poll() is not None)
        out, error = curl.communicate()
    assert (curl.returncode, error) == (0, b"")
    assert out.startswith(b"HTTP/1.1 200 OK\r\n")
    assert out.endswith(PAGE) is (more != ["--head"])
