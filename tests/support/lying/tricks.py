"""Habits of a lying server that break the bytes of a message: what nobody can read, or only with endless patience."""

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.lying.message import HEADER, QR, Asked, wire
from tests.support.lying.sending import Sends, as_bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """These bytes instead; ``fitting``: behind the question's own id."""

    data: bytes
    fitting: bool = True

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        data = (asked.id.to_bytes(2, "big") if self.fitting else b"") + self.data
        return as_bytes(sends, lambda _: data)


@dataclass(frozen=True, slots=True)
class Cut:
    """Only so many first bytes; a negative number: all but so many."""

    length: int

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return as_bytes(sends, lambda data: data[: self.length])


@dataclass(frozen=True, slots=True)
class Trailing:
    """Bytes behind the message."""

    data: bytes

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return as_bytes(sends, lambda data: data + self.data)


@dataclass(frozen=True, slots=True)
class Counts:
    """Other numbers of records in the header than there are: of questions, answers, authorities, additional ones."""

    counts: tuple[int | None, int | None, int | None, int | None]

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        def changed(data: bytes) -> bytes:
            id, flags, *held = HEADER.unpack_from(data)
            counts = (mine if mine is not None else old for mine, old in zip(self.counts, held, strict=True))
            return HEADER.pack(id, flags, *counts) + data[HEADER.size :]

        return as_bytes(sends, changed)


TRICKS = ("self", "back", "forward", "circle", "beyond", "steps", "long", "reserved", "cut", "header", "rdata")


@dataclass(frozen=True, slots=True)
class Trick:
    """One A or CNAME record whose name is written with compression that no honest server writes (RFC 1035 §4.1.4).

    ``self``: it points to itself. ``back``: to its own first label. ``forward``: to what comes later. ``circle``: two
    that point to each other. ``beyond``: behind the end. ``steps``: through a hundred pointers. ``long``: a name of
    more than 255 bytes. ``reserved``: a label of an unknown kind. ``cut``: its second byte is missing. ``header``: into
    the header, whose zero byte some take for the root. ``rdata``: a record's length does not hold the name in it.
    """

    kind: str

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        head = HEADER.pack(asked.id, QR | 0x0180, 1, 1, 0, 0) + asked.question
        at = len(head)
        body = _TRICKS[self.kind](at)
        if self.kind in ("steps", "long"):
            head = HEADER.pack(asked.id, QR | 0x0180, 1, 2, 0, 0) + asked.question
        return as_bytes(sends, lambda _: head + body)


def _pointer(at: int) -> bytes:
    return (0xC000 | at).to_bytes(2, "big")


def _rest(kind: int, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("!HHIH", kind, 1, 60, len(data) if length is None else length) + data


_ADDRESS = bytes((192, 0, 2, 99))
_A = _rest(1, _ADDRESS)
_STEPS = 100


def _steps(at: int) -> bytes:
    """A record of an unknown type, whose data is a name and pointers, each to the one before; an alias to the last."""
    owner, place, name = _pointer(12), at + 2 + 10, wire("far.example")
    places = [place, *(place + len(name) + 2 * number for number in range(_STEPS))]
    hops = b"".join(map(_pointer, places[:-1]))
    return owner + _rest(65280, name + hops) + owner + _rest(5, _pointer(places[-1]))


def _long(at: int) -> bytes:
    """The same with labels of 63 bytes: three of them, and then a name of three more."""
    owner, place = _pointer(12), at + 2 + 10
    labels = (b"\x3f" + b"x" * 63) * 3
    return owner + _rest(65280, labels + b"\0") + owner + _rest(5, labels + _pointer(place))


_TRICKS: dict[str, Callable[[int], bytes]] = {
    "self": lambda at: _pointer(at) + _A,
    "back": lambda at: _pointer(12) + _rest(5, b"\1a" + _pointer(at + 12)),
    "forward": lambda at: _pointer(at + 2 + len(_A) - 4) + _A,
    "circle": lambda at: _pointer(12) + _rest(5, b"\1a" + _pointer(at + 16) + b"\1b" + _pointer(at + 12)),
    "beyond": lambda _: b"\xff\xff" + _A,
    "steps": _steps,
    "long": _long,
    "reserved": lambda _: b"\x80a\0" + _A,
    "cut": lambda _: b"\xc0",
    "header": lambda _: _pointer(4) + _A,
    "rdata": lambda _: _pointer(12) + _rest(5, wire("somewhere.example"), 4),
}


@dataclass(frozen=True, slots=True)
class Noise:
    """Behind the header and the question, bytes that mean nothing; the same for the same ``seed``."""

    size: int = 100
    seed: int = 0

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        values = itertools.accumulate(
            range(self.size), lambda last, _: (last * 69069 + 1) & 0xFFFFFFFF, initial=self.seed
        )
        noise = bytes(value >> 24 for value in values)[1:]
        return as_bytes(sends, lambda data: data[:12] + asked.question + noise)
