"""Questions to name servers from many ports, on loopback, with honest and lying servers."""

import contextlib
import errno
import itertools
import random
import re
import resource
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.dns.servers import Server
from gateway.net import upstreams as module
from gateway.net.streams import StreamLimits, Streams
from gateway.net.upstreams import Upstreams
from gateway.policy.egress import Egress
from tests.support.peers import Peer, closed_port, has_ipv6, silent
from tests.support.rules import address
from tests.unit.net.stage import Stage, descriptors
from tests.unit.net.test_streams import Notes, Token, answer_to, honest, question

LO = Egress("wan1", "lo", address("127.0.0.2"))

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs ::1 on the loopback interface")


class NameServer:
    """A UDP socket on which a test reads questions, and says what it likes."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, port))
        self.sock.settimeout(10)
        self.server = Server(address(host), self.sock.getsockname()[1])

    def asked(self) -> tuple[bytes, Any]:
        """The next question, and from where."""
        return self.sock.recvfrom(4096)


@contextlib.contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[NameServer]:
    made = NameServer(host)
    with made.sock:
        yield made


class Scene:
    """What a process has towards name servers, and what comes of it."""

    def __init__(self, stage: Stage, sockets: int = 100) -> None:
        self.stage = stage
        self.notes = Notes()
        streams = Streams(stage.loop, stage.poller, random.Random(7).getrandbits, None, StreamLimits())
        self.upstreams = Upstreams(stage.loop, stage.poller, streams, sockets, random.Random(7).randbytes)
        self.upstreams.hear(self.notes.hear, self.notes.fail)
        self.tokens: list[Token] = []
        stage.closers.append(self.close)

    def close(self) -> None:
        """Nobody waits for anything any more."""
        for token in self.tokens:
            self.upstreams.release(token)
        self.upstreams.close()

    def ask(self, server: Server, number: int = 1, egress: Egress | None = None) -> Token:
        """Send a question with this id."""
        token = Token()
        self.tokens.append(token)
        self.upstreams.datagram(token, server, egress, question(number))
        return token

    def heard(self, count: int = 1) -> list[bytes]:
        """What so many answers are."""
        self.stage.until(lambda: len(self.notes.heard) >= count)
        return [data for _, data in self.notes.heard]


@pytest.fixture
def scene(stage: Stage) -> Scene:
    return Scene(stage)


# Exchanges


def test_a_question_is_answered_and_its_socket_closed(scene: Scene) -> None:
    with serving() as there:
        before = descriptors()
        token = scene.ask(there.server, 0xABCD)
        assert scene.upstreams.open == 1
        query, caller = there.asked()
        assert query == question(0xABCD)
        there.sock.sendto(answer_to(query), caller)
        assert scene.heard() == [answer_to(query)]
        assert scene.notes.heard[0][0] is token
        assert token.link is None
        assert scene.upstreams.open == 0
        assert scene.stage.until(lambda: descriptors() == before) is True
        assert scene.notes.failed == []


def test_each_of_few_questions_has_a_port_of_its_own(scene: Scene) -> None:
    with serving() as there:
        for number in range(module.PORTS):
            scene.ask(there.server, number)
        callers = {there.asked()[1] for _ in range(module.PORTS)}
        assert len(callers) == module.PORTS


def test_ports_are_not_given_in_turn(scene: Scene) -> None:
    """RFC 5452 §9.2: the kernel draws them."""
    ports = []
    with serving() as there:
        for number in range(20):
            token = scene.ask(there.server, number)
            ports.append(there.asked()[1][1])
            scene.upstreams.release(token)
    steps = {after - before for before, after in itertools.pairwise(ports)}
    assert len(steps) > 10


@pytest.mark.parametrize("size", [0, 1, module.LONGEST])
def test_answers_of_any_size_are_heard(scene: Scene, size: int) -> None:
    with serving() as there:
        scene.ask(there.server)
        there.sock.sendto(bytes(size), there.asked()[1])
        assert scene.heard() == [bytes(size)]


def test_a_longer_answer_is_cut(scene: Scene) -> None:
    with serving() as there:
        scene.ask(there.server)
        there.sock.sendto(bytes(module.LONGEST + 1), there.asked()[1])
        assert scene.heard() == [bytes(module.LONGEST)]


def test_wrong_answers_are_told_one_by_one_until_the_right_one(scene: Scene) -> None:
    scene.notes.is_answer = lambda _token, data: data == b"right"
    with serving() as there:
        token = scene.ask(there.server)
        _, caller = there.asked()
        there.sock.sendto(b"wrong", caller)
        there.sock.sendto(b"wrong too", caller)
        assert scene.heard(2) == [b"wrong", b"wrong too"]
        assert token.link is not None
        there.sock.sendto(b"right", caller)
        there.sock.sendto(b"late", caller)
        assert scene.heard(3) == [b"wrong", b"wrong too", b"right"]
        scene.stage.rest()
        assert len(scene.notes.heard) == 3


def test_an_answer_from_elsewhere_is_not_heard(scene: Scene) -> None:
    with serving() as there, serving() as elsewhere, serving("127.0.0.3") as host:
        scene.ask(there.server)
        query, caller = there.asked()
        for liar in (elsewhere, host):
            liar.sock.sendto(b"forged", caller)
        there.sock.sendto(answer_to(query), caller)
        assert scene.heard() == [answer_to(query)]


def test_a_flood_of_wrong_answers_lets_others_have_their_turn(scene: Scene) -> None:
    scene.notes.is_answer = lambda _token, _data: False
    with serving() as there:
        scene.ask(there.server)
        _, caller = there.asked()
        for _ in range(10):
            there.sock.sendto(b"wrong", caller)
        scene.stage.one_round()
        assert len(scene.notes.heard) == 1
        assert len(scene.heard(10)) == 10


def test_a_flood_ends_when_it_was_enough(scene: Scene) -> None:
    def enough(token: Token, _data: bytes) -> bool:
        if len(scene.notes.heard) == 3:
            scene.upstreams.release(token)
        return False

    scene.notes.is_answer = enough
    with serving() as there:
        scene.ask(there.server)
        _, caller = there.asked()
        for _ in range(10):
            there.sock.sendto(b"wrong", caller)
        assert len(scene.heard(3)) == 3
        scene.stage.rest()
        assert len(scene.notes.heard) == 3
        assert scene.upstreams.open == 0


def test_the_next_exchange_may_begin_when_an_answer_is_heard(scene: Scene) -> None:
    with serving() as there:

        def again(token: Token, data: bytes) -> bool:
            if data == answer_to(question(1)):
                scene.upstreams.datagram(token, there.server, None, question(2))
            return True

        scene.notes.is_answer = again
        token = scene.ask(there.server, 1)
        for _ in range(2):
            there.sock.sendto(answer_to((asked := there.asked())[0]), asked[1])
            scene.stage.until(lambda: scene.notes.heard)
            assert scene.upstreams.open == (token.link is not None) == (len(scene.notes.heard) == 1)
            scene.stage.rest()
        assert [(who is token, data) for who, data in scene.notes.heard] == [
            (True, answer_to(question(1))),
            (True, answer_to(question(2))),
        ]
        assert token.link is None


def test_a_truncated_answer_can_be_followed_by_a_stream_at_once(scene: Scene) -> None:
    with serving() as there, Peer(honest) as tcp:

        def by_tcp(token: Token, _data: bytes) -> bool:
            if len(scene.notes.heard) == 1:
                scene.upstreams.stream(token, Server(address("127.0.0.1"), tcp.port), None, question(1))
            return True

        scene.notes.is_answer = by_tcp
        token = scene.ask(there.server, 1)
        there.sock.sendto(b"truncated", there.asked()[1])
        assert scene.heard(2) == [b"truncated", answer_to(question(1))]
        assert token.link is None
        assert scene.upstreams.open == 0


def test_a_question_that_begins_anew_lets_its_former_socket_go(scene: Scene) -> None:
    with serving() as there:
        token = scene.ask(there.server, 1)
        _, former = there.asked()
        scene.upstreams.datagram(token, there.server, None, question(2))
        _, latter = there.asked()
        assert scene.upstreams.open == 1
        there.sock.sendto(b"late", former)
        there.sock.sendto(b"right", latter)
        assert scene.heard() == [b"right"]


def test_what_is_released_is_not_heard(scene: Scene) -> None:
    with serving() as there:
        token = scene.ask(there.server)
        _, caller = there.asked()
        there.sock.sendto(b"late", caller)
        scene.upstreams.release(token)
        scene.upstreams.release(token)
        assert token.link is None
        scene.stage.rest()
        assert scene.notes.heard == []
        assert scene.upstreams.open == 0


# Many questions


def test_many_questions_share_so_many_ports_and_each_is_heard(scene: Scene) -> None:
    count = 4 * module.PORTS
    with serving() as there:
        tokens = [scene.ask(there.server, number) for number in range(count)]
        asked = [there.asked() for _ in range(count)]
        shares = Counter(caller for _, caller in asked)
        assert len(shares) == module.PORTS
        assert max(shares.values()) < count / 8, "they are drawn at random"
        for query, caller in reversed(asked):
            there.sock.sendto(answer_to(query), caller)
        scene.heard(count)
        assert {(token, data) for token, data in scene.notes.heard} == {
            (token, answer_to(question(number))) for number, token in enumerate(tokens)
        }
        assert scene.upstreams.open == 0


@pytest.fixture
def _one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PORTS", 1)


@pytest.mark.usefixtures("_one_port")
def test_a_port_takes_so_many_questions_and_no_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUESTIONS", 3)
    with serving() as there:
        for number in range(7):
            scene.ask(there.server, number)
        callers = [there.asked()[1] for _ in range(7)]
        assert callers == [callers[0]] * 3 + [callers[3]] * 3 + [callers[6]]
        assert len(set(callers)) == 3
        there.sock.sendto(answer_to(question(1)), callers[0])
        assert scene.heard() == [answer_to(question(1))], "who waits there is still heard"


@pytest.mark.usefixtures("_one_port")
def test_a_port_takes_questions_for_a_while_and_no_longer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 0.001)
    with serving() as there:
        first = scene.ask(there.server, 1)
        (port,) = scene.upstreams.ports
        scene.ask(there.server, 2)
        assert scene.stage.until(lambda: port.is_retired) is True
        assert port.turns == module.TURNS + 1
        scene.ask(there.server, 3)
        callers = [there.asked()[1] for _ in range(3)]
        assert callers[0] == callers[1] != callers[2]
        there.sock.sendto(answer_to(question(1)), callers[0])
        assert scene.heard() == [answer_to(question(1))]
        assert scene.notes.heard[0][0] is first


@pytest.mark.usefixtures("_one_port")
def test_two_questions_with_one_id_go_by_two_ports(scene: Scene) -> None:
    with serving() as there:
        tokens = [scene.ask(there.server, 7) for _ in range(2)]
        callers = [there.asked()[1] for _ in range(2)]
        assert callers[0] != callers[1]
        for caller in reversed(callers):
            there.sock.sendto(answer_to(question(7)), caller)
        scene.heard(2)
        assert [token for token, _ in scene.notes.heard] == tokens[::-1]


@pytest.mark.usefixtures("_one_port")
def test_an_id_that_was_answered_is_not_used_again_on_its_port(scene: Scene) -> None:
    with serving() as there:
        scene.ask(there.server, 7)
        _, caller = there.asked()
        there.sock.sendto(answer_to(question(7)), caller)
        scene.heard()
        scene.ask(there.server, 7)
        assert there.asked()[1] != caller


def test_without_a_port_for_its_id_a_question_is_not_sent(stage: Stage) -> None:
    scene = Scene(stage, sockets=1)
    with serving() as there:
        scene.ask(there.server, 7)
        with pytest.raises(OSError, match="in use"):
            scene.ask(there.server, 7)
        scene.ask(there.server, 8)
        assert [there.asked()[0] for _ in range(2)] == [question(7), question(8)]


@pytest.mark.usefixtures("_one_port")
def test_an_id_that_nobody_has_sent_is_a_wrong_answer_to_all_of_its_port(scene: Scene) -> None:
    """Or who found the port could try all ids."""
    scene.notes.is_answer = lambda _token, data: data[:2] != b"!!"
    with serving() as there:
        tokens = [scene.ask(there.server, number) for number in (1, 2)]
        _, caller = there.asked()
        there.sock.sendto(b"!! guessed", caller)
        scene.heard(2)
        assert scene.notes.heard == [(token, b"!! guessed") for token in tokens]
        assert scene.upstreams.strays == 1
        there.sock.sendto(answer_to(question(2)), caller)
        scene.heard(3)
        assert scene.notes.heard[2:] == [(tokens[1], answer_to(question(2)))]


@pytest.mark.usefixtures("_one_port")
def test_an_answer_that_comes_again_or_too_late_is_told_to_nobody(scene: Scene) -> None:
    with serving() as there:
        tokens = [scene.ask(there.server, number) for number in (1, 2, 3)]
        _, caller = there.asked()
        scene.upstreams.release(tokens[1])
        for number in (1, 1, 2):
            there.sock.sendto(answer_to(question(number)), caller)
        assert scene.stage.until(lambda: scene.upstreams.strays == 2) is True
        assert scene.notes.heard == [(tokens[0], answer_to(question(1)))]
        assert scene.upstreams.open == 1


def test_servers_share_no_port(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PORTS", 2)
    with serving() as one, serving() as other:
        for number in range(20):
            scene.ask((one, other)[number % 2].server, number)
        ports = [{there.asked()[1] for _ in range(10)} for there in (one, other)]
        assert [len(found) for found in ports] == [2, 2]
        assert not ports[0] & ports[1]


def test_sockets_that_nobody_waits_for_are_closed_with_the_turn_and_then_nothing_is_done(scene: Scene) -> None:
    before = descriptors()
    with serving() as there:
        tokens = [scene.ask(there.server, number) for number in range(10)]
        for token in tokens[1:]:
            scene.upstreams.release(token)
        assert scene.stage.until(lambda: len(scene.upstreams.ports) == 1) is True
        scene.upstreams.release(tokens[0])
        assert scene.stage.until(lambda: not scene.upstreams.ports) is True
        scene.stage.turns()
        assert scene.stage.work_at_rest() < 0.02
    assert descriptors() == before


def test_the_end_closes_sockets_that_are_waited_for(scene: Scene) -> None:
    before = descriptors()
    with serving() as there:
        tokens = [scene.ask(there.server, number) for number in range(3)]
        scene.upstreams.close()
        scene.stage.turns()
        assert scene.upstreams.ports == set()
        for token in tokens:
            scene.upstreams.release(token)
        assert scene.upstreams.open == 0
    assert descriptors() == before
    assert (scene.notes.heard, scene.notes.failed) == ([], [])


# Ways out


@pytest.mark.parametrize(
    ("host", "source"), [("127.0.0.1", "127.0.0.2"), pytest.param("::1", "::1", marks=needs_ipv6)], ids=["IPv4", "IPv6"]
)
def test_a_question_leaves_by_its_way(scene: Scene, host: str, source: str) -> None:
    with serving(host) as there:
        scene.ask(there.server, 1, LO._replace(source=address(source)))
        query, caller = there.asked()
        assert caller[0] == source
        there.sock.sendto(answer_to(query), caller)
        assert scene.heard() == [answer_to(query)]


@pytest.mark.parametrize(
    ("way", "words"),
    [
        pytest.param(LO._replace(device="nonesuch0"), "No such device (127.0.0.2 on nonesuch0)", id="no such device"),
        pytest.param(
            LO._replace(source=address("192.0.2.77")),
            "Cannot assign requested address (192.0.2.77 on lo)",
            id="no such address",
        ),
    ],
)
def test_a_way_that_is_not_there_is_no_way(scene: Scene, way: Egress, words: str) -> None:
    before = descriptors()
    with serving() as there:
        with pytest.raises(OSError, match=re.escape(words)) as caught:
            scene.ask(there.server, 1, way)
        assert caught.value.strerror == words, "where the forwarder looks"
        there.sock.settimeout(0)
        with pytest.raises(BlockingIOError):
            there.asked()
    assert descriptors() == before
    assert scene.tokens[0].link is None
    assert scene.upstreams.open == 0


def test_what_the_kernel_refuses_to_send_is_raised(scene: Scene) -> None:
    before = descriptors()
    with pytest.raises(PermissionError):
        scene.ask(Server(address("255.255.255.255"), 53))
    assert descriptors() == before
    assert scene.upstreams.open == 0


def test_a_port_without_a_server_fails_as_soon_as_that_is_known(scene: Scene) -> None:
    """ICMP port unreachable."""
    with closed_port() as port:
        token = scene.ask(Server(address("127.0.0.1"), port))
        assert scene.stage.until(lambda: scene.notes.failed) == [(token, "Connection refused")]
        assert token.link is None
        assert scene.upstreams.open == 0


@pytest.mark.usefixtures("_one_port")
def test_what_is_wrong_with_a_port_is_told_to_all_who_wait_there_and_to_nobody_else(scene: Scene) -> None:
    with serving() as there:
        tokens = [scene.ask(there.server, number) for number in (1, 2)]
        port = there.sock.getsockname()[1]
    with serving() as other:
        another = scene.ask(other.server)
        # The kernel takes it, and says what came of it with the next call: to whoever makes that.
        tokens += [scene.ask(Server(address("127.0.0.1"), port), number) for number in (3, 4)]
        scene.stage.until(lambda: len(scene.notes.failed) >= 4)
        assert dict(scene.notes.failed) == dict.fromkeys(tokens, "Connection refused")
        assert len(scene.notes.failed) == 4
        assert another.link is not None
        assert scene.upstreams.open == 1


def test_a_broken_port_takes_no_question_with_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was wrong is gone when the next one is asked."""
    monkeypatch.setattr(module, "PORTS", 1)
    with closed_port() as port:
        lost = scene.ask(Server(address("127.0.0.1"), port), 1)
        there = NameServer(port=port)
    with there.sock:
        token = scene.ask(Server(address("127.0.0.1"), port), 2)
        query, caller = there.asked()
        assert query == question(2)
        there.sock.sendto(answer_to(query), caller)
        assert scene.heard() == [answer_to(query)]
        assert scene.notes.heard[0][0] is token
        assert scene.notes.failed == [(lost, "Connection refused")]


