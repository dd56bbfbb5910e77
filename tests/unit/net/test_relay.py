"""The relay between real sockets: bytes, ends, resets, urgent data, pipes, back-pressure, and what is left over."""

import gc
import hashlib
import select
import socket
import time
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.net.pipes import PIPE_BYTES
from gateway.net.relay import COPY_BYTES, Relay, Side
from gateway.session.tcp import Session
from tests.support.waiting import least
from tests.unit.net.stage import Stage, descriptors, finish, reset, staged

NOISE = bytes(range(256)) * 4096


def noise(size: int) -> bytes:
    return (NOISE * (size // len(NOISE) + 1))[:size]


# Bytes


@pytest.mark.parametrize("size", [1, 100, COPY_BYTES - 1, COPY_BYTES, COPY_BYTES + 1, 3 * PIPE_BYTES + 7])
def test_bytes_arrive_unchanged_in_both_directions(stage: Stage, size: int) -> None:
    client, target = stage.line()
    for source, sink in ((client, target), (target, client)):
        sent = stage.loop.create_task(stage.loop.sock_sendall(source, noise(size)))
        assert stage.read(sink, size) == noise(size)
        stage.run(sent)
    client.close()
    target.close()
    assert stage.until(lambda: stage.ends)
    assert stage.counts == [(size, size)]


chunks = st.lists(st.integers(1, 70_000), min_size=1, max_size=6)


@given(up=chunks, down=chunks, reads=st.integers(200, 60_000), pipes=st.sampled_from((0, 1, 8)), slow=st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_chunks_and_any_reader_see_the_same_bytes(
    up: list[int], down: list[int], reads: int, pipes: int, slow: bool
) -> None:
    with staged(pipes) as stage:
        client, target = stage.line(sndbuf=4096 if slow else 0, rcvbuf=4096 if slow else 0)
        seen: dict[str, bytes] = {}

        async def talk(sock: socket.socket, sizes: list[int]) -> None:
            for index, size in enumerate(sizes):
                await stage.loop.sock_sendall(sock, bytes([index]) * size)
            finish(sock)

        async def listen(sock: socket.socket, name: str) -> None:
            data = bytearray()
            while piece := await stage.loop.sock_recv(sock, reads):
                data += piece
            seen[name] = bytes(data)

        async def both() -> None:
            for task in [
                stage.loop.create_task(work)
                for work in (
                    talk(client, up),
                    talk(target, down),
                    listen(client, "down"),
                    listen(target, "up"),
                )
            ]:
                await task

        stage.run(both(), within=20)
        assert seen["up"] == b"".join(bytes([index]) * size for index, size in enumerate(up))
        assert seen["down"] == b"".join(bytes([index]) * size for index, size in enumerate(down))
        assert stage.until(lambda: stage.ends)
        assert stage.counts == [(sum(up), sum(down))]


def test_both_directions_in_bulk_at_once(stage: Stage) -> None:
    client, target = stage.line()
    size = 24 << 20
    digests = {}

    async def talk(sock: socket.socket) -> None:
        for _ in range(size // len(NOISE)):
            await stage.loop.sock_sendall(sock, NOISE)
        finish(sock)

    async def listen(sock: socket.socket, name: str) -> None:
        digest = hashlib.sha256()
        while piece := await stage.loop.sock_recv(sock, 1 << 18):
            digest.update(piece)
        digests[name] = digest.hexdigest()

    async def both() -> None:
        work = (talk(client), talk(target), listen(client, "down"), listen(target, "up"))
        for task in [stage.loop.create_task(one) for one in work]:
            await task

    stage.run(both(), within=20)
    expected = hashlib.sha256(NOISE * (size // len(NOISE))).hexdigest()
    assert digests == {"up": expected, "down": expected}
    assert stage.until(lambda: stage.ends)
    assert stage.counts == [(size, size)]


@pytest.mark.parametrize("size", [1, 100, COPY_BYTES, 300_000])
def test_early_data_goes_first(stage: Stage, size: int) -> None:
    client, target = stage.line(early=noise(size), sndbuf=4096)
    stage.write(client, b"and then this")
    assert stage.read(target, size + 13) == noise(size) + b"and then this"
    client.close()
    target.close()
    assert stage.until(lambda: stage.counts) == [(size + 13, 0)]


# Ends


@pytest.mark.parametrize("first", ["client", "target"])
@pytest.mark.parametrize("size", [0, 10, 500_000], ids=["nothing", "a little", "much"])
def test_a_half_that_ended_is_passed_on_and_the_other_goes_on(stage: Stage, first: str, size: int) -> None:
    client, target = stage.line()
    ender, other = (client, target) if first == "client" else (target, client)
    sent = stage.loop.create_task(stage.loop.sock_sendall(ender, noise(size)))
    assert stage.read(other, size) == noise(size)
    stage.run(sent)
    finish(ender)
    assert stage.end_of(other) == "fin"
    assert stage.ends == []
    for _ in range(3):
        stage.write(other, b"still here")
        assert stage.read(ender, 10) == b"still here"
    finish(other)
    assert stage.end_of(ender) == "fin"
    assert stage.until(lambda: stage.ends) == [f"the {first} closed"]


@pytest.mark.parametrize("size", [1, COPY_BYTES - 1, COPY_BYTES, COPY_BYTES + 1, 2_000_000])
@pytest.mark.parametrize("who", ["client", "target"])
def test_an_end_that_comes_together_with_data_is_not_lost(stage: Stage, size: int, who: str) -> None:
    client, target = stage.line()
    ender, other = (client, target) if who == "client" else (target, client)

    async def talk() -> None:
        await stage.loop.sock_sendall(ender, noise(size))
        finish(ender)

    talking = stage.loop.create_task(talk())
    assert stage.read_to_end(other) == noise(size)
    stage.run(talking)
    finish(other)
    assert stage.end_of(ender) == "fin"
    assert stage.until(lambda: stage.ends) == [f"the {who} closed"]


def test_an_end_that_came_before_the_relay_is_passed_on(stage: Stage) -> None:
    client, near_client = stage.pair()
    target, near_target = stage.pair()
    finish(client)
    finish(target)
    stage.join(near_client, near_target)
    assert stage.end_of(target) == "fin"
    assert stage.end_of(client) == "fin"
    assert stage.until(lambda: stage.ends)


@pytest.mark.parametrize("early", [b"", b"early"], ids=["no early data", "early data"])
@pytest.mark.parametrize("late", [b"", b"late"], ids=["no late data", "late data"])
def test_data_and_end_whose_event_somebody_else_had_are_passed_on(stage: Stage, early: bytes, late: bytes) -> None:
    """An edge is reported once: what the client did before the relay was told to who had the descriptor then."""
    client, near_client = stage.pair()
    target, near_target = stage.pair()
    ours, theirs = stage.watched(near_client, near_target)
    if late:
        stage.write(client, late)
    finish(client)
    stage.rest(0.01)
    relay = Relay(stage, cast(Session, None), ours, theirs, time.monotonic())
    relay.start(early, True, 0)
    assert stage.read_to_end(target, within=1.0) == early + late
    finish(target)
    assert stage.end_of(client) == "fin"


# Resets


@pytest.mark.parametrize("who", ["client", "target"])
@pytest.mark.parametrize("size", [0, 100, 200_000], ids=["idle", "after a little", "after much"])
def test_a_reset_becomes_a_reset(stage: Stage, who: str, size: int) -> None:
    client, target = stage.line()
    resetter, other = (client, target) if who == "client" else (target, client)
    sent = stage.loop.create_task(stage.loop.sock_sendall(resetter, noise(size)))
    assert stage.read(other, size) == noise(size)
    stage.run(sent)
    reset(resetter)
    assert stage.end_of(other) == "reset"
    assert stage.until(lambda: stage.ends) == [f"reset by the {who}"]


@pytest.mark.parametrize("who", ["client", "target"])
def test_a_reset_after_the_end_of_that_half_is_passed_on(stage: Stage, who: str) -> None:
    client, target = stage.line()
    resetter, other = (client, target) if who == "client" else (target, client)
    finish(resetter)
    assert stage.end_of(other) == "fin"
    reset(resetter)
    assert stage.until(lambda: stage.ends) == [f"reset by the {who}"]
    stage.rest(0.01)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        stage.write(other, b"x")


@pytest.mark.parametrize("who", ["client", "target"])
def test_a_reset_while_bytes_wait_for_a_slow_reader(stage: Stage, who: str) -> None:
    """The one who resets is the one who did not read: what waits for it can not be delivered any more."""
    client, target = stage.line(sndbuf=4096, rcvbuf=4096)
    resetter, other = (client, target) if who == "client" else (target, client)
    sending = stage.loop.create_task(stage.loop.sock_sendall(other, noise(8 << 20)))
    stage.rest(0.05)
    assert not sending.done()
    reset(resetter)
    assert stage.until(lambda: stage.ends) == [f"reset by the {who}"]
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        stage.run(sending)


def test_cutting_resets_both_and_twice_is_once(stage: Stage) -> None:
    client, near_client = stage.pair()
    target, near_target = stage.pair()
    relay = stage.join(near_client, near_target)
    stage.write(client, b"x")
    assert stage.read(target, 1) == b"x"
    relay.cut("idle")
    relay.cut("again")
    assert stage.end_of(client) == "reset"
    assert stage.end_of(target) == "reset"
    assert stage.ends == ["idle"]


# Small segments (RFC 9293 §3.7.4): none waits for the acknowledgement of another


@pytest.mark.parametrize("who", ["client", "target"])
@pytest.mark.parametrize("early", [b"", b"early"], ids=["no early data", "early data"])
def test_small_messages_in_a_row_do_not_wait_for_each_other(stage: Stage, who: str, early: bytes) -> None:
    client, near_client = stage.pair()
    target, near_target = stage.pair()
    # As the dialer makes it; what the listener accepts inherits the option.
    near_target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    stage.join(near_client, near_target, early)
    assert stage.read(target, len(early)) == early
    source, sink = (client, target) if who == "client" else (target, client)

    def seconds() -> float:
        sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        started = time.monotonic()
        for number in range(8):
            source.send(bytes((number,)))
            for _ in range(3):
                stage.one_round()
        assert stage.read(sink, 8) == bytes(range(8))
        return time.monotonic() - started

    # A delayed acknowledgement costs 40 ms.
    assert least(seconds, below=0.035) < 0.035


# Urgent data (RFC 9293 §3.8.5): one byte, in its place in the stream


@pytest.mark.parametrize("who", ["client", "target"])
def test_an_urgent_byte_stays_in_its_place(stage: Stage, who: str) -> None:
    client, target = stage.line()
    source, sink = (client, target) if who == "client" else (target, client)
    stage.write(source, b"abc")
    source.send(b"!", socket.MSG_OOB)
    stage.write(source, b"def")
    assert stage.read(sink, 7) == b"abc!def"
    source.send(b"?", socket.MSG_OOB)
    assert stage.read(sink, 1) == b"?"


def test_an_urgent_byte_as_the_very_last_one(stage: Stage) -> None:
    client, target = stage.line()
    stage.write(client, b"abc")
    client.send(b"!", socket.MSG_OOB)
    finish(client)
    assert stage.read_to_end(target) == b"abc!"


@pytest.mark.parametrize("pipes", [8, 0], ids=["by pipe", "by copying"])
@pytest.mark.parametrize("behind", [b"", b"and more"], ids=["last", "in the middle"])
@pytest.mark.parametrize("ends", [False, True], ids=["open", "ended"])
def test_an_urgent_byte_within_bulk_stays_in_its_place(pipes: int, behind: bytes, ends: bool) -> None:
    with staged(pipes) as stage:
        client, target = stage.line()

        async def talk() -> None:
            await stage.loop.sock_sendall(client, noise(500_000))
            client.send(b"!", socket.MSG_OOB)
            await stage.loop.sock_sendall(client, behind)
            if ends:
                finish(client)

        talking = stage.loop.create_task(talk())
        expected = noise(500_000) + b"!" + behind
        data = stage.read(target, len(expected), within=1.0)
        stage.run(talking)
        client.close()
        target.close()
        assert len(data) == len(expected)
        assert data == expected


class Meddler:
    """A handler that sends an urgent byte, and something behind it, when its own descriptor has something to read."""

    def __init__(self, stage: Stage, client: socket.socket) -> None:
        self._client = client
        self._bell, self.ring = socket.socketpair()
        stage.poller.add(self._bell.fileno(), self, select.EPOLLIN)

    def ready(self, _events: int) -> None:
        self._bell.recv(1)
        self._client.send(b"!", socket.MSG_OOB)
        self._client.send(b"behind")

    def close(self, stage: Stage) -> None:
        stage.poller.remove(self._bell.fileno())
        self._bell.close()
        self.ring.close()


@pytest.mark.parametrize("pipes", [8, 0], ids=["by pipe", "by copying"])
def test_an_urgent_byte_that_arrives_while_the_relay_has_stopped_for_fairness(pipes: int) -> None:
    """After a read that was full the relay goes on by itself, before an event could tell of the byte."""
    with staged(pipes) as stage:
        client, target = stage.line()
        meddler = Meddler(stage, client)
        client.send(noise(COPY_BYTES))
        stage.one_round()
        meddler.ring.send(b".")
        data = stage.read(target, COPY_BYTES + 7)
        meddler.close(stage)
        client.close()
        target.close()
        assert data == noise(COPY_BYTES) + b"!behind"


# Pipes


def test_without_pipes_bulk_is_copied() -> None:
    with staged(pipes=0) as stage:
        before = descriptors()
        client, target = stage.line()
        sent = stage.loop.create_task(stage.loop.sock_sendall(client, noise(5 << 20)))
        assert stage.read(target, 5 << 20) == noise(5 << 20)
        stage.run(sent)
        assert descriptors() == before + 4


def test_a_pipe_is_taken_for_bulk_and_given_back_when_it_falls_quiet() -> None:
    with staged(pipes=1) as stage:
        client, near_client = stage.pair()
        target, near_target = stage.pair()
        relay = stage.join(near_client, near_target)
        before = descriptors()
        sent = stage.loop.create_task(stage.loop.sock_sendall(client, noise(4 << 20)))
        assert stage.read(target, 4 << 20) == noise(4 << 20)
        stage.run(sent)
        assert descriptors() == before + 2, "bulk without a pipe"
        relay.rest(1.0)
        relay.rest(2.0)
        taken = stage.pipes.take()
        assert taken is not None, "the quiet relay still has the only pipe"
        assert descriptors() == before + 2
        stage.pipes.give_back(taken)
        stage.write(client, b"small again")
        assert stage.read(target, 11) == b"small again"


def test_a_pipe_that_holds_bytes_is_never_given_to_another_session() -> None:
    with staged(pipes=1) as stage:
        client, near_client = stage.pair()
        target, near_target = stage.pair(sndbuf=4096)
        stage.join(near_client, near_target)
        sending = stage.loop.create_task(stage.loop.sock_sendall(client, b"secret" * 2_000_000))
        stage.rest(0.05)
        assert stage.pipes.take() is None, "the first session has the only pipe"
        reset(target)
        assert stage.until(lambda: stage.ends)
        sending.cancel()
        client.close()
        other_client, other_target = stage.line()
        sent = stage.loop.create_task(stage.loop.sock_sendall(other_client, noise(3 << 20)))
        assert stage.read(other_target, 3 << 20) == noise(3 << 20)
        stage.run(sent)


def test_many_sessions_share_fewer_pipes_and_none_gets_the_bytes_of_another() -> None:
    with staged(pipes=2) as stage:
        lines = [stage.line() for _ in range(6)]
        size = 1 << 20

        async def talk(sock: socket.socket, number: int) -> None:
            await stage.loop.sock_sendall(sock, bytes([number]) * size)
            finish(sock)

        async def listen(sock: socket.socket) -> bytes:
            data = bytearray()
            while piece := await stage.loop.sock_recv(sock, 50_000):
                data += piece
            return bytes(data)

        async def everybody() -> list[bytes]:
            talking = [stage.loop.create_task(talk(client, n)) for n, (client, _) in enumerate(lines)]
            heard = [await task for task in [stage.loop.create_task(listen(target)) for _, target in lines]]
            for task in talking:
                await task
            return heard

        assert stage.run(everybody(), within=15) == [bytes([number]) * size for number in range(6)]
        for line in lines:
            for sock in line:
                sock.close()
        assert stage.until(lambda: len(stage.ends) == 6)


# Back-pressure


@pytest.mark.parametrize("pipes", [8, 0], ids=["by pipe", "by copying"])
@pytest.mark.parametrize("who", ["client", "target"])
def test_a_fast_source_is_stopped_while_the_sink_does_not_read(pipes: int, who: str) -> None:
    with staged(pipes) as stage:
        client, target = stage.line(sndbuf=16384, rcvbuf=16384)
        source, sink = (client, target) if who == "client" else (target, client)
        source.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        accepted = 0
        block = NOISE[: 1 << 16]
        deadline = time.monotonic() + 10.0
        still = 0
        while still < 5 and time.monotonic() < deadline:
            try:
                accepted += source.send(block)
                still = 0
            except BlockingIOError:
                still += 1
            stage.rest(0.002)
        assert still == 5, "the source was never stopped"
        assert accepted < PIPE_BYTES + (4 << 20)
        data = stage.read(sink, accepted)
        assert len(data) == accepted


def test_a_stopped_relay_does_not_spin() -> None:
    with staged() as stage:
        client, _ = stage.line(sndbuf=16384, rcvbuf=16384)
        sending = stage.loop.create_task(stage.loop.sock_sendall(client, noise(16 << 20)))
        stage.rest(0.05)
        assert least(stage.work_at_rest, below=0.05) < 0.05
        sending.cancel()


def test_a_half_closed_relay_does_not_spin() -> None:
    with staged() as stage:
        client, target = stage.line()
        finish(client)
        assert stage.end_of(target) == "fin"
        assert least(stage.work_at_rest, below=0.05) < 0.05


# Rest


def test_rest_counts_from_the_last_call_that_saw_bytes_move(stage: Stage) -> None:
    client, near_client = stage.pair()
    target, near_target = stage.pair()
    relay = stage.join(near_client, near_target)
    start = time.monotonic()
    assert relay.rest(start + 5) == pytest.approx(5, abs=0.5)
    stage.write(client, b"x")
    assert stage.read(target, 1) == b"x"
    assert relay.rest(start + 10) == 0
    assert relay.rest(start + 13) == 3
    stage.write(target, b"x")
    assert stage.read(client, 1) == b"x"
    assert relay.rest(start + 20) == 0


# What is left over


@pytest.fixture
def no_collector() -> Iterator[None]:
    """The collector is off, so that what is freed was freed because nobody referred to it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("way", ["closed", "reset by client", "reset by target", "cut", "bulk", "cut in bulk"])
@pytest.mark.usefixtures("no_collector")
def test_an_ended_relay_leaves_no_descriptor_and_no_cycle(way: str) -> None:
    before = descriptors()
    with staged() as stage:
        within = descriptors()
        client, near_client = stage.pair()
        target, near_target = stage.pair()
        relay = stage.join(near_client, near_target)
        parts = {id(relay), id(relay.client), id(relay.target)}
        sending = None
        if "bulk" in way:
            sending = stage.loop.create_task(stage.loop.sock_sendall(client, noise(2 << 20)))
            stage.read(target, 1 << 20)
            if way == "bulk":
                stage.read(target, 1 << 20)
        if way in ("closed", "bulk"):
            finish(client)
            finish(target)
        elif way == "reset by client":
            reset(client)
        elif way == "reset by target":
            reset(target)
        else:
            relay.cut("idle")
        assert stage.until(lambda: stage.ends)
        if sending is not None:
            sending.cancel()
        del sending
        stage.rest(0.005)
        client.close()
        target.close()
        del relay
        left = [entry for entry in gc.get_objects() if id(entry) in parts and isinstance(entry, (Relay, Side))]
        assert left == []
        stage.pipes.close()
        assert descriptors() == within
    assert descriptors() == before
