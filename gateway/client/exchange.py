"""One question to one name server, until it is answered or its time is over: by UDP, and by TCP where that is needed.

An exchange is a generator that yields what it waits for, so that blocking callers and asyncio share it. An answer
counts if it comes from where the question went (the socket is connected, with a port of its own), has its id, and
repeats the question in the very letter case that was made up for it (RFC 5452 §4, ``spec/field-cases.md`` D1). What
else comes is passed over; several such answers mean that somebody guesses, and the question goes on by TCP.
"""

import os
import socket
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

from gateway.address import Endpoint
from gateway.client.reading import Said, read
from gateway.dns.constants import FORMERR
from gateway.dns.message import Malformed
from gateway.dns.query import build_query

MAX_WRONG = 3
"""Answers that are none before the question goes on by TCP."""

LETTER_CASES = 253
"""Bits of chance for the case of a name's letters; no name has more of them."""

_LENGTH_BYTES = 2
_MOST = 65535
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC

_Value = TypeVar("_Value")


class Wait(NamedTuple):
    """Until ``socket`` can be read, or written, or the clock shows ``until``."""

    socket: socket.socket
    writing: bool
    until: float


Step = Generator[Wait, bool | None, _Value]
"""Is sent whether what it waited for has come; False: the time is over."""


class Question(NamedTuple):
    """A wire name and a type; ``trusted`` tells for which names the answer of this server counts."""

    name: bytes
    type: int
    trusted: Callable[[bytes], bool]


class Limits(NamedTuple):
    """Times on the waiter's clock: how long an answer by UDP is waited for, and how long one by TCP."""

    datagram: float
    stream: float


class Heard(NamedTuple):
    """What came of an exchange: an answer, or ``fault`` says why there is none."""

    server: Endpoint
    said: Said | None
    fault: str


def ask(question: Question, server: Endpoint, limits: Limits, bits: Callable[[int], int]) -> Step[Heard]:
    """Ask this server. ``bits(n)`` gives n bits that nobody can guess.

    A server that does not understand EDNS is asked again without it (RFC 6891 §6.2.2). Closes what it opens, also when
    it is closed itself. Raises nothing.
    """
    try:
        said = yield from _by_any_way(question, server, limits, bits, edns=True)
        if said.rcode == FORMERR and not said.edns:
            said = yield from _by_any_way(question, server, limits, bits, edns=False)
    except TimeoutError:
        return Heard(server, None, "did not answer in time")
    except Malformed as error:
        return Heard(server, None, f"sent a wrong answer: {error}")
    except OSError as error:
        return Heard(server, None, f"can not be asked: {error.strerror or error}")
    return Heard(server, said, "")


def _by_any_way(
    question: Question, server: Endpoint, limits: Limits, bits: Callable[[int], int], *, edns: bool
) -> Step[Said]:
    name, kind, trusted = question
    sent = build_query(bits(16), name, kind, variant=0, edns=edns, cases=bits(LETTER_CASES))
    said = yield from _by_datagram(sent, server, limits.datagram, trusted)
    if said is not None and not said.truncated:
        return said
    # A connection can not be guessed at, and a server that changes the letter case is served at least by this.
    sent = build_query(bits(16), name, kind, variant=0, edns=edns, cases=0)
    return (yield from _by_stream(sent, server, limits.stream, trusted))


def _by_datagram(sent: bytes, server: Endpoint, until: float, trusted: Callable[[bytes], bool]) -> Step[Said | None]:
    """The first answer that is one; None when there were too many that are none, or nothing but such."""
    wrong = 0
    with _socket(server, socket.SOCK_DGRAM) as sock:
        sock.connect(_name_of(server))
        sock.send(sent)
        while wrong < MAX_WRONG and (yield Wait(sock, False, until)):
            try:
                return read(sock.recv(_MOST), sent, trusted)
            except BlockingIOError:
                continue
            except Malformed:
                wrong += 1
    if not wrong:
        raise TimeoutError
    return None


def _by_stream(sent: bytes, server: Endpoint, until: float, trusted: Callable[[bytes], bool]) -> Step[Said]:
    with _socket(server, socket.SOCK_STREAM) as sock:
        yield from _connect(sock, server, until)
        # A new connection takes so few bytes whole.
        sock.send(len(sent).to_bytes(_LENGTH_BYTES, "big") + sent)
        size = int.from_bytes((yield from _receive(sock, _LENGTH_BYTES, until)), "big")
        said = read((yield from _receive(sock, size, until)), sent, trusted)
    if said.truncated:
        raise Malformed("truncated, by TCP")
    return said


def _connect(sock: socket.socket, server: Endpoint, until: float) -> Step[None]:
    try:
        sock.connect(_name_of(server))
    except BlockingIOError:
        yield from _wait(sock, True, until)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error)) from None


def _receive(sock: socket.socket, size: int, until: float) -> Step[bytes]:
    data = bytearray()
    while len(data) < size:
        yield from _wait(sock, False, until)
        try:
            piece = sock.recv(size - len(data))
        except BlockingIOError:
            continue
        if not piece:
            raise ConnectionResetError(0, "it closed the connection")
        data += piece
    return bytes(data)


def _wait(sock: socket.socket, writing: bool, until: float) -> Step[None]:
    if not (yield Wait(sock, writing, until)):
        raise TimeoutError


def _socket(server: Endpoint, kind: int) -> socket.socket:
    return socket.socket(_FAMILY[server.address.version], kind | _FLAGS)


def _name_of(server: Endpoint) -> tuple[str, int]:
    return str(server.address), server.port
