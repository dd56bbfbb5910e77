"""Which permit lines a deny line by address leaves without any address, for lines of one block.

Needed before a name is looked up: what every address of it would be refused, must not cause a question to a name
server. Sets are as in `gateway.policy.tables`: a later line has a lower bit.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import xor

from gateway.config.rules import AddressPattern, HostPattern
from gateway.policy.pattern import VERSIONS, bits_of, is_prefix, span

Coded = Sequence[tuple[HostPattern, int]]
"""Destinations with the bit of their line."""

_Span = tuple[int, int, int]
"""Low, minus high, bit: sorts so that a network comes before those within it."""


def find_shadows(denies: Coded, permits: Coded) -> Mapping[int, int]:
    """The bit length of each deny line that covers later permit lines by address -> those lines.

    A permit line whose mask has holes counts as covered only by a line that covers every address of its version.
    """
    return {
        bit.bit_length(): shadow
        for version in VERSIONS
        for bit, shadow in _of_version(denies, permits, version)
        if shadow
    }


def _of_version(denies: Coded, permits: Coded, version: int) -> Iterator[tuple[int, int]]:
    everything = sum(bit for p, bit in permits if isinstance(p, AddressPattern) and p.version == version)
    if not everything:
        return
    spans = _spans(permits, version)
    # The permits within a network stand together here; two running conjunctions give the set of those between.
    running = list(accumulate((bit for _, _, bit in spans), xor, initial=0))
    last = (1 << bits_of(version)) - 1
    for low, minus_high, bit in _spans(denies, version):
        start = bisect_left(spans, (low, minus_high, 0))
        end = bisect_right(spans, (-minus_high, 1, 0))
        inside = everything if (low, -minus_high) == (0, last) else running[end] ^ running[start]
        yield bit, inside & (bit - 1)


def _spans(targets: Iterable[tuple[HostPattern, int]], version: int) -> list[_Span]:
    return sorted(
        (low, -high, bit)
        for pattern, bit in targets
        if isinstance(pattern, AddressPattern) and pattern.version == version and is_prefix(pattern)
        for low, high in (span(pattern),)
    )
