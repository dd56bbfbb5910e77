"""Unpredictable bytes in small portions: fetched from the kernel in blocks, each given away once.

A question to a name server takes a dozen of them, and a system call for each dozen would cost more than all the rest of
its making. Knows nothing of what they are for.
"""

from collections.abc import Callable

BLOCK = 4096
"""Bytes that are fetched at a time."""


class Entropy:
    """For one process: a copy in another one, made by fork(2), would give the same bytes there."""

    __slots__ = ("_at", "_block", "_source")

    def __init__(self, source: Callable[[int], bytes]) -> None:
        """``source`` gives so many unpredictable bytes, as ``os.urandom`` does; it is not asked before it is needed."""
        self._source = source
        self._block = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """So many bytes that nobody was given before; more than a `BLOCK` come straight from the source."""
        at = self._at
        end = self._at = at + count
        if end <= len(self._block):
            return self._block[at:end]
        return self._fetch(count)

    def _fetch(self, count: int) -> bytes:
        """What is left of the old block is too little, and is dropped."""
        if count > BLOCK:
            self._at -= count
            return self._source(count)
        self._block = self._source(BLOCK)
        self._at = count
        return self._block[:count]
