"""A resolver process of its own with a test as its supervisor: sockets, networks and workers come and go by orders."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from gateway.address import Endpoint
from gateway.config.fields import parse_prefix
from gateway.daemon.adoption import Chosen
from gateway.daemon.configuration import reproduce
from gateway.daemon.counters import DnsBlock, DnsCounter
from gateway.daemon.host import Texts
from gateway.daemon.messages import (
    End,
    LookedUp,
    LookUp,
    Message,
    Network,
    Orders,
    Ready,
    Serve,
    Tail,
    Zones,
    channel,
    receive,
    send,
)
from gateway.daemon.resolver import Post, run_resolver
from gateway.dns.forwarder import Forwarder
from gateway.net.sockets import datagram_listening, listening
from gateway.system.journal import FileSink, Journal
from gateway.system.sinks import LOG_FLAGS
from tests.support.rules import address
from tests.support.waiting import eventually

TEXTS = Texts(
    "/nowhere/gateway.toml",
    {
        "/nowhere/gateway.toml": "[files]\naccess = 'sockd.conf'\n"
        "[[resolver.zone]]\nname = 'corp.example'\nrecords = ['www A 10.0.0.9']\n",
        "/nowhere/sockd.conf": "permit ALL ALL\n",
    },
)
HERE, AWAY = (parse_prefix(text)[0] for text in ("127.0.0.0/8", "192.0.2.0/24"))
LOCAL = Network(inside=(HERE,))
SOON = 0.1
QUERY = dns.message.make_query("www.corp.example", "A")


def silent(text: str) -> None:
    raise AssertionError(text)


class Desk:
    """The supervisor of one resolver."""

    def __init__(self, journal: Journal | None = None) -> None:
        self.block = DnsBlock()
        self.channel, theirs = channel()
        self.worker, server = self.pair()
        chosen = Chosen(1, reproduce(TEXTS, silent), ())
        self.pid = os.fork()
        if not self.pid:
            with contextlib.suppress(BaseException):
                for end in (self.channel, self.worker):
                    end.close()
                post = Post("resolver", self.block, {"worker 1": server}, 512)
                run_resolver(chosen, Network(), journal or Journal(None, None), post, theirs)
                os._exit(0)
            os._exit(1)
        for end in (theirs, server):
            end.close()
        self.udp = datagram_listening(Endpoint(address("127.0.0.1"), 0), True)
        self.tcp = listening(Endpoint(address("127.0.0.1"), 0), 16, True)
        self.status: int | None = None

    @staticmethod
    def pair() -> tuple[socket.socket, socket.socket]:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in ends:
            end.setblocking(False)
        return ends

    def order(self, message: Message, sockets: Sequence[socket.socket] = ()) -> None:
        send(self.channel, message, [sock.fileno() for sock in sockets])

    def said(self, kind: type[Message]) -> Message:
        """The next message of a kind."""

        def look() -> Message | None:
            try:
                received = receive(self.channel)
            except BlockingIOError:
                return None
            assert received is not None
            message: Message = received.message
            return message if isinstance(message, kind) else None

        found = eventually(look)
        assert found is not None
        return found

    def is_answered(self, within: float = 10.0) -> bool:
        """Whether a question by UDP is answered."""
        host, port = self.udp.getsockname()
        try:
            return bool(dns.query.udp(QUERY, host, timeout=within, port=port).answer)
        except dns.exception.Timeout:
            return False

    def open(self) -> int:
        """How many descriptors it has."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def looked_up(self, worker: socket.socket) -> LookedUp:
        """What a worker is answered that asks."""
        send(worker, LookUp(3, "www.corp.example", address("127.0.0.1")))

        def look() -> LookedUp | None:
            try:
                received = receive(worker)
            except BlockingIOError:
                return None
            assert received is not None
            assert isinstance(received.message, LookedUp)
            return received.message

        found = eventually(look)
        assert found is not None
        return found

    def has_ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def close(self) -> None:
        if not self.has_ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for sock in (self.channel, self.worker, self.udp, self.tcp):
            sock.close()
        self.block.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


@pytest.fixture
def served(desk: Desk) -> Desk:
    """It has its sockets, and the networks of this host."""
    desk.order(Orders(LOCAL, (2, 3)), [desk.udp, desk.tcp])
    desk.said(Ready)
    assert desk.is_answered()
    return desk