@pytest.mark.usefixtures("_one_port")
def test_questions_by_different_ways_share_no_port(scene: Scene) -> None:
    ways = [LO, LO._replace(source=address("127.0.0.3")), None]
    with serving() as there:
        for number, way in enumerate(ways * 3):
            scene.ask(there.server, number, way)
        callers = Counter(there.asked()[1] for _ in range(9))
        assert sorted(host for host, _ in callers) == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        assert set(callers.values()) == {3}


@pytest.mark.usefixtures("_one_port")
def test_nothing_more_leaves_by_ports_of_a_way_that_is_lost_or_that_the_kernel_chose(scene: Scene) -> None:
    other = LO._replace(uplink="wan2", source=address("127.0.0.3"))
    with serving() as there:
        for number, way in enumerate((LO, other, None)):
            scene.ask(there.server, number, way)
        before = [there.asked() for _ in range(3)]
        scene.upstreams.ways_changed(lambda way: way is not LO)
        for number, way in enumerate((LO, other, None), 3):
            scene.ask(there.server, number, way)
        after = [there.asked()[1] for _ in range(3)]
        kept = [then == now for (_, then), now in zip(before, after, strict=True)]
        assert kept == [False, True, False]
        for query, caller in before:
            there.sock.sendto(answer_to(query), caller)
        assert len(scene.heard(3)) == 3, "what was asked before may still be answered"


