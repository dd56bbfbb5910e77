"""Clients by TCP: honest ones, those that pipeline, and those that would take what others need."""

import os
import resource
import socket
import struct
from collections.abc import Iterator
from typing import Any, cast

import pytest

from gateway.address import Endpoint
from gateway.dns.clients import Client
from gateway.dns.zones import View
from gateway.net import dnstcp as module
from gateway.net.dnstcp import TcpAsker, TcpLimits, TcpServer
from gateway.net.framed import READ_BYTES, READS_A_TURN
from gateway.net.sockets import listening
from tests.support.peers import has_ipv6
from tests.support.rules import address
from tests.support.waiting import least
from tests.unit.net.stage import Stage, closed_after, descriptors, finish, reset
from tests.unit.net.test_framed import frame

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs ::1 on the loopback interface")


class Place(Stage):
    """A TCP server of a resolver on loopback; whatever is asked is kept, and answered at once if it is told to."""

    def __init__(self, host: str = "127.0.0.1", **limits: Any) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.asked: list[tuple[bytes, Client, TcpAsker]] = []
        #: answers everything with this and the query
        self.echo: bytes | None = None
        self.may_ask = True
        self.server = TcpServer(
            self.loop, self.poller, self._client_of, self._hear, self.texts.append, TcpLimits(**limits)
        )
        self._listening: list[socket.socket] = []
        self.listener = self.listen(host)

    def listen(self, host: str) -> socket.socket:
        """One more listening socket."""
        sock = listening(Endpoint(address(host), 0), 64, shared=False)
        self._listening.append(sock)
        self.server.listen(sock)
        return sock

    def _client_of(self, packed: bytes, now: float) -> Client | None:
        return Client(packed, cast(View, None), 1, now) if self.may_ask else None

    def _hear(self, data: bytes, client: Client, asker: TcpAsker, now: float) -> None:
        assert abs(now - self.loop.time()) < 5
        self.asked.append((data, client, asker))
        if self.echo is not None:
            asker.reply(self.echo + data)

    def close(self) -> None:
        """End everything."""
        self.server.close()
        for sock in self._listening:
            sock.close()
        super().close()

    def client(self, *queries: bytes, host: str = "127.0.0.1", source: str = "127.0.0.1") -> socket.socket:
        """Somebody who has connected and asked this, in one piece."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family)
        self.far.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        if family == socket.AF_INET:
            sock.bind((source, 0))
        sock.connect(self.listener.getsockname()[:2])
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"".join(map(frame, queries)))
        sock.setblocking(False)
        return sock

    def questions(self, count: int) -> list[bytes]:
        """What was asked, when there was so much."""
        self.until(lambda: len(self.asked) >= count)
        return [data for data, _, _ in self.asked]

    def answer(self, sock: socket.socket) -> bytes:
        """The next whole message that a client gets; empty at the end."""
        head = self.read(sock, 2)
        return self.read(sock, struct.unpack("!H", head)[0]) if head else b""

    def is_cut(self, sock: socket.socket) -> bool:
        """Whether a client's connection has ended, and nothing was said."""
        return self.end_of(sock) in ("fin", "reset")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A server, with the limits of `limited`; afterwards as `stage`."""
    before = descriptors()
    made = Place(**getattr(request, "param", {}))
    with closed_after(made):
        yield made
    assert descriptors() <= before


def limited(**limits: Any) -> pytest.MarkDecorator:
    """These limits, in place of the usual ones."""
    return pytest.mark.parametrize("place", [limits], indirect=True, ids=[""])


# Queries and answers


def test_a_query_is_answered(place: Place) -> None:
    client = place.client(b"query")
    assert place.questions(1) == [b"query"]
    _, who, asker = place.asked[0]
    assert who.address == address("127.0.0.1")
    assert asker.is_stream
    asker.reply(b"answer")
    assert place.answer(client) == b"answer"


@limited(host="::1")
@needs_ipv6
def test_a_client_may_have_an_ipv6_address(place: Place) -> None:
    place.echo = b""
    client = place.client(b"query", host="::1")
    assert place.answer(client) == b"query"
    assert place.asked[0][1].address == address("::1")


def test_a_query_may_come_byte_by_byte(place: Place) -> None:
    place.echo = b"re:"
    client = place.client()
    for byte in frame(b"query") * 2:
        place.write(client, bytes([byte]))
        place.one_round()
    assert [place.answer(client) for _ in range(2)] == [b"re:query"] * 2


def test_the_longest_query_and_the_longest_answer(place: Place) -> None:
    place.echo = b""
    longest = os.urandom(65535)
    client = place.client()
    place.write(client, frame(longest))
    assert place.answer(client) == longest


def test_queries_on_one_connection_are_answered_in_any_order(place: Place) -> None:
    client = place.client(b"one", b"two", b"three")
    assert place.questions(3) == [b"one", b"two", b"three"]
    for number in (2, 0, 1):
        place.asked[number][2].reply(b"re:" + place.asked[number][0])
    assert [place.answer(client) for _ in range(3)] == [b"re:three", b"re:one", b"re:two"]


def test_an_asker_speaks_once(place: Place) -> None:
    client = place.client(b"one", b"two")
    place.questions(2)
    for _ in range(3):
        place.asked[0][2].reply(b"first")
    place.asked[1][2].reply(b"second")
    assert [place.answer(client) for _ in range(2)] == [b"first", b"second"]


def test_the_asker_of_a_client_who_has_gone_speaks_to_nobody(place: Place) -> None:
    client = place.client(b"query")
    place.questions(1)
    reset(client)
    place.rest()
    place.asked[0][2].reply(b"answer")
    assert place.until(lambda: len(place.server) == 0) is True


def test_a_client_that_resets_while_nothing_is_owed_to_it_is_forgotten(place: Place) -> None:
    place.echo = b""
    client = place.client(b"query")
    assert place.answer(client) == b"query"
    reset(client)
    assert place.until(lambda: len(place.server) == 0) is True


def test_nothing_is_remembered_of_addresses_that_have_no_connection(place: Place) -> None:
    for number in range(2, 6):
        place.client(source=f"127.0.0.{number}").close()
    assert place.until(lambda: place.server.seen == 4 and not len(place.server)) is True
    assert place.server.addresses == 0


def test_an_empty_message_ends_the_connection(place: Place) -> None:
    client = place.client(b"")
    assert place.is_cut(client)
    assert place.asked == []


def test_who_sends_no_more_is_still_answered(place: Place) -> None:
    client = place.client(b"one", b"two")
    finish(client)
    place.questions(2)
    place.rest()
    place.asked[1][2].reply(b"second")
    assert place.answer(client) == b"second"
    assert place.end_of(client, 0.03) == "open", "one more is owed"
    place.asked[0][2].reply(b"first")
    assert place.answer(client) == b"first"
    assert place.is_cut(client)


def test_who_sends_no_more_and_gets_no_answer_is_closed(place: Place) -> None:
    client = place.client(b"query")
    finish(client)
    place.questions(1)
    place.rest()
    place.asked[0][2].reply(b"")
    assert place.is_cut(client)


@pytest.mark.parametrize("said", [b"", b"\0", frame(b"query")[:-1]], ids=["nothing", "half a length", "half a query"])
def test_who_sends_no_more_and_has_asked_nothing_is_closed(place: Place, said: bytes) -> None:
    client = place.client()
    client.send(said)
    finish(client)
    assert place.is_cut(client)
    assert place.asked == []


# Who may ask


def test_a_stranger_is_closed_before_anything_is_read(place: Place) -> None:
    place.may_ask = False
    client = place.client(b"query")
    assert place.is_cut(client)
    assert place.asked == []
    assert place.server.strangers == 1
    assert len(place.server) == 0


def test_who_may_not_ask_any_more_is_closed_at_the_next_query(place: Place) -> None:
    place.echo = b""
    client = place.client(b"one")
    assert place.answer(client) == b"one"
    place.may_ask = False
    place.write(client, frame(b"two"))
    assert place.is_cut(client)
    assert place.questions(1) == [b"one"]


# Bounds


@limited(outstanding=3)
def test_who_waits_for_so_many_answers_is_not_read_until_it_gets_one(place: Place) -> None:
    client = place.client(*(b"%d" % number for number in range(6)))
    assert place.questions(3) == [b"0", b"1", b"2"]
    place.rest()
    assert len(place.asked) == 3
    place.asked[1][2].reply(b"answer")
    assert place.questions(4)[3:] == [b"3"]
    place.asked[0][2].reply(b"")
    assert place.questions(5)[4:] == [b"4"], "an empty answer is none, and counts as one"
    place.rest()
    assert len(place.asked) == 5
    assert place.answer(client) == b"answer"
    assert place.end_of(client, 0.02) == "open"


@limited(outstanding=1)
def test_one_answer_at_a_time_is_enough_for_all_queries(place: Place) -> None:
    place.echo = b""
    queries = [b"%d" % number for number in range(500)]
    client = place.client(*queries)
    assert [place.answer(client) for _ in queries] == queries


@limited(outstanding=1)
def test_the_end_of_who_had_to_wait_is_seen_afterwards(place: Place) -> None:
    client = place.client(b"one", b"two")
    finish(client)
    place.questions(1)
    place.rest()
    place.asked[0][2].reply(b"first")
    place.questions(2)
    place.asked[1][2].reply(b"second")
    assert [place.answer(client) for _ in range(3)] == [b"first", b"second", b""]


@limited(unread=1 << 18, outstanding=10_000)
def test_who_does_not_read_is_not_read_and_goes_on_when_it_reads(place: Place) -> None:
    place.echo = bytes(60_000)
    client = place.client()
    count = 400
    asked = b"".join(frame(b"%d" % number) for number in range(count))
    place.write(client, asked)
    place.rest(0.05)
    stuck = len(place.asked)
    assert stuck < count
    place.rest(0.05)
    assert len(place.asked) == stuck
    for number in range(count):
        assert place.answer(client)[60_000:] == b"%d" % number
    assert len(place.asked) == count


@limited(unread=1 << 16, idle=0.1)
def test_who_does_not_read_in_time_is_cut(place: Place) -> None:
    place.echo = bytes(60_000)
    client = place.client()
    place.write(client, b"".join(frame(b"%d" % number) for number in range(400)))
    assert place.until(lambda: len(place.server) == 0) is True
    assert place.server.overdue == 1
    del client


@limited(unread=1 << 24, idle=0.1, outstanding=10_000)
def test_who_asks_on_but_never_reads_is_cut(place: Place) -> None:
    place.echo = bytes(60_000)
    client = place.client()
    place.write(client, frame(b"query") * 200)
    place.questions(200)
    place.echo = b""

    def ask_on() -> bool:
        if len(place.server):
            client.send(frame(b"query"))
        return bool(place.server.overdue)

    assert place.until(ask_on, within=5.0) is True


@limited(idle=0.08, outstanding=10_000)
def test_who_was_slow_and_has_read_all_is_not_held_to_it(place: Place) -> None:
    place.echo = bytes(60_000)
    client = place.client()
    place.write(client, frame(b"query") * 100)
    place.until(lambda: place.server.put_out, within=0.03)
    for _ in range(100):
        assert len(place.answer(client)) == 60_005
    place.echo = b""
    for _ in range(10):
        place.write(client, frame(b"query"))
        assert place.answer(client) == b"query"
        place.rest(0.015)
    assert place.server.overdue == 0


@limited(unread=1 << 14)
def test_long_answers_to_many_queries_of_one_who_does_not_read_are_bounded(place: Place) -> None:
    place.client(*(b"%d" % number for number in range(100)))
    place.questions(100)
    kept = 0
    for _, _, asker in place.asked:
        asker.reply(bytes(65535))
        kept += len(place.server)
    assert 0 < kept < 99, "it was cut before all were kept for it"


@limited(of_client=2)
def test_one_address_has_so_many_connections(place: Place) -> None:
    place.echo = b""
    first, second = place.client(b"one"), place.client(b"two")
    place.questions(2)
    third = place.client(b"three")
    assert place.is_cut(third)
    assert place.server.excess == 1
    other = place.client(b"four", source="127.0.0.2")
    assert place.answer(other) == b"four"
    assert (place.answer(first), place.answer(second)) == (b"one", b"two")
    first.close()
    assert place.until(lambda: len(place.server) == 2) is True
    assert place.answer(place.client(b"five")) == b"five"


@limited(connections=2)
def test_the_quietest_makes_room(place: Place) -> None:
    place.echo = b""
    first, second = place.client(b"one"), place.client(b"two")
    assert (place.answer(first), place.answer(second)) == (b"one", b"two")
    place.write(first, frame(b"again"))
    assert place.answer(first) == b"again"
    third = place.client(b"three")
    assert place.answer(third) == b"three"
    assert place.is_cut(second)
    assert place.server.put_out == 1
    place.write(first, frame(b"still here"))
    assert place.answer(first) == b"still here"
    assert place.texts == []


@limited(connections=2)
def test_there_are_never_more_than_that(place: Place) -> None:
    for _ in range(6):
        place.client(b"query")
    for _ in range(10):
        place.one_round()
        assert len(place.server) <= 2
    assert place.questions(1)


@limited(connections=2)
def test_who_waits_for_an_answer_is_not_put_out_and_the_next_one_waits(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 60.0)
    first = place.client(b"one")
    place.client(b"two")
    place.questions(2)
    third = place.client(b"three")
    port = place.listener.getsockname()[1]
    assert place.until(lambda: place.texts) == [
        f"accepting pauses on 127.0.0.1:{port} (TCP): all places are taken by clients that wait for answers"
    ]
    assert least(place.work_at_rest, below=0.05) < 0.05
    assert len(place.asked) == 2
    first.close()
    place.asked[0][2].reply(b"answer")
    assert place.questions(3)[2:] == [b"three"], "a place became free"
    place.asked[2][2].reply(b"third")
    assert place.answer(third) == b"third"
    assert len(place.texts) == 1


@limited(connections=1)
def test_who_was_answered_makes_room_after_a_pause(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    place.client(b"one")
    place.questions(1)
    place.client(b"two")
    assert place.until(lambda: place.texts)
    place.asked[0][2].reply(b"answer")
    assert place.questions(2)[1:] == [b"two"]


def test_others_have_their_turn_while_one_asks_without_end(place: Place) -> None:
    place.echo = b""
    flood = place.client()
    a_turn = READS_A_TURN * READ_BYTES
    place.until(lambda: len(place.server) == 1)
    sent = flood.send(frame(b"flood") * (4 * a_turn // 7))
    assert sent > a_turn
    place.one_round()
    assert len(place.asked) <= a_turn // 7
    client = place.client(b"query")
    place.until(lambda: any(data == b"query" for data, _, _ in place.asked))
    assert place.answer(client) == b"query"


# Time


@limited(idle=0.1)
def test_a_connection_without_queries_is_closed_in_time(place: Place) -> None:
    place.echo = b""
    asking, silent = place.client(b"query"), place.client()
    assert place.answer(asking) == b"query"
    assert place.is_cut(asking)
    assert place.is_cut(silent)
    assert place.server.overdue == 2


@limited(idle=0.04, answer=5.0)
def test_who_waits_for_an_answer_has_more_time(place: Place) -> None:
    client = place.client(b"query")
    place.questions(1)
    place.rest(0.15)
    assert len(place.server) == 1
    place.asked[0][2].reply(b"answer")
    assert place.answer(client) == b"answer"
    assert place.is_cut(client)


@limited(idle=0.04, answer=0.2)
def test_but_not_for_ever(place: Place) -> None:
    client = place.client(b"query")
    place.questions(1)
    assert place.is_cut(client)
    assert place.server.overdue == 1


@limited(idle=60.0, message=0.1)
def test_a_query_that_does_not_end_is_cut_however_it_drips(place: Place) -> None:
    client = place.client()
    query = frame(bytes(60_000))

    def drip() -> bool:
        nonlocal query
        if len(place.server):
            client.send(query[:1])
            query = query[1:]
        return bool(place.server.overdue)

    assert place.until(drip, within=5.0)
    assert len(query) > 2, "or it would have been a whole query"
    assert place.asked == []


@limited(idle=5.0, message=0.08)
def test_queries_that_end_may_go_on_for_ever(place: Place) -> None:
    place.echo = b""
    client = place.client()
    piece = frame(b"query")
    place.write(client, piece[:3])
    for _ in range(12):
        place.write(client, piece[3:] + piece[:3])
        assert place.answer(client) == b"query"
        place.rest(0.015)
    assert len(place.server) == 1
    assert place.server.overdue == 0


@limited(message=0.05, outstanding=1)
def test_a_query_that_is_not_read_because_of_others_is_not_overdue(place: Place) -> None:
    client = place.client(b"one", b"two")
    place.write(client, frame(b"three")[:3])
    place.questions(1)
    place.rest(0.15)
    assert len(place.server) == 1
    place.asked[0][2].reply(b"first")
    assert place.answer(client) == b"first"
    place.write(client, frame(b"three")[3:])
    place.asked[1][2].reply(b"second")
    assert place.questions(3)[2:] == [b"three"]


# Listening


def test_several_sockets_share_one_server(place: Place) -> None:
    place.echo = b""
    other = place.listen("127.0.0.2")
    with socket.create_connection(other.getsockname()) as client:
        client.sendall(frame(b"query"))
        client.setblocking(False)
        assert place.answer(client) == b"query"
    assert place.answer(place.client(b"query")) == b"query"


def test_a_listener_that_finishes_takes_who_waits_and_no_more(place: Place) -> None:
    place.echo = b""
    old = place.client(b"old")
    assert place.answer(old) == b"old"
    waiting = [place.client(b"waiting") for _ in range(3 * module.ACCEPTS_A_TURN)]
    place.server.finish(place.listener)
    assert len(place.server) == 32, "one address has no more"
    assert [place.answer(client) for client in waiting[:31]] == [b"waiting"] * 31
    late = place.client(b"late")
    place.rest(0.03)
    assert b"late" not in place.questions(1)
    place.write(old, frame(b"again"))
    assert place.answer(old) == b"again"
    assert place.end_of(late, 0.01) == "open"


def test_closing_ends_all_and_the_socket_stays_open(place: Place) -> None:
    client = place.client(b"query")
    place.questions(1)
    place.server.close()
    assert place.is_cut(client)
    assert len(place.server) == 0
    place.client(b"next")
    place.rest()
    assert len(place.asked) == 1
    taken, _ = place.listener.accept()
    taken.close()


def test_a_socket_that_somebody_shut_down_is_given_up_with_words(place: Place) -> None:
    port = place.listener.getsockname()[1]
    place.listener.shutdown(socket.SHUT_RDWR)
    assert place.until(lambda: place.texts) == [
        f"127.0.0.1:{port} (TCP) was shut down by somebody; no query is accepted by it"
    ]
    assert least(place.work_at_rest, below=0.05) < 0.05


@pytest.fixture
def _limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_limit")
def test_without_descriptors_accepting_pauses_says_so_once_and_goes_on_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    place.echo = b""
    clients = [place.client(b"query") for _ in range(3)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    place.rest(0.15)
    port = place.listener.getsockname()[1]
    assert place.texts == [f"accepting pauses on 127.0.0.1:{port} (TCP): Too many open files"]
    assert place.asked == []
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [place.answer(client) for client in clients] == [b"query"] * 3