def test_it_says_that_it_is_ready_when_it_has_its_first_orders(desk: Desk) -> None:
    told = desk.said(Zones)
    assert isinstance(told, Zones)
    assert [row.zone for row in told.rows] == ["corp.example"]
    with pytest.raises(BlockingIOError):
        receive(desk.channel)
    desk.order(Orders(LOCAL, (2,)), [desk.udp])
    ready = desk.said(Ready)
    assert isinstance(ready, Ready)
    assert ready.pid == desk.pid
    desk.order(Orders(LOCAL))
    assert desk.is_answered()
    with pytest.raises(BlockingIOError):
        receive(desk.channel)


def test_a_stranger_is_a_client_as_soon_as_his_network_is_one_of_the_inside(served: Desk) -> None:
    served.order(Orders(Network(inside=(AWAY,))))
    assert eventually(lambda: not served.is_answered(SOON))
    served.order(Orders(Network(inside=(AWAY, HERE))))
    assert eventually(lambda: served.is_answered(SOON))


def test_orders_without_sockets_leave_those_that_there_are(served: Desk) -> None:
    served.order(Orders(LOCAL))
    assert served.is_answered()
    with socket.create_connection(served.tcp.getsockname()) as sock:
        dns.query.send_tcp(sock, QUERY)
        assert dns.query.receive_tcp(sock, None)[0].answer


def test_the_same_sockets_again_are_not_held_twice(served: Desk) -> None:
    before = served.open()
    for _ in range(3):
        served.order(Orders(LOCAL, (2, 3)), [served.udp, served.tcp])
    assert served.is_answered()
    assert eventually(lambda: served.open() == before)


def test_sockets_that_are_not_wanted_any_more_are_given_up_and_others_taken(served: Desk) -> None:
    before = served.open()
    other = datagram_listening(Endpoint(address("127.0.0.1"), 0), True)
    served.order(Orders(LOCAL, (4,)), [other])
    host, port = other.getsockname()
    assert dns.query.udp(QUERY, host, timeout=10, port=port).answer
    assert not served.is_answered(SOON)
    assert eventually(lambda: served.open() == before - 1)
    served.order(Orders(LOCAL, ()))
    assert eventually(lambda: served.open() == before - 2)
    other.close()


def test_what_was_counted_by_a_socket_that_is_gone_stays_counted(served: Desk) -> None:
    for _ in range(5):
        assert served.is_answered()
    assert eventually(lambda: served.block[DnsCounter.QUERIES] == 6)
    served.order(Orders(LOCAL, ()))
    served.order(Orders(LOCAL, (6,)), [served.udp])
    assert eventually(lambda: served.is_answered(SOON))
    assert eventually(lambda: served.block[DnsCounter.QUERIES] >= 7)


def test_workers_are_answered_also_those_that_come_later(served: Desk) -> None:
    found = LookedUp(3, (address("10.0.0.9"),))
    assert served.looked_up(served.worker) == found
    for name in ("worker 1", "worker 2"):
        mine, theirs = served.pair()
        with mine, theirs:
            served.order(Serve(name), [theirs])
            theirs.close()
            assert served.looked_up(mine) == found


def test_sockets_that_come_with_what_it_does_not_know_are_closed(served: Desk) -> None:
    before = served.open()
    served.order(Tail(), [served.udp])
    assert served.is_answered()
    assert eventually(lambda: served.open() == before)


@pytest.mark.parametrize("how", ["by order", "by a signal", "with its supervisor", "by what is no order"])
def test_it_ends(served: Desk, how: str) -> None:
    match how:
        case "by order":
            served.order(End())
        case "by a signal":
            os.kill(served.pid, signal.SIGTERM)
        case "with its supervisor":
            served.channel.close()
        case _:
            served.channel.send(b"nonsense")
    assert eventually(served.has_ended)
    assert served.status == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_signals_that_are_the_supervisors_are_not_its_own(served: Desk, number: signal.Signals) -> None:
    os.kill(served.pid, number)
    assert served.is_answered()
    assert not served.has_ended()


def test_a_bug_that_comes_again_and_again_is_written_down_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In what is done some twenty times a second; the process is forked with it."""

    def broken(_forwarder: Forwarder, _now: float) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Forwarder, "tick", broken)
    log = tmp_path / "log"
    sink = FileSink(os.open(log, LOG_FLAGS, 0o600))
    desk = Desk(Journal(sink, None))
    with contextlib.closing(desk):
        desk.order(Orders(LOCAL, (2,)), [desk.udp])
        told = "internal error: ZeroDivisionError: a bug\n"
        assert eventually(lambda: log.read_text().count(told) > 2)
        assert desk.is_answered()
    os.close(sink.fd)