def test_who_hears_of_a_failure_may_ask_another_server(scene: Scene) -> None:
    with closed_port() as port, serving() as there:

        def another(token: Token, why: str) -> None:
            assert why == "Connection refused"
            scene.upstreams.datagram(token, there.server, None, question(2))

        scene.upstreams.hear(scene.notes.hear, another)
        scene.ask(Server(address("127.0.0.1"), port))
        assert scene.stage.until(lambda: scene.tokens[0].link is not None and scene.upstreams.open == 1) is True
        scene.stage.rest()
        there.sock.sendto(b"right", there.asked()[1])
        assert scene.heard() == [b"right"]


# Bounds


def test_so_many_sockets_are_open_at_a_time_and_no_more(stage: Stage) -> None:
    """Those who have one share it; the others hear that there is none for them."""
    scene = Scene(stage, sockets=3)
    with serving() as there, serving() as other:
        tokens = [scene.ask(there.server, number) for number in range(5)]
        assert len(scene.upstreams.ports) == 3
        assert len({there.asked()[1] for _ in range(5)}) == 3
        with pytest.raises(OSError, match="all 3 sockets for name servers are in use") as caught:
            scene.ask(other.server)
        assert caught.value.errno == errno.EMFILE
        for token in tokens:
            scene.upstreams.release(token)
        scene.ask(other.server)
        assert other.asked()[0] == question(1)
        assert len(scene.upstreams.ports) == 1, "those that nobody waits for make room at once"


