"""Queries by UDP on real sockets of loopback: hot answers, misses, strangers, rates, and what may go wrong."""

import socket
from collections.abc import Callable, Iterator

import pytest

from gateway.address import Endpoint
from gateway.dns.answer import Answer
from gateway.dns.clients import UNLIMITED, Client
from gateway.dns.hot import Hot
from gateway.dns.zones import View
from gateway.net import datagrams
from gateway.net.batches import BATCH, SLOT
from gateway.net.datagrams import ROUNDS, Asker, Datagrams, Desk
from gateway.net.sockets import datagram_listening
from tests.support.rules import address
from tests.unit.net.stage import Stage

START = 5000.0


class Bench:
    """A served socket, and everybody who is told of what comes."""

    def __init__(self, stage: Stage, host: str = "127.0.0.1") -> None:
        self.stage = stage
        self.now = START
        self.view = View(0, (), {})
        self.clients: dict[bytes, Client] = {}
        self.tokens = UNLIMITED
        self.may_ask = True
        self.admitted = True
        #: how often it was asked whether an address may ask, and whether a client is admitted
        self.introduced = 0
        self.admissions = 0
        self.missed: list[tuple[bytes, Client, Asker, float]] = []
        self.refreshed: list[tuple[bytes, Client, float]] = []
        #: what is done with a query that has no hot answer
        self.on_miss: Callable[[bytes, Asker], object] = lambda *_: None
        self.sock = datagram_listening(Endpoint(address(host), 0), shared=False)
        self.served = Datagrams(self.sock, stage.poller, self.desk(), lambda: self.now)
        self.far = self.another()

    def desk(self) -> Desk:
        return Desk(self.clients, self._client_of, self._admits, self._missed, self._refresh)

    def _client_of(self, packed: bytes, now: float) -> Client | None:
        self.introduced += 1
        if not self.may_ask:
            return None
        client = self.clients[packed] = Client(packed, self.view, self.tokens, now)
        return client

    def _admits(self, client: Client, _now: float) -> bool:
        self.admissions += 1
        if self.admitted:
            client.tokens = 2
        return self.admitted

    def _missed(self, data: bytes, client: Client, asker: Asker, now: float) -> None:
        self.missed.append((data, client, asker, now))
        self.on_miss(data, asker)

    def _refresh(self, data: bytes, client: Client, now: float) -> None:
        self.refreshed.append((data, client, now))

    def another(self) -> socket.socket:
        """A client's socket, closed with the stage."""
        made = socket.socket(self.sock.family, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.connect(self.sock.getsockname())
        self.stage.far.append(made)
        return made

    def hot(self, query: bytes, rest: bytes, ttl: int = 300) -> Answer:
        """What is known of the bytes behind an id; there are no TTLs in it."""
        answer = Answer(0, 0, 0, b"", (), ttl)
        answer.stored, answer.expires = self.now, self.now + ttl
        self.view.hot[query] = Hot(rest, (), answer, self.now)
        return answer

    def ask(self, *queries: bytes) -> list[bytes]:
        """The replies that came in the same round of the loop."""
        for query in queries:
            self.far.send(query)
        self.stage.one_round()
        return self.replies()

    def replies(self, sock: socket.socket | None = None) -> list[bytes]:
        """All that wait at a client."""
        found: list[bytes] = []
        while True:
            try:
                found.append((sock or self.far).recv(65536))
            except BlockingIOError:
                return found


@pytest.fixture
def bench(stage: Stage) -> Iterator[Bench]:
    made = Bench(stage)
    yield made
    made.served.close()
    made.served.close()


@pytest.fixture
def six(stage: Stage) -> Iterator[Bench]:
    made = Bench(stage, "::1")
    yield made
    made.served.close()


class TestHot:
    def test_an_answer_goes_out_with_the_id_of_its_query(self, bench: Bench) -> None:
        bench.hot(b"query", b"the answer")
        assert bench.ask(b"\x12\x34query", b"\xff\x00query") == [b"\x12\x34the answer", b"\xff\x00the answer"]
        assert not bench.missed
        assert (bench.served.queries, bench.served.hits, bench.served.misses) == (2, 2, 0)

    def test_by_ipv6_as_well(self, six: Bench) -> None:
        six.hot(b"query", b"the answer")
        assert six.ask(b"\x12\x34query") == [b"\x12\x34the answer"]
        assert list(six.clients) == [address("::1").packed]

    @pytest.mark.parametrize("size", [1, SLOT - 2])
    def test_an_answer_of_any_size_that_fits(self, bench: Bench, size: int) -> None:
        bench.hot(b"query", b"x" * size)
        bench.hot(b"other", b"y")
        assert bench.ask(b"11query", b"22other") == [b"11" + b"x" * size, b"22y"]

    def test_each_client_gets_what_it_asked_for(self, bench: Bench) -> None:
        for number in range(10):
            bench.hot(b"query %d" % number, b"answer %d" % number)
        clients = [bench.another() for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(b"%02dquery %d" % (number, number))
        bench.stage.one_round()
        for number, client in enumerate(clients):
            assert bench.replies(client) == [b"%02danswer %d" % (number, number)]

    def test_clients_of_another_view_have_other_answers(self, bench: Bench) -> None:
        bench.hot(b"query", b"the answer")
        other = Client(address("127.0.0.1").packed, View(1, (), {}), UNLIMITED, START)
        bench.clients[other.packed] = other
        assert bench.ask(b"11query") == []
        assert [client for _, client, _, _ in bench.missed] == [other]

    def test_it_is_renewed_when_its_second_is_over(self, bench: Bench) -> None:
        answer = bench.hot(b"query", b"the answer")
        bench.now = START + 0.9
        assert bench.ask(b"11query") == [b"11the answer"]
        assert bench.view.hot[b"query"].until == START + 1
        assert [answer.used] == [False]
        bench.now = START + 1
        assert bench.ask(b"11query") == [b"11the answer"]
        assert answer.used
        assert bench.view.hot[b"query"].until == START + 2

    def test_an_expired_one_is_gone(self, bench: Bench) -> None:
        bench.hot(b"query", b"the answer", ttl=5)
        bench.now = START + 5
        assert bench.ask(b"11query") == []
        assert [data for data, _, _, _ in bench.missed] == [b"11query"]
        assert not bench.view.hot

    def test_a_refresh_is_asked_for_and_the_answer_goes_out(self, bench: Bench) -> None:
        bench.hot(b"query", b"the answer").refresh_at = START + 270
        bench.now = START + 269
        bench.ask(b"11query")
        assert not bench.refreshed
        bench.now = START + 270
        assert bench.ask(b"11query") == [b"11the answer"]
        (client,) = bench.clients.values()
        assert bench.refreshed == [(b"\0\0query", client, START + 270)]

    def test_a_refresh_that_fails_costs_no_answer(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.hot(b"query", b"the answer").refresh_at = START
        error = RuntimeError("a bug")
        monkeypatch.setattr(bench, "_refresh", _raising(error))
        bench.served.adopt(bench.desk())
        bench.now = START + 1
        assert bench.ask(b"11query") == [b"11the answer"]
        assert bench.stage.failures == [(bench.served, error)]
        bench.stage.failures.clear()


class TestMisses:
    def test_a_query_is_handed_on_with_who_and_when(self, bench: Bench) -> None:
        assert bench.ask(b"\x12\x34query") == []
        ((data, client, asker, now),) = bench.missed
        assert (data, now) == (b"\x12\x34query", START)
        assert client is bench.clients[address("127.0.0.1").packed]
        assert not asker.is_stream
        assert (bench.served.hits, bench.served.misses) == (0, 1)

    def test_it_can_be_answered_at_once(self, bench: Bench) -> None:
        bench.on_miss = lambda data, asker: asker.reply(b"reply to " + data)
        assert bench.ask(b"11a", b"22b") == [b"reply to 11a", b"reply to 22b"]

    def test_or_later(self, bench: Bench) -> None:
        assert bench.ask(b"11a", b"22b") == []
        for data, _, asker, _ in reversed(bench.missed):
            asker.reply(b"reply to " + data)
        bench.stage.one_round()
        assert bench.replies() == [b"reply to 22b", b"reply to 11a"]

    @pytest.mark.parametrize("count", [1, BATCH, BATCH + 1, 2 * BATCH + 1])
    def test_later_replies_go_out_in_their_order_however_many(self, bench: Bench, count: int) -> None:
        for number in range(count):
            bench.ask(b"%03d" % number)
        for data, _, asker, _ in bench.missed:
            asker.reply(b"reply to " + data)
        bench.stage.one_round()
        assert bench.replies() == [b"reply to %03d" % number for number in range(count)]
        assert bench.served.lost == 0

    def test_a_later_reply_does_not_wait_for_new_queries(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        bench.ask(b"11a")
        bench.missed[0][2].reply(b"reply to 11a")
        bench.far.send(b"22query")
        bench.served.ready(0)
        assert bench.replies() == [b"reply to 11a", b"22hot"]
        assert bench.ask(b"33query") == [b"33hot"], "and it is sent once"

    def test_later_replies_are_to_those_who_asked(self, six: Bench) -> None:
        others = [six.another() for _ in range(3)]
        for number, other in enumerate(others):
            other.send(b"%02d" % number)
        six.stage.one_round()
        for data, _, asker, _ in six.missed:
            asker.reply(b"reply to " + data)
        six.stage.one_round()
        assert [six.replies(other) for other in others] == [[b"reply to %02d" % number] for number in range(3)]

    def test_or_while_another_one_is_handed_on(self, bench: Bench) -> None:
        kept: list[Asker] = []
        bench.on_miss = lambda data, asker: kept.append(asker) if data == b"11a" else _answer_all([*kept, asker], data)
        assert sorted(bench.ask(b"11a", b"22b")) == [b"0: 22b", b"1: 22b"]

    def test_but_only_once(self, bench: Bench) -> None:
        bench.on_miss = lambda data, asker: _answer_all([asker, asker], data)
        assert bench.ask(b"11a") == [b"0: 11a"]
        bench.missed[0][2].reply(b"once more")
        assert bench.replies() == []

    def test_a_reply_that_is_larger_than_a_slot_goes_out_by_itself(self, bench: Bench) -> None:
        bench.on_miss = lambda data, asker: asker.reply(data * 1000)
        bench.hot(b"query", b"hot")
        assert sorted(bench.ask(b"11a", b"22query")) == [b"11a" * 1000, b"22hot"]

    def test_between_hot_ones(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        bench.on_miss = lambda data, asker: asker.reply(b"reply") if data == b"33b" else None
        assert bench.ask(b"00query", b"11a", b"22query", b"33b", b"44c") == [b"00hot", b"22hot", b"reply"]
        assert (bench.served.queries, bench.served.hits, bench.served.misses) == (5, 2, 3)

    @pytest.mark.parametrize("data", [b"", b"1", b"12"])
    def test_what_is_hardly_a_message_is_handed_on_too(self, bench: Bench, data: bytes) -> None:
        bench.ask(data)
        assert [missed[0] for missed in bench.missed] == [data]

    def test_a_message_that_fills_its_slot_is_handed_on(self, bench: Bench) -> None:
        bench.ask(b"x" * SLOT)
        assert [missed[0] for missed in bench.missed] == [b"x" * SLOT]

    def test_a_longer_one_is_dropped_and_the_next_one_is_not(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        assert bench.ask(b"x" * (SLOT + 1), b"11query") == [b"11hot"]
        assert not bench.missed

    def test_a_bug_costs_one_query_and_not_its_batch(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        error = RuntimeError("a bug")
        bench.on_miss = _raising(error)
        assert bench.ask(b"00query", b"11a", b"22query") == [b"00hot", b"22hot"]
        assert bench.stage.failures == [(bench.served, error)]
        bench.stage.failures.clear()


class TestWhoMayAsk:
    def test_a_stranger_hears_nothing_not_even_what_is_hot(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        bench.may_ask = False
        assert bench.ask(b"11query", b"22a") == []
        assert not bench.missed
        assert (bench.served.queries, bench.served.refused, bench.served.hits) == (2, 2, 0)

    def test_it_is_asked_about_a_stranger_once(self, bench: Bench) -> None:
        bench.may_ask = False
        bench.ask(b"11a", b"22b")
        bench.ask(b"33c")
        assert bench.introduced == 1

    def test_with_other_rules_strangers_may_be_clients(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        bench.may_ask = False
        bench.ask(b"11query")
        bench.may_ask = True
        assert bench.ask(b"11query") == []
        bench.served.adopt(bench.desk())
        assert bench.ask(b"11query") == [b"11hot"]

    def test_strangers_are_forgotten_when_there_are_many(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(datagrams, "STRANGERS", 3)
        bench.may_ask = False
        for last in range(1, 5):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind((f"127.0.0.{last}", 0))
                stranger.sendto(b"11a", bench.sock.getsockname())
        bench.stage.one_round()
        assert bench.introduced == 4
        assert len(bench.served._strangers) == 1

    def test_a_known_client_is_not_asked_about(self, bench: Bench) -> None:
        packed = address("127.0.0.1").packed
        bench.clients[packed] = Client(packed, bench.view, UNLIMITED, START)
        bench.ask(b"11a")
        assert not bench.introduced
        assert len(bench.missed) == 1


class TestRate:
    def test_a_query_costs_a_token(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        bench.tokens = 5
        bench.ask(b"11query", b"22a")
        (client,) = bench.clients.values()
        assert client.tokens == 3

    def test_without_tokens_it_is_asked_for_more(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        bench.tokens = 2
        assert len(bench.ask(*[b"11query"] * 3)) == 3
        assert bench.admissions == 1
        (client,) = bench.clients.values()
        assert client.tokens == 2

    def test_who_gets_none_hears_nothing(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        bench.tokens, bench.admitted = 2, False
        assert len(bench.ask(*[b"11query"] * 5, b"22a")) == 2
        assert not bench.missed
        assert (bench.served.hits, bench.served.limited) == (2, 4)


class TestTheLoop:
    def test_a_flood_leaves_the_others_their_turn(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        count = ROUNDS * BATCH + 5
        for number in range(count):
            bench.far.send(b"%02xquery" % (number % 256))
        bench.stage.one_round()
        assert bench.served.queries == ROUNDS * BATCH
        bench.stage.one_round()
        assert bench.served.queries == count
        assert bench.served.hits == count

    def test_exactly_a_full_batch(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        assert len(bench.ask(*[b"11query"] * BATCH)) == BATCH
        assert bench.ask(b"22query") == [b"22hot"]

    def test_what_came_before_it_was_served_is_answered(self, stage: Stage) -> None:
        early = Bench(stage)
        early.served.close()
        stage.one_round()
        sock = datagram_listening(Endpoint(address("127.0.0.1"), 0), shared=False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"11a", sock.getsockname())
            served = Datagrams(sock, stage.poller, early.desk(), lambda: START)
            stage.one_round()
            assert served.queries == 1
        served.close()

    def test_a_client_that_has_gone_does_not_disturb_the_others(self, bench: Bench) -> None:
        bench.hot(b"query", b"hot")
        gone = bench.another()
        for number in range(3):
            gone.send(b"11query")
            bench.far.send(b"%02dquery" % number)
        gone.close()
        bench.stage.one_round()
        bench.stage.one_round()
        assert bench.replies() == [b"00hot", b"01hot", b"02hot"]
        assert bench.ask(b"22query") == [b"22hot"]

    def test_after_its_end_nobody_is_answered(self, bench: Bench) -> None:
        bench.ask(b"11a")
        bench.served.close()
        bench.missed[0][2].reply(b"too late")
        bench.stage.one_round()
        assert bench.replies() == []
        bench.served.resume()
        bench.stage.one_round()
        assert bench.sock.fileno() < 0
        assert bench.served.lost == 0

    def test_a_late_reply_that_can_not_be_sent_is_counted(self, bench: Bench) -> None:
        bench.ask(b"11a")
        bench.missed[0][2].reply(b"x" * 65536)
        assert bench.served.lost == 1

    @pytest.mark.parametrize("size", [SLOT, SLOT + 1])
    def test_a_late_reply_of_any_size_goes_out(self, bench: Bench, size: int) -> None:
        bench.ask(b"11a")
        bench.missed[0][2].reply(b"x" * size)
        bench.stage.one_round()
        assert bench.replies() == [b"x" * size]

    def test_late_replies_that_wait_at_the_end_are_dropped(self, bench: Bench) -> None:
        bench.ask(b"11a")
        bench.missed[0][2].reply(b"reply")
        bench.served.close()
        bench.stage.one_round()
        assert (bench.replies(), bench.served.lost) == ([], 0)

    def test_late_replies_to_who_can_not_be_reached_are_counted(self, bench: Bench) -> None:
        bench.ask(b"11a")
        nobody = bytearray(bench.missed[0][2]._name)
        nobody[2:4] = bytes(2)  # port 0
        Asker(bench.served, bytes(nobody)).reply(b"lost")
        bench.missed[0][2].reply(b"reply")
        bench.stage.one_round()
        assert (bench.replies(), bench.served.lost) == ([b"reply"], 1)

    def test_the_clock_is_read_once_a_batch(self, stage: Stage) -> None:
        bench = Bench(stage)
        ticks = iter(range(100))
        bench.served._clock = lambda: float(next(ticks))
        bench.ask(b"11a", b"22b")
        bench.ask(b"33c")
        assert [now for _, _, _, now in bench.missed] == [0.0, 0.0, 1.0]
        bench.served.close()


def _raising(error: Exception) -> Callable[..., None]:
    def raising(*_: object) -> None:
        raise error

    return raising


def _answer_all(askers: list[Asker], data: bytes) -> None:
    for number, asker in enumerate(askers):
        asker.reply(b"%d: %s" % (number, data))
