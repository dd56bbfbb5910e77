"""Messages with their lengths before them: every way in which a stream can be cut into pieces."""

import random
import socket
import struct
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from gateway.net import framed
from gateway.net.framed import Frames, MessageSocket
from gateway.net.loop import READ_WRITE
from tests.unit.net.stage import Stage, finish, reset


def frame(message: bytes) -> bytes:
    """The message with its length (RFC 1035 §4.2.2)."""
    return struct.pack("!H", len(message)) + message


def taken(frames: Frames) -> list[bytes]:
    return list(iter(frames.take, None))


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_messages_come_out_whole_however_the_stream_is_cut(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, messages))
    frames = Frames()
    found: list[bytes] = []
    number = 0
    while stream:
        size = cuts[number % len(cuts)]
        number += 1
        frames.feed(stream[:size])
        stream = stream[size:]
        found += taken(frames)
    assert found == messages
    assert not frames


def test_the_longest_message_has_65535_bytes() -> None:
    longest = random.Random(1).randbytes(65535)
    frames = Frames()
    frames.feed(frame(longest)[:-1])
    assert frames.take() is None
    assert len(frames) == 65536
    frames.feed(longest[-1:])
    assert taken(frames) == [longest]
    assert len(frames) == 0


def test_the_memory_of_long_messages_is_given_back() -> None:
    quiet = [Frames() for _ in range(30)]
    tracemalloc.start()
    for frames in quiet:
        frames.feed(frame(bytes(65535)))
        assert len(taken(frames)) == 1
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 65535


class Both(MessageSocket):
    """Keeps what it hears; sends every message back if it is told to."""

    __slots__ = ("breaks", "ends", "is_echo", "most", "taken")

    def __init__(self, stage: Stage, sock: socket.socket, most: int = 1 << 30, *, is_echo: bool = False) -> None:
        super().__init__(stage.poller, sock)
        self.most = most
        self.is_echo = is_echo
        self.taken: list[bytes] = []
        self.ends = 0
        self.breaks: list[OSError] = []
        stage.poller.add(self.fd, self, READ_WRITE)
        stage.closers.append(self.close)

    def wants_more(self) -> bool:
        """As `MessageSocket`."""
        return len(self.taken) < self.most and not self.ends

    def took(self, message: bytes) -> None:
        """As `MessageSocket`."""
        self.taken.append(message)
        if self.is_echo:
            self.send(message)

    def finished(self) -> None:
        """As `MessageSocket`."""
        self.ends += 1

    def broken(self, error: OSError) -> None:
        """As `MessageSocket`."""
        self.breaks.append(error)
        self.close()


def test_messages_are_sent_and_received(stage: Stage) -> None:
    far, near = stage.pair()
    line = Both(stage, near, is_echo=True)
    stage.write(far, frame(b"one") + frame(b"") + frame(b"three")[:4])
    assert stage.read(far, 7) == frame(b"one") + frame(b"")
    stage.write(far, b"ree")
    assert stage.read(far, 7)[2:] == b"three"[: 7 - 2]
    assert line.taken == [b"one", b"", b"three"]


def test_what_is_not_wanted_yet_waits_and_is_read_later(stage: Stage) -> None:
    far, near = stage.pair()
    line = Both(stage, near, most=2)
    stage.write(far, b"".join(frame(b"%d" % number) for number in range(4)))
    assert stage.until(lambda: len(line.taken) == 2)
    stage.rest()
    assert line.taken == [b"0", b"1"]
    line.most = 4
    line.read_on()
    assert stage.until(lambda: len(line.taken) == 4)
    finish(far)
    stage.rest()
    assert line.ends == 0, "nothing was wanted, so the end was not read"
    line.most = 5
    line.read_on()
    assert stage.until(lambda: line.ends == 1)


def test_what_a_peer_does_not_read_is_kept_and_sent_when_it_does(stage: Stage) -> None:
    far, near = stage.pair(sndbuf=4096)
    line = Both(stage, near)
    messages = [random.Random(number).randbytes(60_000) for number in range(10)]
    for message in messages:
        line.send(message)
    assert line.unsent
    stream = b"".join(map(frame, messages))
    assert stage.read(far, len(stream)) == stream
    assert line.unsent == 0


def test_a_peer_that_resets_breaks_it(stage: Stage) -> None:
    far, near = stage.pair()
    line = Both(stage, near)
    reset(far)
    assert stage.until(lambda: line.breaks)
    assert isinstance(line.breaks[0], ConnectionResetError)
    assert line.is_closed


def test_others_have_their_turn_while_one_sends_without_end(stage: Stage) -> None:
    far, near = stage.pair()
    line = Both(stage, near)
    a_turn = framed.READS_A_TURN * framed.READ_BYTES
    sent = far.send(frame(bytes(1022)) * (2 * a_turn // 1024))
    assert sent > a_turn, "else there would be nothing to stop for"
    stage.one_round()
    assert 0 < len(line.taken) <= a_turn // 1024
    assert stage.until(lambda: len(line.taken) == sent // 1024) is True, "and then it goes on"


def test_what_is_closed_hears_nothing_more(stage: Stage) -> None:
    far, near = stage.pair()
    line = Both(stage, near)
    far.send(frame(b"late"))
    line.read_on()
    line.close()
    line.close()
    assert stage.end_of(far) in ("fin", "reset")
    assert line.taken == []