def test_a_question_that_begins_anew_needs_no_second_place(stage: Stage) -> None:
    scene = Scene(stage, sockets=1)
    with serving() as there:
        token = scene.ask(there.server)
        scene.upstreams.datagram(token, there.server, None, question(2))
        assert scene.upstreams.open == 1


@pytest.fixture
def _limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_limit")
def test_without_descriptors_it_is_raised_and_later_it_works_again(scene: Scene) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving() as there:
        free = there.sock.fileno() + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        with pytest.raises(OSError, match="Too many open files"):
            scene.ask(there.server)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        scene.ask(there.server)
        assert there.asked()[0] == question(1)


# Streams


def test_a_stream_is_told_through_the_same_ears(scene: Scene) -> None:
    with Peer(honest) as tcp:
        token = Token()
        scene.upstreams.stream(token, Server(address("127.0.0.1"), tcp.port), None, question(1))
        assert scene.heard() == [answer_to(question(1))]
        assert token.link is None


def test_a_stream_can_be_released_and_ends_with_its_way(scene: Scene) -> None:
    with Peer(silent) as tcp:
        server = Server(address("127.0.0.1"), tcp.port)
        released, lost = Token(), Token()
        for token in (released, lost):
            scene.upstreams.stream(token, server, LO, question(1))
        scene.upstreams.release(released)
        scene.upstreams.ways_changed(lambda _way: False)
        assert scene.notes.failed == [(lost, "the way out by wan1 is lost")]
        scene.stage.turns()
        assert scene.notes.heard == []
