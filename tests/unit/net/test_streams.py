"""Connections to name servers, with real servers of every habit behind them, by TCP and by TLS."""

import ipaddress
import itertools
import random
import shutil
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.dns.servers import Server
from gateway.net import streams as module
from gateway.net.streams import StreamLimits, Streams
from gateway.policy.egress import Egress
from tests.support.certificates import certificate
from tests.support.peers import Habit, Peer, closed_port, full_backlog, has_ipv6, silent, stuck
from tests.support.rawsocks import LINGER_NONE
from tests.support.rules import address
from tests.support.waiting import eventually
from tests.unit.net.stage import Stage, descriptors
from tests.unit.net.test_framed import frame

LO = Egress("wan1", "lo", address("127.0.0.2"))
NAME = "dns.example"

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs ::1 on the loopback interface")


class Token:
    """Who asked."""

    def __init__(self) -> None:
        self.link: Any = None


class Notes:
    """What the forwarder would be told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Token, bytes]] = []
        self.failed: list[tuple[Token, str]] = []
        self.is_answer: Callable[[Token, bytes], bool] = lambda _token, _data: True

    def hear(self, token: Token, data: bytes) -> bool:
        """As `Heard`."""
        self.heard.append((token, data))
        return self.is_answer(token, data)

    def fail(self, token: Token, why: str) -> None:
        """As `Failed`."""
        self.failed.append((token, why))


class Scene:
    """The connections of a process, and what comes of them."""

    def __init__(self, stage: Stage, tls: ssl.SSLContext | None = None, **limits: Any) -> None:
        self.stage = stage
        self.notes = Notes()
        self.streams = Streams(
            stage.loop, stage.poller, random.Random(7).getrandbits, tls, StreamLimits(**{"connect": 3.0, **limits})
        )
        self.streams.hear(self.notes.hear, self.notes.fail)
        stage.closers.append(self.streams.close)

    def ask(
        self, port: int, number: int = 1, egress: Egress | None = None, *, host: str = "127.0.0.1", tls: str = ""
    ) -> Token:
        """Send a question, whose text and id are this number."""
        token = Token()
        self.streams.begin(token, Server(address(host), port, tls), egress, question(number))
        return token

    def answered(self, *tokens: Token) -> bool:
        """Whether each of these was answered, once, by what its own question wants; and nothing else was told."""
        self.stage.until(lambda: len(self.notes.heard) >= len(tokens) or self.notes.failed)
        assert self.notes.failed == []
        return {id(token) for token, _ in self.notes.heard} == set(map(id, tokens)) and len(self.notes.heard) == len(
            tokens
        )

    def failure(self, count: int = 1) -> list[str]:
        """What was said of so many failures."""
        self.stage.until(lambda: len(self.notes.failed) >= count)
        return [why for _, why in self.notes.failed]

    def release(self, token: Token) -> None:
        """As `Upstreams.release`."""
        link, token.link = token.link, None
        link.release()


def question(number: int) -> bytes:
    """A message of 16 bytes with this id; the first bit of the flags is clear."""
    return struct.pack("!H", number) + bytes(10) + struct.pack("!I", number)


def answer_to(query: bytes) -> bytes:
    """The same with the response bit (RFC 1035 §4.1.1)."""
    return query[:2] + b"\x80" + query[3:]


def queries(connection: socket.socket) -> Iterator[bytes]:
    """The messages that come, until the end."""
    file = connection.makefile("rb")
    with file:
        while len(head := file.read(2)) == 2:
            yield file.read(int.from_bytes(head, "big"))


def honest(connection: socket.socket) -> None:
    """Answer each query at once."""
    for query in queries(connection):
        connection.sendall(frame(answer_to(query)))


def saying(*raw: Callable[[bytes], bytes]) -> Habit:
    """Say these things to each query, one after the other."""

    def habit(connection: socket.socket) -> None:
        for query in queries(connection):
            for piece in raw:
                connection.sendall(piece(query))

    return habit


def after(count: int, then: Callable[[socket.socket], None] = lambda _connection: None) -> Habit:
    """Answer so many queries of each connection; read one more and close, after doing that."""

    def habit(connection: socket.socket) -> None:
        for number, query in enumerate(queries(connection)):
            if number == count:
                then(connection)
                return
            connection.sendall(frame(answer_to(query)))

    return habit


def by_turns(*habits: Habit) -> Habit:
    """Each caller finds another habit, the last one those who are left."""
    number = itertools.count()
    lock = threading.Lock()

    def habit(connection: socket.socket) -> bytes | None:
        with lock:
            mine = habits[min(next(number), len(habits) - 1)]
        return mine(connection)

    return habit


def reset_it(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)


# Exchanges


def test_a_question_is_answered_with_its_own_id_and_has_another_one_on_the_wire(stage: Stage) -> None:
    heard: list[bytes] = []

    def habit(connection: socket.socket) -> None:
        for query in queries(connection):
            heard.append(query)
            connection.sendall(frame(answer_to(query)))

    with Peer(habit) as server:
        scene = Scene(stage)
        tokens = [scene.ask(server.port, 0x1234) for _ in range(5)]
        assert scene.answered(*tokens)
        assert {data for _, data in scene.notes.heard} == {answer_to(question(0x1234))}
        assert {query[2:] for query in heard} == {question(0x1234)[2:]}
        assert len({query[:2] for query in heard}) == 5, "ids are unique on a connection"
        assert all(token.link is None for token in tokens)


def test_an_id_that_is_taken_is_not_given_again(stage: Stage) -> None:
    with Peer(honest) as server:
        scene = Scene(stage)
        numbers = iter([5, 5, 5, 6])
        scene.streams.bits = lambda _count: next(numbers)
        assert scene.answered(scene.ask(server.port, 1), scene.ask(server.port, 2))
        assert next(numbers, None) is None


def test_one_connection_serves_one_question_after_the_other(stage: Stage) -> None:
    with Peer(honest) as server:
        scene = Scene(stage)
        for number in range(5):
            scene.ask(server.port, number)
            assert stage.until(lambda number=number: len(scene.notes.heard) == number + 1)  # type: ignore[misc]
        assert len(server.callers) == 1
        assert [data for _, data in scene.notes.heard] == [answer_to(question(number)) for number in range(5)]


def test_answers_find_their_questions_in_any_order(stage: Stage) -> None:
    def backwards(connection: socket.socket) -> None:
        held = list(itertools.islice(queries(connection), 50))
        connection.sendall(b"".join(frame(answer_to(query)) for query in reversed(held)))
        connection.recv(1)

    with Peer(backwards) as server:
        scene = Scene(stage)
        tokens = [scene.ask(server.port, number) for number in range(50)]
        assert scene.answered(*tokens)
        expected = list(zip(map(id, tokens), (answer_to(question(number)) for number in range(50)), strict=True))
        assert [(id(token), data) for token, data in scene.notes.heard] == expected[::-1]
        assert len(server.callers) == 1


def test_an_answer_may_come_byte_by_byte(stage: Stage) -> None:
    def dripping(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for query in queries(connection):
            for byte in frame(answer_to(query)):
                connection.sendall(bytes([byte]))

    with Peer(dripping) as server:
        scene = Scene(stage)
        assert scene.answered(scene.ask(server.port, 1), scene.ask(server.port, 2))


def test_an_answer_may_have_65535_bytes(stage: Stage) -> None:
    with Peer(saying(lambda query: frame(answer_to(query) + bytes(65535 - len(query))))) as server:
        scene = Scene(stage)
        assert scene.answered(scene.ask(server.port))
        ((_, data),) = scene.notes.heard
        assert len(data) == 65535


def test_an_answer_to_nobody_is_passed_over(stage: Stage) -> None:
    stranger = saying(
        lambda query: frame(bytes([query[0] ^ 1]) + answer_to(query)[1:]), lambda query: frame(answer_to(query))
    )
    with Peer(stranger) as server:
        scene = Scene(stage)
        assert scene.answered(scene.ask(server.port))


def test_what_is_not_taken_as_the_answer_is_not_the_last_word(stage: Stage) -> None:
    with Peer(saying(lambda query: frame(query), lambda query: frame(answer_to(query)))) as server:
        scene = Scene(stage)
        scene.notes.is_answer = lambda _token, data: data[2] == 0x80
        scene.ask(server.port)
        assert stage.until(lambda: len(scene.notes.heard) == 2)
        assert [data[2] for _, data in scene.notes.heard] == [0, 0x80]


@pytest.mark.parametrize(("count", "is_over"), [(module.MAX_STRAYS, False), (module.MAX_STRAYS + 1, True)])
def test_a_server_that_says_too_much_that_nobody_asked_is_left(stage: Stage, count: int, is_over: bool) -> None:
    stray = saying(
        lambda query: frame(bytes([query[0] ^ 1]) + query[1:]) * count, lambda query: frame(answer_to(query))
    )
    with Peer(stray) as server:
        scene = Scene(stage)
        token = scene.ask(server.port)
        if is_over:
            assert scene.failure() == ["sent answers that nobody had asked for"]
            assert len(server.callers) == 2
        else:
            assert scene.answered(token)
            assert len(server.callers) == 1


@pytest.mark.parametrize("size", [0, 11])
def test_a_message_shorter_than_its_header_ends_the_connection(stage: Stage, size: int) -> None:
    with Peer(saying(lambda query: frame(query[:size]))) as server:
        scene = Scene(stage)
        scene.ask(server.port)
        assert scene.failure() == [f"sent a message of {size} bytes"]
        assert len(server.callers) == 2


def test_who_hears_an_answer_may_ask_anew_or_release(stage: Stage) -> None:
    with Peer(honest) as server:
        scene = Scene(stage)

        def again(token: Token, data: bytes) -> bool:
            if data == answer_to(question(1)):
                scene.release(token)
                scene.streams.begin(token, Server(address("127.0.0.1"), server.port), None, question(2))
            return True

        scene.notes.is_answer = again
        token = scene.ask(server.port, 1)
        assert stage.until(lambda: len(scene.notes.heard) == 2)
        assert scene.notes.heard[1] == (token, answer_to(question(2)))
        assert token.link is None
        assert len(server.callers) == 1


# Servers that end connections


def test_a_server_that_closes_while_nothing_is_asked_has_not_failed(stage: Stage) -> None:
    with Peer(
        by_turns(lambda connection: connection.sendall(frame(answer_to(next(queries(connection))))), honest)
    ) as s:
        scene = Scene(stage)
        assert scene.answered(scene.ask(s.port))
        assert stage.until(lambda: len(scene.streams) == 0) is True
        scene.ask(s.port, 2)
        assert stage.until(lambda: len(scene.notes.heard) == 2)
        assert scene.notes.failed == []
        assert len(s.callers) == 2


@pytest.mark.parametrize("how", [lambda _: None, reset_it], ids=["FIN", "RST"])
def test_a_question_that_is_lost_with_its_connection_is_asked_on_another(
    stage: Stage, how: Callable[[socket.socket], None]
) -> None:
    with Peer(by_turns(after(0, how), honest)) as server:
        scene = Scene(stage)
        assert scene.answered(scene.ask(server.port))
        assert len(server.callers) == 2


@pytest.mark.parametrize(
    ("how", "words"),
    [(lambda _: None, "closed the connection"), (reset_it, "Connection reset by peer")],
    ids=["FIN", "RST"],
)
def test_a_question_that_is_lost_twice_has_failed(
    stage: Stage, how: Callable[[socket.socket], None], words: str
) -> None:
    with Peer(after(0, how)) as server:
        scene = Scene(stage)
        token = scene.ask(server.port)
        assert scene.failure() == [words]
        assert scene.notes.failed[0][0] is token
        assert token.link is None
        assert len(server.callers) == 2


def test_a_server_that_closes_after_each_answer_answers_all_the_same(stage: Stage) -> None:
    with Peer(after(1)) as server:
        scene = Scene(stage)
        assert scene.answered(*(scene.ask(server.port, number) for number in range(8)))
        assert len(server.callers) == 8


def test_a_question_that_its_server_never_survives_fails_and_what_was_answered_before_does_not(stage: Stage) -> None:
    def fragile(connection: socket.socket) -> None:
        for query in queries(connection):
            if query[-1] == 3:
                return
            connection.sendall(frame(answer_to(query)))

    with Peer(fragile) as server:
        scene = Scene(stage)
        tokens = [scene.ask(server.port, number) for number in range(4)]
        assert scene.failure() == ["closed the connection"]
        assert scene.notes.failed[0][0] is tokens[3]
        assert [token for token, _ in scene.notes.heard] == tokens[:3]
        assert len(server.callers) in (2, 3), "the first loss is not counted if that connection had answered others"


@pytest.mark.parametrize(
    "habits",
    [
        pytest.param((after(0), after(1), honest), id="nothing, one, all"),
        pytest.param((after(1), after(0), honest), id="one, nothing, all"),
        pytest.param((after(1), after(1), after(0), after(1), honest), id="one, one, nothing, one, all"),
    ],
)
def test_only_connections_that_answered_nothing_count_as_lost(stage: Stage, habits: tuple[Habit, ...]) -> None:
    with Peer(by_turns(*habits)) as server:
        scene = Scene(stage)
        assert scene.answered(*(scene.ask(server.port, number) for number in range(6)))
        assert len(server.callers) == len(habits)


def test_an_answer_that_came_before_the_end_counts_though_sending_fails(stage: Stage) -> None:
    closed = threading.Event()
    asked = []

    def hasty(connection: socket.socket) -> None:
        asked.append(query := next(queries(connection)))
        connection.sendall(frame(answer_to(query)))
        reset_it(connection)
        connection.close()
        closed.set()

    def second(connection: socket.socket) -> None:
        for query in queries(connection):
            asked.append(query)
            connection.sendall(frame(answer_to(query)))

    with Peer(by_turns(hasty, second)) as server:
        scene = Scene(stage)
        first = scene.ask(server.port, 1)
        stage.one_round()
        assert closed.wait(10)
        others = [scene.ask(server.port, number) for number in (2, 3)]
        assert scene.answered(first, *others)
        assert sorted(query[-1] for query in asked) == [1, 2, 3], "none was asked twice"


def test_a_question_that_is_released_by_the_failure_of_another_is_not_asked_again(stage: Stage) -> None:
    def two(connection: socket.socket) -> None:
        list(itertools.islice(queries(connection), 2))

    with Peer(by_turns(after(0), two, honest)) as server:
        scene = Scene(stage)
        first = scene.ask(server.port, 1)
        assert stage.until(lambda: len(server.callers) == 2)
        second = scene.ask(server.port, 2)

        def fail(token: Token, why: str) -> None:
            scene.notes.fail(token, why)
            scene.release(second)

        scene.streams.hear(scene.notes.hear, fail)
        assert scene.failure() == ["closed the connection"]
        assert scene.notes.failed[0][0] is first
        stage.rest()
        assert len(server.callers) == 2
        assert scene.notes.heard == []


# Servers that can not be reached


def test_a_refusal_is_told_in_words_and_not_within_the_call(stage: Stage) -> None:
    before = descriptors()
    with closed_port() as port:
        scene = Scene(stage)
        token = scene.ask(port)
        assert scene.notes.failed == []
        assert scene.failure() == ["Connection refused"]
        assert scene.notes.failed[0][0] is token
    stage.turns()
    assert descriptors() == before


def test_what_fails_at_once_is_told_later_too(stage: Stage) -> None:
    before = descriptors()
    scene = Scene(stage)
    scene.ask(53, host="127.255.255.255")
    assert scene.notes.failed == []
    assert scene.failure() == ["Network is unreachable"]
    assert descriptors() == before


def test_a_failure_is_not_told_to_who_does_not_wait_any_more(stage: Stage) -> None:
    scene = Scene(stage)
    scene.release(scene.ask(53, host="127.255.255.255"))
    stage.rest()
    assert scene.notes.failed == []


def test_a_connection_that_is_never_made_has_its_time(stage: Stage) -> None:
    before = descriptors()
    with full_backlog() as port:
        scene = Scene(stage, connect=0.1)
        scene.ask(port, 1)
        scene.ask(port, 2)
        assert scene.failure(2) == ["timed out", "timed out"]
        assert len(scene.streams) == 0
    stage.turns()
    assert descriptors() == before


# How connections are kept


def test_a_connection_that_nobody_needs_closes_after_its_time(stage: Stage) -> None:
    with Peer(silent_after_answer) as server:
        scene = Scene(stage, idle=0.1)
        assert scene.answered(scene.ask(server.port))
        assert len(scene.streams) == 1
        assert stage.until(lambda: len(scene.streams) == 0) is True
    assert scene.notes.failed == []


def silent_after_answer(connection: socket.socket) -> None:
    """Answer the first query only, and listen."""
    for number, query in enumerate(queries(connection)):
        if number == 0:
            connection.sendall(frame(answer_to(query)))


def test_a_connection_on_which_somebody_waits_stays_open(stage: Stage) -> None:
    with Peer(silent_after_answer) as server:
        scene = Scene(stage, idle=0.04)
        assert scene.answered(scene.ask(server.port))
        waiting = scene.ask(server.port, 2)
        stage.rest(0.15)
        assert len(scene.streams) == 1
        scene.release(waiting)
        assert stage.until(lambda: len(scene.streams) == 0) is True
        assert scene.notes.failed == []
        assert len(server.callers) == 1


def test_a_first_question_may_wait_longer_than_a_connection_is_kept_for_nothing(stage: Stage) -> None:
    with Peer(silent) as server:
        scene = Scene(stage, idle=0.04)
        scene.ask(server.port)
        stage.rest(0.15)
        assert len(scene.streams) == 1
        assert scene.notes.failed == []
        assert len(server.callers) == 1
        scene.streams.close()
        stage.turns()


def test_a_connection_that_is_silent_since_a_question_gets_no_other_one(stage: Stage) -> None:
    """A server that was restarted behind a firewall never says that it does not know the connection."""
    with Peer(by_turns(silent, honest)) as server:
        scene = Scene(stage)
        first, second = scene.ask(server.port, 1), scene.ask(server.port, 2)
        assert stage.until(lambda: len(server.callers) == 1)
        stage.rest()
        scene.release(first)
        third = scene.ask(server.port, 3)
        assert scene.answered(third)
        assert len(server.callers) == 2
        scene.release(second)
        assert stage.until(lambda: len(scene.streams) == 1) is True


def test_a_connection_that_answers_others_is_kept_when_one_is_given_up(stage: Stage) -> None:
    picky = threading.Event()

    def habit(connection: socket.socket) -> None:
        held = b""
        for query in queries(connection):
            if query[-1] == 1:
                held = query
            else:
                connection.sendall(frame(answer_to(query)))
            if picky.is_set():
                connection.sendall(frame(answer_to(held)))

    with Peer(habit) as server:
        scene = Scene(stage)
        slow = scene.ask(server.port, 1)
        assert scene.answered(scene.ask(server.port, 2))
        scene.release(slow)
        picky.set()
        scene.ask(server.port, 3)
        assert stage.until(lambda: len(scene.notes.heard) == 2)
        stage.rest()
        assert [data[-1] for _, data in scene.notes.heard] == [2, 3], "the late answer was nobody's"
        assert len(server.callers) == 1


def test_late_answers_are_no_strays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STRAYS", 0)
    late = threading.Event()

    def habit(connection: socket.socket) -> None:
        held = list(itertools.islice(queries(connection), 3))
        late.wait(10)
        connection.sendall(b"".join(frame(answer_to(query)) for query in held))
        connection.recv(1)

    with Peer(habit) as server:
        scene = Scene(stage)
        tokens = [scene.ask(server.port, number) for number in range(3)]
        assert stage.until(lambda: len(server.callers) == 1)
        stage.rest()
        for token in tokens[:2]:
            scene.release(token)
        late.set()
        assert scene.answered(tokens[2])
        stage.turns()


def test_a_full_connection_gets_a_neighbour_and_when_all_are_full_it_is_said(stage: Stage) -> None:
    with Peer(silent) as server:
        scene = Scene(stage, exchanges=2, connections=2)
        tokens = [scene.ask(server.port, number) for number in range(4)]
        assert stage.until(lambda: len(server.callers) == 2)
        assert len(scene.streams) == 2
        scene.ask(server.port, 5)
        assert scene.failure() == ["all connections to it are full of questions"]
        stage.rest()
        assert len(server.callers) == 2
        assert all(token.link is not None for token in tokens)


@pytest.mark.parametrize(("total", "failures"), [(2, 0), (1, 1)])
def test_connections_are_counted_over_all_servers(stage: Stage, total: int, failures: int) -> None:
    with Peer(silent) as first, Peer(silent) as second:
        scene = Scene(stage, total=total)
        scene.ask(first.port)
        scene.ask(second.port)
        stage.rest()
        assert len(scene.notes.failed) == failures
        assert len(scene.streams) == total


def test_a_server_that_does_not_read_gets_no_more_on_that_connection(stage: Stage) -> None:
    over = threading.Event()
    with Peer(stuck(over)) as server:
        scene = Scene(stage, exchanges=10_000, connections=2)
        long = bytes(60_000)
        for _ in range(1000):
            scene.streams.begin(Token(), Server(address("127.0.0.1"), server.port), None, long)
            stage.one_round()
            if len(scene.streams) == 2:
                break
        over.set()
        assert len(scene.streams) == 2


def test_closing_tells_nobody_and_leaves_nothing(stage: Stage) -> None:
    before = descriptors()
    with Peer(silent) as server, full_backlog() as port:
        scene = Scene(stage)
        tokens = [scene.ask(server.port), scene.ask(port)]
        assert stage.until(lambda: server.callers)
        scene.streams.close()
        stage.turns()
        for token in tokens:
            scene.release(token)
        assert len(scene.streams) == 0
    assert scene.notes.failed == []
    assert descriptors() == before


# Ways out


def test_a_connection_leaves_by_its_way_and_another_way_has_another_one(stage: Stage) -> None:
    with Peer(honest) as server:
        scene = Scene(stage)
        other = LO._replace(uplink="wan2", source=address("127.0.0.3"))
        assert scene.answered(
            *(scene.ask(server.port, number, way) for number, way in enumerate((LO, other, LO, None)))
        )
        assert sorted(caller[0] for caller in server.callers) == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


@pytest.mark.parametrize(
    ("way", "words"),
    [
        pytest.param(LO._replace(device="nonesuch0"), "No such device", id="no such device"),
        pytest.param(LO._replace(source=address("192.0.2.77")), "Cannot assign requested address", id="no address"),
    ],
)
def test_a_way_that_is_not_there_fails(stage: Stage, way: Egress, words: str) -> None:
    before = descriptors()
    with Peer(honest) as server:
        scene = Scene(stage)
        scene.ask(server.port, 1, way)
        assert scene.failure() == [words]
        assert not server.called()
    assert descriptors() == before


def test_connections_end_with_their_way_and_others_stay(stage: Stage) -> None:
    with Peer(silent) as server:
        scene = Scene(stage)
        other = LO._replace(uplink="wan2", source=address("127.0.0.3"))
        lost = scene.ask(server.port, 1, LO)
        kept = [scene.ask(server.port, 2, other), scene.ask(server.port, 3)]
        assert stage.until(lambda: len(server.callers) == 3)
        scene.streams.ways_changed(lambda way: way.uplink == "wan2")
        assert scene.notes.failed == [(lost, "the way out by wan1 is lost")]
        assert len(scene.streams) == 2
        assert all(token.link is not None for token in kept)


@needs_ipv6
def test_a_server_may_have_an_ipv6_address(stage: Stage) -> None:
    with Peer(honest, "::1") as server:
        scene = Scene(stage)
        assert scene.answered(scene.ask(server.port, 1, Egress("wan1", "lo", address("::1")), host="::1"))


# TLS


class Secure:
    """A TLS server's context, and a client's that trusts it."""

    def __init__(self, folder: Path, *names: str) -> None:
        made = certificate(folder, *names)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(made.chain, made.key)
        self.server.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        self.client = ssl.create_default_context(cafile=str(made.chain))
        #: the names that clients asked for, and how they ended
        self.wanted: list[str | None] = []
        self.ends: list[str] = []
        self.server.sni_callback = lambda _sock, name, _context: self.wanted.append(name)

    def habit(self, inner: Habit) -> Habit:
        """The same inside TLS."""

        def habit(connection: socket.socket) -> bytes | None:
            with self.server.wrap_socket(connection.dup(), server_side=True, suppress_ragged_eofs=False) as inside:
                try:
                    result = inner(inside)
                except ssl.SSLEOFError:
                    self.ends.append("torn")
                    return None
                self.ends.append("closed")
                return result

        return habit


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Secure:
    return Secure(tmp_path_factory.mktemp("tls"), NAME, "127.0.0.2")


@pytest.fixture(autouse=True)
def _forget(request: pytest.FixtureRequest) -> None:
    if "secure" in request.fixturenames:
        made = request.getfixturevalue("secure")
        made.wanted.clear()
        made.ends.clear()


@needs_openssl
def test_questions_by_tls_share_a_connection_and_name_the_server(stage: Stage, secure: Secure) -> None:
    with Peer(secure.habit(honest)) as server:
        scene = Scene(stage, secure.client)
        assert scene.answered(*(scene.ask(server.port, number, LO, tls=NAME) for number in range(20)))
        scene.ask(server.port, 99, LO, tls=NAME)
        assert stage.until(lambda: len(scene.notes.heard) == 21)
        assert [caller[0] for caller in server.callers] == ["127.0.0.2"]
        assert secure.wanted == [NAME]


@needs_openssl
def test_the_end_of_a_tls_connection_is_said(stage: Stage, secure: Secure) -> None:
    with Peer(secure.habit(honest)) as server:
        scene = Scene(stage, secure.client, idle=0.05)
        assert scene.answered(scene.ask(server.port, tls=NAME))
        assert stage.until(lambda: secure.ends) == ["closed"]


@needs_openssl
def test_long_answers_come_by_tls_too(stage: Stage, secure: Secure) -> None:
    with Peer(secure.habit(saying(lambda query: frame(answer_to(query) + bytes(65535 - len(query)))))) as server:
        scene = Scene(stage, secure.client)
        assert scene.answered(*(scene.ask(server.port, number, tls=NAME) for number in range(10)))


@needs_openssl
def test_a_certificate_may_be_for_an_address(stage: Stage, secure: Secure) -> None:
    with Peer(secure.habit(honest)) as server:
        scene = Scene(stage, secure.client)
        assert scene.answered(scene.ask(server.port, tls="127.0.0.2"))
        assert ipaddress.ip_address("127.0.0.2")


@needs_openssl
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dns.other", "certificate of 127.0.0.1 is not for dns.other: Hostname mismatch"),
        ("127.0.0.9", "certificate of 127.0.0.1 is not for 127.0.0.9: IP address mismatch"),
    ],
)
def test_a_certificate_for_another_name_is_a_failure(stage: Stage, secure: Secure, name: str, words: str) -> None:
    with Peer(secure.habit(honest)) as server:
        scene = Scene(stage, secure.client)
        scene.ask(server.port, tls=name)
        (said,) = scene.failure()
        assert said.startswith(words)
        assert scene.notes.heard == []
        assert len(server.callers) == 1


@needs_openssl
def test_a_certificate_of_nobody_who_is_trusted_is_a_failure(stage: Stage, secure: Secure, tmp_path: Path) -> None:
    with Peer(secure.habit(honest)) as server:
        scene = Scene(stage, Secure(tmp_path, NAME).client)
        scene.ask(server.port, tls=NAME)
        (said,) = scene.failure()
        assert said.startswith("certificate of 127.0.0.1 is not trusted: self")


def test_a_server_that_speaks_no_tls_is_a_failure(stage: Stage) -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(frame(answer_to(question(1))) * 5)

    with Peer(plain) as server:
        scene = Scene(stage, ssl.create_default_context())
        scene.ask(server.port, tls=NAME)
        assert scene.failure() == ["TLS failed: wrong version number"]


def test_a_server_that_hangs_up_in_the_handshake_is_a_failure(stage: Stage) -> None:
    with Peer(lambda connection: connection.recv(1 << 16) and None) as server:
        scene = Scene(stage, ssl.create_default_context())
        scene.ask(server.port, tls=NAME)
        (said,) = scene.failure()
        assert said in ("closed the connection", "Connection reset by peer")


def test_a_handshake_that_is_never_answered_has_its_time(stage: Stage) -> None:
    with Peer(silent) as server:
        scene = Scene(stage, ssl.create_default_context(), connect=0.1)
        scene.ask(server.port, tls=NAME)
        assert scene.failure() == ["timed out"]
        assert server.called()


def test_without_trusted_authorities_nothing_leaves(stage: Stage) -> None:
    with Peer(lambda connection: connection.recv(1 << 16)) as server:
        scene = Scene(stage, None)
        scene.ask(server.port, tls=NAME)
        assert scene.failure() == ["no TLS here: the certificates of the authorities were not loaded"]
        stage.turns()
        assert eventually(lambda: server.results) == [b""]


@needs_openssl
def test_a_question_that_is_lost_with_its_tls_connection_is_asked_on_another(stage: Stage, secure: Secure) -> None:
    with Peer(secure.habit(by_turns(after(0), honest))) as server:
        scene = Scene(stage, secure.client)
        assert scene.answered(scene.ask(server.port, tls=NAME))
        assert len(server.callers) == 2


@needs_openssl
def test_tls_and_plain_connections_to_one_server_are_not_mixed(stage: Stage, secure: Secure) -> None:
    with Peer(by_turns(secure.habit(honest), honest)) as server:
        scene = Scene(stage, secure.client)
        assert scene.answered(scene.ask(server.port, 1, tls=NAME))
        scene.ask(server.port, 2)
        assert stage.until(lambda: len(scene.notes.heard) == 2)
        assert len(server.callers) == 2
