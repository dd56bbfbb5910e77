"""Batches of datagrams: what the kernel puts into the shared memory, and what it takes out of it."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from gateway.net.batches import BATCH, PLACES, SLOT, Batches, _Header

HOSTS = ("127.0.0.1", "::1")


class Ends:
    """A server's batches, and a client that is connected to it."""

    def __init__(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.server = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.server.bind((host, 0))
        self.client = self.another()
        self.batches = Batches(self.server.fileno(), int(family))

    def another(self) -> socket.socket:
        """One more client."""
        made = socket.socket(self.server.family, socket.SOCK_DGRAM)
        made.settimeout(5)
        made.connect(self.server.getsockname())
        return made

    def ask(self, *messages: bytes) -> int:
        """Send these, which are there at once on loopback; how many the server then receives."""
        for message in messages:
            self.client.send(message)
        return self.batches.receive()

    def put(self, number: int, message: bytes) -> None:
        """Write a reply into its slot."""
        place = PLACES[number]
        self.batches.data[place : place + len(message)] = message
        self.batches.sizes[number] = len(message)

    def hears_nothing(self) -> bool:
        """Whether no reply waits at the client."""
        self.client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.client.recv(1)
            return False
        return True

    def close(self) -> None:
        self.server.close()
        self.client.close()


@pytest.fixture(params=HOSTS)
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    made = Ends(request.param)
    yield made
    made.close()


@pytest.fixture
def four() -> Iterator[Ends]:
    made = Ends("127.0.0.1")
    yield made
    made.close()


def test_nothing_waits(ends: Ends) -> None:
    assert ends.batches.receive() == 0


def test_messages_lie_in_their_slots_with_their_sizes_and_sources(ends: Ends) -> None:
    messages = [b"one", b"", b"three" * 200]
    count = ends.ask(*messages)
    assert count == 3
    assert ends.batches.received(count) == [len(message) for message in messages]
    for place, message in zip(PLACES, messages, strict=False):
        assert ends.batches.data[place : place + len(message)] == message
    host = ends.client.getsockname()[0]
    packed = socket.inet_pton(ends.client.family, host)
    sources = [address for (address,) in ends.batches.sources()]
    assert sources[:3] == [packed] * 3
    assert len(sources) == BATCH


def test_replies_go_where_the_messages_came_from(four: Ends) -> None:
    others = [four.another() for _ in range(3)]
    for number, other in enumerate(others):
        other.send(bytes([number]))
    assert four.batches.receive() == 3
    for number in range(3):
        four.put(number, b"reply %d" % number)
    assert four.batches.reply(3, ()) == 0
    for number, other in enumerate(others):
        assert other.recv(100) == b"reply %d" % number
        other.close()


@pytest.mark.parametrize("silent", [[], [0], [1], [3], [0, 1], [1, 3], [0, 1, 2], [0, 1, 2, 3]])
def test_the_silent_ones_are_left_out(ends: Ends, silent: list[int]) -> None:
    assert ends.ask(b"a", b"b", b"c", b"d") == 4
    for number in range(4):
        ends.put(number, b"reply %d" % number)
    assert ends.batches.reply(4, silent) == 0
    for number in range(4):
        if number not in silent:
            assert ends.client.recv(100) == b"reply %d" % number
    assert ends.hears_nothing()


def test_a_full_batch_and_what_is_left_of_more(ends: Ends) -> None:
    assert ends.ask(*(b"%d" % number for number in range(BATCH + 3))) == BATCH
    for number in range(BATCH):
        ends.put(number, b"reply %d" % number)
    assert ends.batches.reply(BATCH, ()) == 0
    assert [ends.client.recv(100) for _ in range(BATCH)] == [b"reply %d" % number for number in range(BATCH)]
    assert ends.batches.receive() == 3
    assert ends.batches.receive() == 0


def test_a_second_batch_is_not_cut_to_the_sizes_of_the_replies_before(ends: Ends) -> None:
    assert ends.ask(b"first") == 1
    ends.put(0, b"x")
    ends.batches.reply(1, ())
    assert ends.ask(b"second one") == 1
    assert ends.batches.received(1) == [10]
    assert ends.batches.data[:10] == b"second one"


@pytest.mark.parametrize("size", [SLOT - 1, SLOT, SLOT + 1, 4000])
def test_the_size_of_a_message_is_told_even_if_it_was_too_long(ends: Ends, size: int) -> None:
    assert ends.ask(b"x" * size, b"next") == 2
    assert ends.batches.received(2) == [size, 4]
    assert ends.batches.data[PLACES[1] : PLACES[1] + 4] == b"next"
    ends.put(0, b"r" * SLOT)
    assert ends.batches.reply(1, ()) == 0
    assert ends.client.recv(4096) == b"r" * SLOT


def test_a_reply_can_be_sent_later(ends: Ends) -> None:
    assert ends.ask(b"a", b"b") == 2
    name = ends.batches.name(1)
    ends.ask(b"other")
    assert ends.batches.send_to(name, b"with a \0 in it")
    assert ends.client.recv(100) == b"with a \0 in it"


@pytest.mark.parametrize("count", [0, 1, BATCH])
def test_many_replies_can_be_sent_later(ends: Ends, count: int) -> None:
    ends.ask(*([b"query"] * count))
    name = ends.batches.name(0)
    ends.ask(b"others", b"are there meanwhile")
    assert ends.batches.send([(name, b"reply %d" % number) for number in range(count)]) == 0
    assert [ends.client.recv(100) for _ in range(count)] == [b"reply %d" % number for number in range(count)]
    assert ends.hears_nothing()


def test_each_of_many_goes_to_its_own_address(ends: Ends) -> None:
    clients = [ends.another() for _ in range(3)]
    names = []
    for client in clients:
        client.send(b"query")
        ends.batches.receive()
        names.append(ends.batches.name(0))
    messages = [b"a", b"", b"c" * SLOT]
    assert ends.batches.send(list(zip(names, messages, strict=True))) == 0
    for client, message in zip(clients, messages, strict=True):
        with client:
            assert client.recv(65536) == message


def test_one_that_can_not_be_sent_does_not_keep_the_others_back(four: Ends) -> None:
    assert four.ask(b"a", b"b", b"c", b"d") == 4
    for number in range(4):
        four.put(number, b"reply %d" % number)
    for number in (0, 2):
        # Port 0 is nowhere: sendmmsg(2) says EINVAL.
        four.batches._names[number * 16 + 2 : number * 16 + 4] = bytes(2)
    assert four.batches.reply(4, ()) == 2
    assert four.client.recv(100) == b"reply 1"
    assert four.client.recv(100) == b"reply 3"
    assert not four.batches.send_to(four.batches.name(0), b"x")


def test_what_a_full_buffer_does_not_take_is_lost() -> None:
    client, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with client, server:
        server.setblocking(False)
        batches = Batches(server.fileno(), int(socket.AF_INET))
        for number in range(BATCH):
            batches.sizes[number] = SLOT
        lost = 0
        for _ in range(100):
            lost = _reply_to_peer(batches)
            if lost:
                break
        assert 0 < lost <= BATCH
        assert _reply_to_peer(batches) == BATCH


def _reply_to_peer(batches: Batches) -> int:
    """Send a whole batch on a connected socket: without names, which a pair has none of."""
    headers = (_Header * BATCH).from_buffer(batches._out)
    for header in headers:
        header.message.name, header.message.name_size = None, 0
    return batches.reply(BATCH, ())
