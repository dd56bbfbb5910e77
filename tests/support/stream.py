"""Pseudo-random data of any length, made on the fly: what large transfers send, and how both ends check it.

Every block begins with its own number and is cut from another place of the same noise, so that a block that is lost,
doubled or moved changes the checksum as surely as one that is damaged.
"""

import hashlib
import random
from collections.abc import Callable, Iterator

_BLOCK = 1 << 16
_STEP = 4099
_NOISE = 1 << 20


def blocks(seed: int, size: int) -> Iterator[bytes]:
    """``size`` bytes in pieces of at most 64 KiB; the same seed and size always give the same bytes."""
    noise = memoryview(random.Random(seed).randbytes(_NOISE + _BLOCK))
    for number in range((size + _BLOCK - 1) // _BLOCK):
        start = number * _STEP % _NOISE
        block = number.to_bytes(8, "big") + noise[start : start + _BLOCK - 8]
        yield block[: size - number * _BLOCK]


def checksum(seed: int, size: int) -> str:
    """The hexadecimal SHA-256 of what `blocks` yields."""
    return digest_of(blocks(seed, size))


def digest_of(pieces: Iterator[bytes]) -> str:
    """The hexadecimal SHA-256 of pieces put together."""
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()


def pieces_of(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """What a read function (of a file, a pipe, a socket) gives until its end."""
    while piece := read(_BLOCK):
        yield piece
