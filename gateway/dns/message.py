"""Names and data of records within a message: compression, and the lengths that others have written.

All work is bounded: pointers lead backwards only, and the labels that one message may make us look at are counted, so
that no message takes long however its names are folded (field-cases D6).
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.dns.constants import (
    AAAA,
    AFSDB,
    CNAME,
    DNAME,
    HEADER_BYTES,
    HTTPS,
    KX,
    MAX_LABEL,
    MAX_NAME,
    MB,
    MD,
    MF,
    MG,
    MINFO,
    MR,
    MX,
    NS,
    POINTER,
    PTR,
    PX,
    RP,
    RT,
    SOA,
    SRV,
    SVCB,
    A,
)
from gateway.errors import RemoteProtocolError

MAX_STEPS = 10_000
"""Labels, pointers and parameters in one message."""

MAX_ADDRESSES = 1000
"""In what is kept of one message."""

_LENGTHS: Mapping[int, int] = MappingProxyType({A: 4, AAAA: 16})

_LAYOUTS: Mapping[int, tuple[int, int, int]] = MappingProxyType({
    **dict.fromkeys((NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME), (0, 1, 0)),
    SOA: (0, 2, 20),
    MINFO: (0, 2, 0),
    RP: (0, 2, 0),
    **dict.fromkeys((MX, AFSDB, RT, KX), (2, 1, 0)),
    PX: (2, 2, 0),
    SRV: (6, 1, 0),
})  # fmt: skip
"""Data that may have compressed names (RFC 3597 §4): octets before the names, names, octets behind them."""

_SERVICES = frozenset((SVCB, HTTPS))
_HINTS: Mapping[int, int] = MappingProxyType({4: 4, 6: 16})
"""Parameters of a service that are addresses (RFC 9460 §7.3), and the size of one."""

CHECKED = frozenset((*_LENGTHS, *_LAYOUTS, *_SERVICES))
"""Types whose data is looked into; that of all others is opaque."""


class Malformed(RemoteProtocolError, ValueError):
    """Not a message that can be read, or not an answer to our question; the text says why."""


def skip_name(data: bytes, at: int) -> int:
    """Where a name ends that nobody wants to know; 0: it is none. Raises IndexError at the end of the message."""
    start = at
    while length := data[at]:
        if length >= POINTER:
            return at + 2
        if length > MAX_LABEL or at - start > MAX_NAME:
            return 0
        at += length + 1
    return at + 1


class Names:
    """The names of one message. All methods raise Malformed, and IndexError where the message ends too early."""

    __slots__ = ("_data", "_seen", "_steps", "known")

    def __init__(self, data: bytes, question: bytes) -> None:
        """``question`` is the wire name at the usual place."""
        self._data = data
        self._steps = 0
        self._seen: dict[int, tuple[bytes, int]] = {}
        #: place -> wire name, of those that owners have pointed to
        self.known = {HEADER_BYTES: question}

    def owner(self, at: int) -> tuple[bytes, int]:
        """The wire name here, and where the rest of the record begins."""
        data = self._data
        if data[at] < POINTER:
            raw, end = self.read(at)
            return raw.lower(), end
        place = (data[at] & 0x3F) << 8 | data[at + 1]
        if not HEADER_BYTES <= place < at:
            raise Malformed(_fault(POINTER, 0))
        name = self.known.get(place)
        if name is None:
            name = self.known[place] = self.read(place)[0].lower()
        return name, at + 2

    def read(self, at: int) -> tuple[bytes, int]:
        """The name here, uncompressed, in its own letter case, and where it ends."""
        found = self._seen.get(at)
        if found is None:
            found = self._seen[at] = self._read(at)
        return found

    def _read(self, at: int) -> tuple[bytes, int]:
        data = self._data
        start = floor = at
        end = 0
        pieces = []
        steps = self._steps
        while length := data[at]:
            steps += 1
            if length <= MAX_LABEL:
                at += length + 1
                continue
            target = (length & 0x3F) << 8 | data[at + 1]
            if length < POINTER or not HEADER_BYTES <= target < floor or steps > MAX_STEPS:
                raise Malformed(_fault(length, steps))
            pieces.append(data[start:at])
            end = end or at + 2
            start = floor = at = target
        pieces.append(data[start : at + 1])
        self._steps = steps
        raw = b"".join(pieces)
        if len(raw) > MAX_NAME or steps > MAX_STEPS:
            raise Malformed(_fault(0, steps))
        return raw, end or at + 1

    def target(self, at: int, end: int) -> bytes:
        """The wire name that is all of an alias's data."""
        raw, stop = self.read(at)
        if stop != end:
            raise Malformed("a name does not end with its record")
        return raw.lower()

    def check(self, type: int, at: int, end: int, addresses: list[bytes]) -> None:
        """Look into data of a `CHECKED` type, and note the addresses there."""
        if type in _LENGTHS:
            if end - at != _LENGTHS[type]:
                raise Malformed("an address has a wrong length")
            addresses.append(self._data[at:end])
        elif type in _LAYOUTS:
            self.plain(type, at, end)
        else:
            self._hints(at, end, addresses)
        if len(addresses) > MAX_ADDRESSES:
            raise Malformed("there are too many addresses")

    def plain(self, type: int, at: int, end: int) -> bytes:
        """The data with its names uncompressed, so that it can stand elsewhere."""
        layout = _LAYOUTS.get(type)
        if layout is None:
            return self._data[at:end]
        before, count, behind = layout
        pieces = [self._data[at : at + before]]
        at += before
        for _ in range(count):
            raw, at = self.read(at)
            pieces.append(raw)
        if at + behind != end:
            raise Malformed("a name does not end with its record")
        pieces.append(self._data[at:end])
        return b"".join(pieces)

    def _hints(self, at: int, end: int, addresses: list[bytes]) -> None:
        """Of a service (RFC 9460 §2.2): priority, a name that is never compressed, parameters in order."""
        data = self._data
        at += 2
        while length := data[at]:
            if length > MAX_LABEL:
                raise Malformed("the name of a service is none")
            at += length + 1
        at += 1
        last = -1
        while at + 4 <= end:
            key, length = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
            at += 4
            self._steps += 1
            size = _HINTS.get(key)
            if at + length > end or key <= last or self._steps > MAX_STEPS or (size and length % size):
                raise Malformed("the parameters of a service are broken")
            if size:
                addresses += [data[place : place + size] for place in range(at, at + length, size)]
            at += length
            last = key
        if at != end:
            raise Malformed("the parameters of a service do not end with their record")


def _fault(length: int, steps: int) -> str:
    if steps > MAX_STEPS:
        return "its names have too many labels and pointers"
    if length >= POINTER:
        return "a compression pointer does not lead back"
    return "a label has an unknown kind" if length else f"a name is longer than {MAX_NAME} octets"
